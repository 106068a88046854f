"""Figures on attention: the numbers in their alt text, the corners that sliders reach, what is refused."""

import subprocess
import sys

import matplotlib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex

from labkit.figures import attention, style
from labkit.figures.attention import labels
from tests.figures.drawing import drawn
from tests.outputs.alignment import DECIMAL, aligned

CAUSAL = np.tril(np.ones((3, 3), dtype=bool))
WEIGHTS = np.array([[1.0, 0.0, 0.0], [0.25, 0.75, 0.0], [0.5, 0.2, 0.3]])
CAT = ["the", "cat", "sat"]
WILD = ["", " ", "$a$ $", "a\nb", "猫が好き", "a\x00b", "\ue000", "x" * 90, r"$\frac{$", "naïve"]
LENGTHS = [64, 128, 256]


def softmax(scores):
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


# One call of every function with data whose sentence can be worked out by hand.
DRAWN = {
    "draw_softmax": lambda s=1.0: attention.draw_softmax(
        {"T = 1": s * np.array([0.7, 0.2, 0.1]), "hot": s * np.array([0.4, 0.35, 0.25])}, CAT
    ),
    "draw_score_growth": lambda s=1.0: attention.draw_score_growth(
        [4, 16], s * np.array([4.1, 15.9]), s * np.array([1.02, 0.99]), s * np.array([0.1, 0.02]), [0.2, 0.19]
    ),
    "draw_weights": lambda s=1.0: attention.draw_weights(s * WEIGHTS, CAT, "Head 1", allowed=CAUSAL, scores=False),
    "draw_heads": lambda s=1.0: attention.draw_heads(
        [[s * WEIGHTS, s * WEIGHTS.T], [s * WEIGHTS, s * np.eye(3)]], CAT, allowed=CAUSAL
    ),
    "draw_masks": lambda s=1.0: attention.draw_masks({"causal": CAUSAL, "blind": np.tril(np.ones((3, 2)), -1)}),
    "draw_before_after": lambda s=1.0: attention.draw_before_after(
        s * np.full((3, 3), 1 / 3), s * WEIGHTS, CAT, varies=False
    ),
    "draw_positions": lambda s=1.0: attention.draw_positions(s * np.array([[0, 1.0, 0, 1], [0.84, 0.54, 0.01, 1]])),
    "draw_rotation": lambda s=1.0: attention.draw_rotation([[1, 0], [0, s * 2]], [[0, s], [0, s * 2]], 1),
    "draw_distance": lambda s=1.0: attention.draw_distance([0, 1, 2], {"RoPE": s * np.array([1.0, 0.9, 0.65])}),
    "draw_alibi": lambda s=1.0: attention.draw_alibi(s * np.array([0.5, 0.25]), range(9)),
    "draw_growth": lambda s=1.0: attention.draw_growth(
        LENGTHS, {"plain": s * np.array([0.1, 0.4, 1.6])}, {"plain": [16e3, 64e3, 256e3]}, {"plain": 2.0}, {"plain": 2}
    ),
    "draw_wall": lambda s=1.0: attention.draw_wall(
        [100, 1000], [1e6, 1e8], [1e5, 1e6], {"a limit of 10 MB": 1e7}, chosen=100, tile=64
    ),
    "draw_tiles": lambda s=1.0: attention.draw_tiles(
        6, 2, causal=True, done=2, maximum=s * np.arange(6.0), total=[1.5, *[0.0] * 5]
    ),
    "draw_learning": lambda s=1.0: attention.draw_learning({"copy": s * np.array([2.5, 1.25])}, 0.1, varies=False),
}
SAID = {
    "draw_softmax": "T = 1: largest 0.7 for “the”, smallest 0.1; hot: largest 0.4 for “the”, smallest 0.25",
    "draw_score_growth": "variance of a score from d = 4 to 16: without scaling 4.1 to 15.9, divided by √d 1.02 to "
    "0.99. gradient behind softmax from d = 4 to 16: without scaling 0.1 to 0.02, divided by √d 0.2 to 0.19",
    "draw_weights": "Head 1: 3 queries, 3 keys; “the” looks most at “the”, 1.0; “cat” looks most at “cat”, 0.75; "
    "“sat” looks most at “the”, 0.5; 3 of 9 cells masked",
    "draw_heads": "layer 1 head 1: the largest is 0.75, from “cat” to “cat”; layer 1 head 2: the largest is 0.75, from",
    "draw_masks": "2 masks. causal: 6 of 9 cells may attend; blind: 3 of 6 cells may attend, 1 query may look nowhere",
    "draw_before_after": "before learning: the strongest weight of a query is 0.3333 on average, “sat” looks most at "
    "“the”; after learning: the strongest weight of a query is 0.75 on average, “sat” looks most at “the”",
    "draw_positions": "vectors of 2 positions with 4 dimensions; values from 0.0 to 1.0",
    "draw_rotation": "2 pairs of dimensions turned by a distance of 1: pair 1 by 90.0°, pair 2 by 0.0°",
    "draw_distance": "RoPE: 1.0 at distance 0, 0.65 at 2",
    "draw_alibi": "slopes from 0.5 to 0.25, so at the largest distance -4.0 to -2.0 is added to the score",
    "draw_growth": "plain: ‹0.1› to ‹1.6› seconds, grows as n to the power ‹2.0›. Memory from 64 to 256 tokens. "
    "plain: 16 kB to 256 kB, grows as n to the power 2.0",
    "draw_wall": "at the end naive 100 MB, tiled, tile 64 1 MB; at 100 tokens naive 1 MB, tiled 100 kB; "
    "naive attention passes a limit of 10 MB at about 320 tokens",
    "draw_tiles": "6 of 9 tiles are computed, 3 of them cut by the mask, 3 skipped; 2 are read so far; running max 0.0 "
    "in the first row, 5.0 in the last; running sum 1.5 in the first row, 0.0 in the last",
    "draw_learning": "copy: starts at 2.5, ends at 1.25; the floor is 0.1",
}


