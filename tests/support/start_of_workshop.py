"""What the workshop's tests start from: `python start_of_workshop.py FOLDER` writes it there.

A small network, trained on scikit-learn's digits by the workshop's own training, in all forms
that `edge optimize quantize` takes, and networks that it must refuse.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from edge.config.model import Model
from edge.workshop.convert import to_tflite
from edge.workshop.data import Input, read_data
from edge.workshop.digits import as_npz
from edge.workshop.framework import quiet, tensorflow
from edge.workshop.seeded import repeatable
from edge.workshop.training import train

SHAPE = (8, 8, 1)


def main(folder: Path) -> None:
    data_file = folder / "digits.npz"
    data_file.write_bytes(as_npz(0))
    repeatable(0)
    keras = tensorflow().keras
    layers = keras.layers
    network = keras.Sequential(
        [
            layers.Input(SHAPE, name="image"),
            layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="first"),
            layers.Reshape((2, 2, 32), name="reshaped"),
            layers.Flatten(name="flat"),
            layers.Dense(10, activation="softmax", name="scores"),
        ]
    )
    form = Input(SHAPE, Model(path=data_file))
    train(network, read_data(data_file, form, seed=0), epochs=6, peak_learning_rate=0.01)
    network.save(folder / "net.keras")
    with quiet():
        network.export(folder / "saved")
    (folder / "net.tflite").write_bytes(to_tflite(network, "float"))

    image = keras.Input(SHAPE)
    cosine = keras.ops.cos(layers.Conv2D(2, 3)(image))
    keras.Model(image, layers.Dense(10)(layers.Flatten()(cosine))).save(folder / "cosine.keras")
    code = layers.Lambda(lambda x: 2 * x)
    keras.Sequential([layers.Input(SHAPE), code, layers.Flatten()]).save(folder / "code.keras")
    values = keras.Input((6,))
    keras.Model(values, layers.Dense(6)(layers.Dense(3)(values))).save(folder / "coder.keras")
    np.savez(folder / "numbers.npz", x=np.random.default_rng(0).normal(size=(60, 6)))
    whole = (folder / "net.keras").read_bytes()
    (folder / "cut.keras").write_bytes(whole[: len(whole) // 2])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
