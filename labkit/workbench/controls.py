"""The controls of an explorable: what a notation such as `order=(1, 5)` becomes, each usable from the keyboard."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets
from traitlets import link

from labkit.workbench.display import brief

LABEL = {"description_width": "initial"}  # a label is as wide as its words, so none is cut off
MOST_ROWS = 12  # of a text box; a longer text is scrolled
STEPS = 100  # of a float slider whose step is not given


@dataclass(frozen=True)
class Control:
    """One control: the `row` that is shown, the widget that holds the value, where it starts, the `ends` to test."""

    name: str
    row: widgets.Widget
    widget: widgets.Widget
    start: Any
    ends: tuple[Any, ...]
    refuse_bad: Callable

    @property
    def value(self) -> Any:
        """The present value."""
        return self.widget.value

    def put(self, value: Any) -> None:
        """Set the value, as a hand on the control would."""
        self.widget.value = value

    @property
    def shown(self) -> str:
        """The value in words: the name in a menu, six digits of a number."""
        if isinstance(self.widget, widgets.Dropdown):
            return str(self.widget.label)
        value = self.value
        return f"{value:.6g}" if isinstance(value, float) else brief(value)

    def on_change(self, react: Callable) -> None:
        """Call `react(change)` whenever the value changes."""
        self.widget.observe(react, names="value")


def make_control(name: str, given: Any, default: Any = None, as_typed: bool = False) -> Control:
    """Make the control that a notation stands for; `default` is where it starts, None for the middle or the first.

    With `as_typed` a text field reports every key, not only Enter; a box of several lines does so always, since Enter
    means something else there.

    Raises:
        ValueError: if the notation is none that explore() knows, or the default lies outside it.
    """
    if isinstance(given, bool):
        return _checkbox(name, given)
    if isinstance(given, str):
        return _text_field(name, given, as_typed)
    if isinstance(given, Mapping):
        return _menu(name, {str(label): value for label, value in given.items()}, default)
    if isinstance(given, list):
        return _menu(name, {str(value): value for value in given}, default)
    if isinstance(given, tuple) and len(given) in (2, 3) and all(_is_number(x) for x in given):
        return _slider(name, given, default)
    raise ValueError(
        f"{name} = {brief(given)} is no control; give (low, high) or (low, high, step) with numbers, a list or a dict "
        "of choices, True or False, or a string"
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _slider(name: str, given: tuple, default: Any) -> Control:
    whole = all(isinstance(x, int) for x in given) and not isinstance(default, float)
    low, high = given[:2]
    step = given[2] if len(given) == 3 else 1 if whole else (high - low) / STEPS
    if not low < high or not 0 < step <= high - low:
        raise ValueError(f"{name} = {given} is no range; give (low, high) or (low, high, step), the lower number first")

    def refuse_bad(value: Any) -> None:
        if not _is_number(value) or not low <= value <= high or (whole and value != int(value)):
            raise ValueError(f"{name} = {brief(value)} is not {'a whole number ' if whole else ''}from {low} to {high}")

    start = low + step * round((high - low) / step / 2) if default is None else default
    refuse_bad(start)
    slider_kind, box_kind = (
        (widgets.IntSlider, widgets.BoundedIntText) if whole else (widgets.FloatSlider, widgets.BoundedFloatText)
    )
    common = {"min": low, "max": high, "step": step, "value": start}
    # The box carries the label, and with it the name that a screen reader says; the handle of the slider has none.
    box = box_kind(**common, description=name, style=LABEL, layout={"width": "auto", "min_width": "9em"})
    slider = slider_kind(**common, readout=False, continuous_update=False, layout={"width": "20em"})
    link((slider, "value"), (box, "value"))
    return Control(name, widgets.HBox([box, slider]), slider, start, (low, high), refuse_bad)


def _menu(name: str, choices: dict[str, Any], default: Any) -> Control:
    if not choices:
        raise ValueError(f"{name} has no choices; give a list or a dict with at least one")

    def refuse_bad(value: Any) -> None:
        if not any(value is choice or value == choice for choice in choices.values()):
            raise ValueError(f"{name} = {brief(value)} is none of the choices {', '.join(choices)}")

    start = next(iter(choices.values())) if default is None else default
    refuse_bad(start)
    menu = widgets.Dropdown(options=list(choices.items()), value=start, description=name, style=LABEL)
    return Control(name, menu, menu, start, tuple(choices.values()), refuse_bad)


def _checkbox(name: str, start: bool) -> Control:
    def refuse_bad(value: Any) -> None:
        if not isinstance(value, bool):
            raise ValueError(f"{name} = {brief(value)} is neither True nor False")

    box = widgets.Checkbox(value=start, description=name, indent=False)
    return Control(name, box, box, start, (False, True), refuse_bad)


def _text_field(name: str, start: str, as_typed: bool) -> Control:
    def refuse_bad(value: Any) -> None:
        if not isinstance(value, str):
            raise ValueError(f"{name} = {brief(value)} is not a string")

    if "\n" in start:
        rows = min(MOST_ROWS, start.count("\n") + 2)
        wide = {"width": "54em", "max_width": "100%"}
        field = widgets.Textarea(value=start, description=name, style=LABEL, rows=rows, layout=wide)
    else:
        field = widgets.Text(value=start, description=name, style=LABEL, continuous_update=as_typed)
    return Control(name, field, field, start, ("", start), refuse_bad)
