"""Whether an ARM64 program executes the processor's instructions for AES and SHA-256, counted one by one under QEMU.

    python tests/promises/arm64.py PROGRAM [ARGUMENT…]

PROGRAM is the crate's unit tests, built for ARM64; without ARGUMENTs it makes and reads the Fernet specification's example.
Prints how often each instruction was executed, and ends with 1 if one of them was not, or if the same program executes
some while it only lists its tests.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

#: What the instructions' codes have in common (Arm Architecture Reference Manual, C7.2).
CODES = {
    "aese": (0xFFFFFC00, 0x4E284800),
    "aesd": (0xFFFFFC00, 0x4E285800),
    "aesmc": (0xFFFFFC00, 0x4E286800),
    "aesimc": (0xFFFFFC00, 0x4E287800),
    "sha256h": (0xFFE0FC00, 0x5E004000),
    "sha256h2": (0xFFE0FC00, 0x5E005000),
    "sha256su0": (0xFFFFFC00, 0x5E282800),
    "sha256su1": (0xFFE0FC00, 0x5E006000),
}
EXAMPLE = ["cipher::tests::the_specification_s_example_is_made_byte_for_byte", "--exact", "--test-threads=1"]


def traced(qemu, command, *options):
    """What QEMU logs while it runs a program, which must end well."""
    with tempfile.NamedTemporaryFile() as log:
        subprocess.run([qemu, *options, "-D", log.name, *command], check=True, stdout=subprocess.DEVNULL)
        return Path(log.name).read_text(errors="replace")


def translated(trace):
    """Each block of instructions that was met: its address, and the instructions of ours in it."""
    for block in trace.split("----------------")[1:]:
        codes = [int(code, 16) for code in re.findall(r"^0x[0-9a-f]+: +([0-9a-f]{8})\b", block, re.MULTILINE)]
        codes += [int(code, 16) for line in re.findall(r"^OBJD-T: (\w+)", block, re.MULTILINE) for code in swapped(line)]
        found = Counter(name for code in codes for name, (mask, value) in CODES.items() if code & mask == value)
        address = re.search(r"^0x([0-9a-f]+):|^IN: .*?0x([0-9a-f]+)", block, re.MULTILINE)
        if found and address:
            yield int(address[1] or address[2], 16), found


def swapped(line):
    """The instructions of a line of bytes, where QEMU has no disassembler."""
    return [bytes.fromhex(line[at : at + 8])[::-1].hex() for at in range(0, len(line), 8)]


def executed(qemu, command):
    """How often each of the instructions was executed."""
    blocks = dict(translated(traced(qemu, command, "-d", "in_asm")))
    if not blocks:
        return Counter()
    ranges = ",".join(f"0x{address:x}..0x{address:x}" for address in blocks)
    counts = Counter()
    trace = traced(qemu, command, "-d", "exec,nochain", "-dfilter", ranges)
    for address in re.findall(r"^Trace .*?\[[0-9a-f]+/([0-9a-f]+)/", trace, re.MULTILINE):
        counts.update(blocks[int(address, 16)])
    return counts


def main(program, *arguments):
    qemu = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if not qemu:
        raise SystemExit("There is no qemu-aarch64 here: Debian's qemu-user-static")
    counts = executed(qemu, [program, *(arguments or EXAMPLE)])
    print("ARM64:", ", ".join(f"{counts[name]} {name}" for name in CODES))
    if missing := [name for name in CODES if not counts[name]]:
        raise SystemExit(f"not executed: {', '.join(missing)}")
    if control := executed(qemu, [program, "--list"]):
        raise SystemExit(f"executed without a cause, so that the counts say nothing: {dict(control)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
