"""Attention equals its definition; the variants are the paper's."""

import keras
import numpy as np
import pytest

from breastus.models.layers.stochastic_depth import StochasticDepth
from breastus.models.registry import build_model
from breastus.models.swin.window_attention import WindowAttention


def reference_attention(x, layer):
    """Attention token by token, from the paper's words: [H, W, C] in and out, float64."""
    height, width, channels = x.shape
    window, shift, heads = layer.window, layer.shift, layer.heads
    size = channels // heads
    gamma, beta, kernel, bias = (w.astype(float) for w in layer.qkv.get_weights())
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * gamma + beta
    table = layer.bias_table.numpy().astype(float)
    qkv = (x @ kernel + bias).reshape(height, width, 3, heads, size)

    def window_of(place, side):
        moved = (place - shift) % side  # where the token stands once the map is rolled
        return moved // window, moved % window, place < shift

    out = np.zeros((height, width, heads, size))
    for row in range(height):
        for column in range(width):
            (r, in_r, wrapped_r), (c, in_c, wrapped_c) = (
                window_of(row, height),
                window_of(column, width),
            )
            others, scores = [], []
            for row2 in range(height):
                for column2 in range(width):
                    (r2, in_r2, w_r2), (c2, in_c2, w_c2) = (
                        window_of(row2, height),
                        window_of(column2, width),
                    )
                    same = (r2, c2) == (r, c)
                    # Those that came round the map's edge see only each other.
                    meets = (w_r2, w_c2) == (wrapped_r, wrapped_c)
                    if not (same and meets):
                        continue
                    offset = (in_r - in_r2 + window - 1) * (2 * window - 1)
                    position = table[offset + in_c - in_c2 + window - 1]
                    query, key = qkv[row, column, 0], qkv[row2, column2, 1]
                    scores.append((query * key).sum(-1) / np.sqrt(size) + position)
                    others.append(qkv[row2, column2, 2])
            share = np.exp(np.array(scores) - np.max(scores, axis=0))
            share /= share.sum(axis=0)
            out[row, column] = (share[..., None] * np.array(others)).sum(axis=0)
    kernel, bias = (w.astype(float) for w in layer.projection.get_weights())
    return out.reshape(height, width, channels) @ kernel + bias


@pytest.mark.parametrize(("window", "shift"), [(3, 0), (3, 1), (4, 2), (6, 0)])
def test_attention_equals_its_definition(window, shift):
    side = 12 if window == 4 else 6
    layer = WindowAttention(heads=2, window=window, shift=shift)
    layer.build((None, side, side, 8))
    rng = np.random.default_rng(0)
    layer.set_weights([rng.normal(scale=0.7, size=w.shape) for w in layer.get_weights()])
    x = rng.normal(size=(2, side, side, 8)).astype("float32")
    found = keras.ops.convert_to_numpy(layer(x))
    for image, result in zip(x, found, strict=True):
        np.testing.assert_allclose(result, reference_attention(image, layer), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    # Liu et al., table 1, in millions, with their head of 1,000 classes taken off.
    ("name", "millions"),
    [("swin", 27.5), ("swin_small", 48.8), ("swin_base", 86.7), ("swin_micro", 0.6)],
)
def test_parameters(name, millions):
    assert build_model(name).count_params() / 1e6 == pytest.approx(millions, abs=0.06)


def test_stochastic_depth():
    layer = StochasticDepth(0.25, seed=0)
    x = np.ones((4000, 3), "float32")
    np.testing.assert_array_equal(layer(x), x)
    trained = keras.ops.convert_to_numpy(layer(x, training=True))
    np.testing.assert_allclose(np.unique(trained), [0.0, 1 / 0.75], rtol=1e-6)
    assert (trained.min(axis=1) == trained.max(axis=1)).all()  # whole images
    assert trained.mean() == pytest.approx(1, abs=0.03)
