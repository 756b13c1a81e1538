"""The site that `make docs` builds: its links lead somewhere, nothing in it comes from elsewhere, and its search finds."""

import os
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from conftest import ROOT, TARGET

MDBOOK = TARGET / "tools" / "bin" / "mdbook"
pytestmark = pytest.mark.skipif(not MDBOOK.exists(), reason="mdBook is not built: make docs")


class Page(HTMLParser):
    """What an HTML page links to, what it loads, and the places in it that can be linked to."""

    def __init__(self, text):
        super().__init__()
        self.links, self.loads, self.places = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if "id" in attributes:
            self.places.add(attributes["id"])
        if tag == "a" and "href" in attributes:
            self.links.append(attributes["href"])
        self.loads += [attributes[name] for name in ("src", "href") if name in attributes and tag != "a"]


def dead(folder):
    """A sentence for each thing in a built site that leads nowhere, and for each that comes from elsewhere."""
    pages = {path: Page(path.read_text()) for path in folder.rglob("*.html")}
    found = []
    for path, page in pages.items():
        # That page is shown at every address, and names where it expects to be.
        name = path.relative_to(folder)
        found += [f"{name} loads {load}" for load in page.loads if urlsplit(load).netloc]
        if path.name == "404.html":
            continue
        for link in page.links + page.loads:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = Path(os.path.normpath(path.parent / unquote(parts.path))) if parts.path else path
            fragment = unquote(parts.fragment)
            if not target.is_file() or (fragment and target in pages and fragment not in pages[target].places):
                found.append(f"{name} leads to {link}")
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "book"
    done = subprocess.run([MDBOOK, "build", "-d", folder], cwd=ROOT / "docs", capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "rror" not in done.stderr and "WARN" not in done.stderr, done.stderr
    return folder


def test_the_links_of_the_site_lead_somewhere_and_nothing_is_loaded_from_elsewhere(site):
    assert dead(site) == []


def test_what_is_not_on_the_site_is_linked_to_in_the_repository(site):
    assert any(link.endswith("/blob/main/sql/schema.sql") for link in Page((site / "keys.html").read_text()).links)


def test_the_site_is_searched_without_a_server(site):
    assert "journal_prefetch" in (site / "searchindex.js").read_text()


@pytest.mark.parametrize(
    "text, complaint",
    [
        ('<a href="attic.html">', "errors.html leads to attic.html"),
        ('<a href="functions.html#attic">', "errors.html leads to functions.html#attic"),
        ('<img src="attic.svg">', "errors.html leads to attic.svg"),
        ('<script src="https://example.org/a.js">', "errors.html loads https://example.org/a.js"),
        ('<link href="//example.org/a.css">', "errors.html loads //example.org/a.css"),
    ],
)
def test_a_dead_link_and_a_foreign_script_are_seen(site, text, complaint):
    page = site / "errors.html"
    sound = page.read_text()
    page.write_text(sound + text)
    assert dead(site) == [complaint]
    page.write_text(sound)
