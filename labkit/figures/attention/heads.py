"""The attention matrices of many heads beside each other, layer below layer."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labkit.figures.attention.labels import Array, Words, largest, number, plural, title_of
from labkit.figures.attention.matrices import check_matrix, paint, scale_end, strongest
from labkit.figures.style import describe, new

SMALL = 1.5  # inches below which a map has no room for tokens
MOST_HEADS = 12  # heads that the alt text goes through one by one


def draw_heads(
    weights: Array,
    tokens: Words,
    titles: Sequence[str] | None = None,
    allowed: Array | None = None,
    title: str = "",
) -> Figure:
    """The attention matrix of every head: layers are rows of the figure, heads are columns.

    `weights` is (heads, n, n), or one such array for each layer; `titles` has one name for each head, in reading order.
    Layers of a single head stand beside each other.

    Raises:
        ValueError: if the tokens or titles do not fit.
    """
    layers = [np.asarray(one, dtype=float) for one in weights]
    layers = [np.stack(layers)] if layers[0].ndim == 2 else layers
    names = list(titles) if titles else _names(layers)
    if len(layers) > 1 and all(len(layer) == 1 for layer in layers):  # beside each other rather than in a tower
        titles, layers = names, [np.concatenate(layers)]
    if len(names) != sum(map(len, layers)):
        raise ValueError(f"{len(names)} titles for {sum(map(len, layers))} heads; give one title for each head")
    columns = max(len(layer) for layer in layers)
    size = 4.5 if columns == 1 else max(0.95, min(2.6, 10 / columns))
    figure, grid = new(0.9 + size * columns, 0.7 + size * len(layers), ncols=columns, nrows=len(layers))
    places = np.asarray(grid, dtype=object).reshape(len(layers), columns)
    top, sentences, image = max(map(scale_end, layers)), [], None
    for (row, column), ax in np.ndenumerate(places):
        if column >= len(layers[row]):
            ax.axis("off")
            continue
        matrix, hidden, rows = check_matrix(layers[row][column], tokens, None, allowed)
        image = paint(ax, matrix, hidden, tokens, rows, top=top, values=size >= 3.5, labelled=size >= SMALL)
        _outer_labels(ax, last=row == len(layers) - 1, first=column == 0)
        name = names[len(sentences)]
        _entitle(ax, row, column, name if titles else "", layered=len(layers) > 1)
        sentences.append(f"{name}: {strongest(matrix, tokens, rows)}")
    bar = figure.colorbar(image, ax=places.ravel().tolist(), shrink=0.7, aspect=30, label="weight")
    bar.outline.set_visible(False)
    if title:
        figure.suptitle(title_of(title), x=0.01, ha="left", fontsize=11)
    if len(sentences) > MOST_HEADS:
        sentences = [f"{len(sentences)} maps in {plural(len(layers), 'layer')}: {_span(layers, names, allowed)}"]
    describe(figure, f"{title or 'attention'}, {plural(len(tokens), 'token')}. " + "; ".join(sentences))
    return figure


def _names(layers: Sequence[np.ndarray]) -> list[str]:
    if len(layers) > 1 and all(len(layer) == 1 for layer in layers):
        return [f"layer {i + 1}" for i in range(len(layers))]
    prefix = [f"layer {i + 1} " if len(layers) > 1 else "" for i in range(len(layers))]
    return [f"{prefix[i]}head {j + 1}" for i, layer in enumerate(layers) for j in range(len(layer))]


def _entitle(ax: Axes, row: int, column: int, name: str, *, layered: bool) -> None:
    """Write the name above a map; without names the layer stands before its row, the head above its column."""
    if name or row == 0:
        ax.set_title(title_of(name or f"head {column + 1}"), fontsize=9, pad=4)
    if not name and column == 0 and layered:
        ax.set_ylabel(f"layer {row + 1}")


def _outer_labels(ax: Axes, *, last: bool, first: bool) -> None:
    """Between the maps of a grid only the outer ones carry the tokens."""
    if not last:
        ax.set_xticks([])
    if not first:
        ax.set_yticks([])


def _span(layers: Sequence[np.ndarray], names: Sequence[str], allowed: Array | None) -> str:
    """Say how sharp the sharpest and the vaguest of many heads look: the mean of the largest weight of each query."""
    heads = [head for layer in layers for head in layer]
    shown = [head if allowed is None else np.where(allowed, head, np.nan) for head in heads]
    sharp = np.array([np.nan_to_num(head, nan=0.0).max(axis=1).mean() for head in shown])
    most, least = largest(sharp), largest(-sharp)
    return (
        f"the strongest weight of a query is on average {number(sharp[most])} in {names[most]}, which looks sharpest, "
        f"and {number(sharp[least])} in {names[least]}, which looks vaguest"
    )
