"""Checkpoints of two ranks, resumed by one, two and four; and torch's FSDP2 with its own checkpoints beside them."""

import json

import pytest
import torch
from torch import nn

from labkit import optimizers
from labkit.ranks import run_ranks
from labkit.transformer import Config, Decoder
from labkit.zero.checkpoints import load_shards, save_shards
from labkit.zero.fully_sharded import bytes_here, fully_sharded, load_with_torch, save_with_torch
from labkit.zero.reading import digest
from labkit.zero.stages import Zero

SHAPE = Config(vocabulary=48, context=16, layers=2, heads=2, width=16)
RULES = {"torch AdamW": torch.optim.AdamW, "our SGD": optimizers.SGD}
WAYS = [("torch AdamW", 1), ("torch AdamW", 2), ("torch AdamW", 3), ("our SGD", 2)]
SETTINGS = {"torch AdamW": {"lr": 0.01}, "our SGD": {"lr": 0.1, "momentum": 0.9}}


def new(rule="torch AdamW", stage=2, seed=0, **settings):
    model = Decoder(SHAPE, seed=seed).double()
    model.blocks[0].requires_grad_(False)  # frozen ones must come back, too
    return Zero(model, RULES[rule], stage=stage, bucket_mb=0.01, **{**SETTINGS[rule], **settings})


def train(model, optimizer, exchange, steps, start=0):
    losses = []
    for step in range(start, start + steps):
        ids = torch.randint(0, 48, (4, 9), generator=torch.Generator().manual_seed(step))
        ids = ids.chunk(exchange.ranks)[exchange.rank]
        optimizer.zero_grad()
        loss = model.loss(ids[:, :-1], ids[:, 1:])
        loss.backward()
        optimizer.step()
        losses.append(exchange.total(loss.detach() / exchange.ranks).item())
    return losses


def fsdp(exchange, seed=0):
    model = (
        fully_sharded(Decoder(SHAPE, seed=seed).double()) if exchange.ranks > 1 else Decoder(SHAPE, seed=seed).double()
    )
    return model, torch.optim.AdamW(model.parameters(), lr=0.01)


def save_all(folder):
    """On two ranks: train, save, and go on."""
    losses = {}
    for rule, stage in WAYS:
        zero = new(rule, stage)
        train(zero.model, zero, zero.exchange, 3)
        save_shards(folder / f"{rule}-{stage}", zero, step=3, seen="some text")
        losses[rule, stage] = train(zero.model, zero, zero.exchange, 3, start=3)
    zero = Zero(Decoder(SHAPE).double(), torch.optim.AdamW, stage=3, lr=0.01)
    model, optimizer = fsdp(zero.exchange)
    ours, theirs = (train(*each, zero.exchange, 3) for each in ((zero.model, zero), (model, optimizer)))
    reports = zero.report(), bytes_here(model, optimizer, *(zero.exchange.rank, zero.exchange.ranks))
    save_with_torch(folder / "torch", model, optimizer)
    losses["torch"] = train(model, optimizer, zero.exchange, 3, start=3)
    return {"losses": losses, "ours": ours, "theirs": theirs, "reports": reports}


def resume_all(folder):
    """On any number of ranks: build from other weights and settings, load, and give the next losses."""
    losses = {}
    for rule, stage in WAYS:
        zero = new(rule, stage=4 - stage, seed=5, lr=0.7)  # another stage, too
        about = load_shards(folder / f"{rule}-{stage}", zero)
        assert about == {"step": 3, "seen": "some text"}, about
        losses[rule, stage] = train(zero.model, zero, zero.exchange, 3, start=3)
    model, optimizer = fsdp(zero.exchange, seed=5)
    load_with_torch(folder / "torch", model, optimizer)
    losses["torch"] = train(model, optimizer, zero.exchange, 3, start=3)
    return losses, damaged(folder)


def damaged(folder):
    """What every rank says to a checkpoint of which the second file is damaged: all of them, though not all read it."""
    zero, said = new(), []
    before = [p.detach().clone() for p in zero.model.parameters()]
    for name in ("flipped", "missing"):
        try:
            load_shards(folder / name, zero)
        except ValueError as error:
            said.append(str(error))
    return said, all(torch.equal(a, b) for a, b in zip(before, zero.model.parameters(), strict=True))


