"""On two ranks: linear layers, attention, decoders, sequences, vocabularies; equal to serial and to torch's DTensor."""

import copy

import pytest

torch = pytest.importorskip("torch")

from labkit.model_parallel.activations import layer_activation_bytes  # noqa: E402
from labkit.model_parallel.tensor import share  # noqa: E402
from labkit.ranks import run_ranks  # noqa: E402
from labkit.transformer import Config  # noqa: E402
from labkit.transformer import layer_activation_bytes as serial_activation_bytes  # noqa: E402

EXACT = 1e-12  # everything runs in double precision
SHAPE = {"vocabulary": 40, "context": 16, "layers": 2, "heads": 4, "width": 32}
LLAMA = {
    "activation": "swiglu",
    "norm": "rms",
    "positions": "rotary",
    "bias": False,
    "tied": False,
    "kv_heads": 2,
    "hidden": 48,
}
KINDS = {
    "GPT": {},
    "Llama": LLAMA,
    "with dropout": {"dropout": 0.2},
    "with plain dropout": {"dropout": 0.2, "kernel": "plain", "activation": "relu", "positions": "sinusoidal"},
}


def say(function, *given):
    """What a function complains about."""
    try:
        function(*given)
    except ValueError as error:
        return str(error)
    return "nothing"


def farthest(ours, theirs):
    """The largest difference between two dicts of tensors with the same names."""
    assert set(ours) == set(theirs)
    return max(float((ours[name] - theirs[name]).abs().max()) for name in theirs)


def gradients(model):
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def all_gradients(model, config):
    """The gradients of the serial model, from those of all ranks."""
    import torch.distributed as dist

    from labkit.model_parallel.shards import merge_states

    every = [None] * dist.get_world_size()
    dist.all_gather_object(every, gradients(model))
    return merge_states(every, config)


def batch(seed):
    ids = torch.randint(0, 40, (2, 17), generator=torch.Generator().manual_seed(seed))
    targets = ids[:, 1:].clone()
    targets[0, :3] = -100
    return ids[:, :-1], targets


def decoders(config, sequence):
    """Differences to one process: losses, gradients and their norm, logits, weights after training."""
    from labkit.model_parallel.decoder import ParallelDecoder
    from labkit.transformer import Decoder

    models = Decoder(config, seed=3), ParallelDecoder(config, sequence=sequence, seed=3)
    optimizers = [torch.optim.AdamW(model.parameters(), lr=1e-2) for model in models]
    found, losses = {}, ([], [])
    for step in range(4):
        for model, optimizer, noted in zip(models, optimizers, losses, strict=True):
            torch.manual_seed(step)
            optimizer.zero_grad()
            loss = model.loss(*batch(step))
            loss.backward()
            noted.append(float(loss))
        models[1].finish_gradients()
        norms = torch.nn.utils.get_total_norm([p.grad for p in models[0].parameters()]), models[1].gradient_norm()
        if step == 0:
            found["norm"] = float((norms[0] - norms[1]).abs())
            found["gradients"] = farthest(all_gradients(models[1], config), gradients(models[0]))
        for optimizer in optimizers:
            optimizer.step()
    for model in models:
        model.eval()
    found["losses"] = max(abs(a - b) for a, b in zip(*losses, strict=True))
    found["learned"] = losses[0][0] != losses[0][-1]
    found["logits"] = float((models[0](batch(9)[0]) - models[1](batch(9)[0])).abs().max())
    found["weights"] = farthest(models[1].serial_state(), models[0].state_dict())
    return found


def operators(rank):
    """Forward and backward of each operator on numbers small enough to check by hand."""
    from labkit.model_parallel import sequence, tensor

    found = {}
    for module, names in (
        (tensor, ("copy_to_ranks", "sum_over_ranks", "gather_last")),
        (sequence, ("gather_tokens", "scatter_tokens", "slice_tokens")),
    ):
        for name in names:
            x = torch.tensor([[[1.0], [2.0]]]) * (rank + 1)
            x.requires_grad_()
            y = getattr(module, name)(x)
            (y * (rank + 1)).sum().backward()
            found[name] = y.flatten().tolist(), x.grad.flatten().tolist()
    return found


