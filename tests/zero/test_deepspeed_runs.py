"""DeepSpeed on two real processes: one start, many experiments, beside torch's DDP and our ZeRO."""

import importlib.util
import json
import os
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from labkit.ranks import run_ranks
from labkit.transformer import Config, Decoder, Encoder
from labkit.zero import deepspeed_runs
from labkit.zero.link_spans import Passage, Span

SHAPE = Config(vocabulary=50, context=16, layers=2, heads=2, width=16)
NUMBERS = sum(parameter.numel() for parameter in Decoder(SHAPE).parameters())
here = pytest.mark.skipif(bool(deepspeed_runs.why_not()), reason=deepspeed_runs.why_not() or "DeepSpeed is here")


class Frozen(nn.Module):
    """A model with a frozen layer and a buffer: what a consolidation forgets."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.below, self.above = nn.Linear(3, 5), nn.Linear(5, 3)
        self.below.requires_grad_(False)
        self.register_buffer("scale", torch.tensor([2.0]))

    def loss(self, x, y):
        return (self.above(self.below(x) * self.scale) - y).square().mean()


def tiny_reader():
    tokenizers = pytest.importorskip("tokenizers")
    from labkit.transformer.pretrained import Pretrained

    words = {word: i for i, word in enumerate(["[UNK]", "the", "of", "paris", "rome", "saw"])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.normalizer = tokenizers.normalizers.Lowercase()
    config = Config(vocabulary=6, context=16, layers=2, heads=2, width=16, norm_first=False)
    return Pretrained(Encoder(config), tokenizer, config, "a tiny one")


def cities(count):
    rows = [(("The", "Paris", "of", "Rome"), (1, 3)), (("Rome", "saw", "the", "Paris"), (0, 3))]
    return [Passage(words, tuple(Span(i, i + 1) for i in at)) for words, at in rows * (count // 2)]


def experiments(folder):
    from labkit.zero import fine_tuning, side_by_side
    from labkit.zero.deepspeed_runs import config

    ids = torch.randint(0, 50, (4, 8, 9), generator=torch.Generator().manual_seed(0))
    batches = [side_by_side.own_part((rows[:, :-1], rows[:, 1:])) for rows in ids]
    model, run = Decoder(SHAPE), side_by_side.with_deepspeed
    found = {"DDP": side_by_side.with_ddp(model, batches)}
    for stage in (1, 2, 3):
        found[f"ours {stage}"] = side_by_side.with_ours(model, batches, stage)
    for stage in range(4):
        found[stage] = run(model, batches, config(stage, 8, 2), f"{folder}/{stage}")
    found["accumulated"] = run(model, batches, config(2, 8, 2, accumulate=2))
    found["bf16"] = run(model, batches, config(2, 8, 2, bf16=True), f"{folder}/bf16")
    settings = config(3, 8, 2)
    settings["zero_optimisation"] = settings.pop("zero_optimization")
    found["misspelt"] = run(model, batches, settings)
    numbers = torch.arange(12.0).view(4, 3)
    for stage in (2, 3):
        name = f"frozen {stage}"
        found[name] = run(Frozen(), [(numbers, numbers)] * 2, config(stage, 8, 2), f"{folder}/frozen{stage}")
    lesson = fine_tuning.Lesson(batch=8, trained=1, lr=1e-2)
    return found, fine_tuning.teach(cities(80), cities(10), lesson, tiny_reader())


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return run_ranks(experiments, 2, str(tmp_path_factory.mktemp("checkpoints")), timeout=300, quiet=True)


def distance(one, other):
    return max((one[name].float() - other[name].float()).abs().max().item() for name in one)


@here
def test_every_stage_trains_as_ddp_and_as_ours(ranks):
    found, _ = ranks[0]
    for name in ("ours 1", "ours 2", "ours 3", 0, 1, 2, 3, "accumulated"):
        assert found[name].losses == pytest.approx(found["DDP"].losses, abs=1e-5), name
        assert distance(found[name].weights, found["DDP"].weights) < 2e-3, name  # Adam divides by small numbers
    assert found["bf16"].losses == pytest.approx(found["DDP"].losses, abs=0.05)


@here
def test_each_rank_keeps_its_share_and_no_more(ranks):
    whole = 4 * NUMBERS
    for found, _ in ranks:
        assert found[0].held == {"parameters": whole, "gradients": whole, "moments": 2 * whole, "master": 0}
        for stage in (1, 2, 3):
            assert found[stage].held["moments"] == whole  # two moments, half of each
            assert found[stage].held["master"] == whole / 2
            assert found[stage].held["parameters"] == (whole / 2 if stage == 3 else whole)
        assert found[3].held["gradients"] == whole / 2
        assert found["bf16"].held["parameters"] == whole / 2


@here
def test_checkpoints_hold_the_weights_and_training_goes_on_from_them(ranks):
    found, _ = ranks[0]
    for name in (0, 1, 2, 3, "frozen 2", "frozen 3"):
        assert found[name].checks.pop("resumed") < 1e-6, name
        assert set(found[name].checks.values()) == {0.0}, name
    assert found["bf16"].checks["theirs"] == 0
    assert 0 < found["bf16"].checks["ours"] < 0.01  # the precise copy is what is saved


@here
def test_a_misspelt_key_is_ignored_without_a_word(ranks):
    found, _ = ranks[0]
    assert found["misspelt"].name == "DeepSpeed 0"
    assert found["misspelt"].held == found[0].held


@here
def test_a_tagger_learns_the_same_by_ddp_and_by_deepspeed(ranks):
    _, taught = ranks[0]
    assert taught["DDP"].score.f1 == 1
    assert taught["DeepSpeed"].score.f1 == 1
    assert taught["DeepSpeed"].run.losses == pytest.approx(taught["DDP"].run.losses, abs=1e-4)
    assert taught["DDP"].found == [list(passage.links) for passage in cities(10)] == ranks[1][1]["DDP"].found


def test_the_three_sizes_of_a_batch_multiply():
    settings = deepspeed_runs.config(2, batch=48, ranks=4, accumulate=3)
    assert settings["train_micro_batch_size_per_gpu"] * 3 * 4 == settings["train_batch_size"] == 48


@pytest.mark.parametrize(("stage", "batch"), [(4, 8), (2, 9), ("2", 8)])
def test_what_deepspeed_would_refuse_is_refused_before(stage, batch):
    with pytest.raises(ValueError, match=r"stage .* must be 0 to 3, and 2 × 1 must divide"):
        deepspeed_runs.config(stage, batch, 2)


def test_the_lock_of_a_killed_build_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    monkeypatch.setattr(deepspeed_runs.sys, "platform", "linux")
    monkeypatch.setattr(deepspeed_runs.importlib.util, "find_spec", lambda name: True)
    assert deepspeed_runs.why_not() == ""
    lock = tmp_path / "py311_cpu" / "deepspeed_shm_comm" / "lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    assert deepspeed_runs.stale_locks() == deepspeed_runs.stale_locks(tmp_path) == [lock]
    with pytest.raises(RuntimeError, match="left its lock behind") as refused:
        deepspeed_runs.load_deepspeed()
    assert str(lock) in str(refused.value)


def test_without_deepspeed_a_sentence_says_what_to_do(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(deepspeed_runs.sys, "platform", "linux")
    assert "pip install deepspeed" in deepspeed_runs.why_not()
    monkeypatch.setattr(deepspeed_runs.sys, "platform", "win32")
    assert "Linux" in deepspeed_runs.why_not()


def test_the_stored_result_has_all_that_the_notebook_shows():
    result = deepspeed_runs.stored()
    assert set(result["runs"]) >= {"DDP", *(f"DeepSpeed {stage}" for stage in range(4))}
    assert set(result["fine_tuning"]) == {"DDP", "DeepSpeed"}
    assert json.dumps(result)


def test_a_deepspeed_that_does_not_load_is_named_with_the_extra_that_brings_it(monkeypatch):
    monkeypatch.setattr(deepspeed_runs, "why_not", lambda: "")
    monkeypatch.setitem(sys.modules, "deepspeed", None)
    with pytest.raises(ModuleNotFoundError, match=r"to train with it.*llm-labkit\[deepspeed\]"):
        deepspeed_runs.load_deepspeed()


@pytest.mark.parametrize(("gpus", "accelerator"), [(0, "cpu"), (1, "cpu"), (2, None)])
def test_two_ranks_that_would_share_a_gpu_train_on_the_cpu(monkeypatch, gpus, accelerator):
    for name in ("DS_ACCELERATOR", "TORCHDYNAMO_DISABLE"):
        monkeypatch.setenv(name, "")  # so that what is set here is taken back
        monkeypatch.delenv(name)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(deepspeed_runs, "why_not", lambda: "")
    monkeypatch.setattr(
        deepspeed_runs, "need", lambda *how: SimpleNamespace(ops=SimpleNamespace(__compatible_ops__={}))
    )
    deepspeed_runs.load_deepspeed()
    assert os.environ.get("DS_ACCELERATOR") == accelerator
