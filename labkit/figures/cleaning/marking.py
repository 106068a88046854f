"""Texts with marks on them: a page with its boilerplate struck out, personal data labelled, bytes read in many ways."""

from collections import Counter
from collections.abc import Mapping, Sequence

from labkit.figures.attention.labels import Number, plural
from labkit.figures.cleaning.pages import PLAIN, card, cut, quiet, scrolled, spoken, table, tag, value_of, visible
from labkit.figures.style import DATA, Marked

MOST_BLOCKS = 300
MOST_BYTES = 64
MOST_RULES = 10  # in one table
NO_BREAK = "\u00a0"
KEPT, GONE = "#116329", "#a40e26"  # dark enough for white letters; a sign always says the same
# Tint and dark tone of each kind of span; two kinds of one colour still differ by their labels.
_TONES = (
    ("#cfe4fa", "#0550ae"),
    ("#ffe0c7", "#953800"),
    ("#ead9f4", "#6e2a98"),
    ("#f9d5cf", "#a40e26"),
    ("#dcead0", "#3b6315"),
    ("#e6e8ea", "#424a53"),
    ("#f3e6b3", "#6b5900"),
    ("#cdeef0", "#0b6068"),
)
_KINDS = ("email", "phone", "ipv4", "card", "id_cn", "ssn", "url", "ipv6")
_WRAP = "white-space:pre-wrap;overflow-wrap:anywhere"


def mark_blocks(blocks: Sequence, title: str = "", height: Number = 24, longest: int = 600) -> Marked:
    """A page block by block: what is kept is plain, what is dropped is struck out and labelled with its reason.

    A block is (text, kept, reason); the box is `height` lines high, a block of more than `longest` characters is cut.
    """
    rows = [(str(text), bool(kept), str(reason)) for text, kept, reason in blocks]
    shown = "".join(_block(*row, longest) for row in rows[:MOST_BLOCKS])
    shown += quiet(f"… {len(rows) - MOST_BLOCKS:,} more blocks") if len(rows) > MOST_BLOCKS else ""
    box = scrolled(shown or quiet("the page has no blocks"), "the page, block by block", height, min(4, height))
    return card(title, [box], _blocks(rows))


def _block(text: str, kept: bool, reason: str, longest: int) -> str:
    part, rest = cut(text, longest)
    body = f"{visible(part)}{' ' if rest else ''}{quiet(rest)}" if part.strip() else quiet("(empty)")
    if kept:
        label = f" {quiet(f'✓ {spoken(reason, 60)}')}" if reason else ""
        return f'<div style="border-left:4px solid {KEPT};padding-left:8px;margin:4px 0;{_WRAP}">{body}{label}</div>'
    line = f"border-left:4px double {GONE};padding-left:8px;margin:4px 0;{_WRAP};color:#57606a"
    struck = f'<del style="text-decoration:line-through;color:#57606a">{body}</del>'
    why = spoken(reason, 60) or "dropped"
    return f'<div style="{line}">{tag(f"✗ {why}", GONE)} {struck}</div>'


def _blocks(rows: list[tuple[str, bool, str]]) -> str:
    sizes = {kept: sum(len(text) for text, here, _ in rows if here == kept) for kept in (True, False)}
    kept = sum(here for _, here, _ in rows)
    words = f"{plural(len(rows), 'block')}: {kept} kept with {plural(sizes[True], 'character')}"
    words += f", {len(rows) - kept} struck out with {plural(sizes[False], 'character')}"
    reasons = Counter(spoken(reason, 60) or "dropped" for _, here, reason in rows if not here)
    named = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common(6))
    return f"{words} ({named}{', …' if len(reasons) > 6 else ''})" if named else words


def mark_spans(
    text: str,
    spans: Sequence = (),
    verdicts: Sequence = (),
    title: str = "",
    height: Number = 16,
) -> Marked:
    """A text with its spans (start, end, kind) labelled, and below it quality rules (rule, value, limit, passed).

    Raises:
        ValueError: if a span lies outside the text, is empty, or overlaps another.
    """
    ordered = _in_order(text, spans)
    part, rest = cut(text)
    tones = _tones([kind for _, _, kind in ordered])
    box = scrolled(
        f'<div style="{_WRAP}">{_labelled(part, ordered, tones)}</div>{quiet(rest)}', "the text", height, min(4, height)
    )
    rows = [tuple(row) for row in verdicts]
    said = f"{plural(len(text), 'character')}, {_spans(text, ordered)}{_verdicts(rows)}"
    return card(title, [box, *_checklist(rows)], said)


def _in_order(text: str, spans: Sequence) -> list[tuple[int, int, str]]:
    ordered = sorted((int(start), int(end), str(kind)) for start, end, kind in spans)
    last = 0
    for start, end, kind in ordered:
        if not 0 <= start < end <= len(text):
            raise ValueError(f"span ({start}, {end}, {kind!r}) is not inside a text of {len(text)} characters")
        if start < last:
            raise ValueError(f"span ({start}, {end}, {kind!r}) overlaps the one before it; give spans that do not")
        last = end
    return ordered


