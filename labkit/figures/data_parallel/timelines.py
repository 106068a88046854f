"""Who did what when: a lane of compute and a lane of communication for each rank, and idle time between them."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

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
_TOP, _HEIGHT, _GAP = -0.4, 0.82, 0.02  # of the two lanes within a row
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
FEW_BOXES = 80  # with more boxes in a lane, white edges between them would be all one sees
THINNEST = 0.01  # of the time axis: on a box that is thinner, a white edge would leave nothing
DEEPEST = 6  # so many boxes lie above one another where several are under way at once
READABLE = 0.11  # inches: a box that is lower has no room for a name


def draw_timeline(
    timeline: Sequence[Sequence],
    ranks: int | None = None,
    varies: bool = False,
    most: int = 16,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """What each rank computes and communicates over time; where it does neither it is idle (hatched).

    `timeline` has a list of events (rank, kind, name, begin, end) in seconds for each rank. Events of one kind that
    are under way at once lie above one another. Beyond `most` ranks the last row shows the mean of the others, unless
    the timeline holds only the first of `ranks` ranks: then the others are only counted.

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
    count = len(rows) if ranks is None else ranks
    shown, rest = (rows, []) if len(rows) <= most else (rows[:most], rows[most:])
    rest = [] if count > len(rows) else rest
    lanes = [_lanes(events, (end - begin) / 200) for events in shown]
    lines = max(1, len(shown)) + bool(rest)
    deepest = max((compute.depth + communication.depth for compute, communication in lanes), default=2)
    inches = _inches(lines, DEEPEST if varies else deepest)  # a measured one is as high whatever was measured
    ax = axes(ax, width=8, height=1.5 + inches)
    factor, unit = next((each for each in _UNITS if end - begin >= each[0]), _UNITS[-1])
    for row, (events, pair) in enumerate(zip(shown, lanes, strict=True)):
        _draw_rank(ax, row, events, pair, _Room(begin, end, factor, inches / lines))
    if rest:
        _draw_mean(ax, len(shown), rest, begin, end, factor)
    _frame(ax, len(shown), len(rest), count, max((end - begin) / factor, 1e-9), unit)
    ax.set_title("\n".join(title_of(line) for line in (title or "Who does what when").split("\n")))
    said = "; ".join(title.split("\n"))
    describe(ax, f"{said}{'. ' * bool(title)}{_said(rows, count, begin, end, varies)}")
    return ax


def _frame(ax: Axes, shown: int, rest: int, count: int, longest: float, unit: str) -> None:
    """Names of the rows, how many ranks there are besides, limits and key."""
    labels = [f"rank {row}" for row in range(shown)] + [f"mean of the other {rest:,}"] * bool(rest)
    if count > shown + rest:
        words = f"the first {shown}\nof {count:,} ranks" if shown > 1 else f"one of\n{count:,} ranks"
        ax.text(1.02, 0.02, words, transform=ax.transAxes, ha="left", va="bottom", fontsize=8)
    ax.set_yticks(range(len(labels)), labels)
    ax.set(ylim=(max(1, len(labels)) - 0.4, -0.6), xlim=(0, longest), xlabel=unit)
    ax.grid(visible=False, axis="y")
    key = [Patch(label=kind, **look) for kind, look in _LOOK.items()]
    ax.legend(handles=key, fontsize=8, ncols=1, loc="upper left", bbox_to_anchor=(1.01, 1.0))


def _inches(lines: int, depth: int) -> float:
    """The height of so many rows: higher ones where up to `depth` boxes lie above one another, lower ones if many."""
    plain = 0.5 * min(6, lines) + 0.3 * max(0, lines - 6)
    return plain if depth <= 3 else max(plain, min(plain * depth / 3, 6.0))


class _Lane(NamedTuple):
    """The boxes of one kind, (level, name, begin, end), and how many levels there are."""

    kind: str
    boxes: list[tuple[int, str, float, float]]
    depth: int


class _Room(NamedTuple):
    """Where the timeline begins and ends, the seconds of its unit, and the inches of a row."""

    begin: float
    end: float
    factor: float
    inches: float


