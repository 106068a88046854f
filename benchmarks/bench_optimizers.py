"""labkit.optimizers beside torch's: the CPU time of a step of AdamW and Adam on the weights of a GPT.

    python benchmarks/bench_optimizers.py [--rounds 9] [--width 512] [--layers 8]

The weights are those of a GPT with 27 million parameters, the gradients noise, one thread, float32. All take their
steps in turn, from the same weights with the same gradients, and must end at the same place; what counts are the
ratios of CPU seconds within a round. "textbook" is the pure function of `labkit.optimizers.textbook`; it runs against
ours alone, since its many large temporaries change how the C library hands out memory to the others.

That matters: torch's for-loop and foreach make temporaries of whole tensors, up to twice as slow where memory is
fresh every time, as in a plain process, than where the C library keeps it. To see the latter, run with
MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=17179869184 MALLOC_TOP_PAD_=1073741824. Ours needs a megabyte.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"  # before torch is imported

import torch  # noqa: E402
from peers import Ratio, Row, tell  # noqa: E402

from labkit import optimizers as lab  # noqa: E402

OURS = "labkit"
TARGETS = {"for-loop": 1.15, "foreach": 1.8}  # how many times their speed
VARIANTS = {"for-loop": {"foreach": False}, "foreach": {"foreach": True}, "fused": {"fused": True}}
Tensors = list[torch.Tensor]
Contestant = tuple[Tensors, Callable[[Tensors], None]]


def shapes(width: int, layers: int, vocabulary: int = 2048) -> list[tuple[int, ...]]:
    """The weights of a GPT: embeddings, and in every layer two norms, attention and feed-forward with their biases."""
    layer = [(width,)] * 4 + [(3 * width, width), (3 * width,), (width, width), (width,)]
    layer += [(4 * width, width), (4 * width,), (width, 4 * width), (width,)]
    return [(vocabulary, width), (256, width)] + layer * layers


def tensors(sizes: list[tuple[int, ...]], seed: int, scale: float) -> Tensors:
    """Noise of these shapes."""
    draw = torch.Generator().manual_seed(seed)
    return [scale * torch.randn(size, generator=draw) for size in sizes]


def stepper(kind: str, name: str, sizes: list[tuple[int, ...]]) -> Contestant:
    """The weights of a contestant, and a function that takes one step on gradients."""
    if name == OURS:
        return _stepper(getattr(lab, kind), sizes)
    if name == "textbook":
        return _textbook(lab.adamw_step if kind == "AdamW" else lab.adam_step, sizes)
    return _stepper(getattr(torch.optim, kind), sizes, **VARIANTS[name])


def _stepper(make: type, sizes: list[tuple[int, ...]], **settings: bool) -> Contestant:
    weights = [weight.requires_grad_() for weight in tensors(sizes, 0, 0.02)]
    optimizer = make(weights, lr=1e-3, **settings)

    def step(gradients: Tensors) -> None:
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient
        optimizer.step()

    return weights, step


def _textbook(rule: Callable, sizes: list[tuple[int, ...]]) -> Contestant:
    weights, states, counts = tensors(sizes, 0, 0.02), [{} for _ in sizes], [0]

    def step(gradients: Tensors) -> None:
        counts[0] += 1
        for place, gradient in enumerate(gradients):
            weights[place], states[place] = rule(weights[place], gradient, states[place], counts[0], lr=1e-3)

    return weights, step


def bench(kind: str, names: tuple[str, ...], sizes: list[tuple[int, ...]], rounds: int) -> None:
    """Steps of all contestants in turn; prints their medians and the ratios to ours."""
    contestants = {name: stepper(kind, name, sizes) for name in (OURS, *names)}
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    gradients = tensors(sizes, 1, 1e-3)
    for number in range(rounds + 1):
        for name, (_, step) in contestants.items():
            begin = time.process_time()
            step(gradients)
            if number:  # the first step makes the state
                seconds[name].append(time.process_time() - begin)
    check(contestants)
    for name, taken in seconds.items():
        print(f"  {kind:<6} {name:<9} {1000 * statistics.median(taken):6.0f} ms, fastest {1000 * min(taken):.0f}")
    for name in seconds:
        if name != OURS:
            ratio = Ratio.of(a / b for a, b in zip(seconds[name], seconds[OURS], strict=True))
            medians = (1000 * statistics.median(seconds[each]) for each in (OURS, name))
            note = f"fastest steps {min(seconds[name]) / min(seconds[OURS]):.2f}x"
            tell(Row(f"a step of {kind}, {name}", "ms", *medians, ratio, TARGETS.get(name), note))


def check(contestants: dict[str, Contestant]) -> None:
    """Leave if they do not end at the same weights."""
    ours = contestants[OURS][0]
    for name, (weights, _) in contestants.items():
        gap = max(float((a - b).detach().abs().max()) for a, b in zip(weights, ours, strict=True))
        if gap > 1e-5:
            sys.exit(f"{name} ends {gap:.1e} away from labkit: they do not compute the same")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--layers", type=int, default=8)
    options = parser.parse_args()
    torch.set_num_threads(1)
    sizes = shapes(options.width, options.layers)
    print(f"{sum(torch.Size(size).numel() for size in sizes):,} parameters in {len(sizes)} tensors")
    for names in (tuple(VARIANTS), ("textbook",)):
        for kind in ("AdamW", "Adam"):
            bench(kind, names, sizes, options.rounds)
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, Python {sys.version.split()[0]}")


if __name__ == "__main__":
    main()
