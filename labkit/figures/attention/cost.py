"""What attention costs: seconds and bytes against length, the wall of n², and the tiles that go around it."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from labkit.figures.attention.labels import Array, Number, byte_size, legend, log_axis, number, positive
from labkit.figures.style import ACCENT, DATA, INK, OURS, WRONG, axes, describe, new, series


def draw_growth(
    lengths: Array,
    seconds: Mapping[str, Array],
    memory: Mapping[str, Array],
    exponents: Mapping[str, Number] | None = None,
    memory_exponents: Mapping[str, Number] | None = None,
) -> Figure:
    """Seconds and bytes of attention against the number of tokens, on logarithmic axes, with the fitted powers."""
    figure, (left, right) = new(8.4, 3.6, ncols=2)
    places = np.asarray(lengths)
    panels = (
        (left, seconds, exponents or {}, "seconds", "Time"),
        (right, memory, memory_exponents or {}, "bytes", "Memory"),
    )
    for ax, curves, powers, unit, title in panels:
        sentences = []
        log_axis(ax, "x", places)
        log_axis(ax, "y", *curves.values())
        for i, (name, given) in enumerate(curves.items()):
            power = f", grows as $n^{{{powers[name]:.2f}}}$" if name in powers else ""
            ax.plot(places, positive(given), label=f"{name}{power}", **series(i))
            sentences.append(_ends(name, np.asarray(given, dtype=float), powers.get(name), timed=ax is left))
        _token_axis(ax, places)
        ax.set(ylabel=unit, title=title)
        if ax is right:
            _byte_axis(ax)
        legend(ax)
        describe(ax, f"{title} from {places[0]:,} to {places[-1]:,} tokens. " + "; ".join(sentences))
    return figure


def _ends(name: str, curve: np.ndarray, power: Number | None, *, timed: bool) -> str:
    first, last = (number(v, True) if timed else byte_size(v) for v in (curve[0], curve[-1]))
    grows = "" if power is None else f", grows as n to the power {number(power, timed)}"
    return f"{name}: {first} to {last}{' seconds' if timed else ''}{grows}"


def draw_wall(
    lengths: Array,
    naive: Array,
    tiled: Array,
    limits: Mapping[str, Number] | None = None,
    chosen: Number | None = None,
    tile: int | None = None,
    ax: Axes | None = None,
) -> Axes:
    """The bytes that naive and tiled attention keep, and where the naive one meets the memory of a machine.

    `limits` are horizontal lines by name, `chosen` is the length that a slider stands at.
    """
    ax = axes(ax, height=3.8)
    places = np.asarray(lengths, dtype=float)
    curves = {"naive, all scores": naive, "tiled" + (f", tile {tile}" if tile else ""): tiled}
    limits = dict(limits or {})
    log_axis(ax, "x", places)
    log_axis(ax, "y", naive, tiled)
    for (name, curve), colour, line in zip(curves.items(), (WRONG, OURS), ("--", "-"), strict=True):
        ax.plot(places, positive(curve), color=colour, linestyle=line, marker="", label=name)
    sentences = []
    for name, limit in limits.items():
        ax.axhline(limit, color=DATA, linestyle=":", linewidth=1.2)
        ax.annotate(name, (places[0], limit), (2, 3), textcoords="offset points", fontsize=8, color=INK)
        length = _crossing(places, np.asarray(naive, dtype=float), limit)
        if length is not None:
            ax.plot(length, limit, color=WRONG, marker="X", markersize=9, linestyle="")
            sentences.append(f"naive attention passes {name} at about {_two_digits(length):,} tokens")
    if chosen is not None:
        ax.axvline(chosen, color=ACCENT, linestyle="-.", label=f"{chosen:,.0f} tokens")
        if places[0] <= chosen <= places[-1]:  # beyond its ends a curve says nothing
            here = [_between(places, np.asarray(curve, dtype=float), chosen) for curve in (naive, tiled)]
            sentences.insert(0, f"at {chosen:,.0f} tokens naive {byte_size(here[0])}, tiled {byte_size(here[1])}")
    _token_axis(ax, places)
    _byte_axis(ax)
    ax.set(ylabel="memory", title="The wall of n², and the way around it")
    ax.legend(fontsize=8, loc="lower right")
    first, last = (byte_size(float(np.asarray(curve, dtype=float)[-1])) for curve in (naive, tiled))
    start = (
        f"memory from {places[0]:,.0f} to {places[-1]:,.0f} tokens: at the end naive {first}, {list(curves)[1]} {last}"
    )
    describe(ax, "; ".join([start, *sentences]))
    return ax


def _crossing(lengths: np.ndarray, curve: np.ndarray, limit: Number) -> float | None:
    """The length at which a growing curve passes the limit, between logarithms; None if it does not."""
    if not (np.diff(curve) > 0).all() or curve[0] <= 0 or not curve[0] < limit <= curve[-1]:
        return None
    return float(np.exp(np.interp(np.log(limit), np.log(curve), np.log(lengths))))


def _between(lengths: np.ndarray, curve: np.ndarray, length: Number) -> float:
    if (curve <= 0).any() or (lengths <= 0).any() or length <= 0:
        return float(np.interp(length, lengths, curve))
    return float(np.exp(np.interp(np.log(length), np.log(lengths), np.log(curve))))


def _token_axis(ax: Axes, lengths: np.ndarray) -> None:
    ax.set_xlabel("tokens n")
    if ax.get_xscale() != "log":
        return
    if len(lengths) <= 8:
        ax.set_xticks(lengths, [f"{length:,.0f}" for length in lengths], fontsize=8, rotation=30)
        ax.xaxis.set_minor_locator(NullLocator())
    else:
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _byte_axis(ax: Axes) -> None:
    if ax.get_yscale() == "log":
        ax.yaxis.set_major_locator(LogLocator(base=10, numticks=9))
        ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: byte_size(value)))


def _two_digits(length: float) -> int:
    """A length as one would say it: a crossing between two points of a curve is not known more exactly."""
    return int(float(f"{length:.2g}"))
