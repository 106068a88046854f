"""Pictures of notebook 02: counts, discounts, perplexity, and where the probability goes."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from labkit.figures.style import ACCENT, DATA, OURS, QUIET, REFERENCE, axes, describe, series


def draw_rank_frequency(counts: np.ndarray, ax: Axes | None = None) -> Axes:
    """Word counts from the most frequent to the rarest, on two logarithmic axes, with the line of Zipf's law."""
    ax = axes(ax)
    ordered = np.sort(np.asarray(counts))[::-1]
    rank = np.arange(1, len(ordered) + 1)
    kept = np.unique(np.geomspace(1, len(ordered), 300).astype(int)) - 1
    ax.loglog(rank[kept], ordered[kept], color=DATA, linestyle="-", label="counted")
    ax.loglog(rank[kept], ordered[0] / rank[kept], color=REFERENCE, linestyle="--", label="count of the first / rank")
    ax.set(xlabel="rank", ylabel="count", title="A few words are everywhere, most are rare")
    ax.legend()
    once = int((ordered == 1).sum())
    describe(
        ax,
        f"{len(ordered):,} different words: the most frequent is counted {ordered[0]:,} times, "
        f"{once:,} words ({once / len(ordered):.0%}) only once",
    )
    return ax


def draw_pair_counts(pairs: Mapping[tuple[str, str], int], ax: Axes | None = None) -> Axes:
    """How often each word (column) was seen right behind each other word (row)."""
    ax = axes(ax, width=6, height=4.2)
    rows = list(dict.fromkeys(first for first, _ in pairs))
    columns = list(dict.fromkeys(second for _, second in pairs))
    table = np.array([[pairs.get((r, c), 0) for c in columns] for r in rows])
    ax.imshow(table, cmap="Blues", vmin=0, vmax=table.max() * 1.5)
    for i, j in zip(*np.nonzero(table), strict=True):
        ax.text(j, i, str(table[i, j]), ha="center", va="center", fontsize=9)
    ax.set_xticks(range(len(columns)), columns, rotation=45, ha="right")
    ax.set_yticks(range(len(rows)), rows)
    ax.set(xlabel="second word", ylabel="first word", title="Pairs counted; an empty field was never seen")
    ax.grid(visible=False)
    empty = int((table == 0).sum())
    describe(
        ax,
        f"{len(rows)} by {len(columns)} words: {table.sum()} pairs counted, {empty} of {table.size} fields empty",
    )
    return ax


def draw_agreement(ours: np.ndarray, theirs: np.ndarray, name: str, ax: Axes | None = None) -> Axes:
    """Our sentence scores against those of another program: points on the diagonal agree."""
    ax = axes(ax, width=5, height=3.6)
    ends = [float(min(ours.min(), theirs.min())), float(max(ours.max(), theirs.max()))]
    ax.plot(ends, ends, color=QUIET, linestyle="-", linewidth=1, label="equal")
    ax.plot(ours, theirs, linestyle="", marker="o", markersize=3, color=REFERENCE, label="one sentence")
    ax.set(xlabel="labkit (log probability)", ylabel=f"{name} (log probability)", title="Two programs, one model")
    ax.legend()
    gap = float(np.abs(ours - theirs).max())
    verdict = "all on the diagonal, to a thousandth" if gap < 1e-3 else f"they differ by up to {gap:.3g}"
    describe(ax, f"{len(ours)} sentences scored by labkit and {name}: {verdict}")
    return ax


def draw_vocabulary_trap(
    min_count: Sequence[int], perplexity: Sequence[float], known: Sequence[float], ax: Axes | None = None
) -> Axes:
    """Perplexity against the least count of a word; below each count the share of words that are still known."""
    ax = axes(ax, height=3.2)
    place = range(len(min_count))
    ax.plot(place, perplexity, color=OURS, linestyle="-", marker="o")
    ax.set_xticks(place, [f"{least:,.0f}\n{share:.0%} known" for least, share in zip(min_count, known, strict=True)])
    ax.set(yscale="log", ylabel="perplexity", title="The less it knows, the better it looks")
    ax.set_xlabel("least count to stay a word, and share of the words of new text that are known")
    describe(
        ax,
        f"with a least count of {min_count[0]}: perplexity {perplexity[0]:.0f}, {known[0]:.0%} of words known; "
        f"with {min_count[-1]:,}: perplexity {perplexity[-1]:.1f}, {known[-1]:.0%} known",
    )
    return ax


