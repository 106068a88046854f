"""Pictures of the start page: the map of the course."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from labkit.figures.style import DATA, INK, OURS, QUIET, axes, describe

# The course, row by row, as its notebooks are numbered; the map marks those that stand.
PARTS = {
    "Begin here": ("00 start here",),
    "Words and counts": ("01 probability", "02 n-grams", "03 tokens", "04 word vectors"),
    "Networks": ("05 recurrent", "06 attention", "07 transformer"),
    "Training": ("08 Adam", "09 training loop", "10 pretraining", "11 finetuning"),
    "Data and judgement": ("12 evaluation", "13 cleaning", "14 augmentation", "15 privacy"),
    "Many machines": ("16 data parallel", "17 model parallel", "18 ZeRO", "19 planning"),
    "Out into the world": ("20 compression", "21 serving", "22 capstone"),
}


def draw_course_map(
    standing: Sequence[str], parts: Mapping[str, Sequence[str]] = PARTS, ax: Axes | None = None
) -> Axes:
    """The notebooks of the course as a path through its parts; `standing` are the numbers that can be run today."""
    ax = axes(ax, width=8, height=4.6)
    for row, (part, notebooks) in enumerate(parts.items()):
        y = len(parts) - row
        ax.text(0, y, part, ha="left", va="center", fontsize=10, color=INK, weight="bold")
        for column, label in enumerate(notebooks):
            x, open_ = 2.6 + 1.75 * column, label[:2] in standing
            box = FancyBboxPatch(
                (x - 0.75, y - 0.28),
                1.5,
                0.56,
                boxstyle="round,pad=0.02,rounding_size=0.12",
                facecolor="#d8ebfb" if open_ else "white",
                edgecolor=OURS if open_ else QUIET,
                linewidth=2 if open_ else 1,
                linestyle="-" if open_ else ":",
            )
            ax.add_patch(box)
            ax.text(x, y, label, ha="center", va="center", fontsize=9, color=INK)
            if column:
                ax.annotate(
                    "", (x - 0.78, y), (x - 0.97, y), arrowprops={"arrowstyle": "->", "color": DATA, "linewidth": 1}
                )
    ax.set(xlim=(-0.1, 8.8), ylim=(0.4, len(parts) + 0.6), title="From counting words to serving a model")
    ax.axis("off")
    count = sum(len(notebooks) for notebooks in parts.values())
    describe(
        ax,
        f"map of the course: {count} notebooks in {len(parts)} parts, {', '.join(parts)}; "
        f"these can be run today: {', '.join(standing)}",
    )
    return ax


LIFETIME = 1e9  # words a person hears or reads in a lifetime, to an order of magnitude
LARGEST = 1.5e13  # tokens that a large model of 2024 was trained on (Source: Llama 3, 2024, section 3.1)


def draw_possibilities(words: int = 5_000, length: int = 3) -> Axes:
    """How many sequences of a length there are, beside what a person and a large model have read."""
    ax = axes(None, height=2.6)
    possible = float(words) ** length
    labels = [f"sequences of {length}", "a person in a lifetime", "a large model in training"]
    bars = [possible, LIFETIME, LARGEST]
    ax.barh(labels[::-1], bars[::-1], color=[DATA, DATA, OURS])
    ax.set(
        xscale="log", xlim=(1, 1e60), xlabel="words, or sequences of words", title=f"{words:,} words, {length} places"
    )
    read = "more than" if possible > LARGEST else "fewer than"
    describe(
        ax,
        f"{words:,} words make {possible:.2g} sequences of length {length}: {read} the {LARGEST:.2g} words a large "
        f"model reads; a person meets about {LIFETIME:.0g} in a lifetime",
    )
    return ax


def draw_hesitation(names: Sequence[str], perplexity: Sequence[float], ax: Axes | None = None) -> Axes:
    """The perplexity of some models as bars; shorter is better."""
    ax = axes(ax, height=2.4)
    bars = ax.barh(list(names)[::-1], list(perplexity)[::-1], color=OURS)
    ax.bar_label(bars, fmt="{:,.0f}", padding=4)
    ax.set(xlabel="perplexity on new text (words to hesitate between)", xlim=(0, max(perplexity) * 1.15))
    describe(
        ax, "perplexity on new text: " + "; ".join(f"{n} {p:,.0f}" for n, p in zip(names, perplexity, strict=True))
    )
    return ax
