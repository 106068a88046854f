"""Quality of documents: statistics by kind beside the limits of a rule, and perplexity cut into head, middle, tail."""

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from labkit.figures.attention.labels import Array, legend, number, plural, readable, title_of
from labkit.figures.optimizers.curves import FARTHEST, floats
from labkit.figures.style import ACCENT, INK, MARKERS, OURS, QUIET, WRONG, axes, describe, new, series

MOST_COLUMNS = 4
MOST_DOTS = 300
PARTS = ("head", "middle", "tail")
_HATCHES = ("", "//", "..", "\\\\", "xx")


def draw_statistics(
    values: Mapping[str, Mapping[str, Array]],
    limits: Mapping[str, tuple] | None = None,
    good: str = "good",
    title: str = "",
) -> Figure:
    """One small panel for each statistic: a row of dots for each kind of document, and the limits of the rule.

    `values` are {statistic: {kind: numbers}}, `limits` {statistic: (lowest or None, highest or None)}; what lies
    outside is shaded and refused. The kind named `good` has the colour of what should pass.
    """
    panels = list(values)
    columns = max(1, min(MOST_COLUMNS, len(panels), 3 if len(panels) in (5, 6) else MOST_COLUMNS))
    lines = max(1, math.ceil(len(panels) / columns))
    kinds = list(dict.fromkeys(kind for rows in values.values() for kind in rows))
    figure, grid = new(2.25 * columns + 1.0, lines * (1.0 + 0.24 * max(2, len(kinds))) + 0.4, columns, lines)
    places = np.ravel(grid)
    said = []
    for place, (ax, name) in enumerate(zip(places, panels, strict=False)):
        low, high = _limits((limits or {}).get(name))
        _strips(ax, values[name], kinds, good)
        _refused(ax, low, high)
        ax.set_title(readable(name, 28), fontsize=9)
        ax.set_yticks(range(len(kinds)), [readable(kind, 18) for kind in kinds] if place % columns == 0 else [])
        ax.tick_params(labelsize=7.5)
        said.append(f"{name}{_between(low, high)}: {_passing(values[name], low, high)}")
    for ax in places[len(panels) :]:
        ax.axis("off")
    if not panels:
        places[0].text(0.5, 0.5, "no statistics", ha="center", va="center")
    if title:
        figure.suptitle(title_of(title), fontsize=11)
    describe(figure, f"{title or 'statistics'} of {plural(len(kinds), 'kind')} of documents. {'; '.join(said)}")
    return figure


def _limits(pair: tuple | None) -> tuple[float, float]:
    low, high = pair or (None, None)
    return -math.inf if low is None else float(low), math.inf if high is None else float(high)


