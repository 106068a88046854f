"""One mark: judged by the rules of the notebook's check, with credit for thought and none for a constant."""

import dataclasses
import sys
from datetime import timedelta

import numpy as np
import pytest

from labkit.workbench.checking import all_exercises, find
from labkit.workbench.credit import DRAWS, counted, credit, floor, more_cases, share
from labkit.workbench.grading.marks import Keys, Question, grade_one
from labkit.workbench.marking import Exercise, Verdict, WrongAnswer, agree, fresh_cases, judge, key_of, mark
from labkit.workbench.outcomes import Outcome, Raised, run_on
from labkit.workbench.showing import source_of
from tests.workbench.teaching.standing_in import DEADLINE, NOTEBOOK, Here, course, submission

ID = "ngrams.relative_frequency"


def sign(number):
    return (number > 0) - (number < 0)


SIGN = Exercise(
    id="demo.sign",
    notebook=NOTEBOOK,
    statement="Write `sign(number)`.",
    difficulty=1,
    minutes=3,
    hints=("Compare.", "Compare twice."),
    solution=sign,
    wrong=(WrongAnswer("no zero", lambda n: 1 if n > 0 else -1, "0 has no sign."),),
    cases=lambda draw: [(0,), (0,), *[(float(n),) for n in draw.normal(size=4)], (5.0,), (-5.0,)],
)


def graded(source, exercise=None, secret=7, **more):
    exercise = exercise or find(ID)
    return grade_one(submission("student-01", {exercise.id: source}, **more), exercise, course(), Here(), secret)


def solution_of(exercise):
    return f"{source_of(exercise.solution)}\nanswer = {exercise.solution.__name__}"


def ready(exercise):
    if hasattr(sys.modules[exercise.solution.__module__], "torch"):
        pytest.importorskip("torch")


@pytest.mark.parametrize("exercise", all_exercises(), ids=lambda e: e.id)
def test_no_constant_echo_or_constant_error_earns_anything_and_no_named_mistake_earns_all(exercise):
    ready(exercise)

    def always_refuse(*case):
        raise ValueError("no")

    cases = fresh_cases(exercise, 1_234_567)
    key = key_of(exercise, cases)
    idle = [lambda *case, c=c: c for c in (0, 1, -7, 0.5, "", False, True, [], {})]
    idle += [lambda *case, n=n: case[n] for n in range(len(cases[0]))] * (exercise.kind == "function")
    for answer in [*idle, always_refuse]:
        right = sum(
            agree(exercise, run_on(answer, case), expected) for case, expected in zip(cases, key.expected, strict=True)
        )
        assert credit(Verdict("wrong", right=right), key) == 0
    for number, wrong in enumerate(exercise.wrong):
        right = sum(not errs[number] for errs in key.errs)
        assert credit(Verdict("wrong", right=right), key) < 1 and right < len(cases), wrong.name


def test_half_of_what_takes_thought_earns_half():
    cases = fresh_cases(SIGN, 3)
    key = key_of(SIGN, cases)
    best = max(sum(sign(*case) == constant for case in cases) for constant in (-1, 0, 1))
    assert floor(key) == best
    verdict = judge(SIGN, [run_on(SIGN.wrong[0].answer, case) for case in cases], cases, "sign", key)
    assert verdict.mistake == "no zero" and verdict.right == 6
    assert credit(verdict, key) == pytest.approx((6 - best) / (8 - best))
    cases += more_cases(SIGN, 3)
    key = key_of(SIGN, cases)
    whole = counted(verdict, key, [run_on(SIGN.wrong[0].answer, case) for case in cases])
    assert (whole.right, whole.cases) == (6 * DRAWS, 8 * DRAWS)
    assert share(SIGN, SIGN.wrong[0].answer, 3) == credit(whole, key) and share(SIGN, sign, 3) == 1
    assert share(SIGN, lambda n: 0, 3) == share(SIGN, ..., 3) == share(SIGN, 5, 3) == 0


