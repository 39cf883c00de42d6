"""What follows attention in a Transformer's block: norm, dense, GELU, dense, token by token.

Numerically Keras' layers of these names. The tokens of a batch are one matrix here from the first
product to the last: so TensorFlow's oneDNN kernels add the bias and, in prediction, GELU within the
product. In training, GELU's gradient is written out, in half the passes.
"""

import math

import keras
from keras import layers, ops

from breastus.models.normed_dense import NormedDense

_SQRT_HALF = 0.5**0.5
_DENSITY = 1.0 / math.sqrt(2.0 * math.pi)  # of the normal distribution at 0


@keras.saving.register_keras_serializable("breastus")
class Mlp(layers.Layer):
    """Normalise each token, widen it, bend it with GELU, narrow it again.

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
        width = self.ratio * channels
        self.widen = NormedDense(width, dtype=self.dtype_policy, name="widen")
        self.widen.build((None, channels))
        self.narrow = layers.Dense(channels, dtype=self.dtype_policy, name="narrow")
        self.narrow.build((None, width))

    def call(self, x, training=False):
        shape = x.shape
        x = self.widen(ops.reshape(x, (-1, shape[-1])))
        x = _gelu_to_train(x) if training else _gelu(x)
        return ops.reshape(self.narrow(x), (-1, *shape[1:]))

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        return {**super().get_config(), "ratio": self.ratio}


def _gelu(x):
    # Written out with erf, as that is the form in which TensorFlow recognises it.
    half, root = ops.cast(0.5, x.dtype), ops.cast(_SQRT_HALF, x.dtype)
    return half * x * (1 + ops.erf(x * root))


@ops.custom_gradient
def _gelu_to_train(x):
    half, root = ops.cast(0.5, x.dtype), ops.cast(_SQRT_HALF, x.dtype)
    share = half + half * ops.erf(x * root)  # of the normal distribution below x

    def gradient(*args, upstream=None):
        (upstream,) = args if upstream is None else (upstream,)
        density = ops.exp(-half * x * x) * ops.cast(_DENSITY, x.dtype)
        return upstream * (share + x * density)

    return x * share, gradient
