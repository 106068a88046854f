"""Repetition and Gopher's rules once more, as plainly as they can be written: the reference of the fast ones."""

import re
from collections import Counter

from labkit.cleaning.quality import STOP_WORDS


def shares(pieces, text):
    """Walk over the pieces and remember those seen."""
    seen, count, characters = set(), 0, 0
    for piece in pieces:
        if piece in seen:
            count, characters = count + 1, characters + len(piece)
        seen.add(piece)
    return count / max(1, len(pieces)), characters / max(1, len(text))


def top_characters(words, n, gap=1):
    grams = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
    if not grams:
        return 0
    gram, count = grams.most_common(1)[0]
    return count * (sum(map(len, gram)) + gap * (n - 1))


def later_characters(words, n):
    seen, characters, i = set(), 0, 0
    while i + n <= len(words):
        gram = tuple(words[i : i + n])
        if gram in seen:
            characters, i = characters + sum(map(len, gram)), i + n
        else:
            seen.add(gram)
            i += 1
    return characters


def all_characters(words, n):
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    covered = {i + j for i, gram in enumerate(grams) if grams.count(gram) > 1 for j in range(n)}
    return sum(len(words[i]) for i in covered)


def gopher_quality(text):
    """The name of the first rule of section A.1.1 that a text breaks, "" if none."""
    tokens = text.split()
    words = [token for token in tokens if any(c.isalnum() for c in token)]
    if not 50 <= len(words) <= 100_000:
        return "word_count"
    if not 3 <= sum(map(len, words)) / len(words) <= 10:
        return "mean_word_length"
    if text.count("#") / len(tokens) > 0.1:
        return "hash_ratio"
    if (text.count("...") + text.count("…")) / len(tokens) > 0.1:
        return "ellipsis_ratio"
    lines = text.splitlines()
    if sum(line.lstrip()[:1] in ("•", "-") for line in lines if line.strip()) / len(lines) > 0.9:
        return "bullet_lines"
    if sum(line.rstrip().endswith(("...", "…")) for line in lines) / len(lines) > 0.3:
        return "ellipsis_lines"
    if sum(any(c.isalpha() for c in token) for token in tokens) / len(tokens) < 0.8:
        return "alphabetic_words"
    return "stop_words" if len(STOP_WORDS & set(tokens)) < 2 else ""


def gopher_repetition(text):
    """The name of the first rule of table A1 that a text breaks, "" if none."""
    for name, pieces in ("paragraph", re.split("\n{2,}", text.strip())), ("line", re.split("\n+", text)):
        count, characters = shares(pieces, text)
        if count > 0.30:
            return f"duplicate_{name}s"
        if characters > 0.20:
            return f"duplicate_{name}_characters"
    words = text.split()
    for n, limit in (2, 0.20), (3, 0.18), (4, 0.16):
        if top_characters(words, n) / max(1, len(text)) > limit:
            return f"top_{n}_gram"
    for n, limit in (5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10):
        if later_characters(words, n) / max(1, len(text)) > limit:
            return f"duplicate_{n}_grams"
    return ""
