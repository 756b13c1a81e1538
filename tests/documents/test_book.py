"""README and the pages of docs/ say what is so: their examples run, and the reference names what there is.

Fenced blocks are run in their order, in one directory: `sh` by bash, `python` by Python, `sql` by the sqlite3
shell. (Those of docs/hosts/ are run by packages/test_install.py, each with its package alone.) The SQL blocks between
two others are one session of the shell. Comments at the start of a line, right below a line of code, are what the code
prints; `…` stands for any characters, and `-- Error:` begins the text of an error.

Each check takes the text of the pages and gives a sentence for each thing that is wrong, so that the last test can
hand it a text that is.
"""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from conftest import LIBRARY, ROOT, SQLITE3, TARGET, run_shell
from sql.script import Case, errors_by_line, with_marks

from .book import BOOK, README, blocks, matches, section

# With everything that can be registered.
ADMIN = {"JOURNAL_ADMIN": "1"}


# ---- The examples -----------------------------------------------------------------------------------------------


def is_result(lines, index, comment):
    """Whether a line is a comment right below code, with no empty line between."""
    while index >= 0 and lines[index].startswith(comment):
        index -= 1
        if index >= 0 and lines[index] and not lines[index].startswith(comment):
            return True
    return False


def cases(first, lines):
    """The statements of an SQL block with what is shown of them, and last those of which nothing is shown."""
    found, start = [], first
    for index, line in enumerate(lines):
        if line.startswith("-- "):
            assert is_result(lines, index, "--"), f"line {first + index}: a result without a statement"
            if index == 0 or not lines[index - 1].startswith("--"):
                found.append(Case(start, first + index))
            case, start = found[-1], first + index + 1
            case.last = first + index
            error = re.fullmatch("-- Error: (.*)", line)
            (case.errors if error else case.output).append(error[1] if error else line[3:])
    return [*found, Case(start, first + len(lines))]  # the mark goes where the fence is closed


def run_sql(session, folder, env):
    """Runs the SQL blocks of a session; a sentence for each thing that is not as shown."""
    wanted = [case for first, lines in session for case in cases(first, lines)]
    script = [""] * (session[-1][0] + len(session[-1][1]))
    for first, lines in session:
        script[first - 1 : first - 1 + len(lines)] = lines
    shell = subprocess.run(
        [SQLITE3, "-init", os.devnull, "-batch", "-cmd", ".load ./journal_crypt", "journal.db"], cwd=folder, env=env,
        input=with_marks("\n".join(script) + "\n", wanted), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    errors, rest, wrong = errors_by_line(shell.stderr), shell.stdout, []
    for case in wanted:
        given, mark, rest = rest.partition(case.mark + "\n")
        if not mark:
            return [*wrong, f"line {case.first}: the script stopped before the end of this statement {errors}"]
        raised = [text for line, text in errors if case.first <= line <= case.last]
        errors = [(line, text) for line, text in errors if not case.first <= line <= case.last]
        if not matches(case.errors, raised):
            wrong.append(f"line {case.first}: the errors {case.errors} are shown, {raised} came")
        if not matches(case.output, given.splitlines()):
            wrong.append(f"line {case.first}: {case.output} is shown, {given.splitlines()} came")
    return wrong + [f"line {line}: {text}" for line, text in errors]


def run_python(first, lines, folder, env):
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], cwd=folder, env=env, capture_output=True, text=True, timeout=60
    )
    shown = [line[2:] for index, line in enumerate(lines) if line.startswith("# ") and is_result(lines, index, "#")]
    if done.returncode:
        return [f"line {first}: {done.stderr}"]
    return [] if matches(shown, done.stdout.splitlines()) else [f"line {first}: {shown} is shown, {done.stdout} came"]


def run_sh(first, lines, folder, env):
    """Runs a block and leaves in `env` what it exports."""
    script = "\n".join(["set -euo pipefail", *lines, "env -0 > .environment"])
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )
    if done.returncode:
        return [f"line {first}: {done.stdout + done.stderr}"]
    environment = (folder / ".environment").read_text().split("\0")
    env.update(pair.split("=", 1) for pair in environment if pair)
    return []


