"""README.md and the pages of docs/ that belong together, by their sections and fenced blocks."""

import re

from conftest import ROOT

README = (ROOT / "README.md").read_text()
# In this order the examples are one session.
PAGES = (
    "start", "functions", "errors", "configuration", "keys", "behaviour", "monitor", "protection", "speed", "limits", "upgrade",
    "building", "faq", "write", "migrate", "rotate", "call", "files", "erase",
)  # fmt: skip


def demoted(text):
    """The page with each heading one level lower, so that pages can stand in one text; comments in blocks are none."""
    return "".join(
        part if part.startswith("```") else re.sub("^#+ ", r"#\g<0>", part, flags=re.MULTILINE)
        for part in re.split(r"(^```.*?^```\n)", text, flags=re.MULTILINE | re.DOTALL)
    )


BOOK = "\n".join(demoted((ROOT / "docs" / f"{page}.md").read_text()) for page in PAGES)


def blocks(text):
    """(language, number of the first line, lines) of each fenced block."""
    found, lines = [], text.splitlines()
    for number, line in enumerate(lines, 1):
        if opened := re.fullmatch(r"```(\w+)", line):
            end = lines.index("```", number)
            found.append((opened[1], number + 1, lines[number:end]))
    return found


def defined(page, name):
    """The function of this name that the Python examples of a page define, with what it calls of them."""
    names = {}
    for language, _, lines in blocks((ROOT / "docs" / page).read_text()):
        if language == "python" and any(line.startswith("def ") for line in lines):
            exec("\n".join(lines), names)  # noqa: S102
    return names[name]


def example(lines, comment):
    """The source of a block, and what the comments at its end show that it prints."""
    code = list(lines)
    while code[-1].startswith(comment):
        code.pop()
    return "\n".join(code), [line.removeprefix(comment) for line in lines[len(code):]]


def matches(shown, given):
    """Whether lines are as they are shown."""
    return len(shown) == len(given) and all(
        re.fullmatch(".*".join(map(re.escape, line.split("…"))), other) for line, other in zip(shown, given)
    )


def section(text, title):
    """The section with this title, its subsections included."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"there is no section {title}"
    return found[1]