def _strips(ax: Axes, rows: Mapping[str, Array], kinds: list[str], good: str) -> None:
    """Dots beside each other that would lie upon each other, and the median of each kind as a tick."""
    known = {kind: each[np.isfinite(each)] for kind, each in ((k, floats(rows.get(k, []))) for k in kinds)}
    everything = np.concatenate([*known.values(), np.empty(0)])
    above = everything[everything > 0]
    if len(above) and len(above) == len(everything) and above.max() > 50 * above.min():
        ax.set_xscale("log")
    for row, (kind, numbers) in enumerate(known.items()):
        step = max(1, -(-len(numbers) // MOST_DOTS))
        dots = np.sort(numbers)[::step]
        colour, marker = (OURS, "o") if kind == good else (WRONG, MARKERS[4])
        spread = 0.22 * np.cos(2.4 * np.arange(len(dots))) if len(dots) > 1 else np.zeros(len(dots))
        look = {"color": colour, "marker": marker, "markersize": 3, "alpha": 0.45, "markeredgewidth": 0}
        ax.plot(dots, row + spread, linestyle="", **look)
        if len(numbers):
            ax.plot([np.median(numbers)] * 2, [row - 0.36, row + 0.36], color=INK, linestyle="-", linewidth=1.6)
    ax.set_ylim(max(1, len(kinds)) - 0.4, -0.6)
    ax.grid(visible=False, axis="y")
    if ax.get_xscale() == "linear":
        ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.margins(x=0.08)


def _refused(ax: Axes, low: float, high: float) -> None:
    """Shade what the rule refuses, and keep the limit inside the picture."""
    left, right = ax.get_xlim()
    room = 0.06 * (right - left) if ax.get_xscale() == "linear" else 0
    ends = [limit for limit in (low, high) if abs(limit) < FARTHEST and (ax.get_xscale() == "linear" or limit > 0)]
    # A limit far beyond all numbers would press them flat: it is left out, since nothing comes near it.
    wide = right - left if ax.get_xscale() == "linear" else 99 * right
    ends = [limit for limit in ends if left - 2 * wide <= limit <= right + 2 * wide]
    left, right = min([left, *(end - room for end in ends)]), max([right, *(end + room for end in ends)])
    if ax.get_xscale() == "log" and ends:
        left, right = min(left, 0.8 * min(ends)), max(right, 1.25 * max(ends))
    for end in ends:
        ax.axvline(end, color=ACCENT, linestyle="--", linewidth=1.3)
        outside = (left, end) if end == low else (end, right)
        ax.axvspan(*outside, facecolor=ACCENT, alpha=0.1, hatch="//", edgecolor="white", linewidth=0)
    ax.set_xlim(left, right)


def _between(low: float, high: float) -> str:
    if low > -math.inf and high < math.inf:
        return f" from {low:g} to {high:g}"
    return f" at least {low:g}" if low > -math.inf else f" at most {high:g}" if high < math.inf else ""


def _passing(rows: Mapping[str, Array], low: float, high: float) -> str:
    said = []
    for kind, given in rows.items():
        numbers = floats(given)
        numbers = numbers[np.isfinite(numbers)]
        if not len(numbers):
            said.append(f"{kind} none")
            continue
        inside = int(((numbers >= low) & (numbers <= high)).sum())
        passed = f"{inside} of {len(numbers)} pass, " if (low, high) != (-math.inf, math.inf) else ""
        said.append(f"{kind} {passed}median {number(np.median(numbers))}")
    return ", ".join(said)


def draw_perplexity(
    bits: Mapping[str, Array],
    cuts: tuple = (),
    unit: str = "bits per character",
    parts: tuple = PARTS,
    varies: bool = False,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """How hard documents of each kind are for a language model; `cuts` part them into head, middle and tail.

    Raises:
        ValueError: if the cuts do not make as many parts as have names, or fall.
    """
    lines = sorted(float(cut) for cut in cuts)
    if lines != [float(cut) for cut in cuts] or (lines and len(lines) + 1 != len(parts)):
        raise ValueError(f"cuts {tuple(cuts)} do not rise or do not make the {len(parts)} parts {', '.join(parts)}")
    known = {kind: each[np.isfinite(each)] for kind, each in ((k, floats(v)) for k, v in bits.items())}
    everything = np.concatenate([*known.values(), np.empty(0)])
    ax = axes(ax, height=3.6)
    if len(everything):
        low, high = min([everything.min(), *lines]), max([everything.max(), *lines])
        edges = np.linspace(low - 1e-9, high + 1e-9 + (high == low), 33)
        looks = [series(i) | {"hatch": _HATCHES[i % len(_HATCHES)]} for i in range(len(known))]
        for (kind, numbers), look in zip(known.items(), looks, strict=True):
            face = {"facecolor": look["color"], "hatch": look["hatch"], "edgecolor": "white", "linewidth": 0}
            ax.hist(numbers, edges, label=f"{readable(kind, 24)} ({len(numbers):,})", alpha=0.75, **face)
    _parted(ax, lines, parts)
    ax.set(xlabel=unit, ylabel="documents", title=title_of(title or "Easy and hard to predict"))
    legend(ax, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    ends = f" cut at {', '.join(number(line, varies) for line in lines)}" if lines else ""
    said = [f"{kind}: {_in_parts(numbers, lines, parts, varies)}" for kind, numbers in known.items()]
    describe(ax, f"{title or unit}{ends}. {'; '.join(said) or 'no documents'}")
    return ax


def _parted(ax: Axes, lines: list[float], parts: tuple) -> None:
    if not lines:
        return
    ax.margins(y=0.16)
    left, right = ax.get_xlim()
    for line in lines:
        ax.axvline(line, color=ACCENT, linestyle="--", linewidth=1.5)
    for name, start, end in zip(parts, [left, *lines], [*lines, right], strict=True):
        if end - start < 0.03 * (right - left):  # no room for a word
            continue
        ground = {"facecolor": "white", "edgecolor": QUIET, "boxstyle": "round,pad=0.15", "linewidth": 0.6}
        place = {"ha": "center", "va": "top", "fontsize": 8, "bbox": ground, "transform": ax.get_xaxis_transform()}
        ax.text((start + end) / 2, 0.985, readable(name, 16), **place)


def _in_parts(numbers: np.ndarray, lines: list[float], parts: tuple, varies: bool) -> str:
    if not len(numbers):
        return "none"
    middle = f"median {number(np.median(numbers), varies)}"
    if not lines:
        return f"{plural(len(numbers), 'document')}, {middle}"
    counts = np.bincount(np.searchsorted(lines, numbers, side="left"), minlength=len(parts))
    return (
        ", ".join(f"{f'‹{n}›' if varies else n} {part}" for n, part in zip(counts, parts, strict=True)) + f", {middle}"
    )
