"""Attention matrices: who looks at whom, head by head, and who may."""

import math
from collections.abc import Mapping

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import ListedColormap, Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from labkit.figures.attention.labels import (
    NOISE,
    TIE,
    Array,
    Number,
    Words,
    label_ticks,
    largest,
    number,
    plural,
    quoted,
    title_of,
)
from labkit.figures.style import INK, OURS, QUIET, WRONG, axes, describe, new

MASKED = "#eceff1"
MOST_VALUES = 10  # tokens beside each other with room for the number in each cell
MOST_NAMED = 6  # rows that the alt text goes through one by one
FEW = 16  # tokens with cells large enough for lines between them; above, small weights get stronger colours
# Few steps: a picture is stored in a palette of 96 colours, text and hatching included.
SHARES, TWO_SIDED = (matplotlib.colormaps[name].resampled(steps) for name, steps in (("Blues", 20), ("PuOr_r", 21)))


def draw_weights(
    weights: Array,
    tokens: Words,
    title: str = "",
    queries: Words | None = None,
    allowed: Array | None = None,
    scores: bool | None = None,
    varies: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """An attention matrix: each row is a query and what it looks at, each column a key.

    `tokens` name the keys, and the queries too unless `queries` does. Cells that are not `allowed` (True = may attend),
    or hold no finite number, are hatched. Scores are drawn in two colours around zero; unless `scores` says what the
    numbers are, they are scores if one lies outside [0, 1]. With `varies` what the words say of weights stands between
    ‹ and ›: a model trained on another machine would have others.

    Raises:
        ValueError: if the tokens do not fit the matrix, or there are none.
    """
    matrix, hidden, rows = check_matrix(weights, tokens, queries, allowed)
    ax = axes(ax, width=6, height=4.8 if len(rows) <= FEW else 6)
    shares = is_share(matrix) if scores is None else not scores
    image = paint(ax, matrix, hidden, tokens, rows, shares=shares)
    ax.set(xlabel="looks at (key)", ylabel="looks from (query)", title=title_of(title))
    bar = ax.get_figure().colorbar(image, ax=ax, shrink=0.8, label="weight" if shares else "score")
    bar.outline.set_visible(False)
    describe(ax, sentence(matrix, hidden, tokens, rows, title=title, shares=shares, varies=varies))
    return ax


def draw_masks(masks: Mapping[str, Array]) -> Figure:
    """Masks beside each other: blue where a query (row) may look at a key (column), hatched where it may not."""
    columns = min(4, len(masks))
    lines = math.ceil(len(masks) / columns)
    figure, grid = new(max(3.2, 2.9 * columns), 3.1 * lines, ncols=columns, nrows=lines)
    places = np.asarray(grid, dtype=object).ravel()
    for ax in places[len(masks) :]:
        ax.axis("off")
    sentences = []
    for ax, (name, mask) in zip(places, masks.items(), strict=False):
        table = np.atleast_2d(np.asarray(mask, dtype=bool))
        ax.imshow(table, cmap=ListedColormap([MASKED, OURS]), vmin=0, vmax=1, aspect=_aspect(table))
        hatch(ax, ~table)
        blind = np.flatnonzero(~table.any(axis=1))
        for row in blind:
            ax.axhline(row, color=WRONG, linestyle="--", linewidth=2)
        ax.grid(visible=False)
        ax.spines[:].set_visible(False)
        _count_ticks(ax, table)
        _cell_lines(ax, table)
        note = f"\n{len(blind)} blind" if len(blind) else ""
        ax.set_title(f"{title_of(name)}{note}", fontsize=10, color=WRONG if len(blind) else INK)
        ax.set(xlabel="key", ylabel="query")
        warning = f", {plural(len(blind), 'query', 'queries')} may look nowhere" if len(blind) else ""
        sentences.append(f"{name}: {table.sum()} of {table.size} cells may attend{warning}")
    describe(figure, f"{plural(len(masks), 'mask')}. " + "; ".join(sentences))
    return figure


def paint(
    ax: Axes,
    matrix: np.ndarray,
    hidden: np.ndarray,
    columns: Words,
    rows: Words,
    top: Number | None = None,
    values: bool = True,
    shares: bool = True,
    labelled: bool = True,
) -> AxesImage:
    """Draw the cells, the hatching, the labels and, in a small matrix, the numbers; give the image for a colour bar."""
    span = top or scale_end(matrix, shares=shares)
    low, cmap = (0.0, SHARES) if shares else (-span, TWO_SIDED)
    norm = PowerNorm(0.5, low, span) if shares and max(matrix.shape) > FEW else Normalize(low, span)
    image = ax.imshow(np.where(hidden, np.nan, matrix), cmap=cmap, norm=norm, aspect=_aspect(matrix))
    hatch(ax, hidden)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    if not labelled:
        ax.set(xticks=[], yticks=[])
        return image
    _cell_lines(ax, matrix)
    label_ticks(ax, columns, rows)
    if values and max(matrix.shape) <= MOST_VALUES:
        for i, j in zip(*np.nonzero(~hidden), strict=True):
            dark = abs(matrix[i, j]) > 0.6 * span
            ax.text(j, i, _short(matrix[i, j]), ha="center", va="center", fontsize=8, color="white" if dark else INK)
    return image


def hatch(ax: Axes, hidden: np.ndarray) -> None:
    """Cover cells that take no part with grey hatching: one stripe for each run of cells in a row."""
    stripes = []
    for row, cells in enumerate(hidden):
        edges = np.flatnonzero(np.diff(np.concatenate(([0], cells.astype(int), [0])))).reshape(-1, 2) - 0.5
        stripes += [[(a, row - 0.5), (b, row - 0.5), (b, row + 0.5), (a, row + 0.5)] for a, b in edges]
    if stripes:
        ax.add_collection(cover(stripes), autolim=False)


def cover(shapes: list) -> PolyCollection:
    """Give grey hatching in the form of some polygons, for what takes no part."""
    return PolyCollection(shapes, facecolor=MASKED, edgecolor=QUIET, hatch="////", linewidth=0)


def sentence(
    matrix: np.ndarray,
    hidden: np.ndarray,
    keys: Words,
    queries: Words,
    *,
    title: str,
    shares: bool,
    varies: bool = False,
) -> str:
    """Say in words what an attention matrix shows: for few queries where each looks, for many the strongest link."""
    start = f"{title or 'attention'}: {plural(len(queries), 'query', 'queries')}, {plural(len(keys), 'key')}"
    masked = f"; {hidden.sum()} of {hidden.size} cells masked" if hidden.any() else ""
    seen = matrix[~hidden]
    if not shares and seen.size:
        return f"{start}; scores from {number(seen.min())} to {number(seen.max())}{masked}"
    if len(queries) > MOST_NAMED:
        said = strongest(matrix, keys, queries)
    else:
        said = "; ".join(_row(row, keys, query) for row, query in zip(matrix, queries, strict=True))
    return f"{start}; {f'‹{said}›' if varies else said}{masked}"


def _row(row: np.ndarray, keys: Words, query: object) -> str:
    place = largest(row)
    if place < 0:
        return f"{quoted(query)} looks nowhere"
    seen = row[np.isfinite(row) & (row > NOISE)]
    if len(seen) > 1 and seen.max() - seen.min() <= TIE * seen.max():
        return f"{quoted(query)} looks at {len(seen)} tokens alike, {number(seen.max())} each"
    return f"{quoted(query)} looks most at {quoted(keys[place])}, {number(row[place])}"


def strongest(matrix: np.ndarray, keys: Words, queries: Words) -> str:
    """Name the largest weight of the queries that have a choice."""
    free = np.isfinite(matrix).sum(axis=1) > 1  # a query with one key has no choice
    place = largest(np.where(free[:, None] | ~free.any(), matrix, np.nan))
    if place < 0:
        return "no query looks anywhere"
    i, j = divmod(place, matrix.shape[1])
    return f"the largest is {number(matrix[i, j])}, from {quoted(queries[i])} to {quoted(keys[j])}"


def check_matrix(
    weights: Array, tokens: Words, queries: Words | None, allowed: Array | None
) -> tuple[np.ndarray, np.ndarray, Words]:
    """Give the matrix with NaN where hidden, the hidden cells, and the tokens of its rows.

    Raises:
        ValueError: if the tokens do not fit the matrix, or there are none.
    """
    matrix = np.asarray(weights, dtype=float)
    rows = tokens if queries is None else queries
    if matrix.shape != (len(rows), len(tokens)):
        raise ValueError(
            f"the matrix has shape {matrix.shape}, but there are {len(rows)} queries and {len(tokens)} tokens; "
            "give one token for each column, and `queries` where the rows are other tokens"
        )
    if not matrix.size:
        raise ValueError("there are no tokens; give at least one")
    hidden = ~np.isfinite(matrix)
    if allowed is not None:
        hidden = hidden | ~np.broadcast_to(np.asarray(allowed, dtype=bool), matrix.shape)
    return np.where(hidden, np.nan, matrix), hidden, rows


def is_share(matrix: np.ndarray) -> bool:
    """Tell whether all numbers lie between 0 and 1, to rounding."""
    seen = matrix[np.isfinite(matrix)]
    return not seen.size or bool(seen.min() >= -1e-6 and seen.max() <= 1 + 1e-6)


def scale_end(matrix: np.ndarray, *, shares: bool = True) -> float:
    """Give the end of the colour scale: in steps, so that a slider does not change it all the time."""
    seen = np.abs(matrix[np.isfinite(matrix)])
    most = float(seen.max()) if seen.size else 1.0
    if not shares:
        return most or 1.0
    return next((step for step in (0.02, 0.05, 0.1, 0.2, 0.3, 0.5) if most <= step + 1e-6), 1.0)


def _aspect(matrix: np.ndarray) -> str:
    return "equal" if max(matrix.shape) <= 1.5 * min(matrix.shape) else "auto"


def _short(value: Number) -> str:
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.3g}"


def _cell_lines(ax: Axes, matrix: np.ndarray) -> None:
    if max(matrix.shape) <= FEW:
        ax.set_xticks(np.arange(matrix.shape[1] - 1) + 0.5, minor=True)
        ax.set_yticks(np.arange(matrix.shape[0] - 1) + 0.5, minor=True)
        ax.grid(visible=True, which="minor", color="white", linewidth=1)
        ax.tick_params(which="minor", length=0)
        ax.set_axisbelow(False)


def _count_ticks(ax: Axes, table: np.ndarray) -> None:
    for axis, count in ((ax.xaxis, table.shape[1]), (ax.yaxis, table.shape[0])):
        step = max(1, math.ceil(count / 8))
        axis.set_ticks(range(0, count, step), [str(place + 1) for place in range(0, count, step)], fontsize=8)
