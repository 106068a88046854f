"""Cutting the weights of a serial model into those of ranks, and the way back; no process is started."""

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from labkit.model_parallel.shards import is_cut, merge_states, shard_config, shard_state  # noqa: E402
from labkit.transformer import Config, Decoder, count  # noqa: E402


@st.composite
def configs(draw):
    ranks = draw(st.sampled_from([1, 2, 4]))
    kv_heads = ranks * draw(st.integers(1, 2))
    heads = kv_heads * draw(st.integers(1, 2))
    config = Config(
        vocabulary=ranks * draw(st.integers(1, 5)),
        context=4,
        layers=draw(st.integers(1, 2)),
        heads=heads,
        width=heads * 2,
        hidden=ranks * draw(st.integers(1, 5)),
        kv_heads=kv_heads,
        bias=draw(st.booleans()),
        tied=draw(st.booleans()),
        activation=draw(st.sampled_from(["gelu", "swiglu"])),
    )
    return config, ranks


@settings(max_examples=25, deadline=None)
@given(configs())
def test_what_was_cut_makes_the_whole_again(drawn):
    config, ranks = drawn
    state = Decoder(config).state_dict()
    states = [shard_state(state, config, rank, ranks) for rank in range(ranks)]
    merged = merge_states(states, config)
    assert set(merged) == set(state) and all(torch.equal(merged[name], state[name]) for name in state)
    part = Decoder(shard_config(config, ranks)).state_dict()
    assert {name: w.shape for name, w in states[-1].items()} == {name: w.shape for name, w in part.items()}


def test_each_rank_gets_the_queries_keys_and_values_of_its_heads():
    config = Config(vocabulary=4, context=4, layers=1, heads=2, width=4)
    rows = torch.arange(12.0)[:, None].expand(12, 4)  # 0–3 queries, 4–7 keys, 8–11 values; two rows to a head
    state = {"blocks.0.attention.qkv.weight": rows, "blocks.0.attention.output.weight": rows[:4].T}
    second = shard_state(state, config, 1, 2)
    assert second["blocks.0.attention.qkv.weight"][:, 0].tolist() == [2, 3, 6, 7, 10, 11]
    assert second["blocks.0.attention.output.weight"][0].tolist() == [2, 3]  # what its heads give


def test_a_rank_holds_its_share_of_the_matrices_and_all_of_the_norms():
    config = Config(vocabulary=100, context=8, layers=2, heads=4, width=32)
    whole, part = Decoder(config), Decoder(shard_config(config, 4))
    everywhere = sum(p.numel() for name, p in whole.named_parameters() if not is_cut(name))
    assert count(part) == (count(whole) - everywhere) // 4 + everywhere


def test_copies_that_drifted_apart_are_not_merged():
    config = Config(vocabulary=4, context=4, layers=1, heads=2, width=4)
    state = Decoder(config).state_dict()
    states = [shard_state(state, config, rank, 2) for rank in range(2)]
    states[1] = {**states[1], "norm.weight": states[1]["norm.weight"] + 0.01}
    with pytest.raises(ValueError, match="should be the same on every rank, but rank 1 differs"):
        merge_states(states, config)


def test_a_rank_that_is_none_is_refused():
    config = Config(vocabulary=4, context=4, layers=1, heads=2, width=4)
    with pytest.raises(ValueError, match="rank must lie between 0 and 1, got 2"):
        shard_state(Decoder(config).state_dict(), config, 2, 2)
    with pytest.raises(ValueError, match="2 heads: 4 ranks cannot each have one"):
        shard_state(Decoder(config).state_dict(), config, 0, 4)
