"""Where the memory goes on each rank, and how a flat buffer of parameters is cut into shards."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter

from labkit.figures.attention.labels import Array, Number, byte_size, legend, plural, readable, title_of
from labkit.figures.model_parallel.stacks import stack_bars, stack_height
from labkit.figures.optimizers.curves import floats, same_length
from labkit.figures.style import CYCLE, INK, QUIET, REFERENCE, WRONG, axes, describe

MOST_NAMED = 40


def draw_memory(
    parts: Mapping[str, Mapping[str, Number]],
    published: Mapping[str, Number] | None = None,
    limit: Number | None = None,
    varies: bool = False,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Bytes on a rank by what they are for, a bar for each stage or rank; published totals as squares.

    A bar longer than `limit` is grey: that does not fit on the device.

    Raises:
        ValueError: if `published` names a bar that is not there.
    """
    unknown = set(published or {}) - set(parts)
    if unknown:
        raise ValueError(f"published has {min(unknown)!r}, of which there is no bar; give the same names")
    sums = {name: sum(floats(list(row.values()))) for name, row in parts.items()}
    refused = [name for name, total in sums.items() if limit is not None and total > limit]
    ax = axes(ax, width=8.5, height=stack_height(len(parts)))
    write = lambda count: byte_size(max(0, count), 3)  # noqa: E731
    totals = stack_bars(ax, parts, write, refused, "does not fit")
    for text in ax.texts:  # a total is read also where the limit or a published square crosses it
        text.set(bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0}, zorder=5)
    if published:
        rows = [list(parts).index(name) for name in published]
        mark = {"marker": "s", "markersize": 9, "fillstyle": "none", "markeredgewidth": 1.8, "linestyle": ""}
        ax.plot(list(published.values()), rows, color=REFERENCE, label="published", zorder=4, **mark)
    if limit is not None:
        ax.axvline(limit, color=WRONG, linestyle="--", linewidth=1.5, label=f"limit {write(float(limit))}")
    right = max([ax.get_xlim()[1], *(1.1 * value for value in (published or {}).values())])
    ax.set(xlim=(0, right), xlabel="bytes on a rank", title=title_of(title or "Where the memory goes"))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: write(value)))
    legend(ax, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    said = [_said(name, parts[name], total, published or {}, name in refused, varies) for name, total in totals.items()]
    describe(ax, f"{title or 'bytes on a rank'}. {'; '.join(said) or 'nothing given'}")
    return ax


def _said(
    name: str,
    row: Mapping[str, Number],
    total: float,
    published: Mapping[str, Number],
    refused: bool,
    varies: bool,
) -> str:
    around = "‹{}›" if varies else "{}"
    words = f"{name}: {around.format(byte_size(total))}"
    known = {part: float(value) for part, value in row.items() if np.isfinite(value)}
    most = max(known, key=lambda part: known[part], default="")
    words += f", most of it {most}" if total > 0 and len(known) > 1 else ""
    words += f", published {byte_size(published[name])}" if name in published else ""
    return f"{words}, does not fit" if refused else words


def draw_partition(
    sizes: Array,
    names: Sequence[str],
    ranks: int,
    padding: int | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """A flat buffer: parameters one after the other, cut into equal shards by rank, the padding at its end hatched.

    Raises:
        ValueError: if there are not as many names as sizes, no rank, or the shards are not whole.
    """
    lengths = floats(sizes)
    same_length(sizes=lengths, names=names)
    if ranks < 1:
        raise ValueError(f"ranks = {ranks}; there must be one at least")
    used = int(np.nansum(lengths))
    padding = -used % ranks if padding is None else padding
    shard, left = divmod(used + padding, ranks)
    if left:
        raise ValueError(f"{used} numbers and {padding} of padding do not divide among {ranks} ranks")
    ax = axes(ax, width=8.5, height=2.2)
    for rank in range(ranks):
        ax.add_patch(Rectangle((rank * shard, 0), shard, 1, facecolor=CYCLE[rank % len(CYCLE)], alpha=0.45, lw=0))
        if ranks <= MOST_NAMED:
            ax.text((rank + 0.5) * shard, 1.12, f"rank {rank}" if ranks <= 12 else str(rank), ha="center", fontsize=8)
        ax.plot([rank * shard] * 2, [-0.1, 1.1], color=INK, linewidth=2, linestyle="-")
    _draw_parameters(ax, lengths, names, used + padding)
    hatch = {"facecolor": "white", "edgecolor": QUIET, "hatch": "xxxx", "linewidth": 0}
    ax.add_patch(Rectangle((used, 0), padding, 1, label=f"padding {padding:,}" if padding else "_", **hatch))
    ax.set(xlim=(-0.005 * (used + padding), 1.005 * max(1, used + padding)), ylim=(-0.8, 1.4), yticks=[])
    ax.set(xlabel="numbers in the flat buffer", title=title_of(title or f"{used:,} numbers on {plural(ranks, 'rank')}"))
    ax.grid(visible=False)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    legend(ax, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    describe(ax, f"{title}{'. ' * bool(title)}{_cut(lengths, names, ranks, shard, padding)}")
    return ax


def _draw_parameters(ax: Axes, lengths: np.ndarray, names: Sequence[str], total: int) -> None:
    """Borders between parameters, and below a bracket with the name of each that has room for it."""
    at = 0.0
    for name, length in zip(names, np.nan_to_num(lengths), strict=True):
        if at and length > 0.003 * total:
            ax.plot([at, at], [0, 1], color=INK, linewidth=0.8, linestyle=":")
        text = readable(name, 24)
        if length / max(1, total) > 0.008 * len(text):
            a, b = at + 0.004 * total, at + length - 0.004 * total
            ax.plot([a, a, b, b], [-0.18, -0.28, -0.28, -0.18], color=QUIET, linewidth=1, linestyle="-")
            ax.text(at + length / 2, -0.33, text, ha="center", va="top", fontsize=8)
        at += length


def _cut(lengths: np.ndarray, names: Sequence[str], ranks: int, shard: int, padding: int) -> str:
    begins = np.concatenate([[0], np.cumsum(np.nan_to_num(lengths))])
    split = [
        str(name)
        for name, a, b in zip(names, begins[:-1], begins[1:], strict=True)
        if shard and a < b and int(a // shard) != int((b - 1) // shard)
    ]
    words = f"{plural(len(names), 'parameter')} with {int(begins[-1]):,} numbers on {plural(ranks, 'rank')}: "
    words += f"shards of {shard:,}, padding {padding:,}"
    some = f" ({', '.join(split[:4])}{', …' * (len(split) > 4)})" if split else ""
    return f"{words}; {plural(len(split), 'parameter is', 'parameters are')} cut between ranks{some}"
