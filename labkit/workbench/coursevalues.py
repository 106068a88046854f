"""What may stand in a course file: each kind of value is taken as it is written, or refused with what to write."""

import math
import re
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from labkit.workbench.names import nearest

YEARS = range(2000, 2200)
MOMENT = "2026-11-30T23:59:00+01:00"


class Refusal(ValueError):
    """A value that cannot be; the message says what was expected and what to write."""


def words(value: Any) -> str:
    """Take words in quotes that are not empty."""
    if not isinstance(value, str) or not value.strip():
        raise Refusal('words in quotes were expected, as in "Language models"')
    return value.strip()


def text(value: Any) -> str:
    """Take words in quotes, which may be empty."""
    return value.strip() if value == "" else words(value)


def switch(value: Any) -> bool:
    """Take true or false."""
    if not isinstance(value, bool):
        raise Refusal("write true or false, without quotes")
    return value


def one_of(*choices: str) -> Callable[[Any], str]:
    """Take one of some words."""

    def take(value: Any) -> str:
        if value in choices:
            return value
        guess = nearest(value, choices) if isinstance(value, str) else None
        hint = f"; did you mean {guess!r}?" if guess else ""
        raise Refusal(f"write {' or '.join(repr(choice) for choice in choices)}{hint}".replace("'", '"'))

    return take


def amount(value: Any) -> float:
    """Take a number that is not negative."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise Refusal("a number was expected, 0 or above, without quotes")
    return float(value)


def share(value: Any) -> float:
    """Take a share from 0 to 1."""
    percent = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", value)[1] if _is_percent(value) else value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        meant = _number(percent)
        advice = f": for {meant:g} % write {meant / 100:g}" if meant is not None and 0 < meant <= 100 else ""
        raise Refusal(f"a share from 0 to 1 was expected{advice}")
    return float(value)


def _is_percent(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"\s*\d+(\.\d+)?\s*%\s*", value) is not None


def _number(value: Any) -> float | None:
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def minutes(value: Any) -> int:
    """Take a whole number of minutes."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 100_000:
        raise Refusal("a whole number of minutes was expected, as in 15")
    return value


def zone(value: Any) -> ZoneInfo:
    """Take the name of a time zone."""
    import zoneinfo

    try:
        return ZoneInfo(value)
    except Exception:  # zoneinfo has half a dozen ways to say no, and not all are ValueErrors
        known = zoneinfo.available_timezones()
        guess = nearest(value, known) if isinstance(value, str) else None
        hint = f'; did you mean "{guess}"?' if guess else ""
        bare = "" if known else "; this machine knows no time zones (package tzdata), so write deadlines with an offset"
        raise Refusal(f'a time zone was expected, as in "Europe/Berlin"{hint}{bare}') from None


def moment(value: Any, local: ZoneInfo | None) -> datetime:
    """Take a date with a time and a time zone: its own offset, or that of the course."""
    if isinstance(value, str):
        raise Refusal("write it without quotes")
    if isinstance(value, time) or not isinstance(value, date):
        raise Refusal(f"a date with a time was expected, as in {MOMENT}")
    if not isinstance(value, datetime):
        raise Refusal(f"the time is missing; write {value}T23:59:00{'' if local else '+01:00'}")
    if value.year not in YEARS:
        raise Refusal(f"a year from {YEARS[0]} to {YEARS[-1]} was expected")
    if value.tzinfo is not None:
        return value.astimezone(local) if local else value
    if local is None:
        raise Refusal(
            f"that has no time zone; write {value.isoformat()}+01:00 with the offset of your place, or "
            'timezone = "Europe/Berlin" under [course]'
        )
    return _by_the_clock(value, local)


def _by_the_clock(value: datetime, local: ZoneInfo) -> datetime:
    """Give a local time its zone; of an hour that comes twice the later one, and one that never comes is refused."""
    found = value.replace(tzinfo=local, fold=1)
    if found.astimezone(ZoneInfo("UTC")).astimezone(local).replace(tzinfo=None) != value:
        later = (value + timedelta(hours=1)).isoformat()
        raise Refusal(f"no clock in {local.key} shows that time, since it is put forward then; write {later}")
    return found


def said(value: Any) -> str:
    """Give a value as it would stand in a course file, in short."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    written = f'"{value}"' if isinstance(value, str) else "a table" if isinstance(value, dict) else repr(value)
    return written if len(written) <= 60 else written[:57] + "…"


def line_of(lines: list[str], table: str, key: str, number: int = 0) -> int | None:
    """Give the number of the line where a key of a table stands (of the `number`-th such table), or the table itself.

    A course file is for people, so this looks for what people write; where it finds nothing there is no number.
    """
    inside, seen, home = not table, -1, None
    for i, line in enumerate(lines, 1):
        if header := re.match(r"\s*\[\[?\s*([^\[\]]+?)\s*\]", line):
            first = header[1].strip("\"'").partition(".")[0]
            seen += first == table
            inside = first == table and seen == number if number or table else False
            home = i if inside and home is None else home
        elif inside and key and _begins_with(line, key):
            return i
    return home


def _begins_with(line: str, key: str) -> bool:
    written = re.match(r"\s*([^=#]+?)\s*=", line)
    return written is not None and re.sub(r"[\"'\s]", "", written[1]) == key


def fitting(name: str, known: Iterable[str]) -> list[str]:
    """Give the notebooks that a name stands for: its number (which two may share), its name or how its topic begins."""
    known = list(known)
    wanted = name.strip().lower().removesuffix(".ipynb").replace("-", "_")
    if wanted.isdecimal():
        return [stem for stem in known if stem.startswith(f"{int(wanted):02d}_")]
    exact = [stem for stem in known if wanted in (stem, stem.partition("_")[2])]
    begun = [stem for stem in known if wanted and any(it.startswith(wanted) for it in (stem, stem.partition("_")[2]))]
    return exact or (begun if len(begun) == 1 else [])
