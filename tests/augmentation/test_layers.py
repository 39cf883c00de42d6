"""Each layer: the same seed gives the same image everywhere, other seeds give other images."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from breastus.augmentation.layers import (
    Affine,
    GaussianBlur,
    HorizontalFlip,
    JpegQuality,
    MultiplicativeNoise,
    image_seed,
)
from breastus.augmentation.policies import build_augmenter, check_policy, list_policies
from breastus.errors import ConfigError

SEED = tf.constant([1, 2])

LAYERS = {
    "flip": lambda: HorizontalFlip(probability=0.5),
    "affine": lambda: Affine(scale=0.2, translation=0.2, rotation=30.0),
    "noise": lambda: MultiplicativeNoise(stddev=0.2),
    "blur": lambda: GaussianBlur(sigma=2.0, probability=1.0),
    "jpeg": lambda: JpegQuality(lowest=30),
    "study": lambda: build_augmenter("study"),
}


@pytest.fixture
def image(speckle):
    return tf.constant(speckle(48, 64), tf.float32)


def seeds(count):
    return tf.stack([image_seed(3, tf.constant(1), tf.constant(i)) for i in range(count)])


@pytest.mark.parametrize("name", LAYERS)
def test_layer_contract(name, image):
    layer = LAYERS[name]()
    drawn = seeds(12)
    alone = [layer(image, seed).numpy() for seed in drawn]
    assert all(one.shape == image.shape and one.dtype == np.float32 for one in alone)

    # One level apart at most: JPEG rounds, and a graph may fuse multiplications.
    tolerance = 1.01 if name == "jpeg" else 1e-2
    batch = layer(tf.stack([image] * 12), drawn).numpy()
    np.testing.assert_allclose(batch, alone, atol=tolerance)
    dataset = tf.data.Dataset.from_tensor_slices(drawn).map(
        lambda seed: layer(image, seed), num_parallel_calls=4
    )
    np.testing.assert_allclose(list(dataset.as_numpy_iterator()), alone, atol=tolerance)

    distinct = {one.tobytes() for one in alone}
    assert len(distinct) == 2 if name == "flip" else len(distinct) > 8

    config = keras.saving.serialize_keras_object(layer)
    copy = keras.saving.deserialize_keras_object(config)
    np.testing.assert_array_equal(copy(image, drawn[0]), alone[0])


def test_flip_mirrors(image):
    always = HorizontalFlip(probability=1.0)
    np.testing.assert_array_equal(always(image, SEED), image[:, ::-1])
    never = HorizontalFlip(probability=0.0)
    np.testing.assert_array_equal(never(image, SEED), image)


def test_affine_of_nothing_changes_nothing(image):
    same = Affine(scale=0.0, translation=0.0, rotation=0.0)(image, SEED)
    np.testing.assert_allclose(same, image, atol=1e-3)


def test_affine_turns_about_the_centre():
    layer = Affine(scale=0.0, translation=0.0, rotation=40.0)
    spot = np.zeros((41, 41, 1), np.float32)
    spot[20, 20] = 255.0
    for seed in seeds(5):
        turned = layer(tf.constant(spot), seed).numpy()
        assert np.unravel_index(turned.argmax(), turned.shape)[:2] == (20, 20)


def test_affine_shifts_in_both_directions_alike():
    layer = Affine(scale=0.0, translation=0.3, rotation=0.0)
    spot = np.zeros((61, 61, 1), np.float32)
    spot[30, 30] = 255.0
    places = [
        np.unravel_index(layer(tf.constant(spot), s).numpy().argmax(), (61, 61)) for s in seeds(40)
    ]
    offsets = np.array(places) - 30
    assert (np.abs(offsets) <= 19).all()
    assert (offsets.min(axis=0) < -5).all()
    assert (offsets.max(axis=0) > 5).all()


def test_noise_is_multiplicative_and_the_same_in_all_channels():
    layer = MultiplicativeNoise(stddev=0.3)
    black = layer(tf.zeros([32, 32, 3]), SEED)
    assert np.abs(black).max() == 0
    noisy = layer(tf.fill([32, 32, 3], 100.0), SEED).numpy()
    np.testing.assert_array_equal(noisy[..., 0], noisy[..., 2])
    assert noisy.std() > 0


def test_blur_keeps_the_mean_and_equals_opencv(image):
    import cv2

    layer = GaussianBlur(sigma=2.0, probability=1.0)
    seed = seeds(1)[0]
    sigma = float(tf.random.stateless_uniform([2], seed)[1]) * 2.0
    expected = cv2.GaussianBlur(image.numpy(), (13, 13), sigma, borderType=cv2.BORDER_REFLECT)
    np.testing.assert_allclose(layer(image, seed), expected, atol=0.05)


def test_seed_depends_on_each_of_its_parts():
    parts = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    drawn = {tuple(image_seed(s, tf.constant(e), tf.constant(i)).numpy()) for s, e, i in parts}
    assert len(drawn) == 4


@pytest.mark.parametrize(
    ("layer", "argument", "value"),
    [
        (HorizontalFlip, "probability", 1.5),
        (Affine, "scale", 1.0),
        (Affine, "rotation", -1.0),
        (MultiplicativeNoise, "stddev", -0.1),
        (GaussianBlur, "sigma", float("nan")),
        (JpegQuality, "lowest", 0),
    ],
)
def test_impossible_ranges_are_refused(layer, argument, value):
    with pytest.raises(ConfigError, match=f"{argument} must be"):
        layer(**{argument: value})


@pytest.mark.parametrize("policy", list_policies())
def test_policies_stay_in_the_value_range(policy, image):
    augmenter = build_augmenter(policy)
    if policy == "none":
        assert augmenter is None
        return
    for seed in seeds(6):
        result = augmenter(image, seed).numpy()
        assert result.min() >= 0
        assert result.max() <= 255


def test_unknown_policy_names_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean study"):
        check_policy("studdy")
