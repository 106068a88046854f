"""Weights joined from the shards of a checkpoint, by hand; real checkpoints are in the test of DeepSpeed's runs."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from labkit.zero import consolidated


def test_one_vector_is_cut_where_the_weights_end():
    shards = [torch.tensor([1.0, 2.0, 3.0]), torch.tensor([4.0, 5.0, 0.0])]
    joined = consolidated.join_vector(shards, {"a": (2, 2), "b": (1,)})
    assert joined["a"].tolist() == [[1, 2], [3, 4]]
    assert joined["b"].tolist() == [5]


@given(st.integers(1, 5), st.lists(st.tuples(st.integers(1, 4), st.integers(1, 5)), min_size=1, max_size=4))
def test_weights_split_one_by_one_come_back(ranks, shapes):
    weights = {str(i): torch.randn(shape) for i, shape in enumerate(shapes)}
    shards = [[] for _ in range(ranks)]
    for weight in weights.values():
        piece = -(-weight.numel() // ranks)
        padded = torch.cat([weight.flatten(), torch.zeros(piece * ranks - weight.numel())])
        for rank, shard in enumerate(shards):
            shard.append(padded[rank * piece : (rank + 1) * piece])
    joined = consolidated.join_each([torch.cat(s) for s in shards], {n: w.shape for n, w in weights.items()})
    assert all(torch.equal(joined[name], weights[name]) for name in weights)


def test_files_are_in_the_order_of_the_ranks_and_not_of_their_names():
    names = [Path(f"zero_pp_rank_{rank}_mp_rank_00_optim_states.pt") for rank in range(12)]
    assert sorted(sorted(names), key=consolidated._rank_of) == names


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no checkpoint"):
        consolidated.consolidate(tmp_path)
    (tmp_path / "latest").write_text("now")
    with pytest.raises(ValueError, match="not complete"):
        consolidated.consolidate(tmp_path)
