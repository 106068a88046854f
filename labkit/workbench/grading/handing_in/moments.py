"""When work was handed in, as people and learning platforms write it: ISO, Moodle's long dates, dates with dots."""

import re
from datetime import UTC, datetime, timedelta, tzinfo

MONTHS = {
    "jan": 1, "feb": 2, "mar": 3, "mär": 3, "mae": 3, "apr": 4, "may": 5, "mai": 5, "jun": 6, "jul": 7, "aug": 8,
    "sep": 9, "oct": 10, "okt": 10, "nov": 11, "dec": 12, "dez": 12,
}  # fmt: skip
CLOCK = r"(?:,?\s+(?:at\s+|um\s+)?|T|\s*-\s*)(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.\d+)?)?"
CLOCK += r"(?:\s*(?P<half>[ap])\.?m\.?|\s+Uhr)?\s*(?P<zone>Z|UTC|GMT|[+-]\d\d:?\d\d)?"
DAYS = (
    r"(?P<year>\d{4})[-/.](?P<month>\d\d?)[-/.](?P<day>\d\d?)",
    r"(?P<day>\d\d?)\.\s?(?P<month>\d\d?)\.(?P<year>\d{4})",
    r"(?:[^\W\d]+\.?,?\s+)?(?P<day>\d\d?)\.?\s+(?P<word>[^\W\d]+)\.?,?\s+(?P<year>\d{4})",
    r"(?:[^\W\d]+\.?,?\s+)?(?P<word>[^\W\d]+)\.?\s+(?P<day>\d\d?),?\s+(?P<year>\d{4})",
)


def moment_in(text: str) -> datetime | None:
    """Give the moment that a text says, None if it says none; without a zone in it, it is a clock on a wall.

    >>> moment_in("Monday, 30 November 2026, 11:59 PM")
    datetime.datetime(2026, 11, 30, 23, 59)
    >>> moment_in("30.11.2026 24:00")
    datetime.datetime(2026, 12, 1, 0, 0)
    """
    text = " ".join(text.split())
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    found = next(filter(None, (re.fullmatch(day + CLOCK, text, re.IGNORECASE) for day in DAYS)), None)
    return _moment(found.groupdict()) if found else None


def _moment(parts: dict[str, str | None]) -> datetime | None:
    month = int(parts["month"]) if parts.get("month") else MONTHS.get((parts["word"] or "").lower()[:3], 0)
    hour, minute, second = (int(parts[name] or 0) for name in ("hour", "minute", "second"))
    if parts["half"]:
        hour = hour % 12 + (12 if parts["half"].lower() == "p" else 0)
    midnight = (hour, minute, second) == (24, 0, 0)
    try:
        moment = datetime(int(parts["year"]), month, int(parts["day"]), 0 if midnight else hour, minute, second)
        moment += timedelta(days=midnight)
    except (ValueError, OverflowError):
        return None
    zone = (parts["zone"] or "").upper()
    return moment.replace(tzinfo=UTC if zone in ("Z", "UTC", "GMT") else _offset(zone)) if zone else moment


def _offset(zone: str) -> tzinfo | None:
    return datetime.fromisoformat(f"2000-01-01T00:00{zone[:3]}:{zone[-2:]}").tzinfo


def aware(moment: datetime, zone: tzinfo | None) -> datetime:
    """Give a moment with a time zone: its own, or the given one, or that of this machine."""
    if moment.tzinfo is not None:
        return moment
    try:
        return moment.replace(tzinfo=zone) if zone else moment.astimezone()
    except (OverflowError, ValueError):  # a year that no clock of a machine knows
        return moment.replace(tzinfo=UTC)
