"""Schedules are what the functions do, give what the functions give, and cost what the formulas say."""

import numpy as np
import pytest
import torch

from labkit.data_parallel.collectives import COLLECTIVES, chunks
from labkit.data_parallel.counting import busiest, bytes_received, bytes_sent, ring_bytes, seconds
from labkit.data_parallel.links import simulate
from labkit.data_parallel.schedules import Move, play, progress, schedule

ROOTED = ("broadcast", "tree_broadcast", "reduce", "tree_reduce", "scatter", "gather")
WORLDS = (1, 2, 3, 4, 5, 8)
CASES = [
    (name, world, root) for name in COLLECTIVES for world in WORLDS for root in {0, (world - 1) * (name in ROOTED)}
]


@pytest.mark.parametrize(("name", "world", "root"), CASES)
def test_the_messages_of_a_collective_are_the_moves_of_its_schedule(name, world, root):
    x = torch.ones(world, 8) if name == "all_to_all" else torch.ones(world + 1)
    done = simulate(COLLECTIVES[name], [x] * world, **({"root": root} if name in ROOTED else {}))
    plan = schedule(name, world, root)
    whole = {"gather": world, "all_gather": world, "ring_all_gather": world, "all_to_all": world}.get(name, 1)
    assert sorted(message[:2] for message in done.messages) == sorted((m.sender, m.receiver) for m in plan.moves)
    assert (bytes_sent(plan, x.numel() * whole) * 4).tolist() == done.sent


@pytest.mark.parametrize(("name", "world", "root"), CASES)
def test_a_rank_sends_and_receives_at_most_one_message_at_a_time(name, world, root):
    moves = schedule(name, world, root).moves
    for side in ("sender", "receiver"):
        busy = [(move.time, getattr(move, side)) for move in moves]
        assert len(busy) == len(set(busy))
    assert all(move.sender != move.receiver for move in moves)


@pytest.mark.parametrize("name", [name for name in COLLECTIVES if "reduce" in name])
@pytest.mark.parametrize("world", WORLDS)
def test_at_the_end_every_number_was_added_exactly_once(name, world):
    last = progress(schedule(name, world))[-1]
    if name.endswith("all_reduce"):
        assert (last == world).all()
    elif name.endswith("scatter"):
        assert (last.diagonal() == world).all()
    else:
        assert last[0, 0] == world


@pytest.mark.parametrize("name", ["naive_all_reduce", "tree_all_reduce", "ring_all_reduce"])
def test_a_schedule_that_is_played_gives_what_the_function_gives(name):
    inputs = [torch.randint(9, (7,)) for _ in range(4)]
    plan = schedule(name, 4)
    played = play(plan, [chunks(x, 4) if plan.chunks == 4 else [x] for x in inputs])
    for parts, result in zip(played, simulate(COLLECTIVES[name], inputs).results, strict=True):
        assert torch.equal(torch.cat(parts), result)


def test_parcels_are_exchanged():
    brought = [[f"{sender}→{receiver}" for receiver in range(3)] for sender in range(3)]
    done = play(schedule("all_to_all", 3), brought)
    for receiver in range(3):
        assert [done[receiver][sender * 3 + receiver] for sender in range(3)] == [f"{s}→{receiver}" for s in range(3)]


def test_by_hand_two_ranks_and_the_first_moves_of_a_ring():
    assert schedule("ring_all_reduce", 2).moves == (
        *(Move(0, 0, 1, 1, True), Move(0, 1, 0, 0, True)),
        *(Move(1, 0, 1, 0, False), Move(1, 1, 0, 1, False)),
    )
    assert schedule("ring_all_reduce", 1).moves == () and schedule("ring_all_reduce", 1).times == 0


@pytest.mark.parametrize("world", [2, 3, 4, 8, 64])
def test_the_ring_moves_what_the_formula_says_and_the_others_more(world):
    size = 840 * 64
    ring = schedule("ring_all_reduce", world)
    assert bytes_sent(ring, size).tolist() == bytes_received(ring, size).tolist() == [ring_bytes(world, size)] * world
    assert ring.times == 2 * (world - 1) and schedule("tree_all_reduce", world).times == 2 * (world - 1).bit_length()
    assert busiest(schedule("naive_all_reduce", world), size) == (world - 1) * size
    assert world == 2 or busiest(schedule("tree_all_reduce", world), size) > busiest(ring, size)


def test_seconds_are_latency_and_bandwidth():
    ring, tree = schedule("ring_all_reduce", 4), schedule("tree_all_reduce", 4)
    assert seconds(ring, 4000, 1e-3, 1e6) == pytest.approx(6 * 1e-3 + 6 * 1000 / 1e6)
    assert seconds(tree, 4000, 1e-3, 1e6) == pytest.approx(4 * 1e-3 + 4 * 4000 / 1e6)
    assert seconds(tree, 4, 1e-3, 1e6) < seconds(ring, 4, 1e-3, 1e6)  # few bytes: latency decides


def test_progress_begins_with_what_each_brings():
    frames = progress(schedule("gather", 3))
    assert frames.shape == (3, 3, 3) and np.array_equal(frames[0], np.eye(3, dtype=int))
    assert frames[-1][0].tolist() == [1, 1, 1]


def test_impossible_schedules_and_networks_are_refused():
    with pytest.raises(ValueError, match="must be one of broadcast"):
        schedule("all_reduce", 2)
    with pytest.raises(ValueError, match="root one of them; got 2 ranks, root 2"):
        schedule("broadcast", 2, root=2)
    with pytest.raises(ValueError, match="positive bandwidth"):
        seconds(schedule("broadcast", 2), 8, 0.0, 0.0)
