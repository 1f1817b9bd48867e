"""What pruning and distillation do to a network, with TensorFlow, on three classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edge.errors import ConfigError, ModelError
from edge.workshop.data import Data, Part
from edge.workshop.framework import tensorflow

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.trains

keras: Any
layers: Any


@pytest.fixture(scope="module", autouse=True)
def framework() -> None:
    global keras, layers  # noqa: PLW0603  TensorFlow takes seconds to import: not before a test runs
    keras = tensorflow().keras
    layers = keras.layers


def three_classes(samples: int = 192) -> Data:
    """Dark, grey and bright, under noise."""
    random = np.random.default_rng(5)
    y = np.arange(samples) % 3
    x = random.uniform(0, 1, (samples, 6, 6, 1)) + 1.5 * (y - 1)[:, None, None, None]
    part = Part(x.astype(np.float32), y.astype(np.int64))
    return Data(part, part, part, ["dark", "grey", "bright"], "digest", True, "none")


def network(ending: str | None = "softmax", filters: int = 6) -> Any:
    keras.utils.set_random_seed(2)
    return keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            layers.Conv2D(2, 3, name="first"),
            layers.Conv2D(filters, 3, activation="relu", name="middle"),
            layers.DepthwiseConv2D(2, name="deep"),
            layers.GlobalMaxPooling2D(name="pool"),
            layers.Dense(8, activation="relu", name="wide"),
            layers.Dense(3, activation=ending, name="last"),
        ]
    )


def perceptron(width: int) -> Any:
    keras.utils.set_random_seed(2)
    hidden = [layers.Flatten(), layers.Dense(width, activation="relu", name="wide")]
    last = layers.Dense(3, activation="softmax")
    return keras.Sequential([keras.Input((6, 6, 1)), *hidden, last])


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_the_weakest_weights_become_zero_and_stay_so_while_the_others_learn(scope: Any) -> None:
    from edge.workshop.prune_weights import prune_weights

    pruned = network()
    before = {each.path: each.numpy() for each in pruned.weights}
    found = prune_weights(pruned, three_classes(), sparsity=0.75, epochs=5, scope=scope)
    assert list(found.left_whole) == ["first"]
    weights = {name: found.layers[name] for name in ("middle", "wide", "last")}
    total, zeros = (sum(each) for each in zip(*weights.values(), strict=True))
    assert zeros / total == pytest.approx(0.75, abs=0.02)
    if scope == "layer":
        assert all(z == round(0.75 * n) for n, z in weights.values())
    after = {each.path: each.numpy() for each in pruned.weights}
    assert all((after[path] != before[path]).any() for path in after)
    assert not any((after[path] == 0).any() for path in after if "deep/kernel" in path)
    assert all(each.constraint is None for each in pruned.weights)


def test_the_share_of_zeros_rises_fast_first_and_ends_at_what_was_asked() -> None:
    from edge.workshop.prune_weights import scheduled

    shares = [scheduled(each, 0.8) for each in (0.0, 0.25, 0.5, 0.75, 1.0)]
    # 0.8 x (1 - (1 - t)^3): M. Zhu, S. Gupta (2017), equation 1, from 0 on
    assert shares == pytest.approx([0.0, 0.4625, 0.7, 0.7875, 0.8])


def test_weighed_together_a_weak_layer_loses_most_but_never_all() -> None:
    from edge.workshop.prune_weights import keep_strongest

    strong, weak = np.arange(1, 101, dtype=np.float32), np.full(100, 0.5, np.float32)
    masks = keep_strongest([strong, weak], 0.6, "global")
    assert [int(mask.sum()) for mask in masks] == [80, 2]
    assert masks[0][20:].all()
    alone = keep_strongest([strong, weak], 0.6, "layer")
    assert [int(mask.sum()) for mask in alone] == [40, 40]


def test_removed_channels_are_fine_tuned_in_rounds_and_the_given_network_is_untouched() -> None:
    from edge.workshop.prune_channels import prune_channels

    given = network()
    before = given.get_weights()
    found = prune_channels(given, three_classes(), sparsity=0.5, epochs=4, rounds=2)
    assert found.layers == {"first": (2, 1), "middle": (6, 3), "wide": (8, 4), "last": (3, 3)}
    assert list(found.left_whole) == ["last"]
    assert found.network.count_params() < given.count_params() / 2
    assert all((a == b).all() for a, b in zip(before, given.get_weights(), strict=True))


def test_the_teachers_answers_are_compared_softened_by_temperature() -> None:
    from edge.workshop.distill_training import answers_loss

    teacher, student = np.array([[4.0, 0.0, -2.0]]), np.array([[1.0, 2.0, 0.5]])
    soft = [np.exp(each / 5) / np.exp(each / 5).sum() for each in (teacher, student)]
    expected = 25 * (soft[0] * np.log(soft[0] / soft[1])).sum()
    assert float(answers_loss(5.0).compute_loss(teacher, student)) == pytest.approx(
        expected, rel=1e-4
    )


def test_logits_are_what_stands_before_softmax_and_softmax_is_put_back() -> None:
    from edge.workshop.logits import giving_logits

    x = three_classes().training.x[:8]
    softmax, as_layer = network(), network(None)
    as_layer = keras.Sequential([*as_layer.layers, layers.Softmax()])
    answers = softmax.predict(x, verbose=0)
    linear = keras.Model(softmax.inputs, layers.Dense(3)(softmax.layers[-2].output))
    linear.layers[-1].set_weights(softmax.layers[-1].get_weights())
    expected = linear.predict(x, verbose=0)
    with giving_logits(softmax, x, "the teacher") as stripped:
        np.testing.assert_allclose(stripped.predict(x, verbose=0), expected, atol=1e-5)
    np.testing.assert_array_equal(softmax.predict(x, verbose=0), answers)
    with giving_logits(as_layer, x, "the teacher") as logarithms:
        found = logarithms.predict(x, verbose=0)
    shift = (found - expected).mean(axis=1, keepdims=True)  # the same to softmax
    np.testing.assert_allclose(found - shift, expected, atol=1e-4)


def test_a_network_that_gives_no_logits_is_refused() -> None:
    from edge.workshop.logits import giving_logits

    with (
        pytest.raises(ModelError, match="the teacher: ends in sigmoid"),
        giving_logits(network("sigmoid"), three_classes().training.x[:8], "the teacher"),
    ):
        pass


def test_a_student_learns_what_only_the_teacher_knows() -> None:
    from edge.workshop.distill_training import train_alone, train_by

    data = three_classes()
    teacher = perceptron(32)
    train_alone(teacher, data, epochs=30)
    wrong = Data(
        Part(data.training.x, (data.training.y + 1) % 3), data.test, data.test, [], "", True, ""
    )
    student = perceptron(32)
    train_by(teacher, student, wrong, temperature=2.0, alpha=0.0, epochs=30)
    answers = student.predict(data.test.x, verbose=0)
    assert (answers.argmax(axis=1) == data.test.y).mean() > 0.9
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-5)


def test_layers_that_shall_give_alike_come_closer() -> None:
    from edge.workshop.distill_training import train_by

    data = three_classes()
    teacher, student, x = perceptron(8), perceptron(8), data.test.x
    student.get_layer("wide").set_weights([np.full((36, 8), 0.1), np.zeros(8)])

    def apart() -> float:
        given = [
            keras.Model(each.inputs, each.get_layer("wide").output).predict(x, verbose=0)
            for each in (teacher, student)
        ]
        return float(np.square(given[0] - given[1]).mean())

    before = apart()
    options: dict[str, Any] = {"temperature": 2.0, "alpha": 0.0, "epochs": 10}
    train_by(teacher, student, data, features=[("wide", "wide")], **options)
    assert apart() < before / 2


def test_a_pair_that_does_not_fit_is_refused_with_both_shapes() -> None:
    from edge.workshop.distill_training import check_pair

    small = keras.Sequential([keras.Input((5, 5, 1)), layers.Flatten(), layers.Dense(3)])
    with pytest.raises(
        ConfigError, match=r"the teacher takes \[6, 6, 1\], the student \[5, 5, 1\]"
    ):
        check_pair(network(), small)
    two = keras.Sequential([keras.Input((6, 6, 1)), layers.Flatten(), layers.Dense(2)])
    with pytest.raises(ConfigError, match=r"the teacher gives \[3\], the student \[2\]"):
        check_pair(network(), two)
    with pytest.raises(ConfigError, match=r"'middle' gives \[2, 2, 6\], .* \[2, 2, 4\]"):
        check_pair(network(), network(filters=4), [("middle", "middle")])
    with pytest.raises(ConfigError, match=r"the student has no layer 'x'; it has first, middle"):
        check_pair(network(), network(), [("middle", "x")])


def test_the_same_network_makes_the_same_file_and_opens_again(tmp_path: Path) -> None:
    from edge.workshop.keras_file import as_keras_file
    from edge.workshop.network import load_network

    made = network()
    made.compile("adam", "mse")
    first, second = as_keras_file(made), as_keras_file(made)
    assert first == second
    (tmp_path / "network.keras").write_bytes(first)
    opened = load_network(tmp_path / "network.keras")
    for one, other in zip(made.get_weights(), opened.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