def linears():
    """Column and row, one after the other and alone, beside the whole matrices."""
    from labkit.model_parallel.tensor import ColumnLinear, RowLinear, gathered, own_part

    torch.manual_seed(0)
    first, second, x = torch.nn.Linear(6, 8), torch.nn.Linear(8, 6), torch.randn(3, 6)
    column, whole, row = ColumnLinear(6, 8), ColumnLinear(6, 8, gather=True), RowLinear(8, 6)
    with torch.no_grad():
        for layer in (column, whole):
            layer.weight.copy_(own_part(first.weight, 0))
            layer.bias.copy_(own_part(first.bias, 0))
        row.weight.copy_(own_part(second.weight, 1))
        row.bias.copy_(second.bias)
    y, z = row(column(x)), second(first(x))
    y.square().sum().backward()
    z.square().sum().backward()
    differences = {
        "result": y - z,
        "gathered": whole(x) - first(x),
        "column": gathered(column.weight.grad, 0) - first.weight.grad,
        "row": gathered(row.weight.grad, 1) - second.weight.grad,
        "bias once": row.bias.grad - second.bias.grad,
    }
    return {name: float(d.abs().max()) for name, d in differences.items()}


def beside_dtensor(rank, ranks):
    """Our feed-forward layer, embedding and cross entropy beside torch's, with the collectives each needs."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor
    from torch.distributed.tensor.debug import CommDebugMode
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, loss_parallel, parallelize_module

    from labkit.model_parallel.counting import Collectives
    from labkit.model_parallel.decoder import ParallelFeedForward
    from labkit.model_parallel.shards import shard_state
    from labkit.model_parallel.vocabulary import VocabularyEmbedding, vocabulary_cross_entropy
    from labkit.transformer import FeedForward

    mesh, config, found = init_device_mesh("cpu", (ranks,)), Config(**SHAPE), {}
    torch.manual_seed(1)
    serial, x = FeedForward(config), torch.randn(2, 5, 32)
    ours = ParallelFeedForward(config)
    ours.load_state_dict(shard_state(serial.state_dict(), config, rank, ranks))
    plan = {"up": ColwiseParallel(), "down": RowwiseParallel()}
    theirs = parallelize_module(copy.deepcopy(serial), mesh, plan)
    inputs = x.clone().requires_grad_(), x.clone().requires_grad_()
    with Collectives() as talk, CommDebugMode() as counted:
        y = ours(inputs[0])
        y.square().sum().backward()
    with CommDebugMode() as their_count:
        z = theirs(inputs[1])
        z.square().sum().backward()
    found["counts"] = dict(talk.counts), counted.get_total_counts(), their_count.get_total_counts()
    found["bytes"] = dict(talk.bytes), talk.ring_bytes(ranks), x.numel() * 8
    found["feedforward"] = float((y - z).abs().max()), float((inputs[0].grad - inputs[1].grad).abs().max())
    found["shard"] = float((ours.up.weight.grad - theirs.up.weight.grad.to_local()).abs().max())
    found["serial"] = float((y - serial(x)).abs().max())

    logits, targets = torch.randn(2, 5, 40) * 30, torch.randint(0, 40, (2, 5))
    targets[0, 0] = -100
    mine = logits.chunk(ranks, -1)[rank].clone().requires_grad_()
    vocabulary_cross_entropy(mine, targets).backward()
    whole = distribute_tensor(logits, mesh, [Shard(2)]).requires_grad_()
    with loss_parallel():
        torch.nn.functional.cross_entropy(whole.flatten(0, 1), targets.flatten()).backward()
    found["loss gradient"] = float((mine.grad - whole.grad.to_local()).abs().max())

    table = torch.nn.Embedding(40, 8)
    plan = RowwiseParallel(input_layouts=Replicate(), output_layouts=Replicate())
    theirs, part = parallelize_module(copy.deepcopy(table), mesh, plan), VocabularyEmbedding(40, 8)
    part.load_state_dict({"weight": table.weight.chunk(ranks)[rank]})
    ids = targets.clamp(min=0)
    with torch.no_grad():
        found["embedding"] = float((part(ids) - theirs(ids)).abs().max()), float((part(ids) - table(ids)).abs().max())
    return found


def vocabularies(rank, ranks):
    """Cross entropy of a cut vocabulary beside `next_token_loss`, its collectives, and huge logits."""
    from labkit.model_parallel.counting import Collectives
    from labkit.model_parallel.vocabulary import vocabulary_cross_entropy
    from labkit.transformer.loss import next_token_loss

    torch.manual_seed(2)
    hidden, head = torch.randn(2, 16, 32, requires_grad=True), torch.randn(40, 32, requires_grad=True)
    targets = batch(0)[1]
    serial = next_token_loss(hidden, head, targets)
    grads = torch.autograd.grad(serial, (hidden, head))
    own = head.detach().chunk(ranks)[rank].clone().requires_grad_()
    logits = hidden.detach() @ own.T
    with Collectives() as talk:
        loss = vocabulary_cross_entropy(logits, targets)
        (grad,) = torch.autograd.grad(loss, own)
    huge = vocabulary_cross_entropy(torch.full((1, 1, 20), 1e4 * rank), torch.tensor([[39]]))
    return {
        "loss": float((serial - loss).abs()),
        "gradient": float((grad - grads[1].chunk(ranks)[rank]).abs().max()),
        "huge": float(huge),
        "talk": (dict(talk.counts), dict(talk.bytes)),
    }


def measured():
    """What the ranks find out about themselves, with and without sequence parallel; a gated layer beside torch's."""
    from labkit.model_parallel import measuring

    both = (False, True)
    return {
        "talk": [measuring.block_talk(Config(**SHAPE), sequence) for sequence in both],
        "gated talk": [measuring.block_talk(Config(**SHAPE, **LLAMA), sequence) for sequence in both],
        "kept": [measuring.kept_bytes(2, 32, 64, 4, sequence) for sequence in both],
        "beside torch": measuring.beside_torch(Config(**SHAPE, **LLAMA)),
    }


