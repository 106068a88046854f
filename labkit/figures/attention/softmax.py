"""Softmax under temperature, and what the size of the scores does to its gradient."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labkit.figures.attention.labels import Array, Words, largest, legend, log_axis, number, positive, quoted, readable
from labkit.figures.style import OURS, WRONG, axes, describe, new, series

_HATCHES = ("", "//", "..", "\\\\", "xx", "++")


def draw_softmax(temperatures: Mapping[str, Array], labels: Words, title: str = "", ax: Axes | None = None) -> Axes:
    """The same scores after softmax, once under each name: how sharp or flat the choice is.

    Raises:
        ValueError: if a distribution does not have one number for each label.
    """
    ax = axes(ax, height=3.2)
    place, width = np.arange(len(labels)), 0.85 / max(1, len(temperatures))
    sentences = []
    for i, (name, given) in enumerate(temperatures.items()):
        shares = np.asarray(given, dtype=float)
        if shares.shape != (len(labels),):
            raise ValueError(f"{name!r} has shape {shares.shape}, but there are {len(labels)} labels; give one each")
        shift = (i - (len(temperatures) - 1) / 2) * width
        look = {"color": series(i)["color"], "hatch": _HATCHES[i % len(_HATCHES)], "edgecolor": "white"}
        ax.bar(place + shift, np.nan_to_num(shares), width=width, label=name, linewidth=0.3, **look)
        top = largest(shares)
        sentences.append(f"{name}: {_chosen(shares, labels, top)}")
    tilt = {"rotation": 45, "ha": "right"} if len(labels) > 8 else {}
    ax.set_xticks(place, [readable(word) for word in labels], **tilt)
    ax.set(ylim=(0, 1.02), ylabel="probability", title=title or "The same scores, colder and warmer")
    legend(ax, ncols=min(3, max(1, len(temperatures))))
    describe(ax, f"softmax over {len(labels)} choices. " + "; ".join(sentences))
    return ax


def _chosen(shares: np.ndarray, labels: Words, top: int) -> str:
    if top < 0:
        return "no number"
    return f"largest {number(shares[top])} for {quoted(labels[top])}, smallest {number(np.nanmin(shares))}"


def draw_score_growth(
    dims: Array, variance_plain: Array, variance_scaled: Array, gradient_plain: Array, gradient_scaled: Array
) -> Figure:
    """Why scores are divided by √d: without it their variance grows with d, and softmax lets no gradient through."""
    figure, (left, right) = new(8, 3.4, ncols=2)
    dims = np.asarray(dims)
    panels = (
        (left, variance_plain, variance_scaled, "variance of a score", "Scores grow with the dimension …"),
        (right, gradient_plain, gradient_scaled, "gradient behind softmax", "… and then softmax lets nothing through"),
    )
    for ax, plain, scaled, ylabel, title in panels:
        log_axis(ax, "x", dims)
        log_axis(ax, "y", plain, scaled)
        ax.plot(dims, positive(plain), color=WRONG, linestyle="--", marker="s", label="q·k")
        ax.plot(dims, positive(scaled), color=OURS, linestyle="-", marker="o", label="q·k / √d")
        ax.set(xlabel="dimension d", ylabel=ylabel)
        ax.set_title(title, fontsize=10)
        ax.legend(fontsize=8)
        plain, scaled = np.asarray(plain, dtype=float), np.asarray(scaled, dtype=float)
        describe(
            ax,
            f"{ylabel} from d = {dims[0]} to {dims[-1]}: without scaling {number(plain[0])} to {number(plain[-1])}, "
            f"divided by √d {number(scaled[0])} to {number(scaled[-1])}",
        )
    return figure
