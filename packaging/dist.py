"""Makes the packages in dist/ out of built libraries: `dist.py TARGET=LIBRARY…`, a target being a Rust triple. The operator's
tool is the file `journal-crypt`, or `journal-crypt.exe`, beside the library.

For each target a wheel and a release archive, for all of them one npm package, and beside them what package lists and
install.sh need, the bill of materials and SHA256SUMS. The same libraries give the same bytes.
"""

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import string
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

from listing import formula, sqlpkg

ROOT = Path(__file__).resolve().parent.parent
DIST = Path(os.environ.get("DIST", ROOT / "dist"))
STAGE = ROOT / "target" / "dist-stage"
PACKAGE = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]
NAME, VERSION = PACKAGE["name"], PACKAGE["version"]
LICENCES = sorted(ROOT.glob("LICENSE-*"))
#: The schema and the recipes; the demo is about this repository.
SCRIPTS = [file for file in sorted((ROOT / "sql").glob("*.sql")) if file.name != "demo.sql"]
# 1 January 1980, the first day that a zip file knows.
EPOCH = 315532800

#: What each target is called in release archives, wheels and Node. The system is Node's `process.platform`; a wheel's
#: glibc is read from the library.
PLATFORMS = {
    "x86_64-unknown-linux-gnu": ("linux-x86_64", "manylinux_{glibc}_x86_64", "linux-x64"),
    "aarch64-unknown-linux-gnu": ("linux-aarch64", "manylinux_{glibc}_aarch64", "linux-arm64"),
    "x86_64-unknown-linux-musl": ("linux-musl-x86_64", "musllinux_1_2_x86_64", "linuxmusl-x64"),
    "aarch64-unknown-linux-musl": ("linux-musl-aarch64", "musllinux_1_2_aarch64", "linuxmusl-arm64"),
    "x86_64-apple-darwin": ("macos-x86_64", "macosx_10_12_x86_64", "darwin-x64"),
    "aarch64-apple-darwin": ("macos-aarch64", "macosx_11_0_arm64", "darwin-arm64"),
    "x86_64-pc-windows-msvc": ("windows-x86_64", "win_amd64", "win32-x64"),
    "x86_64-pc-windows-gnu": ("windows-x86_64", "win_amd64", "win32-x64"),
}

#: Processors by their numbers in the heads of ELF, PE and Mach-O files.
PROCESSORS = {0x3E: "x86_64", 0xB7: "aarch64", 0x8664: "x86_64", 0x01000007: "x86_64", 0x0100000C: "aarch64"}


def tool(library):
    return library.with_name("journal-crypt.exe" if library.suffix == ".dll" else "journal-crypt")


def built_for(file):
    """What release archives call the platform that a library or a program is for, read from the file itself."""
    content = file.read_bytes()

    def number(at, size):
        return int.from_bytes(content[at : at + size], "little")

    if content[:4] == b"\x7fELF":
        needed = subprocess.run(["readelf", "--dynamic", "--wide", file], capture_output=True, text=True, check=True)
        system, processor = "linux-musl" if "[libc.so]" in needed.stdout else "linux", number(18, 2)
    elif content[:2] == b"MZ":
        system, processor = "windows", number(number(0x3C, 4) + 4, 2)
    elif number(0, 4) == 0xFEEDFACF:
        system, processor = "macos", number(4, 4)
    else:
        return "nothing that is known"
    return f"{system}-{PROCESSORS.get(processor, hex(processor))}"


def glibc(*files):
    """The newest version of glibc's symbols that any of the files asks for, as `2.17`."""
    told = subprocess.run(["readelf", "--version-info", "--wide", *files], capture_output=True, text=True, check=True)
    versions = re.findall(r"\bName: GLIBC_([\d.]+)", told.stdout)
    return max(versions, key=lambda version: [int(part) for part in version.split(".")])


def readme(title):
    """The head of README.md, and what the page of the host `title` says about the installation."""
    head = re.split(r"^(?:!\[|## )", (ROOT / "README.md").read_text(), flags=re.MULTILINE)[0]
    page = (ROOT / "docs" / "hosts" / f"{title.lower()}.md").read_text()
    return f"{head}#{page}\nThe functions, errors and settings are in docs/ of {PACKAGE['repository']}.\n"


def archive(path, files):
    """Writes a tar.gz of `files`, which are contents by name, the same each time."""
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed, tarfile.open(
        fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT
    ) as tar:
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(content), EPOCH
            member.mode = 0o755 if re.search(r"\bjournal(_crypt\.|-crypt(\.exe)?$)", name) else 0o644
            tar.addfile(member, io.BytesIO(content))


def checksum(name):
    """The SHA-256 of a file in dist/."""
    return hashlib.sha256((DIST / name).read_bytes()).hexdigest()


def scripts():
    return {f"sql/{script.name}": script.read_bytes() for script in SCRIPTS}


