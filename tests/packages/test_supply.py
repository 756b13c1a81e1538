"""What the extension is made of: where each crate comes from, under which licence, and which must not be in it.

`cargo deny` asks the same of deny.toml; it takes longer to install than all other checks take, so this reads `cargo
metadata` itself. The lists are those of deny.toml.
"""

import json
import subprocess
import sys
import tomllib

import pytest

from conftest import ROOT

RULES = tomllib.loads((ROOT / "deny.toml").read_text())


@pytest.fixture(scope="module")
def packages():
    return linked("sqlite-journal-crypt")


def linked(program):
    """The packages that end up in the library or the tool: no tests', no other platform's, no build tools."""
    host = subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True).stdout
    host = next(line.split()[1] for line in host.splitlines() if line.startswith("host:"))
    metadata = json.loads(subprocess.run(
        ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", host],
        cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    reached, todo = set(), [package["id"] for package in metadata["packages"] if package["name"] == program]
    while todo:
        if (package := todo.pop()) not in reached:
            reached.add(package)
            todo += [dependency["pkg"] for dependency in nodes[package]["deps"]
                     if any(kind["kind"] is None for kind in dependency["dep_kinds"])]
    return [package for package in metadata["packages"] if package["id"] in reached]


def allowed(licence):
    """Whether an SPDX expression leaves a choice of the allowed ones."""
    words = licence.replace("(", " ( ").replace(")", " ) ").replace("/", " OR ").split()
    allowed_ones = set(RULES["licenses"]["allow"])
    text = " ".join({"OR": "or", "AND": "and", "(": "(", ")": ")", "WITH": "WITH"}.get(word, word) for word in words)
    for word in sorted(set(text.split()) - {"or", "and", "(", ")"}, key=len, reverse=True):
        if word not in ("WITH", "LLVM-exception"):
            text = " ".join(str(word in allowed_ones) if part == word else part for part in text.split())
    return eval(text.replace("WITH LLVM-exception", ""), {"__builtins__": {}})


def test_every_licence_is_an_allowed_one(packages):
    assert [(p["name"], p["license"]) for p in packages if not p["license"] or not allowed(p["license"])] == []


def test_the_tools_crates_have_allowed_licences_too():
    packages = linked("journal-crypt")
    assert {"clap", "rusqlite", "sqlite-journal-crypt"} & {p["name"] for p in packages} == {"clap", "rusqlite"}
    assert [(p["name"], p["license"]) for p in packages if not p["license"] or not allowed(p["license"])] == []


def test_every_crate_is_from_crates_io_and_pinned(packages):
    source = "registry+https://github.com/rust-lang/crates.io-index"
    assert [p["name"] for p in packages if p["source"] != source] == ["sqlite-journal-crypt"]
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    assert [p["name"] for p in lock if "checksum" not in p] == ["journal-crypt", "sqlite-journal-crypt"]


def test_nothing_banned_is_in_the_library(packages):
    banned = {rule["crate"] for rule in RULES["bans"]["deny"]}
    assert banned & {p["name"] for p in packages} == set()


def test_the_sbom_names_every_crate_of_library_and_tool_with_its_checksum(packages):
    made = subprocess.run([sys.executable, ROOT / "packaging" / "sbom.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    components = {(c["name"], c["version"]): c for c in json.loads(made.stdout)["components"]}
    wanted = {(p["name"], p["version"]) for p in packages + linked("journal-crypt") if p["source"]}
    assert wanted <= components.keys()
    [(name, _)] = [its for its, c in components.items() if "hashes" not in c]
    assert name == "journal-crypt"  # ours, and in the packages
    assert all(len(c["hashes"][0]["content"]) == 64 for c in components.values() if "hashes" in c)
