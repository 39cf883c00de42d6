"""The two dense layers behind a Transformer's attention, with GELU between them.

Numerically two Keras `Dense`. The tokens of a batch are one matrix here from the first product to
the last: so TensorFlow's oneDNN kernels add the bias and, in prediction, GELU within the product.
"""

import keras
from keras import layers, ops

_SQRT_HALF = 0.5**0.5


@keras.saving.register_keras_serializable("breastus")
class Mlp(layers.Layer):
    """Widen each token, bend it with GELU, narrow it again.

    Args:
        ratio: by how much it is widened; 4 in the Transformers of the literature.

    Input shape:
        [B, ..., C]; all but B are fixed.

    Output shape:
        As the input.
    """

    def __init__(self, ratio: int = 4, **kwargs):
        super().__init__(**kwargs)
        self.ratio = ratio

    def build(self, shape):
        channels = shape[-1]
        self.widen = layers.Dense(self.ratio * channels, dtype=self.dtype_policy, name="widen")
        self.widen.build((None, channels))
        self.narrow = layers.Dense(channels, dtype=self.dtype_policy, name="narrow")
        self.narrow.build((None, self.ratio * channels))

    def call(self, x):
        shape = x.shape
        x = self.widen(ops.reshape(x, (-1, shape[-1])))
        # Written out with erf, as that is the form in which TensorFlow recognises it.
        x = ops.cast(0.5, x.dtype) * x * (1 + ops.erf(x * ops.cast(_SQRT_HALF, x.dtype)))
        return ops.reshape(self.narrow(x), (-1, *shape[1:]))

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        return {**super().get_config(), "ratio": self.ratio}
