"""SmolLM2-135M quantized whole with GPTQ to 4 bits in groups of 64: seconds and memory of a process of its own.

The grids are affine and the loudest inputs come first: the weights were stored in 4 bits before, on other grids.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from peers import Row

MINUTES, GIBIBYTES = 5, 4
TEXTS, TOKENS = 32, 256  # of calibration
LIMIT = 3600


def bench(rounds: int) -> list[Row]:
    """What the other process says of itself; it runs once, whatever the rounds."""
    command = [sys.executable, __file__]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    if done.returncode:
        why = done.stderr.strip().splitlines()[-1:] or ["no word"]
        return [Row("SmolLM2-135M by GPTQ", note=f"did not run: {why[0]}")]
    found = json.loads(done.stdout.splitlines()[-1])
    seconds, peak = found["seconds"], found["peak"]
    note = (
        f"perplexity of a held-out text {found['exact']:.2f}, GPTQ {found['gptq']:.2f}, nearest {found['nearest']:.2f}"
    )
    return [
        Row("SmolLM2 by GPTQ: seconds, most", "s", seconds, 60 * MINUTES, 60 * MINUTES / seconds, 1.0, note),
        Row("SmolLM2 by GPTQ: peak memory, most", "GiB", peak, GIBIBYTES, GIBIBYTES / peak, 1.0),
        Row("SmolLM2: the file, float32", "MB", found["file"], found["whole"], found["whole"] / found["file"], 5.0),
    ]


def measure() -> dict[str, float]:
    """Load, collect, quantize, save; the perplexities come afterwards."""
    from labkit import corpora
    from labkit.compression.files import save_compressed
    from labkit.compression.gptq import gptq_model
    from labkit.compression.measuring import document_losses
    from labkit.compression.whole import compressed, round_model
    from labkit.transformer import load_smollm2

    torch.set_num_threads(1)
    pretrained = load_smollm2("fused")
    model, encode = pretrained.model, pretrained.tokenizer.encode
    train, held_out = (part.text for part in corpora.load("wikipedia", quiet=True).split())
    ids = torch.tensor(encode(train[:60_000]).ids)[: TEXTS * TOKENS].view(TEXTS, TOKENS)
    begin = time.perf_counter()
    nearest = round_model(model, 4, 64, symmetric=False)
    run = lambda: [model.hidden(part) for part in ids.split(4)]  # noqa: E731 - the head is not calibrated
    found = nearest | gptq_model(model, run, 4, 64, symmetric=False, order=True)
    with tempfile.TemporaryDirectory() as folder:
        file = save_compressed(compressed(model, found), Path(folder) / "smollm2.safetensors").stat().st_size
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    text = [torch.tensor(encode(held_out[:4000]).ids)]
    models = {"exact": model, "gptq": compressed(model, found), "nearest": compressed(model, nearest)}
    scores = {name: document_losses(each, text).perplexity for name, each in models.items()}
    whole = 4 * sum(weight.numel() for weight in model.parameters())
    return {"seconds": seconds, "peak": peak, "file": file / 1e6, "whole": whole / 1e6, **scores}


if __name__ == "__main__":
    print(json.dumps(measure()))
