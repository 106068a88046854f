"""The course file: what it says, each slip named with its line, the late rule, whose numbers are whose."""

import os
import subprocess
import sys
import zoneinfo
from datetime import datetime, timedelta

import pytest

from labkit.workbench import coursefile, notebooks, personal
from labkit.workbench.coursefile import Course, LateRule, default_course, in_effect, public_copy, read_course, seed_of
from tests.project import ROOT

SMALL = """
[course]
name = "Models"
notebooks = ["02", "13_data_cleaning"]
"""


@pytest.fixture(autouse=True)
def of_the_course(monkeypatch):
    monkeypatch.setenv("LABKIT_NOTEBOOKS", str(ROOT / "notebooks"))
    monkeypatch.setattr(personal, "_here", {"student": "", "course": ""})
    coursefile._cached.cache_clear()


@pytest.fixture
def written(tmp_path):
    def write(text, name="course.toml"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def refused(path):
    with pytest.raises(ValueError) as caught:
        read_course(path)
    return str(caught.value)


def moment(text):
    return datetime.fromisoformat(text)


def in_berlin(*parts, fold=0):
    if "Europe/Berlin" not in zoneinfo.available_timezones():
        pytest.skip("this machine has no table of time zones")
    return datetime(*parts, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"), fold=fold)


def test_the_example_in_the_docs_says_what_it_says():
    course = read_course(ROOT / "docs" / "course.toml")
    assert course.notebooks == ("00_start_here", "02_ngram_models", "06_attention_math", "13_data_cleaning")
    assert course.weights == {
        "00_start_here": 0.0,
        "02_ngram_models": 0.4,
        "06_attention_math": 0.4,
        "13_data_cleaning": 0.2,
    }
    assert course.deadlines["02_ngram_models"] == moment("2026-11-15T23:59:00+01:00")
    assert (course.late, course.seeds, course.solutions, course.hints) == (
        LateRule(0.1, 15, 0.5),
        "student",
        False,
        True,
    )
    assert [question.cell for question in course.manual["02_ngram_models"]] == ["answer-why-zero"]
    assert course.key == "Language models, built by hand · Winter 2026"


def test_what_is_left_away_has_a_default(written):
    course = read_course(written(SMALL))
    assert course.weights == {"02_ngram_models": 0.5, "13_data_cleaning": 0.5}
    assert (course.term, course.deadlines, course.points, course.manual) == ("", {}, {}, {})
    assert (course.solutions, course.hints, course.seeds, course.late) == (True, True, "same", LateRule())
    assert len(read_course(written('[course]\nname = "All"')).notebooks) > 10


def test_points_are_ten_for_each_star_where_the_file_says_nothing(written):
    from labkit.workbench.checking import find

    course = read_course(written(SMALL + "[points]\nngrams.bigrams = 25"))
    assert course.points_of(find("ngrams.bigrams")) == 25
    assert course.points_of(find("ngrams.add_k")) == 10 * find("ngrams.add_k").difficulty


def test_a_folder_stands_for_the_course_file_in_it_and_a_mark_of_the_encoding_does_no_harm(written):
    path = written("﻿" + SMALL.replace("\n", "\r\n"))
    assert read_course(path.parent).name == "Models"


# fmt: off
SLIPS = [
    ('[course]\nname = "A"\nsedes = "same"', "line 3: there is no setting in [course] called 'sedes'; did you mean"),
    ('[course]\nname = "A"\nper_day = 0.1', "per_day belongs below [late]"),
    ('[course]\nname = "A"\nseeds = "students"', 'line 3: seeds in [course] is "students"; write "same" or "student"'),
    ('[course]\nname = "A"\nsolutions = "no"', 'solutions in [course] is "no"; write true or false, without quotes'),
    ('[course]\nname = "A"\nhints = False', "Write true and false in small letters"),
    ('[course]\nname = A', 'Words stand in quotes, as in name = "…"'),
    ('[course]\nname = “A”', "Write straight quotes"),
    (SMALL + "[deadlines]\n02 = 2026-11-30T23:59+01:00", "(at line 6, column 16). A date with a time is written 2026"),
    (SMALL + "[deadlines]\n02 = 30.11.2026", "A date with a time is written 2026-11-30T23:59:00+01:00"),
    (SMALL + "[late]\nper_day = 10%", "10 % is 0.1"),
    (SMALL + "[late]\nper_day = 0,1", "Decimals have a point"),
    (SMALL + "[late]\nper_day = .1", "Write the zero before the point"),
    (SMALL + "[weights]\n= 1", "The line is: = 1"),
    ('[course]\nname = "A"\nname = "B"', "twice; keep one"),
    ('[course]\nname = 3', "name in [course] is 3; words in quotes were expected"),
    ('[course]\nnotebooks = ["02"]', "the course needs a name"),
    ('[course]\nname = "A"\nnotebooks = "02"', "a list of names was expected"),
    ('[course]\nname = "A"\nnotebooks = ["13", "ngram_mdoels"]', "line 3: there is no notebook 'ngram_mdoels'; did"),
    ('[course]\nname = "A"\nnotebooks = ["02", "ngram"]', "02_ngram_models belongs to it twice"),
    ('[course]\nname = "A"\ntimezone = "Europe/Berln"', "a time zone was expected"),
    ('name = "A"', "line 1: name stands outside of every table; write it below a line [course]"),
    (SMALL + "[weight]\n02 = 1", "line 5: there is no table 'weight'; did you mean 'weights'?"),
    (SMALL + "[weights]\n02 = 1", "[weights] has no 13_data_cleaning; write 13_data_cleaning = 1, or 0"),
    (SMALL + "[weights]\n02 = 0\n13 = 0", "every weight is 0"),
    (SMALL + "[weights]\n02 = -1\n13 = 1", "line 6: 02 in [weights] is -1; a number was expected, 0 or above"),
    (SMALL + "[weights]\n02 = 1\nngram = 1\n13 = 1", "has 02_ngram_models twice, as 02 and as ngram"),
    (SMALL + "[weights]\n02 = inf\n13 = 1", "a number was expected"),
    (SMALL + "[weights]\n02 = 1\n13 = 1\n06 = 1", "line 8: there is no notebook '06'"),
    ('[course]\nname = "A"\nnotebooks = ["20"]\n[weights]\n20 = 1', "may be 20_compression or 20_smaller_models"),
    ("weights = 3\n" + SMALL, "it is a table: write [weights] on a line of its own"),
    (SMALL + "[deadlines]\n02 = 2026-11-30T23:59:00", "write 2026-11-30T23:59:00+01:00 with the offset of your place"),
    (SMALL + "[deadlines]\n02 = 2026-11-30", "the time is missing; write 2026-11-30T23:59:00+01:00"),
    (SMALL + '[deadlines]\n02 = "2026-11-30T23:59:00+01:00"', "write it without quotes"),
    (SMALL + "[deadlines]\n02 = 23:59:00", "a date with a time was expected"),
    (SMALL + "[deadlines]\n02 = 9999-12-31T23:59:00-12:00", "a year from 2000 to 2199"),
    (SMALL + "[late]\nper_day = 10", "per_day in [late] is 10; a share from 0 to 1 was expected: for 10 % write 0.1"),
    (SMALL + '[late]\nper_day = "10%"', "for 10 % write 0.1"),
    (SMALL + "[late]\nmost = 1.5", "a share from 0 to 1"),
    (SMALL + "[late]\ngrace = 5", "did you mean 'grace_minutes'?"),
    (SMALL + "[late]\ngrace_minutes = 2.5", "a whole number of minutes"),
    (SMALL + '[points]\n"ngrams.bigram" = 5', "there is no exercise 'ngrams.bigram'; did you mean 'ngrams.bigrams'?"),
    (SMALL + "[points]\nattention.attend = 5", "belongs to 06_attention_math, which is not in this course"),
    (SMALL + '[points]\nngrams.bigrams = "5"', "without quotes"),
    (SMALL + '[question]\nid = "a"', "a question begins with a line [[question]]"),
    (SMALL + '[[question]]\nid = "a"', "question 1 lacks notebook, after, points, text"),
]
# fmt: on


@pytest.mark.parametrize(("text", "words"), SLIPS)
def test_a_slip_is_named_with_what_to_write(written, text, words):
    assert words in refused(written(text))


def question(**changes):
    said = {"notebook": "02", "id": "why", "after": "zero-said", "points": 5, "text": "Why?"} | changes
    lines = [f"{key} = {value if isinstance(value, int) else chr(34) + value + chr(34)}" for key, value in said.items()]
    return "\n".join(["", "[[question]]", *lines, ""])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"after": "zero-sad"},
            "line 16: there is no cell in 02_ngram_models called 'zero-sad'; did you mean 'zero-said'?",
        ),
        ({"id": "why not"}, "line 15: id in [question] is"),
        ({"notebook": "06"}, "line 14: there is no notebook '06'"),
        ({"point": 3}, "there is no setting in [question] called 'point'; did you mean 'points'?"),
        ({"text": " "}, "words in quotes were expected"),
    ],
)
def test_a_slip_in_the_second_question_is_found_in_the_second(written, change, words):
    assert words in refused(written(SMALL + question() + question(**{"id": "how"} | change)))