def spoil(folder):
    import shutil

    for name in ("flipped", "missing", "short", "no index", "torn"):
        shutil.copytree(folder / "torch AdamW-2", folder / name)
    second = "rank-00001-of-00002.safetensors"
    content = bytearray((folder / "flipped" / second).read_bytes())
    content[-3] ^= 1
    (folder / "flipped" / second).write_bytes(content)
    (folder / "missing" / second).unlink()
    (folder / "short" / second).write_bytes(bytes(content[:-8]))
    (folder / "no index" / "index.json").unlink()
    index = (folder / "torn" / "index.json").read_text()
    (folder / "torn" / "index.json").write_text(index[: len(index) // 2])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="module")
def saved(folder):
    found = run_ranks(save_all, 2, folder, timeout=120.0, quiet=True)
    spoil(folder)
    return found


@pytest.fixture(scope="module")
def resumed(folder, saved):
    return {1: [resume_all(folder)], 4: run_ranks(resume_all, 4, folder, timeout=120.0, quiet=True)}


@pytest.mark.parametrize("ranks", [1, 4])
def test_two_ranks_save_and_others_go_on_with_the_same_losses(saved, resumed, ranks):
    expected = saved[0]["losses"]
    for losses, _ in resumed[ranks]:
        assert losses.keys() == expected.keys()
        for way, each in losses.items():
            assert each == pytest.approx(expected[way], rel=1e-12), way


def test_a_damaged_or_missing_shard_is_refused_on_every_rank_and_nothing_is_changed(resumed):
    for said, untouched in (each[1] for ranks in resumed.values() for each in ranks):
        assert untouched and len(said) == 2
        assert "rank-00001-of-00002.safetensors of flipped is damaged" in said[0]
        assert "rank-00001-of-00002.safetensors is missing in missing: all 2 files" in said[1]


def test_fsdp2_has_the_same_losses_and_the_same_bytes(saved):
    for rank in saved:
        assert rank["ours"] == pytest.approx(rank["theirs"], rel=1e-12)
        ours, theirs = rank["reports"]
        assert (ours.parameters, ours.gradients) == (theirs.parameters, theirs.gradients)
        # but for the numbers of steps: one for each vector, not one for each parameter
        assert abs(ours.optimizer - theirs.optimizer) < 4 * 40


def test_each_rank_writes_half(folder, saved):
    sizes = [path.stat().st_size for path in sorted((folder / "torch AdamW-3").glob("rank-*"))]
    assert len(sizes) == 2 and abs(sizes[0] - sizes[1]) < 0.1 * sizes[0]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("short", "bytes and was written with"),
        ("no index", r"there is no index\.json"),
        ("torn", r"index\.json of torn is damaged"),
        ("nowhere", "no checkpoint of shards"),
        ("our SGD-2", "of labkit's SGD, not of torch's AdamW"),
    ],
)
def test_what_cannot_be_resumed_is_refused_in_a_sentence(folder, saved, name, words):
    with pytest.raises(ValueError, match=words):
        load_shards(folder / name, new())


def test_a_checkpoint_of_another_model_or_other_groups_is_refused(folder, saved):
    wide = Zero(Decoder(Config(48, 16, layers=2, heads=2, width=32)), torch.optim.AdamW)
    with pytest.raises(ValueError, match=r"tokens\.weight is \[48, 32\] here and \[48, 16\] there"):
        load_shards(folder / "torch AdamW-1", wide)
    model = Decoder(SHAPE)
    model.blocks[0].requires_grad_(False)
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [{"params": trained[:3]}, {"params": trained[3:], "lr": 0.1}]
    with pytest.raises(ValueError, match="another number of parameter groups"):
        load_shards(folder / "torch AdamW-1", Zero(model, torch.optim.AdamW, groups=groups))


def test_an_index_that_does_not_cover_a_parameter_is_refused(folder, saved, tmp_path):
    import shutil

    shutil.copytree(folder / "torch AdamW-2", tmp_path / "holes")
    path = tmp_path / "holes" / "index.json"
    index = json.loads(path.read_text())
    index["files"][1]["pieces"] = index["files"][1]["pieces"][:-1]
    path.write_text(json.dumps({**index, "sha256": digest(index)}))
    with pytest.raises(ValueError, match="is not whole in holes"):
        load_shards(tmp_path / "holes", new())


def test_nothing_is_written_over_and_leftovers_are_cleared(tmp_path):
    zero = Zero(nn.Linear(2, 2), torch.optim.SGD, lr=0.1)
    scratch = tmp_path / ".step-1.part"
    scratch.mkdir()
    (scratch / "rank-00007-of-00008.safetensors").write_bytes(b"a killed run")
    save_shards(tmp_path / "step-1", zero, step=1)
    assert sorted(path.name for path in (tmp_path / "step-1").iterdir()) == [
        "index.json",
        "rank-00000-of-00001.safetensors",
    ]
    with pytest.raises(ValueError, match="exists already"):
        save_shards(tmp_path / "step-1", zero)


def test_before_the_first_step_there_are_weights_and_no_states(tmp_path):
    zero = new()
    save_shards(tmp_path / "start", zero)
    other = new(seed=3)
    load_shards(tmp_path / "start", other)
    assert all(torch.equal(a, b) for a, b in zip(zero.model.parameters(), other.model.parameters(), strict=True))
    assert not other.optimizer.state
