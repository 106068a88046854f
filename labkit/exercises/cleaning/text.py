"""Exercises on text: a label that browsers do not believe, and how much of a block is links."""

from labkit.workbench.checking import Exercise, WrongAnswer

NOTEBOOK = "13_data_cleaning"


def read_page_bytes(raw, label):
    """Believe the bytes first: valid UTF-8 is UTF-8; then the label; what cannot be read becomes U+FFFD."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        meant = {"latin-1": "cp1252", "gb2312": "gb18030"}.get(label, label)
        return raw.decode(meant, errors="replace")


def _label_first(raw, label):
    return raw.decode({"latin-1": "cp1252", "gb2312": "gb18030"}.get(label, label), errors="replace")


def _literal_label(raw, label):
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode(label, errors="replace")


def _only_western_label(raw, label):
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp1252" if label == "latin-1" else label, errors="replace")


def _dropping(raw, label):
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        meant = {"latin-1": "cp1252", "gb2312": "gb18030"}.get(label, label)
        return raw.decode(meant, errors="ignore")


_SENTENCES = ("naïve “tea” – 5 €", "朱镕基 学习 语言", "Größe: 3 ½ “”", "上海 体育 镕")


def _page_bytes(draw):
    text = _SENTENCES[draw.integers(4)] + " " + "abc"[: draw.integers(3)]
    chinese = text[0] > "\u2fff" or "海" in text
    written = ("utf-8", "gb18030" if chinese else "cp1252")[draw.integers(2)]
    return text.encode(written), "gb2312" if chinese else "latin-1"


READ_PAGE_BYTES = Exercise(
    id="cleaning.read_page_bytes",
    notebook=NOTEBOOK,
    statement=(
        "A page is bytes `raw` with a `label` such as 'latin-1', 'gb2312' or 'utf-8'. Give its text: bytes that are "
        "valid UTF-8 are UTF-8, whatever the label says; otherwise believe the label as browsers read it, latin-1 as "
        "cp1252 and gb2312 as gb18030. A byte that makes no sense becomes U+FFFD."
    ),
    difficulty=1,
    minutes=6,
    hints=(
        "`raw.decode('utf-8')` raises UnicodeDecodeError when the bytes are no UTF-8: try it first, and catch that.",
        "In the except: `meant = {'latin-1': 'cp1252', 'gb2312': 'gb18030'}.get(label, label)`, then "
        "`raw.decode(meant, errors='replace')`.",
    ),
    solution=read_page_bytes,
    wrong=(
        WrongAnswer(
            "label first",
            _label_first,
            "You believed the label before the bytes. UTF-8 under the label latin-1 is the commonest lie of the web, "
            "and this is how mojibake is made: try UTF-8 first.",
        ),
        WrongAnswer(
            "the label to the letter",
            _literal_label,
            "You read latin-1 as latin-1 and gb2312 as gb2312. Pages with these labels hold “ ” and €, or the 镕 of a "
            "prime minister, which those lack: browsers read cp1252 and gb18030.",
        ),
        WrongAnswer(
            "one label of two",
            _only_western_label,
            "latin-1 is right now. gb2312 needs the same: it has 6,763 characters, and 镕 is not among them; read "
            "gb18030 instead.",
        ),
        WrongAnswer(
            "bad bytes dropped",
            _dropping,
            "Bytes that make no sense are gone without a trace. Put U+FFFD there (`errors='replace'`), so that "
            "somebody can count them.",
        ),
    ),
    cases=lambda draw: [
        (b"plain", "latin-1"),
        ("naïve".encode(), "latin-1"),
        (b"\x93tea\x94", "latin-1"),
        ("朱镕基".encode("gb18030"), "gb2312"),
        (b"a\xffb", "utf-8"),
        (b"", "gb2312"),
        *(_page_bytes(draw) for _ in range(5)),
    ],
)


def share_of_links(pieces):
    """Characters inside links over all characters; white space counts for neither, no text has no links."""
    counted = [(len("".join(text.split())), inside) for text, inside in pieces]
    total = sum(size for size, _ in counted)
    return sum(size for size, inside in counted if inside) / total if total else 0.0


def _pieces_counted(pieces):
    return sum(inside for _, inside in pieces) / len(pieces) if pieces else 0.0


def _words_counted(pieces):
    total = sum(len(text.split()) for text, _ in pieces)
    return sum(len(text.split()) for text, inside in pieces if inside) / total if total else 0.0


def _with_blanks(pieces):
    total = sum(len(text) for text, _ in pieces)
    return sum(len(text) for text, inside in pieces if inside) / total if total else 0.0


def _links_over_rest(pieces):
    inside, outside = (sum(len("".join(t.split())) for t, i in pieces if i is wanted) for wanted in (True, False))
    return inside / outside if outside else float(inside > 0)


def _empty_is_all(pieces):
    return share_of_links(pieces) if any(text.strip() for text, _ in pieces) else 1.0


def _block(draw):
    words = ("the harbour", "home ", " 首页", "was rebuilt after", "more\n", "a", "新闻  网")
    return ([(words[draw.integers(7)], bool(draw.integers(2))) for _ in range(draw.integers(2, 7))],)


SHARE_OF_LINKS = Exercise(
    id="cleaning.share_of_links",
    notebook=NOTEBOOK,
    statement=(
        "A block of a page is a list of pieces (text, inside_a_link). Give its link density: the share of its "
        "characters that are inside links, from 0 to 1. White space counts for nothing; a block without characters "
        "has density 0."
    ),
    difficulty=1,
    minutes=5,
    hints=(
        "Characters without white space: `len(''.join(text.split()))`. You need their sum over all pieces, and over "
        "those inside links.",
        "`sum(size for size, inside in counted if inside) / total`, and 0.0 when the total is 0.",
    ),
    solution=share_of_links,
    wrong=(
        WrongAnswer(
            "pieces counted",
            _pieces_counted,
            "You counted pieces. One linked word in a long paragraph makes two of three pieces, and the paragraph "
            "would go: count characters.",
        ),
        WrongAnswer(
            "words counted",
            _words_counted,
            "You counted words. Chinese has no blanks between them, so that a whole paragraph is one word: count "
            "characters.",
        ),
        WrongAnswer(
            "white space counted",
            _with_blanks,
            "Blanks and line ends count in yours, so the density depends on how the source was indented.",
        ),
        WrongAnswer(
            "links over the rest",
            _links_over_rest,
            "You divided by the characters outside links, which gives 1 for half and half. Divide by all characters.",
        ),
        WrongAnswer(
            "nothing is all links",
            _empty_is_all,
            "A block without characters has density 0 here: there is nothing in it that a link could hold.",
        ),
    ),
    cases=lambda draw: [
        ([("home", True)],),
        ([("ab", False), ("cd", True)],),
        ([("a b c d", False), (" home  ", True), ("新闻", True)],),
        ([("one", True), ("more text than that", False), ("x", True)],),
        ([],),
        ([(" \n", True)],),
        *(_block(draw) for _ in range(4)),
    ],
)

EXERCISES = (READ_PAGE_BYTES, SHARE_OF_LINKS)
