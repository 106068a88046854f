"""Outliers: how large each channel is on both sides of a layer, which layers have them, and the error by α."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from labkit.figures.attention.labels import Array, Number, legend, number, plural, readable, title_of
from labkit.figures.optimizers.curves import floats, look, same_length
from labkit.figures.style import ACCENT, DATA, INK, OURS, QUIET, axes, describe

MOST_LAYERS = 24


def draw_channels(
    activation: Array,
    weight: Array,
    scales: Array | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """The largest activation and the largest weight of each channel; with factors, what they become, the rest grey.

    Raises:
        ValueError: if activations, weights and factors are not as many.
    """
    x, w = floats(activation), floats(weight)
    s = np.ones_like(x) if scales is None else floats(scales)
    same_length(activations=x, weights=w, factors=s)
    ax = axes(ax, width=8.5, height=3.3)
    at = np.arange(len(x))
    dots, clear = {"linestyle": "", "markersize": 3}, {"linestyle": "", "fillstyle": "none"}
    with np.errstate(all="ignore"):
        after = {"activations": (x, x / s, OURS, "o", dots), "weights": (w, w * s, ACCENT, "^", clear)}
    for name, (before, now, colour, marker, kind) in after.items():
        if scales is not None:
            ax.plot(at, _positive(before), marker=marker, color=QUIET, alpha=0.5, **dots)
        ax.plot(at, _positive(now), marker=marker, color=colour, label=name, **({"markersize": 5} | kind))
    if any(np.isfinite(_positive(now)).any() for _, now, *_ in after.values()):
        ax.set_yscale("log")
    ratio = {name: _ratio(now) for name, (_, now, *_) in after.items()}
    parts = ", ".join(f"{number(value)} times the median of {name}" for name, value in ratio.items())
    said = f"the largest channel: {parts}"
    ax.set(xlabel="channel", ylabel="largest size in it", title=title_of(title or f"Largest channel: {parts}"))
    ax.title.set_fontsize(10)
    legend(ax, loc="upper left", bbox_to_anchor=(1.0, 1.0), markerscale=2)
    describe(ax, f"{title}. {said}" if title else said)
    return ax


def draw_outliers(
    layers: Sequence[str], channels: Sequence[int], ratios: Array, title: str = "", ax: Axes | None = None
) -> Axes:
    """For each layer its largest channel, over the median channel; a channel that comes again and again has one colour.

    Raises:
        ValueError: if there are not as many of each.
    """
    same_length(layers=layers, channels=channels, ratios=list(ratios))
    size = floats(ratios)[:MOST_LAYERS]
    names, which = list(layers)[:MOST_LAYERS], [int(channel) for channel in channels][:MOST_LAYERS]
    ax = axes(ax, width=8, height=max(1.8, 0.8 + 0.24 * len(names)))
    counts = {channel: which.count(channel) for channel in which}
    often = max(counts, key=counts.get, default=-1)
    rows = np.arange(len(names))
    repeated = counts.get(often, 0) > 1
    colours = [ACCENT if repeated and channel == often else OURS for channel in which]
    ax.barh(rows, np.nan_to_num(size), color=colours, height=0.75)
    for row, (value, channel) in enumerate(zip(size, which, strict=True)):
        ax.text(np.nan_to_num(value), row, f"  {channel}", va="center", fontsize=8, color=INK)
    ax.set_yticks(rows, [readable(name, 40) for name in names], fontsize=8)
    ax.invert_yaxis()
    if len(size) and np.nanmax(size, initial=1.0) > 100:
        ax.set_xscale("log")
    ax.margins(x=0.1)
    ax.grid(visible=False, axis="y")
    ax.set(xlabel="largest channel (its number) over the median channel, times", ylabel="what comes into")
    said = f"{plural(len(names), 'layer')}"
    if repeated:
        said = f"Channel {often} is the largest in {counts[often]} of {said}"
    ax.set_title(title_of(title or said))
    top = f"; up to {number(float(np.nanmax(size)))} times the median" if np.isfinite(size).any() else ""
    describe(ax, f"{title}. {said}{top}" if title else f"{said}{top}")
    return ax


def draw_alpha(
    alphas: Array,
    errors: Mapping[str, Array],
    without: Mapping[str, Number] | None = None,
    chosen: Number | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """The error by α, a curve for each way to quantize, a ring where it is least; dashed, the error without factors.

    Raises:
        ValueError: if a curve has another number of points than there are α, or `without` names no curve.
    """
    x, without = floats(alphas), without or {}
    same_length(alphas=x, **{f"points of {name}": floats(row) for name, row in errors.items()})
    unknown = set(without) - set(errors)
    if unknown:
        raise ValueError(f"without has {min(unknown)!r}, of which there is no curve; give the same names")
    ax, said = axes(ax, height=3.4), []
    for index, (name, row) in enumerate(errors.items()):
        y, style = np.where(floats(row) > 0, floats(row), np.nan), look((0, 2, 3, 5)[index % 4], 99)
        ax.plot(x, 100 * y, label=readable(name, 40), **style)
        if name in without:
            label = f"{readable(name, 40)}, without factors"
            ax.axhline(
                100 * float(without[name]), color=style["color"], linestyle=(0, (2, 3)), linewidth=1.5, label=label
            )
        if np.isfinite(y).any():
            best = int(np.nanargmin(y))
            ax.plot(
                x[best], 100 * y[best], "o", markersize=11, fillstyle="none", color=style["color"], markeredgewidth=2
            )
            said.append(_least(name, x[best], y[best], without))
    if any((floats(row) > 0).any() for row in errors.values()):
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    if chosen is not None:
        ax.axvline(float(chosen), color=DATA, linewidth=1.2, linestyle="-")
    ax.set(xlabel="α: 0 makes weights alike, 1 activations", ylabel="error of the outputs, %")
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_title(title_of(title or "The error is least in between"))
    legend(ax, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    describe(ax, f"{title or 'error by α'}. {'; '.join(said) or 'nothing measured'}")
    return ax


def _least(name: str, alpha: float, error: float, without: Mapping[str, Number]) -> str:
    words = f"{name}: least at α = {number(alpha)} with {number(100 * error)} %"
    return f"{words}, {number(100 * float(without[name]))} % without factors" if name in without else words


def _positive(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)


def _ratio(values: np.ndarray) -> float:
    seen = values[np.isfinite(values)]
    middle = float(np.median(seen)) if len(seen) else 0.0
    return float(seen.max()) / middle if middle > 0 else float("nan")
