"""A parameter server: synchronous it is the big batch, asynchronous it is stale by law, and no death hangs it."""

import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from labkit.data_parallel.parameter_server import by_the_clock, serve, stable_step, work
from labkit.data_parallel.parameter_server.messages import flat_weights
from labkit.data_parallel.practice import DigitsNet, digits
from labkit.ranks import rank, run_ranks


class Bowl(nn.Module):
    """Half of the square of one number: curvature 1, its lowest point at zero."""

    def __init__(self):
        super().__init__()
        self.x = nn.Parameter(torch.ones(1, dtype=torch.float64))

    def loss(self):
        return 0.5 * self.x.square().sum()


def in_the_bowl(seconds, updates, lr, **options):
    bowl = Bowl()
    optimizer = torch.optim.SGD(bowl.parameters(), lr=lr)
    return by_the_clock(bowl, optimizer, lambda worker, turn: bowl.loss(), seconds, updates, **options), bowl.x.item()


def test_two_workers_of_one_speed_by_hand():
    seen, x = in_the_bowl([1.0, 1.0], 4, lr=0.5)
    assert [push.worker for push in seen.pushes] == [0, 1, 0, 1] and seen.staleness() == [0, 1, 1, 1]
    assert [push.second for push in seen.pushes] == [1, 1, 2, 2]
    assert [push.loss for push in seen.pushes] == [0.5, 0.5, 0.125, 0.0]  # at 1, 1, 0.5, 0
    assert x == -0.25  # 1 → 0.5 → 0 → -0.25 → -0.25


@pytest.mark.parametrize("workers", [1, 2, 5, 8])
def test_workers_of_one_speed_are_stale_by_all_the_others(workers):
    seen, _ = in_the_bowl([1.0] * workers, 60, lr=0.01)
    assert seen.staleness()[workers:] == [workers - 1] * (60 - workers)


@settings(max_examples=15, deadline=None)
@given(seconds=st.lists(st.floats(0.5, 5), min_size=1, max_size=6))
def test_mean_staleness_is_the_number_of_the_others_whatever_their_speed(seconds):
    seen, _ = in_the_bowl(seconds, 300, lr=0.001)
    in_flight = len(seconds) * max(seconds) / min(seconds)  # what was pulled and not yet pushed at the end
    assert abs(np.mean(seen.staleness()) - (len(seconds) - 1)) <= (in_flight + 1) * len(seconds) / 300 + 1e-9


def test_a_slow_worker_is_stale_and_makes_the_others_fresher():
    seen, _ = in_the_bowl([1.0, 1.0, 1.0, 5.1], 400, lr=0.001)
    assert 13 <= np.mean(seen.staleness(3)) <= 16
    assert 2 < np.mean(seen.staleness(0)) < 3


@pytest.mark.parametrize("staleness", [0, 1, 2, 3, 7])
def test_the_largest_stable_step_is_where_a_root_reaches_the_unit_circle(staleness):
    def largest_root(step):  # of z^(tau+1) - z^tau + step
        return abs(np.roots([1, -1, *[0] * (staleness - 1), step] if staleness else [1, step - 1])).max()

    edge = stable_step(staleness)
    assert largest_root(edge) == pytest.approx(1, abs=1e-6)
    assert largest_root(0.99 * edge) < 1 < largest_root(1.01 * edge)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_training_grows_above_that_step_and_not_below(workers):
    below, above = (abs(in_the_bowl([1] * workers, 2000, lr=f * stable_step(workers - 1))[1]) for f in (0.97, 1.03))
    assert below < 1e-3 and above > 1e3


def test_damping_keeps_stale_steps_stable():
    lr = 1.5 * stable_step(3)
    assert abs(in_the_bowl([1] * 4, 1000, lr=lr)[1]) > 1e3
    assert abs(in_the_bowl([1] * 4, 1000, lr=lr, damping=True)[1]) < 1e-3


def test_the_same_clock_gives_the_same_run():
    assert in_the_bowl([1, 2.5], 50, 0.1) == in_the_bowl([1, 2.5], 50, 0.1)


def test_another_mode_is_refused():
    with pytest.raises(ValueError, match="synchronous or asynchronous"):
        serve(Bowl(), None, 1, "sometimes")


def batch_of(turn, worker, workers=2, size=32):
    return (torch.arange(size) + size * (workers * turn + worker - 1)) % 1437


def one_after_the_other():
    """On three ranks: synchronous, asynchronous with a slow worker, and synchronous with one that falls silent."""
    data, found = digits(), {}
    for mode in ("synchronous", "asynchronous", "silent"):
        model = DigitsNet(4)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.2)

        def loss_of(turn, model=model, mode=mode):
            if rank() == 2 and mode == "asynchronous":
                time.sleep(0.02 * (turn + 1))  # still at work when worker 1 has gone on to the next server
            if rank() == 2 and mode == "silent" and turn == 3:
                raise KeyboardInterrupt  # ends `work`, and with it the beat
            mine = batch_of(turn, rank())
            return model.loss(data.images[mine], data.labels[mine])

        if rank() == 0:
            kind = "asynchronous" if mode == "asynchronous" else "synchronous"
            served = serve(model, optimizer, 30, kind, patience=4.0)
            found[mode] = (served, flat_weights(model))
        else:
            try:
                found[mode] = work(model, loss_of, beat=0.3)
            except KeyboardInterrupt:
                found[mode] = "fell silent"
    return found


