"""Paragraphs in many languages, labelled: words of Faker's lists, short ones more often, in random order."""

import random
from functools import cache

from labkit.corpora.extras import need

# Lists of real words only: Faker's Hebrew list is transliterated Latin filler and en_PH is Latin, so they are not used.
LOCALES = {
    "de": "de_DE", "fr": "fr_FR", "es": "es_ES", "it": "it_IT", "nl": "nl_NL", "pl": "pl_PL", "cs": "cs_CZ",
    "da": "da_DK", "ru": "ru_RU", "uk": "uk_UA", "el": "el_GR", "ar": "ar_AA", "fa": "fa_IR", "th": "th_TH",
    "ja": "ja_JP", "bn": "bn_BD", "tl": "tl_PH",
}  # fmt: skip
LANGUAGES = tuple(LOCALES)
_ENDS = {"ja": "。", "bn": "।", "th": " ", "ar": ".", "fa": "."}
_COMMAS = {"ja": "、", "ar": "،", "fa": "،", "th": " "}
_PARTICLES = ("は", "を", "が", "の", "に", "で", "と", "から", "も")


def foreign(n: int, *, seed: int) -> list[tuple[str, str]]:
    """`n` paragraphs (text, ISO 639-1 code), the languages in turn; words are real, the grammar is not.

    Raises: ModuleNotFoundError without Faker, which holds the word lists; ValueError for a negative n.
    """
    if n < 0:
        raise ValueError(f"n={n!r} is no number of paragraphs; give 0 or more")
    rng = random.Random(f"foreign {seed}")
    order = [LANGUAGES[i % len(LANGUAGES)] for i in range(n)]
    rng.shuffle(order)
    return [(paragraph_in(language, rng), language) for language in order]


def paragraph_in(language: str, rng: random.Random, *, words: int | None = None) -> str:
    """One paragraph of 40 to 110 words (or about `words`) in a language of LANGUAGES."""
    left = words or rng.randint(40, 110)
    made: list[str] = []
    while left > 0:
        length = min(rng.randint(5, 16), max(left, 4))
        made.append(_sentence(language, length, rng))
        left -= length
    return ("" if language in ("ja", "th") else " ").join(made).strip()


def _sentence(language: str, length: int, rng: random.Random) -> str:
    words, weights = word_list(language)
    chosen = rng.choices(words, cum_weights=weights, k=length)
    if language == "ja":
        chosen = [word + rng.choice(_PARTICLES) for word in chosen[:-1]] + [
            chosen[-1] + rng.choice(("です", "ます", "した"))
        ]
    comma = rng.randrange(3, length) if length > 8 else 0
    if comma:
        chosen[comma - 1] += _COMMAS.get(language, ",")
    text = ("" if language in ("ja", "th") else " ").join(chosen)
    return text[:1].upper() + text[1:] + _ENDS.get(language, ".")


@cache
def word_list(language: str) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """The words of a language and cumulative weights 1 / length²: short words are the frequent ones (Zipf 1935)."""
    if language not in LOCALES:
        raise ValueError(f"language={language!r} has no word list here; give one of {', '.join(LANGUAGES)}")
    module = need(f"faker.providers.lorem.{LOCALES[language]}", why="for the words of other languages")
    # Sorted and without repeats: neither the order nor a doubled entry of Faker's file changes our text.
    words = tuple(sorted(set(module.Provider.word_list)))
    total, weights = 0.0, []
    for word in words:
        total += 1 / (len(word) + 1) ** 2
        weights.append(total)
    return words, tuple(weights)
