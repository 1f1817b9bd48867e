from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edge.workshop.framework import tensorflow

pytestmark = pytest.mark.trains

keras: Any
layers: Any


@pytest.fixture(scope="module", autouse=True)
def framework() -> None:
    global keras, layers  # noqa: PLW0603  TensorFlow takes seconds to import: not before a test runs
    keras = tensorflow().keras
    layers = keras.layers
    keras.utils.set_random_seed(3)


def cut_half(network: Any) -> Any:
    from edge.workshop.channel_cut import cut, weakest
    from edge.workshop.channel_trace import trace

    channels = trace(network)
    gone = weakest(channels, [len(group) // 2 for group in channels.groups()])
    return cut(network, channels, gone)


def kill_half(network: Any, *names: str) -> None:
    """Let every second channel of these layers, and their batch normalization, be always zero."""
    for name in names:
        layer = network.get_layer(name)
        layer.set_weights([_every_second_zero(each) for each in layer.get_weights()])


def _every_second_zero(weights: Any) -> Any:
    weights[..., 1::2] = 0
    return weights


def widths(network: Any) -> dict[str, int]:
    return {each.name: each.output.shape[-1] for each in network.layers if each.weights}


def assert_same_answers(one: Any, other: Any) -> None:
    x = np.random.default_rng(0).random((5, *one.inputs[0].shape[1:]), np.float32)
    np.testing.assert_allclose(one(x), other(x), atol=2e-6)


def residual_network() -> Any:
    """Everything that ties channels or lays them out anew, with unlike normalization statistics."""
    same = {"padding": "same"}
    given = keras.Input((8, 8, 3))
    x = layers.Rescaling(2.0)(given)
    x = layers.Conv2D(8, 3, name="stem", use_bias=False, **same)(x)
    x = layers.BatchNormalization(name="stem-bn")(x)
    x = stem = layers.ReLU()(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, name="spread", **same)(x)
    x = layers.Conv2D(8, 1, name="point")(x)
    x = layers.Add()([x, stem])
    x = x + layers.Conv2D(8, 3, name="plus", **same)(x)
    one = layers.SeparableConv2D(6, 3, name="separable", **same)(x)
    two = layers.PReLU(name="slope")(layers.Conv2D(4, 3, name="branch", **same)(x))
    x = layers.Concatenate()([one, two])
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Dense(10, activation="sigmoid", name="gate")(gate)
    x = layers.Multiply()([x, gate])
    x = layers.ZeroPadding2D(1)(layers.MaxPooling2D()(x))
    x = layers.Dense(6, activation="relu", name="dense")(layers.Flatten()(x))
    x = layers.Reshape((1, 1, 6))(layers.Dropout(0.2)(x))
    x = layers.Conv2DTranspose(4, 2, name="wider")(x)
    x = layers.Dense(5, activation="softmax", name="classes")(layers.Flatten()(x))
    network = keras.Model(given, x)
    for each in network.layers:
        if isinstance(each, layers.BatchNormalization):
            shape = each.gamma.shape
            random = np.random.default_rng(1)
            each.set_weights([random.uniform(0.5, 1.5, shape) for _ in range(4)])
    return network


def test_channels_that_are_always_zero_go_first_and_the_answers_stay_the_same() -> None:
    network = residual_network()
    kill_half(network, "stem", "stem-bn", "point", "plus", "separable", "branch", "dense", "wider")
    smaller = cut_half(network)
    assert_same_answers(network, smaller)
    assert widths(smaller) == {
        "stem": 4,
        "stem-bn": 4,
        "spread": 8,
        "point": 4,
        "plus": 4,
        "separable": 3,
        "branch": 2,
        "slope": 2,
        "gate": 5,
        "dense": 3,
        "wider": 2,
        "classes": 5,
    }


def test_without_any_channel_gone_the_network_is_the_same() -> None:
    from edge.workshop.channel_cut import cut
    from edge.workshop.channel_trace import trace

    network = residual_network()
    assert_same_answers(network, cut(network, trace(network), set()))


def test_networks_within_networks_and_layers_that_run_twice_are_followed() -> None:
    inner = keras.Sequential([keras.Input((8, 8, 4)), layers.Conv2D(6, 3, name="inside")])
    shared = layers.Conv2D(4, 1, name="shared", activation="relu")
    given = keras.Input((8, 8, 2))
    x = layers.Conv2D(4, 3, padding="same", name="first")(given)
    x = inner(shared(shared(x)))
    network = keras.Model(given, layers.Dense(3)(layers.GlobalMaxPooling2D()(x)))
    kill_half(network, "first", "shared")
    kill_half(inner, "inside")
    smaller = cut_half(network)
    assert_same_answers(network, smaller)
    assert widths(smaller)["first"] == widths(smaller)["shared"] == 2
    assert smaller.get_layer(inner.name).output.shape[-1] == 3


def test_what_an_unknown_layer_touches_is_left_whole_and_told() -> None:
    from edge.workshop.channel_trace import trace

    given = keras.Input((8, 8, 2))
    x = layers.Conv2D(8, 3, name="free")(given)
    x = layers.Conv2D(8, 3, name="read")(x)
    x = layers.LayerNormalization(name="norm")(x)
    x = layers.Conv2D(8, 3, name="grouped", groups=2)(x)
    x = layers.Conv2D(8, 1, name="mixed", activation="softmax")(x)
    network = keras.Model(given, layers.Dense(3, name="last")(layers.Flatten()(x)))
    told = trace(network).left_whole()
    assert told == {
        "read": "norm reads it: LayerNormalization is not known here",
        "mixed": "softmax weighs them against each other",
        "last": "is the network's output",
    }
    assert widths(cut_half(network)) == widths(network) | {"free": 4}


def test_every_layer_keeps_a_channel_however_few_shall_stay() -> None:
    from edge.workshop.channel_cut import cut, weakest
    from edge.workshop.channel_trace import trace

    network = residual_network()
    channels = trace(network)
    gone = weakest(channels, [len(group) for group in channels.groups()])
    assert min(widths(cut(network, channels, gone)).values()) == 1


def test_a_network_without_channels_to_spare_is_refused_with_the_reasons() -> None:
    from edge.errors import ModelError
    from edge.workshop.prune_channels import prune_channels

    network = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="only")])
    with pytest.raises(ModelError, match=r"no layer would lose a channel .* only is the network's"):
        prune_channels(network, None, sparsity=0.5, epochs=1, rounds=1)  # type: ignore[arg-type]
