"""labkit.ngrams beside its peers: training and scoring order-5 modified Kneser-Ney models, one thread each.

    python benchmarks/bench_ngrams.py [--tokens 1000000 3000000] [--repeats 3]

The peers are KenLM's `lmplz` and its Python module, and `nltk.lm`; each is skipped, with a line that says so, where it
is not installed. The text is real: the course's own corpora, then docstrings of installed packages, no sentence twice.
Times are CPU seconds (user and system), the least of some repeats, ours and theirs in turn; what counts are the ratios.
"""

import argparse
import gc
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"  # before NumPy is imported

import numpy as np  # noqa: E402
from peers import Row, compared, tell  # noqa: E402

from labkit.ngrams import ModifiedKneserNey, NGramModel, write_arpa  # noqa: E402

ORDER = 5
# Our training runs in a process of its own, so that its memory is its own too.
TRAIN = """
import re, sys, time
from pathlib import Path
from labkit.ngrams import NGramModel
def peak():
    status = Path("/proc/self/status")  # where there is none, memory is not told
    return 1024 * int(re.search(r"VmHWM:\\s*(\\d+)", status.read_text())[1]) if status.is_file() else float("nan")
base, begin = peak(), time.process_time()
model = NGramModel(int(sys.argv[2])).fit_lines(open(sys.argv[1], encoding="utf-8").read())
ngrams = sum(len(table) for table in model.tables.orders)
print(time.process_time() - begin, peak() - base, ngrams)
"""


def prose(tokens: int) -> tuple[str, str]:
    """Training and test text, one sentence a line; every eleventh sentence is for the test."""
    from prose import sentences

    train, test, count = [], [], 0
    for i, line in enumerate(sentences()):
        if i % 11 == 0:
            test.append(line)
        else:
            train.append(line)
            count += line.count(" ") + 1
        if count >= tokens:
            break
    return "\n".join(train) + "\n", "\n".join(test) + "\n"


def cpu(work, repeats: int = 1) -> float:
    """The least CPU seconds of some runs of a function in this process, the garbage collector at rest as in timeit."""
    times = []
    for _ in range(repeats):
        gc.collect()
        gc.disable()
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
        gc.enable()
    return min(times)


def cpu_of_child(command: list[str], **options) -> float:
    """CPU seconds of a command, as the system accounts for it."""
    before = os.times()
    done = subprocess.run(command, capture_output=True, check=False, **options)
    if done.returncode:
        sys.exit(f"{command[0]} failed: {done.stderr.decode(errors='replace')[-500:]}")
    after = os.times()
    return after.children_user - before.children_user + after.children_system - before.children_system


def bench_training(path: Path, tokens: int, repeats: int) -> Path | None:
    """Training from a text file to a model; returns KenLM's ARPA file if there is one.

    lmplz writes its model to a file in any case: as ARPA text, or with `--intermediate` in a binary form of its own.
    Ours is in memory and ready for questions; writing it as ARPA text is timed by itself.
    """
    lmplz = shutil.which("lmplz")
    arpa = path.with_suffix(".arpa")
    ours, to_text, to_binary, memory, ngrams = [], [], [], 0.0, 1.0
    for _ in range(repeats):
        told = subprocess.run([sys.executable, "-c", TRAIN, str(path), str(ORDER)], check=True, capture_output=True)
        seconds, memory, ngrams = (float(x) for x in told.stdout.split())
        ours.append(seconds)
        if lmplz:
            common = [lmplz, "-o", str(ORDER), "-S", "2G", "-T", str(path.parent), "--discount_fallback"]
            to_text.append(cpu_of_child([*common, "--text", str(path), "--arpa", str(arpa)]))
            binary = str(path.with_suffix(".kenlm"))
            to_binary.append(cpu_of_child([*common, "--text", str(path), "--intermediate", binary]))
    text = path.read_text(encoding="utf-8")
    warm = cpu(lambda: NGramModel(ORDER).fit_lines(text).tables, repeats)
    model = NGramModel(ORDER).fit_lines(text)
    writing = cpu(lambda: write_arpa(model, path.with_suffix(".ours.arpa"))) if model.tables else 0.0
    show("labkit, new process", min(ours), tokens)
    show("labkit, second time", warm, tokens)
    if lmplz:
        show("lmplz, ARPA text", min(to_text), tokens)
        show("lmplz, binary", min(to_binary), tokens)
        for name, theirs in (("ARPA text", to_text), ("binary", to_binary)):
            own, other, ratio = compared(zip(ours, theirs, strict=True))
            note = f"{min(theirs) / warm:.2f}x when labkit is warm"
            tell(Row(f"training on {tokens:,} tokens, lmplz to {name}", "s", own, other, ratio, note=note))
    else:
        tell(Row(f"training on {tokens:,} tokens, lmplz", note="not on the PATH", missing="lmplz"))
    print(f"  writing our model as ARPA text takes {writing:.2f} s more")
    print(f"  memory while training  {memory / ngrams:8.1f} bytes for each of {ngrams:,.0f} n-grams")
    return arpa if lmplz else None


