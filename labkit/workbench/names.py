"""Names typed by people: the nearest right one, for every message that refuses a wrong one."""

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Give the known name that `name` most likely stands for, or None when nothing is close."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    return by_lower[close[0]] if close else None


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Give the sentence that refuses `name`: the nearest right name first, then all of them.

    >>> unknown("scale", "laptpo", ["ci", "laptop", "gpu"])
    "there is no scale 'laptpo'; did you mean 'laptop'? (known: ci, laptop, gpu)"
    """
    known = list(known)
    guess = nearest(name, known)
    hint = f"; did you mean {guess!r}?" if guess else ""
    return f"there is no {what} {name!r}{hint} (known: {', '.join(known) or 'none'})"
