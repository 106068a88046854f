"""A pipeline in one process: what each stage takes out, what is quarantined, what a pipeline is recognised by."""

import functools
import re
from dataclasses import replace

import numpy as np
import pytest

from labkit.cleaning.documents import Broken, Document
from labkit.cleaning.pipeline import Drop, Pipeline, Step, described, run, step
from labkit.cleaning.quarantine import Quarantined, Removed, from_line, most, reason_of, to_line
from tests.cleaning import toy_steps
from tests.cleaning.toy_steps import fail, half_a_pair, toy, upper


def documents(*texts):
    return [Document(str(number), text) for number, text in enumerate(texts)]


def test_a_run_by_hand():
    long = "one two three four five six seven eight nine ten"
    result = run(toy(), documents("too short", long, long, f"{long} eleven", "boom and so on", "another text of words"))
    assert [one.id for one in result.kept] == ["1", "5"]
    assert result.kept[0].text == long.upper()
    assert result.removed == [
        Removed("0", "drop short", "2 words, at least 4 wanted"),
        Removed("2", "exact copies", "the text of 1"),
        Removed("3", "near copies", "Jaccard 0.86 with 1"),
    ]
    assert result.quarantined == [Quarantined("4", "fail", "KeyError: 'boom'")]
    assert result.counts == {"read": 6, "upper": 6, "drop short": 5, "fail": 4, "exact copies": 3, "near copies": 2}


def test_the_report_is_the_funnel_and_the_reasons():
    lines = run(toy(), documents("too short", "boom and so on")).report().splitlines()
    assert lines[3].split() == ["drop", "short", "1", "1"]
    assert lines[-1].split() == ["1", "fail:", "KeyError:", "'boom'"]


def test_nothing_is_lost_whatever_happens():
    given = [*documents("a b c d", "x", "boom a b c", "y" * 3000), Broken("file:7", "not JSON", b"{", 1)]
    result = run(toy(), given)
    left = [one.id for one in (*result.kept, *result.removed, *result.quarantined)]
    assert sorted(left) == sorted(one.id for one in given)
    assert len(result.kept) == result.counts["near copies"]


def test_quarantine_keeps_the_document_as_it_came():
    found = run(toy(), documents("boom said somebody twice")).quarantined[0]
    assert Document.from_json(found.line).text == "boom said somebody twice"


def test_what_a_step_makes_too_long_or_unwritable_goes_to_quarantine():
    grow = Step("grow", lambda document: replace(document, text=document.text * 100))
    found = run(Pipeline((grow,), longest=500), documents("123456789", "1"))
    assert found.quarantined == [Quarantined("0", "grow", "longer than 500 bytes")] and len(found.kept) == 1
    broken = run(Pipeline((step(half_a_pair),)), documents("a")).quarantined[0]
    assert broken.step == "half a pair" and "surrogates not allowed" in broken.reason


@pytest.mark.parametrize("wrong", [None, "text", 7])
def test_a_step_that_returns_something_else_is_a_mistake_with_a_name(wrong):
    found = run(Pipeline((Step("wrong", lambda document: wrong),)), documents("a"))
    assert found.quarantined[0].step == "wrong" and found.kept == []


def test_stages_can_be_left_out():
    text = "one two three four five six"
    assert len(run(Pipeline((), exact=False, near=None), documents(text, text)).kept) == 2
    assert Pipeline((), exact=False, near=None).names == ("read",)
    assert run(Pipeline(()), []).counts == {"read": 0, "exact copies": 0, "near copies": 0}


def test_a_pipeline_is_recognised_by_steps_and_settings():
    assert toy().fingerprint == toy().fingerprint
    others = [toy(near=0.7), toy(step(upper.__globals__["hang"])), toy(seed=1), toy(longest=3000), toy(exact=False)]
    assert len({one.fingerprint for one in [toy(), *others]}) == 6
    assert Pipeline((step(toy_steps.drop_short, least=4),)) != Pipeline((step(toy_steps.drop_short, least=5),))


def test_settings_are_described_by_what_they_hold_and_never_by_an_address():
    class Model:
        def __init__(self):
            self.weights, self.names = np.arange(3), {"b", "a"}

    assert described(Model()) == described(Model())
    changed = Model()
    changed.weights[1] = 7
    assert described(changed) != described(Model()) and " at 0x" not in described([Model(), len, upper])


def test_what_cannot_be_a_pipeline_is_refused():
    with pytest.raises(ValueError, match="two stages are called 'upper'"):
        Pipeline((step(upper), step(upper)))
    with pytest.raises(ValueError, match="between 0 and 1"):
        Pipeline((), near=80)
    with pytest.raises(ValueError, match="longest"):
        Pipeline((), longest=0)
    with pytest.raises(ValueError, match="function of a module"):
        step(lambda document: document)


def test_a_reason_is_one_short_line():
    assert reason_of(ValueError("first\nsecond")) == "ValueError: first"
    assert reason_of(MemoryError()) == "MemoryError"
    assert len(reason_of(ValueError("x" * 9999))) < 300


@pytest.mark.parametrize("one", [Removed("ä", "s", "r"), Quarantined("a", "s", "r", b'{"a": "\xff\x00"}')])
def test_what_left_is_written_and_read_again_byte_by_byte(one):
    again = from_line(type(one), to_line(one))
    assert again == one and getattr(again, "line", b"") == getattr(one, "line", b"")


def test_rare_reasons_are_added_up_when_there_are_too_many():
    assert most({"a": 1, "b": 5, "c": 2, "d": 1}, kinds=2) == {"b": 5, "c": 2, "other reasons": 2}


def test_drop_gives_its_reason_and_steps_have_readable_names():
    assert step(half_a_pair).name == "half a pair"
    assert step(fail)(Document("a", "fine")) == Document("a", "fine")
    assert Drop("short").reason == "short"


def shouting(document, change=None):
    """A step with a setting."""
    return document


class Judge:
    """Something with a method and a number."""

    def __init__(self, limit):
        self.limit = limit

    def decide(self, text):
        """Whether it is short enough."""
        return len(text) < self.limit


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (functools.partial(max, 1), functools.partial(max, 2)),
        (functools.partial(max, 1), functools.partial(min, 1)),
        (Judge(1).decide, Judge(2).decide),
        (re.compile("a" * 300 + "b"), re.compile("a" * 300 + "c")),
        (re.compile("a"), re.compile("a", re.IGNORECASE)),
    ],
    ids=["argument", "function", "owner of a method", "end of a pattern", "flag of a pattern"],
)
def test_settings_that_differ_inside_have_another_fingerprint(one, other):
    codes = {Pipeline((step(shouting, change=change),)).fingerprint for change in (one, other)}
    assert len(codes) == 2
    assert Pipeline((step(shouting, change=one),)).fingerprint in codes


def test_what_is_no_document_is_refused_in_words():
    with pytest.raises(ValueError, match="takes Document, got str"):
        run(Pipeline(()), ["a text"])
    with pytest.raises(ValueError, match="a step is a function of a module"):
        step(functools.partial(shouting, change=1))
