"""Reading a trained model: the logit lens, attributions, similarities, and agreement with another program."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from labkit.figures.attention.labels import (
    Array,
    Number,
    Words,
    largest,
    number,
    plural,
    quoted,
    readable,
    title_of,
)
from labkit.figures.attention.matrices import MOST_VALUES, SHARES, TWO_SIDED
from labkit.figures.style import INK, OURS, QUIET, REFERENCE, axes, describe

MOST_POINTS = 5_000
MOST_COLUMNS = 30  # positions beside each other with room for a word


def draw_lens(
    words: Sequence | np.ndarray,
    probabilities: Array,
    tokens: Words | None = None,
    layers: Sequence[str] | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """The logit lens: the word that each layer would say next at each position, and how sure it is.

    `words` are layers × positions, the embedding first (drawn at the bottom); `tokens` are what the model has read.

    Raises:
        ValueError: if words and probabilities have different shapes.
    """
    shares = np.asarray(probabilities, dtype=float)
    depth, width = shares.shape if shares.ndim == 2 else (0, 0)
    if not depth or len(words) != depth or any(len(row) != width for row in words):
        raise ValueError(f"probabilities have shape {shares.shape}; give as many words, layers × positions")
    ax = axes(ax, width=min(12, max(5, 2.4 + 0.85 * width)), height=min(10, max(2.4, 1.4 + 0.28 * depth)))
    image = ax.imshow(shares, cmap=SHARES, vmin=0, vmax=1, aspect="auto", origin="lower")
    if width <= MOST_COLUMNS:
        size = 8 if width <= 12 else 6.5 if width <= 16 else 5
        for i, j in np.ndindex(depth, width):
            colour = "white" if shares[i, j] > 0.6 else INK
            ax.text(j, i, readable(words[i][j], 10), ha="center", va="center", fontsize=size, color=colour)
    read = [f"position {j + 1}" for j in range(width)] if tokens is None else list(tokens)
    tilt = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    ax.set_xticks(range(width), [readable(token) for token in read], fontsize=8 if width <= 16 else 6, **tilt)
    names = list(layers) if layers is not None else ["embedding", *(f"layer {i}" for i in range(1, depth))]
    ax.set_yticks(range(depth), names, fontsize=8)
    ax.set(xlabel="token read", title=title_of(title or "What each layer would say next"))
    ax.grid(visible=False)
    bar = ax.get_figure().colorbar(image, ax=ax, label="probability", pad=0.02)
    bar.outline.set_visible(False)
    describe(ax, _lens(words, shares, read, names))
    return ax


def _lens(words: Sequence | np.ndarray, shares: np.ndarray, read: Sequence, names: Sequence[str]) -> str:
    """The story of the last position: what the first, the middle and the last layer say."""
    depth, width = shares.shape
    stages = dict.fromkeys((0, depth // 2, depth - 1))
    story = ", ".join(f"{quoted(words[i][-1])} with {number(shares[i, -1])} at {names[i]}" for i in stages)
    size = f"{plural(depth, 'row')} of layers, {plural(width, 'position')}"
    return f"logit lens, {size}; behind {quoted(read[-1])}: {story}"


def draw_attribution(tokens: Words, values: Array, title: str = "", ax: Axes | None = None) -> Axes:
    """One bar for each token: how much it pushes the result up, or down.

    Raises:
        ValueError: if there is not one value for each token.
    """
    pushes = np.asarray(values, dtype=float)
    if pushes.shape != (len(tokens),):
        raise ValueError(f"values have shape {pushes.shape}, but there are {len(tokens)} tokens; give one for each")
    ax = axes(ax, height=3.2)
    up = np.nan_to_num(pushes) >= 0
    shown = np.nan_to_num(pushes)
    ax.bar(np.flatnonzero(up), shown[up], color=OURS)
    ax.bar(np.flatnonzero(~up), shown[~up], color=QUIET, hatch="//", edgecolor="white")
    ax.axhline(0, color=INK, linestyle="-", linewidth=0.8)
    many = len(tokens) > 16
    tilt = {"rotation": 90 if many else 45, "ha": "center" if many else "right"}
    tilt |= {} if many else {"rotation_mode": "anchor"}
    ax.set_xticks(range(len(tokens)), [readable(token) for token in tokens], fontsize=7 if many else 9, **tilt)
    ax.set(ylabel="attribution", title=title_of(title or "Which tokens the result comes from"))
    handles = [
        Patch(color=OURS, label="pushes up"),
        Patch(facecolor=QUIET, hatch="//", edgecolor="white", label="pushes down"),
    ]
    ax.legend(handles=handles, fontsize=8, ncols=2)
    top, bottom = largest(pushes), largest(-pushes)
    sentence = f"attribution to {plural(len(tokens), 'token')}"
    if top >= 0 and pushes[top] > 0:
        sentence += f"; {quoted(tokens[top])} pushes up most, {number(pushes[top])}"
    if bottom >= 0 and pushes[bottom] < 0:
        sentence += f"; {quoted(tokens[bottom])} pushes down most, {number(pushes[bottom])}"
    describe(ax, f"{sentence}; the sum is {number(np.nansum(pushes))}")
    return ax


def draw_similarity(matrix: Array, labels: Words, title: str = "", ax: Axes | None = None) -> Axes:
    """How alike some texts are: a matrix of cosines, with the texts beside the rows and their numbers below.

    Raises:
        ValueError: if the matrix is not square with one row for each label.
    """
    table = np.asarray(matrix, dtype=float)
    if table.shape != (len(labels), len(labels)):
        raise ValueError(f"the matrix has shape {table.shape}, but there are {len(labels)} labels; give a row for each")
    ax = axes(ax, width=7, height=min(8, 2.2 + 0.32 * len(labels)))
    seen = table[np.isfinite(table)]
    negative = bool(seen.size) and seen.min() < -0.2
    low, cmap = (-1, TWO_SIDED) if negative else (0, SHARES)
    image = ax.imshow(table, cmap=cmap, vmin=low, vmax=1, aspect="auto")
    if len(labels) <= MOST_VALUES:
        for (i, j), value in np.ndenumerate(table):
            dark = abs(value) > 0.6
            ax.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=8, color="white" if dark else INK)
    step = max(1, len(labels) // 25)
    rows = range(0, len(labels), step)
    size = 8 if len(labels) <= 16 else 6
    ax.set_yticks(list(rows), [f"{readable(labels[i], 34)}  {i + 1}" for i in rows], fontsize=size)
    ax.set_xticks(list(rows), [str(i + 1) for i in rows], fontsize=size)
    ax.set_title(title_of(title or "How alike"))
    ax.grid(visible=False)
    ax.get_figure().colorbar(image, ax=ax, label="cosine", pad=0.02).outline.set_visible(False)
    describe(ax, _alike(table, labels))
    return ax


def _alike(table: np.ndarray, labels: Words) -> str:
    start = f"cosines of {plural(len(labels), 'text')}"
    pairs = np.where(np.triu(np.ones(table.shape, dtype=bool), k=1), table, np.nan)
    most, least = largest(pairs), largest(-pairs)
    if most < 0:
        return start
    (i, j), (k, m) = divmod(most, len(labels)), divmod(least, len(labels))
    return (
        f"{start}: most alike are {quoted(labels[i])} and {quoted(labels[j])}, {number(table[i, j])}; "
        f"least {quoted(labels[k])} and {quoted(labels[m])}, {number(table[k, m])}"
    )


def draw_agreement(
    ours: Array,
    theirs: Array,
    name: str,
    quantity: str = "logit",
    tolerance: Number = 1e-3,
    ax: Axes | None = None,
) -> Axes:
    """Our numbers against those of another program: points on the diagonal agree; at most 5,000 are drawn.

    Raises:
        ValueError: if the two have different shapes.
    """
    left, right = (np.asarray(given, dtype=float) for given in (ours, theirs))
    if left.shape != right.shape:
        raise ValueError(f"ours have shape {left.shape}, those of {name} {right.shape}; compare like with like")
    ax = axes(ax, width=5, height=3.6)
    left, right = left.ravel(), right.ravel()
    shown = np.unique(np.linspace(0, len(left) - 1, min(MOST_POINTS, len(left))).round().astype(int))
    ends = [float(min(left.min(), right.min())), float(max(left.max(), right.max()))]
    ax.plot(ends, ends, color=QUIET, linestyle="-", linewidth=1, label="equal")
    ax.plot(left[shown], right[shown], linestyle="", marker="o", markersize=3, color=REFERENCE, label=f"one {quantity}")
    ax.set(xlabel=f"labkit ({quantity})", ylabel=f"{name} ({quantity})", title="Two programs, one model")
    ax.legend(fontsize=8)
    gap = float(np.abs(left - right).max())
    verdict = f"all agree to within {tolerance:g}" if gap <= tolerance else f"they differ by up to {number(gap)}"
    describe(ax, f"{len(left):,} numbers ({quantity}) of labkit and {name}: {verdict}")
    return ax
