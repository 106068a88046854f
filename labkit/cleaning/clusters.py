"""Groups of texts that hang together: union-find over pairs of duplicates."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Int64


class UnionFind:
    """Groups of the numbers 0 … n − 1 that only ever grow together; each is named by its smallest member.

    Source: Tarjan and van Leeuwen (1984), "Worst-case analysis of set union algorithms": path halving.

    >>> groups = UnionFind(4)
    >>> groups.union(2, 1); groups.union(3, 2)
    >>> [groups.find(i) for i in range(4)]
    [0, 1, 1, 1]
    """

    def __init__(self, n: int):
        self.parent = list(range(n))

    def find(self, item: int) -> int:
        """The smallest member of the group of an item."""
        while self.parent[item] != item:
            self.parent[item] = self.parent[self.parent[item]]  # every other step is cut short for the next time
            item = self.parent[item]
        return item

    def union(self, first: int, second: int) -> None:
        """Make one group of two."""
        low, high = sorted((self.find(first), self.find(second)))
        self.parent[high] = low

    def groups(self) -> list[list[int]]:
        """All groups of two and more, each in ascending order."""
        found: dict[int, list[int]] = {}
        for item in range(len(self.parent)):
            found.setdefault(self.find(item), []).append(item)
        return [group for group in found.values() if len(group) > 1]


def components(n: int, pairs: Iterable[Any]) -> Int64[np.ndarray, " items"]:
    """For each of n items the smallest item of its connected component.

    Components chain: A~B and B~C put A and C together, however different they are.

    Raises:
        ValueError: for a pair of which one is no item.
    """
    groups = UnionFind(n)
    for first, second, *_ in pairs:
        if not (0 <= first < n and 0 <= second < n):  # a list would take -1 for its last item
            raise ValueError(f"the pair ({first}, {second}) is not of {n} items: they are numbered 0 to {n - 1}")
        groups.union(int(first), int(second))
    return np.array([groups.find(item) for item in range(n)], np.int64)
