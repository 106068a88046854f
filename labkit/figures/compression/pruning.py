"""What pruning keeps, what that costs in quality, which tickets win, and when a sparse product is the faster one."""

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator, PercentFormatter

from labkit.figures.attention.labels import Array, Number, legend, number, plural, positive, title_of
from labkit.figures.optimizers.curves import ends, floats, same_length, shown
from labkit.figures.style import DATA, OURS, QUIET, REFERENCE, axes, describe, new, series

GONE = "#eceff1"
MOST_LINES = 32  # rows or columns with room for lines between the cells


def draw_pruned_quality(
    sparsity: Array,
    curves: Mapping[str, Array],
    dense: Number | None = None,
    ylabel: str = "perplexity",
    varies: bool = False,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Quality against the share of zeros, a curve for each method, on a logarithmic axis where all numbers allow it.

    Raises:
        ValueError: if a curve has not one number for each share.
    """
    for name, curve in curves.items():
        same_length(**{"shares": sparsity, f"numbers of {name!r}": curve})
    ax = axes(ax, width=7.2, height=3.8)
    values = np.concatenate([floats(curve) for curve in curves.values()] or [np.empty(0)])
    if (values[np.isfinite(values)] > 0).any():
        ax.set_yscale("log")
    for i, (name, curve) in enumerate(curves.items()):
        ax.plot(floats(sparsity), shown(ax, curve), label=title_of(name), **series(i))
    if dense is not None and np.isfinite(dense):
        ax.axhline(dense, color=QUIET, linestyle="-", linewidth=1, label="dense")
    _plain_numbers(ax)
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.set(xlabel="weights that are zero", ylabel=title_of(ylabel), title=title_of(title or "What zeros cost"))
    legend(ax)
    said = [] if dense is None else [f"dense {number(dense, varies)}"]
    said += [f"{name} {_at(sparsity, curve, varies)}" for name, curve in curves.items()]
    words = f"{ylabel} against the share of zeros: {'; '.join(said) or 'nothing given'}"
    describe(ax, f"{title or ylabel}. {words}")
    return ax


def draw_kept(masks: Mapping[str, Array], title: str = "") -> Figure:
    """Masks of one weight beside each other: blue cells stay, pale ones are zero.

    Raises:
        ValueError: if there is no mask, or one is no matrix.
    """
    tables = {name: np.asarray(mask, dtype=bool) for name, mask in masks.items()}
    wrong = [f"{name} has {table.ndim} axes" for name, table in tables.items() if table.ndim != 2]
    if wrong or not tables:
        raise ValueError(f"give masks as matrices, rows for outputs; {wrong[0] if wrong else 'there is none'}")
    columns = min(4, len(tables))
    lines = math.ceil(len(tables) / columns)
    figure, grid = new(max(3.2, 2.35 * columns), 2.9 * lines, ncols=columns, nrows=lines)
    places, said = np.asarray(grid, dtype=object).ravel(), []
    for ax in places[len(tables) :]:
        ax.axis("off")
    for ax, (name, table) in zip(places, tables.items(), strict=False):
        _paint(ax, table)
        ax.set_title(f"{title_of(name)}\n{1 - table.mean() if table.size else 0:.0%} zero", fontsize=10)
        full = int((~table.any(axis=1)).sum()), int((~table.any(axis=0)).sum())
        empty = f"{full[0]} rows and {full[1]} columns are empty"
        said.append(f"{name}: {table.sum()} of {table.size} weights stay, {empty}")
    if title:
        figure.suptitle(title_of(title), fontsize=11, x=0.01, ha="left")
    describe(figure, f"{title or plural(len(tables), 'mask')}. {'; '.join(said)}")
    return figure


def draw_tickets(left: Array, winning: Array, reinitialised: Array, title: str = "", ax: Axes | None = None) -> Axes:
    """Accuracy against the share of weights left: winning tickets, and the same masks with other first weights.

    Args:
        winning, reinitialised: (rounds, networks); the line is the mean, the band all networks.

    Raises:
        ValueError: if there are not as many rounds as shares.
    """
    same_length(shares=left, rounds=winning, others=reinitialised)
    ax, share = axes(ax, width=7.2, height=3.8), positive(left)
    means = []
    for name, runs, colour, mark, dash in (
        ("rewound to its own first weights", winning, OURS, "o", "-"),
        ("same mask, other first weights", reinitialised, REFERENCE, "s", "--"),
    ):
        table = np.asarray(runs, dtype=float).reshape(len(share), -1 if len(share) else 0)
        means.append(table.mean(axis=1) if table.size else np.full(len(share), np.nan))
        ax.plot(share, means[-1], color=colour, marker=mark, linestyle=dash, label=name)
        if table.size:
            ax.fill_between(share, table.min(axis=1), table.max(axis=1), color=colour, alpha=0.15, linewidth=0)
    if np.isfinite(share).any():
        ax.set_xscale("log")
        ax.invert_xaxis()
        ax.xaxis.set_major_locator(FixedLocator(share[np.isfinite(share)]))
        ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g} %"))
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.set(xlabel="weights left (logarithmic)", ylabel="held-out accuracy", title=title_of(title or "Winning tickets"))
    legend(ax, loc="lower left")
    said = [
        f"{100 * part:.3g} % left: {number(ours, True)} rewound, {number(other, True)} with other weights"
        for part, ours, other in zip(np.asarray(left, dtype=float).ravel(), *means, strict=True)
    ]
    describe(ax, f"{title or 'winning tickets'}. {'; '.join(said) or 'no round'}")
    return ax


def draw_diet(steps: Array, sparsity: Array, losses: Array, title: str = "", ax: Axes | None = None) -> Axes:
    """The share of zeros after every step of a gradual pruning, and the loss beside it on an axis of its own.

    Raises:
        ValueError: if there are not as many shares and losses as steps.
    """
    same_length(steps=steps, shares=sparsity, losses=losses)
    ax = axes(ax, width=7.2, height=3.4)
    ax.plot(floats(steps), floats(sparsity), color=OURS, linestyle="-", label="weights that are zero")
    beside = ax.twinx()
    beside.plot(floats(steps), floats(losses), color=REFERENCE, linestyle="--", label="training loss")
    beside.set(ylabel="training loss (nats per token)")
    beside.grid(visible=False)
    beside.spines["right"].set_visible(True)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.set(
        ylim=(-0.03, 1.03), xlabel="step", ylabel="weights that are zero", title=title_of(title or "Pruned gradually")
    )
    handles = [line for part in (ax, beside) for line in part.get_lines()]
    ax.legend(handles, [line.get_label() for line in handles], fontsize=8, loc="lower right")
    words = f"zeros: {ends(sparsity)}; training loss: {ends(losses, varies=True)}"
    describe(ax, f"{title or 'pruned gradually'}. {plural(len(floats(steps)), 'step')}. {words}")
    return ax


def draw_sparse_speed(
    ratios: Mapping[str, Mapping[float, Number]],
    pays: Mapping[str, Number] | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Time of a sparse product over that of the dense one against density, both logarithmic; below the line it pays.

    Args:
        ratios: {format: {density: time over dense}}.
        pays: {format: density from which down it pays}, drawn as marks on the line; 0 where it never does.
    """
    ax, said = axes(ax, width=7.2, height=3.8), []
    for i, (name, row) in enumerate(ratios.items()):
        densities, times = positive(sorted(row)), positive([row[density] for density in sorted(row)])
        ax.plot(densities, times, label=title_of(name), **series(i))
        at = (pays or {}).get(name, 0)
        if at > 0:
            ax.plot([at], [1], marker="o", markersize=12, fillstyle="none", color=series(i)["color"], linestyle="")
        words = f"pays below a density of {number(at, True)}" if at > 0 else "never pays here"
        said.append(f"{name}: {_span(densities, times)}{f', {words}' if pays is not None else ''}")
    everything = np.concatenate([positive(list(row)) for row in ratios.values()] or [np.empty(0)])
    if np.isfinite(everything).any():
        ax.set(xscale="log", yscale="log")
        low = np.nanmin(everything)
        ax.plot([low, 1], [low, 1], color=QUIET, linestyle=":", linewidth=1.5, label="what multiplications alone say")
        ax.axhline(1.0, color=DATA, linewidth=1.5, linestyle="--", label="dense")
        ax.xaxis.set_major_locator(FixedLocator(np.unique(everything[np.isfinite(everything)])))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.set(xlabel="weights left", ylabel="time / dense time", title=title_of(title or "When a sparse product pays"))
    legend(ax, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    describe(ax, f"{title or 'time of a sparse product over the dense one'}. {'; '.join(said) or 'nothing given'}")
    return ax


def _plain_numbers(ax: Axes) -> None:
    """A logarithmic axis over less than a decade has no powers of ten: write what the marks are."""
    if ax.get_yscale() == "log":
        plain = FuncFormatter(lambda value, _: f"{value:,.10g}")
        ax.yaxis.set(major_formatter=plain)
        low, high = ax.get_ylim()
        if high / low < 30:
            ax.yaxis.set_minor_formatter(plain)
            ax.tick_params(axis="y", which="minor", labelsize=8)


def _paint(ax: Axes, table: np.ndarray) -> None:
    if table.size:
        ax.imshow(table, cmap=ListedColormap([GONE, OURS]), vmin=0, vmax=1, interpolation="nearest")
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    ax.set(xticks=[], yticks=[], xlabel="inputs", ylabel="outputs")
    if max(table.shape) <= MOST_LINES:
        for edge in range(1, table.shape[0]):
            ax.axhline(edge - 0.5, color="white", linewidth=0.8, linestyle="-")
        for edge in range(1, table.shape[1]):
            ax.axvline(edge - 0.5, color="white", linewidth=0.8, linestyle="-")


def _at(sparsity: Array, curve: Array, varies: bool) -> str:
    """The first and the last number of a curve, and at which share each stands."""
    pairs = [(s, v) for s, v in zip(floats(sparsity), floats(curve), strict=True) if np.isfinite(s) and np.isfinite(v)]
    if not pairs:
        return "has no finite number"
    ends = [pairs[0]] + ([pairs[-1]] if len(pairs) > 1 else [])
    return ", ".join(f"{number(value, varies)} at {share:.0%}" for share, value in ends)


def _span(densities: np.ndarray, times: np.ndarray) -> str:
    seen = np.flatnonzero(np.isfinite(densities) & np.isfinite(times))
    if not len(seen):
        return "no finite time"
    first, last = seen[-1], seen[0]
    begin = f"{number(times[first], True)} of dense with {densities[first]:.0%} left"
    return begin if first == last else f"{begin}, {number(times[last], True)} with {densities[last]:.0%}"
