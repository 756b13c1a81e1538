"""Scripts of the sqlite3 shell with what they must say beside the statements."""

import re
from dataclasses import dataclass, field

from conftest import run_shell


@dataclass
class Case:
    """Statements and what they must give. `last` is the line of the last expectation, where the mark goes."""

    first: int
    last: int
    output: list = field(default_factory=list)
    errors: list = field(default_factory=list)

    @property
    def mark(self):
        return f"==== end of the case in line {self.first} ===="


def parse(text):
    """The cases of a test file."""
    cases, first, in_expectation = [], None, False
    for number, line in enumerate(text.splitlines(), 1):
        if found := re.match(r"--([>!]) ?(.*)", line):
            if not in_expectation:
                assert first, f"line {number}: an expectation without a statement"
                cases.append(Case(first, number))
            case, first, in_expectation = cases[-1], None, True
            case.last = number
            (case.output if found[1] == ">" else case.errors).append(found[2])
        else:
            in_expectation = False
            if first is None and line.strip() and not line.startswith("--"):
                first = number
    assert cases, "the file expects nothing"
    assert first is None, f"line {first}: nothing is expected of the last statement"
    return cases


def with_marks(text, cases):
    marks = {case.last: f".print {case.mark}" for case in cases}
    return "\n".join(marks.get(number, line) for number, line in enumerate(text.splitlines(), 1)) + "\n"


def errors_by_line(stderr):
    """(line, text) for each error of the shell, whose wording around it differs between versions."""
    errors = []
    for line in stderr.splitlines():
        if found := re.match(r"(?:\w+ )?[Ee]rror:? near line (\d+): (.*?)(?: \(\d+\))?$", line):
            errors.append((int(found[1]), found[2]))
        elif not (errors and re.match(r"  |.*\^--- error here", line)):  # where in the statement it was
            errors.append((0, line))
    return errors


def failures(text, database, env):
    """Run a test file; a sentence for each thing that is not as expected."""
    cases = parse(text)
    shell = run_shell(with_marks(text, cases), database, env, ["-nullvalue", "NULL"])
    errors, rest, found = errors_by_line(shell.stderr), shell.stdout, []
    for case in cases:
        output, mark, rest = rest.partition(case.mark + "\n")
        if not mark:
            found.append(f"line {case.first}: the script stopped before the end of this statement")
            break
        raised = [text for line, text in errors if case.first <= line <= case.last]
        errors = [(line, text) for line, text in errors if not case.first <= line <= case.last]
        if raised != case.errors:
            found.append(f"line {case.first}: expected the errors {case.errors}, got {raised}")
        if output.splitlines() != case.output:
            found.append(f"line {case.first}: expected {case.output}, got {output.splitlines()}")
    found += [f"line {line}: {text}" for line, text in errors]
    if rest:
        found.append(f"more output than expected: {rest!r}")
    if shell.returncode not in (0, 1):
        found.append(f"the shell ended with {shell.returncode}")
    return found