def test_every_draw_function_is_tested_here():
    assert set(DRAWN) == set(SAID) == set(attention.__all__)


@pytest.mark.parametrize("name", DRAWN)
def test_each_figure_says_what_its_data_show(name):
    figure = DRAWN[name]()
    assert SAID[name] in style.alt_of(figure)
    assert style.png(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("change", [1 + 4e-4, 1 - 4e-4])
def test_a_last_digit_does_not_change_what_a_figure_says(name, change):
    here, there = style.alt_of(DRAWN[name]()), style.alt_of(DRAWN[name](change))
    assert aligned(here, there) == there or name == "draw_growth"  # whose seconds are masked, not compared


@pytest.mark.parametrize("name", ["draw_weights", "draw_distance", "draw_tiles", "draw_alibi"])
def test_a_figure_can_be_part_of_another(name):
    figure, (left, right) = style.new(8, 4, ncols=2)
    arguments = {
        "draw_weights": (WEIGHTS, CAT),
        "draw_distance": ([0, 1], {"a": [1.0, 0.5]}),
        "draw_tiles": (4, 2),
        "draw_alibi": ([0.5], [0, 1]),
    }[name]
    assert getattr(attention, name)(*arguments, ax=right) is right and not left.has_data()
    style.describe(left, "nothing")
    assert style.alt_of(figure).startswith("nothing. ") and drawn(figure)


CORNERS = {
    "one token": lambda: attention.draw_weights([[1.0]], ["a"]),
    "one query, many keys": lambda: attention.draw_weights(softmax(np.zeros((1, 60))), ["k"] * 60, queries=["q"]),
    "many queries, one key": lambda: attention.draw_weights(np.ones((9, 1)), ["k"], queries=list("abcdefghi")),
    "tokens of every kind": lambda: attention.draw_weights(softmax(np.eye(10)), WILD, title="$ 猫 $x_{$"),
    "every cell masked": lambda: attention.draw_weights(np.full((3, 3), -np.inf), CAT, scores=True),
    "nothing allowed": lambda: attention.draw_weights(WEIGHTS, CAT, allowed=np.zeros((3, 3))),
    "a row of NaN": lambda: attention.draw_weights([[np.nan] * 3, *WEIGHTS[1:]], CAT),
    "scores of zero": lambda: attention.draw_weights(np.zeros((3, 3)), CAT, scores=True),
    "huge scores": lambda: attention.draw_weights(1e30 * np.eye(3), CAT),
    "two hundred tokens": lambda: attention.draw_weights(softmax(np.zeros((200, 200))), [str(i) for i in range(200)]),
    "temperature to zero": lambda: attention.draw_softmax({"T → 0": [1.0, 0.0, 0.0], "lost": [np.nan] * 3}, CAT),
    "temperature without end": lambda: attention.draw_softmax({"T → ∞": np.full(40, 1 / 40)}, ["w"] * 40),
    "no temperature": lambda: attention.draw_softmax({}, CAT),
    "gradients gone": lambda: attention.draw_score_growth([1], [1.0], [1.0], [0.0], [0.0]),
    "one head": lambda: attention.draw_heads([[[1.0]]], ["a"]),
    "two layers of twelve heads": lambda: attention.draw_heads([softmax(np.zeros((12, 3, 3)))] * 2, CAT),
    "layers of different width": lambda: attention.draw_heads([[np.eye(3)], [np.eye(3), WEIGHTS]], CAT, title="uneven"),
    "heads with names": lambda: attention.draw_heads([np.eye(3), WEIGHTS], CAT, titles=["one", "猫"]),
    "one mask of one cell": lambda: attention.draw_masks({"one": [[False]]}),
    "five masks": lambda: attention.draw_masks({str(i): CAUSAL for i in range(5)}),
    "one position": lambda: attention.draw_positions(np.zeros((1, 1))),
    "vectors of no length": lambda: attention.draw_rotation(np.zeros((2, 2)), np.zeros((2, 2)), 0),
    "forty pairs": lambda: attention.draw_rotation(np.ones((40, 2)), -np.ones((40, 2)), 12.5),
    "one distance": lambda: attention.draw_distance([0], {"a": [1.0]}),
    "forty heads": lambda: attention.draw_alibi(2.0 ** -np.arange(40), np.arange(1000)),
    "no distance": lambda: attention.draw_alibi([0.5], [0]),
    "one length": lambda: attention.draw_growth([64], {"a": [0.0]}, {"a": [0]}),
    "a wall far away": lambda: attention.draw_wall([1, 2], [1, 4], [1, 2], {"all": 1e15}, chosen=7),
    "no bytes": lambda: attention.draw_wall([1, 2], [0, 0], [0, 0]),
    "one score": lambda: attention.draw_tiles(1, 1, causal=True, done=1, maximum=[3.0], total=[1.0]),
    "a tile larger than the matrix": lambda: attention.draw_tiles(5, 99, causal=True, done=0, maximum=[-np.inf] * 5),
    "many tiles": lambda: attention.draw_tiles(2000, 8, causal=True),
    "more read than there is": lambda: attention.draw_tiles(8, 3, done=10**6),
    "a state of many rows": lambda: attention.draw_tiles(99, 7, maximum=[np.nan] * 99, total=[np.inf] * 99),
    "a loss that exploded": lambda: attention.draw_learning({"a": [2.0, np.inf, np.nan], "b": [], "c": [np.nan]}),
    "no runs": lambda: attention.draw_learning({}),
    "many tokens before and after": lambda: attention.draw_before_after(np.eye(20), np.eye(20), ["t"] * 20),
    "nobody looks": lambda: attention.draw_before_after(np.full((3, 3), np.nan), WEIGHTS, CAT),
}


@pytest.mark.parametrize("name", CORNERS)
def test_what_sliders_can_reach_draws_without_a_warning(name):
    figure = CORNERS[name]()
    assert style.alt_of(figure) and drawn(figure)


REFUSED = {
    "tokens that do not fit": (lambda: attention.draw_weights(WEIGHTS, ["a"]), r"shape \(3, 3\).* 1 queries"),
    "no tokens": (lambda: attention.draw_weights(np.zeros((0, 0)), []), "give at least one"),
    "too few titles": (lambda: attention.draw_heads([WEIGHTS], CAT, titles=["a", "b"]), "2 titles for 1 heads"),
    "labels that do not fit": (lambda: attention.draw_softmax({"T": [1.0]}, CAT), r"'T' has shape \(1,\)"),
    "vectors in threes": (lambda: attention.draw_rotation(WEIGHTS, WEIGHTS, 1), r"must be \(pairs, 2\)"),
    "no tile": (lambda: attention.draw_tiles(4, 0), "at least 1"),
    "a state of the wrong length": (lambda: attention.draw_tiles(4, 2, maximum=[1.0]), "each of 4 rows"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_data_that_do_not_fit_are_refused(name):
    draw, words = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        draw()


def test_tensors_lists_and_arrays_draw_the_same():
    alts = {style.alt_of(attention.draw_weights(w, CAT)) for w in (WEIGHTS, WEIGHTS.tolist(), torch.tensor(WEIGHTS))}
    assert len(alts) == 1


def test_what_another_machine_would_train_otherwise_is_marked():
    said = style.alt_of(attention.draw_weights(WEIGHTS, CAT, "Head", scores=False, varies=True))
    assert said.startswith("Head: 3 queries, 3 keys; ‹“the” looks most at") and said.endswith("0.5›")


def test_numbers_stand_in_small_matrices_and_masked_cells_carry_none():
    written = [text.get_text() for text in attention.draw_weights(WEIGHTS, CAT, allowed=CAUSAL).texts]
    assert written == ["1.00", "0.25", "0.75", "0.50", "0.20", "0.30"]
    assert not attention.draw_weights(np.eye(11), ["t"] * 11).texts


def test_the_number_is_legible_on_its_cell():
    dark, light = attention.draw_weights([[0.95, 0.05]], ["a", "b"], queries=["q"]).texts
    assert to_hex(dark.get_color()) == "#ffffff" and to_hex(light.get_color()) == style.INK


def test_masked_cells_are_hatched_and_the_others_are_not():
    ax = attention.draw_weights(WEIGHTS, CAT, allowed=CAUSAL)
    (cover,) = ax.collections
    assert cover.get_hatch() and len(cover.get_paths()) == 2  # one stripe in each of the first two rows
    assert not attention.draw_weights(WEIGHTS, CAT).collections


def test_rows_look_from_and_columns_look_at():
    ax = attention.draw_weights(np.ones((1, 2)) / 2, ["a", "b"], queries=["q"])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["a", "b"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["q"]
    assert "looks at" in ax.get_xlabel() and "looks from" in ax.get_ylabel()


def test_even_weights_are_said_to_be_even():
    assert "“a” looks at 2 tokens alike, 0.5 each" in style.alt_of(attention.draw_weights([[0.5, 0.5]] * 2, ["a", "b"]))


def test_the_first_query_of_a_causal_head_does_not_hide_the_strongest_link():
    w = np.tril(np.full((8, 8), 0.1))
    w[0, 0], w[5, 2] = 1.0, 0.8
    alt = style.alt_of(attention.draw_weights(w, list("abcdefgh"), allowed=np.tril(np.ones((8, 8)))))
    assert "the largest is 0.8, from “f” to “c”" in alt


def test_of_many_heads_the_sharpest_and_the_vaguest_are_named():
    heads = np.full((13, 2, 2), 0.5)
    heads[4] = [[0.9, 0.1], [0.3, 0.7]]
    alt = style.alt_of(attention.draw_heads(heads, ["a", "b"]))
    assert "on average 0.8 in head 5, which looks sharpest, and 0.5 in head 1, which looks vaguest" in alt


def test_layers_of_one_head_stand_beside_each_other():
    figure = attention.draw_heads([[np.eye(3)], [WEIGHTS]], CAT)
    first, second = figure.axes[:2]
    assert first.get_subplotspec().rowspan == second.get_subplotspec().rowspan and second.get_title() == "layer 2"
    assert "layer 1: the largest is 1.0, from “the” to “the”; layer 2: the largest" in style.alt_of(figure)


def test_a_length_outside_the_curves_is_not_given_bytes():
    said = [style.alt_of(attention.draw_wall([10, 100], [1e3, 1e5], [1e3, 1e4], chosen=n)) for n in (50, 200)]
    assert "at 50 tokens naive 25 kB, tiled 5 kB" in said[0] and "at 200" not in said[1]


def test_what_training_gives_is_masked_unless_it_repeats():
    assert "starts at ‹2.0›, ends at ‹1.0›" in style.alt_of(attention.draw_learning({"a": [2.0, 1.0]}))
    assert "‹0.75› on average, ‹“sat” looks most at “the”›" in style.alt_of(
        attention.draw_before_after(WEIGHTS, WEIGHTS, CAT)
    )


def test_a_smoothed_curve_begins_where_the_loss_began_and_stays_within_it():
    raw = np.linspace(3, 1, 100) + np.random.default_rng(0).normal(size=100) / 10
    curve = attention.learned.smoothed(raw)
    assert curve[0] == raw[0] and raw.min() <= curve.min() and curve.max() <= raw.max()
    assert np.abs(np.diff(curve)).mean() < np.abs(np.diff(raw)).mean() / 3
    assert (attention.learned.smoothed(raw[:30]) == raw[:30]).all()


@settings(max_examples=25)
@given(n=st.integers(1, 20), tile=st.integers(1, 25), causal=st.booleans())
def test_tiles_are_counted_as_cell_by_cell(n, tile, causal):
    allowed = np.tril(np.ones((n, n), dtype=bool)) if causal else np.ones((n, n), dtype=bool)
    tiles = [allowed[i : i + tile, j : j + tile] for i in range(0, n, tile) for j in range(0, n, tile)]
    needed, cut = sum(t.any() for t in tiles), sum(t.any() and not t.all() for t in tiles)
    said = f"{needed} of {len(tiles)} tiles are computed, {cut} of them cut by the mask, {len(tiles) - needed} skipped"
    assert said in style.alt_of(attention.draw_tiles(n, tile, causal=causal))


def test_the_present_tile_is_the_last_one_read():
    ax = attention.draw_tiles(4, 2, causal=True, done=2)
    states = ax.collections[0].get_array().reshape(2, 2)
    assert states.tolist() == [
        [attention.tiles.READ, attention.tiles.SKIPPED],
        [attention.tiles.NOW, attention.tiles.WAITING],
    ]


@pytest.mark.parametrize("degrees", [-179, -90, -1, 0, 30, 90, 179, 180])
def test_the_angle_of_a_pair_is_measured(degrees):
    turn = np.deg2rad(degrees)
    after = [[np.cos(turn + 1) * 2, np.sin(turn + 1) * 2]]
    alt = style.alt_of(attention.draw_rotation([[np.cos(1) * 2, np.sin(1) * 2]], after, 1))
    assert f"pair 1 by {degrees:.1f}°" in alt


@given(st.floats(allow_nan=False, allow_infinity=False, width=32), st.floats(-3e-4, 3e-4))
def test_a_number_is_written_so_that_pages_compare_it_as_a_decimal(value, change):
    here, there = labels.number(value), labels.number(value * (1 + change))
    assert DECIMAL.fullmatch(here)
    assert float(here.replace(",", "")) == pytest.approx(value, rel=5e-4, abs=1e-9)
    assert aligned(f"x {here}", f"x {there}") == f"x {there}"


def test_labels_hold_no_glyph_that_the_font_lacks():
    known = matplotlib.ft2font.FT2Font(matplotlib.get_data_path() + "/fonts/ttf/DejaVuSans.ttf").get_charmap()
    for token in WILD:
        assert {ord(sign) for sign in labels.readable(token)} <= set(known)
    assert [labels.readable(t) for t in ("", " ", " a ", "猫", "a\nb")] == ["∅", "␣", "␣a␣", "□", "a↵b"]


def test_equal_numbers_give_the_first_place_even_with_noise():
    assert labels.largest([0.2, 0.4, 0.4000001]) == 1 == labels.largest([0.2, 0.4000001, 0.4])


def test_drawing_needs_no_pyplot():
    code = "import sys\nfrom labkit.figures import attention, transformer\nattention.draw_weights([[1.0]], ['a'])"
    code += "\ntransformer.draw_block()\nprint('matplotlib.pyplot' in sys.modules, 'torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]