def wrong_examples(text, folder):
    programs = folder / "programs"
    programs.mkdir(parents=True)
    (programs / "sqlite3").symlink_to(SQLITE3)
    # What make would do is another test's; here it must only know the target.
    make = programs / "make"
    make.write_text(f'#!/bin/sh\nexec "{shutil.which("make")}" --dry-run --directory="{ROOT}" "$@"\n')
    make.chmod(0o755)
    shutil.copytree(ROOT / "sql", folder / "sql")
    shutil.copy(LIBRARY, folder / f"journal_crypt{LIBRARY.suffix}")
    shutil.copy(TARGET / "release" / "journal-crypt", folder)
    env = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    wrong, session = [], []
    for language, first, lines in [*blocks(text), ("end", 0, [])]:
        if language == "sql":
            session.append((first, lines))
        elif language != "json":
            if session:
                wrong += run_sql(session, folder, env)
                session = []
            if language == "end":
                break
            run = {"sh": run_sh, "python": run_python}.get(language)
            wrong += run(first, lines, folder, env) if run else [f"line {first}: nothing runs {language}"]
        else:
            json.loads("\n".join(lines))
    return wrong


# ---- The reference ----------------------------------------------------------------------------------------------


def rows(text):
    """The cells of each row of the tables in a text, but for their headings."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    headings = {index - 1 for index, cells in enumerate(lines) if set("".join(cells)) == {"-"}}
    return [cells for index, cells in enumerate(lines) if index not in headings and set("".join(cells)) != {"-"}]


def differences(documented, existing, of):
    return [f"{of} {name} does not exist" for name in sorted(documented - existing, key=str)] + [
        f"{of} {name} is not documented" for name in sorted(existing - documented, key=str)
    ]


def calls(text):
    """(name, number of arguments) of each call; a name without parentheses is a table and takes none."""
    found = set()
    for name, arguments in re.findall(r"(journal_\w+)(?:\(([^)]*)\))?", text):
        required, _, optional = (arguments or "").partition("[")
        count = len([a for a in required.split(",") if a.strip()])
        found.add((name, count))
        if optional:
            found.add((name, count + 1))
    return found


def headed(text):
    """The calls that head a part of the reference."""
    return calls("\n".join(re.findall(r"^#### (.*)", section(text, "Functions"), re.MULTILINE)))


def ask(sql, env, database=":memory:"):
    shell = run_shell(f"{sql};", database, env)
    assert not shell.stderr, shell.stderr
    return [line.split("|") for line in shell.stdout.splitlines()]


def wrong_functions(text):
    functions = ask("SELECT name, narg FROM pragma_function_list WHERE name LIKE 'journal\\_%' ESCAPE '\\'", ADMIN)
    # The hidden columns of a table are its arguments; the context is the one that need not be given.
    tables = ask(
        "SELECT m.name, (SELECT count(*) FROM pragma_table_xinfo(m.name) WHERE hidden = 1 AND name NOT LIKE left_out)"
        " FROM pragma_module_list AS m, (SELECT '' AS left_out UNION ALL SELECT '%_context')"
        " WHERE m.name LIKE 'journal\\_%' ESCAPE '\\'",
        ADMIN,
    )
    registered = {(name, int(count)) for name, count in functions + tables}
    return differences(headed(text), registered, "the function") if registered else ["nothing is registered"]


def wrong_card(text):
    """The reference card at the head of src/lib.rs."""
    head = (ROOT / "src" / "lib.rs").read_text().split("\npub mod")[0]
    card = "\n".join(re.findall(r"^//! (journal_.*?) *->", head, re.MULTILINE))
    # `(…)` stands for the arguments of the line before it.
    short = set(re.findall(r"(journal_\w+)\(…\)", card))
    documented = {(name, count) for name, count in headed(text) if name not in short}
    carded = {(name, count) for name, count in calls(card) if name not in short}
    return differences(documented, carded, "in the card,") + [f"{name}?" for name in short - dict(headed(text)).keys()]


def wrong_errors(text):
    source = (ROOT / "src" / "error.rs").read_text()
    word_of = dict(re.findall(r"Error::(\w+)[^\n]*=> \"(\w+)\"", source))
    final = re.search(r"fn is_final.*?\n    }\n", source, re.DOTALL)[0]
    existing = {(word, f"Error::{variant}" in final) for variant, word in word_of.items()}
    documented = {(re.fullmatch("`(.*)`", cells[0])[1], cells[3] == "yes") for cells in rows(section(text, "Errors"))}
    return differences(documented, existing, "the word (and whether it is final)") if existing else ["no word found"]


def wrong_variables(text):
    existing = set()
    for file in (ROOT / "src" / "config").glob("**/*.rs"):
        source = file.read_text().split("#[cfg(test)]")[0]
        existing |= {name.upper() for name in re.findall(r'"((?:JOURNAL|AWS)_[A-Z0-9_]+|\w+_(?:PROXY|proxy))"', source)}
    existing.discard("JOURNAL_STREAM")  # systemd's, which the doctor does not take for a misspelling
    table = rows(section(text, "Configuration"))
    documented = {name for cells in table for name in re.findall(r"`([A-Z_0-9]+)`", cells[0])}
    # The page has those of AWS that most need; docs/aws.md has all.
    elsewhere = {name for name in re.findall(r"`(AWS_[A-Z_0-9]+)`", (ROOT / "docs" / "aws.md").read_text())}
    wrong = differences(documented | elsewhere & existing, existing, "the variable")
    config = json.loads(ask("SELECT journal_config()", {})[0][0])
    checked = 0
    for variable, _, default in table:
        name = variable.strip("`").removeprefix("JOURNAL_").lower()
        if variable.startswith("`JOURNAL_") and name in config:
            checked += 1
            is_default = {"none": None, "auto": False, "0": False}.get(default.strip("`"), default.strip("`"))
            if str(config[name]).removesuffix(".0") != str(is_default):
                wrong.append(f"{variable} is {config[name]} and not {default}")
    return wrong if checked > 9 else [*wrong, "the defaults were not compared"]


def part(text, title):
    """The subsection with this title."""
    [found] = re.findall(rf"^### {re.escape(title)}\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    return found


def wrong_observations(text, database, key_store):
    """The rows of journal_stats and of journal_doctor, and the alerts on the former."""
    database.add_user(1)
    database.add_key(1, "oseh_ujmk_1")
    key_store.write("oseh_ujmk_1")
    wrong = []
    for table, title in [("journal_stats", "Counters"), ("journal_doctor", "The doctor")]:
        names = "\n".join(cells[0] for cells in rows(part(section(text, "What to watch"), title)))
        existing = {name for (name,) in ask(f"SELECT name FROM {table}", key_store.env, database.path)}
        wrong += differences(set(re.findall(r"`(\w+)`", names)), existing, f"the row of {table}")
        if table == "journal_stats":
            alerts = "\n".join(cells[0] for cells in rows(part(section(text, "What to watch"), "Alerts")))
            alerted = set(re.findall(r"^`(\w+)`$", alerts, re.MULTILINE))
            wrong += [f"the alert on {name} is on no counter" for name in sorted(alerted - existing)]
    return wrong


def wrong_log_lines(text):
    """The lines of SQLite's log: in the source `{…}` stands for what differs, on the page `…` does."""
    source = "\n".join(file.read_text() for file in (ROOT / "src").rglob("*.rs"))
    written = set(re.findall(r'\.log\(\s*format_args!\(\s*"([^"]*)"', source))
    told = [line for cells in rows(part(section(text, "What to watch"), "The log")) for line in re.findall("`([^`]*)`", cells[0])]
    wrong, met = [], set()
    for line in told:
        of_line = {form for form in written if re.fullmatch(".*".join(map(re.escape, re.split(r"\{\w+\}", form))), line)}
        met |= of_line
        end = re.search("; it is .*", line)
        if not of_line or (end and f'"{end[0]}"' not in source):
            wrong.append(f"the line {line} is never written")
    return wrong + [f"the line {form} is not documented" for form in sorted(written - met)]


