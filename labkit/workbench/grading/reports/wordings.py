"""What a status means: a sign, words a learner understands, what to do about it, the tone of its card."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Wording:
    """How a status is told: `sign` and `words` say what the colour of `tone` says, `advice` what can be done."""

    sign: str
    words: str
    tone: str
    advice: str = ""


WORDINGS = {
    "correct": Wording("✓", "correct", "good"),
    "partly": Wording("◐", "partly right", "half"),
    "wrong": Wording("✗", "not right yet", "bad"),
    "error": Wording(
        "✗",
        "stopped with an error",
        "bad",
        "Restart the kernel, run your notebook from the top, then try this input and look at the line.",
    ),
    "not started": Wording("○", "not started", "open", "The answer was still empty when you handed it in."),
    "missing": Wording(
        "○", "not there", "open", "The cell of this exercise is not in the notebook that you handed in."
    ),
    "timeout": Wording(
        "✗",
        "took too long",
        "bad",
        "It was stopped, so it earns nothing. Look for a loop that never ends, or for work done again and again.",
    ),
    "memory": Wording(
        "✗",
        "needed too much memory",
        "bad",
        "It was stopped, so it earns nothing. Look for a list that grows without end, or for a huge array.",
    ),
    "crashed": Wording(
        "✗",
        "ended before it answered",
        "bad",
        "Look for `exit()` or `quit()`: a function gives its answer by `return`. If you find none, ask your teacher.",
    ),
    "refused": Wording(
        "✗", "gave back something that cannot be read", "bad", "Return plain values of the kind that the task names."
    ),
    "by hand": Wording("✎", "read by your teacher", "calm"),
    "waiting": Wording("✎", "waiting for your teacher to read it", "calm", "Its points are still to come."),
}


def wording(status: str) -> Wording:
    """Give the wording of a status; one that nobody knows is told by its own name."""
    return WORDINGS.get(status) or Wording("•", status or "no result", "open")


def reached(right: int, cases: int, points: float) -> str:
    """Tell on how many secret inputs an answer was right that is not right everywhere, and why that may earn nothing.

    >>> reached(2, 9, 0.0)
    'Right on 2 of 9 inputs. An answer that is always the same would do as well, so this earns no points yet.'
    """
    if not 0 < right < cases:
        return ""
    idle = "" if points else " An answer that is always the same would do as well, so this earns no points yet."
    return f"Right on {right} of {cases} inputs.{idle}"


def encouragement(share: float | int, correct: int, started: int, asked: int, unread: bool = False) -> str:
    """Give one sentence to a learner by the `share` of points and the counts of exercises; never a reproach.

    `unread` tells that a file came which could not be read.
    """
    if unread:
        return "A file that you handed in could not be read, so what is in it has no points yet. See below what to do."
    if not asked:
        return "There was nothing to solve in words or code here."
    if not started:
        return "Nothing is solved yet. Begin with the first exercise of the first notebook, and ask if you are stuck."
    if share >= 0.995:
        return "Everything is right. Well done!"
    if share >= 0.85:
        return "Very good work. What is left is small: the cards below say what."
    if share >= 0.5:
        return "You have a good part of the way behind you. The cards below say what to try next."
    if correct:
        return "A start is made: what you solved is marked ✓. Go on with one exercise at a time."
    return "You have begun. Take one exercise, read what its card says, and try again; ask if you are stuck."
