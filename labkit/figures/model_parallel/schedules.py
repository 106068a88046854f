"""Pipeline schedules as boxes over time: forward, backward and the gradient of the weights, by micro-batch."""

import re
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch

from labkit.figures.attention.labels import number, plural, title_of
from labkit.figures.style import ACCENT, OURS, QUIET, axes, describe

_KINDS = {"F": ("forward", OURS), "B": ("backward", ACCENT), "W": ("gradient of weights", "#b9ac70")}
_NAME = re.compile(r"([FBW])\D*(\d+)\D+(\d+)")  # "F0.3" is forward of stage 0, micro-batch 3
MOST_RANKS = 16


def draw_schedule(timeline: Sequence[Sequence], varies: bool = False, title: str = "", ax: Axes | None = None) -> Axes:
    """When each rank performs which operation; the number in a box is its micro-batch, hatched is the bubble.

    `timeline` has a list of events (rank, kind, name, begin, end) for each rank, named as "F0.3": kind, stage and
    micro-batch. Later stages on the same rank are paler. Of many ranks the first sixteen are drawn.
    """
    rows = [[_operation(event) for event in events if event[1] == "compute"] for events in timeline]
    begin = min((a for row in rows for *_, a, _ in row), default=0.0)
    end = max((b for row in rows for *_, b in row), default=0.0)
    shown, length = rows[:MOST_RANKS], max(end - begin, 1e-30)
    ax = axes(ax, width=8.5, height=1.4 + 0.36 * max(1, len(shown)))
    found: set[str] = set()
    for row, operations in enumerate(shown):
        ax.broken_barh([(0, end - begin)], (row - 0.4, 0.8), facecolor="#f1f3f4", hatch="////", edgecolor=QUIET, lw=0)
        own = sorted({stage for kind, stage, *_ in operations if kind in _KINDS})
        boxes: dict[tuple, list[tuple[float, float]]] = {}  # those of one look are drawn at once: it is far quicker
        for kind, stage, micro_batch, a, b in operations:
            found.add(kind)
            pale = own.index(stage) / max(2, len(own)) if kind in _KINDS else 0.0
            edge = 0.6 if (b - a) / length > 0.004 else 0.0
            boxes.setdefault((_colour(kind, pale), edge), []).append((a - begin, b - a))
            if kind in _KINDS and (b - a) / length > 0.011 * len(str(micro_batch)) + 0.002:
                ink = "black" if pale >= 0.3 or kind == "W" else "white"
                place = {"ha": "center", "va": "center", "fontsize": 7.5, "clip_on": True}
                ax.text((a + b) / 2 - begin, row, str(micro_batch), color=ink, **place)
        for (colour, edge), spans in boxes.items():
            ax.broken_barh(spans, (row - 0.4, 0.8), facecolor=colour, edgecolor="white", linewidth=edge)
    idle = _bubble(rows, begin, end)
    key = [Patch(color=colour, label=label) for kind, (label, colour) in _KINDS.items() if kind in found]
    key += [Patch(color=QUIET, label="other work")] if "" in found else []
    key += [Patch(facecolor="#f1f3f4", hatch="////", edgecolor=QUIET, linewidth=0, label=f"bubble {100 * idle:.1f}%")]
    ax.legend(handles=key, fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    ax.set_yticks(range(len(shown)), [f"rank {row}" for row in range(len(shown))])
    ax.set(ylim=(max(1, len(shown)) - 0.5, -0.5), xlim=(0, length), xlabel="seconds")
    ax.set_title(title_of(title or "A pipeline schedule"))
    ax.grid(visible=False)
    describe(ax, f"{title}{'. ' * bool(title)}{_said(rows, idle, end - begin, varies)}")
    return ax


def _operation(event: Sequence) -> tuple[str, int, int, float, float]:
    """Kind, stage and micro-batch of an event, its beginning and end; the kind is "" where the name tells none."""
    found = _NAME.fullmatch(str(event[2]))
    kind, stage, micro_batch = found.groups() if found else ("", 0, 0)
    return kind, int(stage), int(micro_batch), float(event[3]), float(event[4])


def _colour(kind: str, pale: float) -> tuple[float, ...]:
    base = np.array(to_rgb(_KINDS[kind][1] if kind in _KINDS else QUIET))
    return tuple(base + (1 - base) * pale)


def _bubble(rows: Sequence[Sequence[tuple]], begin: float, end: float) -> float:
    """The share of the ranks' time without work; operations of one rank do not overlap."""
    if not rows or end <= begin:
        return 0.0
    return max(0.0, 1 - sum(b - a for row in rows for *_, a, b in row) / (len(rows) * (end - begin)))


def _said(rows: Sequence[Sequence[tuple]], idle: float, seconds: float, varies: bool) -> str:
    stages = {stage for row in rows for kind, stage, *_ in row if kind}
    micro = {micro_batch for row in rows for kind, _, micro_batch, *_ in row if kind}
    words = f"{plural(len(rows), 'rank')}, {plural(len(stages), 'stage')}, "
    words += plural(len(micro), "micro-batch", "micro-batches")
    counts = {label: sum(one == kind for row in rows for one, *_ in row) for kind, (label, _) in _KINDS.items()}
    done = ", ".join(f"{count:,} {label}" for label, count in counts.items() if count)
    words += f": {done or 'no operations'}"
    return f"{words}; it takes {number(seconds, varies)} seconds, of which {number(100 * idle, varies)}% are bubble"
