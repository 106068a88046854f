"""Perplexity of trained tiny GPTs in 4 and 3 bits, rounded to nearest and by GPTQ: a part of the benchmark.

Five models of the recipe of notebook 10, which differ in the seed of their weights and batches alone, are judged on the
same held-out documents. The file of the first one, whole, is compared with float32's too.
"""

from dataclasses import replace
from itertools import islice

import torch
from compression_files import row, size
from peers import Row

from labkit import corpora
from labkit.compression.gptq import gptq_model
from labkit.compression.measuring import document_losses
from labkit.compression.whole import compressed, round_model
from labkit.pretraining.recipes import batches, load_or_train, prepare, recipe

SEEDS, JUDGED, CALIBRATION = 5, 60, 16
ROWS = ((4, 64, 1.03), (3, 64, None), (3, None, None))


def bench(rounds: int) -> list[Row]:
    """Perplexity of the first seed, then at 3 bits the worst of five; rounds do not matter."""
    data = prepare(recipe())
    documents = [data.tokenizer.encode(text) for text in corpora.load(recipe().corpus, quiet=True).split()[1].documents]
    rows, behind = [], []
    for seed in range(SEEDS):
        plan = replace(recipe(), seed=seed)
        model = load_or_train(plan, progress=None).model.eval()
        text = [ids for ids, _ in islice(batches(replace(plan, seed=99), data.train, data.tokenizer), CALIBRATION)]
        exact = document_losses(model, documents[:JUDGED]).perplexity
        for bits, group, most in ROWS if seed == 0 else ROWS[1:]:
            by = both(model, text, bits, group)
            ours, theirs = (document_losses(found, documents[:JUDGED]).perplexity / exact for found in by.values())
            what = f"{bits} bits, {f'groups of {group}' if group else 'a step for a row'}, seed {seed}"
            if most:
                rows.append(Row(f"{what}: perplexity / float32, most", "times", ours, most, most / ours, 1.0))
                rows.append(row(f"{what}: the whole file, float32", size(by["GPTQ"]), size(model), 0.20))
            note = f"{ours:.4f}, {theirs:.4f}; float32 has {exact:.2f}"
            rows.append(Row(f"{what}: GPTQ, to nearest", "times", ours, theirs, (theirs - 1) / (ours - 1), None, note))
            behind += [(theirs - 1) / (ours - 1)] * (bits == 3)
    least = f"the least of {len(behind)} models and groupings"
    rows.append(Row("3 bits: what perplexity loses, nearest / GPTQ", "times", 1, min(behind), min(behind), 1.0, least))
    return rows


def both(model, text: list[torch.Tensor], bits: int, group: int | None) -> dict:
    """The model by GPTQ, and rounded to nearest; the embedding has 8 bits in both."""
    nearest = round_model(model, bits, group)
    better = nearest | gptq_model(model, lambda: [model(ids) for ids in text], bits, group)
    return {"GPTQ": compressed(model, better), "nearest": compressed(model, nearest)}
