"""Positions: the sinusoidal matrix, rotation pair by pair, scores against distance, the slopes of ALiBi."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.ticker import MaxNLocator

from labkit.figures.attention.labels import Array, Number, legend, number, plural, title_of
from labkit.figures.style import DATA, INK, OURS, QUIET, axes, describe, new, series

MOST_PAIRS = 8
FULL = 16  # heads that each get a line in the legend


def draw_positions(matrix: Array, title: str = "", ax: Axes | None = None) -> Axes:
    """The vectors of positions as a picture: one row for each position, one column for each dimension."""
    ax = axes(ax, height=3.6)
    table = np.atleast_2d(np.asarray(matrix, dtype=float))
    span = float(np.abs(table).max(initial=0)) or 1.0
    image = ax.imshow(table, cmap="PuOr_r", vmin=-span, vmax=span, aspect="auto", interpolation="nearest")
    ax.set(xlabel="dimension", ylabel="position", title=title_of(title or "Fast waves, slow waves: where a token is"))
    ax.grid(visible=False)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(8, integer=True))
    ax.get_figure().colorbar(image, ax=ax, label="value").outline.set_visible(False)
    describe(
        ax,
        f"vectors of {table.shape[0]} positions with {table.shape[1]} dimensions; "
        f"values from {number(table.min())} to {number(table.max())}",
    )
    return ax


def draw_rotation(before: Array, after: Array, distance: Number, names: Sequence[str] = ("before", "after")) -> Figure:
    """Pairs of dimensions as arrows before and after they are turned by `distance` positions; at most eight are drawn.

    `before` and `after` are (pairs, 2); the first pairs turn fast, the last ones slowly.

    Raises:
        ValueError: if the two do not have the same shape (pairs, 2).
    """
    start, end = (np.asarray(given, dtype=float) for given in (before, after))
    if start.ndim != 2 or start.shape[1] != 2 or start.shape != end.shape or not len(start):
        raise ValueError(f"vectors have shapes {start.shape} and {end.shape}; both must be (pairs, 2)")
    shown = np.unique(np.linspace(0, len(start) - 1, min(MOST_PAIRS, len(start))).round().astype(int))
    columns = min(4, len(shown))
    rows = math.ceil(len(shown) / columns)
    figure, grid = new(max(3.4, 2 * columns), 0.7 + 2.2 * rows, ncols=columns, nrows=rows)
    places = np.asarray(grid, dtype=object).ravel()
    for ax, pair in zip(places, shown, strict=False):
        _draw_turn(ax, start[pair], end[pair], names)
        ax.set_title(f"pair {pair + 1}: {_degrees(start[pair], end[pair])}", fontsize=9)
    for ax in places[len(shown) :]:
        ax.axis("off")
    figure.suptitle(f"Turned by {distance:g} position{'' if distance == 1 else 's'}", x=0.01, ha="left", fontsize=11)
    figure.legend(*places[0].get_legend_handles_labels(), loc="upper right", ncols=2, fontsize=8)
    turns = ", ".join(f"pair {pair + 1} by {_degrees(start[pair], end[pair], exact=True)}" for pair in shown)
    describe(figure, f"{plural(len(start), 'pair')} of dimensions turned by a distance of {distance:g}: {turns}")
    return figure


def _draw_turn(ax: Axes, before: np.ndarray, after: np.ndarray, names: Sequence[str]) -> None:
    """One circle, as large as its pair is long: what rotation changes is the angle alone."""
    reach = max(math.hypot(*before), math.hypot(*after)) or 1.0
    ax.add_patch(Circle((0, 0), math.hypot(*before), fill=False, edgecolor=QUIET, linewidth=0.8, linestyle=":"))
    for vector, colour, style, name in ((before, DATA, "--", names[0]), (after, OURS, "-", names[1])):
        ax.plot([], [], color=colour, linestyle=style, label=name)
        arrow = {"arrowstyle": "-|>", "color": colour, "linestyle": style, "linewidth": 2, "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", tuple(vector), (0, 0), arrowprops=arrow)
    angle = _turn(before, after)
    if angle:
        arc = math.atan2(before[1], before[0]) + np.linspace(0, angle, 30)
        ax.plot(0.35 * reach * np.cos(arc), 0.35 * reach * np.sin(arc), color=INK, linestyle="-", linewidth=1)
    ax.set(xlim=(-1.15 * reach, 1.15 * reach), ylim=(-1.15 * reach, 1.15 * reach), aspect="equal")
    ax.set(xticks=[0], yticks=[0], xticklabels=[], yticklabels=[])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def _turn(before: np.ndarray, after: np.ndarray) -> float:
    """The angle from one arrow to the other in radians, in (−π, π]; zero where an arrow has no length."""
    if not np.isfinite([*before, *after]).all() or not (np.hypot(*before) and np.hypot(*after)):
        return 0.0
    angle = math.atan2(before[0] * after[1] - before[1] * after[0], float(before @ after))
    return math.pi if angle < -math.pi + 1e-5 else angle


def _degrees(before: np.ndarray, after: np.ndarray, exact: bool = False) -> str:
    degrees = math.degrees(_turn(before, after))
    degrees = 0.0 if abs(degrees) < 1e-4 else degrees
    return f"{number(degrees)}°" if exact else f"{degrees:.1f}°".replace("-", "−")


def draw_distance(
    distances: Array,
    scores: Mapping[str, Array],
    ylabel: str = "score q·k",
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """How a score changes with the distance between query and key, one curve for each way to encode positions."""
    ax = axes(ax)
    places = np.asarray(distances)
    sentences = []
    for i, (name, given) in enumerate(scores.items()):
        curve = np.asarray(given, dtype=float)
        look = series(i) | ({} if len(places) <= 40 else {"marker": ""})
        ax.plot(places, curve, label=name, **look)
        sentences.append(f"{name}: {number(curve[0])} at distance {places[0]}, {number(curve[-1])} at {places[-1]}")
    ax.set(xlabel="distance between query and key (tokens)", ylabel=ylabel)
    ax.set_title(title or "What distance does to a score")
    legend(ax)
    describe(ax, f"{ylabel} against distance. " + "; ".join(sentences))
    return ax


def draw_alibi(slopes: Array, distances: Array, ax: Axes | None = None) -> Axes:
    """The bias of ALiBi: each head subtracts its own slope times the distance."""
    ax = axes(ax, height=3.2)
    rates, places = np.atleast_1d(np.asarray(slopes, dtype=float)), np.asarray(distances)
    for i, rate in enumerate(rates):
        look = {**series(i), "marker": ""} if len(rates) <= FULL else {"color": OURS, "linestyle": "-", "alpha": 0.5}
        ax.plot(places, -rate * places, label=f"head {i + 1}: {rate:.4g}", **look)
    ax.set(xlabel="distance between query and key (tokens)", ylabel="added to the score")
    ax.set_title("Each head is short-sighted in its own degree")
    if len(rates) <= FULL:
        ax.legend(fontsize=8, ncols=1 if len(rates) <= 8 else 2, title="slope", title_fontsize=8, loc="lower left")
    describe(
        ax,
        f"ALiBi for {plural(len(rates), 'head')}, distances {places[0]} to {places[-1]}: slopes from "
        f"{number(rates[0])} to {number(rates[-1])}, so at the largest distance {number(-rates[0] * places[-1])} to "
        f"{number(-rates[-1] * places[-1])} is added to the score",
    )
    return ax
