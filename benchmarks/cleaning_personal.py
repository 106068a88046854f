"""Personal data: labkit beside the pattern recognizers of Presidio, in speed and in F1, part of bench_cleaning.

    python benchmarks/cleaning_personal.py [--rounds 3]

Presidio runs as its users run it, through `AnalyzerEngine`, with the recognizers of the kinds that both know and a
tokenizer for its context words, but without a language model: its search for names would cost more and find none of
these kinds. It has no recognizer for Chinese ID numbers: in Chinese they are left out of the F1 of both. The threshold
of its scores is the one of 0.05 to 0.8 with which its F1 on the first set of templates is best. Phone numbers are those
of its own eight regions, in Chinese of China too; ours are always of all of them. (With China alone, Presidio is three
times as fast on Chinese and finds as much.)
"""

import argparse
import logging

from peers import Row, paired

from labkit import corpora
from labkit.cleaning import personal
from labkit.corpora.crawl import personal_documents

ENTITIES = {"EMAIL_ADDRESS": "email", "PHONE_NUMBER": "phone", "CREDIT_CARD": "card", "US_SSN": "ssn", "URL": "url"}
THRESHOLDS = (0.05, 0.3, 0.4, 0.5, 0.6, 0.8)
BOTH = tuple(kind for kind in personal.KINDS if kind != "id_cn")


def presidio(language: str):
    """Give a function of a text that gives Presidio's results, or None where it is not installed."""
    try:
        import spacy
        from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
        from presidio_analyzer import predefined_recognizers as ready
        from presidio_analyzer.nlp_engine import NlpArtifacts, NlpEngine
    except ImportError:
        return None
    logging.getLogger("presidio-analyzer").setLevel(logging.ERROR)
    tokenizer = spacy.blank("en")  # splits at blanks and punctuation, which is all that context words need

    def read(text):
        doc = tokenizer(text)
        return NlpArtifacts([], doc, [t.idx for t in doc], [t.lower_ for t in doc], engine, language)

    methods = {
        "load": lambda self: None,
        "is_loaded": lambda self: True,
        "process_text": lambda self, text, language: read(text),
        "process_batch": lambda self, texts, language, **_: ((text, read(text)) for text in texts),
        "is_stopword": lambda self, word, language: False,
        "is_punct": lambda self, word, language: not word.isalnum(),
        "get_supported_entities": lambda self: [],
        "get_supported_languages": lambda self: [language],
    }
    engine = type("Tokens", (NlpEngine,), methods)()
    own = [
        ready.EmailRecognizer,
        ready.IpRecognizer,
        ready.CreditCardRecognizer,
        ready.UsSsnRecognizer,
        ready.UrlRecognizer,
    ]
    regions = ready.PhoneRecognizer.DEFAULT_SUPPORTED_REGIONS + (("CN",) if language == "zh" else ())
    recognizers = [make(supported_language=language) for make in own]
    recognizers.append(ready.PhoneRecognizer(supported_language=language, supported_regions=regions))
    registry = RecognizerRegistry(recognizers, supported_languages=[language])
    analyzer = AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=[language])
    return lambda text: analyzer.analyze(text, language=language)


def spans(text: str, results, threshold: float) -> list[tuple[int, int, str]]:
    """Their results as ours: the best score first, the longer first, what overlaps it dropped."""
    taken = []
    for r in sorted(results, key=lambda r: (-r.score, r.start - r.end)):
        kind = ENTITIES.get(r.entity_type) or ("ipv6" if ":" in text[r.start : r.end] else "ipv4")
        if r.score >= threshold and all(r.end <= start or end <= r.start for start, end, _ in taken):
            taken.append((r.start, r.end, kind))
    return taken


def f1(found: list, truth: list) -> float:
    """F1 of exact spans of the kinds that both know, over all documents."""
    found, truth = ([{tuple(s) for s in doc if s[2] in BOTH} for doc in docs] for docs in (found, truth))
    right = sum(len(f & t) for f, t in zip(found, truth, strict=True))
    return 2 * right / max(1, sum(map(len, found)) + sum(map(len, truth)))


def documents(language: str, templates: int, prose: int = 0) -> list[tuple[str, tuple]]:
    """Labelled documents; with `prose`, each followed by that many characters of ordinary text."""
    made = personal_documents(60, seed=11, language=language, templates=templates)
    text = corpora.load({"en": "wikipedia", "zh": "sanguo"}[language], quiet=True).text
    return [(d.text + "\n" + text[i * prose : (i + 1) * prose], d.spans) for i, d in enumerate(made)]


def bench(rounds: int) -> list[Row]:
    """Rates on dense documents and on prose with as many values as a web page has, then F1 on both sets."""
    rows = []
    for language in ("en", "zh"):
        theirs = presidio(language)
        if theirs is None:
            gone = "presidio-analyzer with spacy"
            rows.append(Row(f"personal data, {language}", note=f"not installed: {gone}", missing=gone))
            continue
        for what, prose in (("nothing but labelled documents", 0), ("labelled documents in prose", 5_000)):
            rows.append(_rate(f"personal data, {language}, {what}", documents(language, 1, prose), theirs, rounds))
        rows += _quality(language, theirs)
    return rows


def _rate(what: str, docs: list, theirs, rounds: int) -> Row:
    few = docs[: 60 if len(docs[0][0]) < 3000 else 12]
    own, other, ratio = paired(
        lambda: [personal.find(text) for text, _ in few], lambda: [theirs(text) for text, _ in few], rounds
    )
    megabytes = sum(len(text.encode()) for text, _ in few) / 1e6
    return Row(what, "MB/s", megabytes / own, megabytes / other, ratio, asked=60)


def _quality(language: str, theirs) -> list[Row]:
    best, rows = None, []
    for templates in (1, 2):
        docs = documents(language, templates)
        truth = [spans_ for _, spans_ in docs]
        ours = f1([personal.find(text) for text, _ in docs], truth)
        results = [(text, theirs(text)) for text, _ in docs]
        by_threshold = {t: f1([spans(text, found, t) for text, found in results], truth) for t in THRESHOLDS}
        best = best or max(by_threshold, key=by_threshold.get)
        what = f"personal data, {language}, F1 on template set {templates}"
        note = f"Presidio at its best threshold, {best}"
        rows.append(Row(what, "F1", ours, by_threshold[best], ours / by_threshold[best], asked=1, note=note))
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    print(*bench(parser.parse_args().rounds), sep="\n")
