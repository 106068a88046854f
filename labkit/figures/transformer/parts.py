"""The parts of a block: norms, activation functions, and how pre- and post-norm wire the residual stream."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from labkit.figures.attention.labels import Array, Number, legend, number, plural
from labkit.figures.style import ACCENT, DATA, INK, OURS, QUIET, axes, describe, new, series

BINS = 40
STEP = 3.7  # from one sublayer of the diagram to the next
NORM = "#efe3f6"  # behind the word "norm"


def draw_norms(before: Array, after: Mapping[str, Array]) -> Figure:
    """Histograms of the numbers before and after each way to normalise, with their mean and deviation."""
    figure, grid = new(2.7 * (1 + len(after)) + 0.4, 3, ncols=1 + len(after))
    sentences = []
    for ax, (name, given) in zip(np.ravel(grid), {"before": before, **after}.items(), strict=True):
        values = np.asarray(given, dtype=float).ravel()
        seen = values[np.isfinite(values)]
        mean, deviation = (float(seen.mean()), float(seen.std())) if len(seen) else (np.nan, np.nan)
        low, high = (seen.min(), seen.max()) if len(seen) else (0.0, 1.0)
        # A constant leaves no width to divide into bins.
        edges = np.linspace(low, high, BINS + 1) if high - low > 1e-9 * max(1.0, abs(high)) else (low - 0.5, low + 0.5)
        ax.hist(seen, bins=edges, color=DATA if ax is np.ravel(grid)[0] else OURS)
        ax.axvline(mean, color=ACCENT, linestyle="--", linewidth=1.5)
        mean = _settled(mean)
        ax.set_title(f"{name}\nmean {mean:.2f}, deviation {deviation:.2f}", fontsize=9)
        ax.set_xlabel("value")
        lost = f", {plural(len(values) - len(seen), 'value')} not finite" if len(seen) < len(values) else ""
        sentences.append(f"{name}: mean {number(mean)}, deviation {number(deviation)}{lost}")
    np.ravel(grid)[0].set_ylabel("count")
    describe(figure, f"histograms of {plural(np.asarray(before).size, 'number')}. " + "; ".join(sentences))
    return figure


def _settled(mean: Number) -> Number:
    """A mean that is zero but for rounding, which differs from machine to machine, is zero."""
    return 0.0 if abs(mean) < 1e-5 else mean


def draw_activations(
    x: Array, curves: Mapping[str, Array], ylabel: str = "what goes out", title: str = "", ax: Axes | None = None
) -> Axes:
    """Activation functions, or their slopes, over the same numbers."""
    ax = axes(ax, height=3.4)
    places = np.asarray(x, dtype=float)
    sentences = []
    for i, (name, given) in enumerate(curves.items()):
        y = np.asarray(given, dtype=float)
        ax.plot(places, y, label=name, **series(i) | {"marker": ""})
        seen = y[np.isfinite(y)]
        sentences.append(
            f"{name}: from {number(y[0])} to {number(y[-1])}, lowest {number(seen.min() if len(seen) else np.nan)}"
        )
    ax.axhline(0, color=QUIET, linestyle="-", linewidth=0.8, zorder=0)
    ax.axvline(0, color=QUIET, linestyle="-", linewidth=0.8, zorder=0)
    ax.set(xlabel="what comes in", ylabel=ylabel, title=title or "Smooth relatives of a bent line")
    legend(ax)
    start = f"{title or 'activations'} for inputs {number(places[0])} to {number(places[-1])}. "
    describe(ax, start + "; ".join(sentences))
    return ax


def draw_block(norm_first: bool = True, cross: bool = False, ax: Axes | None = None) -> Axes:
    """A block as a diagram: the residual stream runs below, each sublayer reads from it and adds to it.

    Pre-norm puts the norms on the branches, so the stream itself is only added to; post-norm puts them on the stream.
    """
    parts = ["attention", "cross-\nattention", "feed-\nforward"] if cross else ["attention", "feed-\nforward"]
    ax = axes(ax, width=2.6 * len(parts) + 2.2, height=3.1)
    end = STEP * len(parts) + 0.5
    ax.annotate("", (end, 0), (-0.6, 0), arrowprops=_arrow(OURS, 3), zorder=1)
    ax.text(-0.7, 0, "x", ha="right", va="center", fontsize=12)
    ax.text(end + 0.1, 0, "to the\nnext block", ha="left", va="center", fontsize=9)
    ax.text(-0.6, -0.75, "residual stream", ha="left", va="center", fontsize=9, color=OURS)
    for i, part in enumerate(parts):
        middle = _sublayer(ax, STEP * i, part, norm_first)
        if part.startswith("cross"):
            ax.annotate("", (middle, 2.25), (middle, 2.95), arrowprops=_arrow(DATA, 1.5))
            ax.text(middle, 3.0, "memory: what the encoder read", ha="center", va="bottom", fontsize=8)
    formula = "x + sublayer(norm(x))" if norm_first else "norm(x + sublayer(x))"
    ax.set(xlim=(-1.1, end + 1.6), ylim=(-1.1, 3.4 if cross else 2.6))
    ax.set_title(f"{'Pre' if norm_first else 'Post'}-norm: {formula}")
    ax.axis("off")
    on_stream = 0 if norm_first else len(parts)
    describe(
        ax,
        f"a {'pre' if norm_first else 'post'}-norm block computes {formula} for each of its {len(parts)} sublayers "
        f"({', '.join(part.replace(chr(10), '') for part in parts)}): {on_stream} of {len(parts)} norms stand on the "
        "residual stream itself" + (", the others on the branches" if norm_first else ""),
    )
    return ax


def _arrow(colour: str, width: Number) -> dict:
    return {"arrowstyle": "-|>", "color": colour, "linewidth": width, "shrinkA": 0, "shrinkB": 0}


def _sublayer(ax: Axes, x: Number, part: str, norm_first: bool) -> Number:
    """Draw a branch: up at x, through its boxes, down into a plus on the stream; give the place of its last box."""
    line = {"color": INK, "linestyle": "-", "linewidth": 1.5, "zorder": 1}
    middle, back = (x + 2.05, x + 3.05) if norm_first else (x + 1.1, x + 2.1)
    ax.plot([x, x, back], [0, 1.8, 1.8], **line)
    ax.annotate("", (back, 0.22), (back, 1.8), arrowprops=_arrow(INK, 1.5), zorder=1)
    if norm_first:
        _box(ax, x + 0.75, 1.8, "norm", ACCENT, NORM, width=0.8)
    else:
        _box(ax, x + 2.95, 0, "norm", ACCENT, NORM, width=0.8)
    _box(ax, middle, 1.8, part, INK, "white")
    ax.plot(x, 0, marker="o", color=OURS, markersize=6)
    circle = {"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": OURS, "linewidth": 2}
    ax.text(back, 0, "+", ha="center", va="center", fontsize=14, zorder=3, bbox=circle)
    return middle


def _box(ax: Axes, x: Number, y: Number, text: str, edge: str, face: str, width: Number = 1.25) -> None:
    height = 0.9
    box = FancyBboxPatch(
        (x - width / 2, y - height / 2),
        width,
        height,
        boxstyle="round,pad=0.02,rounding_size=0.12",
        facecolor=face,
        edgecolor=edge,
        linewidth=1.5,
        zorder=2,
    )
    ax.add_patch(box)
    ax.text(x, y, text, ha="center", va="center", fontsize=9, zorder=3)
