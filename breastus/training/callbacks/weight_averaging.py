"""A moving average of the weights, which is validated, saved and used for predictions.

    average <- d * average + (1 - d) * weights,   d = min(decay, (1 + t) / (10 + t))

after the t-th weight update. The warm-up of d comes from `tf.train.ExponentialMovingAverage` (its
argument `num_updates`): early on, the average follows the weights closely. Batch-norm statistics
are averaged like the weights, so that they fit each other.

Keras's own `use_ema` is not used, because it counts the parts of an accumulated batch as updates,
leaves batch-norm statistics out, has no warm-up, and ends with the optimizer (each stage has a new
one). Its swap of weights also rounds, so a resumed run would differ in the last bits.

Reference:
    Polyak, Juditsky: Acceleration of Stochastic Approximation by Averaging. SIAM J. Control Optim.
    30(4), 1992.
"""

import contextlib
from collections.abc import Iterator, Sequence

import keras
import tensorflow as tf


class WeightAverage(keras.callbacks.Callback):
    """Updates the average during training, and validates with it; it starts as the weights."""

    def __init__(self, model: keras.Model, decay: float):
        super().__init__()
        self._decay = decay
        self._weights = [variable.value for variable in model.weights]
        self._averages = [tf.Variable(weight, trainable=False) for weight in self._weights]
        self._updates = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._iterations = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._validating = contextlib.ExitStack()

    @property
    def variables(self) -> list[tf.Variable]:
        """Variables that belong to the training state."""
        return [*self._averages, self._updates]

    def in_place(self) -> contextlib.AbstractContextManager:
        """Put the average into the model while the block runs."""
        return in_place(self._weights, self._averages)

    def on_train_begin(self, logs=None):
        # Each stage has its own optimizer, and its own count of updates.
        self._iterations.assign(self._count())
        self._step = tf.function(self._update, autograph=False)

    def on_train_batch_end(self, batch, logs=None):
        self._step()

    def on_test_begin(self, logs=None):
        self._validating.enter_context(self.in_place())

    def on_test_end(self, logs=None):
        self._validating.close()

    def _count(self) -> tf.Tensor:
        return tf.cast(keras.ops.convert_to_tensor(self.model.optimizer.iterations), tf.int64)

    def _update(self) -> None:
        """Update the average if the weights were updated; decided on the device."""
        now = self._count()
        # Neither a part of a batch nor a step that loss scaling skipped is an update.
        updated = tf.cast(now != self._iterations, tf.int64)
        self._iterations.assign(now)
        t = tf.cast(self._updates.assign_add(updated), tf.float64)
        keep = tf.minimum(tf.constant(self._decay, tf.float64), (1.0 + t) / (10.0 + t))
        share = (1.0 - keep) * tf.cast(updated, tf.float64)
        for average, weight in zip(self._averages, self._weights, strict=True):
            average.assign_add(tf.cast(share, average.dtype) * (weight - average))


@contextlib.contextmanager
def in_place(variables: Sequence, values: Sequence) -> Iterator[None]:
    """Give variables other values while the block runs; their own come back unrounded."""
    own = [variable.numpy() for variable in variables]
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    try:
        yield
    finally:
        for variable, value in zip(variables, own, strict=True):
            variable.assign(value)