def test_two_questions_of_one_name_are_refused_and_good_ones_are_read(written):
    assert "two questions have the id 'why'" in refused(written(SMALL + question() + question()))
    course = read_course(written(SMALL + question() + question(id="how", notebook="13", after="data")))
    assert [course.manual[stem][0].id for stem in course.notebooks] == ["why", "how"]
    assert course.manual["13_data_cleaning"][0].asked == "question-how"


def test_all_slips_are_named_at_once(written):
    said = refused(written(SMALL + '[weights]\n2 = "x"\n[late]\nmots = 1\n[points]\nno.such = 1')).splitlines()
    assert [line.partition(":")[0] for line in said] == ["course.toml, line 6", "line 8", "line 10"]


def test_several_wrong_names_are_one_slip_and_what_is_known_is_said_once(written):
    said = refused(written('[course]\nname = "A"\nnotebooks = ["02_ngrm", "foo", "13", "99"]\n[weights]\nbar = 1'))
    assert "no notebooks '02_ngrm' (did you mean '02_ngram_models'?), 'foo', '99'" in said
    assert said.count("(known: ") == 1 and said.count("course.toml") == 1 and said.splitlines()[1].startswith("line 5")


def test_a_file_that_is_not_there_or_no_text_gets_one_sentence(written, tmp_path):
    path = written(SMALL, "corse.toml")
    assert "did you mean 'corse.toml'" in refused(tmp_path / "course.toml")
    path.write_bytes(SMALL.encode("utf-16"))
    assert "not written in UTF-8" in refused(path)
    path.write_bytes(b"#" * 1_000_001)
    assert "1,000,001 bytes" in refused(path)


