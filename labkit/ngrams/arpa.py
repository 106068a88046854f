"""ARPA files: the text format in which n-gram models travel between programs.

A section for each order; a line is the log10 probability, the n-gram, and the log10 back-off weight of the n-gram as a
context. Source: the format of Doug Paul as SRILM and KenLM read it.
"""

import gzip
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from labkit.ngrams.model import HIGHEST_ORDER, NGramModel, Padding
from labkit.ngrams.tables import Table, Tables
from labkit.ngrams.vocabulary import UNK_ID, Vocabulary

NEVER = -99.0  # what the format writes for the logarithm of zero
LINES = 100_000  # written at a time


def write_arpa(model: NGramModel, path: str | os.PathLike) -> Path:
    """Write a model for other programs, compressed if the name ends in `.gz`; the file appears when it is complete.

    Raises:
        ValueError: if the format cannot express the smoothing (add-k and stupid back-off beyond unigrams), the padding
            or a token.
    """
    tables, path = model.tables, Path(path)
    if len(tables.orders) > 1 and (tables.to_uniform or tables.unseen_context != 1.0):
        raise ValueError(
            f"an ARPA file backs off to the shorter context, {model.smoothing} does not: choose another smoothing"
        )
    _refuse_unwritable(model)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(temporary, "wt", encoding="utf-8", newline="\n") as file:
            for text in _sections(model):
                file.write(text)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _refuse_unwritable(model: NGramModel) -> None:
    for token in model.vocabulary.tokens:
        if not token or any(blank in token for blank in " \t\r\n"):
            raise ValueError(
                f"an ARPA file separates words by blanks, so it cannot hold the token {token!r}: replace it"
            )
    if model.padding != Padding():
        raise ValueError(
            f"an ARPA file does not tell how sentences are padded; readers take one <s> and one </s>, "
            f"this model has {model.padding}: fit it with Padding()"
        )


