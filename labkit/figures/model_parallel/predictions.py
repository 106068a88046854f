"""Plans of a cluster beside each other, and what one pipeline of the best does second by second."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from labkit.figures.attention.labels import Number, number, plural, title_of
from labkit.figures.model_parallel.planning import draw_plan
from labkit.figures.model_parallel.stacks import stack_height
from labkit.figures.style import ACCENT, OURS, QUIET, describe, new

MOST_LANES = 8
BINS = 360  # of the time axis: an operation may be thinner than a pixel, its share of a bin is not
_LOOK = {
    "compute": {"facecolor": OURS, "linewidth": 0},
    "communication": {"facecolor": ACCENT, "linewidth": 0},
    "idle": {"facecolor": "#f1f3f4", "hatch": "////", "edgecolor": QUIET, "linewidth": 0},
}


def draw_prediction(
    parts: Mapping[str, Mapping[str, Number]],
    timeline: Sequence[Sequence],
    fits: Mapping[str, bool] | None = None,
    varies: bool = False,
    title: str = "",
    below: str = "",
) -> Figure:
    """The predicted seconds of each plan by cause, and under them the timeline of a pipeline, a lane for each stage.

    `timeline` has a list of events (rank, kind, name, begin, end) in seconds for each stage. The height of a colour in
    a lane is its share of that moment; communication behind compute is not seen. Of many stages eight are drawn.

    Raises:
        ValueError: as `draw_plan`.
    """
    lanes = 0.36 * max(1, min(len(timeline), MOST_LANES)) + 1.2
    above = stack_height(len(parts))
    figure, (top, bottom) = new(9, above + lanes, nrows=2)
    top.get_gridspec().set_height_ratios([above, lanes])
    draw_plan(parts, fits, varies=varies, title=title, ax=top)
    _draw_lanes(timeline, varies, below or "One pipeline of the first plan", bottom)
    return figure


def _draw_lanes(timeline: Sequence[Sequence], varies: bool, title: str, ax: Axes) -> None:
    end = max((float(event[4]) for row in timeline for event in row), default=0.0)
    edges = np.linspace(0.0, end or 1.0, BINS + 1)
    shown = np.unique(np.linspace(0, max(0, len(timeline) - 1), MOST_LANES).astype(int)) if timeline else []
    shares = np.array([_shares(row, edges) for row in timeline]).reshape(-1, 2, BINS)
    for lane, stage in enumerate(shown):
        compute, communication = shares[stage]
        ax.broken_barh([(0, edges[-1])], (lane - 0.4, 0.8), **_LOOK["idle"])
        bottom = np.full(BINS, lane + 0.4)
        for kind, share in (("compute", compute), ("communication", communication)):
            above = bottom - 0.8 * share
            ax.fill_between(edges, _step(bottom), _step(above), step="post", **_LOOK[kind])
            bottom = above
    ax.set_yticks(range(len(shown)), [f"stage {stage}" for stage in shown])
    ax.set(ylim=(max(1, len(shown)) - 0.45, -0.55), xlim=(0, edges[-1]), xlabel="seconds", title=title_of(title))
    ax.grid(visible=False)
    means = [*shares.mean(axis=(0, 2)), 1 - shares.sum(axis=1).mean()] if timeline and end else [0.0, 0.0, 0.0]
    key = [Patch(label=f"{kind} {100 * mean:.1f}%", **_LOOK[kind]) for kind, mean in zip(_LOOK, means, strict=True)]
    ax.legend(handles=key, fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    said = ", ".join(f"{number(100 * mean, varies)}% {kind}" for kind, mean in zip(_LOOK, means, strict=True))
    describe(ax, f"{title}. {plural(len(timeline), 'stage')}, {number(end, varies)} seconds: {said}")


def _step(values: np.ndarray) -> np.ndarray:
    """The value of each bin at its left edge, and the last one again at the right end."""
    return np.append(values, values[-1])


def _shares(row: Sequence[Sequence], edges: np.ndarray) -> np.ndarray:
    """The shares of each bin in which a rank computes, and in which it does nothing but communicate."""
    compute = _covered([(a, b) for _, kind, _, a, b in row if kind == "compute"], edges)
    busy = _covered([(a, b) for _, kind, _, a, b in row if kind in ("compute", "communication")], edges)
    return np.stack([compute, np.clip(busy - compute, 0.0, 1.0)])


def _covered(intervals: Sequence[tuple[Number, Number]], edges: np.ndarray) -> np.ndarray:
    """The share of each bin that a union of intervals covers."""
    joined: list[list[float]] = []
    for begin, end in sorted((float(a), float(b)) for a, b in intervals):
        if joined and begin <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], end)
        else:
            joined.append([begin, end])
    if not joined:
        return np.zeros(len(edges) - 1)
    table = np.array(joined)
    # what was covered until each beginning and each end
    done = np.concatenate([[0.0], np.repeat(np.cumsum(table[:, 1] - table[:, 0]), 2)[:-1]])
    return np.clip(np.diff(np.interp(edges, table.ravel(), done)) / np.diff(edges), 0.0, 1.0)
