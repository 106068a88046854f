"""Two weights rounded with their inputs in view, errors seed by seed, and levels over the weights they stand for."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from labkit.figures.attention.labels import Array, Number, legend, readable, title_of
from labkit.figures.optimizers.curves import floats, same_length
from labkit.figures.style import ACCENT, CYCLE, DATA, INK, MARKERS, OURS, QUIET, REFERENCE, axes, describe

SHARES = (0.25, 1.0, 2.25, 4.0)  # of the grid's typical error: where the ellipses are drawn


def draw_rounding_plane(
    weight: Array,
    gram: Array,
    codes: Mapping[str, Array],
    step: Number = 1.0,
    path: Array | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Two weights as a point among those of a grid, ellipses of equal output error around it, and where each way ends.

    Args:
        gram: 2 × 2, the Hessian of the output's squared error, which is ½ Δ H Δᵀ.
        codes: by name, the two whole numbers that a way of rounding chose.
        path: points on the way of one of them, the weight itself first.

    Raises:
        ValueError: for anything but two weights.
    """
    weight, gram = np.asarray(weight, dtype=float), np.asarray(gram, dtype=float)
    if weight.shape != (2,) or gram.shape != (2, 2):
        raise ValueError(f"a plane has two weights: got weights {weight.shape} and a Gram matrix {gram.shape}")
    ends = {name: float(step) * np.asarray(code, dtype=float) for name, code in codes.items()}
    errors = {name: float((weight - end) @ gram @ (weight - end)) / 2 for name, end in ends.items()}
    ax = axes(ax, width=6.2, height=3.6)
    low, high = _window(np.stack([weight, *ends.values()]), float(step))
    _ellipses(ax, weight, gram, low, high, float(step))
    dots = np.stack(np.meshgrid(*(np.arange(a, b + 1) for a, b in zip(low, high, strict=True))), -1) * float(step)
    ax.plot(*dots.reshape(-1, 2).T, "o", color=QUIET, markersize=4, linestyle="", label="the grid")
    ax.plot(*weight, "*", color=INK, markersize=13, linestyle="", label="the weights", zorder=4)
    if path is not None:
        ax.plot(*np.asarray(path, dtype=float).T, color=OURS, linestyle="--", linewidth=1.6, zorder=3, label="the way")
    for i, (name, end) in enumerate(ends.items()):
        mark = {"marker": MARKERS[i + 1], "markersize": 11 + 4 * i, "fillstyle": "none", "markeredgewidth": 2}
        ax.plot(*end, color=CYCLE[-1 - i] if i > 2 else (REFERENCE, OURS, ACCENT)[i], linestyle="", zorder=5, **mark)
        ax.lines[-1].set_label(f"{readable(name, 30)}: error {errors[name]:.2f}")
    margin = 0.4 * float(step)
    ax.set(
        xlim=(low[0] * step - margin, high[0] * step + margin), ylim=(low[1] * step - margin, high[1] * step + margin)
    )
    ax.set(xlabel="first weight", ylabel="second weight", title=title_of(title or _winner(errors)), aspect="equal")
    legend(ax, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    said = ", ".join(
        f"{name} ends at ({end[0]:.3g}, {end[1]:.3g}), error {errors[name]:.3g}" for name, end in ends.items()
    )
    describe(ax, f"{title or 'Two weights on a grid'}: weights ({weight[0]:.3g}, {weight[1]:.3g}); {said or 'no end'}")
    return ax


def _window(points: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """The codes to show, one beyond all points."""
    return np.floor(points.min(0) / step).astype(int) - 1, np.ceil(points.max(0) / step).astype(int) + 1


def _ellipses(ax: Axes, weight: np.ndarray, gram: np.ndarray, low: np.ndarray, high: np.ndarray, step: float) -> None:
    first, second = (np.linspace(a * step - step, b * step + step, 121) for a, b in zip(low, high, strict=True))
    x, y = np.meshgrid(first - weight[0], second - weight[1])
    error = (gram[0, 0] * x * x + (gram[0, 1] + gram[1, 0]) * x * y + gram[1, 1] * y * y) / 2
    typical = step**2 / 8 * np.trace(gram)
    if np.isfinite(typical) and typical > 0:
        ax.contour(first, second, error, levels=[typical * share for share in SHARES], colors=DATA, linewidths=0.8)


def _winner(errors: Mapping[str, float]) -> str:
    if not errors:
        return "Two weights, their grid, and the error of the output"
    best = min(errors, key=lambda name: errors[name])
    if len(errors) > 1 and np.ptp(list(errors.values())) < 1e-9:
        return f"No way errs less than another: {errors[best]:.2f}"
    return f"{readable(best, 30)} errs least: {errors[best]:.2f}"


def draw_pairs(
    before: Array,
    after: Array,
    names: Sequence[str] = ("round to nearest", "GPTQ"),
    baseline: Number | None = None,
    ylabel: str = "perplexity",
    trial: str = "seed",
    varies: bool = False,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """The same seeds (or other trials) treated in two ways, a line between the two; `baseline` is what neither did.

    Raises:
        ValueError: if there are not as many after as before, or not two names.
    """
    first, second = floats(before), floats(after)
    same_length(before=first, after=second)
    if len(names) != 2:
        raise ValueError(f"two ways need two names, got {len(names)}")
    ax, seeds = axes(ax, width=6, height=3.2), np.arange(len(first))
    ax.vlines(seeds, first, second, color=QUIET, linewidth=2, linestyle="-")
    for values, name, colour, marker in zip((first, second), names, (REFERENCE, OURS), "so", strict=True):
        ax.plot(seeds, values, marker, color=colour, markersize=8, linestyle="", label=readable(name, 30))
    if baseline is not None:
        ax.axhline(float(baseline), color=DATA, linestyle="--", linewidth=1.5, label="float32")
    better = int((second < first).sum())
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel=trial, ylabel=ylabel, xlim=(-0.5, max(0.5, len(first) - 0.5)))
    ax.set(title=title_of(title or f"{names[1]} is lower on {better} of {len(first)} {trial}s"))
    legend(ax, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    write = (lambda value: f"‹{value:.4g}›") if varies else (lambda value: f"{value:.4g}")
    means = [f"{name} {write(v.mean())}" for name, v in zip(names, (first, second), strict=True) if len(v)]
    words = f"{ylabel}: {names[1]} lower on {better} of {len(first)} {trial}s; means: {', '.join(means) or 'none'}"
    describe(ax, words + (f"; float32 {write(float(baseline))}" if baseline is not None else ""))
    return ax


def draw_levels(
    weights: Array,
    levels: Mapping[str, Array],
    errors: Mapping[str, Number] | None = None,
    varies: bool = False,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """A histogram of weights, and under it a row of ticks for each set of levels that could stand for them.

    Args:
        errors: by name, the mean squared error that a set of levels makes; written at its row.
        varies: whether weights trained on another machine make other errors; the sentence then marks them.
    """
    values = floats(np.ravel(np.asarray(weights, dtype=float)))
    values, errors = values[np.isfinite(values)], errors or {}
    ax = axes(ax, width=7.5, height=2.2 + 0.4 * len(levels))
    counts = np.histogram(values, 80)[0] if len(values) else np.ones(1)
    tall = max(1, counts.max())
    ax.hist(values, 80, color=DATA, alpha=0.55, label="weights")
    for i, (name, row) in enumerate(levels.items()):
        at, below = floats(row), -(0.2 * i + 0.15) * tall
        ax.plot(at, np.full(len(at), below), "|", color=CYCLE[(0, 1, 3, 4)[i % 4]], markersize=15, markeredgewidth=2)
        error = f", error {_power(errors[name])}" if name in errors else ""
        ax.annotate(
            f"{readable(name, 30)}{error}", (1.01, below), xycoords=("axes fraction", "data"), va="center", fontsize=9
        )
    ax.axhline(0, color=INK, linewidth=0.8, linestyle="-")
    ticks = [tick for tick in ax.get_yticks() if 0 <= tick <= tall]
    ax.set(yticks=ticks, ylim=(-(0.2 * len(levels) + 0.1) * tall, 1.05 * tall), xlabel="weight", ylabel="weights")
    least = min(errors, key=lambda name: float(errors[name])) if len(errors) > 1 else ""
    found = f"Least error: {readable(least, 40)}" if least else f"{len(values):,} weights and levels for them"
    ax.set_title(title_of(title or found))
    write = "error ‹{:.2e}›" if varies else "error {:.2e}"
    said = [
        f"{name}: {len(floats(row))} levels" + (f", {write.format(float(errors[name]))}" if name in errors else "")
        for name, row in levels.items()
    ]
    describe(ax, f"{title}{': ' * bool(title)}{len(values):,} weights; {'; '.join(said) or 'no levels'}")
    return ax


def _power(value: Number) -> str:
    """A small number as one reads it: 2.4 · 10⁻⁴."""
    mantissa, _, power = f"{float(value):.1e}".partition("e")
    return f"{mantissa} · 10$^{{{int(power)}}}$" if power else mantissa
