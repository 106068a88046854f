"""Collectives: right in one process for any number of ranks and any tensor, and on real ranks what torch gives."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.data_parallel.collectives import COLLECTIVES, chunks
from labkit.data_parallel.links import Deadlock, Wires, simulate
from labkit.data_parallel.schedules import schedule
from labkit.ranks import run_ranks

ROOTED = ("broadcast", "tree_broadcast", "reduce", "tree_reduce", "scatter", "gather")
ALL_REDUCES = ("naive_all_reduce", "tree_all_reduce", "ring_all_reduce")


def expected(name, inputs, root):
    """What every rank should have, from the definition."""
    world, total, stacked = len(inputs), torch.stack(inputs).sum(dim=0, dtype=inputs[0].dtype), torch.stack(inputs)
    everybody = {
        "broadcast": lambda rank: inputs[root],
        "reduce": lambda rank: total if rank == root else None,
        "scatter": lambda rank: chunks(inputs[root], world)[rank],
        "gather": lambda rank: stacked if rank == root else None,
        "all_gather": lambda rank: stacked,
        "reduce_scatter": lambda rank: chunks(total, world)[rank],
        "all_to_all": lambda rank: stacked[:, rank],
        "all_reduce": lambda rank: total,
    }
    kind = name if name in everybody else name.partition("_")[2]
    return [everybody[kind](rank) for rank in range(world)]


def same(got, wanted):
    return got is wanted is None or (
        got.shape == wanted.shape and got.dtype == wanted.dtype and torch.equal(got, wanted)
    )


@pytest.mark.parametrize("name", COLLECTIVES)
@settings(max_examples=25)
@given(world=st.integers(1, 6), shape=st.lists(st.integers(0, 4), max_size=3), data=st.data())
def test_every_collective_keeps_its_definition(name, world, shape, data):
    root = data.draw(st.integers(0, world - 1)) if name in ROOTED else 0
    dtype = data.draw(st.sampled_from([torch.int64, torch.bfloat16, torch.float64]))
    lead = [world] if name == "all_to_all" else []
    inputs = [torch.randint(-4, 5, [*lead, *shape]).to(dtype) for _ in range(world)]
    before = [x.clone() for x in inputs]
    results = simulate(COLLECTIVES[name], inputs, **({"root": root} if name in ROOTED else {})).results
    wanted = expected(name, inputs, root)
    assert all(same(got, want) for got, want in zip(results, wanted, strict=True)), (results, wanted)
    assert all(torch.equal(x, old) for x, old in zip(inputs, before, strict=True))


@pytest.mark.parametrize("name", ALL_REDUCES)
def test_a_tensor_that_is_not_contiguous_is_summed_and_left_alone(name):
    inputs = [torch.arange(12.0).view(3, 4).T * (rank + 1) for rank in range(3)]
    results = simulate(COLLECTIVES[name], inputs).results
    assert all(torch.equal(result, 6 * inputs[0]) for result in results)


def test_all_ranks_get_the_same_bits_from_the_ring():
    inputs = [torch.randn(1001) for _ in range(5)]
    results = simulate(COLLECTIVES["ring_all_reduce"], inputs).results
    assert all(torch.equal(results[0], other) for other in results)
    torch.testing.assert_close(results[0], torch.stack(inputs).sum(0))


def test_by_hand_a_ring_of_three():
    inputs = [torch.tensor([1, 2, 3]), torch.tensor([10, 20, 30]), torch.tensor([100, 200, 300])]
    done = simulate(COLLECTIVES["ring_all_reduce"], inputs)
    assert [result.tolist() for result in done.results] == [[111, 222, 333]] * 3
    assert done.sent == [4 * 8] * 3  # 2 (3 − 1) chunks of one number of 8 bytes


def test_all_that_send_first_are_a_deadlock_that_is_named():
    def impolite(x, rank, world, link):
        link.send(x, (rank + 1) % world)
        return link.receive(x, (rank - 1) % world)

    with pytest.raises(Deadlock, match="rank 0 waits for rank 1, rank 1 waits for rank 2, rank 2 waits for rank 0"):
        simulate(impolite, [torch.ones(2)] * 3)


def test_a_rank_that_leaves_early_is_a_deadlock_and_not_a_hang():
    def unfaithful(x, rank, world, link):
        return x if rank == 1 else link.receive(x, 1)

    with pytest.raises(Deadlock, match="rank 0 waits for rank 1"):
        simulate(unfaithful, [torch.ones(2)] * 2)


def test_what_a_rank_raises_is_raised():
    def clumsy(x, rank, world, link):
        if rank == 1:
            raise KeyError("lost")
        return link.receive(x, 1)

    with pytest.raises(KeyError, match="lost"):
        simulate(clumsy, [torch.ones(2)] * 2)


def test_other_shapes_and_dtypes_are_named():
    with pytest.raises(ValueError, match=r"expects \(3,\) of torch.float32, but rank 1 sent \(2,\)"):
        simulate(COLLECTIVES["reduce"], [torch.ones(3), torch.ones(2)])
    with pytest.raises(ValueError, match=r"of torch\.int64"):
        simulate(COLLECTIVES["broadcast"], [torch.ones(3), torch.ones(3).long()])


def test_wrong_roots_and_rows_are_refused():
    with pytest.raises(ValueError, match="root must be one of the ranks 0 to 1, got 2"):
        simulate(COLLECTIVES["tree_reduce"], [torch.ones(3)] * 2, root=2)
    with pytest.raises(ValueError, match="one row for each of 2 ranks"):
        simulate(COLLECTIVES["all_to_all"], [torch.ones(3)] * 2)


def on_real_ranks():
    """Every collective over gloo beside torch's own, and the bytes that the ring sent."""
    import torch
    from torch import distributed

    from labkit.data_parallel.collectives import COLLECTIVES, chunks

    rank, world = distributed.get_rank(), distributed.get_world_size()
    agree = {}
    cases = {
        "seven": torch.float32,
        "empty": torch.float32,
        "one": torch.float64,
        "bf16": torch.bfloat16,
        "int": torch.int64,
    }
    for case, dtype in cases.items():
        numbers = {"empty": 0, "one": 1}.get(case, 7)
        x = (torch.arange(numbers) * (rank + 1) + rank).to(dtype)
        total, first = x.clone(), x.clone()
        distributed.all_reduce(total)
        distributed.broadcast(first, 0)
        everybody = [torch.empty_like(x) for _ in range(world)]
        distributed.all_gather(everybody, x)
        parcels = torch.stack([x + 10 * other for other in range(world)])
        exchanged = torch.empty_like(parcels)
        distributed.all_to_all_single(exchanged, parcels)
        wanted = dict.fromkeys(("naive_all_reduce", "tree_all_reduce", "ring_all_reduce"), total)
        wanted |= dict.fromkeys(("broadcast", "tree_broadcast"), first)
        wanted |= {name: torch.stack(everybody) for name in ("all_gather", "ring_all_gather")}
        wanted |= {name: chunks(total, world)[rank] for name in ("reduce_scatter", "ring_reduce_scatter")}
        wanted |= {"scatter": chunks(first, world)[rank]}
        wanted |= dict.fromkeys(("reduce", "tree_reduce"), total if rank == 0 else None)
        wanted |= {"gather": torch.stack(everybody) if rank == 0 else None}
        for name, want in wanted.items():
            got = COLLECTIVES[name](x, rank, world, Wires())
            agree[name, case] = got is want is None or torch.equal(got, want)
        agree["all_to_all", case] = torch.equal(COLLECTIVES["all_to_all"](parcels, rank, world, Wires()), exchanged)
    link = Wires()
    COLLECTIVES["ring_all_reduce"](torch.ones(1000), rank, world, link)
    pair = Wires(ranks=[2, 0]) if rank in (0, 2) else None
    message = refusal = None
    if pair:
        message = COLLECTIVES["broadcast"](torch.tensor([rank]), pair.rank, pair.world, pair).item()
    else:
        try:
            Wires(ranks=[2, 0])
        except ValueError as error:
            refusal = str(error)
    return agree, link.sent, message, refusal


@pytest.fixture(scope="module")
def real():
    return run_ranks(on_real_ranks, 3, quiet=True)


def test_on_real_ranks_they_are_those_of_torch(real):
    assert len(real[0][0]) == len(COLLECTIVES) * 5
    assert [name for agree, *_ in real for name, right in agree.items() if not right] == []


def test_a_ring_sends_on_real_ranks_what_its_schedule_says(real):
    for rank, (_, sent, *_) in enumerate(real):
        sizes = [len(piece) for piece in chunks(torch.ones(1000), 3)]
        moves = [move for move in schedule("ring_all_reduce", 3).moves if move.sender == rank]
        assert sent == 4 * sum(sizes[move.chunk] for move in moves)


def test_a_link_of_some_ranks_counts_them_anew(real):
    assert [message for *_, message, _ in real] == [2, None, 2]
    assert "rank 1 is not one of the ranks [2, 0]" in real[1][3]


def test_one_rank_has_nothing_to_send():
    assert simulate(COLLECTIVES["ring_all_reduce"], [torch.ones(3)]).sent == [0]
