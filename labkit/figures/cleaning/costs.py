"""What cleaning is worth and what it costs: training on raw and cleaned text, hours by step, how work grows."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from labkit.figures.attention.labels import (
    Array,
    Number,
    byte_size,
    legend,
    log_axis,
    number,
    plural,
    readable,
    title_of,
)
from labkit.figures.optimizers.curves import floats, look, same_length, shown
from labkit.figures.style import DATA, INK, MARKERS, OURS, QUIET, axes, describe, series
from labkit.figures.transformer.counting import short_count

_LANDMARKS = {"an hour": 1, "a day": 24, "a month": 730.5, "a year": 8766, "a century": 876_600}  # in hours
_RAYS = {"twice the text, twice the work": 1, "twice the text, four times the work": 2}


def draw_training(
    curves: Mapping[str, tuple[Array, Array]],
    floor: Number | None = None,
    ylabel: str = "bits per byte of clean held-out text",
    varies: bool = True,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Held-out bits against tokens read, one curve (tokens, bits) for each training set; less is better.

    Raises:
        ValueError: if a curve does not have as many bits as tokens.
    """
    ax = axes(ax, width=7.5, height=3.8)
    said = []
    for i, (name, (given_x, given_y)) in enumerate(curves.items()):
        x, y = floats(given_x), floats(given_y)
        same_length(tokens=x, bits=y)
        ax.plot(x, y, **look(i, len(x)))
        known = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
        last = f" ({y[known[-1]]:.3f})" if len(known) else " (no finite number)"
        ax.plot([], [], label=readable(name, 28) + last, **look(i, len(x)))
        said.append(f"{name}: {_course(x, y, known, varies)}")
    if floor is not None:
        ax.axhline(floor, color=DATA, linestyle=":", linewidth=1.5, label=f"floor {floor:.3g}")
        said.append(f"the floor is {number(floor, varies)}")
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_count(value)))
    ax.set(xlabel="tokens read", ylabel=ylabel, title=title_of(title or "The same model, trained on other text"))
    legend(ax)
    describe(ax, f"{title or ylabel}. {'; '.join(said) or 'no runs'}")
    return ax


def _course(x: np.ndarray, y: np.ndarray, known: np.ndarray, varies: bool) -> str:
    if not len(known):
        return "no finite number"
    first, last = known[0], known[-1]
    words = f"{number(y[last], varies)} after {short_count(x[last])} tokens"
    return words if first == last else f"{number(y[first], varies)} after {short_count(x[first])}, {words}"


