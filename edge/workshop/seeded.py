"""Makes a run of TensorFlow repeatable: the same seed gives the same weights, on one machine."""

from __future__ import annotations

from edge.workshop.framework import tensorflow


def repeatable(seed: int) -> None:
    """Set the seeds of Python, numpy and TensorFlow, deterministic kernels and one thread.

    To be called before TensorFlow has run anything: its threads are set once in a process. The
    order of sums must not depend on the number of cores.
    """
    tf = tensorflow()
    tf.keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
