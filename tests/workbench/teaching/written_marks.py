"""Marks, submissions and pages for the tests of what is written about a class; nobody here is real."""

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

from labkit.workbench.checking import find
from labkit.workbench.course import Course, LateRule, Manual
from labkit.workbench.grading.handing_in.submissions import Submission
from labkit.workbench.grading.marks import Mark

STEM, FIRST = "02_ngram_models", "00_start_here"
DEADLINE = datetime(2026, 12, 4, 18, tzinfo=UTC)
QUESTION = Manual(FIRST, "picture", "What does the picture of the counts show?", 10.0, "x")
COURSE = Course(
    "Language models",
    "winter",
    (FIRST, STEM),
    {FIRST: 0.25, STEM: 0.75},
    {STEM: DEADLINE},
    LateRule(0.1, 30, 0.5),
    solutions=False,
    manual={FIRST: (QUESTION,)},
)
IDS = ("ngrams.bigrams", "ngrams.relative_frequency", "ngrams.add_k", "ngrams.stupid_backoff")
HOSTILE = "<script>alert(1)</script></p> \"'& \x1b[31mred\x1b[0m \x00\ud800\u202e <img src=//x onerror=alert(1)>"
VOID = {"meta", "br", "img", "link"}
ALLOWED_ADDRESSES = ("#", "data:image/png;base64,")


def mark(student="student-01", exercise=IDS[0], status="correct", share=None, stem=STEM, most=10.0, **more):
    """One mark; a right answer has all its points and every other none, unless told."""
    share = (status == "correct") if share is None else share
    return Mark(student, stem, exercise, share * most, most, status, **more)


def mistaken(student, exercise, number=0, share=0.0):
    """The mark of a student who made one of the known mistakes."""
    wrong = find(exercise).wrong[number]
    status = "partly" if share else "wrong"
    return mark(student, exercise, status, share, mistake=wrong.name, message=wrong.message)


def handed(student="student-01", stem=STEM, late=timedelta(0), notes=(), answers=None, words=None):
    """One submission, some time before or after the deadline."""
    found = {"notes": tuple(notes), "answers": answers or {}, "words": words or {}}
    return Submission(student, Path(f"{student}/{stem}.ipynb"), stem, submitted=DEADLINE + late, **found)


class Page(HTMLParser):
    """A page as a browser reads it: tags closed, ids unique, no script, nothing from elsewhere; and its text."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.ids, self.text, self.links, self.alts = [], [], [], "", [], []
        self.feed(html)
        self.close()
        html.encode("utf-8")
        assert self.open == [] and len(set(self.ids)) == len(self.ids)
        assert {link[1:] for link in self.links} <= set(self.ids)
        assert not {"script", "iframe", "link", "object", "form"} & set(self.tags)
        assert not re.search(r"@import|url\(|https?:", html)
        assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\u202a-\u202e]", html)
        levels = [int(tag[1]) for tag in self.tags if re.fullmatch("h[1-6]", tag)]
        assert levels[0] == 1 and levels.count(1) == 1
        assert all(below <= above + 1 for above, below in pairwise(levels))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        self.tags.append(tag)
        self.ids += filter(None, [given.get("id")])
        assert not [name for name in given if name.startswith("on")]
        assert all(value.startswith(ALLOWED_ADDRESSES) for name, value in attrs if name in ("src", "href"))
        assert tag != "html" or given["lang"] == "en"
        assert tag != "th" or given["scope"] in ("col", "row")
        self.links += [given["href"]] if tag == "a" else []
        if tag == "img":
            assert len(given["alt"]) > 10
            self.alts.append(given["alt"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        self.text += "" if tag in ("code", "span", "strong", "b") else " "

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data

    @property
    def words(self):
        """The text with single blanks."""
        return " ".join(self.text.split())
