"""Stochastic depth: training drops the residual branch of a block for some images of a batch.

Reference:
    Huang, Sun, Liu, Sedra, Weinberger: Deep Networks with Stochastic Depth. ECCV 2016.
"""

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable("breastus")
class StochasticDepth(layers.Layer):
    """Drop a residual branch [B, ...] for random images of a batch, and scale up the others.

    Args:
        rate: probability of dropping the branch, at least 0 and below 1.
        seed: seed of the generator, whose state belongs to the training state.
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.rate, self.seed = rate, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, shape):
        self.built = True  # nothing to create; Keras warns about layers that leave this open

    def call(self, x, training=False):
        if not training or self.rate == 0.0:
            return x
        shape = (ops.shape(x)[0], *([1] * (len(x.shape) - 1)))
        drawn = keras.random.uniform(shape, seed=self.seed_generator)
        kept = ops.cast(drawn >= self.rate, x.dtype)
        return x * (kept / ops.cast(1.0 - self.rate, x.dtype))

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}
