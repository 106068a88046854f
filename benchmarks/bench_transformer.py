"""labkit.transformer beside its peers: a training step of a small GPT, its memory, and text with and without a cache.

    python benchmarks/bench_transformer.py [--rounds 12] [--vocabulary 8192] [--without memory generation]

The GPT has 12 million parameters, a context of 256 and batches of 8; a step is forward, backward and AdamW (torch's
fused one, for all), in float32, on one thread. The peers (`gpt_peers.py`) start from our weights, and their losses must
agree with ours after all the steps. Times are CPU seconds, ours and theirs in turn; what counts are the ratios.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"  # before torch is imported
os.environ["TRANSFORMERS_VERBOSITY"] = "error"

import torch  # noqa: E402
from gpt_peers import PEERS, loss_of  # noqa: E402
from peers import ROWS, Row, compared, tell  # noqa: E402

from labkit.transformer import Config, Decoder, generate  # noqa: E402
from labkit.transformer.counting import count, flops  # noqa: E402

BATCH, TOKENS = 8, 256
OURS = "labkit"
TARGETS = {"textbook GPT": 1.2, "transformers GPT-2": 1.0}  # how many times their tokens per second


def shape(vocabulary: int) -> Config:
    """A GPT of about 12 million parameters with heads of 64, as usual."""
    return Config(vocabulary, context=TOKENS, layers=8, heads=5, width=320)


def build(name: str, config: Config) -> torch.nn.Module | None:
    """One of the models, from the same weights; None, with a line that says so, where its library is missing."""
    ours = Decoder(config)
    if name == OURS:
        return ours
    try:
        return PEERS[name](ours, config)
    except ImportError as missing:
        tell(Row(f"{name}", note=f"left out: {missing}", missing=name))
        return None


def batch(config: Config, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Random ids and the ids after them, the same in every step, so that the loss falls and mistakes would show."""
    text = torch.randint(config.vocabulary, (BATCH, TOKENS + 1), generator=torch.Generator().manual_seed(seed))
    return text[:, :-1], text[:, 1:]


class Trainee:
    """A model with its optimizer, and the CPU seconds of its steps."""

    def __init__(self, model: torch.nn.Module):
        self.model, self.loss, self.seconds = model, loss_of(model), []
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def step(self, ids: torch.Tensor, targets: torch.Tensor) -> float:
        """One training step; returns the loss before it."""
        begin = time.process_time()
        self.optimizer.zero_grad()
        loss = self.loss(ids, targets)
        loss.backward()
        self.optimizer.step()
        self.seconds.append(time.process_time() - begin)
        return float(loss.detach())


def matmul_rate(size: int = 2048) -> float:
    """Floating-point operations per CPU second of one large matrix product."""
    x = torch.randn(size, size)
    begin = time.process_time()
    x @ x
    return 2 * size**3 / (time.process_time() - begin)


def step_flops(config: Config) -> float:
    """Operations of the products of a step; of the scores the causal half, which is all that has to be computed."""
    parts = flops(config, BATCH, TOKENS)
    return 3 * (sum(parts.values()) - parts["scores"] / 2)


def bench_training(config: Config, rounds: int) -> None:
    """Steps of all models in turn, and a large matrix product in every round."""
    models = {name: build(name, config) for name in (OURS, *PEERS)}
    trainees = {name: Trainee(model) for name, model in models.items() if model is not None}
    rates, losses = [], {}
    for i in range(rounds + 2):
        if i == 2:  # the first steps fill caches and the optimizer's state
            for trainee in trainees.values():
                trainee.seconds.clear()
        rates.append(matmul_rate())
        losses = {name: trainee.step(*batch(config)) for name, trainee in trainees.items()}
    gap = max(abs(loss - losses[OURS]) for loss in losses.values())
    print(f"  {count(models[OURS]):,} parameters; losses after {rounds + 1} steps differ by at most {gap:.1e}")
    if gap > 1e-3:
        sys.exit(f"the models do not compute the same: {losses}")
    peak, ours = max(rates), trainees[OURS].seconds
    print(f"  one large matrix product: at best {peak / 1e9:.1f} GFLOP/s, median {statistics.median(rates) / 1e9:.1f}")
    for name, trainee in trainees.items():
        seconds = statistics.median(trainee.seconds)
        share, best = (step_flops(config) / x / peak for x in (seconds, min(trainee.seconds)))
        print(
            f"  {name:<20} {BATCH * TOKENS / seconds:7.0f} tokens/s  {1000 * seconds:6.0f} ms,"
            f" {share:4.0%} of the peak rate (fastest step {best:.0%})"
        )
    for name, trainee in trainees.items():
        if name != OURS:
            own, theirs, ratio = compared(zip(ours, trainee.seconds, strict=True))
            most = theirs * peak / step_flops(config)
            note = f"fastest steps {min(trainee.seconds) / min(ours):.2f}x; nothing but products {most:.2f}x"
            rates = BATCH * TOKENS / own, BATCH * TOKENS / theirs
            tell(Row(f"a training step, {name}", "tokens/s", *rates, ratio, TARGETS.get(name), note))