def draw_seen(shares: Mapping[str, Sequence[float]], ax: Axes | None = None) -> Axes:
    """For each text the share of held-out n-grams, order 1, 2, …, that the training text contained."""
    ax = axes(ax)
    for i, (name, values) in enumerate(shares.items()):
        ax.plot(range(1, len(values) + 1), 100 * np.asarray(values), label=name, **series(i))
    ax.set(xlabel="order n", ylabel="held-out n-grams seen (%)", ylim=(0, 102), title="Most long n-grams are new")
    ax.set_xticks(range(1, max(map(len, shares.values())) + 1))
    ax.legend()
    words = "; ".join(f"{n}: {v[0]:.0%} at order 1, {v[-1]:.0%} at order {len(v)}" for n, v in shares.items())
    describe(ax, f"share of held-out n-grams that were seen in training, {words}")
    return ax


def draw_likelihood(p: np.ndarray, log_likelihood: np.ndarray, best: float, ax: Axes | None = None) -> Axes:
    """The log-likelihood of a parameter, and where it is largest."""
    ax = axes(ax, height=2.8)
    ax.plot(p, log_likelihood, color=OURS, linestyle="-")
    ax.axvline(best, color=ACCENT, linestyle="--", label=f"relative frequency {best:.2f}")
    ax.set(
        xlabel="P(to | want)", ylabel="log-likelihood (nats)", title="The likelihood peaks at the relative frequency"
    )
    ax.legend()
    top = float(np.asarray(p)[int(np.argmax(log_likelihood))])
    describe(ax, f"log-likelihood against the probability: it is largest at {top:.2f}, the relative frequency")
    return ax


def draw_reduced_counts(values: Sequence[int], reduced: Mapping[str, Sequence[float]], ax: Axes | None = None) -> Axes:
    """By how much each method lowers the counts 1, 2, 3, …"""
    ax = axes(ax)
    ax.plot(values, values, color=DATA, linestyle="-", label="maximum likelihood")
    for i, (name, lowered) in enumerate(reduced.items()):
        ax.plot(values, lowered, label=name, **series(i))
    ax.set(xlabel="count r", ylabel="what the method makes of it", title="How much of a count to believe")
    ax.set_xticks(list(values))
    ax.legend()
    words = "; ".join(f"{name}: {v[0]:.2f} for a count of 1" for name, v in reduced.items())
    describe(ax, f"reduced counts for counts {values[0]} to {values[-1]}. {words}")
    return ax


def draw_perplexity(
    orders: Sequence[int], curves: Mapping[str, Sequence[float]], floor: float | None = None, ax: Axes | None = None
) -> Axes:
    """Perplexity on held-out text against the order, one line for each method; lower is better."""
    ax = axes(ax, height=4)
    for i, (name, values) in enumerate(curves.items()):
        ax.plot(orders, values, label=name, **series(i))
    if floor is not None:
        ax.axhline(floor, color=ACCENT, linestyle="--", label=f"true entropy: {floor:.2f}")
    ax.set(xlabel="order n", ylabel="perplexity on held-out text", yscale="log", title="Lower is better")
    ax.set_xticks(list(orders))
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
    ax.yaxis.set_minor_locator(NullLocator())
    ax.legend(fontsize=8, ncols=2)
    words = "; ".join(
        f"{n}: {v[0]:.4g} at order {orders[0]}, {v[-1]:.4g} at order {orders[-1]}" for n, v in curves.items()
    )
    describe(ax, f"perplexity by order. {words}" + ("" if floor is None else f". The floor is {floor:.3g}"))
    return ax


