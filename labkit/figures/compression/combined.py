"""Every method on one chart: what it costs in quality, in bytes and in time, and the front that none beats."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from labkit.figures.attention.labels import Array, Number, legend, plural, readable, title_of
from labkit.figures.optimizers.curves import floats, same_length
from labkit.figures.style import ACCENT, DATA, INK, OURS, QUIET, WRONG, axes, describe, figure_of

SIZE = 8.5  # of the names, in points
TICKS = (0, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 1e4, 1e5, 1e6)


def draw_pareto(
    names: Sequence[str],
    costs: Array,
    losses: Array,
    front: Sequence[int],
    spread: tuple[Array, Array] | None = None,
    budget: Number | None = None,
    chosen: int | None = None,
    unit: str = "bytes of the file",
    varies: bool = False,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Variants by cost and by how much worse they are in percent; the `front` joined by steps, the others in grey.

    `spread` is the interval of each loss (lower and upper ends). What lies beyond a `budget` cannot be taken; the
    `chosen` one has a ring. Names stand where they hide neither points nor each other.

    Raises:
        ValueError: if the lists differ in length, or front and chosen name points that are not there.
    """
    x, y = floats(costs), floats(losses)
    same_length(names=names, costs=x, losses=y)
    wrong = [i for i in [*front, *([] if chosen is None else [chosen])] if not 0 <= i < len(names)]
    if wrong:
        raise ValueError(f"there is no point number {wrong[0]}: {plural(len(names), 'point')} came")
    ax = axes(ax, width=8.5, height=5.2)
    on_front = np.isin(np.arange(len(names)), list(front))
    low, high = (y, y) if spread is None else (floats(end) for end in spread)
    same_length(losses=y, lower=low, upper=high)
    _scales(ax, x, y, unit)
    _points(ax, x, y, list(front), on_front, low, high)
    bars = [((x[i], low[i]), (x[i], high[i])) for i in range(len(x))]
    for one, other in pairwise(front):
        bars += [((x[one], y[one]), (x[other], y[one])), ((x[other], y[one]), (x[other], y[other]))]
    said = _said(names, x, y, front, varies)
    if budget is not None:
        _choice(ax, x, y, float(budget), chosen)
        bars.append(((float(budget), ax.get_ylim()[0]), (float(budget), ax.get_ylim()[1])))
        best = "none fits" if chosen is None else f"{names[chosen]} is the best within it"
        said = f"budget {float(budget):,.6g}: {best}. {said}"
    ax.set(title=title_of(title or "Quality against cost"))
    legend(ax, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=4, fontsize=SIZE)
    _name_points(ax, [readable(name, 28) for name in names], x, y, on_front, bars)
    describe(ax, f"{title or 'quality against cost'}. {said}")
    return ax


def _points(
    ax: Axes, x: np.ndarray, y: np.ndarray, front: list[int], on_front: np.ndarray, low: np.ndarray, high: np.ndarray
) -> None:
    """Intervals, the front as steps, and the points of both kinds."""
    ax.vlines(x, low, high, color=np.where(on_front, INK, QUIET).tolist(), linewidth=1.2, zorder=3)
    if front:
        ax.step(
            x[front], y[front], where="post", color=OURS, linewidth=1.5, zorder=2, label="nothing is better for less"
        )
    ax.plot(x[~on_front], y[~on_front], "o", color=QUIET, markersize=6, zorder=3, label="beaten by another")
    ax.plot(x[on_front], y[on_front], "o", color=OURS, markersize=7, zorder=4)


def _choice(ax: Axes, x: np.ndarray, y: np.ndarray, budget: float, chosen: int | None) -> None:
    """The line of the budget, and a ring around what is chosen."""
    ax.axvline(budget, color=WRONG, linestyle="--", linewidth=1.5, label="budget")
    if chosen is not None:
        ring = {"markersize": 14, "markeredgewidth": 2, "markerfacecolor": "none", "color": ACCENT}
        ax.plot(x[chosen], y[chosen], "o", zorder=5, label="the best within the budget", **ring)


def _scales(ax: Axes, x: np.ndarray, y: np.ndarray, unit: str) -> None:
    """Costs by powers of two, losses straight up to 1 percent and logarithmic above."""
    known = x[np.isfinite(x) & (x > 0)]
    if len(known):
        ax.set(xscale="log", xlim=(known.min() / 1.25, known.max() * 1.35))
        places = _round_places(known.min() / 1.25, known.max() * 1.35)
        ax.xaxis.set_major_locator(FixedLocator(places))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    ax.set_yscale("symlog", linthresh=1, linscale=1)
    top = max([1.0, *y[np.isfinite(y)]])
    ax.set_ylim(min([-0.15, *(1.5 * y[np.isfinite(y)])]), 1.7 * top)
    ax.yaxis.set_major_locator(FixedLocator([tick for tick in TICKS if tick <= 1.7 * top]))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))
    ax.set(xlabel=f"{unit} (logarithmic)", ylabel="perplexity above float32's")


