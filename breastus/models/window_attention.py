"""Self-attention within windows of a feature map, the heart of a Swin Transformer.

Numerically that of KerasHub's and the original code; here cutting into windows is part of the
transposition that attention needs anyway, and bias and mask are added at once.

Reference:
    Liu et al.: Swin Transformer: Hierarchical Vision Transformer using Shifted Windows. ICCV 2021.
"""

import keras
import numpy as np
from keras import layers, ops

_MASKED = -100.0  # the original's value, added before the softmax


@keras.saving.register_keras_serializable("breastus")
class WindowAttention(layers.Layer):
    """Multi-head self-attention within windows, with a learned bias by relative position.

    Args:
        heads: number of heads; divides the channels.
        window: side of a window in tokens; divides the map's sides.
        shift: by how many tokens the windows are moved down and right, so that neighbouring ones
            exchange what they know; tokens that only meet across the map's edge stay apart.

    Input shape:
        [B, H, W, C]; H, W and C are fixed.

    Output shape:
        As the input.
    """

    def __init__(self, heads: int, window: int, shift: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.heads, self.window, self.shift = heads, window, shift
        self._index = relative_position_index(window)

    def build(self, shape):
        _, height, width, channels = shape
        if height % self.window or width % self.window or channels % self.heads:
            raise ValueError(
                f"window must divide height and width, and heads the channels. Received: "
                f"window={self.window}, heads={self.heads}, shape={tuple(shape)}"
            )
        self.qkv = layers.Dense(3 * channels, dtype=self.dtype_policy, name="qkv")
        self.qkv.build(shape)
        self.projection = layers.Dense(channels, dtype=self.dtype_policy, name="projection")
        self.projection.build(shape)
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

        # [B, H, W, 3C] to query, key and value of [B, windows, heads, tokens, size] in one go.
        qkv = ops.reshape(self.qkv(x), (-1, rows, window, columns, window, 3, heads, size))
        qkv = ops.transpose(qkv, (5, 0, 1, 3, 6, 2, 4, 7))
        qkv = ops.reshape(qkv, (3, -1, rows * columns, heads, tokens, size))
        query, key, value = qkv[0] * ops.cast(size**-0.5, qkv.dtype), qkv[1], qkv[2]

        bias = ops.transpose(ops.take(self.bias_table, self._index, axis=0), (2, 0, 1))[None]
        if self._mask is not None:
            bias = bias + ops.cast(self._mask, bias.dtype)
        scores = ops.matmul(query, ops.swapaxes(key, -1, -2)) + ops.cast(bias, query.dtype)
        x = ops.matmul(ops.softmax(scores, axis=-1), value)

        x = ops.reshape(x, (-1, rows, columns, heads, window, window, size))
        x = ops.transpose(x, (0, 1, 4, 2, 5, 3, 6))
        x = self.projection(ops.reshape(x, (-1, height, width, channels)))
        return ops.roll(x, (self.shift, self.shift), (1, 2)) if self.shift else x

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        own = {"heads": self.heads, "window": self.window, "shift": self.shift}
        return {**super().get_config(), **own}


def relative_position_index(window: int) -> np.ndarray:
    """Return the row of the bias table for each pair of tokens, int32 [window^2, window^2]."""
    place = np.stack(np.meshgrid(np.arange(window), np.arange(window), indexing="ij")).reshape(
        2, -1
    )
    dy, dx = place[:, :, None] - place[:, None, :] + window - 1
    return (dy * (2 * window - 1) + dx).astype(np.int32)


def shift_mask(height: int, width: int, window: int, shift: int) -> np.ndarray:
    """Return what keeps tokens apart that the shift brought together across the map's edge.

    Returns:
        float32 [windows, 1, window^2, window^2]: 0 for pairs that may meet, -100 for the others.
    """

    def region(side: int) -> np.ndarray:
        position = np.arange(side)
        return (position >= side - window).astype(int) + (position >= side - shift)

    regions = region(height)[:, None] * 3 + region(width)[None, :]
    cut = regions.reshape(height // window, window, width // window, window)
    tokens = cut.transpose(0, 2, 1, 3).reshape(-1, window**2)
    apart = tokens[:, :, None] != tokens[:, None, :]
    return np.where(apart, _MASKED, 0.0).astype(np.float32)[:, None]
