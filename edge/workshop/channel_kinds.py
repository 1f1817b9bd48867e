"""Which layers are known by their channels, and where in their weights these stand.

A layer that is not here is left whole, and so is everything that it depends on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import keras

if TYPE_CHECKING:
    from collections.abc import Sequence

Side: TypeAlias = Literal["taken", "spread", "given"]
"""Channels that a layer takes, those times its depth multiplier, and those that it gives."""
Axes: TypeAlias = "dict[str, tuple[tuple[int, Side], ...]]"

OPERATIONS = "keras.src.ops.numpy"
"""Where Keras keeps what `+` and `*` of two of its tensors are."""

layers = keras.layers


@dataclass(frozen=True, slots=True)
class Kind:
    """What is known of a kind of layer."""

    does: Literal["makes", "spreads", "scales", "passes", "merges", "joins", "reshapes"]
    """Makes channels of its own, makes some of each one taken, scales each, hands them on as they
    are, merges those of several tensors one by one, joins them, or lays them out otherwise."""
    size: str = ""
    """The option that says how many channels it makes."""
    axes: Axes = field(default_factory=dict)
    """By a weight's name: along which of its axes which channels lie."""


_GIVEN: tuple[tuple[int, Side], ...] = ((-1, "given"),)
_CONVOLUTION: Axes = {"kernel": ((-2, "taken"), (-1, "given")), "bias": _GIVEN}
_TRANSPOSED: Axes = {"kernel": ((-1, "taken"), (-2, "given")), "bias": _GIVEN}
_DEPTHWISE: Axes = {"kernel": ((-2, "taken"),), "bias": _GIVEN}
_SEPARABLE: Axes = {
    "depthwise_kernel": ((-2, "taken"),),
    "pointwise_kernel": ((-2, "spread"), (-1, "given")),
    "bias": _GIVEN,
}
_NORMALIZATION: Axes = dict.fromkeys(("gamma", "beta", "moving_mean", "moving_variance"), _GIVEN)

_MERGING = "Add Subtract Multiply Average Maximum Minimum"
_RESHAPING = "Flatten Reshape"
_PASSING = """
    Activation ReLU LeakyReLU ELU Identity Dropout SpatialDropout1D SpatialDropout2D GaussianNoise
    GaussianDropout Rescaling Resizing MaxPooling1D MaxPooling2D AveragePooling1D AveragePooling2D
    GlobalMaxPooling1D GlobalMaxPooling2D GlobalAveragePooling1D GlobalAveragePooling2D
    ZeroPadding1D ZeroPadding2D Cropping1D Cropping2D UpSampling1D UpSampling2D RandomFlip
    RandomTranslation RandomRotation RandomZoom
"""
KINDS: dict[type, Kind] = {
    layers.Dense: Kind("makes", "units", _CONVOLUTION),
    layers.Conv1D: Kind("makes", "filters", _CONVOLUTION),
    layers.Conv2D: Kind("makes", "filters", _CONVOLUTION),
    layers.Conv3D: Kind("makes", "filters", _CONVOLUTION),
    layers.Conv1DTranspose: Kind("makes", "filters", _TRANSPOSED),
    layers.Conv2DTranspose: Kind("makes", "filters", _TRANSPOSED),
    layers.SeparableConv1D: Kind("makes", "filters", _SEPARABLE),
    layers.SeparableConv2D: Kind("makes", "filters", _SEPARABLE),
    layers.DepthwiseConv1D: Kind("spreads", axes=_DEPTHWISE),
    layers.DepthwiseConv2D: Kind("spreads", axes=_DEPTHWISE),
    layers.BatchNormalization: Kind("scales", axes=_NORMALIZATION),
    layers.PReLU: Kind("passes", axes={"alpha": _GIVEN}),
    layers.Concatenate: Kind("joins"),
    **{getattr(layers, name): Kind("merges") for name in _MERGING.split()},
    **{getattr(layers, name): Kind("reshapes") for name in _RESHAPING.split()},
    **{getattr(layers, name): Kind("passes") for name in _PASSING.split()},
}


def kind_of(layer: Any, tensors: Sequence[Any], outputs: Sequence[Any]) -> Kind | str:
    """Return what is known of a layer between these, or in words why it must be left whole."""
    if type(layer).__module__ == OPERATIONS and type(layer).__name__ in _MERGING.split():
        kind = Kind("merges") if len(tensors) > 1 else None
    else:
        kind = KINDS.get(type(layer))
    if kind is None:
        return f"{type(layer).__name__} is not known here"
    if len(outputs) > 1:
        return "it gives several outputs"
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        return "its channels come first"
    if getattr(layer, "groups", 1) != 1:
        return "it works in groups of channels"
    if kind.does == "scales" and layer.axis not in {-1, len(outputs[0].shape) - 1}:
        return "it does not scale the last axis"
    if isinstance(layer, layers.Rescaling) and not all(
        isinstance(each, int | float) for each in (layer.scale, layer.offset)
    ):
        return "it scales each channel by a number of its own"
    return kind