def refused(rank):
    """What every rank hears when something does not fit."""
    from labkit.model_parallel.decoder import ParallelDecoder
    from labkit.model_parallel.sequence import sum_gradients
    from labkit.model_parallel.tensor import ColumnLinear, RowLinear, refuse_disagreement
    from labkit.model_parallel.vocabulary import VocabularyEmbedding, vocabulary_cross_entropy

    model, cut = ParallelDecoder(Config(**SHAPE)), ParallelDecoder(Config(**SHAPE), sequence=True)
    ids = torch.zeros(2, 8, dtype=torch.int64)
    said = {
        "heads": say(ParallelDecoder, Config(**{**SHAPE, "heads": 1})),
        "odd heads": say(ParallelDecoder, Config(**{**SHAPE, "heads": 3, "width": 36})),
        "vocabulary": say(ParallelDecoder, Config(**{**SHAPE, "vocabulary": 41})),
        "hidden": say(ParallelDecoder, Config(**SHAPE, hidden=63)),
        "outputs": say(ColumnLinear, 4, 5),
        "inputs": say(RowLinear, 5, 4),
        "words": say(VocabularyEmbedding, 5, 4),
        "tokens": say(cut, ids[:, :7]),
        "shapes": say(model.loss, ids[:, : 8 - rank], ids[:, : 8 - rank]),
        "dimensions": say(refuse_disagreement, ids[0] if rank else ids),
        "other tokens": say(model, ids + rank),
        "other targets": say(model.loss, ids, ids + rank),
        "swapped tokens": say(refuse_disagreement, torch.tensor([[1, 2], [2, 1]][rank])[None]),
        "cache": say(lambda: model(ids, cache=model.new_cache(2))),
        "no gradient": say(sum_gradients, model.parameters()),
        "nothing shared": say(sum_gradients, []),
        "target": say(vocabulary_cross_entropy, torch.zeros(1, 20), torch.tensor([40])),
        "ignored": say(vocabulary_cross_entropy, torch.zeros(1, 20), torch.tensor([-100])),
        "too few targets": say(vocabulary_cross_entropy, torch.zeros(2, 20), torch.tensor([1])),
    }
    cut.loss(ids + rank * 0, ids).backward()
    with torch.no_grad():  # a step without finish_gradients
        for parameter in cut.parameters():
            parameter -= 0.1 * parameter.grad
    said["drifted"] = say(cut.serial_state)
    return said


