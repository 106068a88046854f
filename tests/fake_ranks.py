"""A process group of which only this rank exists: collectives take what they are given and change nothing.

Together with the fake GPU it runs the code of one rank: shapes, types and devices are right, sums are not.
"""

from contextlib import contextmanager
from unittest import mock

import torch.distributed as dist


@contextmanager
def one_rank(ranks=2, rank=0):
    """The default group has `ranks` members, and this process is the one with this number."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=ranks)
    try:
        with mock.patch.object(dist, "batch_isend_irecv", _one_by_one):  # it asks which backend a device has
            yield
    finally:
        dist.destroy_process_group()


def _one_by_one(messages):
    return [message.op(message.tensor, message.peer, message.group) for message in messages]
