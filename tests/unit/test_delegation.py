"""Which operators a delegate took: hand-made graphs, and real ones against the engine's count."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from edge.engines.delegation import Delegation, Node, delegation

if TYPE_CHECKING:
    from pathlib import Path


def node(operator: str, inputs: set[int], outputs: set[int]) -> Node:
    return Node(operator, frozenset(inputs), frozenset(outputs))


def group(inputs: set[int], outputs: set[int]) -> Node:
    return node("DELEGATE", inputs, outputs)


# 0 -> CONV -> 1 -> RELU -> 2 -> SOFTMAX -> 3; 10 is the weights
CHAIN = [node("CONV", {0, 10}, {1}), node("RELU", {1}, {2}), node("SOFTMAX", {2}, {3})]


@pytest.mark.parametrize(
    ("groups", "taken", "left"),
    [
        ([], {}, {"CONV": 1, "RELU": 1, "SOFTMAX": 1}),
        ([group({0, 10}, {3})], {"CONV": 1, "RELU": 1, "SOFTMAX": 1}, {}),
        ([group({0, 10}, {2})], {"CONV": 1, "RELU": 1}, {"SOFTMAX": 1}),
        ([group({1}, {2})], {"RELU": 1}, {"CONV": 1, "SOFTMAX": 1}),
        ([group({0, 10}, {1}), group({2}, {3})], {"CONV": 1, "SOFTMAX": 1}, {"RELU": 1}),
    ],
)
def test_what_lies_between_a_group_s_ends_is_taken(
    groups: list[Node], taken: dict[str, int], left: dict[str, int]
) -> None:
    found = delegation(CHAIN, groups, results=[3])
    assert found == Delegation(groups=len(groups), taken=taken, left=left, untold={})


# READ -> 1 -> CONV -> 2 -> SLICE -> 3 -> ASSIGN, which has no output; 0 is the variable
STATE = [
    node("READ", {0}, {1}),
    node("CONV", {1, 10}, {2, 4}),
    node("SLICE", {2, 11}, {3}),
    node("ASSIGN", {0, 3}, set()),
]


def test_an_operator_without_outputs_is_taken_where_only_it_reads_a_tensor_of_the_group() -> None:
    found = delegation(STATE, [group({0, 3}, set())], results=[4])
    assert (found.taken, found.untold) == ({"ASSIGN": 1}, {})


def test_an_operator_is_taken_where_it_reads_what_the_group_keeps_to_itself() -> None:
    found = delegation(STATE, [group({0, 10, 11}, {4})], results=[4])
    assert found.taken == {"READ": 1, "CONV": 1, "SLICE": 1, "ASSIGN": 1}
    assert found.left == found.untold == {}


def test_an_operator_is_left_where_the_group_lacks_what_it_reads() -> None:
    found = delegation(STATE, [group({0, 10}, {2, 4})], results=[4])
    assert found.taken == {"READ": 1, "CONV": 1}
    assert found.left == {"SLICE": 1, "ASSIGN": 1}


def test_what_the_tensors_leave_open_is_said_to_be_open() -> None:
    # Both read the variable and the group's output, and write nothing.
    operators = [node("CONV", {0, 10}, {1}), node("ASSIGN", {0, 1}, set())]
    twice = [*operators, node("ASSIGN", {0, 1}, set())]
    found = delegation(twice, [group({0, 10}, {1})], results=[1])
    assert (found.taken, found.left, found.untold) == ({"CONV": 1}, {}, {"ASSIGN": 2})


VERBOSE = """
import ctypes, sys
from tflite_runtime import _pywrap_tensorflow_interpreter_wrapper as wrapper
from tflite_runtime.interpreter import Interpreter
from edge.engines.delegation import delegation, nodes_of
name = "_ZN6tflite16logging_internal13MinimalLogger21SetMinimumLogSeverityENS_11LogSeverityE"
getattr(ctypes.CDLL(wrapper.__file__), name)(0)
interpreter = Interpreter(model_path=sys.argv[1])
operators = len(interpreter._get_ops_details())
interpreter.allocate_tensors()
nodes = nodes_of(interpreter._get_ops_details())
results = [details["index"] for details in interpreter.get_output_details()]
print(sum(delegation(nodes[:operators], nodes[operators:], results).taken.values()), operators)
"""


@pytest.mark.parametrize("name", ["movenet_single_pose_lightning_ptq", "yolov8n_person_192"])
def test_the_engine_counts_as_many_operators_replaced(testdata: Path, name: str) -> None:
    if sys.version_info >= (3, 12):
        pytest.skip("tflite-runtime has no wheel for Python 3.12 and newer")
    done = subprocess.run(
        [sys.executable, "-c", VERBOSE, str(testdata / "models" / f"{name}.tflite")],
        capture_output=True,
        text=True,
        check=True,
    )
    told = re.search(r"Replacing (\d+) out of (\d+) node\(s\)", done.stderr)
    assert told, done.stderr
    assert done.stdout.split() == list(told.groups())