@pytest.mark.parametrize("one", ["ngrams.company", "ngrams.relative_frequency", "cleaning.band_candidates"])
def test_what_a_mistake_earns_hardly_depends_on_the_numbers_that_a_student_got(one):
    """With the inputs of one seed alone, the first of these earned from nothing to four fifths of the points."""
    for wrong in find(one).wrong:
        shares = [share(find(one), wrong.answer, seed) for seed in range(100, 112)]
        assert np.std(shares) < 0.13, (wrong.name, shares)


@pytest.mark.parametrize("exercise", [e for e in all_exercises() if e.kind == "function"][::4], ids=lambda e: e.id)
def test_who_is_right_on_all_inputs_but_one_is_never_below_one_who_does_not_look_at_them(exercise):
    ready(exercise)
    cases = [*fresh_cases(exercise, 11), *more_cases(exercise, 11)]
    key = key_of(exercise, cases)
    assert credit(Verdict("wrong", right=len(cases) - 1), key) > 0.9


def test_an_answer_that_is_partly_right_gets_the_mark_of_the_share_and_always_the_same():
    source = "def answer(n):\n    return 1 if n > 0 else -1"
    seed = Question(submission("student-01", {SIGN.id: source}), SIGN, course(), 7).seed
    first, again = graded(source, SIGN), graded(source, SIGN)
    assert first.points == round(share(SIGN, SIGN.wrong[0].answer, seed) * first.most, 4) == again.points
    assert (first.right, first.cases) == (6 * DRAWS, 8 * DRAWS)
    strange = [graded("def answer(n):\n    return object()", SIGN).message for _ in range(2)]
    assert strange[0] == strange[1] and "0x" not in strange[0]


def test_the_judge_says_what_the_check_of_the_notebook_says():
    for answer in (sign, SIGN.wrong[0].answer, lambda n: -sign(n), lambda n: 1 / n, lambda n: iter([n]), lambda n: n):
        cases = fresh_cases(SIGN, 5)
        assert judge(SIGN, [run_on(answer, c) for c in cases], cases, answer.__name__) == mark(SIGN, answer, 5)


