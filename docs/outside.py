"""A preprocessor of mdBook: links out of docs/ lead to the repository, since the site has its pages alone.

<https://rust-lang.github.io/mdBook/for_developers/preprocessors.html>
"""

import json
import posixpath
import re
import sys
import tomllib
from pathlib import Path


def outside(page, text, repository):
    """The text of `page`, a path below docs/, with the links that leave docs/ made absolute."""

    def link(match):
        target = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), match[1]))
        return match[0] if target.startswith("docs/") else f"]({repository}/blob/main/{target}{match[2]})"

    return re.sub(r"\]\((\.\./[^)#\s]*)(#[^)\s]*)?\)", lambda m: link((m[0], m[1], m[2] or "")), text)


def rewrite(items, repository):
    for item in items:
        if chapter := item.get("Chapter") if isinstance(item, dict) else None:
            if chapter["path"]:
                chapter["content"] = outside(chapter["path"], chapter["content"], repository)
            rewrite(chapter["sub_items"], repository)


def main():
    if sys.argv[1:2] == ["supports"]:
        return
    _, book = json.load(sys.stdin)
    manifest = Path(__file__).parents[1] / "Cargo.toml"
    rewrite(book.get("sections") or book.get("items"), tomllib.loads(manifest.read_text())["package"]["repository"])
    json.dump(book, sys.stdout)


if __name__ == "__main__":
    main()