def everything():
    import torch.distributed as dist

    torch.set_default_dtype(torch.float64)
    rank, ranks = dist.get_rank(), dist.get_world_size()
    results = {
        "operators": operators(rank),
        "linears": linears(),
        "dtensor": beside_dtensor(rank, ranks),
        "vocabulary": vocabularies(rank, ranks),
        "measured": measured(),
        "refused": refused(rank),
    }
    for kind, more in KINDS.items():
        for sequence in (False, True):
            results[kind, sequence] = decoders(Config(**SHAPE, **more), sequence)
    return results


@pytest.fixture(scope="module")
def on_ranks():
    return run_ranks(everything, 2, quiet=True, timeout=300)


@pytest.mark.parametrize("sequence", [False, True], ids=["tensor", "tensor and sequence"])
@pytest.mark.parametrize("kind", KINDS)
def test_two_ranks_compute_and_learn_what_one_process_does(on_ranks, kind, sequence):
    for found in (results[kind, sequence] for results in on_ranks):
        assert found.pop("learned")
        assert found == pytest.approx(dict.fromkeys(found, 0), abs=EXACT * 1e4)
        assert max(found["losses"], found["logits"], found["gradients"], found["norm"]) < 1e-9


def test_each_operator_is_the_transpose_of_what_it_does_backward(on_ranks):
    # Rank r has x = (1, 2)(r + 1) and counts r + 1 times what it gets.
    first, second = (results["operators"] for results in on_ranks)
    assert first["copy_to_ranks"] == ([1, 2], [3, 3]) and second["copy_to_ranks"] == ([2, 4], [3, 3])
    assert first["sum_over_ranks"] == ([3, 6], [1, 1]) and second["sum_over_ranks"] == ([3, 6], [2, 2])
    assert first["gather_last"] == ([1, 2, 2, 4], [1, 1]) and second["gather_last"] == ([1, 2, 2, 4], [2, 2])
    assert first["gather_tokens"] == ([1, 2, 2, 4], [3, 3]) and second["gather_tokens"] == ([1, 2, 2, 4], [3, 3])
    assert first["scatter_tokens"] == ([3], [1, 2]) and second["scatter_tokens"] == ([6], [1, 2])
    assert first["slice_tokens"] == ([1], [1, 2]) and second["slice_tokens"] == ([4], [1, 2])


def test_a_column_and_a_row_make_two_whole_matrices(on_ranks):
    for results in on_ranks:
        assert max(results["linears"].values()) < EXACT


def test_torchs_tensor_parallel_gives_the_same_numbers_by_as_many_collectives(on_ranks):
    for found in (results["dtensor"] for results in on_ranks):
        assert max(*found["feedforward"], found["shard"], found["serial"], found["loss gradient"]) < EXACT
        assert found["embedding"] == (0, 0)
        assert found["counts"] == ({"all_reduce": 2}, 2, 2)
        counted, ring, size = found["bytes"]
        assert counted == {"all_reduce": 2 * size} and ring == 2 * size  # two, each 2(n − 1)/n of its size


