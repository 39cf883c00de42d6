"""The fused layers equal Keras' own, in values and in gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from breastus.models.layers.layer_norm_dense import LayerNormDense
from breastus.models.layers.mlp import Mlp


def randomised(layer):
    rng = np.random.default_rng(0)
    layer.set_weights([w + rng.normal(scale=0.3, size=w.shape) for w in layer.get_weights()])
    return layer


def value_and_gradients(call, x, variables, upstream):
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = call(x)
    return [y, *tape.gradient(y, [x, *variables], upstream)]


def assert_equal(ours, theirs, x, variables, their_variables):
    y = theirs(x)
    upstream = tf.constant(np.random.default_rng(2).normal(size=y.shape), y.dtype)
    found = value_and_gradients(ours, x, variables, upstream)
    expected = value_and_gradients(theirs, x, their_variables, upstream)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.fixture
def tokens():
    # Off centre and of several scales: what a norm is for.
    rng = np.random.default_rng(1)
    x = 3.0 + rng.normal(size=(2, 5, 6, 8)) * rng.uniform(0.1, 4.0, (2, 5, 6, 1))
    return tf.constant(x, tf.float32)


@pytest.mark.parametrize("use_bias", [True, False])
def test_normed_dense_is_layer_norm_and_dense(tokens, use_bias):
    layer = LayerNormDense(7, use_bias=use_bias)
    layer.build(tokens.shape)
    gamma, beta, *rest = randomised(layer).get_weights()
    norm, dense = layers.LayerNormalization(epsilon=1e-5), layers.Dense(7, use_bias=use_bias)
    dense(norm(tokens))
    norm.set_weights([gamma, beta])
    dense.set_weights(rest)
    theirs = lambda x: dense(norm(x))  # noqa: E731
    variables = [v.value for v in layer.weights]
    assert_equal(layer, theirs, tokens, variables, [v.value for v in norm.weights + dense.weights])
    scaled = layer(tokens, factors=np.arange(7))
    np.testing.assert_allclose(scaled, theirs(tokens) * np.arange(7), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("training", [True, False])
def test_mlp_is_norm_dense_gelu_dense(tokens, training):
    layer = Mlp(ratio=3)
    layer.build(tokens.shape)
    weights = randomised(layer).get_weights()
    theirs = keras.Sequential(
        [
            layers.LayerNormalization(epsilon=1e-5),
            layers.Dense(24, activation="gelu"),
            layers.Dense(8),
        ]
    )
    theirs(tokens)
    theirs.set_weights(weights)
    assert_equal(
        lambda x: layer(x, training=training),
        theirs,
        tokens,
        [v.value for v in layer.weights],
        [v.value for v in theirs.weights],
    )
