"""Near-duplicates: labkit.cleaning beside rensa (Rust) and datasketch, 20,000 texts with planted copies.

Every side gets the same texts and makes 5-shingles of their words (lower case, parted by space). What is timed goes
from the texts to those to remove, shingling included; ours also verifies every pair exactly, which the others do not.
Recall and precision are of later texts with an earlier one at a Jaccard similarity of 0.8 or more, by Python's sets.
"""

import importlib.util
import random
from collections.abc import Callable
from functools import cache

from peers import Row, paired

from labkit import corpora
from labkit.cleaning.near import near_duplicates
from labkit.cleaning.shingles import Shingling, jaccard

TEXTS, BASES, THRESHOLD = 20_000, 12_000, 0.8
FEW = 4_000  # for the slow peer, whose time grows in proportion to the texts
UNIT = "texts/s"
PLAIN = Shingling(keep_punctuation=True)


@cache
def planted(texts: int = TEXTS, bases: int = BASES, seed: int = 0) -> tuple[list[str], set[tuple[int, int]]]:
    """Texts of 60 to 100 words in random order, and the pairs of copy and original as similar as the threshold."""
    draw = random.Random(seed)
    loaded = (corpora.load(name, quiet=True).documents for name in ("wikipedia", "docstrings"))
    words = [word for documents in loaded for document in documents for word in document.split()]
    originals, place = [], 0
    for _ in range(bases):
        length = draw.randint(60, 100)
        originals.append(words[place : place + length])
        place = (place + length) % (len(words) - 100)
    sources = [draw.randrange(bases) for _ in range(texts - bases)]
    made = [" ".join(text) for text in (*originals, *(_edited(originals[source], draw, words) for source in sources))]
    order = draw.sample(range(texts), texts)
    place_of = {old: new for new, old in enumerate(order)}
    sets = [set(shingles) for shingles in strings(made)]
    alike = ((c, s) for c, s in enumerate(sources, start=bases) if jaccard(sets[c], sets[s]) >= THRESHOLD)
    return [made[old] for old in order], {tuple(sorted((place_of[c], place_of[s]))) for c, s in alike}


def _edited(words: list[str], draw: random.Random, others: list[str]) -> list[str]:
    """A copy with up to 6 words exchanged: similarities from about 0.4 to 1."""
    copy = list(words)
    for _ in range(draw.randint(0, 6)):
        copy[draw.randrange(len(copy))] = draw.choice(others)
    return copy


def strings(texts: list[str]) -> list[list[str]]:
    """Word 5-shingles as strings, made in the quickest way that Python has."""
    found = []
    for text in texts:
        words = text.lower().split()
        runs = zip(words, words[1:], words[2:], words[3:], words[4:], strict=False)
        found.append(list(map(" ".join, runs)) or [" ".join(words)])
    return found


def by_labkit(texts: list[str]) -> set[int]:
    """The later text of every pair."""
    return {second for _, second, _ in near_duplicates(texts, THRESHOLD, how=PLAIN).pairs}


def by_rensa(texts: list[str], threshold: float = THRESHOLD, hashes: int = 128, bands: int | None = None) -> set[int]:
    """Its documented way: the deduplicator with banding, which compares estimates with the threshold."""
    import rensa

    search = rensa.RMinHashDeduplicator(threshold=threshold, num_perm=hashes, use_lsh=True, num_bands=bands)
    kept = search.add_pairs((str(i), tokens) for i, tokens in enumerate(strings(texts)))
    return {i for i, keep in enumerate(kept) if not keep}


def by_datasketch(texts: list[str], hashes: int = 128) -> set[int]:
    """Its documented way: MinHash of all shingles, and MinHashLSH asked before each insertion."""
    from datasketch import MinHash, MinHashLSH

    search, removed = MinHashLSH(threshold=THRESHOLD, num_perm=hashes), set()
    for i, tokens in enumerate(strings(texts)):
        signature = MinHash(num_perm=hashes)
        signature.update_batch([token.encode() for token in tokens])
        if search.query(signature):
            removed.add(i)
        search.insert(i, signature)
    return removed


def bench(rounds: int) -> list[Row]:
    """The rows of near-duplicates; a peer that is not installed is a row that says so."""
    texts, pairs = planted()
    found = near_duplicates(texts, THRESHOLD, how=PLAIN).pairs
    later = {second for _, second in pairs} | {second for _, second, _ in found}
    both = len(pairs & {(first, second) for first, second, _ in found}) / len(pairs)
    sets = [set(shingles) for shingles in strings(texts)]
    right = sum(jaccard(sets[i], sets[j]) >= THRESHOLD for i, j, _ in found) / len(found)
    mine = Row(
        f"near-duplicates: {len(pairs):,} planted pairs", note=f"recall {both:.4f}, precision {right:.4f} of pairs"
    )
    peers: list[tuple[str, str, float, Callable[[list[str]], set[int]], list[str]]] = [
        ("rensa", "rensa, as documented", 1.35, by_rensa, texts),
        ("rensa", "rensa, set to find as much", 1.35, lambda texts: by_rensa(texts, 0.7, 64, 16), texts),
        ("datasketch", "datasketch", 8.0, by_datasketch, texts[:FEW]),
    ]
    return [mine, *(_row(*peer, rounds, later) for peer in peers)]


def _row(
    module: str,
    name: str,
    asked: float,
    theirs: Callable[[list[str]], set[int]],
    texts: list[str],
    rounds: int,
    later: set[int],
) -> Row:
    """Texts a second beside one peer, with what the peer found."""
    what = f"near-duplicates of {len(texts):,} texts beside {name}"
    if importlib.util.find_spec(module) is None:
        return Row(what, note=f"{module} is not installed", missing=module)
    ours_seconds, their_seconds, ratio = paired(lambda: by_labkit(texts), lambda: theirs(texts), rounds)
    removed = theirs(texts)
    wanted = {i for i in later if i < len(texts)} if len(texts) == TEXTS else by_labkit(texts)
    recall, precision = len(removed & wanted) / len(wanted), len(removed & wanted) / max(1, len(removed))
    note = f"theirs: recall {recall:.3f}, precision {precision:.3f}"
    return Row(what, UNIT, len(texts) / ours_seconds, len(texts) / their_seconds, ratio, asked, note)
