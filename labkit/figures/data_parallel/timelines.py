"""Who did what when: a lane of compute and a lane of communication for each rank, and idle time between them."""

from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from labkit.figures.attention.labels import Number, number, plural, readable, title_of
from labkit.figures.style import ACCENT, INK, OURS, QUIET, axes, describe

_LOOK = {
    "compute": {"facecolor": OURS},
    "communication": {"facecolor": ACCENT},
    "idle": {"facecolor": "#f1f3f4", "hatch": "////", "edgecolor": QUIET, "linewidth": 0.0},
}
_LANES = {"compute": (-0.4, 0.4), "communication": (0.02, 0.4), "idle": (-0.4, 0.82)}  # top and height within a row
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
FEW_BOXES = 80  # with more boxes in a lane, white edges between them would be all one sees


def draw_timeline(
    timeline: Sequence[Sequence],
    ranks: int | None = None,
    varies: bool = False,
    most: int = 16,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """What each rank computes and communicates over time; where it does neither it is idle (hatched).

    `timeline` has a list of events (rank, kind, name, begin, end) in seconds for each rank. Beyond `most` ranks the
    last row shows the mean of the others. `ranks` is their true number where the timeline holds only the first ones.

    Raises:
        ValueError: if fewer than one rank is to be drawn, or a kind of event is unknown.
    """
    if most < 1:
        raise ValueError(f"most = {most}; draw one rank at least")
    rows = [[(str(kind), str(name), float(a), float(b)) for _, kind, name, a, b in events] for events in timeline]
    unknown = {kind for row in rows for kind, *_ in row} - set(_LOOK)
    if unknown:
        raise ValueError(f"unknown kind {min(unknown)!r}; there are {', '.join(_LOOK)}")
    begin, end = _span(rows)
    shown, rest = (rows, []) if len(rows) <= most else (rows[:most], rows[most:])
    lines = max(1, len(shown)) + bool(rest)
    ax = axes(ax, width=8, height=1.5 + 0.5 * min(6, lines) + 0.3 * max(0, lines - 6))
    factor, unit = next((each for each in _UNITS if end - begin >= each[0]), _UNITS[-1])
    for row, events in enumerate(shown):
        _draw_rank(ax, row, events, begin, end, factor)
    if rest:
        _draw_mean(ax, len(shown), rest, begin, end, factor)
    labels = [f"rank {row}" for row in range(len(shown))] + [f"mean of {len(rest):,} more"] * bool(rest)
    count = len(rows) if ranks is None else ranks
    if count > len(rows):
        ax.text(1, 1.01, f"… of {plural(count, 'rank')}", transform=ax.transAxes, ha="right", va="bottom", fontsize=8)
    ax.set_yticks(range(len(labels)), labels)
    ax.set(ylim=(max(1, len(labels)) - 0.4, -0.6), xlim=(0, max((end - begin) / factor, 1e-9)), xlabel=unit)
    ax.set_title(title_of(title or "Who does what when"))
    ax.grid(visible=False, axis="y")
    key = [Patch(label=kind, **look) for kind, look in _LOOK.items()]
    ax.legend(handles=key, fontsize=8, ncols=1, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    describe(ax, f"{title}{'. ' * bool(title)}{_said(rows, count, begin, end, varies)}")
    return ax


def _span(rows: Sequence[Sequence[tuple]]) -> tuple[float, float]:
    times = [(a, b) for row in rows for _, _, a, b in row]
    return (min(a for a, _ in times), max(b for _, b in times)) if times else (0.0, 0.0)


def _draw_rank(ax: Axes, row: int, events: Sequence[tuple], begin: float, end: float, factor: float) -> None:
    top, height = _LANES["idle"]
    gaps = _gaps([(a, b) for kind, _, a, b in events if kind != "idle"], begin, end)
    spans = [((a - begin) / factor, (b - a) / factor) for a, b in gaps]
    ax.broken_barh(spans, (row + top, height), **_LOOK["idle"])
    for kind in ("compute", "communication"):
        boxes = [(name, a, b) for one, name, a, b in events if one == kind]
        top, height = _LANES[kind]
        edge = {"edgecolor": "white", "linewidth": 0.6 if len(boxes) <= FEW_BOXES else 0.0}
        spans = [((a - begin) / factor, (b - a) / factor) for _, a, b in boxes]
        ax.broken_barh(spans, (row + top, height), **(_LOOK[kind] | edge))
        for name, a, b in boxes:
            _name_box(
                ax, name, ((a + b) / 2 - begin) / factor, row + top + height / 2, (b - a) / max(end - begin, 1e-30)
            )


def _name_box(ax: Axes, name: str, x: float, y: float, share: float) -> None:
    """The name of an event where its box has room for it: a letter takes a hundredth of the axis."""
    text = readable(name, 24)
    if name and share > 0.0105 * len(text) + 0.004:
        ax.text(x, y, text, ha="center", va="center", fontsize=7, color="white", clip_on=True)


def _gaps(busy: Iterable[tuple[float, float]], begin: float, end: float) -> list[tuple[float, float]]:
    """The intervals between `begin` and `end` that no interval covers."""
    gaps, reached = [], begin
    for a, b in sorted(busy):
        if a > reached:
            gaps.append((reached, a))
        reached = max(reached, b)
    return [*gaps, (reached, end)] if end > reached else gaps


def _draw_mean(ax: Axes, row: int, rows: Sequence[Sequence[tuple]], begin: float, end: float, factor: float) -> None:
    """The mean seconds of the other ranks as bars from the left."""
    means = np.mean([_seconds(events, begin, end) for events in rows], axis=0)
    for kind, seconds in zip(("compute", "communication"), means, strict=False):
        top, height = _LANES[kind]
        ax.broken_barh([(0, seconds / factor)], (row + top, height), alpha=0.6, **_LOOK[kind])
    ax.axhline(row - 0.5, color=INK, linestyle=":", linewidth=1)


def _seconds(events: Sequence[tuple], begin: float, end: float) -> tuple[float, float, float]:
    """Seconds of compute, of communication and of neither."""
    free = [
        float(sum(b - a for a, b in _gaps([(a, b) for kind, _, a, b in events if kind in kinds], begin, end)))
        for kinds in (("compute",), ("communication",), ("compute", "communication"))
    ]
    return end - begin - free[0], end - begin - free[1], free[2]


def _said(rows: Sequence[Sequence[tuple]], count: int, begin: float, end: float, varies: bool) -> str:
    words = f"{plural(count, 'rank')}, {number(end - begin, varies)} seconds"
    if end <= begin:
        return words
    table = 100 * np.array([_seconds(events, begin, end) for events in rows]) / (end - begin)
    if len(rows) > 4 or count > len(rows):
        return f"{words}: on average {_percent(table.mean(axis=0), varies)}; {_extremes(table, varies)}"
    return f"{words}: " + "; ".join(f"rank {rank} {_percent(row, varies)}" for rank, row in enumerate(table))


def _percent(row: Sequence[Number] | np.ndarray, varies: bool) -> str:
    compute, communication, idle = (number(value, varies) for value in row)
    return f"computes {compute}%, communicates {communication}%, is idle {idle}%"


def _extremes(table: np.ndarray, varies: bool) -> str:
    return f"idle from {number(table[:, 2].min(), varies)}% to {number(table[:, 2].max(), varies)}%"
