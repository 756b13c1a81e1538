"""docs/architecture.md says what is so: imports run down its floors, and `unsafe` stands where it says.

What is looked at are the lines of `src` as rustfmt leaves them, tests of the units included.
"""

import re

import pytest

from conftest import ROOT

ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
SOURCES = {str(path.relative_to(ROOT)): path.read_text() for path in sorted((ROOT / "src").rglob("*.rs"))}
TOOL = {str(path.relative_to(ROOT)): path.read_text() for path in sorted((ROOT / "cli").rglob("*.rs"))}


def floors(text):
    """The floor of each room, 0 is the top one."""
    block = re.search(r"^## Floors\n.*?^```text\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[1]
    rows = [re.match(r"(?:src/\w+(?:\.rs|/) *)+", line) for line in block.splitlines()]
    return {room: floor for floor, row in enumerate(filter(None, rows)) for room in row[0].split()}


def unsafe_rooms(text):
    """Where `unsafe` may stand: names of files, and of folders with a slash at their end."""
    return tuple(re.findall(r"`((?:src|cli)/[\w/.]+)`", re.search(r"`unsafe` stands in (.*?)\s+nowhere\s+else", text, re.DOTALL)[1]))


def room_of(path):
    """The room of a file: itself, or its folder in `src`."""
    name, *below = path.removeprefix("src/").split("/")
    return f"src/{name}/" if below else f"src/{name}"


def code(text):
    """The lines without what is a comment, and for each how many modules of this file it stands in."""
    inside = []
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        if inside and indent == inside[-1] and line.strip() == "}":
            inside.pop()
        yield re.sub(r"(^|\s)//.*", "", line), len(inside)
        if re.match(r"\s*(?:pub(?:\(.*?\))? )?mod \w+ \{$", line):
            inside.append(indent)


def heads(paths):
    """The first names of what braces hold, which may be open at the end: `a::b, c::{d, e}` gives a and c."""
    depth, found = 0, []
    for word in re.findall(r"[\w*]+|::|[{},]", paths):
        depth += {"{": 1, "}": -1}.get(word, 0)
        if depth < 0:
            break
        found.append((word, depth))
    return [word for i, (word, depth) in enumerate(found)
            if depth == 0 and re.match(r"\w", word) and (i == 0 or found[i - 1] == (",", 0))]


def imports(path, text):
    """The names at the root of the crate that a file reaches for, by `crate::` or by going up far enough."""
    depth = len(path.removesuffix("/mod.rs").removesuffix(".rs").split("/")) - 1
    lines = list(code(text))
    for number, (line, inside) in enumerate(lines):
        for found in re.finditer(r"\b(crate|super(?:::super)*)::(\{|\w+)", line):
            if found[1] != "crate" and found[1].count("super") < depth + inside:
                continue
            if found[2] != "{":
                yield found[2]
            else:
                yield from heads("".join([line[found.end():], *(after for after, _ in lines[number + 1 : number + 40])]))


def upward(sources, floors):
    """A sentence for each file without a floor, and for each import that does not lead down."""
    rooms = {room.removeprefix("src/").removesuffix("/").removesuffix(".rs"): room for room in floors}
    wrong = []
    for path, text in sources.items():
        if (room := room_of(path)) not in floors:
            wrong.append(f"{path} is on no floor")
            continue
        for name in sorted(set(imports(path, text))):
            target = rooms.get(name)
            if target is None:
                wrong.append(f"{path} imports {name}, which is on no floor")
            elif target != room and floors[target] <= floors[room]:
                wrong.append(f"{path} imports {target}, which is not below it")
    return wrong


def unsafe_elsewhere(sources, rooms):
    return [
        f"{path} holds unsafe code" for path, text in sources.items()
        if not path.startswith(rooms) and any(re.search(r"\bunsafe\b|\ballow\(unsafe", line) for line, _ in code(text))
    ]


def test_imports_run_downward_only():
    assert upward(SOURCES, floors(ARCHITECTURE)) == []


def test_unsafe_stands_in_its_rooms_alone():
    assert unsafe_elsewhere(SOURCES | TOOL, unsafe_rooms(ARCHITECTURE)) == []
    assert all('unsafe_code = "deny"' in (ROOT / manifest).read_text() for manifest in ("Cargo.toml", "cli/Cargo.toml"))


def test_the_operator_s_tool_is_a_host_like_any_other():
    assert [path for path, text in TOOL.items() if "journal_crypt::" in text] == []
    assert "path =" not in (ROOT / "cli" / "Cargo.toml").read_text().split("[dependencies]")[1]


# The checks themselves: what must make them go red.


def planted(path, line):
    """All sources, and in one file one line more, at its end."""
    sources = SOURCES | TOOL if path.startswith("cli/") else SOURCES
    return {**sources, path: sources.get(path, "") + f"\n{line}\n"}


@pytest.mark.parametrize(
    "path, line, complaint",
    [
        ("src/keys/rows.rs", "use crate::cache::Cache;", "src/keys/rows.rs imports src/cache/, which is not below it"),
        ("src/keys/rows.rs", "use crate::store::KeyStore;", "src/keys/rows.rs imports src/store/, which is not below it"),
        ("src/sqlite/value.rs", "    let _ = crate::id::UserId(1);", "src/sqlite/value.rs imports src/id.rs, which is not below it"),
        ("src/id.rs", "use super::functions;", "src/id.rs imports src/functions/, which is not below it"),
        ("src/id.rs", "mod tests {\n    use super::super::entry;\n}", "src/id.rs imports src/entry.rs, which is not below it"),
        ("src/cipher/x86_64/aes.rs", "use super::super::super::keys::Keys;", "src/cipher/x86_64/aes.rs imports src/keys/, which is not below it"),
        ("src/store/s3/mod.rs", "use crate::{\n    error::Error,\n    cache::{Cache, Entry},\n};", "src/store/s3/mod.rs imports src/cache/, which is not below it"),
        ("src/store/s3/mod.rs", "use crate::{error::Error, secret::{A, B}, functions};", "src/store/s3/mod.rs imports src/functions/, which is not below it"),
        ("src/attic.rs", "", "src/attic.rs is on no floor"),
        ("src/attic/mod.rs", "", "src/attic/mod.rs is on no floor"),
    ],
)
def test_an_import_that_leads_up_is_seen(path, line, complaint):
    assert upward(planted(path, line), floors(ARCHITECTURE)) == [complaint]


@pytest.mark.parametrize(
    "path, line",
    [
        ("src/keys/rows.rs", "use crate::error::Error; // not crate::cache"),
        ("src/cache/mod.rs", "/// As [`crate::functions`] says."),
        ("src/cache/tests/month.rs", "use super::super::Cache;"),
        ("src/config/aws.rs", "mod tests {\n    use super::super::tests::read_s3;\n}"),
    ],
)
def test_what_leads_down_or_stays_in_its_room_is_none_of_them(path, line):
    assert upward(planted(path, line), floors(ARCHITECTURE)) == []


@pytest.mark.parametrize("line", ["    unsafe { f() }", "#![allow(unsafe_code)]", "unsafe fn f() {}", "unsafe impl Send for A {}"])
@pytest.mark.parametrize("path", ["src/cipher/mod.rs", "src/functions/crypt.rs", "src/threads/pool.rs", "cli/src/rows.rs"])
def test_unsafe_code_in_another_room_is_seen(path, line):
    assert unsafe_elsewhere(planted(path, line), unsafe_rooms(ARCHITECTURE)) == [f"{path} holds unsafe code"]
