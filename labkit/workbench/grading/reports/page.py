"""Pages that need no other file: text made safe to show, dates and spans in words, one look for screen and paper."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from labkit.workbench.display import counted

LONGEST = 4_000  # characters of one text; what is longer is cut and says so
MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
UNSHOWABLE = "\N{REPLACEMENT CHARACTER}"
ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
INVISIBLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")  # they would turn round the text of the page around them
STACKED = re.compile("([\u0300-\u036f]{3})[\u0300-\u036f]+")  # signs piled upon a letter cover the lines above


def shown(text: object, longest: int = LONGEST) -> str:
    r"""Give a text without colours of a terminal, without what cannot be shown, and not too long.

    >>> shown("\x1b[31mred\x1b[0m \ud800"), shown("abcdef", 4)
    ('red �', 'abcd … (cut here)')
    """
    raw = text if isinstance(text, str) else str(text)
    clean = raw[: 2 * longest + 1000]  # a megabyte is not searched to show a page of it
    clean = TURNING.sub("", INVISIBLE.sub(UNSHOWABLE, ESCAPES.sub("", clean.replace("\r\n", "\n").replace("\r", "\n"))))
    clean = STACKED.sub(r"\1", clean)
    return clean[:longest] + " … (cut here)" if len(clean) > longest else clean


def brief(text: object, longest: int = 80) -> str:
    """Give a text in one line of at most `longest` characters.

    >>> brief("a  b\\nc"), brief("abcdef", 4)
    ('a b c', 'abc…')
    """
    line = " ".join(shown(text, 4 * longest).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def prose(text: object, longest: int = LONGEST) -> Any:
    """Give the lines of a plain text as HTML paragraphs; what stands between backquotes becomes code."""
    from markupsafe import Markup

    lines = [line for line in shown(text, longest).splitlines() if line.strip()]
    return Markup("").join(Markup("<p>{}</p>").format(with_code(line)) for line in lines)


def with_code(line: str) -> Any:
    """Give a line as HTML; what stands between backquotes becomes code."""
    from markupsafe import Markup, escape

    pieces = shown(line).split("`")
    if len(pieces) % 2 == 0:  # a lone backquote is only a character
        return escape(shown(line))
    return Markup("").join(
        Markup("<code>{}</code>").format(piece) if i % 2 else escape(piece) for i, piece in enumerate(pieces)
    )


def number(value: float | int) -> str:
    """Give points as people write them: at most one digit behind the point, and none that says nothing.

    >>> number(7.0), number(7.25), number(0.04), number(1234.5)
    ('7', '7.3', '0', '1,234.5')
    """
    text = f"{float(value) + 1e-9:,.1f}"
    return text.removesuffix(".0")


def percent(share: float | int) -> str:
    """Give a share in percent; never 0 % for something and never 100 % for less than all.

    >>> percent(0.5), percent(0.001), percent(0.999), percent(1)
    ('50 %', '1 %', '99 %', '100 %')
    """
    whole = round(100 * share)
    return f"{max(1, min(99, whole)) if 0 < share < 1 else whole} %"


def date(moment: datetime) -> str:
    """Give a moment in words, with its time zone.

    >>> from datetime import timezone
    >>> date(datetime(2026, 12, 4, 18, 5, tzinfo=timezone(timedelta(hours=-5))))
    '4 December 2026, 18:05 (UTC−5)'
    """
    day = f"{moment.day} {MONTHS[moment.month - 1]} {moment.year}, {moment:%H:%M}"
    offset = moment.utcoffset()
    if offset is None:
        return day
    hours, minutes = divmod(round(abs(offset).total_seconds() / 60), 60)
    sign = "−" if offset < timedelta(0) else "+"
    zone = f"{sign}{hours}" + (f":{minutes:02d}" if minutes else "")
    return f"{day} (UTC{zone if hours or minutes else ''})"


def span(length: timedelta) -> str:
    """Give a length of time in its two largest units.

    >>> span(timedelta(days=2, hours=3, minutes=9)), span(timedelta(seconds=20))
    ('2 days and 3 hours', 'less than a minute')
    """
    minutes = int(abs(length).total_seconds()) // 60
    parts = ((minutes // 1440, "day"), (minutes // 60 % 24, "hour"), (minutes % 60, "minute"))
    first = next((i for i, (count, _) in enumerate(parts) if count), None)
    if first is None:
        return "less than a minute"
    return " and ".join(counted(count, unit) for count, unit in parts[first : first + 2] if count)


def about_file(text: str) -> str:
    """Give a sentence about a file without the folder that it lay in; a sentence ends with a full stop.

    >>> about_file("student-07/02_ngram_models.ipynb is empty; hand in the notebook itself")
    '02_ngram_models.ipynb is empty; hand in the notebook itself.'
    """
    line = re.sub(r"^[^:;“”]*/(?=[^/:;“”]*\.ipynb\b)", "", text)
    return line if not line or (line[-1] in ".!?)…" and not line.endswith("Download)")) else f"{line}."


def title_of(notebook: str) -> str:
    """Give the name of a notebook as a heading.

    >>> title_of("02_ngram_models"), title_of("ranks")
    ('02 · ngram models', 'ranks')
    """
    digits, _, rest = notebook.partition("_")
    words = rest.replace("_", " ")
    return f"{digits} · {words}" if digits.isdigit() and words else notebook.replace("_", " ")


def render(template: str, values: Mapping[str, Any]) -> str:
    """Fill in a template of the folder `pages`; every value is made safe to show and escaped."""
    page = _environment().get_template(template).render(values)
    return "\n".join(line.rstrip() for line in page.splitlines() if line.strip()) + "\n"


@cache
def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalized,
        loader=FileSystemLoader(Path(__file__).with_name("pages"), encoding="utf-8"),
    )
    filters = {"prose": prose, "code": with_code, "points": number, "percent": percent, "counted": counted}
    environment.filters.update(filters | {"brief": brief})
    return environment


def _finalized(value: Any) -> Any:
    return shown(value) if type(value) is str else value  # not Markup, which is made of parts that were
