#!/usr/bin/env python3
"""Draws what a command printed as a recording of a terminal, line by line: `make --silent demo | docs/record.py 'make demo' > docs/demo.svg`.

An SVG without scripts, which plays once. Who asks for reduced motion sees all lines at once.
"""

import sys
from xml.sax.saxutils import escape

WIDTH, LINE, PAUSE = 840, 17, 0.12
HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{command} in a terminal">
<style>
text {{ font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #d8dee4; white-space: pre }}
.command {{ fill: #7ee787 }} .claim {{ fill: #7ee787 }}
@media (prefers-reduced-motion: no-preference) {{
  text {{ opacity: 0; animation: shown 1ms linear forwards }}
  @keyframes shown {{ to {{ opacity: 1 }} }}
}}
</style>
<rect width="{width}" height="{height}" rx="8" fill="#161b22"/>"""


def recording(command, lines):
    """The SVG's text."""
    lines = [f"$ {command}", *lines]
    yield HEAD.format(width=WIDTH, height=LINE * (len(lines) + 1), command=escape(command, {'"': "&quot;"}))
    for number, line in enumerate(lines):
        kind = "command" if number == 0 else "claim" if line.startswith("✓") else "line"
        yield (
            f'<text class="{kind}" xml:space="preserve" x="14" y="{LINE * (number + 1) + 4}"'
            f' style="animation-delay: {number * PAUSE:.2f}s">{escape(line.rstrip())}</text>'
        )
    yield "</svg>"


if __name__ == "__main__":
    print("\n".join(recording(sys.argv[1], sys.stdin.read().splitlines())))