def _round_places(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [place for power in powers for place in (10.0**power, 2 * 10.0**power, 5 * 10.0**power)]


def _name_points(ax: Axes, names: Sequence[str], x: np.ndarray, y: np.ndarray, bold: np.ndarray, bars: list) -> None:
    """Write each name at the nearest place around its point where nothing is yet; those of the front first."""
    figure = figure_of(ax)
    figure.draw_without_rendering()  # so that the axes are where they will be
    pixel = figure.dpi / 72
    places = ax.transData.transform(np.column_stack([x, y]))
    frame, taken = ax.get_window_extent(), [(px - 5, py - 5, px + 5, py + 5) for px, py in places]
    for bar in bars:
        (left, low), (right, high) = np.sort(ax.transData.transform(np.array(bar)), axis=0)
        taken.append((left - 2, low - 2, right + 2, high + 2))
    for i in sorted(np.flatnonzero(np.isfinite(places).all(axis=1)), key=lambda i: (not bold[i], places[i][0])):
        wide, high = (0.67 if bold[i] else 0.57) * SIZE * pixel * len(names[i]), 1.35 * SIZE * pixel
        box = _free_box(places[i], wide, high, taken, frame)
        taken.append(box)
        at = ((box[0] + wide / 2 - places[i][0]) / pixel, (box[1] + high / 2 - places[i][1]) / pixel)
        gap = np.maximum(0, np.abs(at) * pixel - (wide / 2, high / 2)).max()
        line = {"arrowstyle": "-", "color": DATA, "linewidth": 0.6, "shrinkB": 4} if gap > 9 else None
        where = {"textcoords": "offset points", "ha": "center", "va": "center", "arrowprops": line}
        text = ax.annotate(names[i], (x[i], y[i]), at, **where)
        text.set(fontsize=SIZE, color=INK if bold[i] else DATA, fontweight="bold" if bold[i] else "normal", zorder=6)
        text.set_in_layout(False)


def _free_box(at: np.ndarray, wide: float, high: float, taken: list, frame: object) -> tuple:
    """The nearest box of this size around a point that hides nothing and stays inside; the first one, if none does."""
    first = None
    for far in (4, 12, 22, 34, 48, 64, 82, 102):
        for right, up in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1), (1, 0.5), (-1, 0.5)):
            left = at[0] + right * (far + 6) + (wide / 2) * (np.sign(right) - 1)
            low = at[1] + up * (far + 6) + (high / 2) * (np.sign(up) - 1)
            box = (left, low, left + wide, low + high)
            first = first or box
            inside = box[0] > frame.x0 and box[2] < frame.x1 and box[1] > frame.y0 and box[3] < frame.y1
            if inside and not any(_meet(box, other) for other in taken):
                return box
    return first


def _meet(one: tuple, other: tuple) -> bool:
    return bool(one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3])


def _said(names: Sequence[str], x: np.ndarray, y: np.ndarray, front: Sequence[int], varies: bool) -> str:
    if not len(names):
        return "no variants"
    if varies:
        return f"{plural(len(names), 'variant')}; on the front ‹{', '.join(names[i] for i in front)}›"
    told = "; ".join(f"{names[i]} {x[i]:,.6g} at {y[i]:.1f} %" for i in front)
    return f"{plural(len(names), 'variant')}, {len(front)} on the front: {told}"


def draw_steps_in_a_row(
    names: Sequence[str],
    sizes: Array,
    losses: Array,
    varies: bool = False,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Methods one after the other: a bar for the bytes after each, and beside it what has been lost by then.

    Raises:
        ValueError: if the lists differ in length.
    """
    x, y = floats(sizes), floats(losses)
    same_length(names=names, sizes=x, losses=y)
    ax = axes(ax, width=7.5, height=0.9 + 0.5 * max(1, len(names)))
    rows = np.arange(len(names))
    ax.barh(rows, x / 1000, color=[QUIET] + [OURS] * (len(names) - 1) if len(names) else [], height=0.6)
    for row, (size, loss) in enumerate(zip(x, y, strict=True)):
        if np.isfinite(size):
            ax.text(size / 1000, row, f"  {size / 1000:,.0f} kB, {loss:+.1f} %", va="center", fontsize=9)
    ax.set_yticks(rows, [readable(name, 28) for name in names])
    ax.invert_yaxis()
    top = max([1.0, *(x[np.isfinite(x)] / 1000)])
    ax.set(xlim=(0, 1.3 * top), xlabel="kB of the file; perplexity against float32's", title=title_of(title))
    ax.grid(axis="y", visible=False)
    rows = zip(names, x, y, strict=True)
    around = "{} ‹{:,.0f} kB, {:+.1f} %›" if varies else "{} {:,.0f} kB, {:+.1f} %"
    told = "; ".join(around.format(name, size / 1000, loss) for name, size, loss in rows)
    describe(ax, f"{title or 'methods in a row'}. {told or 'nothing given'}")
    return ax