def _tones(kinds: Sequence[str]) -> dict[str, tuple[str, str]]:
    names = [*_KINDS, *sorted(set(kinds) - set(_KINDS))]
    return {kind: _TONES[i % len(_TONES)] for i, kind in enumerate(names)}


def _labelled(text: str, spans: list[tuple[int, int, str]], tones: Mapping[str, tuple[str, str]]) -> str:
    pieces, last = [], 0
    for start, end, kind in spans:
        if start >= len(text):
            break
        tint, dark = tones[kind]
        edge = f"background:{tint};color:#1f2328;border-bottom:2px solid {dark};border-radius:3px;padding:0 2px"
        mark = f'<mark style="{edge}">[{visible(text[start:end])}]</mark>{tag(spoken(kind, 24), dark)}'
        pieces += [visible(text[last:start]), mark]
        last = end
    return "".join([*pieces, visible(text[last:])]) or quiet("(empty)")


def _checklist(rows: list[tuple]) -> list[str]:
    """One table, or two beside each other, with shorter signs, where there are many rules."""
    many = len(rows) > MOST_RULES
    half = max(1, -(-len(rows) // 2) if many else len(rows))
    tables = ""
    for start in range(0, len(rows), half):
        cells = [_verdict(*row, brief=many) for row in rows[start : start + half]]
        tables += f'<div style="flex:1 1 22em">{table(("verdict", "rule", "value", "limit"), cells)}</div>'
    return [f'<div style="display:flex;flex-wrap:wrap;gap:0 10px">{tables}</div>'] if rows else []


def _verdict(rule: object, value: object, limit: object, passed: object, brief: bool) -> list[str]:
    sign = tag("✓" if brief else "✓ passes", KEPT) if passed else tag("✗" if brief else "✗ fails", GONE)
    name, number, asked = (visible(spoken(each, 60)) for each in (rule, value_of(value), value_of(limit)))
    # A name may break at its underscores, a limit only between its two ends.
    return [sign, name.replace("_", "_<wbr>"), number, asked.replace(" ", NO_BREAK).replace(f",{NO_BREAK}", ", ")]


def _spans(text: str, spans: list[tuple[int, int, str]]) -> str:
    named = "; ".join(f"{kind} “{spoken(text[start:end], 30)}”" for start, end, kind in spans[:8])
    more = f"; and {len(spans) - 8} more" if len(spans) > 8 else ""
    return f"{plural(len(spans), 'span')}{': ' * bool(named)}{named}{more}"


def _verdicts(rows: list[tuple]) -> str:
    if not rows:
        return ""
    failed = [
        f"{spoken(rule, 60)} {value_of(value)} (limit {value_of(limit)})" for rule, value, limit, ok in rows if not ok
    ]
    words = f". {len(rows) - len(failed)} of {plural(len(rows), 'rule')} passed"
    return f"{words}; failed: {'; '.join(failed)}" if failed else words


def mark_bytes(raw: bytes, decodings: Mapping[str, str | None], chosen: str = "", title: str = "") -> Marked:
    """The bytes of a text in hexadecimal, and what each decoding makes of them; `chosen` is the one taken.

    A decoding that fails is None. Characters that stand for unreadable bytes (U+FFFD) are marked.

    Raises:
        ValueError: if no decoding has the name `chosen`.
    """
    if chosen and chosen not in decodings:
        raise ValueError(f"no decoding is called {chosen!r}; there are {', '.join(decodings)}")
    more = f" … {len(raw) - MOST_BYTES:,} more bytes" if len(raw) > MOST_BYTES else ""
    digits = f'<span style="font-family:monospace;font-size:12px">{raw[:MOST_BYTES].hex(" ") or "(no bytes)"}</span>'
    box = scrolled(f'<div style="{_WRAP}">{digits}{quiet(more)}</div>', "the bytes", 6)
    rows = [_reading(name, text, name == chosen) for name, text in decodings.items()]
    said = "; ".join(_read(name, text) for name, text in decodings.items())
    taken = f". Taken: {chosen}" if chosen else ""
    alt = f"{plural(len(raw), 'byte')} in {plural(len(decodings), 'decoding')}. {said}{taken}"
    readings = table(("read as", "text", "characters"), rows)
    return card(title, [box, readings], alt)


def _reading(name: str, text: str | None, chosen: bool) -> list[str]:
    label = tag(f"✓ {spoken(name, 60)}", KEPT) if chosen else f'<span style="white-space:nowrap">{visible(name)}</span>'
    if text is None:
        return [label, tag("✗ not valid", GONE), "–"]
    part, rest = cut(text, 200)
    lost = f'<span style="border:1px solid {DATA};background:#f9d5cf;color:{GONE}">\ufffd</span>'
    body = f'<div style="{_WRAP};{PLAIN}">{visible(part).replace(chr(0xFFFD), lost)}{quiet(rest)}</div>'
    count = text.count("\ufffd")
    return [label, body if part else quiet("(empty)"), f"{len(text):,}" + (f", {count:,} unreadable" if count else "")]


def _read(name: str, text: str | None) -> str:
    if text is None:
        return f"{name}: not valid"
    count = text.count("\ufffd")
    unreadable = f", {count:,} unreadable" if count else ""
    return f"{name}: “{spoken(text, 24)}”, {plural(len(text), 'character')}{unreadable}"