def wrong_picture(text):
    """The errors that the picture shows."""
    shown = set(re.findall(r'class="word[^>]*>(\w+)<', (ROOT / "docs" / "path.svg").read_text()))
    documented = {cells[0].strip("`") for cells in rows(section(text, "Errors"))}
    return [f"the picture shows {word}" for word in shown - documented] if shown else ["the picture shows no error"]


# ---- The tests --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [README, BOOK], ids=["README", "pages"])
def test_the_examples_give_what_they_show(text, tmp_path):
    assert wrong_examples(text, tmp_path / "new") == []


@pytest.mark.parametrize("check", [wrong_functions, wrong_card, wrong_errors, wrong_variables, wrong_log_lines, wrong_picture])
def test_the_reference_names_what_there_is(check):
    assert check(BOOK) == []


def test_every_row_that_operators_watch_is_named(database, key_store):
    assert wrong_observations(BOOK, database, key_store) == []


def changed(correct, wrong):
    assert correct in BOOK
    return BOOK.replace(correct, wrong, 1)


@pytest.mark.parametrize(
    "correct, wrong, complaint",
    [
        ("-- Dear diary, the fog", "-- Dear diary, no fog", "['Dear diary, no fog lifted at ten.'] is shown"),
        ("\nSELECT key_uid, token FROM", "\n.exit\nSELECT key_uid, token FROM", "stopped before the end"),
        ("-- Error: unsafe", "-- Error: safe", "the errors ['safe use of journal_decrypt()'] are shown"),
        ("-- 00FF\n", "", "[] is shown, ['00FF'] came"),
        ("SELECT journal_key_uid(1)", "SELECT journal_key(1)", "no such function: journal_key"),
        ("UPDATE journal_entries SET", "UPDATE journals SET", "no such table: journals"),
        ("# Slept well.\n", "# Slept.\n", "is shown"),
        ('journal.load_extension("./journal_crypt")', 'journal.load_extensions("./journal_crypt")', "AttributeError"),
        ("\nmake demo", "\nmake demos", "No rule to make target"),
        ("rotate --older-than 30d", "rotate --older 30d", "unexpected argument"),
        ("-- key_lost|2", "-- key_lost|3", "['key_lost|3'] is shown"),
        ("mkdir -m 700 keys", "mkdir -m 700 keys/keys", "keys/keys"),
        ("```python\nimport sqlite3, time", "```pyhton\nimport sqlite3, time", "nothing runs pyhton"),
    ],
)  # fmt: skip
def test_a_wrong_example_is_seen(correct, wrong, complaint, tmp_path):
    found = wrong_examples(changed(correct, wrong), tmp_path / "new")
    assert any(complaint in sentence for sentence in found), found


