"""Groups of duplicates: union-find against the components of networkx and by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.cleaning.clusters import UnionFind, components

PAIRS = st.lists(st.tuples(st.integers(0, 14), st.integers(0, 14)), max_size=20)


def test_a_chain_is_one_group_named_by_its_smallest_member():
    assert components(6, [(3, 4), (4, 5), (1, 3)]).tolist() == [0, 1, 2, 1, 1, 1]
    assert components(0, []).tolist() == []


def test_groups_are_listed_without_those_of_one():
    groups = UnionFind(5)
    groups.union(4, 2)
    groups.union(2, 4)
    assert groups.groups() == [[2, 4]] and groups.find(4) == 2


@given(PAIRS)
@settings(max_examples=50, deadline=None)
def test_components_are_those_of_networkx(pairs):
    networkx = pytest.importorskip("networkx")
    graph = networkx.Graph(pairs)
    graph.add_nodes_from(range(15))
    expected = {member: min(group) for group in networkx.connected_components(graph) for member in group}
    assert components(15, pairs).tolist() == [expected[i] for i in range(15)]


@given(PAIRS, st.randoms())
@settings(max_examples=25, deadline=None)
def test_the_order_of_the_pairs_does_not_matter(pairs, draw):
    mixed = [pair[::-1] for pair in draw.sample(pairs, len(pairs))]
    assert components(15, mixed).tolist() == components(15, pairs).tolist()


def test_a_long_chain_needs_no_recursion():
    assert not components(3000, [(i, i + 1) for i in reversed(range(2999))]).any()


@pytest.mark.parametrize("pair", [(0, -1), (0, 3), (-3, 1)])
def test_a_pair_of_no_item_is_refused_and_not_counted_from_the_end(pair):
    with pytest.raises(ValueError, match="is not of 3 items"):
        components(3, [pair])
