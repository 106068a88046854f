"""Which stage of ZeRO to choose: bytes on a rank against its memory, seconds of a step, and a step of the best one."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from labkit.figures.attention.labels import Number, number, plural
from labkit.figures.data_parallel import draw_timeline
from labkit.figures.style import describe, new
from labkit.figures.zero.memory import draw_memory


def draw_choice(
    parts: Mapping[str, Mapping[str, Number]],
    seconds: Mapping[str, Number],
    limit: Number,
    best: str | None,
    timeline: Sequence[Sequence],
    ranks: int,
    title: str = "",
) -> Axes:
    """Memory and seconds of each plan, and below the timeline of the `best`; None if none fits, and nothing is below.

    `timeline` has a list of events (rank, kind, name, begin, end) for some of the `ranks` ranks.

    Raises:
        ValueError: if a plan has no seconds, or `best` is none of them.
    """
    missing = [name for name in parts if name not in seconds] + [best] * (best is not None and best not in parts)
    if missing:
        raise ValueError(f"nothing is known of the plan {missing[0]!r}; there are {', '.join(parts) or 'none'}")
    figure, grid = new(8.8, 5.2, nrows=2) if best is not None else new(8.8, 2.9)
    top, *below = np.atleast_1d(grid)
    rows = {f"{name}: {float(seconds[name]):.3g} s": row for name, row in parts.items()}
    say = f"{best} is the fastest that fits" if best is not None else "none fits"
    draw_memory(rows, limit=limit, title=f"{title}{': ' * bool(title)}{say}", ax=top)
    for ax in below:
        draw_timeline(timeline, ranks=ranks, most=2, title=f"a step of {best}", ax=ax)
    told = "; ".join(f"{name} {number(float(seconds[name]))} s a step" for name in parts)
    describe(figure, f"{title or 'Plans'}, {plural(ranks, 'rank')}: {say}. {told or 'nothing given'}")
    return top
