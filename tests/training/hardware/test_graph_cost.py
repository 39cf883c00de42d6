"""Multiply-adds and tensors read off a network's graph, against papers and hand counts."""

import keras
import pytest
from keras import layers

from breastus.models.registry import build_model
from breastus.training.hardware.memory_trace import flops, footprint

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


def test_what_the_cnn_keeps_for_its_gradients_by_hand():
    conv, pool = SIDES[0::2], SIDES[1::2]
    values = 224**2 * 3 + sum(
        filters * (c**2 + p**2) for filters, c, p in zip((32, 64, 128), conv, pool, strict=True)
    )
    features = 26**2 * 128  # dropout keeps what it let through, and which that was, a byte each
    found = footprint(build_model("cnn"))
    two_probabilities = 2 * 4
    assert found.kept(1) - found.kept(0) == 4 * values + 5 * features + two_probabilities
    # The gradient of the first convolution's output lives beside all that.
    assert found.peak(1) - found.peak(0) > 4 * (values + 222**2 * 32) * 0.99


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cnn", "swin_micro", "compact"])
def test_half_precision_keeps_less_and_the_batch_counts_linearly(name):
    plain = footprint(build_model(name, image_size=224))
    half = footprint(under("mixed_bfloat16", lambda: build_model(name, image_size=224)))
    assert half.kept(16) < 0.9 * plain.kept(16)
    assert plain.kept(32) - plain.kept(16) == pytest.approx(
        plain.kept(16) - plain.kept(0), rel=0.01
    )


def test_prediction_needs_less_than_training():
    model = build_model("compact", image_size=64)
    assert footprint(model, training=False).peak(8) < 0.5 * footprint(model).peak(8)


def test_scores_of_an_attention_are_counted():
    model = build_model("swin_micro", image_size=112)
    scores = 16 * 2 * 49 * 49 * 4  # windows, heads, tokens: of a block of the first stage
    found = footprint(model)
    assert found.kept(1) - found.kept(0) > 2 * scores
