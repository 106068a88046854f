"""What a transformer costs: parameters by part, counts beside the papers', the share of attention, the cache."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from labkit.figures.attention.labels import Array, Number, legend, log_axis, number, plural, positive
from labkit.figures.style import CYCLE, DATA, INK, OURS, REFERENCE, WRONG, axes, describe, series

_HATCHES = ("", "//", "..", "\\\\", "xx", "++", "--", "oo")


def draw_parameters(models: Mapping[str, Mapping[str, int]], ax: Axes | None = None) -> Axes:
    """The share of each part in the parameters of each model, and their total at the end of its bar."""
    ax = axes(ax, width=8, height=1.3 + 0.42 * max(1, len(models)))
    parts = list(dict.fromkeys(part for counts in models.values() for part in counts))
    names = list(models)
    totals = {name: sum(counts.values()) for name, counts in models.items()}
    left = np.zeros(len(names))
    for i, part in enumerate(parts):
        shares = np.array([models[name].get(part, 0) / max(1, totals[name]) * 100 for name in names])
        look = {"color": CYCLE[i % len(CYCLE)], "hatch": _HATCHES[i % len(_HATCHES)], "edgecolor": "white"}
        ax.barh(range(len(names)), shares, left=left, height=0.72, label=part, linewidth=0.5, **look)
        for row, share in enumerate(shares):
            if share >= 7:
                box = {"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
                ax.text(left[row] + share / 2, row, f"{share:.0f}%", ha="center", va="center", fontsize=8, bbox=box)
        left = left + shares
    for row, name in enumerate(names):
        ax.text(101, row, short_count(totals[name]), ha="left", va="center", fontsize=9)
    ax.set_yticks(range(len(names)), names)
    ax.set(xlim=(0, 112), ylim=(len(names) - 0.45, -0.55), xticks=range(0, 101, 20))
    ax.set_xlabel("share of the parameters (%)")
    ax.grid(visible=False, axis="y")
    legend(ax, ncols=min(5, max(1, len(parts))), loc="lower left", bbox_to_anchor=(0, 1.0))
    sentences = [_largest_part(name, models[name], totals[name]) for name in names]
    describe(ax, f"parameters of {plural(len(names), 'model')}. " + "; ".join(sentences))
    return ax


def _largest_part(name: str, counts: Mapping[str, int], total: int) -> str:
    if not total:
        return f"{name}: none"
    part = max(counts, key=counts.__getitem__)
    return f"{name}: {total:,}, the largest part is {part} with {number(100 * counts[part] / total)}%"


def short_count(count: Number) -> str:
    """Write a count in thousands, millions or billions.

    >>> short_count(124_439_808), short_count(6_738_415_616), short_count(512)
    ('124 M', '6.74 B', '512')
    """
    for size, unit in ((1e12, " T"), (1e9, " B"), (1e6, " M"), (1e3, " k")):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return f"{count:.3g}"


def draw_published(names: Sequence[str], ours: Array, printed: Array, ax: Axes | None = None) -> Axes:
    """Our counts and the printed ones as dots on one logarithmic scale, with the ratio at the end of each row.

    Raises:
        ValueError: if the three do not have the same length.
    """
    counted, figures = np.asarray(ours, dtype=float), np.asarray(printed, dtype=float)
    if not len(names) == len(counted) == len(figures):
        lengths = f"{len(names)} names, {len(counted)} counts of ours, {len(figures)} printed ones"
        raise ValueError(f"{lengths}; give as many of each")
    ax = axes(ax, width=7, height=1.2 + 0.27 * len(names))
    rows = np.arange(len(names))
    log_axis(ax, "x", counted, figures)
    ax.plot(
        positive(figures),
        rows,
        linestyle="",
        marker="s",
        markersize=10,
        fillstyle="none",
        color=REFERENCE,
        markeredgewidth=1.8,
        label="printed in the paper",
    )
    ax.plot(positive(counted), rows, linestyle="", marker="o", markersize=5, color=OURS, label="counted by labkit")
    ratios = counted / np.where(figures > 0, figures, np.nan)
    for row, ratio in enumerate(ratios):
        ax.text(1.02, row, f"× {ratio:.3f}", transform=ax.get_yaxis_transform(), va="center", fontsize=8)
    ax.text(1.02, -1, "ours / printed", transform=ax.get_yaxis_transform(), va="center", fontsize=8)
    ax.set_yticks(rows, list(names))
    ax.set(ylim=(len(names) - 0.5, -0.5), xlabel="parameters")
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_count(value)))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.legend(fontsize=8, ncols=2, loc="lower left", bbox_to_anchor=(0, 1.0))
    worst = int(np.nanargmax(np.abs(np.log(positive(ratios))))) if np.isfinite(ratios).any() else 0
    describe(
        ax,
        f"{len(names)} published parameter counts from {short_count(np.nanmin(figures))} to "
        f"{short_count(np.nanmax(figures))}: ours are {number(np.nanmin(ratios))} to {number(np.nanmax(ratios))} times "
        f"the printed ones, farthest for {names[worst]}",
    )
    return ax


def draw_flops(lengths: Array, shares: Mapping[str, Array], ax: Axes | None = None) -> Axes:
    """The share of a forward pass's multiplications that grows as n² against the length of the context."""
    ax = axes(ax)
    places = np.asarray(lengths)
    log_axis(ax, "x", places)
    sentences = []
    for i, (name, given) in enumerate(shares.items()):
        curve = 100 * np.asarray(given, dtype=float)
        ax.plot(places, curve, label=name, **series(i) | ({"marker": ""} if len(places) > 40 else {}))
        half = np.flatnonzero(curve >= 50)
        more = f", more than half from {places[half[0]]:,} on" if len(half) and half[0] else ""
        sentences.append(
            f"{name}: {number(curve[0])}% at {places[0]:,} tokens, {number(curve[-1])}% at {places[-1]:,}{more}"
        )
    ax.axhline(50, color=DATA, linestyle=":", linewidth=1)
    ax.set(ylim=(0, 101), xlabel="tokens in the context", ylabel="work that grows as n² (%)")
    ax.set_title("The share of n² grows with the context")
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    legend(ax)
    describe(ax, "share of the multiplications that grows as n squared. " + "; ".join(sentences))
    return ax


