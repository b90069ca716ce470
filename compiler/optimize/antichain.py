"""The heaviest antichain of an order: of things of which some wait for others, the heaviest set that can be there all at once.

Contract: exact. The weight of a heaviest antichain is that of everything less the largest flow from things to what comes after them
(R. P. Dilworth, "A decomposition theorem for partially ordered sets", 1950, with weights).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence


def heaviest(weights: Mapping[int, int], after: Sequence[Sequence[int]]) -> tuple[int, tuple[int, ...]]:
    """The weight of a heaviest antichain, and its members. weights: member → a whole number above 0; after: what each waits for."""
    if not any(after):
        return sum(weights.values()), tuple(sorted(weights))
    flow = _Flow(2 * len(after) + 2)
    source, sink = 2 * len(after), 2 * len(after) + 1
    endless = sum(weights.values()) + 1
    for number, earlier in enumerate(after):
        if weight := weights.get(number, 0):
            flow.join(source, 2 * number, weight)
            flow.join(2 * number + 1, sink, weight)
        # What waits for something that waits for this waits for this.
        flow.join(2 * number + 1, 2 * number, endless)
        for before in earlier:
            flow.join(2 * before, 2 * number + 1, endless)
    moved = flow.largest(source, sink)
    reached = flow.reachable(source)
    together = tuple(number for number in sorted(weights) if reached[2 * number] and not reached[2 * number + 1])
    return sum(weights.values()) - moved, together


class _Flow:
    """A network with whole capacities (E. A. Dinic's algorithm, 1970)."""

    def __init__(self, size: int) -> None:
        self._arcs: list[list[int]] = [[] for _ in range(size)]
        self._head: list[int] = []
        self._left: list[int] = []

    def join(self, tail: int, head: int, capacity: int) -> None:
        for end, start, left in ((head, tail, capacity), (tail, head, 0)):
            self._arcs[start].append(len(self._head))
            self._head.append(end)
            self._left.append(left)

    def largest(self, source: int, sink: int) -> int:
        total = 0
        while True:
            level = self._levels(source)
            if level[sink] < 0:
                return total
            turn = [0] * len(self._arcs)
            while moved := self._push(source, sink, level, turn):
                total += moved

    def reachable(self, source: int) -> list[bool]:
        return [level >= 0 for level in self._levels(source)]

    def _levels(self, source: int) -> list[int]:
        level = [-1] * len(self._arcs)
        level[source] = 0
        queue = deque([source])
        while queue:
            tail = queue.popleft()
            for arc in self._arcs[tail]:
                if self._left[arc] and level[self._head[arc]] < 0:
                    level[self._head[arc]] = level[tail] + 1
                    queue.append(self._head[arc])
        return level

    def _push(self, source: int, sink: int, level: list[int], turn: list[int]) -> int:
        """One path of the level graph, filled. turn: per node the next arc to try; a node without one is left for good."""
        path: list[int] = []
        node = source
        while node != sink:
            arcs = self._arcs[node]
            while turn[node] < len(arcs):
                arc = arcs[turn[node]]
                if self._left[arc] and level[self._head[arc]] == level[node] + 1:
                    break
                turn[node] += 1
            if turn[node] < len(arcs):
                path.append(arcs[turn[node]])
                node = self._head[path[-1]]
            elif path:
                node = self._head[path.pop() ^ 1]
                turn[node] += 1
            else:
                return 0
        moved = min(self._left[arc] for arc in path)
        for arc in path:
            self._left[arc] -= moved
            self._left[arc ^ 1] += moved
        return moved
