"""The comparison seen from outside: pytest in a process of its own on tiny notebooks with altered stored outputs."""

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from tests.outputs.plugin import MOST_MASKED, Tally

ROOT = Path(__file__).parents[2]
CLAIM = "application/vnd.labkit.claim+json"
RECORD = {"kind": "equation", "statement": "a = b", "measured": 0.25, "expected": 0.25, "passed": True}
SHOW = "from IPython.display import display\ndisplay({data}, raw=True)"


def stream(text, name="stdout"):
    return new_output("stream", name=name, text=text)


def shown(**data):
    return new_output("display_data", data={key.replace("_", "/"): value for key, value in data.items()})


def figure(alt):
    return f'<img alt="{alt}" src="data:image/png;base64,AAAA">'


def claim(**changes):
    return new_output("display_data", data={"text/plain": "✓", CLAIM: {**RECORD, **changes}})


def say(data):
    return SHOW.format(data=data)


LOSS = "loss from 4.00 to 0.58"
PICTURE = say({"text/html": figure(LOSS)})
CLAIMED = say({"text/plain": "✓", CLAIM: RECORD})

NEVER_RUN = "a cell that was never run and has no outputs"
# name: source, stored outputs, whether the comparison must accept them
CASES = {
    "unchanged": ("print('four words, 12 tokens')", [stream("four words, 12 tokens\n")], True),
    "a last digit": ("print(0.30714159)", [stream("0.30714158\n")], True),
    "a percent of a decimal": ("print(0.30714159)", [stream("0.31021\n")], False),
    "a word": ("print('four words, 12 tokens')", [stream("five words, 12 tokens\n")], False),
    "an integer": ("print('1,234,567 tokens')", [stream("1,234,568 tokens\n")], False),
    "a space": ("print('a b')", [stream("a  b\n")], False),
    "the machine's own words": ("print('on ‹this machine›')", [stream("on ‹another one›\n")], True),
    "a word in html": (say({"text/html": "<b>good</b>"}), [shown(text_html="<b>bad</b>")], False),
    "a digit in html": (say({"text/html": "<b>0.50001</b>"}), [shown(text_html="<b>0.50002</b>")], True),
    "the bytes of a figure": (
        PICTURE,
        [shown(text_html=figure("loss from 4.00 to 0.58").replace("AAAA", "BBBB"))],
        True,
    ),
    "the alt text": (PICTURE, [shown(text_html=figure("loss from 4.00 to 0.68"))], False),
    "a figure that is gone": ("1 + 1", [shown(text_html=figure("x"))], False),
    "a bare image that is gone": ("1;", [shown(image_png="AAAA")], False),
    "a bare image that is new": (say({"image/png": "AAAA"}), [], False),
    "a claim": (CLAIMED, [claim()], True),
    "the verdict of a claim": (CLAIMED, [claim(passed=False)], False),
    "the words of a claim": (CLAIMED, [claim(statement="a = c")], False),
    "a figure of the machine in a claim": (
        say({"text/plain": "measured ‹2.5›, expected 2", CLAIM: {**RECORD, "measured": 2.5}}),
        [
            new_output(
                "display_data", data={"text/plain": "measured ‹3.5›, expected 2", CLAIM: {**RECORD, "measured": 3.5}}
            )
        ],
        True,
    ),
    "an output that is gone": ("print('a')", [stream("a\n"), shown(text_plain="b")], False),
    "an output that is new": ("print('a')", [], False),
    "the order of outputs": ("print('a')\n" + say({"text/plain": "b"}), [shown(text_plain="b"), stream("a\n")], False),
    "an address": ("print(f'<A at {hex(id(print))}>')", [stream("<A at 0x…>\n")], True),
    "words before and after a display": (
        "print('a')\n" + say({"text/plain": "b"}) + "\nprint('c')",
        [stream("a\n"), shown(text_plain="b"), stream("c\n")],
        True,
    ),
    "a word after a display": (
        "print('a')\n" + say({"text/plain": "b"}) + "\nprint('c')",
        [stream("a\n"), shown(text_plain="b"), stream("d\n")],
        False,
    ),
    "stderr for stdout": ("print('a')", [stream("a\n", name="stderr")], False),
    "a cleared output": (
        "import IPython.display as d\nd.clear_output()\nprint('a')",
        [stream("a\n")],
        False,
    ),
    "an error nobody asked for": ("1 / 0", [], False),
    NEVER_RUN: ("a = 1", [], False),
}


def cell(source, outputs, *, count=1, tags=()):
    return new_code_cell(source, outputs=outputs, execution_count=count, metadata={"tags": list(tags)} if tags else {})