def test_without_notebooks_at_hand_whole_names_are_taken_as_they_are(written, monkeypatch, tmp_path):
    monkeypatch.delenv("LABKIT_NOTEBOOKS")
    monkeypatch.setattr(notebooks, "CHECKOUT", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert read_course(written('[course]\nname="A"\nnotebooks=["02_ngram_models"]')).notebooks == ("02_ngram_models",)
    assert "write its whole name" in refused(written('[course]\nname="A"\nnotebooks=["02"]'))
    assert "say under [course] what belongs to it" in refused(written('[course]\nname="A"'))


@pytest.mark.parametrize(
    ("submitted", "kept"),
    [
        ("2026-11-30T23:59:00+01:00", 1.0),
        ("2026-12-01T00:14:00+01:00", 1.0),
        ("2026-11-30T23:14:00+00:00", 1.0),
        ("2026-12-01T00:14:01+01:00", 0.9),
        ("2026-12-01T18:14:00-05:00", 0.9),
        ("2026-12-02T00:14:01+01:00", 0.8),
        ("2026-12-03T00:14:00+01:00", 0.8),
        ("2026-12-03T00:14:01+01:00", 0.7),
        ("2027-06-01T00:00:00+01:00", 0.5),
        ("2025-01-01T00:00:00+01:00", 1.0),
    ],
)
def test_lateness_costs_by_begun_days_after_the_grace_and_never_more_than_the_most(submitted, kept):
    due = moment("2026-11-30T23:59:00+01:00")
    assert LateRule(per_day=0.1, grace=15, most=0.5).lateness(moment(submitted), due) == kept


def test_a_day_goes_by_the_clock_on_the_wall_when_clocks_change():
    rule = LateRule(per_day=0.1)
    for due, same_clock_next_day in (
        (in_berlin(2026, 10, 24, 23, 59), in_berlin(2026, 10, 25, 23, 59)),  # 25 hours later
        (in_berlin(2026, 3, 28, 23, 59), in_berlin(2026, 3, 29, 23, 59)),  # 23 hours later
    ):
        utc = same_clock_next_day.astimezone(zoneinfo.ZoneInfo("UTC"))
        assert rule.lateness(utc, due) == rule.lateness(same_clock_next_day, due) == 0.9
        assert rule.lateness(utc + timedelta(seconds=1), due) == 0.8
    due = in_berlin(2026, 10, 25, 2, 30)  # half past two comes twice; an hour lies between
    assert rule.lateness(in_berlin(2026, 10, 25, 2, 30, fold=1), due) == 0.9


def test_a_rule_without_numbers_takes_nothing_and_a_time_without_a_zone_is_refused():
    due = moment("2026-11-30T23:59:00+01:00")
    assert LateRule().lateness(due + timedelta(days=90), due) == 1.0
    with pytest.raises(ValueError, match="submitted is 2026-12-01T00:00:00, without a time zone"):
        LateRule().lateness(datetime(2026, 12, 1), due)
    course = Course("A", "", ("02",), {"02": 1.0}, {"02": due}, LateRule(0.5))
    assert (course.kept("02", None), course.kept("03", due), course.kept("02", due + timedelta(1))) == (1.0, 1.0, 0.5)


def test_a_time_zone_of_the_course_makes_local_deadlines_clear(written):
    in_berlin(2026, 1, 1)
    zone = 'timezone = "Europe/Berlin"\n[deadlines]\n'
    read = read_course(written(SMALL + zone + "02 = 2026-07-01T23:59:00\n13 = 2026-12-01T22:59:00Z"))
    assert read.deadlines["02_ngram_models"].isoformat() == "2026-07-01T23:59:00+02:00"
    assert read.deadlines["13_data_cleaning"].isoformat() == "2026-12-01T23:59:00+01:00"
    twice = read_course(written(SMALL + zone + "02 = 2026-10-25T02:30:00")).deadlines["02_ngram_models"]
    assert twice.isoformat() == "2026-10-25T02:30:00+01:00"  # the later of the two
    never = refused(written(SMALL + zone + "02 = 2026-03-29T02:30:00"))
    assert "no clock in Europe/Berlin shows that time" in never and "write 2026-03-29T03:30:00" in never
    assert 'did you mean "Europe/Berlin"?' in refused(written(SMALL + 'timezone = "Europe/Berln"'))


def test_what_is_handed_out_says_the_same_and_keeps_the_rest_back(written):
    course = read_course(ROOT / "docs" / "course.toml")
    text = public_copy(course, ["02_ngram_models", "06_attention_math"])
    assert "why-zero" not in text and "cleaning" not in text and "Half of the words" not in text
    again = read_course(written(text))
    assert (again.name, again.term, again.seeds, again.solutions) == (course.name, course.term, "student", False)
    assert (again.notebooks, again.points) == (("02_ngram_models", "06_attention_math"), {"ngrams.bigrams": 20.0})
    assert again.weights == {"02_ngram_models": 0.5, "06_attention_math": 0.5} and again.late == course.late
    assert again.deadlines == {stem: course.deadlines[stem] for stem in again.notebooks}
    odd = Course('A "quoted" \\ name\n\x7f', "", ("02_ngram_models",), {"02_ngram_models": 1.0})
    assert read_course(written(public_copy(odd))).name == odd.name
    only_practice = read_course(written(public_copy(course, ["00_start_here"])))
    assert only_practice.notebooks == ("00_start_here",)


def test_a_kernel_finds_the_course_file_beside_its_notebook_or_above(written, tmp_path, monkeypatch):
    folder = tmp_path / "notebooks" / "deeper"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    assert in_effect() is None
    path = written(SMALL)
    assert in_effect() is None  # two folders above is another matter
    monkeypatch.chdir(folder.parent)
    assert in_effect().name == "Models" and in_effect() is in_effect()
    path.write_text(SMALL.replace("Models", "Others"))
    os.utime(path, ns=(1, 1))
    assert in_effect().name == "Others"


def test_a_broken_course_file_gets_one_sentence_once(written, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    written("[course\nname")
    assert [in_effect(), in_effect()] == [None, None]
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and "The course file is left aside" in out and "no valid TOML" in out
    (tmp_path / "course.toml").unlink()
    (tmp_path / "course.toml").mkdir()
    assert in_effect() is None


def test_the_seed_of_a_student_is_the_same_everywhere_and_differs_between_students_courses_and_exercises():
    course = Course("A", "T", (), {}, seeds="student")
    program = "from labkit.workbench.course import seed_of; print(seed_of('A · T', 'ada', 'x.y'))"
    elsewhere = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert int(elsewhere.stdout) == seed_of(course, "ada", "x.y") == 2969692207
    seeds = {seed_of(course, f"student-{n:02d}", exercise) for n in range(40) for exercise in ("", "x.y", "x.z")}
    assert len(seeds) == 120 and 0 not in seeds and max(seeds) < 2**32
    assert seed_of("A · U", "ada", "x.y") != seed_of(course, "ada", "x.y")


def test_spaces_capitals_and_ways_to_type_an_accent_make_no_difference():
    names = ["Zoë  Beispiel", " zoë beispiel\t", "ZOË BEISPIEL", "Zoë Beispiel", "Zoë\u00a0Beispiel"]
    assert len({seed_of("A", name) for name in names}) == 1
    assert seed_of("A", "Zoe Beispiel") != seed_of("A", names[0])


def test_all_have_the_numbers_of_the_page_where_the_course_says_so_or_nobody_is_named():
    assert seed_of(default_course(["02"]), "ada", "x.y") == 0
    assert [seed_of("A", name) for name in ("", "  ", "\n")] == [0, 0, 0]


def test_the_cell_for_the_name_says_what_to_do_and_then_gives_the_seed(capsys):
    cell = personal.student_cell(Course('A "B"', "T", (), {}, seeds="student"))
    names = {"seed": 7}
    exec(cell, names)
    assert names["seed"] == 7 and "No name is filled in yet" in capsys.readouterr().out
    exec(cell.replace('""', '"Ada Beispiel"', 1), names)
    assert names["seed"] == seed_of('A "B" · T', "ada beispiel")
    assert capsys.readouterr().out == "Numbers of your own, for 'Ada Beispiel'\n"


@pytest.mark.parametrize(
    ("typed", "student"),
    [
        ('student = "Ada"', "Ada"),
        ("student = ' Ada '  # me", "Ada"),
        ("student = 4711", "4711"),
        ('student = "A"\nstudent = "B"', "B"),
        ('student = input("?")', ""),
        ("student = True", ""),
        ("student = -5", "-5"),
        ('student: str = f"Ada"', "Ada"),
        ("student: str", ""),
        ('student = f"{name}"', ""),
        ("student += 'x'", ""),
        ('for student in "ab": pass', ""),
        ("student = [", ""),
        ("other = 'Ada'", ""),
        ("", ""),
        ("student = '" + "a" * 999 + "'", "a" * 200),
    ],
)
def test_what_stands_in_the_cell_for_the_name_is_read_without_running_it(typed, student):
    assert personal.typed_student(typed) == student


def test_a_name_changes_nothing_where_all_have_the_same_numbers(written, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    written(SMALL)
    assert personal.seed_for("ada") == 0 and "all have the same numbers" in capsys.readouterr().out
    coursefile._cached.cache_clear()
    written(SMALL + 'seeds = "student"')
    assert personal.seed_for("ada") == seed_of("Models", "ada")


def test_a_seed_for_something_that_is_no_name_is_refused_in_words():
    with pytest.raises(ValueError, match="write a name or a number in quotes"):
        personal.seed_for(None)
    assert personal.seed_for(4711, "A") == personal.seed_for("4711", "A") != 0
