"""Numbers on a grid: where each of them goes, which codes are used, what the error is by bits and by granularity."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from labkit.figures.attention.labels import Array, Number, legend, number, plural, positive, readable, title_of
from labkit.figures.optimizers.curves import floats, log_if_wide, look, same_length
from labkit.figures.style import ACCENT, DATA, OURS, REFERENCE, WRONG, axes, describe, new

MOST_NUMBERS = 60  # more arrows than this are a smear
MOST_CODES = 16
FREE = (0, 2, 3, 5, 6)  # series whose colours mean neither a reference nor something broken


def draw_number_line(
    numbers: Array,
    levels: Array,
    codes: Array | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Numbers above, the levels of a grid below with their codes, a line from each to its nearest level.

    A number beyond the outermost level by more than half a step is clipped, and red.

    Raises:
        ValueError: without levels, or with another number of codes.
    """
    values, at = floats(numbers), floats(levels)
    values = values[np.isfinite(values)]
    if not len(at):
        raise ValueError("there are no levels; give the values that the codes mean")
    same_length(levels=at, codes=at if codes is None else codes)
    goal = at[np.abs(values[:, None] - at).argmin(1)] if len(values) else values
    step = float(np.diff(np.sort(at)).max()) if len(at) > 1 else 0.0
    cut = np.abs(values - goal) > 0.5001 * step
    ax = axes(ax, height=2.3)
    for value, end, clipped in list(zip(values, goal, cut, strict=True))[:MOST_NUMBERS]:
        ax.plot([value, end], [1, 0.12], color=WRONG if clipped else DATA, linewidth=1, linestyle="-")
    ax.scatter(values, np.ones_like(values), color=np.where(cut, WRONG, OURS), s=28, zorder=3, label="numbers")
    ax.scatter(at, np.zeros_like(at), marker="|", s=160, color=ACCENT, zorder=3, label="levels")
    for value, code in zip(at, [] if codes is None or len(at) > MOST_CODES else codes, strict=False):
        ax.text(value, -0.24, f"{int(code)}".replace("-", "−"), ha="center", va="top", fontsize=8, color=ACCENT)
    ax.set(ylim=(-0.6, 1.25), yticks=[], xlabel="value; below each level its code", ylabel="rounding")
    error = float(np.mean((values - goal) ** 2)) if len(values) else 0.0
    found = f"{plural(len(values), 'number')} on {plural(len(at), 'level')}"
    ax.set_title(title_of(title or found))
    words = f"{found}: mean square error {number(error)}, {int(cut.sum())} clipped"
    describe(ax, f"{title}. {words}" if title else words)
    return ax


def draw_codes(codes: Array, low: int, high: int, title: str = "", ax: Axes | None = None) -> Axes:
    """How many numbers have each code, of all the codes that there are; a tall bar at 0 is a wasted grid.

    A lonely code far out is named: its bar is too low to be seen.

    Raises:
        ValueError: if a code lies outside low … high.
    """
    whole = np.asarray(codes).astype(int).ravel()
    if low >= high or (whole.size and (whole.min() < low or whole.max() > high)):
        raise ValueError(f"codes outside {low} … {high}; give the range that the bits can hold")
    counts = np.bincount(whole - low, minlength=high - low + 1)
    used, shares = int((counts > 0).sum()), counts / max(1, whole.size)
    ax = axes(ax, height=3)
    ax.bar(np.arange(low, high + 1), 100 * shares, width=0.9, color=OURS)
    log_if_wide(ax, "y", shares[shares > 0], factor=1000)
    if ax.get_yscale() == "log":
        ax.set_ylim(bottom=100 * shares[shares > 0].min() / 5)
    lonely = _name_the_farthest(ax, whole, counts, low) if whole.size else ""
    says = f"{used} of {high - low + 1} codes are used"
    margin = 0.8 + 0.02 * (high - low)
    ax.set(xlim=(low - margin, high + margin), xlabel="code", ylabel="numbers with it, %")
    ax.set_title(title_of(title or says))
    top = f"the most frequent, {int(counts.argmax()) + low}, has {number(100 * shares.max())} %" if whole.size else ""
    describe(ax, ". ".join(part for part in (title, says, top, lonely) if part))
    return ax


