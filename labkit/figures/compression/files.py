"""What a compressed model costs: where the bytes of its file are, and the least time of a step against the rows."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from labkit.figures.attention.labels import (
    Array,
    Number,
    byte_size,
    legend,
    log_axis,
    number,
    readable,
    title_of,
)
from labkit.figures.model_parallel.stacks import stack_bars, stack_height
from labkit.figures.optimizers.curves import floats, same_length
from labkit.figures.style import axes, describe, series

FREE = (0, 3, 2, 5, 6)  # series whose colours mean neither a reference nor something broken


def draw_file_bytes(files: Mapping[str, Mapping[str, Number]], title: str = "", ax: Axes | None = None) -> Axes:
    """The bytes of each file by what they are for, a bar for each; the title says what the last one is of the first."""
    sums = {name: sum(floats(list(parts.values())), 0.0) for name, parts in files.items()}
    ax = axes(ax, width=8.0, height=stack_height(len(files)))
    write = lambda count: byte_size(max(0, count), 3)  # noqa: E731
    stack_bars(ax, files, write, [], "")
    found = _share(sums)
    ax.set(xlim=(0, ax.get_xlim()[1]), xlabel="bytes of the file", ylabel="how it is stored")
    ax.set_title(title_of(title or found))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: write(value)))
    legend(ax, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    told = [f"{readable(name)}: {byte_size(total)}{_most(files[name])}" for name, total in sums.items()]
    describe(ax, f"{title or found}. {'; '.join(told) or 'nothing given'}")
    return ax


def _share(sums: Mapping[str, float]) -> str:
    names = list(sums)
    if len(names) < 2 or not sums[names[0]] > 0:
        return "Where the bytes of a file are"
    return f"{readable(names[-1])}: {100 * sums[names[-1]] / sums[names[0]]:.1f} % of {readable(names[0])}"


def _most(parts: Mapping[str, Number]) -> str:
    total = sum(floats(list(parts.values())), 0.0)
    most = max(parts, key=lambda part: parts[part], default="")
    return f", {100 * float(parts[most]) / total:.0f} % of it {readable(most)}" if total > 0 and len(parts) > 1 else ""


def draw_least_time(
    rows: Array,
    seconds: Mapping[str, Array],
    bends: Mapping[str, Number] | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """The least milliseconds of a step against the rows of its input, a curve for each way to store the weights.

    `bends` are the rows from which computing, no longer reading, takes the time: a mark on each curve.

    Raises:
        ValueError: if a curve has not one number for each count of rows, or a bend belongs to no curve.
    """
    counts, curves = floats(rows), {name: 1e3 * floats(values) for name, values in seconds.items()}
    same_length(rows=counts, **{f"curve {i}": values for i, values in enumerate(curves.values())})
    if unknown := set(bends or {}) - set(curves):
        raise ValueError(f"bends has {min(unknown)!r}, of which there is no curve; give the same names")
    ax = axes(ax, height=3.8)
    for i, (name, values) in enumerate(curves.items()):
        style = series(FREE[i % len(FREE)])
        line = {"color": style["color"], "linestyle": style["linestyle"]}
        ax.plot(counts, values, label=readable(name), **line)
        bend = (bends or {}).get(name)
        if bend is not None and len(counts) and counts.min() <= float(bend) <= counts.max():
            height = np.interp(float(bend), counts, values)
            ax.plot(bend, height, marker=style["marker"], markersize=8, **line)
            ax.annotate(f"{bend:g}", (bend, height), (7, -9), textcoords="offset points", fontsize=8)
    log_axis(ax, "x", counts)
    log_axis(ax, "y", *curves.values())
    ax.set(xlabel="rows of input in one step", ylabel="least milliseconds")
    ax.set_title(title_of(title or "Few rows: reading the weights takes the time"))
    legend(ax, fontsize=8, loc="upper left")
    told = [_told(name, values, (bends or {}).get(name)) for name, values in curves.items()]
    describe(ax, f"least milliseconds of a step: {'; '.join(told) or 'nothing given'}")
    return ax


def _told(name: str, values: np.ndarray, bend: Number | None) -> str:
    if not len(values):
        return f"{readable(name)} nothing"
    words = f"{readable(name)} {number(values[0])} for the fewest rows, {number(values[-1])} for the most"
    return words if bend is None else f"{words}, flat up to {number(bend)} rows"
