"""The exercise engine on small exercises: right, known mistakes, other mistakes, errors, holes, hints, solutions."""

import dataclasses
import math
import random
from collections import Counter

import numpy as np
import pytest

import labkit
from labkit.workbench import checking, coursefile, personal
from labkit.workbench.answers import common_factor, difference, same_answer
from labkit.workbench.checking import Exercise, WrongAnswer, check, hint, mark, prove, solution
from labkit.workbench.holes import is_hole


def mean(numbers):
    """Average a list; an empty one averages to zero."""
    return sum(numbers) / len(numbers) if numbers else 0.0


def mean_of_nothing_fails(numbers):
    return sum(numbers) / len(numbers)


def mean_by_n_minus_one(numbers):
    return sum(numbers) / (len(numbers) - 1) if len(numbers) > 1 else 0.0


def mean_cases(generator):
    fresh = [(generator.normal(size=int(generator.integers(2, 9))).tolist(),) for _ in range(6)]
    return [([],), ([3.0],), ([1.0, 3.0],), *fresh]


MEAN = Exercise(
    id="demo.mean",
    notebook="00_demo",
    statement="Write `mean(numbers)`; an empty list averages to 0.",
    difficulty=1,
    minutes=3,
    hints=("Which two numbers make an average?", "Divide the sum by the length, if there is one."),
    solution=mean,
    wrong=(
        WrongAnswer("sum", sum, "That is the sum; divide it by how many there are."),
        WrongAnswer("n-1", mean_by_n_minus_one, "Divide by n here, not by n - 1."),
        WrongAnswer("empty", mean_of_nothing_fails, "An empty list has length 0; look at it first."),
    ),
    cases=mean_cases,
)
BITS = Exercise(
    id="demo.bits",
    notebook="00_demo",
    statement="How many bits does a fair die carry?",
    difficulty=1,
    minutes=2,
    hints=("Count the sides.", "Take log2 of 6."),
    solution=lambda: math.log2(6),
    wrong=(
        WrongAnswer("nats", math.log(6), "These are nats; take the logarithm to base 2."),
        WrongAnswer("sides", 6, "That is the number of sides."),
        WrongAnswer("whole", lambda: 3, "Three bits would be enough, but fewer are needed on average."),
    ),
    kind="value",
)


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    monkeypatch.setattr(checking, "_checks", {})
    monkeypatch.setattr(checking, "_hints", {})
    monkeypatch.setattr(checking, "all_exercises", lambda: (MEAN, BITS))


def test_the_right_function_passes_on_fresh_inputs(capsys):
    check("demo.mean")(mean)
    assert capsys.readouterr().out.startswith("✓ demo.mean: correct on 9 fresh inputs")


def test_another_right_way_with_other_rounding_passes():
    def running(numbers):
        result = 0.0
        for i, number in enumerate(numbers, 1):
            result += (number - result) / i
        return np.float64(result)

    assert mark(MEAN, running).status == "correct"


def test_the_decorator_gives_the_function_back_unchanged(capsys):
    @check("demo.mean")
    def mine(numbers): ...

    assert mine.__name__ == "mine" and mine([1]) is None
    assert capsys.readouterr().out.splitlines()[0] == ("○ demo.mean: not started (difficulty 1 of 3, about 3 minutes)")


def test_not_started_says_what_to_do_and_how_to_get_a_hint(capsys):
    check("demo.bits", ...)
    out = capsys.readouterr().out
    assert "How many bits" in out and "Replace the ..." in out and 'labkit.hint("demo.bits")' in out


def empty_ellipsis(numbers): ...


def empty_pass(numbers):
    pass


def empty_docstring(numbers):
    """Only words."""


def empty_docstring_and_ellipsis(numbers: list) -> float:
    """Only words."""
    ...


def empty_return(numbers):
    return ...


def empty_plain_return(numbers):
    return


def empty_after_given_code(numbers):
    total = sum(numbers)
    return total and ...


def hole_in_a_variable(numbers):
    total = ...
    return total / max(1, len(numbers))


def hole_in_a_call(numbers):
    return math.log(...)


def hole_in_a_tuple(numbers):
    return (1, ...)


def not_implemented(numbers):
    raise NotImplementedError


