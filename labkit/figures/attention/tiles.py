"""Tiles of the matrix of scores: which are read, which the causal mask cuts, which are never touched."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch

from labkit.figures.attention.labels import Array, Number, number
from labkit.figures.attention.matrices import MASKED, cover, hatch
from labkit.figures.style import ACCENT, INK, OURS, QUIET, axes, describe

SKIPPED, WAITING, READ, NOW = range(4)
COLOURS = (MASKED, "#d8ebfb", OURS, ACCENT)
MOST_ROWS = 16  # rows that can carry their running maximum and sum
MOST_EDGES = 64  # tiles beside each other whose borders can still be told apart
MOST_CELLS = 32


def draw_tiles(
    n: int,
    tile: int,
    causal: bool = False,
    done: int | None = None,
    maximum: Array | None = None,
    total: Array | None = None,
    ax: Axes | None = None,
) -> Axes:
    """The tiles of an n × n matrix of scores, in the order in which tiled attention reads them: row by row.

    The first `done` tiles are read, the last of them is the present one; all of them by default. `maximum` and `total`
    are the running maximum and the running sum of each query, written beside its row.

    Raises:
        ValueError: if n or tile is not positive.
    """
    if n < 1 or tile < 1:
        raise ValueError(f"n is {n} and the tile {tile}; both must be at least 1")
    ax = axes(ax, width=7, height=4.6)
    starts = np.arange(0, n, tile)
    ends = np.minimum(starts + tile, n)
    needed = starts <= ends[:, None] - 1 if causal else np.ones((len(starts), len(starts)), dtype=bool)
    cut = needed & (ends - 1 > starts[:, None]) if causal else np.zeros_like(needed)
    read = int(needed.sum()) if done is None else min(max(0, done), int(needed.sum()))
    state = _states(needed, read, moving=done is not None)
    edges = np.append(starts, n) - 0.5
    lines = {"edgecolor": "white", "linewidth": 1.5 if len(starts) <= 16 else 0.5} if len(starts) <= MOST_EDGES else {}
    ax.pcolormesh(edges, edges, state, cmap=ListedColormap(COLOURS), vmin=0, vmax=3, **lines)
    _hatch_hidden(ax, n, edges, needed, cut)
    ax.set(xlim=(-0.5, n - 0.5), ylim=(n - 0.5, -0.5), aspect="equal", xlabel="key", ylabel="query")
    ax.grid(visible=False)
    ticks = [int(start) for start in starts[:: math.ceil(len(starts) / 8)]]
    ax.set_xticks(ticks, [str(tick + 1) for tick in ticks])
    ax.set_yticks(ticks, [str(tick + 1) for tick in ticks])
    ax.set_title(f"{n:,} × {n:,} scores in tiles of {tile:,}{', causal' if causal else ''}")
    counts = (read, int(needed.sum()), int(cut.sum()), int((~needed).sum()))
    _legend(ax, counts, moving=done is not None)
    note = "" if maximum is None and total is None else _write_state(ax, n, maximum, total, state)
    describe(ax, _sentence(n, tile, causal, counts, moving=done is not None) + note)
    return ax


def _states(needed: np.ndarray, read: int, *, moving: bool) -> np.ndarray:
    state = np.where(needed, WAITING, SKIPPED)
    order = np.flatnonzero(needed.ravel())
    state.flat[order[:read]] = READ
    if moving and read:
        state.flat[order[read - 1]] = NOW
    return state


def _hatch_hidden(ax: Axes, n: int, edges: np.ndarray, needed: np.ndarray, cut: np.ndarray) -> None:
    """Hatch what nobody computes: tiles that are skipped and, where cells can be seen, the upper part of cut tiles."""
    if needed.all() and not cut.any():
        return
    if n <= MOST_CELLS:
        hatch(ax, np.triu(np.ones((n, n), dtype=bool), k=1))
        return
    shapes = []
    for row in range(len(needed)):
        left, top, bottom = edges[int(needed[row].sum())], edges[row], edges[row + 1]
        if left < n - 0.5:
            shapes.append([(left, top), (n - 0.5, top), (n - 0.5, bottom), (left, bottom)])
    shapes += [
        [(edges[j], edges[i]), (edges[j + 1], edges[i]), (edges[j + 1], edges[i + 1])]
        for i, j in zip(*np.nonzero(cut), strict=True)
    ]
    ax.add_collection(cover(shapes), autolim=False)


def _legend(ax: Axes, counts: tuple[int, int, int, int], *, moving: bool) -> None:
    read, needed, cut, skipped = counts
    handles = [Patch(facecolor=COLOURS[READ], label=f"{'read' if moving else 'computed'}: {read:,}")]
    if moving and read:
        handles.insert(0, Patch(facecolor=COLOURS[NOW], label="present tile"))
    if moving:
        handles.append(Patch(facecolor=COLOURS[WAITING], label=f"still to read: {needed - read:,}"))
    if skipped or cut:
        handles.append(Patch(facecolor=MASKED, edgecolor=QUIET, hatch="////", label=f"skipped: {skipped:,}"))
        handles.append(Patch(facecolor="none", label=f"cut by the mask: {cut:,}"))
    ax.legend(handles=handles, fontsize=8, loc="upper right", bbox_to_anchor=(-0.12, 1.0))


def _write_state(ax: Axes, n: int, maximum: Array | None, total: Array | None, state: np.ndarray) -> str:
    """Write the running numbers to the right of the rows; give the part of the sentence that speaks of them."""
    step, sentences = math.ceil(n / MOST_ROWS), []
    for column, (name, given) in enumerate((("max", maximum), ("sum", total))):
        if given is None:
            continue
        numbers = np.asarray(given, dtype=float)
        if numbers.shape != (n,):
            raise ValueError(f"the running {name} has shape {numbers.shape}, expected one number for each of {n} rows")
        x = 1.05 + 0.17 * column
        place = ax.get_yaxis_transform()
        ax.text(x, -0.5 - 0.01 * n, f"running\n{name}", transform=place, ha="left", va="bottom", fontsize=8, color=INK)
        for row in range(0, n, step):
            ax.text(x, row, _brief(numbers[row]), transform=place, ha="left", va="center", fontsize=8, color=INK)
        sentences.append(f"running {name} {number(numbers[0])} in the first row, {number(numbers[-1])} in the last")
    return "; " + "; ".join(sentences)


def _brief(value: Number) -> str:
    if math.isnan(value):
        return "?"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.3g}".replace("-", "−")


def _sentence(n: int, tile: int, causal: bool, counts: tuple[int, int, int, int], *, moving: bool) -> str:
    read, needed, cut, skipped = counts
    start = f"{n} by {n} scores in tiles of {tile}{', causal' if causal else ''}: {needed} of {needed + skipped} tiles "
    start += f"are computed, {cut} of them cut by the mask, {skipped} skipped"
    return start + (f"; {read} are read so far" if moving else "")
