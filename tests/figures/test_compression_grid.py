"""Figures on grids of few bits: their sentences by hand, what sliders reach, what is refused."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from labkit.figures import style
from labkit.figures.compression import grid
from tests.figures.drawing import drawn

LEVELS, CODES = [-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5], range(-3, 4)
ERRORS = {"rows": [0.4, 0.1, 0.02], "groups": [0.3, 0.05, 0.01]}
MAPS = {"tensor": [[3.0, 4.0]], "group": [[0.0, 0.1]]}

DRAWN = {
    "draw_number_line": lambda s=1.0: grid.draw_number_line([s * 0.4, 5.5], LEVELS, CODES),
    "draw_codes": lambda s=1.0: grid.draw_codes([0, 0, 0, 1], -2, 1),
    "draw_error_by_bits": lambda s=1.0: grid.draw_error_by_bits(
        [2, 3, 4], {name: np.multiply(s, curve) for name, curve in ERRORS.items()}, formula=[0.41, 0.1, 0.02]
    ),
    "draw_error_maps": lambda s=1.0: grid.draw_error_maps(
        {name: np.multiply(s, table) for name, table in MAPS.items()}, {"tensor": 4.0, "group": 4.5}
    ),
}
SAID = {
    "draw_number_line": "2 numbers on 7 levels: mean square error 8.005, 1 clipped",
    "draw_codes": "2 of 4 codes are used. the most frequent, 0, has 75.0 %",
    "draw_error_by_bits": "rows: 0.4 with 2 bits, 0.02 with 4; groups: 0.3 with 2 bits, 0.01 with 4",
    "draw_error_maps": "tensor: 4.0 bits per weight, root mean square error 3.536; group: 4.5 bits per weight, root "
    "mean square error 0.07071",
}


WILD = ["", "$a$ $", "a\nb", "猫が好き", "x" * 90, r"$\frac{$"]
CORNERS = {
    "no numbers": lambda: grid.draw_number_line([], LEVELS),
    "one level": lambda: grid.draw_number_line([1.0, np.nan, np.inf], [0.0], [0], title="$T_{$"),
    "256 levels and many numbers": lambda: grid.draw_number_line(np.linspace(-9, 9, 999), np.arange(256), range(256)),
    "no codes": lambda: grid.draw_codes([], -2, 1),
    "all codes of 8 bits": lambda: grid.draw_codes(np.arange(256), 0, 255, title="猫"),
    "no curve": lambda: grid.draw_error_by_bits([2, 3], {}),
    "curves of every kind": lambda: grid.draw_error_by_bits([2, 3], {name: [np.nan, 0.0] for name in WILD}),
    "no bits": lambda: grid.draw_error_by_bits([], {"a": []}, formula=[]),
    "no error at all": lambda: grid.draw_error_maps({"a": np.zeros((3, 4))}, {"a": 4}),
    "errors of every kind": lambda: grid.draw_error_maps(
        {name: [[np.nan, np.inf, 1.0]] for name in WILD}, dict.fromkeys(WILD, 4)
    ),
    "one map of one weight": lambda: grid.draw_error_maps({"a": [[1e-30]]}, {"a": 2}, title="$"),
}


@pytest.mark.parametrize("name", CORNERS)
def test_what_sliders_can_reach_draws_without_a_warning(name):
    target = CORNERS[name]()
    assert style.alt_of(target) and drawn(target)


REFUSED = {
    "no levels": (lambda: grid.draw_number_line([1.0], []), "there are no levels"),
    "a code too few": (lambda: grid.draw_number_line([1.0], [0, 1], [0]), "2 levels, 1 codes"),
    "a code outside": (lambda: grid.draw_codes([4], -4, 3), "codes outside -4 … 3"),
    "a range upside down": (lambda: grid.draw_codes([0], 3, -4), "codes outside"),
    "a point too few": (lambda: grid.draw_error_by_bits([2, 3], {"a": [1]}), "1 a"),
    "a map without its cost": (lambda: grid.draw_error_maps({"a": [[1.0]]}, {}), "1 maps and 0 costs"),
    "no map": (lambda: grid.draw_error_maps({}, {}), "0 maps"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_data_that_do_not_fit_are_refused(name):
    draw, words = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        draw()


def test_a_clipped_number_is_red_and_the_others_are_not():
    ax = grid.draw_number_line([0.4, 5.5, -1.7], LEVELS, CODES)
    colours = [to_hex(colour) for colour in ax.collections[0].get_facecolor()]
    assert colours == [style.OURS, style.WRONG, style.OURS]


def test_a_lonely_code_far_out_is_named_and_one_that_can_be_seen_is_not():
    lonely = grid.draw_codes([0] * 2000 + [-127], -127, 127)
    assert [text.get_text() for text in lonely.texts] == ["1 number with code −127"]
    assert "1 number with code −127" in style.alt_of(lonely)
    bar = min(share.get_height() for share in lonely.patches if share.get_height())
    assert lonely.get_ylim()[0] < bar / 2 and lonely.get_xlim()[0] < -128
    assert not grid.draw_codes([0] * 20 + [-127], -127, 127).texts


def test_codes_below_zero_are_written_with_a_minus_as_the_axis_writes_it():
    assert [text.get_text() for text in grid.draw_number_line([0.4], [-0.5, 0.0], [-1, 0]).texts] == ["−1", "0"]


def test_errors_that_another_machine_would_not_repeat_are_marked():
    said = style.alt_of(grid.draw_error_by_bits([2, 3], {"a": [0.4, 0.1]}, varies=True))
    assert "a: ‹0.4› with 2 bits, ‹0.1› with 3" in said


def test_maps_share_one_scale_of_colour():
    figure = DRAWN["draw_error_maps"]()
    limits = {image.get_clim() for ax in figure.axes for image in ax.images}
    assert len(limits) == 1 and limits.pop()[1] == 4.0


def test_no_curve_has_the_colour_of_a_reference_or_of_something_broken():
    ax = grid.draw_error_by_bits([2, 3], {f"{i}": [1.0, 0.1] for i in range(5)})
    colours = {line.get_color() for line in ax.lines}
    assert len(colours) == 5 and not colours & {style.REFERENCE, style.WRONG}


def test_figures_can_be_parts_of_another_and_take_tensors():
    figure, places = style.new(9, 4, ncols=2)
    assert grid.draw_codes(torch.tensor([[0, 1]]), -2, 1, ax=places[1]) is places[1] and not places[0].has_data()
    assert grid.draw_number_line(torch.tensor([0.1]), torch.tensor([0.0, 1.0]), ax=places[0]) is places[0]
    assert drawn(figure)
