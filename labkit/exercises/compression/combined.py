"""The exercise on choosing: which variants nothing beats."""

from labkit.workbench.checking import Exercise, WrongAnswer

NOTEBOOK = "20_smaller_models"


def pareto_front(points):
    """Those that no other one beats: none is as good in both and better in one."""
    kept = []
    for place, (size, loss) in enumerate(points):
        beaten = any(s <= size and x <= loss and (s < size or x < loss) for s, x in points)
        if not beaten:
            kept.append((size, loss, place))
    return [place for _, _, place in sorted(kept)]


def _front(points, beats):
    kept = [(s, x, place) for place, (s, x) in enumerate(points) if not any(beats(a, b, s, x) for a, b in points)]
    return [place for _, _, place in sorted(kept)]


def _lower_hull(points):
    """The convex hull from below: a variant under the line between two others is thrown away."""
    hull = []
    for size, loss, place in sorted((s, x, place) for place, (s, x) in enumerate(points)):
        if hull and loss >= hull[-1][1]:
            continue
        while len(hull) > 1 and _left_of(hull[-2], hull[-1], (size, loss)):
            hull.pop()
        hull.append((size, loss, place))
    return [place for _, _, place in hull]


def _left_of(one, middle, last):
    ahead = (middle[0] - one[0]) * (last[1] - one[1])
    return ahead <= (middle[1] - one[1]) * (last[0] - one[0])


def _cases(draw):
    few = [(10, 3.0), (4, 9.0), (7, 8.5), (12, 2.0), (11, 5.0)]
    equal = [(5, 2.0), (5, 2.0), (5, 3.0), (6, 2.0)]
    random = [
        [(int(draw.integers(1, 40)), round(float(draw.uniform(1, 9)), 1)) for _ in range(int(count))]
        for count in draw.integers(6, 15, size=4)
    ]
    return [(case,) for case in (few, equal, [], [(1, 1.0)], *random)]


PARETO_FRONT = Exercise(
    id="compression.pareto_front",
    notebook=NOTEBOOK,
    statement=(
        "`points` is a list of (bytes, loss), one for each variant. Return the Pareto front as a list of their places "
        "in `points`, smallest file first: those variants that no other one beats. One beats another if it is at least "
        "as good in both numbers and better in one of them. Of two with the same numbers neither beats the other."
    ),
    difficulty=2,
    minutes=8,
    hints=(
        "For each variant ask whether any other one beats it; two loops are enough. Being worse in one number than "
        "somebody is no disgrace: being worse in one and not better in the other is.",
        "`beaten = any(s <= size and x <= loss and (s < size or x < loss) for s, x in points)`; collect the others "
        "as (bytes, loss, place) and sort.",
    ),
    solution=pareto_front,
    wrong=(
        WrongAnswer(
            "beaten by itself",
            lambda points: _front(points, lambda a, b, s, x: a <= s and b <= x),
            "Nothing is left: with ≤ in both numbers every variant is beaten by itself. To beat means to be better in "
            "one of the two.",
        ),
        WrongAnswer(
            "better in both",
            lambda points: _front(points, lambda a, b, s, x: a < s and b < x),
            "You throw out only what is worse in both numbers. A file of the same size with a larger loss is beaten, "
            "too: at least as good in both, and better in one.",
        ),
        WrongAnswer(
            "better in one",
            lambda points: _front(points, lambda a, b, s, x: a < s or b < x),
            "You threw out everything that somebody beats in *one* number. Almost every variant has a smaller or a "
            "better one; it must lose in one and not win in the other.",
        ),
        WrongAnswer(
            "convex hull",
            _lower_hull,
            "You kept the convex hull. A variant above the straight line between two others is still the best of its "
            "size, and nobody can ship half of one model and half of another.",
        ),
        WrongAnswer(
            "best first",
            lambda points: pareto_front(points)[::-1],
            "These are the right ones, but in the wrong order: the smallest file comes first.",
        ),
    ),
    cases=_cases,
)