@pytest.mark.parametrize(
    "check, correct, wrong, complaint",
    [
        (wrong_functions, "#### `journal_key_uid(", "#### `journal_key(", "the function ('journal_key_uid', 1) is not documented"),
        (wrong_functions, "plaintext[, key_uid])`", "plaintext)`", "the function ('journal_encrypt', 3) is not documented"),
        (wrong_functions, "#### `journal_seal(user_id, plaintext[, context])", "#### `journal_seal(user_id)", "the function ('journal_seal', 1) does not exist"),
        (wrong_card, "#### `journal_evict([key_uid])", "#### `journal_evict(key_uid)", "in the card, ('journal_evict', 0) is not documented"),
        (wrong_card, "#### `journal_stats` →", "#### `journal_state` →", "in the card, ('journal_state', 0) does not exist"),
        (wrong_errors, "| `key_lost` |", "| `key_gone` |", "the word (and whether it is final) ('key_lost', True) is not documented"),
        (wrong_errors, "swapped columns | yes |", "swapped columns | |", "the word (and whether it is final) ('token_invalid', False) does not exist"),
        (wrong_variables, "| `JOURNAL_SCHEMA` |", "| `JOURNAL_SCHEME` |", "the variable JOURNAL_SCHEMA is not documented"),
        (wrong_variables, "`, `NO_PROXY`", "`", "the variable NO_PROXY is not documented"),
        (wrong_variables, "unchecked | `3600` |", "unchecked | `30` |", "`JOURNAL_CACHE_TTL` is 3600.0 and not `30`"),
        (wrong_variables, "machine | `0` |", "machine | `1` |", "`JOURNAL_ALLOW_HTTP` is False and not `1`"),
        (wrong_log_lines, "`fetch tried again: …`", "`fetch tried: …`", "the line fetch tried again: {error} is not documented"),
        (wrong_log_lines, "`fetch tried again: …`", "`fetch tried: …`", "the line fetch tried: … is never written"),
        (wrong_log_lines, "; it is kept for now`", "; it is kept`", 'the line check of key "…" failed: …; it is kept is never written'),
        (wrong_picture, "| `token_invalid` |", "| `token_wrong` |", "the picture shows token_invalid"),
    ],
)  # fmt: skip
def test_a_wrong_reference_is_seen(check, correct, wrong, complaint):
    assert complaint in check(changed(correct, wrong))


@pytest.mark.parametrize(
    "correct, wrong, complaint",
    [
        ("| `retries` |", "| `tries` |", "the row of journal_stats retries is not documented"),
        ("| `clock` |", "| `watch` |", "the row of journal_doctor watch does not exist"),
        ("| `queue_timeouts` | it grows", "| `queue_timeout` | it grows", "the alert on queue_timeout is on no counter"),
    ],
)
def test_a_wrong_row_is_seen(correct, wrong, complaint, database, key_store):
    assert complaint in wrong_observations(changed(correct, wrong), database, key_store)
