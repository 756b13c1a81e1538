"""Makes table and chart of what `run.py` measured.

    python benches/report.py RESULTS

Prints the tables. They are published where all their parts ran on rows enough: the scans beside Python and what is not a
scan, with `results.json` and `chart.svg` beside this file; the hosts, other Fernets and rqlite, with `hosts.json`. docs/speed.md has
a place for each.
"""

import json
import shutil
import sys
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "speed.md"
# What is published: its parts, the rows that each has to have, and where the numbers go.
MAIN = {"scans", "context", "calls", "pair", "library", "memory", "s3"}, 100_000, "results.json", "bench"
HOSTS = {"hosts", "peers", "page"}, 10_000, "hosts.json", "hosts"
KINDS = (  # what is compared, and how the chart names it
    ("floor", "floor: copy + primitives"),
    ("extension", "journal_crypt"),
    ("python rows", "Python: rows, then Fernet"),
    ("python function", "Python: Fernet as SQL function"),
)


def main():
    source = Path(sys.argv[1])
    results = json.loads(source.read_text())
    for (parts, rows, file, place), tables in (MAIN, main_tables), (HOSTS, host_tables):
        if not parts & results.keys():
            continue
        text = "\n\n".join(["\n".join(table) for table in tables(results)] + [about(results)])
        print(text, end="\n\n")
        if results["rows"] >= rows and parts <= results.keys():
            shutil.copyfile(source, HERE / file)
            if place == "bench":
                PAGE.with_name("chart.svg").write_text(chart(results))
                text = f"![Microseconds for each entry of a scan](chart.svg)\n\n{text}"
            publish(place, text)


def main_tables(results):
    """The numbers as Markdown, table by table, each as its lines."""
    if "scans" in results:
        lines = [
            "| µs for each row of a scan | copy | primitives | floor | journal_crypt | of the floor | Python rows | Python function |",
            "|---|--:|--:|--:|--:|--:|--:|--:|",
        ]
        for title, m in scans(results):
            ratio = f"{m['extension'] / m['floor']:.2f}×"
            numbers = [m[k] for k in ("copy", "primitives", "floor", "extension")]
            python = [f"{m[k]:.1f} ({m[k] / m['extension']:.0f}×)" for k in ("python rows", "python function")]
            lines.append(f"| {' | '.join([title, *(f'{n:.2f}' for n in numbers), ratio, *python])} |")
        yield lines
    others = list(figures(results))
    if others:
        yield ["| also | |", "|---|--:|", *(f"| {what} | {value} |" for what, value in others)]


def host_tables(results):
    """The same of the hosts, of other implementations of Fernet, and of rqlite."""
    if "hosts" in results:
        yield list(hosts(results))
    if "peers" in results:
        yield list(alternatives(results))
    if results.get("page"):
        yield list(pages(results["page"]))


def scans(results):
    """(title, medians) of every scan; the floor is the sum of its two parts."""
    for length, ways in results["scans"].items():
        for way, rounds in ways.items():
            medians = {name: median(numbers) for name, numbers in rounds.items()}
            medians["floor"] = medians["copy"] + medians["primitives"]
            yield f"{way} {int(length):,} B", medians


def hosts(results):
    """Each host's scans: how long, and how many times its own floor."""
    lengths = [int(length) for length in next(iter(results["hosts"].values())) if length != "sqlite"]
    heads = [f"{way} {length:,} B" for length in lengths for way in ("decrypt", "encrypt")]
    yield f"| µs for each row in | SQLite | copy | {' | '.join(heads)} | key uid |"
    yield f"|---|---|--:|{'--:|' * len(heads)}--:|"
    for name, host in results["hosts"].items():
        scans = {int(length): {k: median(v) for k, v in m.items()} for length, m in host.items() if length != "sqlite"}
        cells = []
        for m in (scans[length] for length in lengths):
            for way in "decrypt", "encrypt":
                floor = m[f"{way}, copy"] + m[f"{way}, primitives"]
                cells.append(f"{m[way]:.2f} ({m[way] / floor:.2f}×)")
        first = scans[lengths[0]]
        copy = f"{first['decrypt, copy']:.2f}"
        yield f"| {name} | {host['sqlite']} | {copy} | {' | '.join(cells)} | +{first['key uid'] - first['version']:.2f} |"


def alternatives(results):
    """Other implementations of Fernet on entries in memory."""
    lengths = list(next(iter(results["peers"].values())))
    columns = [(length, way) for length in lengths for way in ("decrypt", "encrypt")]

    def line(title, numbers):
        return f"| {title} | {' | '.join(f'{median(n):.2f}' for n in numbers)} |"

    yield f"| µs for each entry in memory | {' | '.join(f'{way} {int(length):,} B' for length, way in columns)} |"
    yield f"|---|{'--:|' * len(columns)}"
    if "hosts" in results:
        floors = next(iter(results["hosts"].values()))
        primitives = [floors[length][f"{way}, primitives"] for length, way in columns]
        yield line("RustCrypto's primitives, keys expanded before", primitives)
    for title, peer in results["peers"].items():
        yield line(title, [peer[length][way] for length, way in columns])


def pages(rounds):
    """A page from rqlite."""
    m = {name: median(numbers) / 1e3 for name, numbers in rounds.items() if name != "rqlite"}
    yield f"| ms for a page of 50 entries of 1 KiB from a node of rqlite {rounds['rqlite']}, by HTTP | |"
    yield "|---|--:|"
    yield f"| the tokens alone | {m['tokens']:.2f} |"
    yield f"| the texts: `journal_decrypt` on the node | {m['texts']:.2f} |"
    yield f"| the tokens, then decrypted by Python's `cryptography` | {m['tokens, then Python']:.2f} |"


def figures(results):
    """(what, value) of everything that is not a scan."""
    if "context" in results:
        m = {name: median(numbers) for name, numbers in results["context"].items()}
        decrypt, encrypt = (m[f"{way}, bound"] - m[way] for way in ("decrypt", "encrypt"))
        yield "a context, at 300 B", f"{decrypt:+.2f} µs to decrypt, {encrypt:+.2f} to encrypt"
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
        f"{results['date']}, {machine['cpu']}, {machine['cores']} cores, {machine['system']}{busy(results)}. "
        f"journal_crypt {versions['extension']} (rustc {versions['rustc']}) in SQLite {versions['sqlite']}; "
        f"Python {versions['python']} with SQLite {versions['python sqlite']} and cryptography {versions['cryptography']}."
    )


def busy(results):
    """What else the machine did, if that was much."""
    load = results.get("load", 0)
    return f", shared with others (load {load:.0f})" if load > results["machine"]["cores"] else ""


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


def publish(place, text):
    """Puts what was measured between the page's markers."""
    page = PAGE.read_text()
    begin, end = f"<!-- {place}:begin -->", f"<!-- {place}:end -->"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise SystemExit(f"docs/speed.md lacks its markers, {begin} and {end}")
    PAGE.write_text(f"{before}{begin}\n{text}\n{end}{after}")


if __name__ == "__main__":
    main()
