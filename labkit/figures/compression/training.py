"""Training with rounding: the staircase and the slope it pretends to have, what is regained, weights that run away."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from labkit.figures.attention.labels import Array, Number, legend, number, plural, readable, title_of
from labkit.figures.optimizers.curves import floats, look, same_length, thinned
from labkit.figures.style import ACCENT, DATA, OURS, QUIET, axes, describe, series


def draw_staircase(x: Array, rounded: Array, slope: Array, title: str = "", ax: Axes | None = None) -> Axes:
    """What rounding gives, and dashed what the backward pass takes it for; tinted is where the gradient passes.

    Args:
        x, rounded: numbers in rising order, and what became of them.
        slope: what is multiplied to the gradient of each: 0 where it is stopped.

    Raises:
        ValueError: if there are not as many of each.
    """
    places, values, passes = floats(x), floats(rounded), floats(slope)
    same_length(x=places, rounded=values, slope=passes)
    ax = axes(ax, height=3.4)
    ax.plot(places, values, color=OURS, linestyle="-", drawstyle="steps-mid", label="forward: the grid")
    open_ = np.flatnonzero(passes != 0)
    ends = (places[open_[0]], places[open_[-1]]) if len(open_) else None
    if ends:
        ax.plot(ends, ends, color=ACCENT, linestyle="--", label="backward: slope 1")
        ax.axvspan(*ends, color=ACCENT, alpha=0.06, linewidth=0)
    levels = len(np.unique(values[np.isfinite(values)]))
    says = f"{plural(levels, 'level')}; the gradient passes " + (
        f"from {number(round(ends[0], 2))} to {number(round(ends[1], 2))}" if ends else "nowhere"
    )
    ax.set(xlabel="weight", ylabel="weight that computes", title=title_of(title or says))
    legend(ax, loc="upper left")
    describe(ax, f"{title}. {says}" if title else says)
    return ax


def draw_regained(
    losses: Mapping[str, Mapping[str, Number]],
    base: Number | None = None,
    ylabel: str = "loss on text held out, nats per token",
    varies: bool = False,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """A point for each way to come to few bits, in a column for each number of bits; the float model as a line.

    With `varies` the sentence marks its numbers: trained on another machine they differ in the third digit.
    """
    ax = axes(ax, height=3.4)
    names = list(dict.fromkeys(name for row in losses.values() for name in row))
    for index, name in enumerate(names):
        places = [place for place, row in enumerate(losses.values()) if name in row]
        values = floats([row[name] for row in losses.values() if name in row])
        shift = 0.17 * (index - (len(names) - 1) / 2)
        mark = series((2, 3, 5, 0, 6)[index % 5]) | {"linestyle": "", "markersize": 9}
        ax.plot(np.array(places) + shift, values, label=readable(name, 40), **mark)
        for place, value in zip(places, values, strict=True):
            if np.isfinite(value):
                ax.annotate(f"{value:.2f}", (place + shift, value), (0, 8), textcoords="offset points", ha="center",
                            fontsize=8)  # fmt: skip
    if base is not None and np.isfinite(floats([base])[0]):
        ax.axhline(float(base), color=DATA, linestyle="--", linewidth=1.5, label=f"float {float(base):.2f}")
    ax.set(
        xlim=(-0.6, max(1, len(losses)) - 0.4), xlabel="weights", ylabel=ylabel, title=title_of(title or _best(losses))
    )
    ax.set_xticks(range(len(losses)), [readable(name, 24) for name in losses])
    ax.margins(y=0.18)
    legend(ax, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    said = [
        f"{name}: " + ", ".join(f"{way} {number(v, varies)}" for way, v in row.items()) for name, row in losses.items()
    ]
    words = f"{ylabel}: {'; '.join(said) or 'nothing'}" + ("" if base is None else f"; float {number(base, varies)}")
    describe(ax, f"{title}. {words}" if title else words)
    return ax


def _best(losses: Mapping[str, Mapping[str, Number]]) -> str:
    rows = [{way: v for way, v in row.items() if np.isfinite(v)} for row in losses.values()]
    best = {min(row, key=lambda way: row[way]) for row in rows if row}
    return f"Least lost everywhere: {best.pop()}" if len(best) == 1 else "Ways to few bits"


def draw_drift(
    walks: Mapping[str, Array],
    low: Number,
    high: Number,
    goal: Number | None = None,
    ylabel: str = "weight",
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """How a weight moves while it learns, a curve for each rule; the band is where the grid of the start reaches.

    Raises:
        ValueError: if the band ends before it begins.
    """
    if low > high:
        raise ValueError(f"the grid reaches from {low} to {high}; give the lower end first")
    ax = axes(ax, height=3.4)
    ax.axhspan(float(low), float(high), color=QUIET, alpha=0.25, linewidth=0, label="the grid reaches")
    said = []
    for index, (name, walk) in enumerate(walks.items()):
        values = floats(walk)
        style = look((4, 3, 5, 0, 6)[index % 5], len(values)) | {"marker": ""}
        ax.plot(*thinned(np.arange(len(values)), values), label=readable(name, 40), **style)
        seen = values[np.isfinite(values)]
        said.append(f"{name} {f'ends at {number(seen[-1])}' if len(seen) else 'has no number'}")
    if goal is not None and np.isfinite(floats([goal])[0]):
        ax.axhline(float(goal), color=DATA, linestyle=":", linewidth=1.5, label=f"wanted: {number(goal)}")
    last = {name: values[-1] for name, walk in walks.items() if len(values := floats(walk)) and np.isfinite(values[-1])}
    far = max(last, key=lambda name: abs(last[name]), default="")
    found = f"“{readable(far, 40)}” ends at {number(last[far])}" if last else "Where a clipped weight goes"
    ax.set(xlabel="step", ylabel=ylabel, title=title_of(title or found))
    legend(ax, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    words = f"The grid reaches from {number(low)} to {number(high)}; {'; '.join(said) or 'nothing moves'}"
    describe(ax, f"{title}. {words}" if title else words)
    return ax
