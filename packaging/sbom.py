"""The software bill of materials in CycloneDX 1.5 (https://cyclonedx.org/docs/1.5/json/), out of Cargo.lock."""

import json
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAME, TOOL = "sqlite-journal-crypt", "journal-crypt"

lock = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
own, tool = (next(package for package in lock if package["name"] == name) for name in (NAME, TOOL))


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


by_name = {}
for package in lock:
    by_name.setdefault(package["name"], []).append(package)


def dependency(text):
    """`name` or `name version`, as Cargo.lock has it."""
    name, _, version = text.partition(" ")
    return next(reference(p) for p in by_name[name] if not version or p["version"] == version.split()[0])


print(json.dumps({
    "bomFormat": "CycloneDX",
    "specVersion": "1.5",
    "version": 1,
    "metadata": {"component": {"type": "library", "name": NAME, "version": own["version"], "bom-ref": reference(own)}},
    "components": [
        {"type": "application", "name": TOOL, "version": tool["version"], "bom-ref": reference(tool)},
    ] + [
        {"type": "library", "name": package["name"], "version": package["version"], "purl": reference(package),
         "bom-ref": reference(package), "hashes": [{"alg": "SHA-256", "content": package["checksum"]}]}
        for package in lock if package not in (own, tool)
    ],
    "dependencies": [
        {"ref": reference(package), "dependsOn": sorted({dependency(text) for text in package.get("dependencies", [])})}
        for package in lock
    ],
}, indent=1))
