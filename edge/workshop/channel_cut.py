"""Makes a network without its weakest channels: the same layers, really smaller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from edge.workshop.walk import copy_of, is_network, like, run_through, tensors_in, weights_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from edge.workshop.channel_kinds import Side
    from edge.workshop.channels import Channels, Lanes, Traced


def weakest(channels: Channels, counts: Sequence[int]) -> set[int]:
    """Return so many channels of each group, the weakest, by who stands for those tied.

    Every layer keeps at least one.
    """
    strength = channels.strength()
    left = [set(map(channels.find, each.given.tolist())) for each in channels.makers()]
    gone: set[int] = set()
    for group, count in zip(channels.groups(), counts, strict=True):
        wanted = count
        for root in sorted(group, key=lambda each: (strength.get(each, 0.0), each)):
            of = [layer for layer in left if root in layer]
            if wanted and all(len(layer) > 1 for layer in of):
                wanted -= 1
                gone.add(root)
                for layer in of:
                    layer.remove(root)
    return gone


def cut(network: Any, channels: Channels, gone: Collection[int]) -> Any:
    """Return a network without these channels, its weights those of the given one.

    `channels` is the network's trace. Layers that it does not know are as they were.
    """
    return _Cutter(channels, gone).cut(network, like(network.inputs))


class _Cutter:
    def __init__(self, channels: Channels, gone: Collection[int]) -> None:
        self._channels, self._gone = channels, gone
        self._made: dict[int, Any] = {}  # by the id of the layer that it was made of

    def cut(self, network: Any, inputs: list[Any]) -> Any:
        return run_through(network, inputs, self._step)

    def _step(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        made = self._made.get(id(layer))
        if made is not None:
            return made(*args, **kwargs)
        traced = self._channels.traced.get(id(layer))
        if is_network(layer):
            made = self.cut(layer, like(tensors_in(args, kwargs)))
        elif traced is None:
            made = copy_of(layer)
        else:
            made = copy_of(layer, **self._options(traced))
        output = made(*args, **kwargs)
        if isinstance(layer, keras.Layer) and not is_network(layer):
            made.set_weights(layer.get_weights() if traced is None else self._weights(traced))
        self._made[id(layer)] = made
        return output

    def _options(self, traced: Traced) -> dict[str, Any]:
        """Return the layer's options that differ."""
        kept = int(self._kept(traced.given).sum())
        if kept == len(traced.given):
            return {}
        if traced.kind.does == "makes":
            return {traced.kind.size: kept}
        if isinstance(traced.layer, keras.layers.Reshape):
            return {"target_shape": (*traced.shape[1:-1], kept)}
        return {}

    def _weights(self, traced: Traced) -> list[NDArray[np.float32]]:
        """Return the layer's weights without those of the channels that are gone."""
        taken = self._kept(traced.taken)
        sides: dict[Side, NDArray[np.bool_]] = {"taken": taken, "given": self._kept(traced.given)}
        found = []
        for name, whole in weights_of(traced.layer).items():
            weights = whole
            for axis, side in traced.kind.axes.get(name, ()):
                if side == "spread":
                    kept = np.repeat(taken, weights.shape[axis] // len(taken))
                else:
                    kept = sides[side]
                weights = np.compress(kept, weights, axis=axis)
            found.append(weights)
        return found

    def _kept(self, lanes: Lanes) -> NDArray[np.bool_]:
        return np.array([self._channels.find(lane) not in self._gone for lane in lanes.tolist()])
