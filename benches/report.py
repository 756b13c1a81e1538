"""Makes table and chart of what `run.py` measured.

    python benches/report.py RESULTS

Prints the table. A full run is also published: `results.json` and `chart.svg` beside this file, and the table
between the markers of the README.
"""

import json
import shutil
import sys
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
README = HERE.parent / "README.md"
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
# What a full run has.
ROWS, PARTS = 100_000, {"scans", "calls", "pair", "library", "memory", "s3"}
KINDS = (  # what is compared, and how the chart names it
    ("floor", "floor: copy + primitives"),
    ("extension", "journal_crypt"),
    ("python rows", "Python: rows, then Fernet"),
    ("python function", "Python: Fernet as SQL function"),
)


def main():
    source = Path(sys.argv[1])
    results = json.loads(source.read_text())
    text = table(results)
    print(text)
    if results["rows"] >= ROWS and PARTS <= results.keys():
        shutil.copyfile(source, HERE / "results.json")
        (HERE / "chart.svg").write_text(chart(results))
        publish(text)


def table(results):
    """The numbers as Markdown."""
    lines = []
    if "scans" in results:
        lines += [
            "| µs for each row of a scan | copy | primitives | floor | journal_crypt | of the floor | Python rows | Python function |",
            "|---|--:|--:|--:|--:|--:|--:|--:|",
        ]
        for title, m in scans(results):
            ratio = f"{m['extension'] / m['floor']:.2f}×"
            numbers = [m[k] for k in ("copy", "primitives", "floor", "extension")]
            python = [f"{m[k]:.1f} ({m[k] / m['extension']:.0f}×)" for k in ("python rows", "python function")]
            lines.append(f"| {' | '.join([title, *(f'{n:.2f}' for n in numbers), ratio, *python])} |")
    others = list(figures(results))
    if others:
        lines += ["", "| also | |", "|---|--:|", *(f"| {what} | {value} |" for what, value in others)]
    lines += ["", about(results)]
    return "\n".join(lines)


def scans(results):
    """(title, medians) of every scan; the floor is the sum of its two parts."""
    for length, ways in results["scans"].items():
        for way, rounds in ways.items():
            medians = {name: median(numbers) for name, numbers in rounds.items()}
            medians["floor"] = medians["copy"] + medians["primitives"]
            yield f"{way} {int(length):,} B", medians


def figures(results):
    """(what, value) of everything that is not a scan."""
    if "calls" in results:
        m = {name: median(numbers) for name, numbers in results["calls"].items()}
        over = m["extension"] - m["copy"] - m["primitives"]
        yield "one entry of 1 KiB by id, prepared once", f"{m['extension']:.1f} µs, {over:.1f} above the floor"
        each = "extension, prepared each time"
        yield "the same, prepared each time", f"{m[each]:.1f} µs, of which SQLite {m['copy, prepared each time']:.1f}"
        bare = "extension, no FROM"
        yield "`SELECT journal_decrypt(?, ?, ?)`, prepared once", f"{m[bare]:.1f} µs, of which SQLite {m['copy, no FROM']:.1f}"
    if "pair" in results:
        m = {name: median(numbers) for name, numbers in results["pair"].items()}
        for what in "decrypt", "encrypt", "copy":
            speedup = 2 * m[f"{what}, one"] / m[f"{what}, two"]
            name = f"{what} scan" if what != "copy" else "scan that only copies"
            yield f"two connections on {results['machine']['cores']} cores, {name}", f"{speedup:.2f}× one"
    if "library" in results:
        m = {name: median(numbers) for name, numbers in results["library"].items()}
        yield "loading the library", f"{m['load'] / 1e3:.1f} ms"
        yield "its size, stripped", f"{m['bytes'] / 2**20:.1f} MiB"
    if "s3" in results:
        m = {name: median(numbers) for name, numbers in results["s3"].items()}
        yield "first key from S3 that answers 20 ms late", f"{m['first key'] / 1e3:.0f} ms"
        yield f"`journal_prefetch` of {results['users']:,} keys from there", f"{m['prefetch'] / 1e6:.1f} s"
    if "memory" in results:
        m = {name: median(numbers) for name, numbers in results["memory"].items()}
        yield "memory of a cached key, of 10,000", f"{m['cached key']:,.0f} B"
        yield f"growth over {m['calls'] / 1e6:.1f} million calls", f"{m['growth'] / 1024:,.0f} KiB"


def about(results):
    """Where the numbers are from."""
    machine, versions = results["machine"], results["versions"]
    return (
        f"Medians of {results['rounds']} rounds on {results['rows']:,} rows of {results['users']:,} users, keys cached; "
        f"{results['date']}, {machine['cpu']}, {machine['cores']} cores, {machine['system']}. "
        f"journal_crypt {versions['extension']} (rustc {versions['rustc']}) in SQLite {versions['sqlite']}; "
        f"Python {versions['python']} with SQLite {versions['python sqlite']} and cryptography {versions['cryptography']}."
    )


def chart(results):
    """The scans as an SVG of horizontal bars, legible on light and on dark pages."""
    row, gap, left, width = 15, 14, 120, 760
    groups = list(scans(results))
    longest = max(m[kind] for _, m in groups for kind, _ in KINDS)
    scale = (width - left - 70) / longest
    y, body = 10, []
    for number, (_, name) in enumerate(KINDS):
        body.append(f'<rect class="k{number}" x="{left}" y="{y}" width="11" height="11"/>')
        body.append(f'<text x="{left + 18}" y="{y + 10}">{name}</text>')
        y += row + 2
    for title, m in groups:
        y += gap
        body.append(f'<text class="title" x="{left - 10}" y="{y + 11}">{title}</text>')
        for number, (kind, _) in enumerate(KINDS):
            end = max(m[kind] * scale, 1)
            body.append(f'<rect class="k{number}" x="{left}" y="{y}" width="{end:.1f}" height="{row - 3}"/>')
            body.append(f'<text x="{left + end + 6:.1f}" y="{y + 10}">{m[kind]:.1f} µs</text>')
            y += row
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y + 10}" role="img">
<title>Microseconds for each entry of a scan; shorter is better</title>
<style>
text {{ font: 12px system-ui, sans-serif; fill: #1f2328 }}
.title {{ font-weight: 600; text-anchor: end }}
.k0 {{ fill: #8c959f }} .k1 {{ fill: #1a7f37 }} .k2 {{ fill: #0969da }} .k3 {{ fill: #bf8700 }}
@media (prefers-color-scheme: dark) {{
text {{ fill: #e6edf3 }}
.k0 {{ fill: #6e7681 }} .k1 {{ fill: #3fb950 }} .k2 {{ fill: #58a6ff }} .k3 {{ fill: #d29922 }}
}}
</style>
{chr(10).join(body)}
</svg>
"""


def publish(text):
    """Puts chart and table between the README's markers."""
    page = README.read_text()
    before, found, rest = page.partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not (found and closed):
        raise SystemExit(f"README.md lacks its markers, {BEGIN} and {END}")
    chart_line = "![Microseconds for each entry of a scan](benches/chart.svg)"
    README.write_text(f"{before}{BEGIN}\n{chart_line}\n\n{text}\n{END}{after}")


if __name__ == "__main__":
    main()
