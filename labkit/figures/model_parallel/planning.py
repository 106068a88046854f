"""Plans beside each other, and how evenly the tokens of a mixture of experts spread."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from labkit.figures.attention.labels import Array, Number, legend, number, plural, title_of
from labkit.figures.model_parallel.stacks import HATCHES, stack_bars, stack_height
from labkit.figures.style import CYCLE, INK, QUIET, WRONG, axes, describe


def draw_plan(
    parts: Mapping[str, Mapping[str, Number]],
    fits: Mapping[str, bool] | None = None,
    varies: bool = False,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """The predicted seconds of a step of each plan by cause; plans that do not fit in memory are grey.

    Raises:
        ValueError: if `fits` names a plan that is not there.
    """
    unknown = set(fits or {}) - set(parts)
    if unknown:
        raise ValueError(f"fits has {min(unknown)!r}, of which there are no parts; give the same names")
    refused = [name for name, fine in (fits or {}).items() if not fine]
    ax = axes(ax, width=8.5, height=stack_height(len(parts)))
    totals = stack_bars(ax, parts, lambda seconds: f"{seconds:.3g} s", refused, "does not fit")
    fitting = {name: total for name, total in totals.items() if name not in refused}
    best = min(fitting, key=lambda name: fitting[name]) if fitting else ""
    for label, name in zip(ax.get_yticklabels(), parts, strict=True):
        label.set_fontweight("bold" if name == best else "normal")
    ax.set(xlabel="seconds of a step", title=title_of(title or "What each plan takes"))
    said = [f"{name}: {number(total, varies)} seconds{_cause(parts[name])}" for name, total in totals.items()]
    words = f"{title or 'plans'}. {plural(len(parts), 'plan')}, {len(refused)} of which do not fit"
    words += f"; the best is {best} with {number(fitting[best], varies)} seconds" if best else ""
    describe(ax, f"{words}. {'; '.join(said) or 'none'}")
    return ax


def _cause(row: Mapping[str, Number]) -> str:
    """What takes most of the time, but for compute, which has to be done."""
    others = {part: float(value) for part, value in row.items() if part != "compute" and np.isfinite(value)}
    worst = max(others, key=lambda part: others[part], default="")
    return f", most of what is not compute is {worst}" if worst and others[worst] > 0 else ""


def draw_experts(
    counts: Array, capacity: Number | None = None, varies: bool = False, title: str = "", ax: Axes | None = None
) -> Axes:
    """Tokens that each expert gets, stacked by the rank they come from; what exceeds the capacity is lost.

    `counts` has one number for each expert, or a row of them for each rank.

    Raises:
        ValueError: if `counts` has more than two dimensions, or a negative number.
    """
    table = np.atleast_2d(np.asarray(counts, dtype=float))
    if table.ndim > 2 or (table < 0).any():
        raise ValueError(f"counts of shape {np.shape(counts)}; give tokens by expert, or by (rank, expert), from 0 on")
    table = np.nan_to_num(table)
    ranks, experts = table.shape
    ax = axes(ax, height=3.3)
    bottom = np.zeros(experts)
    for rank, row in enumerate(table):
        style = {"color": CYCLE[rank % len(CYCLE)], "hatch": HATCHES[rank % len(HATCHES)], "edgecolor": "white"}
        ax.bar(
            range(experts), row, bottom=bottom, linewidth=0.5, label=f"from rank {rank}" if ranks > 1 else "", **style
        )
        bottom = bottom + row
    mean = bottom.mean() if experts else 0.0
    ax.axhline(mean, color=INK, linestyle=":", linewidth=1.5, label=f"mean {mean:.4g}")
    if capacity is not None:
        ax.axhline(capacity, color=WRONG, linestyle="--", linewidth=1.5, label=f"capacity {capacity:.4g}")
        lost = np.clip(bottom - capacity, 0, None)
        cover = {"facecolor": "white", "edgecolor": QUIET, "hatch": "xxxx", "alpha": 0.85}
        ax.bar(range(experts), lost, bottom=bottom - lost, label="lost" if lost.any() else "", **cover)
    if experts <= 32:
        ax.set_xticks(range(experts))
    ax.set(xlabel="expert", ylabel="tokens", title=title_of(title or "Who gets the tokens"))
    ax.grid(visible=False, axis="x")
    legend(ax, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    describe(ax, f"{title}{'. ' * bool(title)}{_spread(bottom, capacity, varies)}")
    return ax


def _spread(loads: np.ndarray, capacity: Number | None, varies: bool) -> str:
    total = int(loads.sum())
    words = f"{f'‹{total:,}› tokens' if varies else plural(total, 'token')} to {plural(len(loads), 'expert')}"
    if not total:
        return words
    top = int(np.argmax(loads))
    busiest = f"‹{top}›" if varies else str(top)
    words += f": the busiest is expert {busiest} with {number(loads[top] / loads.mean(), varies)} times the mean, "
    words += f"the least busy has {number(loads.min() / loads.mean(), varies)} times it"
    if capacity is None:
        return words
    share = 100 * np.clip(loads - capacity, 0, None).sum() / loads.sum()
    return f"{words}; capacity {number(capacity)}: {number(share, varies)}% of the tokens are lost"
