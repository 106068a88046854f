"""The two pages for teachers and authors: what they show was run, and it comes out the same when it is run again."""

import re
import shutil
import sys
from importlib import util
from itertools import count, zip_longest

import pytest

from labkit.workbench import claims
from labkit.workbench.checking import mark, prove
from tests.project import ROOT
from tests.workbench.teaching import terminal_log

DOCS = ROOT / "docs"
PAGES = ("teaching.md", "authoring.md")


def text_of(name):
    return (DOCS / name).read_text(encoding="utf-8")


def examples():
    """The Python blocks of authoring.md by the heading above them."""
    found = re.findall(
        r"^## ([^\n]+)\n(?:(?!^## ).)*?```python\n(.*?)```", text_of("authoring.md"), re.DOTALL | re.MULTILINE
    )
    return dict(found)


@pytest.fixture
def executed(monkeypatch, tmp_path):
    """A function that executes an example as a module of its own, from a file, so that its source can be shown."""
    names = (f"authoring_example_{number}" for number in count())

    def execute(source):
        path = tmp_path / f"{next(names)}.py"
        path.write_text(source, encoding="utf-8")
        found = util.spec_from_file_location(path.stem, path)
        module = util.module_from_spec(found)
        monkeypatch.setitem(sys.modules, path.stem, module)
        found.loader.exec_module(module)
        return module

    return execute


def slug(heading):
    """How the web names a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_to_a_file_and_to_a_heading_in_it(name):
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(name)):
        if "://" in target:
            continue
        file, _, part = target.partition("#")
        path = (DOCS / file) if file else DOCS / name
        assert path.exists(), f"{name}: {target} leads nowhere"
        headings = [slug(each) for each in re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)]
        assert not part or part in headings, f"{name}: {target}"


@pytest.mark.parametrize("name", PAGES)
def test_every_command_and_option_of_labkit_that_is_named_exists(name):
    from labkit.workbench.cli import cli

    for line in re.findall(r"(?:^\$ |`)labkit ([a-z]+[^`\n]*)", text_of(name), re.MULTILINE):
        command, *words = line.split()
        assert command in cli.commands, line
        options = {option for each in cli.commands[command].params for option in each.opts}
        assert [word for word in words if word.startswith("--") and word not in options] == [], line


def test_the_names_and_tools_of_the_authors_page_exist():
    for path in re.findall(r"`((?:labkit|tests|docs)/[\w/]+(?:\.\w+)?)`", text_of("authoring.md")):
        assert (ROOT / path).exists(), path


def test_the_claims_of_the_example_hold_and_fail_when_a_number_is_changed(executed):
    source = examples()["A claim"]
    executed(source)
    assert source.count("claim(") == 2
    for right, wrong in (("halves, 1.0,", "halves, 1.1,"), ("at_most(1e-8)", "at_most(1e-12)")):
        assert right in source
        with pytest.raises(claims.ClaimFailed):
            executed(source.replace(right, wrong))


def test_the_exercise_of_the_example_is_fit_for_learners_and_not_without_its_edges(executed):
    source = examples()["An exercise"]
    exercise = executed(source).SHARE
    assert prove(exercise) == []
    assert mark(exercise, lambda counts, word: counts.get(word, 0) / sum(counts.values())).status != "correct"
    broken = executed(source.replace('for word in "ax"', 'for word in "a"')).SHARE
    assert any("'unseen'" in problem for problem in prove(broken)), "without an unseen word a mistake passes"
    hole = re.search(r'@labkit\.check\("([\w.]+)"\)', text_of("authoring.md"))
    assert hole[1] == exercise.id


def test_the_explorable_of_the_example_is_drawn_in_every_corner(executed):
    explorer = executed(examples()["An explorable"]).explorer
    said = set()
    for corner in explorer.corners():
        explorer.set(**corner)
        assert explorer.error == ""
        said.add(explorer.alt)
    assert len(said) == 2


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="the log was written where bubblewrap is")
def test_the_terminal_log_comes_out_as_it_stands_on_the_page(tmp_path):
    page = text_of("teaching.md")
    now = terminal_log.replayed(page, tmp_path)
    pairs = zip_longest(*(terminal_log.masked(each).splitlines() for each in (page, now)))
    assert [(stands, came) for stands, came in pairs if stands != came] == [], (
        "write it anew: python tests/workbench/teaching/terminal_log.py"
    )


def test_what_changes_from_run_to_run_is_masked_and_nothing_else():
    assert terminal_log.masked("in 3 s (x)  \n1c7b3df85873  12 exercises\n") == "in N s (x)\nVERSION 12 exercises"
    assert terminal_log.in_order("b · 02 · 1 wrong\nkept\na · 00 · 2 correct") == (
        "a · 00 · 2 correct\nkept\nb · 02 · 1 wrong\n"
    )
