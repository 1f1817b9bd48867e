"""Structured pruning: whole channels are removed in rounds, with fine-tuning after each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge.errors import ModelError
from edge.workshop.channel_cut import cut, weakest
from edge.workshop.channel_trace import trace
from edge.workshop.training import train

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.workshop.channels import Channels
    from edge.workshop.data import Data


@dataclass(frozen=True, slots=True)
class Narrowed:
    """A network without its weakest channels, and what became of each layer that makes some."""

    network: Any
    layers: dict[str, tuple[int, int]]
    """By name: channels before, and after."""
    left_whole: dict[str, str]
    """Layers that lost none, and why."""


def prune_channels(
    network: Any,
    data: Data,
    *,
    sparsity: float,
    epochs: int,
    rounds: int,
    on_epoch: Callable[[], None] = lambda: None,
) -> Narrowed:
    """Remove so large a share of every layer's channels, and fine-tune so many epochs in all.

    Each round removes the same share of what is left, the weakest by the L1 norm of their filters
    (H. Li et al., Pruning Filters for Efficient ConvNets, 2017) with batch normalization folded
    in. The given network stays as it was. Raises ModelError where nothing can be removed.
    """
    before = trace(network)
    sizes = [len(group) for group in before.groups()]
    left = [_left(size, 1 - sparsity) for size in sizes]
    if left == sizes:
        reasons = "; ".join(f"{name} {why}" for name, why in before.left_whole().items())
        raise ModelError(
            f"no layer would lose a channel (channels to choose from: {sizes}); left whole: "
            f"{reasons}"
        )
    smaller = network
    for number in range(1, rounds + 1):
        channels = trace(smaller)
        share = (1 - sparsity) ** (number / rounds)
        counts = [
            len(group) - _left(size, share)
            for group, size in zip(channels.groups(), sizes, strict=True)
        ]
        smaller = cut(smaller, channels, weakest(channels, counts))
        train(
            smaller,
            data,
            epochs=number * epochs // rounds - (number - 1) * epochs // rounds,
            patience=epochs,
            on_epoch=on_epoch,
        )
    had, has = _counts(before), _counts(trace(smaller))
    return Narrowed(smaller, {name: (had[name], has[name]) for name in had}, before.left_whole())


def _counts(channels: Channels) -> dict[str, int]:
    return {each.layer.name: len(each.given) for each in channels.makers()}


def _left(size: int, share: float) -> int:
    return max(1, round(size * share))
