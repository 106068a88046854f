"""Small training runs: losses, what bugs do to them, and the sizes of streams and gradients layer by layer."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from labkit.figures.attention.labels import Array, Number, legend, log_axis, number, positive
from labkit.figures.attention.learned import draw_learning, plot_losses
from labkit.figures.style import ACCENT, OURS, WRONG, axes, describe, series

BUGS = (4, 1, 2, 5, 6, 7)  # the looks of broken runs: neither our colour nor that of the floor


def draw_stream(
    norms: Mapping[str, Array],
    ylabel: str = "size of the residual stream",
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """The size of the residual stream after each layer, one curve for each way to build it; 0 is the embedding."""
    return _by_layer(axes(ax, height=3.4), norms, 0, ylabel, title or "What each block leaves on the stream")


def draw_gradients(norms: Mapping[str, Array], title: str = "", ax: Axes | None = None) -> Axes:
    """The size of the gradient that reaches each layer; layer 1 is the lowest, farthest from the loss."""
    title = title or "What arrives at the lower layers"
    return _by_layer(axes(ax, height=3.4), norms, 1, "size of the gradient", title)


def _by_layer(ax: Axes, norms: Mapping[str, Array], first: int, ylabel: str, title: str) -> Axes:
    sentences = []
    log_axis(ax, "y", *norms.values())
    for i, (name, given) in enumerate(norms.items()):
        sizes = np.atleast_1d(np.asarray(given, dtype=float))
        layers = np.arange(first, first + len(sizes))
        shown = positive(sizes) if ax.get_yscale() == "log" else sizes
        ax.plot(layers, shown, label=name, **series(i) | ({"marker": ""} if len(sizes) > 40 else {}))
        sentences.append(f"{name}: {number(sizes[0])} at layer {layers[0]}, {number(sizes[-1])} at layer {layers[-1]}")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="layer", ylabel=ylabel, title=title)
    legend(ax)
    describe(ax, f"{ylabel} by layer. " + "; ".join(sentences))
    return ax


def draw_losses(
    losses: Mapping[str, Array],
    floor: Number | None = None,
    ylabel: str = "loss (nats per token)",
    varies: bool = True,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Training losses against the step; `floor` is what the text allows at best, such as its entropy."""
    return draw_learning(losses, floor, ylabel, varies, title or "Lower is better", ax)


def _floor(ax: Axes, floor: Number | None, name: str) -> list[str]:
    if floor is None:
        return []
    ax.axhline(floor, color=ACCENT, linestyle="--", linewidth=1.5, label=f"{name} {floor:.3g}")
    return [f"the {name} is {number(floor)}"]


def draw_symptoms(
    losses: Mapping[str, Array],
    sound: str = "",
    floor: Number | None = None,
    varies: bool = True,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """The loss under each bug beside that of the sound program, whose name is `sound`.

    Below the `floor`, which no honest model beats, the picture is shaded: a loss down there is too good to be true.

    Raises:
        ValueError: if no curve has the name `sound`.
    """
    if sound and sound not in losses:
        raise ValueError(f"no curve is called {sound!r}; there are {', '.join(losses)}")
    ax = axes(ax, height=3.8)
    bugs = [name for name in losses if name != sound]
    looks = {name: series(BUGS[i % len(BUGS)]) | {"marker": "", "linewidth": 1.6} for i, name in enumerate(bugs)}
    looks |= {sound: {"color": OURS, "linestyle": "-", "linewidth": 3}} if sound else {}
    sentences = plot_losses(ax, losses, varies=varies, looks=looks)
    sentences += _floor(ax, floor, "honest floor")
    if floor is not None:
        low, high = ax.get_ylim()
        low = min(low, floor - 0.08 * (high - low))
        ax.axhspan(low, floor, color=WRONG, alpha=0.08, linewidth=0)
        place = {"xycoords": ax.get_yaxis_transform(), "textcoords": "offset points", "ha": "right", "va": "top"}
        ax.annotate("too good to be true", (0.99, floor), (0, -4), fontsize=8, **place)
        ax.set_ylim(low, high)
    ax.set(xlabel="step", ylabel="loss (nats per token)", title=title or "A bug has a symptom")
    legend(ax)
    describe(ax, f"loss with each bug{f', sound: {sound}' if sound else ''}. " + "; ".join(sentences))
    return ax
