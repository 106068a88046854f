"""Tiled attention beside torch's kernels and the formula written down: time and memory of a forward and backward pass.

    python benchmarks/bench_attention.py [--tokens 4096] [--rounds 5] [--threads 2] [--everything-visible]

Batch 4, 8 heads of 64, causal, float32. All compute the same, which is checked. A round runs each of them once, in
turn; what counts are the ratios within a round, of wall time, and their median. Memory is what a process needs at its
peak above its inputs, measured in a process for each.
"""

import argparse
import functools
import math
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

# How long threads with nothing to do stay awake. With no end to it, as is usual, a second program on the cores makes
# whatever is computed in small pieces ten times slower; not at all, and waking up costs such pieces half their time.
os.environ.setdefault("GOMP_SPINCOUNT", "20000")  # before torch is imported

import torch
from peers import Ratio, Row, tell
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from labkit.attention import attention, tiled_attention

BATCH, HEADS, DIM = 4, 8, 64
AIMED_AT = 4096  # tokens; what is asked for is asked for them, with causal attention
MOST_OF_FUSED = 1.3  # times the seconds of torch's fused kernel
OURS, FUSED, MATH, NAIVE = "labkit, tiled", "torch, fused", "torch, math", "naive"
LEAN, LESSON = "naive, in place", "labkit, plain"


def naive(query: Tensor, key: Tensor, value: Tensor, causal: bool) -> Tensor:
    """Product, softmax, product, as textbooks write it."""
    scores = query @ key.mT / math.sqrt(query.shape[-1])
    if causal:
        future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        scores = scores.masked_fill(future, -math.inf)
    return scores.softmax(dim=-1) @ value


def lean(query: Tensor, key: Tensor, value: Tensor, causal: bool) -> Tensor:
    """The same with everything saved that can be: the scale is on the queries and the mask is written in place."""
    scores = (query * query.shape[-1] ** -0.5) @ key.mT
    if causal:
        scores.masked_fill_(torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1), -math.inf)
    return scores.softmax(dim=-1) @ value


def torchs(backend: SDPBackend, query: Tensor, key: Tensor, value: Tensor, causal: bool) -> Tensor:
    """Torch's own attention, by the kernel that is asked for."""
    with sdpa_kernel(backend):
        return scaled_dot_product_attention(query, key, value, is_causal=causal)


WAYS: dict[str, Callable[..., Tensor]] = {
    FUSED: functools.partial(torchs, SDPBackend.FLASH_ATTENTION),
    OURS: tiled_attention,
    MATH: functools.partial(torchs, SDPBackend.MATH),
    NAIVE: naive,
    LEAN: lean,
    LESSON: attention,
}


def inputs(tokens: int) -> list[Tensor]:
    """Queries, keys, values and the gradient of the output."""
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn(BATCH, HEADS, tokens, DIM, generator=generator) for _ in range(4)]
    return [*(part.requires_grad_() for part in parts[:3]), parts[3]]


def run(name: str, parts: list[Tensor], causal: bool) -> tuple[float, float, float]:
    """Wall seconds of the forward pass, of the backward pass, and CPU seconds of both; gradients stay in the inputs."""
    *leaves, grad = parts
    for leaf in leaves:
        leaf.grad = None
    begin, cpu = time.perf_counter(), time.process_time()
    output = WAYS[name](*leaves, causal=causal)
    between = time.perf_counter()
    output.backward(grad)
    return between - begin, time.perf_counter() - between, time.process_time() - cpu


def check(names: list[str], causal: bool, tokens: int = 600) -> None:
    """Stop if one of them computes something else."""
    parts, found = inputs(tokens), {}
    for name in names:
        run(name, parts, causal)
        found[name] = [WAYS[name](*parts[:3], causal=causal).detach(), *(part.grad for part in parts[:3])]
        gap = max(float((a - b).abs().max()) for a, b in zip(found[name], found[names[0]], strict=True))
        if not gap < 1e-4:
            sys.exit(f"{name} differs from {names[0]} by {gap:.1e}: one of the two is wrong")


def peak() -> float:
    """The most bytes that this process has had in memory so far."""
    status = Path("/proc/self/status")  # where there is none, memory is not told
    return 1024 * int(re.search(r"VmHWM:\s*(\d+)", status.read_text())[1]) if status.is_file() else math.nan


