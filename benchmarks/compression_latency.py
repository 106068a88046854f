"""The next token of a GPT of 30 million weights in 8 and 4 bits, beside float32 and torchao: a part of the benchmark.

Every model has read 64 tokens and is asked for eight more, one at a time, with its cache. The output error is that of
all logits of four texts of 64 tokens, relative, as ‖a − b‖ / ‖b‖.
"""

import copy
import logging
import warnings
from collections.abc import Callable

import torch
from peers import Row, paired
from torch import nn

from labkit.compression.gptq import gptq_model
from labkit.compression.references import quiet, quiet_import
from labkit.compression.whole import compressed, fastest, round_model
from labkit.pretraining import tiny_gpt
from labkit.transformer import Config, Decoder

VOCABULARY, READ, WRITTEN = 8192, 64, 8
CALIBRATION, BATCH = 4, 8  # batches of so many texts of 64 tokens, at random as the model is


def thirty_million() -> Decoder:
    """A GPT of 29.5 million weights; they are random, which changes no time."""
    return Decoder(Config(VOCABULARY, context=256, layers=8, heads=8, width=512)).eval()


def tokens(*shape: int, seed: int = 0) -> torch.Tensor:
    """Random ids."""
    return torch.randint(VOCABULARY, shape, generator=torch.Generator().manual_seed(seed))


def writer(model: nn.Module) -> Callable[[], None]:
    """Eight tokens more, after 64 that were read."""
    ids, cache = tokens(1, READ + WRITTEN), model.new_cache(1, READ + WRITTEN)

    @torch.no_grad()
    def write() -> None:
        for past in cache:
            past.length = READ
        for place in range(READ, READ + WRITTEN):
            model(ids[:, place : place + 1], cache=cache)

    with torch.no_grad():
        model(ids[:, :READ], cache=cache)
    return write


@torch.no_grad()
def error(model: nn.Module, exact: nn.Module) -> float:
    """How far the logits are from those of the float model."""
    ids = tokens(4, READ, seed=1) % exact.config.vocabulary
    return float((model(ids) - exact(ids)).norm() / exact(ids).norm())


def by_torchao(model: Decoder) -> nn.Module:
    """A copy in torchao's int8 weight-only form, run eagerly."""
    module = quiet_import("torchao.quantization")
    with quiet():
        theirs = copy.deepcopy(model)
        module.quantize_(theirs, module.Int8WeightOnlyConfig())
    return theirs


def by_torch(model: Decoder) -> nn.Module:
    """A copy with torch's dynamic int8 layers, which round the inputs as well, and are deprecated."""
    with quiet():
        return torch.ao.quantization.quantize_dynamic(copy.deepcopy(model), {nn.Linear}, dtype=torch.qint8)


def peers(model: Decoder) -> dict[str, nn.Module | str]:
    """Each peer, or why it is not here."""
    found: dict[str, nn.Module | str] = {}
    for name, make in (("torchao int8 weight-only, eager", by_torchao), ("torch dynamic int8", by_torch)):
        try:
            found[name] = make(model)
        except (ImportError, AttributeError, RuntimeError, NotImplementedError) as reason:
            found[name] = f"did not run: {reason}"
    return found


def bench(rounds: int) -> list[Row]:
    """8 and 4 bits beside float32, 8 bits beside the peers, and how far the outputs are off."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    model, rounded = thirty_million(), {}
    batches = [tokens(BATCH, READ, seed=10 + i) for i in range(CALIBRATION)]
    rounded["8 bits"] = round_model(model, 8)
    better = rounded["8 bits"] | gptq_model(model, lambda: [model(ids) for ids in batches], 8)
    rounded["4 bits, groups of 64"] = round_model(model, 4, 64)
    ours = {name: compressed(model, found, fastest) for name, found in rounded.items()}
    rows = [speed(f"{name}, float32", ours[name], model, rounds, asked=1.82) for name in ours]
    for name, peer in peers(model).items():
        if isinstance(peer, str):
            rows.append(Row(f"8 bits, {name}", note=peer, missing=name))
        else:
            asked = 1.5 if "torchao" in name else None
            rows.append(speed(f"8 bits, {name}", ours["8 bits"], peer, rounds, asked, error(peer, model)))
    for name, found in (("rounded", rounded["8 bits"]), ("by GPTQ", better)):
        off = error(compressed(model, found, fastest), model)
        asked = 1.0 if name == "by GPTQ" else None
        rows.append(Row(f"8 bits {name}: output error below 2 %", "of it", off, 0.02, 0.02 / off, asked))
    tiny = tiny_gpt().model.eval()
    off = error(compressed(tiny, round_model(tiny, 8), fastest), tiny)
    rows.append(Row("8 bits rounded, a trained tiny GPT: output error", "of it", off, 0.02, 0.02 / off))
    return rows


def speed(what: str, ours: nn.Module, theirs: nn.Module, rounds: int, asked: float | None, off: float = 0.0) -> Row:
    """Milliseconds of one token."""
    mine, other, ratio = paired(writer(ours), writer(theirs), rounds)
    note = f"{1 / ratio:.2f} of theirs" + (f"; their output is {off:.1%} off" if off else "")
    return Row(what, "ms", 1e3 * mine / WRITTEN, 1e3 * other / WRITTEN, ratio, asked, note)
