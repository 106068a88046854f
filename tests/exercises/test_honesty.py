"""honesty.md says what every check accepts and refuses; here it is done again, row by row."""

import pytest

from labkit.workbench.checking import all_exercises, find, mark
from tests.exercises import honesty
from tests.exercises.counterparts import COUNTERPARTS
from tests.exercises.without_counterpart import WITHOUT
from tests.workbench.teaching.class_of_students import answers_of

REFRESH = "when the change is meant, write the table anew with: python -m tests.exercises.honesty"


@pytest.mark.parametrize("exercise", all_exercises(), ids=lambda e: e.id)
def test_a_check_accepts_and_refuses_what_the_table_says(exercise):
    pytest.importorskip("torch")
    assert honesty.row(exercise) == honesty.stored().get(exercise.id), REFRESH


def test_the_table_has_a_row_for_every_exercise_and_for_nothing_else():
    text = honesty.TABLE.read_text(encoding="utf-8")
    assert text == honesty.HEAD + "".join(f"{line}\n" for line in honesty.stored().values()), REFRESH
    assert list(honesty.stored()) == [exercise.id for exercise in all_exercises()], REFRESH


@pytest.mark.parametrize("exercise", all_exercises(), ids=lambda e: e.id)
def test_the_table_has_nothing_bad_in_it(exercise):
    _, solution, empty, mistakes, own, copies = honesty.stored()[exercise.id].strip("| ").split(" | ")
    assert (solution, empty) == ("correct", "not started")
    assert mistakes == f"all {len(exercise.wrong)} refused, each with its own message"
    assert own.endswith(": correct") or own.startswith("none: ")
    assert not copies.startswith("taken for right")


def test_every_exercise_has_a_function_of_labkit_or_a_reason_why_not():
    ids = {exercise.id for exercise in all_exercises()}
    assert set(COUNTERPARTS) | set(WITHOUT) == ids and not set(COUNTERPARTS) & set(WITHOUT)


@pytest.mark.parametrize(
    ("name", "mistake", "seed"),
    [
        ("ngrams.stupid_backoff", "straight down", 10),
        ("ngrams.viterbi_step", "greedy", 5),
        ("model_parallel.held", "freed twice", 12),
        ("workbench.next_word", "word in front", 21),
        ("cleaning.chunks_to_do", "anything counts", 171),
    ],
)
def test_a_known_mistake_is_not_overlooked_with_the_numbers_that_once_hid_it(name, mistake, seed):
    exercise = find(name)
    wrong = next(one for one in exercise.wrong if one.name == mistake)
    assert mark(exercise, wrong.answer, seed).mistake == mistake


@pytest.mark.parametrize("exercise", all_exercises()[:12], ids=lambda e: e.id)
def test_an_answer_as_a_student_writes_it_is_marked_like_the_function_that_it_was_made_from(exercise):
    for key, source in answers_of(exercise).items():
        kind, _, name = key.partition(":")
        assert "labkit.exercises" not in source and source.count("labkit.check(") == 1
        verdict = mark(exercise, honesty.answered(exercise, source))
        status = {"right": "correct", "empty": "not started"}.get(kind, "wrong")
        assert (verdict.status, verdict.mistake) == (status, name)