def _lanes(events: Sequence[tuple], touch: float) -> tuple[_Lane, _Lane]:
    """Compute and communication; a box lies on the first level that is free, but for less than `touch` seconds."""
    found = []
    for kind in ("compute", "communication"):
        free: list[float] = []
        boxes = []
        for a, b, name in sorted((a, b, name) for one, name, a, b in events if one == kind):
            fits = [level for level, reached in enumerate(free) if a >= reached - touch]
            level = fits[0] if fits else len(free) if len(free) < DEEPEST else free.index(min(free))
            free[level : level + 1] = [max(b, *free[level : level + 1])] if level < len(free) else [b]
            boxes.append((level, name, a, b))
        found.append(_Lane(kind, boxes, max(1, len(free))))
    return found[0], found[1]


def _span(rows: Sequence[Sequence[tuple]]) -> tuple[float, float]:
    times = [(a, b) for row in rows for _, _, a, b in row]
    return (min(a for a, _ in times), max(b for _, b in times)) if times else (0.0, 0.0)


def _draw_rank(ax: Axes, row: int, events: Sequence[tuple], lanes: tuple[_Lane, _Lane], room: _Room) -> None:
    gaps = _gaps([(a, b) for kind, _, a, b in events if kind != "idle"], room.begin, room.end)
    spans = [((a - room.begin) / room.factor, (b - a) / room.factor) for a, b in gaps]
    ax.broken_barh(spans, (row + _TOP, _HEIGHT), **_LOOK["idle"])
    compute, communication = lanes
    split = (_HEIGHT - _GAP) * compute.depth / (compute.depth + communication.depth)
    _draw_lane(ax, compute, row + _TOP, split, room)
    _draw_lane(ax, communication, row + _TOP + split + _GAP, _HEIGHT - _GAP - split, room)


def _draw_lane(ax: Axes, lane: _Lane, top: float, height: float, room: _Room) -> None:
    wide = {"edgecolor": "white", "linewidth": 0.6 if len(lane.boxes) <= FEW_BOXES else 0.0}
    thin = {"edgecolor": _LOOK[lane.kind]["facecolor"], "linewidth": 0.6 if len(lane.boxes) <= FEW_BOXES else 0.0}
    each, least = height / lane.depth, THINNEST * (room.end - room.begin)
    for level in range(lane.depth):
        spans = [(a, b - a) for at, _, a, b in lane.boxes if at == level]
        for edge, some in ((wide, [s for s in spans if s[1] >= least]), (thin, [s for s in spans if s[1] < least])):
            placed = [((a - room.begin) / room.factor, length / room.factor) for a, length in some]
            ax.broken_barh(placed, (top + level * each, each), **(_LOOK[lane.kind] | edge))
    if each * room.inches < READABLE:
        return
    for (level, name, a, b), until in zip(lane.boxes, _free_until(lane), strict=True):
        end = min(b, until)  # the box that comes next on this level covers the rest
        share = (end - a) / max(room.end - room.begin, 1e-30)
        _name_box(ax, name, ((a + end) / 2 - room.begin) / room.factor, top + (level + 0.5) * each, share)


def _free_until(lane: _Lane) -> list[float]:
    """For each box when the next one on its level begins."""
    nexts, found = dict.fromkeys(range(lane.depth), float("inf")), []
    for level, _, a, _ in reversed(lane.boxes):
        found.append(nexts[level])
        nexts[level] = a
    return found[::-1]


def _name_box(ax: Axes, name: str, x: float, y: float, share: float) -> None:
    """The name of an event, or the number at its end, where the box has room: a letter takes a hundredth of the axis.

    In a box too narrow for both there is nothing.
    """
    for text in (readable(name, 24), name.rpartition(" ")[2]):
        if name and share > 0.0105 * len(text) + 0.004 and (text.isdigit() or text == readable(name, 24)):
            ax.text(x, y, text, ha="center", va="center", fontsize=7, color="white", clip_on=True)
            return


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
        top = _TOP if kind == "compute" else _TOP + (_HEIGHT + _GAP) / 2
        ax.broken_barh([(0, seconds / factor)], (row + top, (_HEIGHT - _GAP) / 2), alpha=0.6, **_LOOK[kind])
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
