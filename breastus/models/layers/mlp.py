"""The MLP of a Transformer block: layer norm, dense, GELU, dense, for each token.

Numerically Keras' layers of these names. The tokens of a batch are one matrix here from the first
product to the last: so TensorFlow's oneDNN kernels add the bias and, in prediction, GELU within the
product. In training, GELU and its gradient are written out, in half the passes over memory.
"""

import math

import keras
import tensorflow as tf
from keras import layers, ops

from breastus.models.layers.layer_norm_dense import LayerNormDense

_SQRT_HALF = 0.5**0.5
_SLOPE = 2.0 / math.sqrt(math.pi)  # of erf at 0


@keras.saving.register_keras_serializable("breastus")
class Mlp(layers.Layer):
    """Layer norm, dense (wider), GELU, dense (back to the input's width), for each token.

    The input has the shape [B, ..., C], in which all but B are fixed, and the output the same.

    Args:
        ratio: hidden width divided by input width; 4 in the original Transformer.
    """

    def __init__(self, ratio: int = 4, **kwargs):
        super().__init__(**kwargs)
        self.ratio = ratio

    def build(self, shape):
        channels = shape[-1]
        width = self.ratio * channels
        self.widen = LayerNormDense(width, dtype=self.dtype_policy, name="widen")
        self.widen.build((None, channels))
        self.narrow = layers.Dense(channels, dtype=self.dtype_policy, name="narrow")
        self.narrow.build((None, width))

    def call(self, x, training=False):
        tokens = ops.reshape(x, (-1, x.shape[-1]))
        y = self._train(tokens) if training else self.narrow(_gelu(self.widen(tokens)))
        return ops.reshape(y, (-1, *x.shape[1:]))

    def _train(self, tokens):
        # gelu(x) = sqrt(1/2) * g(sqrt(1/2) * x): both factors go into kernels, which are small.
        y = _scaled_gelu(self.widen(tokens, factors=_SQRT_HALF))
        kernel = ops.cast(_SQRT_HALF * self.narrow.kernel, y.dtype)
        return tf.nn.bias_add(ops.matmul(y, kernel), ops.cast(self.narrow.bias, y.dtype))

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        return {**super().get_config(), "ratio": self.ratio}


def _gelu(x):
    # Written out with erf, as that is the form in which TensorFlow recognises it.
    half, root = ops.cast(0.5, x.dtype), ops.cast(_SQRT_HALF, x.dtype)
    return half * x * (1 + ops.erf(x * root))


@ops.custom_gradient
def _scaled_gelu(t):
    """Return g(t) = t * (1 + erf(t)), with its gradient in as few passes as can be."""
    share = 1 + ops.erf(t)

    def gradient(*args, upstream=None):
        (upstream,) = args if upstream is None else (upstream,)
        # TensorFlow joins the three operations in the exponential into one.
        slope = ops.exp(ops.negative(ops.square(t))) * t
        return upstream * (share + ops.cast(_SLOPE, t.dtype) * slope)

    return t * share, gradient