def _sections(model: NGramModel) -> Iterator[str]:
    orders, size = model.tables.orders, model.tables.size
    kept = [np.ones(len(table), dtype=bool) if table.present is None else table.present for table in orders]
    yield "\\data\\\n" + "".join(f"ngram {n}={k.sum()}\n" for n, k in enumerate(kept, start=1))
    ngrams = np.array(model.vocabulary.tokens, dtype=object)
    tokens = ngrams + ""
    for n, table in enumerate(orders, start=1):
        if n > 1:
            ngrams = ngrams[table.key // size] + " " + tokens[table.key % size]
        yield f"\n\\{n}-grams:\n"
        for part in np.array_split(np.flatnonzero(kept[n - 1]), 1 + len(table) // LINES):
            logs = np.maximum(table.log_probability[part] / np.log(10), NEVER).tolist()
            if n < len(orders):
                weights = np.maximum(table.log_backoff[part] / np.log(10), NEVER).tolist()
                lines = (f"{p:.9g}\t{g}\t{b:.9g}\n" for p, g, b in zip(logs, ngrams[part], weights, strict=True))
            else:
                lines = (f"{p:.9g}\t{g}\n" for p, g in zip(logs, ngrams[part], strict=True))
            yield "".join(lines)
    yield "\n\\end\\\n"


def read_arpa(path: str | os.PathLike) -> NGramModel:
    """A model from an ARPA file of any program; it can be asked, but not fitted further.

    N-grams whose context is not in the file (pruned models) are reached through connecting entries, which are not
    counted as matched.

    Raises:
        ValueError: if the file is not an ARPA file, is cut short, or contradicts itself; the line is named.
    """
    path = Path(path)
    sections = _parse(path)
    try:
        vocabulary, first = _unigrams(*sections[0])
        rows = [np.arange(len(vocabulary), dtype=np.int64)[:, None]]
        for n, (_, ngrams, _) in enumerate(sections[1:], start=2):
            rows.append(_encode(ngrams, vocabulary, order=n))
        tables = _connect(first, rows, sections)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error
    return NGramModel.from_tables(vocabulary, tables)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                yield number, line.rstrip("\r\n")
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(
            f"{path.name} is not a complete gzip file ({error}): fetch it again, or drop .gz if it is plain text"
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name} is not a text file in UTF-8 ({error}): is it a binary model?") from error


Section = tuple[list[float], list[str], list[float]]  # log10 probabilities, n-grams, log10 back-off weights


def _parse(path: Path) -> list[Section]:
    promised: list[int] = []
    sections: list[Section] = []
    state = "before"
    for number, line in _lines(path):
        line = line.strip(" ")
        if line == "\\data\\":
            state = "header"
        elif line == "\\end\\":
            state = "end"
            break
        elif line.startswith("\\") and line.endswith("-grams:"):
            state = "section"
            sections.append(([], [], []))
            if line != f"\\{len(sections)}-grams:" or len(sections) > HIGHEST_ORDER:
                wanted = f"\\{len(sections)}-grams:" if len(sections) <= HIGHEST_ORDER else "at most order 10"
                raise ValueError(f"{path.name}, line {number}: expected {wanted}, got {line}")
        elif state == "header" and line.startswith("ngram "):
            promised.append(_count(path, number, line))
        elif state == "section" and line:
            _entry(path, number, line, len(sections), sections[-1])
    if state == "before":
        raise ValueError(f"{path.name} is not an ARPA file: no line says \\data\\")
    found = [len(section[0]) for section in sections]
    if state != "end" or found != promised or not found:
        raise ValueError(
            f"{path.name} is cut short or damaged: its header promises {promised} n-grams by order, it holds {found}"
            + ("" if state == "end" else " and does not end with \\end\\")
            + ". Write or fetch it again"
        )
    return sections


def _count(path: Path, number: int, line: str) -> int:
    order, _, count = line.removeprefix("ngram ").partition("=")
    if not (order.strip().isdecimal() and count.strip().isdecimal()):
        raise ValueError(f"{path.name}, line {number}: expected 'ngram 2=1234', got {line!r}")
    return int(count)


def _entry(path: Path, number: int, line: str, order: int, section: Section) -> None:
    fields = re.split("[ \t]+", line.strip(" \t"))
    try:
        probability = float(fields[0])
        weight = float(fields[order + 1]) if len(fields) > order + 1 else 0.0
    except ValueError:
        probability = weight = np.nan
    # "Not at most" instead of "above": NaN is refused too. KenLM writes 0 for <s>, and rounding may leave a bit more.
    if not (order < len(fields) <= order + 2 and probability <= 1e-6 and weight < 300):
        raise ValueError(
            f"{path.name}, line {number}: expected a log10 probability of at most 0, {order} words and perhaps a "
            f"finite weight, got {line[:60]!r}"
        )
    section[0].append(probability)
    section[1].append(" ".join(fields[1 : order + 1]))
    section[2].append(weight)


def _unigrams(logs: list[float], words: list[str], weights: list[float]) -> tuple[Vocabulary, Table]:
    known = dict(zip(words, zip(logs, weights, strict=True), strict=True))
    if len(known) != len(words):
        raise ValueError(f"the word {next(w for w in words if words.count(w) > 1)!r} is listed twice among the 1-grams")
    if "<UNK>" in known and "<unk>" not in known:
        known["<unk>"] = known.pop("<UNK>")
    vocabulary = Vocabulary(dict.fromkeys(known, 1))
    values = np.array([known.get(token, (-np.inf, 0.0)) for token in vocabulary.tokens])
    values[values <= NEVER] = -np.inf
    return vocabulary, Table(np.arange(len(vocabulary)), *(10.0**values.T))


def _encode(ngrams: list[str], vocabulary: Vocabulary, *, order: int) -> Int[np.ndarray, "ngrams order"]:
    words = " ".join(ngrams).split(" ") if ngrams else []
    rows = vocabulary.encode(words).astype(np.int64).reshape(-1, order)
    for i in np.flatnonzero((rows == UNK_ID).any(axis=1)).tolist():
        stranger = [word for word in ngrams[i].split(" ") if word not in vocabulary and word != "<UNK>"]
        if stranger:
            raise ValueError(f"the n-gram {ngrams[i]!r} contains {stranger[0]!r}, which is not among the 1-grams")
    return rows


def _connect(first: Table, rows: list[np.ndarray], sections: list[Section]) -> Tables:
    """Tables of all orders, with entries for contexts that the file leaves out."""
    present = [np.ones(len(r), dtype=bool) for r in rows]
    for n in range(len(rows) - 1, 1, -1):
        contexts = np.unique(rows[n][:, :-1], axis=0)
        known = set(map(tuple, rows[n - 1].tolist()))
        extra = [c for c in map(tuple, contexts.tolist()) if c not in known]
        if extra:
            rows[n - 1] = np.concatenate([rows[n - 1], np.array(extra)])
            present[n - 1] = np.concatenate([present[n - 1], np.zeros(len(extra), dtype=bool)])
    events = len(first) - int(first.probability[1] == 0)
    tables = Tables([first], events)
    for n in range(1, len(rows)):
        logs, _, weights = sections[n]
        tables = Tables([*tables.orders, _table(tables, rows[n], present[n], logs, weights)], events)
    return tables


def _table(
    lower: Tables, rows: Int[np.ndarray, "ngrams order"], present: np.ndarray, logs: list[float], weights: list[float]
) -> Table:
    before = rows[:, 0]
    for table, word in zip(lower.orders[1:], rows[:, 1:-1].T, strict=True):
        before = table.find(before * lower.size + word).astype(np.int64)
    key = before * lower.size + rows[:, -1]
    extra = [lower.score(int(row[-1]), row[:-1].tolist()) for row in rows[len(logs) :]]
    backed = [float(lower.orders[-1].backoff[b]) * p for b, p in zip(before[len(logs) :], extra, strict=True)]
    probability = np.concatenate([_power(logs), np.array(backed)])
    backoff = np.concatenate([_power(weights), np.ones(len(extra))])
    order = np.argsort(key)
    if (np.diff(key[order]) == 0).any():
        raise ValueError(f"an n-gram of order {rows.shape[1]} is listed twice")
    return Table(key[order], probability[order], backoff[order], None if present.all() else present[order])


def _power(logs: list[float]) -> Float[np.ndarray, " ngrams"]:
    values = np.array(logs, dtype=float)
    return 10.0 ** np.where(values <= NEVER, -np.inf, values)