def test_errors_are_compared_by_what_they_are_called():
    strict = dataclasses.replace(SIGN, solution=lambda n: 1 // int(n > 0), wrong=())
    cases = [(0,), (1,)]
    right = [Outcome(error=Raised("ZeroDivisionError", "any words")), Outcome(1)]
    assert judge(strict, right, cases).status == "correct"
    other = [Outcome(error=Raised("mine.ZeroDivisionError")), Outcome(1)]
    assert judge(strict, other, cases).status == "error"


def test_a_right_answer_earns_all_its_points():
    one = graded(solution_of(find(ID)))
    assert (one.status, one.points, one.right) == ("correct", one.most, one.cases) and one.most > 0


def test_a_known_mistake_is_named_and_its_message_told():
    wrong = SIGN.wrong[0]
    one = graded("def answer(n):\n    return 1 if n > 0 else -1", SIGN)
    assert one.mistake == "no zero" and wrong.message in one.message and one.status == "partly"
    assert 0 < one.points < one.most and one.points == pytest.approx(one.most / 2, rel=0.5)


@pytest.mark.parametrize(
    ("source", "status", "said"),
    [
        ("def answer(*a): ...", "not started", ""),
        ("answer = 3", "wrong", "a function is expected"),
        ("def answer(*a): return 0", "wrong", "expected"),
        ("def answer(*a): return 1 / 0", "error", "ZeroDivisionError"),
        ("import no_such_thing\nanswer = len", "error", "ModuleNotFoundError"),
        ("def answer(*a):\n    x = ...\n    return x", "not started", ""),
    ],
)
def test_what_is_not_right_is_said_and_earns_nothing(source, status, said):
    one = graded(source)
    assert (one.status, one.points) == (status, 0) and said in one.message


def test_what_collecting_found_needs_no_run():
    exercise, untouched, deleted = find(ID), {"untouched": frozenset([ID])}, {"missing": frozenset([ID])}
    for more, status in (
        (untouched, "not started"),
        (deleted, "missing"),
        ({"troubles": {ID: "line 3: `(`"}}, "error"),
    ):
        one = grade_one(submission("student-01", {}, **more), exercise, course(), None)
        assert (one.status, one.points) == (status, 0)


def test_a_value_is_asked_for_by_its_own_seed_and_none_is_no_answer():
    exercise = find("workbench.sequences")
    assert graded("answer = 10_000 ** 3", exercise).status == "correct"
    assert graded("answer = 30_000", exercise).mistake == "sum"
    assert graded("answer = None", exercise).status == "not started"
    question = Question(submission("student-01", {exercise.id: ""}, typed="x"), exercise, course(seeds="student"), 1)
    assert question.seed == dataclasses.replace(question, secret=2).seed


def test_inputs_differ_by_secret_and_per_student_only_where_the_course_says_so():
    def seed(student, secret, seeds):
        return Question(submission(student, {}, typed=student), find(ID), course(seeds=seeds), secret).seed

    assert seed("a", 1, "same") == seed("b", 1, "same") != seed("a", 2, "same")
    assert seed("a", 1, "student") != seed("b", 1, "student") and seed("a", 1, "student") != seed("a", 2, "student")


def test_what_is_right_is_worked_out_once_for_a_class():
    keys, exercise = Keys(), find(ID)
    assert keys.get(exercise, 5)[0] is keys.get(exercise, 5)[0] is not keys.get(exercise, 6)[0]


@pytest.mark.parametrize(("hours", "late"), [(-1, 0), (0, 0), (0.1, 0), (0.5, 0.1), (25, 0.2), (1000, 0.5)])
def test_lateness_costs_what_the_course_file_says(hours, late):
    one = graded(solution_of(find(ID)), submitted=DEADLINE + timedelta(hours=hours))
    assert one.late == pytest.approx(late) and one.final == pytest.approx(one.points * (1 - late))


@pytest.mark.parametrize("status", ["timeout", "memory", "crashed", "refused"])
def test_an_answer_that_never_ended_earns_nothing_for_what_came_before(status):
    class Broken(Here):
        def run(self, *question, **more):
            return dataclasses.replace(super().run(*question, **more), status=status, why="It never ended.")

    exercise = find(ID)
    one = grade_one(submission("s", {ID: solution_of(exercise)}), exercise, course(), Broken(), 1)
    assert (one.status, one.points, one.message) == (status, 0, "It never ended.")


def test_one_bad_moment_of_the_machine_costs_nobody_points():
    class Shaky(Here):
        count = 0

        def run(self, *question, **more):
            self.count += 1
            answered = super().run(*question, **more)
            return dataclasses.replace(answered, status="crashed") if self.count % 2 else answered

    answers = [solution_of(find(ID)), "def answer(*a): return 1.0"]
    for source in answers:
        one = grade_one(submission("s", {ID: source}), find(ID), course(), Shaky(), 1)
        assert one == dataclasses.replace(graded(source, secret=1), student="s", seconds=one.seconds)


def test_too_few_outcomes_are_no_answer():
    class Short(Here):
        def run(self, *question, **more):
            answered = super().run(*question, **more)
            return dataclasses.replace(answered, outcomes=answered.outcomes[:-1])

    assert grade_one(submission("s", {ID: solution_of(find(ID))}), find(ID), course(), Short()).status == "refused"


def test_a_value_of_a_strange_type_is_only_wrong():
    class Strange(Here):
        def run(self, *question, **more):
            answered = super().run(*question, **more)
            always = type("Yes", (), {"__eq__": lambda self, other: True, "__hash__": None})()
            strange = [always, np.array([None]), ..., float("nan"), {"a": always}]
            outcomes = [dataclasses.replace(c, value=strange[i % 5]) for i, c in enumerate(answered.outcomes)]
            return dataclasses.replace(answered, outcomes=tuple(outcomes))

    one = grade_one(submission("s", {ID: solution_of(find(ID))}), find(ID), course(), Strange())
    assert one.points == 0
