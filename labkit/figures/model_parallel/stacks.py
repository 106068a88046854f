"""Stacked bars with a name for each row and a total at its end: what plans take and where memory goes."""

from collections.abc import Callable, Collection, Mapping

import numpy as np
from matplotlib.axes import Axes

from labkit.figures.attention.labels import Number, legend, readable
from labkit.figures.optimizers.curves import floats
from labkit.figures.style import CYCLE, QUIET, WRONG

MOST_LARGE = 20  # more rows than this are drawn small
HATCHES = ("", "//", "..", "\\\\", "xx", "++", "--", "oo")


def stack_height(rows: int) -> float:
    """The inches of a figure with so many rows, which are lower when there are many."""
    return 1.4 + 0.36 * max(1, min(rows, MOST_LARGE)) + 0.11 * max(0, rows - MOST_LARGE)


def stack_bars(
    ax: Axes,
    rows: Mapping[str, Mapping[str, Number]],
    write: Callable[[float], str],
    refused: Collection[str] = (),
    note: str = "",
) -> dict[str, float]:
    """Draw a bar of parts for each row, those `refused` in grey with a note; give the total of each row."""
    parts = list(dict.fromkeys(part for row in rows.values() for part in row))
    table = np.array([np.nan_to_num(floats([row.get(part, 0.0) for part in parts])) for row in rows.values()])
    table = table.reshape(len(rows), len(parts))
    left, font = np.zeros(len(rows)), 9 if len(rows) <= MOST_LARGE else 5.5
    for i, part in enumerate(parts):
        colours = [QUIET if name in refused else CYCLE[i % len(CYCLE)] for name in rows]
        style = {"hatch": HATCHES[i % len(HATCHES)], "edgecolor": "white", "linewidth": 0.5, "height": 0.7}
        ax.barh(range(len(rows)), table[:, i], left=left, color=colours, **style)
        ax.barh([0], [0], color=CYCLE[i % len(CYCLE)], label=readable(part, 28), **style)
        left = left + table[:, i]
    for row, (name, total) in enumerate(zip(rows, left, strict=True)):
        text = write(float(total)) + (f"  {note}" if name in refused else "")
        colour = {"color": WRONG} if name in refused else {}
        place = {"textcoords": "offset points", "va": "center", "fontsize": min(8, font)}
        ax.annotate(text, (total, row), (8, 0), **place, **colour)
    ax.set_yticks(range(len(rows)), [readable(name, 40) for name in rows], fontsize=font)
    ax.set(
        ylim=(max(1, len(rows)) - 0.45, -0.55), xlim=(0, (1.5 if refused else 1.25) * (max(left, default=0.0) or 1.0))
    )
    ax.grid(visible=False, axis="y")
    legend(ax, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return dict(zip(rows, (float(total) for total in left), strict=True))
