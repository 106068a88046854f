"""What more workers bring: steps per second against the ideal, losses of several schemes, how stale updates are."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from labkit.figures.attention.labels import Array, Number, legend, number, plural, readable, title_of
from labkit.figures.optimizers.curves import ends, floats, log_if_wide, look, same_length, shown, thinned
from labkit.figures.style import DATA, axes, describe, series


def draw_scaling(
    worlds: Array,
    rates: Mapping[str, Array],
    unit: str = "steps per second",
    varies: bool = True,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Rates by the number of ranks, the ideal line through the first point of each, and the efficiency at its end.

    Raises:
        ValueError: if a row does not have one rate for each number of ranks.
    """
    x = floats(worlds)
    ax = axes(ax, height=3.5)
    curves = {name: floats(given) for name, given in rates.items()}
    log_if_wide(ax, "x", x)
    log_if_wide(ax, "y", *curves.values())
    said = []
    for i, (name, row) in enumerate(curves.items()):
        same_length(worlds=x, rates=row)
        known = np.flatnonzero(np.isfinite(row) & (x > 0))
        efficiency = np.nan
        if len(known):
            first, last = known[0], known[-1]
            ideal = shown(ax, row[first] * x / x[first])
            ax.plot(x, ideal, color=DATA, linestyle=":", linewidth=1.5, marker="", label="" if i else "ideal")
            efficiency = row[last] * x[first] / (row[first] * x[last]) if row[first] else np.nan
        percent = f" ({100 * efficiency:.0f}% of ideal)" if np.isfinite(efficiency) else ""
        ax.plot(x, shown(ax, row), label=readable(name, 28) + percent, **look(i, len(x)))
        said.append(_efficiency(name, x, row, known, efficiency, varies))
    if len(x) <= 12 and np.isfinite(x).all():
        ax.set_xticks(x, [f"{value:g}" for value in x])
        ax.minorticks_off()
    if ax.get_yscale() != "log":
        ax.set_ylim(bottom=0)
    ax.set(xlabel="ranks", ylabel=unit, title=title_of(title or "What more ranks bring"))
    legend(ax, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    describe(ax, f"{title or unit}. {'; '.join(said) or 'nothing measured'}")
    return ax


def _efficiency(
    name: str, x: np.ndarray, row: np.ndarray, known: np.ndarray, efficiency: float | np.floating, varies: bool
) -> str:
    if not len(known):
        return f"{name}: nothing measured"
    words = f"{name}: {number(row[known[0]], varies)} with {plural(int(x[known[0]]), 'rank')}"
    if len(known) == 1:
        return words
    words += f", {number(row[known[-1]], varies)} with {plural(int(x[known[-1]]), 'rank')}"
    return words + (f", {number(100 * efficiency, varies)}% of the ideal" if np.isfinite(efficiency) else "")


def draw_predicted(
    predicted: Mapping[str, Number],
    measured: Mapping[str, Number],
    unit: str = "ms",
    varies: bool = False,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """What was predicted beside what was measured, two bars for each name, with the number at its end.

    Raises:
        ValueError: if the two do not have the same names.
    """
    if list(predicted) != list(measured):
        raise ValueError(f"predicted {', '.join(predicted)} and measured {', '.join(measured)}; give the same names")
    ax = axes(ax, height=1.3 + 0.5 * max(1, len(predicted)))
    top = max([0.0, *(float(x) for x in (*predicted.values(), *measured.values()) if np.isfinite(x))])
    pairs = (("predicted", predicted, series(1)["color"]), ("measured", measured, series(0)["color"]))
    for place, (kind, given, colour) in enumerate(pairs):
        sizes = np.nan_to_num(floats(list(given.values())), posinf=0.0)
        rows = np.arange(len(sizes)) + 0.4 * (place - 0.5)
        ax.barh(rows, sizes, height=0.36, color=colour, label=kind)
        for row, value in zip(rows, given.values(), strict=True):
            if np.isfinite(value):
                ax.text(value + 0.01 * top, row, f"{value:.3g}", va="center", ha="left", fontsize=8)
    ax.set_yticks(range(len(predicted)), [readable(name, 28) for name in predicted])
    ax.set(ylim=(max(1, len(predicted)) - 0.5, -0.5), xlim=(0, 1.12 * top or 1.0), xlabel=unit)
    ax.set_title(title_of(title or "Predicted and measured"))
    ax.grid(visible=False, axis="y")
    legend(ax, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    said = [
        f"{name}: predicted {number(predicted[name], varies)}, measured {number(measured[name], varies)}"
        for name in predicted
    ]
    describe(ax, f"{title or 'predicted and measured'}, in {unit}. {'; '.join(said) or 'nothing'}")
    return ax


def draw_convergence(
    curves: Mapping[str, Array],
    xlabel: str = "step",
    ylabel: str = "loss",
    varies: bool = False,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Losses of several schemes, each a row of losses or a pair (x, losses), as (bytes sent, losses).

    Raises:
        ValueError: if a pair has not as many losses as places.
    """
    ax = axes(ax, height=3.6)
    pairs = {name: _pair(given) for name, given in curves.items()}
    log_if_wide(ax, "y", *(y for _, y in pairs.values()), factor=100)
    said = []
    for i, (name, (x, y)) in enumerate(pairs.items()):
        same_length(places=x, losses=y)
        places, losses = thinned(x, y)
        ax.plot(places, shown(ax, losses), label=readable(name, 32), **look(i, len(places)))
        said.append(f"{name} {ends(y, varies)}")
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title_of(title or f"{ylabel.capitalize()} by {xlabel}"))
    legend(ax, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    describe(ax, f"{title or f'{ylabel} by {xlabel}'}. {'; '.join(said) or 'no runs'}")
    return ax


def _pair(given: Array) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(given, tuple) and len(given) == 2 and np.ndim(given[0]) == 1:
        return floats(given[0]), floats(given[1])
    y = floats(given)
    return np.arange(len(y), dtype=float), y


def draw_staleness(
    delays: Mapping[str, Sequence | np.ndarray], varies: bool = False, title: str = "", ax: Axes | None = None
) -> Axes:
    """How often an update was computed on weights that were so many versions old; 0 is fresh.

    Raises:
        ValueError: if a delay is negative.
    """
    rows = {name: floats(given) for name, given in delays.items()}
    rows = {name: row[np.isfinite(row)].astype(int) for name, row in rows.items()}
    if any((row < 0).any() for row in rows.values()):
        raise ValueError("a delay is negative; count the versions between reading the weights and changing them")
    ax = axes(ax, height=3.2)
    top = max([1, *(int(row.max()) for row in rows.values() if len(row))])
    width = 0.8 / max(1, len(rows))
    for i, (name, row) in enumerate(rows.items()):
        shares = 100 * np.bincount(row, minlength=top + 1) / max(1, len(row))
        place = np.arange(top + 1) + (i - (len(rows) - 1) / 2) * width
        mean = f" (mean {row.mean():.2f})" if len(row) else ""
        ax.bar(place, shares, width=width * 0.95, color=series(i)["color"], label=readable(name, 28) + mean)
    ax.set(xlabel="versions that the weights were old", ylabel="updates (%)", xlim=(-0.6, top + 0.6), ylim=(0, None))
    if top <= 20:
        ax.set_xticks(range(top + 1))
    ax.set_title(title_of(title or "How stale the updates are"))
    ax.grid(visible=False, axis="x")
    legend(ax)
    said = [f"{name}: {_stale(row, varies)}" for name, row in rows.items()]
    describe(ax, f"{title or 'staleness'}. {'; '.join(said) or 'no updates'}")
    return ax


def _stale(row: np.ndarray, varies: bool) -> str:
    if not len(row):
        return "no updates"
    oldest = f"‹{row.max()}›" if varies else str(row.max())
    fresh = number(100 * (row == 0).mean(), varies)
    return (
        f"{plural(len(row), 'update')}, on average {number(row.mean(), varies)} old, at most {oldest}, {fresh}% fresh"
    )
