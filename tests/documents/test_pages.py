"""What the pages point at is there: files and folders that they name, and the places that their links lead to."""

import importlib
import re

import pytest

from conftest import ROOT

# The change log names what was there at its time.
PAGES = [
    page for page in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/*.md"), *ROOT.glob("tests/*.md")])
    if page.name != "CHANGELOG.md"
]  # fmt: skip


def anchors(text):
    """What GitHub makes of each heading."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", re.sub(r"\[(.*?)\]\(.*?\)", r"\1", heading)).strip().lower().replace(" ", "-") for heading in headings}


def wrong(page, text):
    """A sentence for each thing that a page points at and that is not there."""
    found = [
        f"{page.name} names {name}" for name in re.findall(r"`((?:src|tests|docs|sql|fuzz|benches|examples|packaging)/[\w./-]*)`", text)
        if not (ROOT / name).exists()
    ]  # fmt: skip
    for name, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text):
        target = page.parent / name if name else page
        if not target.exists():
            found.append(f"{page.name} links to {name}")
        elif anchor and anchor not in anchors(text if target == page else target.read_text()):
            found.append(f"{page.name} links to {name}#{anchor}")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_points_at_is_there(page):
    assert wrong(page, page.read_text()) == []


def test_the_site_has_every_page_once():
    docs = ROOT / "docs"
    listed = re.findall(r"\]\((.*?)\)", (docs / "SUMMARY.md").read_text())
    assert sorted(listed) == sorted(str(page.relative_to(docs)) for page in docs.glob("**/*.md") if page.name != "SUMMARY.md")


def test_a_link_out_of_the_site_leads_to_the_repository(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    outside = importlib.import_module("outside").outside
    text = "[a](../sql/schema.sql) [b](../install.md#go) [c](errors.md) [d](../../src/) [e](https://example.org/../x)"
    assert outside("hosts/go.md", text, "https://example.org/r") == (
        "[a](../sql/schema.sql) [b](../install.md#go) [c](errors.md) [d](https://example.org/r/blob/main/src) [e](https://example.org/../x)"
    )


def test_the_readme_is_read_in_a_minute():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("`src/attic.rs`", "security.md names src/attic.rs"),
        ("`tests/attic/`", "security.md names tests/attic/"),
        ("[there](attic.md)", "security.md links to attic.md"),
        ("[there](../README.md#attic)", "security.md links to ../README.md#attic"),
        ("[there](#attic)", "security.md links to #attic"),
    ],
)
def test_what_is_not_there_is_seen(text, complaint):
    page = ROOT / "docs" / "security.md"
    assert wrong(page, f"{page.read_text()}\n{text}\n") == [complaint]