@pytest.fixture(scope="module")
def found():
    return run_ranks(one_after_the_other, 3, quiet=True)


def test_synchronous_is_the_big_batch(found):
    data, model = digits(), DigitsNet(4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    for turn in range(30):
        whole = torch.cat([batch_of(turn, 1), batch_of(turn, 2)])
        optimizer.zero_grad()
        model.loss(data.images[whole], data.labels[whole]).backward()
        optimizer.step()
    served, weights = found[0]["synchronous"]
    torch.testing.assert_close(weights, flat_weights(model), rtol=0, atol=1e-6)
    assert served.staleness() == [0] * 60 and [push.worker for push in served.pushes] == [1, 2] * 30
    assert (found[1]["synchronous"], found[2]["synchronous"]) == (30, 30)


def test_asynchronous_uses_each_gradient_once_and_counts_its_age(found):
    served, _ = found[0]["asynchronous"]
    assert served.updates == len(served.pushes) == 30 and not served.lost
    assert found[1]["asynchronous"] + found[2]["asynchronous"] - 30 in (0, 1)  # one may come when it is over
    assert 0 <= np.mean(served.staleness()) <= 1.2  # one other worker
    assert len(served.staleness(1)) > len(served.staleness(2))


def test_a_worker_that_falls_silent_is_left_behind(found):
    served, _ = found[0]["silent"]
    assert served.lost == [2] and served.updates == 30
    assert len(served.staleness(2)) == 3 and found[2]["silent"] == "fell silent"


def those_that_come_back():
    """On three ranks: one is late to say that it lives while it waits; one computes until all is over; none at all."""
    from torch import distributed

    found = []
    for updates, mode, slow, beats in ((3, "synchronous", 0, (3.0, 0.2)), (4, "asynchronous", 1, (0.2, 100.0))):
        bowl = Bowl()
        optimizer = torch.optim.SGD(bowl.parameters(), lr=0.1)
        distributed.barrier()  # from here on seconds count

        def loss_of(turn, bowl=bowl, slow=slow):
            if rank() == 2 and turn == slow:
                time.sleep(4.0 + slow)
            if rank() == 1 and slow:
                time.sleep(0.4)
            return bowl.loss()

        if rank() == 0:
            found.append(serve(bowl, optimizer, updates, mode, patience=2.0))
        else:
            found.append(work(bowl, loss_of, beat=beats[rank() - 1]))
    for updates in (5, 0, 0):
        bowl = Bowl()
        if rank() == 0:
            found.append(serve(bowl, torch.optim.SGD(bowl.parameters(), lr=0.1), updates, patience=20))
        else:
            found.append(work(bowl, lambda turn, bowl=bowl: bowl.loss(), beat=0.2))
    return found


def test_workers_that_were_taken_for_lost_are_served_again_told_that_it_is_over_and_no_trouble_to_the_next_server():
    (waiting, over, after, *none), *workers = run_ranks(those_that_come_back, 3, quiet=True)
    assert waiting.updates == 3 and not waiting.lost and 1 in [push.worker for push in waiting.pushes[1:]]
    assert over.updates == 4 and over.lost == [2]
    assert after.updates == 5 and not after.lost and [push.worker for push in after.pushes] == [1, 2] * 5
    assert after.staleness() == [0] * 10 and [(one.updates, one.pushes, one.lost) for one in none] == [(0, [], [])] * 2
    assert [pushed[1:] for pushed in workers] == [[3, 5, 0, 0], [1, 5, 0, 0]]


MORTAL = """
import os, signal, sys, time
import torch
from labkit.data_parallel.parameter_server import serve, work
from labkit.data_parallel.practice import DigitsNet
from labkit.ranks import rank, start_group

def dies(number):
    def loss_of(turn):
        if turn == 5 and rank() == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return model.loss(torch.ones(2, 1, 8, 8), torch.tensor([1, 2]))
    return loss_of

model = DigitsNet(4)
with start_group(timeout=60):
    for mode, number in (("synchronous", 2), ("asynchronous", 1)):
        if rank():
            work(model, dies(number), beat=0.3)
        else:
            served = serve(model, torch.optim.SGD(model.parameters(), lr=0.1), 40, mode, patience=3.0)
            print(sorted(served.lost), served.updates, flush=True)
    os._exit(0)
"""


def started():
    """Three ranks by hand, for `run_ranks` would end all of them; what the server printed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = []
    for number in range(3):
        env = {**os.environ, "RANK": str(number), "WORLD_SIZE": "3", "MASTER_ADDR": "127.0.0.1"}
        env |= {"MASTER_PORT": str(port), "OMP_NUM_THREADS": "1", "LOCAL_RANK": str(number)}
        pipes = {"stdout": subprocess.DEVNULL if number else subprocess.PIPE, "stderr": subprocess.DEVNULL}
        ranks.append(subprocess.Popen([sys.executable, "-c", MORTAL], env=env, text=True, **pipes))
    try:
        printed, _ = ranks[0].communicate()
        return printed.strip(), [one.wait() for one in ranks[1:]]
    finally:
        for one in ranks:
            one.kill()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills processes")
def test_workers_that_are_killed_do_not_hang_the_server():
    """First one of two, in synchronous training, then the other one, in asynchronous training: nobody is left."""
    printed, ends = started()
    first, second = printed.splitlines()
    assert first == "[2] 40" and second.startswith("[1, 2] ")
    assert ends == [-signal.SIGKILL] * 2