HOLES = [value for name, value in sorted(globals().items()) if name.startswith(("empty_", "hole_", "not_impl"))]


@pytest.mark.parametrize("hole", [*HOLES, lambda numbers: ..., lambda numbers: None, None, ...])
def test_every_form_of_hole_is_not_started(hole):
    assert mark(MEAN, hole).status == "not started"


def test_a_closure_without_a_body_of_its_own_is_a_hole_and_one_with_it_is_not():
    outer = 3

    def empty(numbers):
        def helper():
            return outer

        return ...

    def begun(numbers):
        return outer

    assert mark(MEAN, empty).status == "not started"
    assert not is_hole(begun) and mark(MEAN, begun).status == "wrong"


@pytest.mark.parametrize("value", [..., None, [1, ...], {"a": ...}, ((...,),)])
def test_a_value_that_still_has_dots_is_not_started(value):
    assert mark(BITS, value).status == "not started"


@pytest.mark.parametrize("answer", [lambda numbers: 0, lambda numbers: np.array(numbers)[..., 9], len, int, 3.0])
def test_what_was_begun_is_no_hole(answer):
    assert mark(MEAN, answer).status in ("wrong", "error")


@pytest.mark.parametrize("wrong", MEAN.wrong, ids=lambda w: w.name)
def test_each_known_mistake_gets_its_own_message_and_an_example(wrong, capsys):
    check("demo.mean")(wrong.answer)
    out = capsys.readouterr().out
    assert wrong.message in out and "For example, " in out and "expected" in out
    assert [w.name for w in MEAN.wrong if w.message in out] == [wrong.name]


def test_the_example_is_the_simplest_input_that_shows_the_mistake():
    message = mark(MEAN, mean_by_n_minus_one).message
    assert "mean_by_n_minus_one([3.0]) gave 0.0; expected 3.0" in message.replace("`", "")


def test_a_known_mistake_written_otherwise_is_recognised():
    def mine(numbers):
        total = 0.0
        for number in numbers:
            total = total + number
        return total

    assert mark(MEAN, mine).mistake == "sum"


def test_a_known_mistake_does_not_hide_an_error_elsewhere():
    def mine(numbers):
        if len(numbers) == 3:
            raise LookupError("three")
        return mean_of_nothing_fails(numbers)

    three = dataclasses.replace(MEAN, cases=lambda generator: [([],), ([1.0, 2.0],), ([1.0, 2.0, 3.0],)])
    verdict = mark(three, mine)
    assert verdict.mistake == "" and verdict.status == "error"


def test_the_mistake_that_explains_every_input_goes_before_one_that_explains_some():
    def nothing_is_one(numbers):
        return sum(numbers) if numbers else 1.0

    both = WrongAnswer("both", nothing_is_one, "A sum, and an empty one is not 1.")
    nested = dataclasses.replace(MEAN, wrong=(WrongAnswer("one", lambda n: mean(n) if n else 1.0, "Not 1."), both))
    assert mark(nested, nothing_is_one).mistake == "both"
    assert mark(nested, lambda n: mean(n) + (0.5 if n else 1.0)).mistake == "one"


def test_a_long_edge_case_does_not_become_the_example():
    long_first = dataclasses.replace(MEAN, cases=lambda generator: [([1.0, 2.0, 3.0],), ([1.0],)], wrong=())
    assert "([1.0])` gave 5" in mark(long_first, lambda numbers: 5).message


def test_a_generator_of_the_right_items_is_still_no_list():
    doubles = dataclasses.replace(MEAN, solution=lambda numbers: [2 * n for n in numbers], wrong=())
    assert mark(doubles, lambda numbers: [n + n for n in numbers]).status == "correct"
    assert "put list(...) around it" in mark(doubles, lambda numbers: (2 * n for n in numbers)).message


def test_known_wrong_values_get_their_message():
    assert [mark(BITS, value).mistake for value in (1.791759469228055, 6, 6.0, 3)] == [
        "nats",
        "sides",
        "sides",
        "whole",
    ]
    assert mark(BITS, np.log2(6)).status == "correct"


def test_an_unknown_wrong_value_does_not_give_the_answer_away():
    verdict = mark(BITS, 4.0)
    assert verdict.status == "wrong" and "2.58" not in verdict.message and "4.0" in verdict.message


