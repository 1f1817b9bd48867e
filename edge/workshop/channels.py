"""Finds out which channels of a network can be removed together, and how much each contributes.

Every channel is followed from the layer that makes it to all that read it. Where an Add ties two
channels they stay or go together; what an unknown layer touches has to stay.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from edge.workshop.channel_kinds import Kind, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    Lanes = NDArray[np.int64]
    """The number of each channel along a tensor's last axis."""
    Gain = NDArray[np.float64]
    """How strong each of them is, by the weights that made it."""

_OUTPUT = "is the network's output"


@dataclass(frozen=True, slots=True)
class Traced:
    """A layer with the channels it takes (of its first input) and gives."""

    layer: Any
    kind: Kind | str
    taken: Lanes
    given: Lanes
    shape: tuple[int | None, ...]
    """Of its output, with the batch."""


@dataclass(slots=True)
class Channels:
    """All channels of a network, by number."""

    traced: dict[int, Traced] = field(default_factory=dict)
    """By the id of the layer, in the order they run."""
    _tied: list[int] = field(default_factory=list)
    _strength: dict[int, float] = field(default_factory=dict)
    _whole: dict[int, str] = field(default_factory=dict)

    def fresh(self, count: int) -> Lanes:
        """Return so many new channels."""
        first = len(self._tied)
        self._tied.extend(range(first, first + count))
        return np.arange(first, first + count)

    def find(self, lane: int) -> int:
        """Return the one that stands for all that are tied to this."""
        while self._tied[lane] != lane:
            self._tied[lane] = self._tied[self._tied[lane]]
            lane = self._tied[lane]
        return lane

    def tie(self, one: Lanes, other: Lanes) -> None:
        """From now on, each of the one stays or goes with its counterpart."""
        for a, b in zip(one.tolist(), other.tolist(), strict=True):
            a, b = self.find(a), self.find(b)  # noqa: PLW2901
            self._tied[max(a, b)] = min(a, b)

    def keep_whole(self, lanes: Lanes, why: str) -> None:
        """None of these can be removed."""
        for lane in np.unique(lanes).tolist():
            self._whole.setdefault(lane, why)

    def read(self, lanes: Lanes, gain: Gain) -> None:
        """A layer reads these channels, so strong each."""
        numbers, of = np.unique(lanes, return_inverse=True)
        share = np.bincount(of, gain) / np.bincount(of)  # after Flatten each stands many times
        for lane, strength in zip(numbers.tolist(), share.tolist(), strict=True):
            self._strength[lane] = self._strength.get(lane, 0.0) + strength

    def strength(self) -> dict[int, float]:
        """Return how strongly tied channels reach their readers, in sum, by who stands for them."""
        found: dict[int, float] = {}
        for lane, strength in self._strength.items():
            root = self.find(lane)
            found[root] = found.get(root, 0.0) + strength
        return found

    def whole(self) -> dict[int, str]:
        """Return which of those that stand for tied channels have to stay, and why."""
        return {self.find(lane): why for lane, why in reversed(self._whole.items())}

    def groups(self) -> list[list[int]]:
        """Return what can be removed, by who stands for it: one group of them is weighed together.

        A group is what a layer makes, with what other layers make that is tied to it; they come in
        the order of these layers. A group of which nothing can be removed is left out.
        """
        whole = self.whole()
        group_of: dict[int, set[int]] = {}
        for each in self.makers():
            merged = set(map(self.find, each.given.tolist()))
            for root in list(merged):
                merged |= group_of.get(root, set())
            group_of |= dict.fromkeys(merged, merged)
        distinct = {id(group): group for group in group_of.values()}.values()
        free = [sorted(group - whole.keys()) for group in distinct]
        return sorted(filter(None, free))

    def makers(self) -> Iterable[Traced]:
        """The layers that make channels of their own."""
        return (
            each
            for each in self.traced.values()
            if isinstance(each.kind, Kind) and each.kind.does == "makes"
        )

    def left_whole(self) -> dict[str, str]:
        """Return the layers that make channels of which none can be removed, and why."""
        whole = self.whole()
        return {
            each.layer.name: whole[self.find(int(each.given[0]))]
            for each in self.makers()
            if all(self.find(lane) in whole for lane in each.given.tolist())
        }