def wheel(platform, library):
    shutil.rmtree(STAGE, ignore_errors=True)
    shutil.copytree(ROOT / "packaging" / "python", STAGE, ignore=shutil.ignore_patterns("__pycache__"))
    template = string.Template((STAGE / "pyproject.toml.in").read_text())
    # JSON's strings and arrays are TOML's too.
    (STAGE / "pyproject.toml").write_text(template.substitute({k: json.dumps(v) for k, v in PACKAGE.items()}))
    (STAGE / "README.md").write_text(readme("Python"))
    for licence in LICENCES:
        shutil.copy(licence, STAGE)
    shutil.copy(library, STAGE / "sqlite_journal_crypt" / f"journal_crypt{library.suffix}")
    (STAGE / "scripts").mkdir()
    shutil.copyfile(tool(library), STAGE / "scripts" / tool(library).name)
    (STAGE / "scripts" / tool(library).name).chmod(0o755)
    (STAGE / "sqlite_journal_crypt" / "sql").mkdir()
    for script in SCRIPTS:
        shutil.copy(script, STAGE / "sqlite_journal_crypt" / "sql")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", DIST],
        cwd=STAGE, env={**os.environ, "WHEEL_PLATFORM": platform, "SOURCE_DATE_EPOCH": str(EPOCH)}, check=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip


def npm(libraries):
    source = ROOT / "packaging" / "npm"
    systems, processors = zip(*(platform.replace("musl", "").split("-") for platform in libraries))
    package = {
        **{key: PACKAGE[key] for key in ["name", "version", "description", "license", "keywords"]},
        "repository": {"type": "git", "url": PACKAGE["repository"]},
        **json.loads((source / "package.json").read_text()),
        "os": sorted(set(systems)), "cpu": sorted(set(processors)),
    }  # fmt: skip
    files = {file.name: file.read_bytes() for file in [*sorted(source.glob("*.js")), source / "index.d.ts", *LICENCES]}
    files["package.json"] = json.dumps(package, indent=2).encode() + b"\n"
    files["README.md"] = readme("Node").encode()
    files.update(scripts())
    for platform, library in libraries.items():
        files[f"{platform}/journal_crypt{library.suffix}"] = library.read_bytes()
    archive(DIST / f"{NAME}-{VERSION}.tgz", {f"package/{name}": content for name, content in files.items()})


def main(built):
    for target, library in built.items():
        for file in (library, tool(library)):
            if (found := built_for(file)) != PLATFORMS[target][0]:
                raise SystemExit(f"{file} is for {found}, not for {target}")
    DIST.mkdir(parents=True, exist_ok=True)
    for old in DIST.iterdir():
        if old.suffix != ".crate":
            old.unlink()
    manual = {f"man/{page.name}": page.read_bytes() for page in (ROOT / "packaging" / "man").iterdir()}
    libraries = {}
    for target, library in built.items():
        name, wheel_platform, node_platform = PLATFORMS[target]
        if "{glibc}" in wheel_platform:
            needed = glibc(library, tool(library))
            print(f"{target} needs glibc {needed}")
            wheel_platform = wheel_platform.format(glibc=needed.replace(".", "_"))
        wheel(wheel_platform, library)
        loadable = {f"journal_crypt{library.suffix}": library.read_bytes()}
        program = {tool(library).name: tool(library).read_bytes()}
        licences = {licence.name: licence.read_bytes() for licence in LICENCES}
        archive(DIST / f"{NAME}-{VERSION}-{name}.tar.gz", {**loadable, **program, **manual, **licences, **scripts()})
        # Nothing but the library: rqlite loads every file of an archive, and refuses one with folders.
        archive(DIST / f"{NAME}-{VERSION}-{name}-rqlite.tar.gz", loadable)
        libraries[node_platform] = library
    npm(libraries)
    archives = {PLATFORMS[target][0]: f"{NAME}-{VERSION}-{PLATFORMS[target][0]}.tar.gz" for target in built}
    (DIST / "sqlpkg.json").write_text(sqlpkg(PACKAGE, archives))
    (DIST / f"{NAME}.rb").write_text(formula(PACKAGE, archives, checksum))
    shutil.copy(ROOT / "packaging" / "install.sh", DIST)
    sbom = subprocess.run([sys.executable, ROOT / "packaging" / "sbom.py"], stdout=subprocess.PIPE, check=True)
    (DIST / f"{NAME}-{VERSION}.cdx.json").write_bytes(sbom.stdout)
    sums = [f"{checksum(file.name)}  {file.name}\n" for file in sorted(DIST.iterdir())]
    (DIST / "SHA256SUMS").write_text("".join(sums))
    print("".join(sums), end="")


if __name__ == "__main__":
    main({target: Path(library) for target, _, library in (argument.partition("=") for argument in sys.argv[1:])})
