"""Which operators of a loaded model a delegate runs, told from the interpreter's lists of nodes.

A delegate replaces groups of connected operators by one node each. The interpreter keeps the
operators in its list and appends those nodes, but does not say which stands for which. The
tensors do: a node's inputs are all that its group reads from outside, constants included, and
its outputs all that the group hands on.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any


@dataclass(frozen=True, slots=True)
class Node:
    """An operator or a delegate's group; tensors by their number, without those left out."""

    operator: str
    inputs: frozenset[int]
    outputs: frozenset[int]


@dataclass(frozen=True, slots=True)
class Delegation:
    """The operators of the first subgraph by where they run, most frequent first."""

    groups: int
    """How many nodes of the delegate stand for the operators taken."""
    taken: dict[str, int]
    left: dict[str, int]
    """Those that the engine's own kernels run."""
    untold: dict[str, int]
    """Those whose tensors leave open which it is."""


def nodes_of(details: Iterable[Mapping[str, Any]]) -> list[Node]:
    """Return the nodes in an interpreter's `_get_ops_details()`."""
    return [
        Node(
            str(detail["op_name"]),
            frozenset(int(number) for number in detail["inputs"] if number >= 0),
            frozenset(int(number) for number in detail["outputs"] if number >= 0),
        )
        for detail in details
    ]


def delegation(
    operators: Sequence[Node], groups: Sequence[Node], results: Iterable[int]
) -> Delegation:
    """Return where the operators run, given the nodes that a delegate appended to them.

    `operators` stand in the order in which they run; `results` are the model's output tensors.
    """
    graph = _Graph(operators, results)
    parts = [_Group(node, graph) for node in groups]
    counts: dict[str, Counter[str]] = {"taken": Counter(), "left": Counter(), "untold": Counter()}
    for at, node in enumerate(operators):
        if any(at in part.held for part in parts):
            where = "taken"
        elif any(at in part.perhaps for part in parts):
            where = "untold"
        else:
            where = "left"
        counts[where][node.operator] += 1
    return Delegation(
        groups=len(groups), **{where: dict(found.most_common()) for where, found in counts.items()}
    )


class _Graph:
    def __init__(self, operators: Sequence[Node], results: Iterable[int]) -> None:
        self.operators = operators
        self.results = set(results)
        self.producer: dict[int, int] = {}
        self.readers: defaultdict[int, set[int]] = defaultdict(set)
        for at, node in enumerate(operators):
            self.producer.update(dict.fromkeys(node.outputs, at))
            for tensor in node.inputs:
                self.readers[tensor].add(at)


class _Group:
    """A delegate's node: which operators it stands for, and which it may stand for."""

    def __init__(self, node: Node, graph: _Graph) -> None:
        self._node = node
        self._graph = graph
        self.held: set[int] = set()
        self._hold_what_makes(node.outputs)
        # An operator without outputs, such as ASSIGN_VARIABLE, leads to none of the group's.
        for at, operator in enumerate(graph.operators):
            if at not in self.held and any(map(self._is_read_inside_only, operator.inputs)):
                self.held.add(at)
                self._hold_what_makes(operator.inputs)
        self.perhaps = self._find_perhaps()

    def _hold_what_makes(self, tensors: Iterable[int]) -> None:
        """Hold all that lies on the way back from these tensors to the group's inputs."""
        ahead = list(tensors)
        while ahead:
            tensor = ahead.pop()
            at = self._graph.producer.get(tensor)
            if tensor not in self._node.inputs and at is not None and at not in self.held:
                self.held.add(at)
                ahead += self._graph.operators[at].inputs

    def _is_read_inside_only(self, tensor: int) -> bool:
        if tensor in self._node.inputs:
            return len(self._graph.readers[tensor]) == 1
        return self._graph.producer.get(tensor) in self.held and tensor not in self._node.outputs

    def _find_perhaps(self) -> set[int]:
        """Return the operators whose tensors would fit as well inside the group as outside."""
        operators = self._graph.operators
        perhaps = set(range(len(operators))) - self.held
        before = -1
        while len(perhaps) != before:
            before = len(perhaps)
            for at in reversed(range(len(operators))):
                if not all(self._may_be_made_inside(t, perhaps) for t in operators[at].outputs):
                    perhaps.discard(at)
            for at in range(len(operators)):
                if not all(self._is_there_inside(t, perhaps) for t in operators[at].inputs):
                    perhaps.discard(at)
        return perhaps

    def _may_be_made_inside(self, tensor: int, perhaps: set[int]) -> bool:
        return (
            tensor not in self._node.inputs
            and tensor not in self._graph.results
            and self._graph.readers[tensor] <= perhaps
        )

    def _is_there_inside(self, tensor: int, perhaps: set[int]) -> bool:
        at = self._graph.producer.get(tensor)
        return tensor in self._node.inputs or at in self.held or at in perhaps