def draw_cache(tokens: Array, with_cache: Array, without_cache: Array, ax: Axes | None = None) -> Axes:
    """The seconds to generate so many tokens with the key–value cache and without it, and their ratio at the end."""
    ax = axes(ax, height=3.2)
    places = np.asarray(tokens)
    fast, slow = (np.asarray(given, dtype=float) for given in (with_cache, without_cache))
    ax.plot(places, slow, color=WRONG, linestyle="--", marker="s", label="without: all again for each token")
    ax.plot(places, fast, color=OURS, linestyle="-", marker="o", label="with: only the new token")
    ratio = slow[-1] / fast[-1] if fast[-1] > 0 else np.nan
    if np.isfinite(ratio):
        ax.annotate(f" {ratio:.1f}×", (places[-1], (slow[-1] + fast[-1]) / 2), color=INK, fontsize=11, va="center")
        ax.plot([places[-1]] * 2, [fast[-1], slow[-1]], color=DATA, linestyle=":", linewidth=1.2)
        ax.margins(x=0.1)
    ax.set(xlabel="tokens generated", ylabel="seconds", title="What the cache saves", ylim=(0, None))
    ax.legend(fontsize=8, loc="upper left")
    describe(
        ax,
        f"generating {places[-1]:,} tokens takes {number(slow[-1], True)} seconds without the cache and "
        f"{number(fast[-1], True)} with it, {number(ratio, True)} times as fast",
    )
    return ax