def run(folder, cells, *options):
    """Exit code, everything printed, and the result of each test by name, of pytest over a notebook of these cells."""
    nbformat.write(new_notebook(cells=cells), folder / "tiny.ipynb")
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-p", "tests.outputs.plugin", "-p", "no:cacheprovider", "--color=no"]
    command += ["--nbval", "--nbval-current-env", f"--nbval-sanitize-with={ROOT}/tests/outputs/sanitize.cfg"]
    command += ["--nbval-cell-timeout=60", "--junitxml=results.xml", *options, str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8")
    cases = ElementTree.parse(folder / "results.xml").getroot().iter("testcase")
    return done.returncode, done.stdout, {case.get("name"): case.find("failure") is None for case in cases}


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    cells = [
        cell(source, outputs, count=None if name == NEVER_RUN else 1) for name, (source, outputs, _) in CASES.items()
    ]
    code, printed, results = run(tmp_path_factory.mktemp("cases"), cells)
    assert code == 1, printed
    assert "plugin exception" not in printed, printed
    assert "The cell gave [['stdout'], ['text/plain']], stored is [['text/plain'], ['stdout']]." in printed
    return [results[f"Cell {number}"] for number in range(len(CASES))]


@pytest.mark.parametrize("name", CASES)
def test_an_altered_output_is_refused_and_a_last_digit_is_not(verdicts, name):
    assert verdicts[list(CASES).index(name)] == CASES[name][2]


def test_the_run_says_how_much_was_compared_and_passes_when_all_was(tmp_path):
    code, printed, results = run(tmp_path, [cell("print('a')", [stream("a\n")]), cell("2", [shown(text_plain="2")])])
    assert code == 0, printed
    assert "notebook outputs: 2 compared, 0 ignored (100.0% compared); 0.0% of the characters" in printed
    assert results == {"Cell 0": True, "Cell 1": True}


def test_ignored_outputs_beyond_one_in_twenty_fail_the_run(tmp_path):
    cells = [cell("print('a')", [stream("a\n")]) for _ in range(9)]
    cells.append(cell("print('b')", [stream("c\n")], tags=["nbval-ignore-output"]))
    code, printed, results = run(tmp_path, cells)
    assert (code, set(results.values())) == (1, {True})
    assert "9 compared, 1 ignored (90.0% compared)" in printed
    assert "FAILED: at least 95% must be compared" in printed


def test_what_several_workers_compared_is_judged_as_one_whole(tmp_path):
    good, bad = tmp_path / "good", tmp_path / "bad"
    for folder in (good, bad):
        folder.mkdir()
    nbformat.write(new_notebook(cells=[cell("1;", [shown(text_plain="1")], tags=["nbval-skip"])]), bad / "bad.ipynb")
    cells = [cell("print('a')", [stream("a\n")]) for _ in range(18)]
    code, printed, _ = run(tmp_path, cells, "-n", "2", "--dist", "loadfile")
    assert (code, "18 compared, 1 ignored (94.7% compared)" in printed) == (1, True), printed
    nbformat.write(new_notebook(cells=cells[:1]), good / "good.ipynb")
    code, printed, _ = run(tmp_path, cells, "-n", "2", "--dist", "loadfile")
    assert (code, "19 compared, 1 ignored (95.0% compared)" in printed) == (0, True), printed


def test_the_characters_behind_masks_are_counted_as_a_reader_sees_them():
    tally = Tally()
    tally.count([stream("on ‹1234› a\n"), shown(text_html="<b>‹12›</b>6789")], checked=True)
    assert (tally.masked, tally.characters) == (6 + 4, 12 + 8)
    assert tally.share_masked > MOST_MASKED


STORED = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("path", STORED[:1], ids=lambda path: path.stem)
def test_one_changed_word_in_a_real_notebook_fails_the_suite(tmp_path, path):
    cells = with_a_changed_word(nbformat.read(path, as_version=4).cells)
    code, printed, results = run(tmp_path, cells)
    failed = [name for name, passed in results.items() if not passed]
    last = sum(one.cell_type == "code" for one in cells) - 1
    assert (code, failed) == (1, [f"Cell {last}"]), printed
    assert "changedword" in printed


def with_a_changed_word(cells):
    """The cells up to the first one that prints a word, and that word changed in its stored output."""
    for number, one in enumerate(cells):
        for output in one.get("outputs", []):
            holder, key = (output, "text") if "text" in output else (output.data, "text/plain")
            masked = re.sub(r"‹[^›]*›", lambda mask: "_" * len(mask[0]), holder[key])
            word = re.search(r"\b[a-z]{4,}\b", masked)
            if word:
                holder[key] = holder[key][: word.start()] + "changedword" + holder[key][word.end() :]
                return cells[: number + 1]
    raise AssertionError("no cell of this notebook prints a word")
