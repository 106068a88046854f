"""Near duplicates: the S-curve of banding, estimates of similarity against the truth, the sizes of clusters."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from labkit.figures.attention.labels import NOISE, Array, Number, legend, number, plural, title_of
from labkit.figures.optimizers.curves import floats, same_length
from labkit.figures.style import ACCENT, DATA, INK, OURS, QUIET, WRONG, axes, describe, series

MOST_PAIRS = 3_000  # more marks than this are a solid bar
_LANES = {True: 1.11, False: -0.11}  # found pairs above the curve, missed ones below


def draw_s_curve(
    similarity: Array,
    probability: Array,
    threshold: Number,
    pairs: Sequence = (),
    others: Mapping[str, Array] | None = None,
    name: str = "this setting",
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """How likely a pair becomes a candidate at each similarity, and what became of the pairs (similarity, found).

    `others` are the curves of further settings. A false negative is a pair at or above the threshold that was not
    found, a false positive one below it that was; the second kind costs only an exact comparison.

    Raises:
        ValueError: if a curve does not have one probability for each similarity.
    """
    x, y = floats(similarity), floats(probability)
    same_length(similarity=x, probability=y)
    ax = axes(ax, width=7.5, height=4)
    _errors(ax, x, y, threshold)
    for i, (label, given) in enumerate((others or {}).items()):
        curve = floats(given)
        same_length(similarity=x, **{"others": curve})
        ax.plot(x, curve, label=title_of(label), **series(i + 1) | {"marker": "", "linewidth": 1.4})
    ax.plot(x, y, color=OURS, linestyle="-", linewidth=3, label=title_of(name))
    ax.axvline(threshold, color=ACCENT, linestyle="--", linewidth=1.5, label=f"threshold {threshold:.3g}")
    where, found = _pairs(pairs)
    _lanes(ax, where, found, threshold)
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.2, 1.2) if len(where) else (-0.03, 1.03), yticks=np.linspace(0, 1, 6))
    ax.set(xlabel="Jaccard similarity of a pair", ylabel="probability to be a candidate")
    ax.set_title(title_of(title or "Who becomes a candidate"))
    legend(ax, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    words = [f"{title or 'S-curve'}", _curve(x, y, threshold)]
    words += [f"{label}: {_curve(x, floats(given), threshold)}" for label, given in (others or {}).items()]
    describe(ax, "; ".join([*words, *_counted(where, found, threshold)]))
    return ax


def _errors(ax: Axes, x: np.ndarray, y: np.ndarray, threshold: Number) -> None:
    """The two areas in which mistakes are made: below the threshold and found, above it and missed."""
    fine = np.linspace(0, 1, 401)
    known = np.isfinite(x) & np.isfinite(y)
    if known.sum() < 2:
        return
    order = np.argsort(x[known], kind="stable")
    curve = np.interp(fine, x[known][order], y[known][order])
    look = {"linewidth": 0.0, "edgecolor": "white"}
    ax.fill_between(fine, curve, where=fine <= threshold, facecolor=QUIET, alpha=0.5, hatch="//", **look)
    ax.fill_between(fine, curve, 1, where=fine >= threshold, facecolor=WRONG, alpha=0.35, hatch="..", **look)


def _pairs(pairs: Sequence) -> tuple[np.ndarray, np.ndarray]:
    rows = [(float(similarity), bool(found)) for similarity, found in pairs]
    where = floats([similarity for similarity, _ in rows])
    found = np.array([found for _, found in rows], dtype=bool)
    return where[np.isfinite(where)], found[np.isfinite(where)]


def _lanes(ax: Axes, where: np.ndarray, found: np.ndarray, threshold: Number) -> None:
    named: dict[str, dict] = {}
    for lane, height in _LANES.items():
        for wrong in (False, True):
            wanted = _high(where, threshold) == lane
            here = where[(found == lane) & (wanted != wrong)]
            here = np.sort(here)[:: 1 + len(here) // MOST_PAIRS]
            jitter = 0.045 * np.cos(2.4 * np.arange(len(here)))  # marks of equal similarity must not hide each other
            colour = (QUIET if lane else WRONG) if wrong else DATA
            mark = {"marker": "x" if wrong else "|", "markersize": 6, "color": colour, "linestyle": ""}
            ax.plot(here, height + jitter, alpha=0.8, **mark)
            if len(here):
                named[("false positive" if lane else "false negative") if wrong else "rightly found or not"] = mark
    if len(where):
        counts = {True: int(found.sum()), False: int((~found).sum())}
        for lane, word in ((True, "found"), (False, "not found")):
            place = {"transform": ax.transAxes, "ha": "left", "va": "top" if lane else "bottom", "fontsize": 8}
            place["bbox"] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
            ax.text(0.01, 0.985 if lane else 0.015, f"{counts[lane]:,} {word}", color=INK, **place)
        for label, mark in named.items():
            ax.add_line(Line2D([], [], label=label, **mark))


def _high(where: np.ndarray, threshold: Number) -> np.ndarray:
    """Whether pairs are at or above the threshold; a slider in steps of 0.05 gives 0.7000000000000001 for 0.7."""
    return where >= threshold - NOISE


def _curve(x: np.ndarray, y: np.ndarray, threshold: Number) -> str:
    order = np.argsort(x, kind="stable")  # not a number comes last
    x, y = x[order], y[order]
    known = np.isfinite(x) & np.isfinite(y)
    if not known.any():
        return "no curve"
    at = number(np.interp(threshold, x[known], y[known]))
    words = f"a pair of similarity {number(threshold)} becomes a candidate with probability {at}"
    above = np.flatnonzero(y[known] >= 0.5)
    return f"{words}, one in two from similarity {number(x[known][above[0]])}" if len(above) else words


def _counted(where: np.ndarray, found: np.ndarray, threshold: Number) -> list[str]:
    if not len(where):
        return []
    high = _high(where, threshold)
    missed, extra = int((high & ~found).sum()), int((~high & found).sum())
    words = f"of {plural(len(where), 'pair')}, {plural(int(high.sum()), 'is', 'are')} at or above the threshold: "
    words += f"{plural(missed, 'false negative')} (not found)"
    return [f"{words}; {plural(extra, 'false positive')} below it (found)"]


def draw_estimates(
    exact: Array, estimated: Array, hashes: int, title: str = "", varies: bool = False, ax: Axes | None = None
) -> Axes:
    """Similarities estimated from signatures against the exact ones, with the band of two standard deviations.

    The standard deviation of the mean of k agreements is √(J(1 − J)/k).

    Raises:
        ValueError: if there are not as many estimates as exact similarities, or there is no hash.
    """
    if hashes < 1:
        raise ValueError(f"hashes = {hashes}; a signature has at least one")
    x, y = floats(exact), floats(estimated)
    same_length(exact=x, estimated=y)
    ax = axes(ax, width=6, height=4.2)
    line = np.linspace(0, 1, 201)
    spread = 2 * np.sqrt(line * (1 - line) / hashes)
    ax.fill_between(line, line - spread, line + spread, color=ACCENT, alpha=0.18, linewidth=0, label="± 2σ")
    ax.plot(line, line, color=INK, linestyle="--", linewidth=1.2, label="estimate = exact")
    sparse = len(x) <= 500
    dots = {"marker": "o", "markersize": 5 if sparse else 3, "alpha": 0.7 if sparse else 0.35, "linestyle": ""}
    ax.plot(x, y, color=OURS, markeredgewidth=0, label="pairs", **dots)
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="exact Jaccard similarity", ylabel="estimate from signatures")
    ax.set_title(title_of(title or f"Estimates from {plural(hashes, 'hash', 'hashes')}"))
    legend(ax, loc="upper left")
    describe(ax, f"{title}{'. ' * bool(title)}{_estimates(x, y, hashes, varies)}")
    return ax


def _estimates(x: np.ndarray, y: np.ndarray, hashes: int, varies: bool) -> str:
    known = np.isfinite(x) & np.isfinite(y)
    words = f"estimates of {plural(int(known.sum()), 'pair')} from {plural(hashes, 'hash', 'hashes')}"
    if not known.any():
        return words
    off = np.abs(y - x)[known]
    band = 2 * np.sqrt(np.clip(x[known] * (1 - x[known]), 0, None) / hashes)
    inside = int((off <= band + 1e-9).sum())
    worst = f"mean error {number(off.mean(), varies)}, largest {number(off.max(), varies)}"
    return f"{words}: {worst}; {f'‹{inside}›' if varies else inside} of {len(off)} within two standard deviations"


def draw_clusters(sizes: Array, title: str = "", ax: Axes | None = None) -> Axes:
    """How many groups of duplicates there are of each size; keeping one of each group removes the others.

    A size of 1 is a document without a duplicate.
    """
    counts = floats(sizes)
    counts = counts[np.isfinite(counts) & (counts >= 1)].astype(int)
    found, times = np.unique(counts, return_counts=True)
    ax = axes(ax, height=3.2)
    if len(found) and found.max() > 30:
        ax.set_xscale("log")
        ax.vlines(found, 0.5, times, color=OURS, linewidth=2)
        ax.plot(found, times, marker="o", color=OURS, linestyle="")
    else:
        bars = ax.bar(found, times, color=[QUIET if size == 1 else OURS for size in found], width=0.8)
        ax.bar_label(bars, fmt="{:,.0f}", padding=2, fontsize=8)
        ax.set(xticks=range(1, max([2, *found]) + 1), xlim=(0.4, max([2, *found]) + 0.6))
    if len(times) and times.max() > 30 * times.min():
        ax.set_yscale("log")
        ax.set_ylim(0.5, times.max() * 2.5)
    elif len(times):
        ax.set_ylim(0, times.max() * 1.15)
    ax.set(
        xlabel="documents in a group", ylabel="groups", title=title_of(title or "How large groups of duplicates are")
    )
    ax.grid(visible=False, axis="x")
    describe(ax, f"{title}{'. ' * bool(title)}{_clusters(counts)}")
    return ax


def _clusters(counts: np.ndarray) -> str:
    groups = counts[counts > 1]
    words = f"{plural(int(counts.sum()), 'document')}: {int((counts == 1).sum()):,} without a duplicate"
    words += f", {plural(len(groups), 'group')} of duplicates"
    if not len(groups):
        return words
    largest = f"the largest has {plural(int(groups.max()), 'document')}"
    return f"{words}; {largest}; keeping one of each removes {int((groups - 1).sum()):,}"
