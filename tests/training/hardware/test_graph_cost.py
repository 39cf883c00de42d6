"""Multiply-adds and bytes read off a network's graph, against papers and hand counts."""

import keras
import pytest
from keras import layers

from breastus.models.registry import build_model
from breastus.training.hardware.graph_cost import activation_bytes, flops

SIDES = (222, 111, 109, 54, 52, 26)  # of the study's CNN at 224 pixels: conv, pool, conv, ...


def under(precision, build):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        return build()
    finally:
        keras.config.set_dtype_policy(before)


def test_multiply_adds_of_the_cnn_by_hand():
    convolutions = 222**2 * 27 * 32 + 109**2 * 9 * 32 * 64 + 52**2 * 9 * 64 * 128
    assert flops(build_model("cnn")) == 2 * (convolutions + 26**2 * 128 * 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "published"),
    [
        # Without its ImageNet head: He et al. 2016, at stride 2 in the 3x3 convolution.
        ("resnet50", 4.1e9),
        ("vgg16", 15.3e9),  # the convolutions of Simonyan and Zisserman 2015
        ("swin", 4.5e9),  # Liu et al. 2021, table 1
        ("efficientnet_lite0", 0.4e9),  # Liu 2020
    ],
)
def test_multiply_adds_are_the_published_ones(name, published):
    assert flops(build_model(name)) / 2 == pytest.approx(published, rel=0.07)


def test_einsum_counts_every_index_once():
    image = keras.Input((4, 6, 3))
    x = layers.EinsumDense("bhwc,cd->bhwd", output_shape=(4, 6, 5))(image)
    assert flops(keras.Model(image, x)) == 2 * 4 * 6 * 3 * 5


def test_bytes_of_the_cnn_by_hand():
    conv, pool = SIDES[0::2], SIDES[1::2]
    # Convolution and ReLU in one size, the bias in place, and what the pooling leaves.
    values = 224**2 * 3 + sum(
        filters * (2 * c**2 + p**2) for filters, c, p in zip((32, 64, 128), conv, pool, strict=True)
    )
    features = 26**2 * 128  # dropout draws, compares and selects
    found = activation_bytes(build_model("cnn"))
    assert 4 * values < found < 4 * (values + 6 * features)


def test_half_precision_takes_less():
    plain = activation_bytes(build_model("cnn", image_size=64))
    half = activation_bytes(under("mixed_bfloat16", lambda: build_model("cnn", image_size=64)))
    assert 0.4 * plain < half < 0.7 * plain


def test_scores_of_an_attention_are_counted():
    # Of a block of the first stage: windows, heads, tokens.
    assert activation_bytes(build_model("swin_micro", image_size=112)) > 4 * 16 * 2 * 49 * 49 * 4
