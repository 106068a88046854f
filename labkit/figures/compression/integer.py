"""Arithmetic in whole numbers: how large sums become, and what a cache in few bits costs."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from labkit.figures.attention.labels import Array, Number, legend, number, plural, readable, title_of
from labkit.figures.optimizers.curves import floats, look
from labkit.figures.style import DATA, OURS, WRONG, axes, describe


def draw_sums(sums: Array, bits: int = 16, varies: bool = False, title: str = "", ax: Axes | None = None) -> Axes:
    """How large sums of products of codes become; those that so many bits cannot hold are red.

    With `varies` the sentence marks its share: a network trained on another machine has other sums.

    Raises:
        ValueError: for fewer than two bits.
    """
    if bits < 2:
        raise ValueError(f"bits = {bits}; give at least 2, one of them is the sign")
    values, limit = floats(sums), 2.0 ** (bits - 1)
    values = values[np.isfinite(values)]
    beyond = (values >= limit) | (values < -limit)
    ax = axes(ax, height=3)
    reach = 1.05 * max(limit, float(np.abs(values).max(initial=1.0)))
    edges = np.linspace(-reach, reach, 102)
    bars = {"fits": (values[~beyond], OURS), "does not fit": (values[beyond], WRONG)}
    for name, (those, colour) in bars.items():
        if len(those):
            ax.hist(those, edges, color=colour, label=f"{name}: {len(those):,}")
    for side in (-limit, limit):
        ax.axvline(side, color=WRONG, linestyle="--", linewidth=1.5)
    share = 100 * float(beyond.mean()) if len(values) else 0.0
    rest = f"% of {plural(len(values), 'sum')} do not fit into {bits} bits"
    said = f"{number(share, varies)} {rest}"
    ax.set(xlabel=f"sum; dashed: what {bits} bits hold", ylabel="how often")
    ax.set_title(title_of(title or f"{share:.0f} {rest}"))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    legend(ax)
    describe(ax, f"{title}. {said}" if title else said)
    return ax


def draw_cache_cost(
    bits: Sequence[int],
    errors: Mapping[str, Array],
    shares: Array,
    varies: bool = False,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Error of the logits against bytes of the cache over those of float32, a curve for each way to share a range.

    With `varies` the sentence marks the errors, which a model trained on another machine does not repeat.

    Raises:
        ValueError: if a curve has another number of points than there are bits.
    """
    counts = {len(bits), len(shares), *(len(row) for row in errors.values())}
    if len(counts) > 1:
        raise ValueError(f"{len(bits)} bits, {len(shares)} shares, curves of other lengths; give as many of each")
    ax = axes(ax, height=3.4)
    across = floats(shares)
    for index, (name, row) in enumerate(errors.items()):
        y = np.where(floats(row) > 0, floats(row), np.nan)
        ax.plot(100 * across, 100 * y, label=readable(name, 40), **look((0, 2, 3, 5)[index % 4], len(bits)))
    top = [max((float(floats(row)[i]) for row in errors.values()), default=np.nan) for i in range(len(bits))]
    for width, x, y in zip(bits, across, top, strict=True):
        if np.isfinite(x) and np.isfinite(y) and y > 0:
            place = {"xytext": (7, 6), "textcoords": "offset points", "fontsize": 9}
            ax.annotate(f"{width} bits", (100 * x, 100 * y), color=DATA, **place)
    if any((floats(row) > 0).any() for row in errors.values()):
        ax.set_yscale("log")
    ax.set(xlabel="bytes of the cache, % of float32", ylabel="error of the logits, %")
    ax.margins(0.12)
    best = {name: ", ".join(f"{w} bits {number(100 * e, varies)} %" for w, e in zip(bits, floats(row), strict=True))
            for name, row in errors.items()}  # fmt: skip
    said = "; ".join(f"{name}: {words}" for name, words in best.items()) or "nothing measured"
    ax.set_title(title_of(title or "What a cache in few bits costs"))
    legend(ax)
    describe(ax, f"{title or 'error of the logits by bits of the cache'}. {said}")
    return ax


def draw_requantized(
    exact: Array,
    codes: Array,
    low: Number = -128,
    high: Number = 127,
    varies: bool = False,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Codes that a layer in whole numbers gave, against the exact outputs in steps: a staircase that ends at both ends.

    With `varies` the sentence marks what a network trained on another machine does not repeat.

    Raises:
        ValueError: if there are not as many codes as outputs.
    """
    x, y = floats(exact), floats(codes)
    if len(x) != len(y):
        raise ValueError(f"{len(x)} outputs, {len(y)} codes; give one code for each")
    ax = axes(ax, height=3.2)
    ends = (y <= low) | (y >= high)
    ax.plot(x[~ends], y[~ends], "o", color=OURS, markersize=3, label="rounded")
    ax.plot(x[ends], y[ends], "s", color=WRONG, markersize=4, label="at an end of the range")
    ax.set(xlabel="exact output, in steps of the codes", ylabel="code")
    inside = np.abs(x - y)[~ends & np.isfinite(x)]
    count, far = f"‹{ends.sum()}›" if varies else f"{ends.sum()}", float(inside.max(initial=0.0))
    said = f"{plural(len(x), 'output')}, {count} at an end; the others are off by at most {number(far, varies)} steps"
    ax.set_title(title_of(title or f"{plural(len(x), 'code')}, off by at most {far:.1f} but at the ends"))
    legend(ax)
    describe(ax, f"{title}. {said}" if title else said)
    return ax