def peak_memory() -> float:
    """The most memory that this process has had, in MiB; NaN where the system does not tell."""
    status = Path("/proc/self/status")
    return int(re.search(r"VmHWM:\s*(\d+)", status.read_text())[1]) / 1024 if status.is_file() else float("nan")


def bench_memory(config: Config) -> None:
    """The memory of every peer beside ours."""
    needed = {}
    for name in (OURS, *PEERS):
        command = [sys.executable, __file__, "--memory-of", name, "--vocabulary", str(config.vocabulary)]
        told = subprocess.run(command, check=False, capture_output=True, text=True, env=os.environ | {ROWS: os.devnull})
        found = re.fullmatch(r"([\d.]+) MiB\n", told.stdout) if told.returncode == 0 else None
        if found:
            needed[name] = float(found[1])
        else:
            print(f"  {name} was not measured: {(told.stdout + told.stderr)[-300:]}")
    for name in needed.keys() & PEERS.keys():
        tell(Row(f"memory of training, {name}", "MiB", needed[OURS], needed[name], needed[name] / needed[OURS]))


def memory_of(name: str, config: Config) -> None:
    """In a process of its own: print the memory that three steps of a model take, weights and optimizer included."""
    if name == "transformers GPT-2":
        import transformers.models.gpt2.modeling_gpt2  # noqa: F401, its code is not what is measured
    base = peak_memory()
    model = build(name, config)
    if model is None:
        return
    trainee = Trainee(model)
    for _ in range(3):
        trainee.step(*batch(config))
    print(f"{peak_memory() - base:.1f} MiB")


def bench_generation(config: Config, tokens: int = 256, prompt: int = 16) -> None:
    """So many tokens after a prompt: ours with and without cache, and GPT-2 of transformers with its cache."""
    config = replace(config, context=prompt + tokens)
    model = Decoder(config).eval()
    ids = batch(config)[0][:1, :prompt]
    seconds = {True: [], False: []}
    written = {}
    for _ in range(3):
        for use_cache in seconds:
            begin = time.process_time()
            written[use_cache] = generate(model, ids, tokens, use_cache=use_cache)
            seconds[use_cache].append(time.process_time() - begin)
    same = (written[True] == written[False]).float().mean().item()
    with_, without, ratio = compared(zip(seconds[True], seconds[False], strict=True))
    note = f"{same:.1%} of the tokens are the same"
    rates = tokens / with_, tokens / without
    tell(Row(f"{tokens} tokens with the cache, without", "tokens/s", *rates, ratio, 5.0, note))
    bench_their_generation(model, config, ids, tokens)


def bench_their_generation(ours: Decoder, config: Config, ids: torch.Tensor, tokens: int) -> None:
    """The same tokens by `generate` of transformers, with its cache, in turn with ours."""
    try:
        theirs = PEERS["transformers GPT-2"](ours, config).eval()
    except ImportError:
        return
    theirs.generation_config.update(use_cache=True, eos_token_id=None, pad_token_id=0, bos_token_id=0)
    pairs = []
    for _ in range(3):
        begin = time.process_time()
        theirs.generate(ids, max_new_tokens=tokens, do_sample=False)
        middle = time.process_time()
        generate(ours, ids, tokens)
        pairs.append((time.process_time() - middle, middle - begin))
    own, other, ratio = compared(pairs)
    tell(Row(f"{tokens} tokens, transformers, both with cache", "tokens/s", tokens / own, tokens / other, ratio))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--vocabulary", type=int, default=8192)
    parser.add_argument("--without", nargs="*", default=[], choices=["training", "memory", "generation"])
    parser.add_argument("--memory-of", choices=[OURS, *PEERS], help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = shape(options.vocabulary)
    if options.memory_of:
        return memory_of(options.memory_of, config)
    if "training" not in options.without:
        print(f"training, batch {BATCH}, context {TOKENS}, vocabulary {config.vocabulary}, float32, one thread")
        bench_training(config, options.rounds)
    if "memory" not in options.without:
        print("peak memory of training, each in a process of its own")
        bench_memory(config)
    if "generation" not in options.without:
        print("generation, one sequence, greedy")
        bench_generation(config)
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, Python {sys.version.split()[0]}")


if __name__ == "__main__":
    main()