def _name_the_farthest(ax: Axes, codes: np.ndarray, counts: np.ndarray, low: int) -> str:
    far = int(codes[np.abs(codes).argmax()])
    count, middle = int(counts[far - low]), low + (len(counts) - 1) / 2
    if count > codes.size / 1000:
        return ""
    text = f"{plural(count, 'number')} with code {far}".replace("-", "−")
    place = {"textcoords": "offset points", "ha": "right" if far > middle else "left", "fontsize": 8, "color": ACCENT}
    ax.annotate(text, (far, 100 * count / codes.size), (0, 6), **place)
    return text


def draw_error_by_bits(
    bits: Array,
    errors: Mapping[str, Array],
    formula: Array | None = None,
    ylabel: str = "mean square error",
    title: str = "",
    ax: Axes | None = None,
    varies: bool = False,
) -> Axes:
    """Errors by bits, a curve for each way to quantize; the formula as orange rings that measured points should fill.

    `varies` says that another machine would have measured other errors: its sentence marks them.

    Raises:
        ValueError: if a curve has another number of points than there are bits.
    """
    wide = floats(bits)
    same_length(bits=wide, **{"formula": wide if formula is None else formula} | dict(errors))
    ax = axes(ax)
    for index, (name, curve) in enumerate(errors.items()):
        ax.plot(wide, floats(curve), label=readable(name, 40), **look(FREE[index % 5], len(wide)))
    if formula is not None:
        ring = {"marker": "o", "markersize": 11, "fillstyle": "none", "linestyle": ""}
        ax.plot(wide, floats(formula), color=REFERENCE, label="formula", **ring)
    log_if_wide(ax, "y", *errors.values())
    legend(ax)
    ax.set(xlabel="bits", ylabel=ylabel, xticks=wide, title=title_of(title or "A bit more, a quarter of the error"))
    said = [_between(name, wide, curve, varies) for name, curve in errors.items()]
    describe(ax, f"{title or ylabel}. {'; '.join(said) or 'nothing given'}")
    return ax


def _between(name: str, bits: np.ndarray, curve: Array, varies: bool) -> str:
    values = floats(curve)
    if not len(values):
        return f"{name}: nothing"
    first, last = number(values[0], varies), number(values[-1], varies)
    return f"{name}: {first} with {bits[0]:.0f} bits, {last} with {bits[-1]:.0f}"


def draw_error_maps(maps: Mapping[str, Array], costs: Mapping[str, Number], title: str = "") -> Figure:
    """The error of every weight as a picture, side by side on one scale of colour: how far an outlier does harm.

    Args:
        maps: name → absolute error, out × in.
        costs: name → bits per weight, its share of the scales included.

    Raises:
        ValueError: if there is nothing to draw, or a map has no cost.
    """
    if not maps or set(maps) - set(costs):
        raise ValueError(f"{len(maps)} maps and {len(costs)} costs; give a cost, in bits per weight, for each map")
    tables = {name: positive(table) for name, table in maps.items()}
    seen = np.concatenate([table[np.isfinite(table)] for table in tables.values()])
    top = float(seen.max()) if seen.size else 1.0
    figure, grid = new(0.8 + 2.7 * len(tables), 3.1, ncols=len(tables))
    places, said = np.atleast_1d(grid), []
    for ax, (name, table) in zip(places, tables.items(), strict=True):
        image = ax.imshow(table, cmap="magma_r", norm=LogNorm(top / 300, top), aspect="auto", interpolation="nearest")
        rms = float(np.sqrt(np.square(np.nan_to_num(table)).mean())) if table.size else 0.0
        ax.set_title(f"{readable(name, 20)}: {costs[name]:.3g} bits,\nerror {rms:.3g}", fontsize=9)
        ax.set(xlabel="input", ylabel="output" if ax is places[0] else "")
        ax.grid(visible=False)
        said.append(f"{name}: {number(costs[name])} bits per weight, root mean square error {number(rms)}")
    figure.colorbar(image, ax=list(places), label="error of a weight", shrink=0.9)
    figure.suptitle(title_of(title or "How far an outlier does harm"), fontsize=11, x=0.01, ha="left")
    describe(figure, f"{title or 'errors of weights'}. {'; '.join(said)}")
    return figure