def show(name: str, seconds: float, tokens: int) -> None:
    """One line of the table."""
    print(f"  {name:<22} {seconds:8.3f} s  {tokens / seconds / 1e6:6.2f} M tokens/s")


def bench_nltk(text: str) -> None:
    """Counting and scoring as nltk.lm does it, on a small part of the text."""
    import nltk.lm
    from nltk.lm.preprocessing import padded_everygram_pipeline

    sentences = [line.split() for line in text.splitlines()[:8000]]
    tokens = sum(map(len, sentences))
    reference = nltk.lm.KneserNeyInterpolated(ORDER)
    theirs = cpu(lambda: reference.fit(*padded_everygram_pipeline(ORDER, sentences)))
    counting = cpu(lambda: NGramModel(ORDER).fit(sentences).levels, 3)  # fit of nltk.lm counts and does no more
    ours = cpu(lambda: NGramModel(ORDER).fit(sentences).tables, 3)
    tell(Row(f"counting {tokens:,} tokens, nltk.lm", "s", counting, theirs, theirs / counting))
    what = f"counting {tokens:,} tokens and all probabilities, nltk.lm counting alone"
    tell(Row(what, "s", ours, theirs, theirs / ours))
    questions = [(s[i], s[i - 4 : i]) for s in sentences for i in range(4, len(s))][:20]
    slow = cpu(lambda: [reference.unmasked_score(word, tuple(context)) for word, context in questions]) / len(questions)
    model = NGramModel(ORDER).fit(sentences)
    model.full_scores(sentences)
    fast = cpu(lambda: model.full_scores(sentences), 3) / tokens
    note = "ours in a batch, its Kneser-Ney"
    tell(Row("scoring a token, nltk.lm", "µs", 1e6 * fast, 1e6 * slow, slow / fast, note=note))


def bench_scoring(model: NGramModel, arpa: Path | None, test: str, repeats: int) -> None:
    """Scoring a test text, and its perplexity, beside KenLM's Python module."""
    sentences = [line.split() for line in test.splitlines()]
    tokens = sum(map(len, sentences)) + len(sentences)
    for _ in range(8):  # builds the look-up tables too, as loading a file does for KenLM
        perplexity = model.perplexity(sentences)
    try:
        import kenlm
    except ImportError:
        kenlm = None
    if kenlm is None or arpa is None:
        ours = cpu(lambda: model.full_scores(sentences), repeats)
        gone = "kenlm" if kenlm is None else "lmplz"
        note = f"labkit {tokens / ours / 1e6:.2f} M tokens/s; {gone} is not installed"
        tell(Row(f"scoring {tokens:,} tokens, kenlm", note=note, missing=gone))
        return
    settings = kenlm.Config()
    settings.show_progress, settings.arpa_complain = False, kenlm.ARPALoadComplain.NONE
    reference = kenlm.Model(str(arpa), settings)
    lines = test.splitlines()
    ours, theirs = [], []
    for _ in range(max(repeats, 3)):
        ours.append(cpu(lambda: model.full_scores(sentences)))
        theirs.append(cpu(lambda: [score for line in lines for score in reference.full_scores(line)]))
    show("labkit, batch", min(ours), tokens)
    show("kenlm full_scores", min(theirs), tokens)
    own, other, ratio = compared(zip(ours, theirs, strict=True))
    rates = tokens / own / 1e6, tokens / other / 1e6
    tell(Row(f"scoring {tokens:,} tokens, kenlm", "M tokens/s", *rates, ratio))
    log10 = sum(reference.score(line) for line in lines)
    other = 10 ** (-log10 / tokens)
    gap = abs(other / perplexity - 1)
    print(f"  perplexity: labkit {perplexity:.6f}, kenlm {other:.6f}, relative difference {gap:.1e}")
    if not math.isclose(other, perplexity, rel_tol=1e-6):
        sys.exit("the perplexities differ by more than 1e-6: one of the two is wrong")


def bench_import() -> None:
    """What `import labkit` costs in a new process, beside an empty one."""
    empty = min(cpu_of_child([sys.executable, "-c", "pass"]) for _ in range(5))
    both = min(cpu_of_child([sys.executable, "-c", "import labkit"]) for _ in range(5))
    topic = min(cpu_of_child([sys.executable, "-c", "import labkit.ngrams"]) for _ in range(5))
    print(f"  import labkit {both - empty:.3f} s, import labkit.ngrams {topic - empty:.3f} s of CPU time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, nargs="+", default=[1_000_000, 3_000_000])
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print("import")
    bench_import()
    for wanted in options.tokens:
        train, test = prose(wanted)
        tokens = len(train.split())
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "train.txt"
            path.write_text(train, encoding="utf-8")
            print(f"training, {tokens:,} tokens, order {ORDER}, modified Kneser-Ney")
            arpa = bench_training(path, tokens, options.repeats)
            print(f"scoring, {len(test.split()):,} tokens of test text")
            model = NGramModel(ORDER, smoothing=ModifiedKneserNey()).fit_lines(train)
            bench_scoring(model, arpa, test, options.repeats)
    print("nltk.lm")
    bench_nltk(train)
    print(f"NumPy {np.__version__}, Python {sys.version.split()[0]}, one thread")


if __name__ == "__main__":
    main()
