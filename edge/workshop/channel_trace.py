"""Follows every channel of a network from the layer that makes it to all that read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np

from edge.workshop.channel_kinds import Kind, kind_of
from edge.workshop.channels import Channels, Traced
from edge.workshop.walk import copy_of, is_network, like, run_through, tensors_in, weights_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge.workshop.channels import Gain, Lanes

    Shape = Sequence[int | None]


class Flow(NamedTuple):
    """What flows through a tensor: its channels along the last axis, and how strong each is."""

    lanes: Lanes
    gain: Gain


def trace(network: Any) -> Channels:
    """Follow all channels through a functional or sequential network."""
    return _Tracer().of(network)


class _Tracer:
    """Runs through a network once, on tensors without values."""

    def __init__(self) -> None:
        self._channels = Channels()
        self._copies: dict[int, Any] = {}  # by the id of the layer
        self._flows: dict[int, Flow] = {}
        self._alive: list[Any] = []  # an id is of use only while its tensor lives

    def of(self, network: Any) -> Channels:
        inputs = like(network.inputs)
        for each in inputs:
            self._start(each, "is the network's input")
        for each in run_through(network, inputs, self._step).outputs:
            self._channels.keep_whole(self._flow(each).lanes, "is the network's output")
        return self._channels

    def _step(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        """Run a layer on what it takes; note the channels that come out."""
        tensors = tensors_in(args, kwargs)
        if id(layer) not in self._copies:
            self._copies[id(layer)] = copy_of(layer)
        made = self._copies[id(layer)](*args, **kwargs)
        outputs = keras.tree.flatten(made)
        if is_network(layer):
            inner = like(tensors)
            self._go_on(tensors, inner)
            self._go_on(run_through(layer, inner, self._step).outputs, outputs)
            return made
        kind = kind_of(layer, tensors, outputs)
        if isinstance(kind, Kind):
            flow = self._known(layer, kind, tensors, outputs[0])
            if flow is not None:
                self._note(outputs[0], flow)
                return made
            kind = "it mixes its channels"
        for each in tensors:
            self._channels.read(*self._flow(each))
            self._channels.keep_whole(self._flow(each).lanes, f"{layer.name} reads it: {kind}")
        for each in outputs:
            self._start(each, f"{layer.name} makes it: {kind}")
        return made

    def _known(self, layer: Any, kind: Kind, tensors: list[Any], output: Any) -> Flow | None:
        """Return what comes out of a layer that is known; None where it does mix its channels."""
        taken = [self._flow(each) for each in tensors]
        before = self._channels.traced.get(id(layer))
        if before is not None:  # it runs a second time, with the same weights
            self._channels.tie(before.taken, taken[0].lanes)
        if kind.does == "makes":
            self._channels.read(*taken[0])
            lanes = self._channels.fresh(output.shape[-1]) if before is None else before.given
            flow = Flow(lanes, _filter_norms(layer, kind))
        else:
            shapes = (tensors[0].shape, output.shape)
            given = self._given(layer, kind, taken, shapes)
            if given is None:
                return None
            flow = given
        if getattr(layer, "activation", None) is keras.activations.softmax:
            self._channels.keep_whole(flow.lanes, "softmax weighs them against each other")
        if before is None:
            shape = tuple(output.shape)
            traced = Traced(layer, kind, taken[0].lanes, flow.lanes, shape)
            self._channels.traced[id(layer)] = traced
        return flow

    def _given(
        self, layer: Any, kind: Kind, taken: list[Flow], shapes: tuple[Shape, Shape]
    ) -> Flow | None:
        """Return what comes out of a layer that makes no channels of its own."""
        lanes, gain = taken[0]
        if kind.does == "spreads":
            norms = np.abs(weights_of(layer)["kernel"])  # [..., in, times]
            norms = norms.reshape(-1, *norms.shape[-2:]).sum(axis=0)
            times = norms.shape[-1]
            return Flow(np.repeat(lanes, times), np.repeat(gain, times) * norms.reshape(-1))
        if kind.does == "scales":
            return Flow(lanes, gain * _scales(layer))
        if kind.does == "passes":
            return taken[0]
        if kind.does == "reshapes":
            places = _laid_out(*shapes)
            return None if places is None else Flow(lanes[places], gain[places])
        if kind.does == "joins" and layer.axis in {-1, len(shapes[1]) - 1}:
            # Different layers made them: what is weak among its own is weak.
            gains = [each.gain / (each.gain.mean() or 1.0) for each in taken]
            return Flow(np.concatenate([each.lanes for each in taken]), np.concatenate(gains))
        return self._merged(taken)

    def _merged(self, taken: list[Flow]) -> Flow:
        """Tie what is merged one by one; what is spread over all the others has to stay."""
        widest = max((each.lanes for each in taken), key=len)
        for each in taken:
            if len(each.lanes) == len(widest):
                self._channels.tie(widest, each.lanes)
            else:
                self._channels.keep_whole(each.lanes, "is spread over all channels of another")
        return Flow(widest, np.sum([each.gain + np.zeros(len(widest)) for each in taken], axis=0))

    def _start(self, tensor: Any, why: str) -> None:
        """Give a tensor channels that have to stay."""
        lanes = self._channels.fresh(tensor.shape[-1] if len(tensor.shape) > 1 else 1)
        self._channels.keep_whole(lanes, why)
        self._note(tensor, Flow(lanes, np.ones(len(lanes))))

    def _go_on(self, tensors: Iterable[Any], copies: Iterable[Any]) -> None:
        """What flows through these flows through those."""
        for tensor, copy in zip(tensors, copies, strict=True):
            self._note(copy, self._flow(tensor))

    def _note(self, tensor: Any, flow: Flow) -> None:
        self._alive.append(tensor)
        self._flows[id(tensor)] = flow

    def _flow(self, tensor: Any) -> Flow:
        return self._flows[id(tensor)]


def _filter_norms(layer: Any, kind: Kind) -> Gain:
    """Return the L1 norm of what makes each channel (H. Li et al., Pruning Filters, 2017)."""
    name = [name for name in kind.axes if name != "bias"][-1]
    (axis,) = (axis for axis, side in kind.axes[name] if side == "given")
    weights = np.moveaxis(np.abs(weights_of(layer)[name]), axis, 0)
    return np.asarray(weights.reshape(len(weights), -1).sum(axis=1), np.float64)


def _scales(layer: Any) -> Gain:
    """Return by what batch normalization multiplies each channel, as a converter folds it in."""
    weights = weights_of(layer)
    variance = weights["moving_variance"] + layer.epsilon
    return np.asarray(np.abs(weights.get("gamma", np.float32(1))) / np.sqrt(variance), np.float64)


def _laid_out(taken: Shape, given: Shape) -> Lanes | None:
    """Return which channel stands at each place of the new last axis, the same in every row.

    None where rows differ, or where the shapes (with their batch) are not known.
    """
    before = [each for each in taken[1:] if each is not None]
    if len(before) < len(taken) - 1 or given[-1] is None:
        return None
    every = np.broadcast_to(np.arange(before[-1]), before)
    rows = every.reshape(-1, given[-1])
    return rows[0] if bool((rows == rows[0]).all()) else None