def draw_weights(history: Sequence[float], ax: Axes | None = None) -> Axes:
    """The entropy of the held-out text at each step of expectation maximisation."""
    ax = axes(ax, height=2.8)
    ax.plot(range(len(history)), history, color=OURS, linestyle="-", marker="o", markersize=3)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="step of EM", ylabel="bits per token", title="No step makes it worse")
    describe(
        ax, f"entropy over {len(history)} steps: starts at {history[0]:.3f}, ends at {history[-1]:.3f} bits per token"
    )
    return ax


def draw_redistribution(
    words: Sequence[str], plain: np.ndarray, smoothed: np.ndarray, title: str, ax: Axes | None = None
) -> Axes:
    """What smoothing took from the words that were seen, and what it gave to those that were not."""
    ax = axes(ax, height=3.6)
    place = np.arange(len(words))
    labels = [word.replace("$", r"\$") for word in words]  # a dollar would begin a formula
    ax.bar(place - 0.2, plain, width=0.4, color=DATA, label="maximum likelihood")
    ax.bar(place + 0.2, smoothed, width=0.4, color=OURS, hatch="//", edgecolor="white", label="smoothed")
    ax.set_xticks(place, labels, rotation=35, ha="right")
    ax.set(ylabel="probability", title=title.replace("$", r"\$"))
    ax.legend()
    gain = int(np.argmax(np.asarray(smoothed) - np.asarray(plain)))
    describe(
        ax,
        f"{title}. The largest gain is that of “{words[gain]}”: {plain[gain]:.4f} before, {smoothed[gain]:.4f} after",
    )
    return ax


def draw_trellis(
    alpha: np.ndarray, states: Sequence[str], symbols: Sequence[str], path: Sequence[str], ax: Axes | None = None
) -> Axes:
    """The forward probabilities of every state at every time, and the best path through them."""
    ax = axes(ax, height=2.8)
    steps = np.arange(len(symbols))
    height = {state: i for i, state in enumerate(states)}
    for t in steps[1:]:
        for i in range(len(states)):
            for j in range(len(states)):
                ax.plot([t - 1, t], [i, j], color=QUIET, linestyle="-", linewidth=0.8, zorder=1)
    ax.plot(steps, [height[s] for s in path], color=ACCENT, linestyle="-", linewidth=3, zorder=2, label="best path")
    for t in steps:
        for i in range(len(states)):
            box = {"boxstyle": "round", "facecolor": "white", "edgecolor": OURS}
            ax.text(t, i, f"{alpha[t, i]:.4f}", ha="center", va="center", bbox=box, zorder=3)
    ax.set_xticks(steps, [f"{t + 1}: sees {s}" for t, s in enumerate(symbols)])
    ax.set_yticks(range(len(states)), states)
    ax.set(xlim=(-0.5, len(symbols) - 0.5), ylim=(-0.6, len(states) - 0.4), title="Forward probabilities")
    ax.legend(loc="upper right", fontsize=8)
    ax.grid(visible=False)
    describe(
        ax,
        f"trellis of {len(symbols)} steps and {len(states)} states; the best path is {', '.join(path)}; "
        f"all paths together have probability {alpha[-1].sum():.6f}",
    )
    return ax


def draw_score_by_kind(scores: Mapping[str, tuple[float, float, float]], ax: Axes | None = None) -> Axes:
    """Precision, recall and F1 of a tagger for each kind of name."""
    ax = axes(ax, height=2.8)
    place = np.arange(len(scores))
    names = ("precision", "recall", "F1")
    for i, name in enumerate(names):
        ax.bar(
            place + (i - 1) * 0.25, [s[i] for s in scores.values()], width=0.25, label=name, color=series(i)["color"]
        )
    ax.set_xticks(place, list(scores))
    ax.set(ylabel="score", ylim=(0, 1), title="Names found in the last chapters")
    ax.legend(ncols=3, fontsize=8)
    words = "; ".join(f"{kind}: precision {p:.2f}, recall {r:.2f}, F1 {f:.2f}" for kind, (p, r, f) in scores.items())
    describe(ax, words)
    return ax
