"""Every exercise is proven both ways: its solution passes, the hole is "not started", each known mistake is refused."""

import pytest

from labkit.workbench.checking import Exercise, all_exercises, mark, prove


@pytest.mark.parametrize("exercise", all_exercises(), ids=lambda e: e.id)
def test_the_solution_passes_the_hole_waits_and_each_known_mistake_is_named(exercise):
    assert prove(exercise) == []


@pytest.mark.parametrize("exercise", all_exercises(), ids=lambda e: e.id)
def test_a_constant_is_not_taken_for_an_answer(exercise):
    answer = -7 if exercise.kind == "value" else lambda *arguments: -7
    assert mark(exercise, answer).status == "wrong"


def test_every_id_says_its_topic_and_no_id_comes_twice():
    ids = [exercise.id for exercise in all_exercises()]
    assert len(ids) == len(set(ids))
    assert all(isinstance(e, Exercise) and e.id.count(".") == 1 for e in all_exercises())


def test_the_two_notebooks_have_enough_exercises():
    notebooks = [exercise.notebook for exercise in all_exercises()]
    assert notebooks.count("00_start_here") >= 2
    assert notebooks.count("02_ngram_models") >= 8


def test_an_answer_of_thousands_of_digits_is_marked_without_being_spelled():
    exercise = next(e for e in all_exercises() if e.id == "workbench.sequences")
    assert "swapped" in mark(exercise, 3**10_000).message
    assert mark(exercise, 7**10_000).status == "wrong"
