"""What nbgrader reads of a release: metadata of schema 3, its checksums, and points as a plain number."""

import sys
from itertools import pairwise

import pytest

import labkit
from labkit.workbench.checking import find
from labkit.workbench.releasing import interchange


def cell(kind="code", source="1", name="a-cell"):
    return {"cell_type": kind, "id": name, "source": source, "metadata": {}}


def zero(bigrams):
    return 0


def half_right(text, word):
    """Right where the follower is not decided by a tie."""
    followers = [b for a, b in pairwise(text) if a == word]
    return max(followers, key=followers.count) if followers else None


def test_a_right_answer_gets_all_points():
    assert labkit.points("workbench.next_word", find("workbench.next_word").solution, of=7) == 7


def test_without_a_number_each_star_of_difficulty_is_ten():
    exercise = find("workbench.next_word")
    assert interchange.points(exercise, exercise.solution) == 10 * exercise.difficulty


@pytest.mark.parametrize("answer", [..., None, 3, lambda text, word: None, lambda: 0])
def test_holes_and_answers_that_do_not_look_at_their_input_get_nothing(answer):
    assert interchange.points("workbench.next_word", answer, of=10) == 0


def test_an_answer_that_is_right_on_some_inputs_gets_a_part():
    assert 0 < interchange.points("workbench.next_word", half_right, of=10) < 10


def test_a_value_is_graded_too():
    assert interchange.points("workbench.sequences", 10**12, of=4) == 4
    assert interchange.points("workbench.sequences", 30_000, of=4) == 0


def test_points_look_like_a_number_to_nbgrader_and_like_points_to_people():
    shown = interchange.Points(7.5, 10.0)
    assert repr(shown) == "7.5"
    assert float(repr(shown)) == 7.5
    assert shown._repr_html_() == "7.5 of 10 points"
    assert interchange.points("workbench.sequences", ..., of=4)._repr_html_() == "4 points to earn"
    assert interchange.points("workbench.sequences", 3, of=4)._repr_html_() == "0 of 4 points"


def test_an_answer_that_talks_on_the_error_stream_loses_nothing(capsys):
    solution = find("workbench.next_word").solution

    def loud(text, word):
        print("here I am", file=sys.stderr)
        print("and here")
        return solution(text, word)

    assert interchange.points("workbench.next_word", loud, of=10) == 10
    assert capsys.readouterr() == ("", "")


def test_an_unknown_exercise_is_refused_with_the_nearest_one():
    with pytest.raises(ValueError, match=r"workbench\.next_word"):
        interchange.points("workbench.next_wrod", ...)


def test_metadata_of_an_answer_and_of_its_points():
    answer, points = cell(name="exercise-a"), cell(name="exercise-a-points", source="labkit.points()")
    interchange.answer(answer)
    interchange.graded(points, 20.0)
    told = answer["metadata"]["nbgrader"]
    assert (told["solution"], told["grade"], told["locked"], told["schema_version"]) == (True, False, False, 3)
    assert "points" not in told
    assert answer["metadata"]["deletable"] is False
    assert "editable" not in answer["metadata"]
    told = points["metadata"]["nbgrader"]
    assert (told["solution"], told["grade"], told["locked"], told["points"]) == (False, True, True, 20.0)
    assert points["metadata"]["editable"] is False


def test_a_question_in_words_is_read_only_and_its_answer_is_graded_by_hand():
    asked, answer = cell("markdown", "Why?", "question-why"), cell("markdown", "…", "answer-why")
    interchange.question(asked)
    interchange.words(answer, 5.0)
    told = asked["metadata"]["nbgrader"]
    assert (told["grade"], told["solution"], told["locked"]) == (False, False, True)
    told = answer["metadata"]["nbgrader"]
    assert (told["grade"], told["solution"], told["points"], told["cell_type"]) == (True, True, 5.0, "markdown")


CHECKSUMS = {
    "answer": "e18b994f2051656cf2277f6a2b237a2b",
    "graded": "412ff9ac611da16227155cf213733fe5",
    "question": "75bdc8f3040b4b433a1715d2e8ff7d75",
    "words": "f15593906f302ac8a83ebbfb131d43ee",
}  # of nbgrader 0.9.6, compute_checksum


@pytest.mark.parametrize("kind", ["answer", "graded", "question", "words"])
def test_checksums_are_those_of_nbgrader(kind):
    made = cell("code" if kind in ("answer", "graded") else "markdown", "x = 'ä曹'\n", "exercise-a")
    getattr(interchange, kind)(made, *([20] if kind in ("graded", "words") else []))
    assert made["metadata"]["nbgrader"]["checksum"] == CHECKSUMS[kind]