def tell_memory(name: str, tokens: int, causal: bool) -> None:
    """What the child process does: one small pass, so that libraries are loaded, then the one that counts."""
    run(name, inputs(32), causal)
    parts = inputs(tokens)
    before = peak()
    run(name, parts, causal)
    print(peak() - before)


def memory(name: str, options: argparse.Namespace) -> float:
    """Bytes above the inputs at the peak of a pass in a process of its own; NaN if it did not survive."""
    flags = ["--tokens", str(options.tokens), "--threads", str(options.threads), "--memory-of", name]
    flags += ["--everything-visible"] * options.everything_visible
    told = subprocess.run([sys.executable, __file__, *flags], capture_output=True, text=True, check=False)
    return float(told.stdout) if told.returncode == 0 else math.nan


def bench_time(names: list[str], options: argparse.Namespace) -> dict[str, tuple[float, Ratio]]:
    """Seconds of every name, and its wall time divided by ours in all rounds."""
    parts, causal = inputs(options.tokens), not options.everything_visible
    for name in names[:2]:
        run(name, parts, causal)  # the first pass of a process is slow
    rounds = [{name: run(name, parts, causal) for name in names} for _ in range(options.rounds)]
    ours = [sum(taken[OURS][:2]) for taken in rounds]
    print(f"{'':<16}{'forward':>9}{'backward':>10}{'both':>8}{'CPU':>8}{'':7}times ours, median (from, to)")
    found = {}
    for name in names:
        forward, backward, cpu = (statistics.median(taken[name][i] for taken in rounds) for i in range(3))
        both = [sum(taken[name][:2]) for taken in rounds]
        ratio = Ratio.of(theirs / our for theirs, our in zip(both, ours, strict=True))
        found[name] = statistics.median(both), ratio
        line = f"{name:<16}{forward:8.2f} s{backward:8.2f} s{statistics.median(both):6.2f} s{cpu:6.2f} s"
        print(f"{line}       {ratio:.2f} ({ratio.low:.2f}, {ratio.high:.2f})")
    return found


def bench_memory(names: list[str], options: argparse.Namespace) -> dict[str, float]:
    """MiB that every name needs."""
    needed = {name: memory(name, options) for name in names}
    return {name: size / 2**20 for name, size in needed.items()}


def rows(what: str, unit: str, found: dict[str, tuple[float, float]], asked: dict[str, float]) -> list[Row]:
    """A row for each peer."""
    peers = {name: seen for name, seen in found.items() if name != OURS and not math.isnan(seen[0])}
    return [Row(f"{what}, {name}", unit, found[OURS][0], *seen, asked.get(name)) for name, seen in peers.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=AIMED_AT)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--everything-visible", action="store_true", help="not causal")
    parser.add_argument("--without", nargs="*", default=[], choices=[MATH, NAIVE, LEAN, LESSON, "memory"])
    parser.add_argument("--memory-of", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory_of:
        tell_memory(options.memory_of, options.tokens, not options.everything_visible)
        return
    names = [name for name in WAYS if name not in options.without]
    check(names, not options.everything_visible)
    kind = "everything visible" if options.everything_visible else "causal"
    print(f"batch {BATCH}, {HEADS} heads of {DIM}, {options.tokens:,} tokens, {kind}, float32; {options.rounds} rounds")
    times = bench_time(names, options)
    needed = {} if "memory" in options.without else bench_memory(names, options)
    wanted = options.tokens == AIMED_AT and not options.everything_visible
    what = f"{options.tokens:,} tokens, both passes"
    tell(*rows(f"time of {what}", "s", times, {FUSED: 1 / MOST_OF_FUSED, NAIVE: 3.5} if wanted else {}))
    if OURS in needed:
        sizes = {name: (size, size / needed[OURS]) for name, size in needed.items()}
        tell(*rows(f"memory of {what}", "MiB", sizes, {NAIVE: 30} if wanted else {}))
    print(f"torch {torch.__version__}, Python {sys.version.split()[0]}, {options.threads} threads")


if __name__ == "__main__":
    main()
