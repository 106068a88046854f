"""Pictures of the class report: what was hard, which mistakes were common, how points fell, whether ratings fit."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from labkit.figures.attention.labels import Array, plural, readable
from labkit.figures.style import ACCENT, DATA, INK, OURS, QUIET, WRONG, axes, describe

MOST_BARS = 20  # more cannot be read
ROW = 0.27  # inches of one bar
ABOVE_LEGEND = 24  # points between a title and the axes, where a legend stands
LIGHT = "#92dadd"
# What an answer was: colour, hatch and the colour of a number written on it. No two differ by colour alone.
PARTS = {
    "correct": (OURS, "", INK),
    "partly right": (LIGHT, "//", INK),
    "not right": (WRONG, "", "white"),
    "not started": ("#eceff1", "..", INK),
}
ON_TIME = {"in time": (OURS, "", INK), "late": (LIGHT, "//", INK), "not handed in": ("#eceff1", "..", INK)}
STARS = {1: "easy (1)", 2: "medium (2)", 3: "hard (3)"}


def draw_hard_exercises(
    names: Sequence[str], counts: Array, most: int = MOST_BARS, of: int | None = None, ax: Axes | None = None
) -> Axes:
    """How often each exercise came out correct, partly right, not right, not started; the first is the hardest.

    `counts` has one row of these four numbers per exercise; of more than `most` exercises the first ones are drawn, out
    of `of` in all.

    Raises:
        ValueError: if the names and the rows differ in number, or a row has not four numbers.
    """
    table = _table(names, counts, len(PARTS))
    shown, kept = list(names[:most]), table[:most]
    ax = axes(ax, width=8, height=_height(len(shown)))
    _stacked(ax, shown, kept, PARTS)
    ax.set_xlabel("students")
    if not len(shown) or not table.any():
        ax.set_title("No answers yet", pad=ABOVE_LEGEND)
        describe(ax, "hard exercises: no answers yet")
        return ax
    asked = int(kept[0].sum())
    ax.set_title(f"Hardest: {readable(names[0], 36)}, {int(kept[0][0])} of {asked} correct", pad=ABOVE_LEGEND)
    rows = [f"{readable(name, 60)} {_row(row)}" for name, row in zip(shown[:5], kept, strict=False)]
    total = len(names) if of is None else of
    describe(ax, f"{plural(total, 'exercise')}, the hardest {len(shown)} shown. The first: {'; '.join(rows)}")
    return ax


def draw_mistakes(labels: Sequence[str], counts: Array, students: int, most: int = 15, ax: Axes | None = None) -> Axes:
    """How many students made each known mistake, as bars; the first is the most common.

    Raises:
        ValueError: if labels and counts differ in number.
    """
    table = _table(labels, np.asarray(counts).reshape(-1, 1), 1)[:, 0]
    shown, kept = [readable(label, 44) for label in labels[:most]], table[:most]
    ax = axes(ax, width=8, height=_height(len(shown)))
    bars = ax.barh(np.arange(len(shown)), kept, color=WRONG, height=0.72)
    ax.bar_label(bars, [f"{int(count)}" for count in kept], padding=4, color=INK, fontsize=9)
    _categories(ax, shown)
    ax.set(xlabel="students who made the mistake", xlim=(0, max([1, *kept]) * 1.12))
    if not shown:
        ax.set_title("Nobody made a known mistake")
        describe(ax, "common mistakes: none of the known ones was made")
        return ax
    ax.set_title(f"{int(kept[0])} of {plural(students, 'student')}: {readable(labels[0], 32)}")
    rows = [f"{label} {int(count)}" for label, count in zip(shown[:8], kept, strict=False)]
    describe(ax, f"{plural(len(labels), 'mistake')} made, the {len(shown)} most common shown: {'; '.join(rows)}")
    return ax


def draw_totals(totals: Array, ax: Axes | None = None) -> Axes:
    """How the final marks out of 100 are spread, in steps of ten, with the median as a line."""
    marks = np.asarray(totals, dtype=float).reshape(-1)
    ax = axes(ax, width=8, height=3)
    edges = np.arange(0, 101, 10)
    counts, _ = np.histogram(np.clip(marks, 0, 100), edges)
    bars = ax.bar(edges[:-1] + 5, counts, width=9.2, color=OURS)
    ax.bar_label(bars, [str(count) if count else "" for count in counts], padding=2, color=INK, fontsize=9)
    ax.set(xlabel="final mark out of 100", ylabel="students", xlim=(-1, 101), ylim=(0, max(1, counts.max()) * 1.2))
    ax.set_xticks(edges)
    ax.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    if not len(marks):
        ax.set_title("No marks yet")
        describe(ax, "final marks: none yet")
        return ax
    median = float(np.median(marks))
    ax.axvline(median, color=ACCENT, linestyle="--", linewidth=2)
    ax.set_title(
        f"Half of the class has {median:.0f} of 100 or more (dashed line)" if len(marks) > 1 else "One student"
    )
    steps = [f"{low} to {low + 10}: {n}" for low, n in zip(edges[:-1], counts, strict=True) if n]
    describe(
        ax,
        f"final marks of {plural(len(marks), 'student')}: median {median:.0f}, lowest {marks.min():.0f}, "
        f"highest {marks.max():.0f}. {'; '.join(steps)}",
    )
    return ax


def draw_difficulty(
    names: Sequence[str], ratings: Array, shares: Array, odd: Sequence[int] = (), ax: Axes | None = None
) -> Axes:
    """The share of points reached in each exercise by how hard the course calls it; `odd` ones are named.

    Raises:
        ValueError: if names, ratings and shares differ in number.
    """
    y = 100 * _table(names, np.asarray(shares, dtype=float).reshape(-1, 1), 1)[:, 0]
    x = _table(names, np.asarray(ratings).reshape(-1, 1), 1)[:, 0]
    ax = axes(ax, width=8, height=4.2)
    place = x + _spread(x, y)
    strange = np.isin(np.arange(len(y)), list(odd))
    ax.plot(place[~strange], y[~strange], "o", color=OURS, markersize=6, alpha=0.75, linestyle="none")
    ax.plot(place[strange], y[strange], "D", color=ACCENT, markersize=7, linestyle="none")
    present = sorted({int(rating) for rating in x})
    medians = {rating: float(np.median(y[x == rating])) for rating in present}
    for rating, median in medians.items():
        ax.hlines(median, rating - 0.33, rating + 0.33, color=INK, linewidth=2.5)
    _name_odd(ax, [(place[i], y[i], readable(names[i], 34)) for i in odd])
    ax.set(
        xlim=(0.5, 3.95 if len(odd) else 3.5),
        ylim=(-4, 106),
        ylabel="points reached (%)",
        xlabel="difficulty as the course rates it",
    )
    ax.set_xticks(list(STARS), list(STARS.values()))
    ax.grid(False, axis="x")
    if not present:
        ax.set_title("No answers yet")
        describe(ax, "points by difficulty: no answers yet")
        return ax
    falls = list(medians.values()) == sorted(medians.values(), reverse=True)
    fits = "Harder exercises got fewer points" if falls else "The ratings do not follow the points"
    ax.set_title((fits if len(present) > 1 else "Points by difficulty") + " (bars: medians)")
    said = "; ".join(
        f"{STARS.get(r, r)}: {plural(int((x == r).sum()), 'exercise')}, median {m:.0f} %" for r, m in medians.items()
    )
    named = f". Out of line: {'; '.join(f'{readable(names[i], 60)} {y[i]:.0f} %' for i in odd)}" if len(odd) else ""
    describe(ax, f"points reached by rated difficulty. {said}{named}")
    return ax


def draw_handed_in(notebooks: Sequence[str], counts: Array, ax: Axes | None = None) -> Axes:
    """How many students handed in each notebook in time, late, not at all: one row of these three per notebook.

    Raises:
        ValueError: if the names and the rows differ in number, or a row has not three numbers.
    """
    table = _table(notebooks, counts, len(ON_TIME))
    ax = axes(ax, width=8, height=_height(len(notebooks)))
    _stacked(ax, list(notebooks), table, ON_TIME)
    ax.set_xlabel("students")
    late, missing = (int(table[:, k].sum()) for k in (1, 2))
    asked = int(table.sum())
    came = f"{asked - missing:,} of {plural(asked, 'notebook')} came in, {late:,} late"
    ax.set_title(came if asked else "Nothing handed in", pad=ABOVE_LEGEND)
    rows = [f"{readable(name, 60)} {_row(row, ON_TIME)}" for name, row in zip(notebooks, table, strict=True)]
    describe(ax, f"handed in, by notebook: {'; '.join(rows) or 'nothing yet'}")
    return ax


def _table(names: Sequence[str], counts: Array, width: int) -> np.ndarray:
    numbers = np.asarray(counts, dtype=float)
    if numbers.size != len(names) * width:
        raise ValueError(f"{plural(len(names), 'name')} came with {numbers.size} numbers; give {width} for each name")
    return numbers.reshape(len(names), width)


def _height(rows: int) -> float:
    return 1.5 + ROW * max(2, rows)


def _row(row: np.ndarray, parts: Mapping[str, tuple] = PARTS) -> str:
    return ", ".join(f"{int(count)} {part}" for part, count in zip(parts, row, strict=True) if count) or "nothing"


def _categories(ax: Axes, labels: Sequence[str]) -> None:
    """Names beside horizontal bars, the first one on top."""
    ax.set_yticks(range(len(labels)), labels, fontsize=9)
    ax.set_ylim(max(1.5, len(labels) - 0.5), -0.5)
    ax.grid(False, axis="y")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))


def _stacked(ax: Axes, names: Sequence[str], table: np.ndarray, parts: Mapping[str, tuple[str, str, str]]) -> None:
    """Bars of parts one behind the other, each with its number where there is room for it."""
    widest, left, places = max(1.0, table.sum(axis=1).max(initial=0)), np.zeros(len(table)), np.arange(len(table))
    for column, (part, (colour, hatch, ink)) in enumerate(parts.items()):
        wide = table[:, column]
        ax.barh(
            places,
            wide,
            left=left,
            color=colour,
            hatch=hatch,
            edgecolor="white" if not hatch else QUIET,
            height=0.78,
            linewidth=0.5,
            label=part,
        )
        for place, start, count in zip(places, left, wide, strict=True):
            if count >= 0.035 * widest:
                box = {"boxstyle": "round,pad=0.1", "facecolor": colour, "edgecolor": "none"} if hatch else None
                ax.text(
                    start + count / 2, place, f"{int(count)}", ha="center", va="center", fontsize=8, color=ink, bbox=box
                )
        left = left + wide
    _categories(ax, [readable(name, 44) for name in names])
    ax.set_xlim(0, widest)
    if len(names):
        ax.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), borderaxespad=0.2, ncols=4, fontsize=9)


def _spread(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How far points of one rating move aside so that equal ones do not cover each other."""
    aside = np.zeros(len(x))
    seen: dict[tuple[int, int], int] = {}
    for i, (rating, share) in enumerate(zip(x, y, strict=True)):
        cell = int(rating), round(share / 3)
        k = seen[cell] = seen.get(cell, -1) + 1
        aside[i] = 0.055 * ((k + 1) // 2) * (-1) ** k
    return np.clip(aside, -0.32, 0.32)


def _name_odd(ax: Axes, points: Sequence[tuple[float, float, str]]) -> None:
    """Write names beside points, moved apart where they would cover each other."""
    taken: list[tuple[float, float]] = []
    for x, y, name in sorted(points, key=lambda point: abs(point[1] - 50), reverse=True):
        height = y
        while any(abs(x - other) < 1.0 and abs(height - level) < 5.5 for other, level in taken):
            height += 1 if y < 50 else -1
        taken.append((x, height))
        line = {"arrowstyle": "-", "color": DATA, "linewidth": 0.6}
        ax.annotate(name, (x, y), (x + 0.08, height), fontsize=8.5, color=INK, va="center", arrowprops=line)