def test_an_error_names_the_input_the_error_and_the_line():
    def mine(numbers):
        half = len(numbers) // 2
        return numbers[half + 7]

    verdict = mark(MEAN, mine)
    assert verdict.status == "error"
    assert "`mine([])` raised IndexError: list index out of range." in verdict.message
    assert "`return numbers[half + 7]`" in verdict.message


@pytest.mark.parametrize("error", [RecursionError, KeyError("x"), StopIteration, AssertionError("no"), Exception])
def test_no_error_of_the_learner_gets_out(error, capsys):
    def mine(numbers):
        raise error

    assert check("demo.mean")(mine) is mine
    assert "raised" in capsys.readouterr().out


def test_a_wrong_number_of_parameters_is_explained():
    verdict = mark(MEAN, lambda: 3)
    assert verdict.status == "error" and "positional argument" in verdict.message


def test_an_interrupt_of_an_endless_loop_gets_out():
    def mine(numbers):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mark(MEAN, mine)


def test_changing_the_arguments_does_not_fool_the_check():
    def destroys(numbers):
        result = 2 * mean(numbers)
        numbers[:] = [0.0] * len(numbers)
        return result

    def destroys_but_right(numbers):
        result = mean(numbers)
        numbers.clear()
        return result

    verdict = mark(MEAN, destroys)
    assert verdict.status == "wrong" and "destroys([3.0]) gave 6.0; expected 3.0" in verdict.message.replace("`", "")
    assert mark(MEAN, destroys_but_right).status == "correct"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda numbers: print(end=""), "is the `return` missing?"),
        (lambda numbers: float("nan"), "NaN"),
        (lambda numbers: str(mean(numbers)), "is a string, and a number is expected"),
        (lambda numbers: [mean(numbers)], "is a list (or array), and a number is expected"),
        (lambda numbers: (number for number in numbers), "generator"),
        (lambda numbers: 2 * mean(numbers), "twice too large"),
        (lambda numbers: -mean(numbers), "The sign is the other way round"),
        (lambda numbers: mean(numbers) + 1, "off by one every time: +1"),
        (lambda numbers: 7 * mean(numbers), "off by the same factor every time: 7"),
        (lambda numbers: mean(numbers) > 0, "is a bool"),
    ],
)
def test_other_mistakes_are_described_in_plain_words(answer, words):
    verdict = mark(MEAN, answer)
    assert verdict.status == "wrong" and words in verdict.message


def test_something_that_is_no_function_is_refused_in_words():
    assert "a function is expected" in mark(MEAN, 3.0).message


def test_the_same_call_is_repeatable_and_the_next_has_new_inputs(capsys):
    seen = []

    def remembers(numbers):
        seen.append(tuple(numbers))
        return 0.0

    check("demo.mean")(remembers)
    first = capsys.readouterr().out
    check("demo.mean")(remembers)
    assert seen[:3] == seen[9:12] and set(seen[3:9]).isdisjoint(seen[12:])
    checking._checks.clear()
    check("demo.mean")(remembers)
    assert seen[:9] == seen[18:] and first in capsys.readouterr().out


def test_hints_come_one_by_one_and_the_last_points_to_the_solution(capsys):
    for _ in range(3):
        hint("demo.mean")
    first, second, third = capsys.readouterr().out.split("Hint ")[1:]
    assert first.startswith("1 of 2 for demo.mean\nWhich two") and "solution" not in first
    assert second.startswith("2 of 2") and second.strip() == third.strip() and 'labkit.solution("demo.mean")' in second


def test_the_worked_solution_is_its_source(capsys):
    solution("demo.mean")
    out = capsys.readouterr().out
    assert out.startswith("A solution of demo.mean:\ndef mean(numbers):") and "len(numbers) if numbers else 0.0" in out


@pytest.mark.parametrize("ask", [check, hint, solution, checking.find])
def test_a_mistyped_id_is_answered_with_the_nearest_right_one(ask):
    with pytest.raises(ValueError, match=r"did you mean 'demo\.mean'"):
        ask("demo.maen")


def test_a_value_exercise_used_as_a_decorator_says_how_to_call_it():
    with pytest.raises(ValueError, match=r'check\("demo.bits", answer\)'):
        check("demo.bits")


