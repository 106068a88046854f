"""What a few directions hold: the energy of singular values, and the error that a rank leaves."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from labkit.figures.attention.labels import Array, Number, legend, log_axis, number, positive, readable, title_of
from labkit.figures.optimizers.curves import floats, same_length
from labkit.figures.style import QUIET, axes, describe, series


def draw_spectra(
    held: Mapping[str, Array],
    share: Number = 0.9,
    even: bool = True,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """The share of ‖W‖² that the first directions hold, a curve for each matrix; a mark where `share` is reached.

    `even` draws what directions of equal size would hold.
    """
    ax = axes(ax, height=3.8)
    told, most = [], 1
    for i, (name, values) in enumerate(held.items()):
        values, style = floats(values), series(i)
        most = max(most, len(values))
        ax.plot(
            range(1, len(values) + 1), values, color=style["color"], linestyle=style["linestyle"], label=readable(name)
        )
        reached = np.flatnonzero(values >= float(share) - 1e-12)
        if len(reached):
            at = int(reached[0])
            ax.plot(at + 1, values[at], marker=style["marker"], color=style["color"], markersize=8, linestyle="")
            told.append(f"{readable(name)}: {at + 1} of {len(values)}")
        else:
            told.append(f"{readable(name)}: never")
    if even:
        ax.plot([0, most], [0, 1], color=QUIET, linestyle="-", linewidth=1, label="equal directions")
    ax.axhline(float(share), color=QUIET, linestyle="--", linewidth=1, label=f"{100 * float(share):g} %")
    ax.set(xlim=(0, most), ylim=(0, 1.02), xlabel="number of singular directions", ylabel="share of ‖W‖²")
    ax.set_title(title_of(title or "What the first directions hold"))
    legend(ax, fontsize=8, loc="lower right")
    describe(ax, f"directions that hold {number(share)} of the energy: {'; '.join(told) or 'nothing given'}")
    return ax


def draw_rank_errors(
    ranks: Array,
    errors: Mapping[str, Array],
    even_at: Number | None = None,
    varies: bool = False,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """The error that each rank leaves, a curve for each method; a line where the factors are as large as the matrix.

    Raises:
        ValueError: if a method has not one error for each rank.
    """
    ranks = floats(ranks)
    curves = {name: floats(values) for name, values in errors.items()}
    for values in curves.values():
        same_length(ranks=ranks, errors=values)
    ax = axes(ax, height=3.6)
    log_axis(ax, "y", *curves.values())
    for i, (name, values) in enumerate(curves.items()):
        ax.plot(ranks, positive(values), label=readable(name), **series(i))
    if even_at is not None:
        ax.axvline(float(even_at), color=QUIET, linestyle="-", linewidth=1, label="as many numbers as before")
    _percent(ax)
    ax.set(xlabel="rank", ylabel="share of the output lost", title=title_of(title or "What a rank leaves out"))
    legend(ax, fontsize=8)
    told = [
        f"{readable(name)} {number(values[0], varies)} at rank {ranks[0]:g}, "
        f"{number(values[-1], varies)} at {ranks[-1]:g}"
        for name, values in curves.items()
        if len(values)
    ]
    describe(ax, f"share of the output lost: {'; '.join(told) or 'nothing given'}")
    return ax


def _percent(ax: Axes) -> None:
    """Shares in percent, also between powers of ten: those at 2 and 5 only, so that none lies on another."""
    short = FuncFormatter(lambda value, _: f"{100 * value:g} %")
    between = FuncFormatter(lambda value, _: short(value) if f"{value:.0e}"[0] in "25" else "")
    ax.yaxis.set(major_formatter=short, minor_formatter=between if ax.get_yscale() == "log" else short)
