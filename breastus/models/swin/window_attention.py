"""Self-attention within windows of a feature map, the core of a Swin Transformer.

It computes what the original code computes, with fewer copies of the map: bias and mask are added
in one step, and the tokens of a batch form one matrix, so that each dense layer is one product.

Reference:
    Liu et al.: Swin Transformer: Hierarchical Vision Transformer using Shifted Windows. ICCV 2021.
"""

import keras
import numpy as np
from keras import layers, ops

from breastus.models.layers.layer_norm_dense import LayerNormDense

_MASKED = -100.0  # the original's value, added before the softmax


@keras.saving.register_keras_serializable("breastus")
class WindowAttention(layers.Layer):
    """Layer norm, then multi-head self-attention in windows, with a bias by relative position.

    The input has the shape [B, H, W, C], in which H, W and C are fixed, and the output the same.

    Args:
        heads: number of heads; divides the number of channels.
        window: side of a window in tokens; divides the sides of the map.
        shift: cyclic shift of the windows in tokens, down and right, which connects neighbouring
            windows; tokens from opposite edges of the map do not attend to each other.
    """

    def __init__(self, heads: int, window: int, shift: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.heads, self.window, self.shift = heads, window, shift
        self._index = relative_position_index(window)

    def build(self, shape):
        _, height, width, channels = shape
        self.qkv = LayerNormDense(3 * channels, dtype=self.dtype_policy, name="qkv")
        self.qkv.build((None, channels))
        self.projection = layers.Dense(channels, dtype=self.dtype_policy, name="projection")
        self.projection.build((None, channels))
        # Queries are divided by the root of their size.
        self._factors = np.ones(3 * channels, np.float32)
        self._factors[:channels] = (channels // self.heads) ** -0.5
        self.bias_table = self.add_weight(
            shape=((2 * self.window - 1) ** 2, self.heads),
            initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            name="bias_table",
        )
        self._mask = shift_mask(height, width, self.window, self.shift) if self.shift else None

    def call(self, x):
        _, height, width, channels = x.shape
        window, heads, size = self.window, self.heads, channels // self.heads
        rows, columns, tokens = height // window, width // window, window**2
        if self.shift:
            x = ops.roll(x, (-self.shift, -self.shift), (1, 2))

        # Cut into windows first: from here to the projection a window's tokens stand together, as
        # rows of one matrix where nothing is mixed between them.
        x = ops.reshape(x, (-1, rows, window, columns, window, channels))
        x = ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, channels))
        qkv = self.qkv(x, factors=self._factors)
        qkv = ops.reshape(qkv, (-1, rows * columns, tokens, 3, heads, size))
        # Unstacked, not indexed: the gradient is then put together once, not three times in zeros.
        query, key, value = ops.unstack(ops.transpose(qkv, (3, 0, 1, 4, 2, 5)), axis=0)

        bias = ops.transpose(ops.take(self.bias_table, self._index, axis=0), (2, 0, 1))[None]
        if self._mask is not None:
            bias = bias + ops.cast(self._mask, bias.dtype)
        scores = ops.matmul(query, ops.swapaxes(key, -1, -2)) + ops.cast(bias, query.dtype)
        x = ops.matmul(ops.softmax(scores, axis=-1), value)

        x = ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4)), (-1, channels))
        x = ops.reshape(self.projection(x), (-1, rows, columns, window, window, channels))
        x = ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, height, width, channels))
        return ops.roll(x, (self.shift, self.shift), (1, 2)) if self.shift else x

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        own = {"heads": self.heads, "window": self.window, "shift": self.shift}
        return {**super().get_config(), **own}


def relative_position_index(window: int) -> np.ndarray:
    """Return the row of the bias table for each pair of tokens, int32 [window^2, window^2]."""
    place = np.indices((window, window)).reshape(2, -1)
    dy, dx = place[:, :, None] - place[:, None, :] + window - 1
    return (dy * (2 * window - 1) + dx).astype(np.int32)


def shift_mask(height: int, width: int, window: int, shift: int) -> np.ndarray:
    """Return the mask of token pairs that only the shift across the map's edge brings together.

    It is float32 [windows, 1, window^2, window^2]: 0 for pairs that may meet, -100 for the others.
    """

    def region(side: int) -> np.ndarray:
        position = np.arange(side)
        return (position >= side - window).astype(int) + (position >= side - shift)

    regions = region(height)[:, None] * 3 + region(width)[None, :]
    cut = regions.reshape(height // window, window, width // window, window)
    tokens = cut.transpose(0, 2, 1, 3).reshape(-1, window**2)
    apart = tokens[:, :, None] != tokens[:, None, :]
    return np.where(apart, _MASKED, 0.0).astype(np.float32)[:, None]