def test_exercises_of_a_package_are_found_in_the_order_of_notebooks(tmp_path, monkeypatch):
    monkeypatch.undo()
    folder = tmp_path / "some_exercises"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(checking, "PACKAGE", "no_such_package_of_exercises")
    assert checking.all_exercises() == ()
    monkeypatch.setattr(checking, "PACKAGE", "some_exercises")
    (folder / "demo.py").write_text(
        "from labkit.workbench.checking import Exercise\n" + _source("demo.late", "07_late")
    )
    (folder / "other.py").write_text(
        "from labkit.workbench.checking import Exercise\n" + _source("other.early", "01_early")
    )
    assert [exercise.id for exercise in checking.all_exercises()] == ["other.early", "demo.late"]
    assert checking.find("demo.late").notebook == "07_late"


def _source(exercise_id, notebook):
    return f"EXERCISES = (Exercise({exercise_id!r}, {notebook!r}, 's', 1, 1, ('a', 'b'), len, ()),)\n"


@pytest.fixture
def course(tmp_path, monkeypatch):
    """Write a course file where this kernel finds it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(personal, "_here", {"student": "", "course": ""})

    def write(settings):
        coursefile._cached.cache_clear()
        (tmp_path / "course.toml").write_text(f'[course]\nname = "Demo"\nnotebooks = ["00_demo"]\n{settings}\n')

    return write


def test_a_course_may_keep_solutions_back_and_still_gives_hints(course, capsys):
    course("solutions = false")
    solution("demo.mean")
    check("demo.mean")(mean)
    for _ in range(2):
        hint("demo.mean")
    out = capsys.readouterr().out
    assert "No worked solution of demo.mean here" in out and 'A hint: labkit.hint("demo.mean")' in out
    assert "def mean" not in out and "labkit.solution" not in out
    assert "Hint 2 of 2 for demo.mean" in out and "That was the last hint.\n" in out


def test_a_course_may_give_no_hints_and_then_nothing_offers_one(course, capsys):
    course("hints = false")
    check("demo.mean")(...)
    check("demo.mean")(sum)
    hint("demo.mean")
    solution("demo.mean")
    out = capsys.readouterr().out
    assert "No hints for demo.mean" in out and "Divide the sum by the length" not in out
    assert "labkit.hint" not in out and "def mean" in out


def test_a_broken_course_file_stops_no_check(course, capsys):
    course("solutions = perhaps")
    check("demo.mean")(mean)
    out = capsys.readouterr().out
    assert out.splitlines()[0].startswith("The course file is left aside") and "✓ demo.mean: correct" in out


def die_bits(sides=6):
    return math.log2(sides)


def other_die(generator):
    return [(int(generator.integers(7, 100)),)]


DIE = dataclasses.replace(
    BITS,
    solution=die_bits,
    cases=other_die,
    wrong=(
        WrongAnswer("nats", lambda sides=6: math.log(sides), "These are nats."),
        WrongAnswer("sides", lambda sides=6: sides, "That is the number of sides."),
        WrongAnswer("nothing", 0, "It carries more than nothing."),
    ),
)


@pytest.fixture
def die(monkeypatch):
    monkeypatch.setattr(checking, "all_exercises", lambda: (MEAN, DIE))


def test_a_question_has_the_numbers_of_the_page_until_a_student_is_named(course, die, capsys):
    course('seeds = "student"')
    assert labkit.given("demo.bits") == 6
    check("demo.bits", math.log2(6))
    labkit.seed_for("student-01")
    sides = labkit.given("demo.bits")
    assert sides > 6 and sides == labkit.given("demo.bits")
    capsys.readouterr()
    check("demo.bits", ...)
    check("demo.bits", math.log2(6))
    check("demo.bits", math.log(sides))
    check("demo.bits", 0)
    check("demo.bits", math.log2(sides))
    out = capsys.readouterr().out
    assert f"How many bits does a fair die carry? With numbers of your own: sides = {sides}." in out
    signs = [line[0] for line in out.splitlines() if line[0] in "○✗✓"]
    assert signs == ["○", "✗", "✗", "✗", "✓"] and "These are nats." in out and "more than nothing" in out


def test_students_have_numbers_of_their_own_which_are_those_of_the_grader(course, die):
    course('seeds = "student"')
    seen = []
    for number in range(8):
        labkit.seed_for(f"Student {number}")
        seen.append(labkit.given("demo.bits"))
        teacher = coursefile.Course("Demo", "", (), {}, seeds="student")
        seed = coursefile.seed_of(teacher, f" student  {number}", "demo.bits")
        assert personal.given_by(DIE, seed) == seen[-1] and mark(DIE, math.log2(seen[-1]), seed).status == "correct"
    assert len(set(seen)) > 4


def test_numbers_are_given_only_where_a_question_has_some(course, die):
    course("")
    with pytest.raises(ValueError, match="the same numbers for everybody"):
        labkit.given("demo.mean")
    with pytest.raises(ValueError, match=r"did you mean 'demo\.bits'"):
        labkit.given("demo.bit")
    several = dataclasses.replace(DIE, solution=lambda sides=6, dice=2: 0, cases=lambda generator: [(1, 2)])
    assert (personal.given_by(several, 0), personal.given_by(several, 3)) == ((6, 2), (1, 2))
    assert personal.given_by(BITS, 0) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cases": lambda generator: [(7,)]}, "the same for every seed"),
        ({"cases": lambda generator: [(random.random() + 7,)]}, "differ for one and the same generator"),
        ({"cases": lambda generator: [(7, int(generator.integers(9)))]}, "one for each argument of the solution"),
        ({"solution": lambda sides: math.log2(sides)}, "without a default"),
        ({"wrong": (*DIE.wrong, WrongAnswer("right", die_bits, "No."))}, "'right' is correct"),
        ({"wrong": (*DIE.wrong, WrongAnswer("one", math.log2(8), "Three."))}, ""),
    ],
)
def test_a_defect_of_the_given_numbers_is_named(change, words):
    problems = prove(dataclasses.replace(DIE, **change))
    assert any(words in problem for problem in problems) if words else problems == []


def test_good_exercises_are_proved():
    assert prove(MEAN) == []
    assert prove(BITS) == []
    assert prove(DIE, range(30)) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"id": "Demo"}, "id"),
        ({"notebook": "demo"}, "notebook"),
        ({"statement": " "}, "statement"),
        ({"difficulty": 4}, "difficulty"),
        ({"minutes": 0}, "minutes"),
        ({"hints": ("one",)}, "fewer than two hints"),
        ({"hints": ("one", "one")}, "comes twice"),
        ({"wrong": MEAN.wrong[:2]}, "fewer than three wrong answers"),
        ({"wrong": (*MEAN.wrong, MEAN.wrong[0])}, "share a name"),
        ({"wrong": (*MEAN.wrong, WrongAnswer("right", mean, "No."))}, "'right' is correct"),
        ({"wrong": (*MEAN.wrong, WrongAnswer("twin", lambda x: sum(x), "Twin."))}, "taken for 'sum'"),
        ({"wrong": (*MEAN.wrong, WrongAnswer("hole", empty_return, "Hole."))}, "'hole' is not started"),
        ({"solution": lambda numbers: random.random()}, "the solution is wrong"),
        ({"solution": lambda numbers: None}, "the solution is not started"),
        ({"cases": lambda generator: [([1.0, 2.0],), ([],)]}, "the same for every seed"),
        ({"cases": lambda generator: [([random.random(), 2.0],), ([],)]}, "differ for one and the same generator"),
        ({"cases": lambda generator: []}, "no cases"),
        ({"solution": sum}, "no source"),
        ({"kind": "poem"}, "kind"),
    ],
)
def test_an_exercise_with_a_defect_is_named(change, words):
    problems = prove(dataclasses.replace(MEAN, **change), seeds=range(2))
    assert any(words in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (1, 1.0),
        (0.1 + 0.2, 0.3),
        (1e-17, 0.0),
        (np.float32(0.5), 0.5),
        (math.nan, math.nan),
        (math.inf, math.inf),
        ([1, 2.0], (1.0, 2)),
        (np.array([0.1, 0.2]), [0.1, 0.2]),
        (np.array([[1.0, math.nan]]), np.array([[1.0, math.nan]])),
        ({"a": [0.1 + 0.2]}, Counter({"a": 1}) | {"a": [0.3]}),
        ({"b", "a"}, frozenset("ab")),
        ("tok", np.str_("tok")),
        (None, None),
        (2 + 1e-13j, 2 + 0j),
        (True, np.True_),
    ],
)
def test_answers_that_mean_the_same_are_the_same(got, expected):
    assert same_answer(got, expected)


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (1, 2),
        (2**60, 2**60 + 1),
        (1, True),
        (True, 1),
        ("1", 1),
        (1, "1"),
        ("a", ["a"]),
        (None, 0),
        (0, None),
        ([1], [1, 2]),
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, {"a": 2}),
        ({1}, [1]),
        (np.ones((2, 1)), np.ones((1, 2))),
        (math.nan, 1.0),
        (math.inf, -math.inf),
        (object(), object()),
        (np.array(["a"]), np.array([1.0])),
    ],
)
def test_answers_that_differ_are_not_the_same(got, expected):
    assert not same_answer(got, expected)


@pytest.mark.parametrize(
    ("got", "expected", "words"),
    [
        ([1, 2], [1, 3], "at index 1: 2 came, and 3 is expected"),
        ([1], [1, 3], "1 elements, and 2 are expected"),
        (np.ones((2, 1)), np.ones((1, 2)), "shape of the answer is (2, 1), and (1, 2)"),
        ({"a": 1}, {"a": 1, "b": 2}, "keys differ: ['b'] missing"),
        ({"a": 1, "c": 0}, {"a": 1}, "['c'] not expected"),
        ({"a": 1}, {"a": 2}, "value for 'a' is 1, and 2 is expected"),
        ({1, 2}, {2, 3}, "{3} missing, {1} not expected"),
        ("a", {"a"}, "is a string, and a set is expected"),
    ],
)
def test_a_difference_is_said_in_one_sentence(got, expected, words):
    assert words in difference(got, expected)


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ([(math.log(2) * x, x) for x in (1.0, 2.5)], "natural logarithm where base 2"),
        ([(x / math.log(2), x) for x in (1.0, 2.5)], "base-2 logarithm where the natural"),
        ([(50.0, 0.5), (0.0, 0.0)], "percentage"),
        ([(1.0, 2.0), (3.0, 2.0)], ""),
        ([(1.0, 0.0)], "off by one"),
        ([("a", 1.0)], ""),
        ([(math.inf, 1.0)], ""),
        ([], ""),
    ],
)
def test_a_telling_factor_is_named(pairs, words):
    assert words in common_factor(pairs) and bool(words) == bool(common_factor(pairs))


def test_a_comparison_of_the_exercise_itself_is_used_and_may_fail():
    def close(got, expected):
        return abs(got - expected) < 0.1  # fails with a TypeError for a string

    loose = dataclasses.replace(MEAN, same=close, wrong=())
    assert mark(loose, lambda numbers: mean(numbers) + 0.05).status == "correct"
    assert mark(loose, lambda numbers: "no").status == "wrong"


def test_a_generator_is_right_where_the_solution_is_one():
    def doubled(numbers):
        yield from (2 * number for number in numbers)

    lazy = dataclasses.replace(MEAN, solution=doubled, wrong=())
    assert mark(lazy, lambda numbers: iter([2 * number for number in numbers])).status == "correct"
    assert mark(lazy, lambda numbers: [2 * number for number in numbers]).status == "correct"


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def softened(scores):
    """Softmax over the last dimension."""
    return (scores - scores.amax(dim=-1, keepdim=True)).softmax(dim=-1)


def tensor_cases(generator):
    torch = pytest.importorskip("torch")
    small = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    return [(torch.from_numpy(generator.normal(size=(3, 5))),), (small,)]


SOFTMAX = Exercise(
    id="demo.softmax",
    notebook="00_demo",
    statement="Write softmax over the last dimension.",
    difficulty=1,
    minutes=3,
    hints=("Rows add up to one.", "torch.softmax(scores, dim=-1)"),
    solution=softened,
    wrong=(
        WrongAnswer("columns", lambda scores: scores.softmax(dim=0), "Your columns add up to one."),
        WrongAnswer("all", lambda scores: scores.exp() / scores.exp().sum(), "The whole tensor adds up to one."),
        WrongAnswer("logarithm", lambda scores: scores.log_softmax(dim=-1), "These are logarithms."),
    ),
    cases=tensor_cases,
)


def test_an_exercise_on_tensors_is_proved(torch):
    one_key = dataclasses.replace(
        SOFTMAX, cases=lambda generator: [*tensor_cases(generator), (torch.zeros(2, 2).double(),)]
    )
    assert prove(one_key) == []


def test_tensors_that_want_a_gradient_other_precisions_arrays_and_lists_are_right_answers(torch):
    for way in (
        lambda scores: softened(scores.requires_grad_()),
        lambda scores: softened(scores.float()),
        lambda scores: softened(scores).numpy(),
        lambda scores: softened(scores).tolist(),
        lambda scores: torch.nn.Parameter(softened(scores)),
    ):
        assert mark(SOFTMAX, way).status == "correct"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.T, "The shape of the answer is (2, 1), and (1, 2) is expected."),
        (lambda t: t.bool(), "The answer holds bools, and numbers are expected."),
        (lambda t: t.bfloat16() + 0.1, "The first difference is at index (0, 0): 0.3"),
        (lambda t: t + 0 / (t - t), "The answer holds NaN (not a number), first at index (0, 0)"),
        (lambda t: (t, t), "The answer is 2 arrays or tensors, and one of shape (1, 2) is expected."),
        (lambda t: t.tolist()[0][0], "The answer is a number, and a tensor is expected."),
        (lambda t: t.sum(), "The answer is a number, and a tensor is expected."),
        (lambda t: t.to_sparse(), "a tensor without values"),
        (lambda t: t.to("meta"), "a tensor without values"),
        (lambda t: 0.5 * t, "It is half of what is expected."),
        (lambda t: -t, "The sign is the other way round."),
        (lambda t: t + 1, "It is off by one every time: +1."),
    ],
)
def test_tensors_that_differ_are_described_in_plain_words(torch, change, words):
    verdict = mark(SOFTMAX, lambda scores: change(softened(scores)))
    assert verdict.status == "wrong" and words in verdict.message


def test_two_tensors_where_one_is_expected_and_the_reverse_are_said(torch):
    one, two = torch.zeros(2, 3), torch.ones(3)
    assert "is one array or tensor of shape (3,), and a tuple of 2 is expected" in difference(two, (one, two))
    assert "is 2 arrays or tensors, and one of shape (2, 3) is expected" in difference((one, two), one.numpy())
    assert difference((one, one[0]), (one, two)).startswith("Element 1 of the answer differs. The first difference is")
    assert difference(torch.arange(9).reshape(3, 3), torch.arange(9).reshape(3, 3).T) == (
        "The answer is the transpose of what is expected."
    )


@pytest.mark.parametrize(("gap", "right"), [(1e-7, True), (1e-3, False)])
def test_single_precision_is_judged_by_its_own_digits(torch, gap, right):
    expected = torch.tensor([1.0, 2.0], dtype=torch.float64)
    assert same_answer(expected.float() + gap, expected) == right
    assert not same_answer(expected + gap, expected)
    assert same_answer(np.float32(0.1), 0.1) and not same_answer(0.1 + gap, 0.1)


def test_bools_and_numbers_are_not_the_same_in_tensors_either(torch):
    mask = torch.tensor([True, False])
    assert same_answer(mask, [True, False]) and same_answer(mask.numpy(), mask)
    assert not same_answer(mask.int(), mask) and not same_answer(mask, mask.double())
    assert not same_answer(~mask, mask) and same_answer(torch.tensor(3), 3.0)


def test_the_example_is_the_smallest_tensor_and_long_ones_are_not_spelled(torch):
    message = mark(SOFTMAX, lambda scores: scores.log_softmax(dim=-1)).message
    assert "(tensor([[0.0, 1.0]]))` gave tensor([[-1.31326, -0.313262]]); expected tensor([[0.268941" in message
    large = dataclasses.replace(SOFTMAX, wrong=(), cases=lambda generator: [(torch.zeros(300, 400).double(),)])
    message = mark(large, lambda scores: scores).message
    assert "tensor of shape (300, 400): 0.0, 0.0, 0.0, 0.0, …" in message and len(message) < 500


def test_a_tensor_worded_in_short_does_not_pass_for_a_small_one(torch):
    small = torch.full((3, 4), -1.23456, dtype=torch.float64)
    cases = [(torch.zeros(300, 400).double(),), (small,)]
    message = mark(dataclasses.replace(SOFTMAX, wrong=(), cases=lambda generator: cases), lambda scores: scores).message
    assert "<lambda>(tensor([[-1.23456" in message


def test_an_example_that_gave_a_value_goes_before_one_that_raised(torch):
    mixed = dataclasses.replace(
        SOFTMAX,
        wrong=(WrongAnswer("square only", lambda scores: scores @ scores, "Not a product."),),
        cases=lambda generator: [(torch.ones(1, 2).double(),), (torch.ones(2, 2).double(),)],
    )
    verdict = mark(mixed, lambda scores: scores @ scores)
    assert verdict.mistake == "square only" and "gave tensor([[2.0, 2.0], [2.0, 2.0]])" in verdict.message


def test_a_hole_among_tensors_is_not_started(torch):
    def half_done(scores):
        weights = ...
        return torch.softmax(weights, dim=-1) @ scores

    def in_a_product(scores):
        return scores @ ...

    def indexed(scores):
        return scores[..., 0].no_such_method()

    assert [mark(SOFTMAX, hole).status for hole in (half_done, in_a_product)] == ["not started"] * 2
    assert mark(SOFTMAX, indexed).status == "error"


def test_an_answer_that_changes_its_tensor_spoils_nothing(torch):
    def in_place(scores):
        scores -= scores.amax(dim=-1, keepdim=True)
        return scores.exp_().div_(scores.sum(dim=-1, keepdim=True))

    assert mark(SOFTMAX, in_place).status == "correct"


def test_cases_with_modules_are_copied_and_worded_briefly(torch):
    def doubled(layer, x):
        return 2 * layer(x)

    def cases(generator):
        layer = torch.nn.Linear(2, 1).double()
        layer.load_state_dict({"weight": torch.from_numpy(generator.normal(size=(1, 2))), "bias": torch.ones(1)})
        return [(layer, torch.from_numpy(generator.normal(size=(1, 2))))]

    wrong = (WrongAnswer("once", lambda layer, x: layer(x), "Twice."), *SOFTMAX.wrong[1:])
    exercise = dataclasses.replace(SOFTMAX, solution=doubled, wrong=wrong[:1], cases=cases)
    assert "(Linear(in_features=2, out_features=1, bias=True), tensor([[" in mark(exercise, wrong[0].answer).message
    assert not [problem for problem in prove(exercise) if "cases" in problem]


def test_a_case_that_cannot_be_copied_is_not_taken_for_an_error_of_both(torch):
    kept = torch.ones(2, requires_grad=True) * 2  # part of a graph, which torch refuses to copy
    broken = dataclasses.replace(SOFTMAX, wrong=(), cases=lambda generator: [(kept,)])
    with pytest.raises(RuntimeError, match="deepcopy"):
        mark(broken, lambda scores: 1 / 0)


def test_an_id_that_is_like_none_is_refused_in_one_short_sentence(monkeypatch):
    ids = [f"{topic}.exercise_{number}" for topic in ("counts", "masks") for number in range(20)]
    several = tuple(dataclasses.replace(MEAN, id=each) for each in ids)
    monkeypatch.setattr(checking, "all_exercises", lambda: several)
    with pytest.raises(
        ValueError, match=r"^there is no exercise 'xyz'; `labkit exercises` in a terminal shows all 40$"
    ):
        checking.find("xyz")
    with pytest.raises(ValueError, match=r"did you mean 'masks\.exercise_7'") as refused:
        checking.find("mask.exercise_7")
    assert "counts" not in str(refused.value)


@pytest.mark.parametrize(("got", "expected"), [([10**400], [1.0]), (10**400, 1.0), ([1.0], [10**400])], ids="abc")
def test_a_whole_number_beyond_every_float_is_a_wrong_answer_and_no_error(got, expected):
    assert not same_answer(got, expected)
    assert (" at index 0" in difference(got, expected)) == isinstance(got, list)
