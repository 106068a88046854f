"""Collectives step by step: which rank holds whose numbers of each chunk, and the bytes that travel."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.ticker import FuncFormatter

from labkit.figures.attention.labels import Array, byte_size, legend, number, plural, readable, title_of
from labkit.figures.optimizers.curves import floats, look, same_length
from labkit.figures.style import ACCENT, INK, OURS, axes, describe, new, series

_HELD = LinearSegmentedColormap.from_list("held", ["#ffffff", "#cfe3f7", OURS])
MOST_CELLS = 12  # of more ranks or chunks than this the numbers cannot be read, and arrows hide the cells
MOST_FRAMES = 8


def draw_collective(
    progress: Array, moves: Sequence = (), step: int = 0, title: str = "", ax: Axes | None = None
) -> Axes:
    """Ranks across, chunks down: from how many ranks each chunk holds numbers after `step`, and what just arrived.

    `progress` counts them by (step, rank, chunk), step 0 before anything travels; `moves` are
    (time, sender, receiver, chunk, …), of which those of time `step` − 1 are drawn as arrows.

    Raises:
        ValueError: if `progress` has not three dimensions, or there is no such step.
    """
    states = _states(progress)
    if not 0 <= step < len(states):
        raise ValueError(f"step = {step}; there are steps 0 … {len(states) - 1}")
    held, full = states[step], int(max(1, states.max()))
    ranks, chunks = held.shape
    ax = axes(ax, width=1.6 + 0.75 * min(ranks, MOST_CELLS), height=1.5 + 0.5 * min(chunks, MOST_CELLS))
    _draw_cells(ax, held, full)
    arrived = [(int(s), int(r), int(c)) for time, s, r, c, *_ in moves if time == step - 1]
    _draw_moves(ax, arrived, small=max(ranks, chunks) <= MOST_CELLS)
    ax.set(xlabel="rank", ylabel="chunk", title=title_of(title or f"After step {step} of {len(states) - 1}"))
    describe(ax, f"{title}{'. ' * bool(title)}{_said(held, full, step, len(states) - 1, arrived)}")
    return ax


def draw_collective_strip(progress: Array, steps: Sequence[int] | None = None, title: str = "") -> Figure:
    """The same for several steps side by side, at most eight of them, by default spread over all.

    Raises:
        ValueError: if `progress` has not three dimensions, or there is no such step.
    """
    states = _states(progress)
    last = len(states) - 1
    spread = np.unique(np.linspace(0, last, min(MOST_FRAMES, len(states))).round().astype(int))
    chosen = list(spread if steps is None else steps)
    if not chosen or not all(0 <= step <= last for step in chosen):
        raise ValueError(f"steps = {chosen}; choose some of 0 … {last}")
    columns = min(4, len(chosen))
    lines = -(-len(chosen) // columns)
    figure, grid = new(2 * columns, 0.4 + 1.95 * lines, ncols=columns, nrows=lines)
    frames = list(np.ravel(grid))
    full = int(max(1, states.max()))
    for frame, step in zip(frames, chosen, strict=False):
        _draw_cells(frame, states[step], full)
        frame.set_title(f"step {step}", fontsize=9)
        frame.tick_params(labelsize=7)
    for frame in frames[len(chosen) :]:
        frame.set_axis_off()
    frames[0].set(xlabel="rank", ylabel="chunk")
    if title:
        figure.suptitle(title_of(title), fontsize=11)
    whole = [f"{int((states[step] >= full).sum()):,} after step {step}" for step in chosen]
    size = f"{plural(states.shape[1], 'rank')}, {plural(states.shape[2], 'chunk')}"
    describe(figure, f"{title}{'. ' * bool(title)}{size}; complete sums of {states[0].size:,}: {', '.join(whole)}")
    return figure


def _states(progress: Array) -> np.ndarray:
    states = np.asarray(progress)
    if states.ndim != 3 or not states.size:
        raise ValueError(f"progress of shape {states.shape}; give counts by (step, rank, chunk)")
    return states


def _draw_cells(ax: Axes, held: np.ndarray, full: int) -> None:
    ranks, chunks = held.shape
    ax.imshow(held.T, cmap=_HELD, vmin=0, vmax=full, aspect="auto", interpolation="nearest")
    if max(ranks, chunks) <= MOST_CELLS:
        for rank in range(ranks):
            for chunk in range(chunks):
                count = int(held[rank, chunk])
                weight = "bold" if count >= full else "normal"
                ax.text(rank, chunk, str(count) if count else "·", ha="center", va="center", fontsize=9, weight=weight)
        ax.set(xticks=range(ranks), yticks=range(chunks))
        ax.set_xticks(np.arange(ranks + 1) - 0.5, minor=True)
        ax.set_yticks(np.arange(chunks + 1) - 0.5, minor=True)
        ax.tick_params(which="minor", length=0)
        ax.grid(visible=True, which="minor", color="white", linewidth=2)
    ax.grid(visible=False, which="major")


def _draw_moves(ax: Axes, moves: Sequence[tuple[int, int, int]], small: bool) -> None:
    for sender, receiver, chunk in moves:
        frame = {"fill": False, "edgecolor": ACCENT, "linewidth": 2 if small else 0.6}
        ax.add_patch(Rectangle((receiver - 0.45, chunk - 0.45), 0.9, 0.9, **frame))
        if small:
            bend = 0.25 if abs(sender - receiver) > 1 else 0.0
            way = {"connectionstyle": f"arc3,rad={bend}", "arrowstyle": "-|>", "mutation_scale": 10}
            side = 0.2 if receiver > sender else -0.2
            ends = ((sender + side, chunk + 0.3), (receiver - side, chunk + 0.3))
            ax.add_patch(FancyArrowPatch(*ends, color=ACCENT, linewidth=1.5, zorder=4, **way))


def _said(held: np.ndarray, full: int, step: int, last: int, arrived: Sequence[tuple[int, int, int]]) -> str:
    ranks, chunks = held.shape
    words = f"after step {step} of {last}, {plural(ranks, 'rank')} with {plural(chunks, 'chunk')}: "
    words += f"{int((held >= full).sum()):,} of {held.size:,} are complete"
    if held.size <= 36:
        rows = [f"rank {rank} holds {', '.join(str(int(count)) for count in row)}" for rank, row in enumerate(held)]
        words += f" ({full} is complete); {'; '.join(rows)}"
    if not arrived:
        return words
    some = ", ".join(f"chunk {chunk} from {sender} to {receiver}" for sender, receiver, chunk in arrived[:8])
    return f"{words}. {plural(len(arrived), 'message')} arrived: {some}{', …' * (len(arrived) > 8)}"


def draw_bytes(
    ranks: Array,
    formula: Mapping[str, Array],
    measured: Mapping[str, Array] | None = None,
    ylabel: str = "bytes sent by the busiest rank",
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Bytes by the number of ranks: formulas as lines, counted bytes as marks (NaN where nothing was measured).

    Raises:
        ValueError: if a row does not have one number for each number of ranks.
    """
    x = floats(ranks)
    lines = {name: floats(given) for name, given in formula.items()}
    marks = {name: floats(given) for name, given in (measured or {}).items()}
    for given in (lines, marks):
        for name, row in given.items():
            same_length(ranks=x, **{name: row})
    ax = axes(ax, height=3.4)
    names = list(dict.fromkeys([*lines, *marks]))
    for name, row in lines.items():
        style = look(names.index(name), len(x)) | {
            "marker": "" if name in marks else series(names.index(name))["marker"]
        }
        ax.plot(x, row, label=readable(name, 28), **style)
    for name, row in marks.items():
        style = series(names.index(name)) | {"linestyle": "", "markersize": 8, "markeredgecolor": INK}
        ax.plot(x, row, label=readable(f"{name}, counted", 32), **style)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: byte_size(max(0, value), 3)))
    ax.set(xlabel="ranks", ylabel=ylabel, title=title_of(title or "Bytes that travel"))
    ax.set_ylim(bottom=0)
    if len(x) <= 12 and np.isfinite(x).all():
        ax.set_xticks(x, [f"{value:g}" for value in x])
    legend(ax, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    said = [_course(name, x, row) for name, row in lines.items()]
    said += [_agrees(name, row, lines.get(name)) for name, row in marks.items()]
    describe(ax, f"{title or ylabel}. {'; '.join(said) or 'nothing given'}")
    return ax


def _course(name: str, x: np.ndarray, row: np.ndarray) -> str:
    known = np.flatnonzero(np.isfinite(row) & np.isfinite(x))
    if not len(known):
        return f"{name}: no finite number"
    ends = [f"{byte_size(row[at])} with {plural(int(x[at]), 'rank')}" for at in dict.fromkeys(known[[0, -1]].tolist())]
    return f"{name}: {', '.join(ends)}"


def _agrees(name: str, row: np.ndarray, line: np.ndarray | None) -> str:
    known = np.isfinite(row) & (np.isfinite(line) & (line > 0) if line is not None else True)
    words = f"{name}, counted at {plural(int(known.sum()), 'number')} of ranks"
    if line is None or not known.any():
        return words
    ratio = row[known] / line[known]
    return f"{words}: {number(ratio.min())} to {number(ratio.max())} times the formula"