def trace(network: Any) -> Channels:
    """Follow all channels through a functional or sequential network."""
    return _Tracer().of(network)


class _Tracer:
    """Runs through a network once, on tensors without values."""

    def __init__(self) -> None:
        self._channels = Channels()
        self._lanes: dict[int, Lanes] = {}
        self._gain: dict[int, Gain] = {}
        self._alive: list[Any] = []  # an id is of use only while its tensor lives

    def of(self, network: Any) -> Channels:
        inputs = like(network.inputs)
        for each in inputs:
            lanes = self._channels.fresh(each.shape[-1])
            self._channels.keep_whole(lanes, "is the network's input")
            self._note(each, lanes, np.ones(len(lanes)))
        for each in self._run(network, inputs):
            self._channels.keep_whole(self._lanes[id(each)], _OUTPUT)
        return self._channels

    def _run(self, network: Any, inputs: list[Any]) -> list[Any]:
        return list(run_through(network, inputs, self._step).outputs)

    def _step(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        """Run a layer on what it takes; note the channels that come out."""
        tensors = tensors_in(args, kwargs)
        if is_network(layer):
            inner = like(tensors)
            self._note_all(inner, tensors)
            outer = like(outputs := self._run(layer, inner))
            self._note_all(outer, outputs)
            return outer if len(outer) > 1 else outer[0]
        made = copy_of(layer)(*args, **kwargs)
        outputs = keras.tree.flatten(made)
        kind = kind_of(layer, len(outputs[0].shape))
        if isinstance(kind, str) or len(outputs) > 1:
            self._unknown(layer, str(kind), tensors, outputs)
            return made
        before = self._channels.traced.get(id(layer))
        taken = self._lanes[id(tensors[0])]
        if before is not None:  # it runs a second time, with the same weights
            self._channels.tie(before.taken, taken)
        known = self._known(layer, kind, tensors, outputs[0])
        if known is None:
            self._unknown(layer, "it mixes its channels", tensors, outputs)
            return made
        self._note(outputs[0], *known)
        if getattr(layer, "activation", None) is keras.activations.softmax:
            self._channels.keep_whole(known[0], "softmax weighs them against each other")
        if before is None:
            shape = tuple(outputs[0].shape)
            self._channels.traced[id(layer)] = Traced(layer, kind, taken, known[0], shape)
        return made

    def _known(
        self, layer: Any, kind: Kind, tensors: list[Any], output: Any
    ) -> tuple[Lanes, Gain] | None:
        """Return the channels that come out, and how strong; None where they are mixed."""
        lanes, gains = [[of[id(each)] for each in tensors] for of in (self._lanes, self._gain)]
        if kind.does == "makes":
            self._channels.read(lanes[0], gains[0])
            before = self._channels.traced.get(id(layer))
            given = self._channels.fresh(output.shape[-1]) if before is None else before.given
            return given, _filter_norms(layer, kind)
        if kind.does == "spreads":
            norms = np.abs(weights_of(layer)["kernel"])  # [..., in, times]
            norms = norms.reshape(-1, *norms.shape[-2:]).sum(axis=0)
            times = norms.shape[-1]
            return np.repeat(lanes[0], times), np.repeat(gains[0], times) * norms.reshape(-1)
        if kind.does == "scales":
            return lanes[0], gains[0] * _scales(layer)
        if kind.does == "passes":
            return lanes[0], gains[0]
        if kind.does == "merges":
            return self._merged(lanes, gains)
        if kind.does == "joins":
            if layer.axis in {-1, len(output.shape) - 1}:
                # Different layers made them: what is weak among its own is weak.
                return np.concatenate(lanes), np.concatenate([each / each.mean() for each in gains])
            return self._merged(lanes, gains)
        places = _laid_out(tensors[0].shape, output.shape)
        return None if places is None else (lanes[0][places], gains[0][places])

    def _merged(self, lanes: list[Lanes], gains: list[Gain]) -> tuple[Lanes, Gain]:
        """Tie what is merged one by one; what is spread over all the others has to stay."""
        widest = max(lanes, key=len)
        gain = np.zeros(len(widest))
        for each, strength in zip(lanes, gains, strict=True):
            if len(each) == len(widest):
                self._channels.tie(widest, each)
            else:
                self._channels.keep_whole(each, "is spread over all channels of another")
            gain = gain + strength
        return widest, gain

    def _unknown(self, layer: Any, why: str, tensors: Sequence[Any], outputs: list[Any]) -> None:
        for each in tensors:
            lanes = self._lanes[id(each)]
            self._channels.read(lanes, self._gain[id(each)])
            self._channels.keep_whole(lanes, f"{layer.name} reads it: {why}")
        for each in outputs:
            lanes = self._channels.fresh(each.shape[-1] or 1 if len(each.shape) else 1)
            self._channels.keep_whole(lanes, f"{layer.name} makes it: {why}")
            self._note(each, lanes, np.ones(len(lanes)))

    def _note_all(self, tensors: list[Any], same_as: list[Any]) -> None:
        for tensor, same in zip(tensors, same_as, strict=True):
            self._note(tensor, self._lanes[id(same)], self._gain[id(same)])

    def _note(self, tensor: Any, lanes: Lanes, gain: Gain) -> None:
        self._alive.append(tensor)
        self._lanes[id(tensor)], self._gain[id(tensor)] = lanes, gain


def run_through(network: Any, inputs: list[Any], step: Callable[..., Any]) -> Any:
    """Return the network that comes of calling `step(layer, *args, **kwargs)` for each layer."""
    if isinstance(network, keras.Sequential):
        output = inputs[0]
        for layer in network.layers:
            output = step(layer, output)
        return keras.Model(inputs[0], output, name=network.name)
    return keras.models.clone_model(
        network,
        input_tensors=keras.tree.pack_sequence_as(network.input, inputs),
        clone_function=lambda layer: layer,
        call_function=step,
    )


def is_network(layer: Any) -> bool:
    """Tell whether it is a network, functional or sequential, whose layers can be followed."""
    return isinstance(layer, keras.Model) and hasattr(layer, "operations")


def like(tensors: Iterable[Any]) -> list[Any]:
    """Return inputs of the same shapes and dtypes."""
    return [keras.Input(batch_shape=each.shape, dtype=each.dtype) for each in tensors]


def tensors_in(*arguments: Any) -> list[Any]:
    """Return the tensors among a layer's arguments."""
    return [each for each in keras.tree.flatten(arguments) if isinstance(each, keras.KerasTensor)]


def copy_of(layer: Any, **options: Any) -> Any:
    """Return a layer of the same options but for these; the layer itself where it has no weights.

    Raises ModelError where a layer with weights cannot be made again from its options.
    """
    if not getattr(layer, "weights", None) and not options:
        return layer
    return type(layer).from_config(layer.get_config() | options)


def weights_of(layer: Any) -> dict[str, NDArray[np.float32]]:
    """Return a layer's own weights by their names."""
    return {each.name: each.numpy() for each in layer.weights}


def _filter_norms(layer: Any, kind: Kind) -> Gain:
    """Return the L1 norm of what makes each channel (H. Li et al., Pruning Filters, 2017)."""
    name = next(reversed([name for name in kind.axes if name != "bias"]))
    (axis,) = (axis for axis, side in kind.axes[name] if side == "given")
    weights = np.moveaxis(np.abs(weights_of(layer)[name]), axis, 0)
    return np.asarray(weights.reshape(len(weights), -1).sum(axis=1), np.float64)


def _scales(layer: Any) -> Gain:
    """Return by what batch normalization multiplies each channel, as a converter folds it in."""
    weights = weights_of(layer)
    variance = weights["moving_variance"] + layer.epsilon
    return np.asarray(np.abs(weights.get("gamma", np.float32(1))) / np.sqrt(variance), np.float64)


def _laid_out(taken: Sequence[int | None], given: Sequence[int | None]) -> Lanes | None:
    """Return which channel stands at each place of the new last axis, the same in every row.

    None where rows differ, or where the shapes (with their batch) are not known.
    """
    before = [each for each in taken[1:] if each is not None]
    if len(before) < len(taken) - 1 or given[-1] is None:
        return None
    every = np.broadcast_to(np.arange(before[-1]), before)
    rows = every.reshape(-1, given[-1])
    return rows[0] if bool((rows == rows[0]).all()) else None