def test_cross_entropy_of_a_cut_vocabulary_is_that_of_the_whole_and_logits_stay_where_they_are(on_ranks):
    for found in (results["vocabulary"] for results in on_ranks):
        assert found["loss"] < EXACT and found["gradient"] < EXACT
        assert found["huge"] == pytest.approx(torch.tensor(20.0).log().item())
        tokens = 2 * 16
        assert found["talk"] == ({"all_reduce": 2}, {"all_reduce": 3 * tokens * 8})


@pytest.mark.parametrize("kind", ["talk", "gated talk"])
def test_a_block_needs_four_all_reduces_or_as_many_bytes_in_two_halves(on_ranks, kind):
    for plain, sliced in (results["measured"][kind] for results in on_ranks):
        assert plain.forward == plain.backward == {"all_reduce": 2}
        assert sliced.forward == {"all_gather": 2, "reduce_scatter": 2}
        assert sliced.backward == {"all_gather": 4, "reduce_scatter": 2}  # two more, for what was forgotten
        assert plain.forward_bytes == sliced.forward_bytes == 2 * 2 * 16 * 32 * 8


def test_what_a_layer_keeps_is_the_published_formula_to_the_byte(on_ranks):
    for results in on_ranks:
        expected = [layer_activation_bytes(2, 32, 64, 4, ranks=2, sequence=sequence) for sequence in (False, True)]
        assert results["measured"]["kept"] == expected


def test_a_gated_layer_is_torchs_and_adds_up_its_gradient_once(on_ranks):
    for found in (results["measured"]["beside torch"] for results in on_ranks):
        assert max(found["result"], found["gradient"]) < EXACT
        assert (found["ours"], found["torch"]) == (2, 3)  # torch adds up the gradients of gate and up apart


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("heads", "1 heads: 2 ranks cannot each have one"),
        ("odd heads", "3 heads: 2 ranks do not divide them evenly. Use 1 or 3 ranks"),
        ("vocabulary", "41 words: 2 ranks do not divide"),
        ("hidden", "63 hidden units"),
        ("outputs", "5 outputs"),
        ("inputs", "5 inputs"),
        ("words", "5 words"),
        ("tokens", "7 tokens: 2 ranks do not divide"),
        ("shapes", "ranks disagree on the shape of ids, by rank: {0: (2, 8), 1: (2, 7)}"),
        ("dimensions", "by rank: {0: (2, 8), 1: (8,)}"),
        ("other tokens", "ranks [1] of this group have other tokens"),
        ("other targets", "ranks [1] of this group have other tokens"),
        ("swapped tokens", "ranks [1] of this group have other tokens"),
        ("cache", "has no cache"),
        ("no gradient", "call backward before"),
        ("nothing shared", "nothing"),
        ("target", "targets must lie between 0 and 39"),
        ("ignored", "nothing to learn from"),
        ("too few targets", "targets must be int64, one for each token, of shape (2,)"),
        ("drifted", "rank 1 differs from rank 0: with sequence parallel, call finish_gradients()"),
    ],
)
def test_what_does_not_fit_is_refused_on_every_rank(on_ranks, what, words):
    for results in on_ranks:
        assert words in results["refused"][what]


def test_one_rank_keeps_what_the_paper_says_of_no_parallelism():
    for sequence in (False, True):
        assert layer_activation_bytes(1, 2048, 1024, 16, 1, sequence) == serial_activation_bytes(1, 2048, 1024, 16)


def test_shares_are_whole():
    assert share(12, 4, "heads") == 3
    with pytest.raises(ValueError, match="2 heads: 4 ranks cannot each have one"):
        share(2, 4, "heads")
    with pytest.raises(ValueError, match="change the model's heads"):
        share(1, 2, "heads")