def draw_forecast(
    costs: Mapping[str, Number | Mapping[str, Number]],
    unit: str = "hours",
    varies: bool = True,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """What each step costs on a logarithmic line; several amounts, as {step: {"1 GB": 0.2, "1 PB": 2e5}}, side by side.

    In hours, a day, a month and a year are marked; bytes are written with their unit.
    """
    rows = {step: each if isinstance(each, Mapping) else {"": each} for step, each in costs.items()}
    amounts = list(dict.fromkeys(amount for each in rows.values() for amount in each))
    ax = axes(ax, width=8, height=1.5 + 0.36 * max(1, len(rows)))
    table = {amount: floats([rows[step].get(amount, np.nan) for step in rows]) for amount in amounts}
    log_axis(ax, "x", *table.values())
    write = (lambda v: byte_size(v, 3)) if unit == "bytes" else short_count
    for i, (amount, values) in enumerate(table.items()):
        seen = shown(ax, values, "x")
        mark = {"marker": MARKERS[i % len(MARKERS)], "color": OURS if len(table) == 1 else series(i)["color"]}
        mark |= {"linestyle": "", "markersize": 8, "label": readable(amount, 24) if amount else None}
        ax.plot(seen, range(len(seen)), **mark)
        for row, value in enumerate(seen):
            if np.isfinite(value):
                ax.annotate(write(value), (value, row), (0, 7), textcoords="offset points", ha="center", fontsize=7.5)
    for row, values in enumerate(np.array(list(table.values())).reshape(len(table), len(rows)).T):
        known = shown(ax, values, "x")[np.isfinite(shown(ax, values, "x"))]
        ends = [known.min(), known.max()] if len(known) else []
        ax.plot(ends, [row] * len(ends), color=QUIET, linestyle="-", linewidth=1.5, zorder=1)
    ax.set_yticks(range(len(rows)), [readable(step, 32) for step in rows])
    ax.set(ylim=(max(1, len(rows)) - 0.4, -0.75), xlabel=unit)
    ax.margins(x=0.08)
    _landmarks(ax, unit)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: write(value)))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_title(title_of(title or f"{unit.capitalize()} of each step"), pad=20 if unit == "hours" else None)
    ax.grid(visible=False, axis="y")
    legend(ax, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    said = [f"{step}: {_amounts(each, unit, varies)}" for step, each in rows.items()]
    describe(ax, f"{title or unit} of {plural(len(rows), 'step')}. {'; '.join(said)}")
    return ax


def _landmarks(ax: Axes, unit: str) -> None:
    if unit != "hours":
        return
    left, right = ax.get_xlim()
    for name, hours in _LANDMARKS.items():
        if left < hours < right:
            ax.axvline(hours, color=INK, linestyle=":", linewidth=1.2)
            place = {"ha": "center", "va": "bottom", "fontsize": 8, "transform": ax.get_xaxis_transform()}
            ax.text(hours, 1.01, name, color=INK, **place)


def _amounts(each: Mapping[str, Number], unit: str, varies: bool) -> str:
    said = []
    for amount, value in each.items():
        known = byte_size(value) if unit == "bytes" and np.isfinite(value) else number(value, varies)
        said.append(f"{known} for {amount}" if amount else known)
    return ", ".join(said)


def draw_growth(
    lengths: Array,
    work: Mapping[str, Array],
    ylabel: str = "steps",
    xlabel: str = "characters",
    varies: bool = False,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """How work grows with the length of the input, on logarithmic axes, beside the slopes of linear and quadratic.

    Raises:
        ValueError: if a row of work does not have one number for each length.
    """
    x = floats(lengths)
    curves = {name: floats(given) for name, given in work.items()}
    for curve in curves.values():
        same_length(lengths=x, work=curve)
    ax = axes(ax, width=7.5, height=3.8)
    log_axis(ax, "x", x)
    log_axis(ax, "y", *curves.values())
    for i, (name, curve) in enumerate(curves.items()):
        power = _power(x, curve)
        label = f"{readable(name, 28)}{f': power {power:.2f}' if np.isfinite(power) else ''}"
        ax.plot(shown(ax, x, "x"), shown(ax, curve), label=label, **look(i, len(x)))
    _rays(ax, x, curves)
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title_of(title or "How work grows with the input"))
    legend(ax, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    said = [f"{name} {_grown(x, curve, varies)}" for name, curve in curves.items()]
    describe(ax, f"{title or f'{ylabel} by {xlabel}'}. {'; '.join(said) or 'nothing measured'}")
    return ax


def _rays(ax: Axes, x: np.ndarray, curves: Mapping[str, np.ndarray]) -> None:
    """Dotted lines of slope 1 and 2 from the lowest first point, as far as the curves go."""
    pairs = [(x, curve) for curve in curves.values() if np.isfinite(_power(x, curve))]
    if not pairs:
        return
    known = [(x[fine], curve[fine]) for (x, curve) in pairs for fine in [(x > 0) & (curve > 0)]]
    start = min(part.min() for part, _ in known)
    base = min(curve[0] for _, curve in known)
    top, far = max(curve.max() for _, curve in known), max(part.max() for part, _ in known)
    for (name, power), dots in zip(_RAYS.items(), (":", (0, (1, 3))), strict=True):
        end = min(far, start * (max(top, 2 * base) / base) ** (1 / power)) if power > 1 else far
        ray = np.array([start, end])
        ax.plot(ray, base * (ray / start) ** power, color=DATA, linestyle=dots, linewidth=1.5, marker="", label=name)


def _power(x: np.ndarray, y: np.ndarray) -> float:
    """The exponent of the power law that fits best, by least squares of the logarithms."""
    fine = (x > 0) & (y > 0)
    if fine.sum() < 2 or np.ptp(np.log(x[fine])) < 1e-9:
        return np.nan
    return float(np.polyfit(np.log(x[fine]), np.log(y[fine]), 1)[0])


def _grown(x: np.ndarray, curve: np.ndarray, varies: bool) -> str:
    power = _power(x, curve)
    if not np.isfinite(power):
        return "cannot be fitted"
    last = np.flatnonzero(np.isfinite(curve))[-1]
    words = f"grows with the power {number(power, varies)}"
    return f"{words}, to {number(curve[last], varies)} at {short_count(x[last])}"
