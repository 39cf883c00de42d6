"""Hidden patches: their number, content and loss, and the statistics of batch norms."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from breastus.errors import ConfigError, ModelError
from breastus.models.registry import build_model
from breastus.training.pretraining.masked_modeling import (
    FILLS,
    HidePatches,
    MaskedL1,
    area_of,
    check_masking,
    hide,
    masked_model,
)
from breastus.training.pretraining.tasks import recompute_batchnorm

IMAGES = np.random.default_rng(0).normal(size=(3, 32, 32, 3)).astype("float32")
SEEDS = tf.constant([[0, 1], [0, 2], [0, 3]])
WHOLE = (0, 0, 32, 32)


def hidden_of(seeds=SEEDS, ratio=0.6):
    inputs, targets = hide(tf.constant(IMAGES), None, seeds, patch=8, ratio=ratio, area=WHOLE)
    return inputs["hidden"].numpy()[..., 0], targets.numpy()


def test_each_image_hides_its_share_by_its_own_seed():
    hidden, targets = hidden_of()
    assert hidden.shape == (3, 4, 4)
    np.testing.assert_array_equal(hidden.sum(axis=(1, 2)), 10)  # 9.6 of 16, rounded up
    np.testing.assert_array_equal(hidden, hidden_of()[0])
    assert not np.array_equal(hidden[0], hidden[1])
    alone = hidden_of(tf.concat([SEEDS[1:], SEEDS[:1]], 0))[0]
    np.testing.assert_array_equal(alone[0], hidden[1])
    np.testing.assert_array_equal(targets[..., :3], IMAGES)
    np.testing.assert_array_equal(targets[..., 3], hidden.repeat(8, axis=1).repeat(8, axis=2))


@pytest.mark.parametrize("fill", FILLS)
def test_nothing_of_a_hidden_patch_is_seen_and_the_rest_is_left_alone(fill):
    hidden = hidden_of()[0][..., None]
    pixels = hidden.repeat(8, axis=1).repeat(8, axis=2)
    layer = HidePatches(fill)
    shown = layer(IMAGES, hidden).numpy()
    np.testing.assert_array_equal(shown[pixels[..., 0] == 0], IMAGES[pixels[..., 0] == 0])
    others = IMAGES + 100 * pixels
    np.testing.assert_array_equal(layer(others, hidden).numpy(), shown)
    filling = shown[0][pixels[0, ..., 0] == 1]
    if fill == "mean":
        np.testing.assert_allclose(filling, IMAGES[0][pixels[0, ..., 0] == 0].mean(), atol=1e-6)
    if fill == "zero":
        assert not filling.any()
    assert len(layer.trainable_variables) == (fill == "token")
    assert HidePatches.from_config(layer.get_config()).fill == fill


def test_only_hidden_pixels_count():
    targets = hidden_of()[1]
    predicted = np.random.default_rng(1).normal(size=IMAGES.shape).astype("float32")
    pixels = targets[..., 3] == 1
    expected = np.abs(predicted - IMAGES)[pixels].mean()  # as many are hidden in each image
    loss = MaskedL1()
    np.testing.assert_allclose(loss(targets, predicted), expected, rtol=1e-5)
    other = predicted + 50 * ~pixels[..., None]
    np.testing.assert_allclose(loss(targets, other), expected, rtol=1e-5)
    assert float(loss(targets, predicted + 1)) != pytest.approx(expected, rel=1e-3)
    nothing = targets * np.float32([1, 1, 1, 0])
    assert float(loss(nothing, predicted)) == 0.0  # not NaN


def test_a_cell_of_the_map_becomes_its_own_square_of_the_image():
    model = masked_model(build_model("compact", image_size=64), patch=16, fill="zero")
    assert model.output_shape == (None, 64, 64, 3)  # of a map of 2 x 2
    decoder = model.get_layer("decoder")
    kernel, bias = decoder.get_weights()
    decoder.set_weights([0 * kernel, np.arange(len(bias), dtype="float32")])
    inputs = {"image": np.zeros((1, 64, 64, 3)), "hidden": np.zeros((1, 4, 4, 1))}
    found = model.predict(inputs, verbose=0)[0]
    square = np.arange(32 * 32 * 3).reshape(32, 32, 3)  # row by row, colour by colour
    np.testing.assert_array_equal(found, np.tile(square, (2, 2, 1)))


def test_a_network_whose_map_does_not_reach_the_borders_says_the_middle():
    model = masked_model(build_model("cnn", image_size=224), patch=16, fill="zero")
    assert area_of(model, 224) == (8, 8, 208, 208)
    inputs, targets = hide(
        tf.zeros([1, 224, 224, 3]), None, SEEDS[:1], patch=16, ratio=0.5, area=area_of(model, 224)
    )
    assert inputs["image"].shape == (1, 224, 224, 3)
    assert targets.shape == (1, 208, 208, 4)


def test_a_network_without_a_map_is_refused():
    model = keras.Sequential(
        [keras.Input((32, 32, 3)), keras.layers.Flatten(), keras.layers.Dense(2, name="features")]
    )
    with pytest.raises(ModelError, match=r"layer named feature_map.*Pretrain on phantoms"):
        masked_model(model, patch=8, fill="zero")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fill": "noise"}, "fill must be one of token, mean, zero. Received: 'noise'"),
        ({"patch": 15}, "divides the image_size of 224, such as 28, 32, 56, 112. Received: 15"),
        ({"patch": 224}, "patch must be"),
        ({"patch": 14, "fill": "token"}, "multiple of 4.* for fill=token"),
        ({"ratio": 0.0}, "mask_ratio must be above 0"),
        ({"ratio": 0.99}, "leave some of the 49 patches visible. Received: 0.99"),
    ],
)
def test_impossible_maskings_are_refused(arguments, message):
    check_masking(224, patch=32, ratio=0.6, fill="zero")
    with pytest.raises(ConfigError, match=message):
        check_masking(224, **{"patch": 32, "ratio": 0.6, "fill": "zero", **arguments})


def test_batch_norms_get_the_mean_of_what_they_see():
    layer = keras.layers.BatchNormalization(momentum=0.9)
    model = keras.Sequential([keras.Input((4, 4, 3)), layer])
    layer.moving_mean.assign([9.0, 9.0, 9.0])
    batches = [IMAGES[:2, :4, :4] + shift for shift in (0.0, 1.0, 5.0)]
    recompute_batchnorm(model, batches)
    expected = np.mean([batch.mean(axis=(0, 1, 2)) for batch in batches], axis=0)
    np.testing.assert_allclose(layer.moving_mean, expected, rtol=1e-5)
    expected = np.mean([batch.var(axis=(0, 1, 2)) for batch in batches], axis=0)
    np.testing.assert_allclose(layer.moving_variance, expected, rtol=1e-4)
    assert layer.momentum == 0.9
