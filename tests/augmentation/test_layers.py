"""Each layer: the same seed gives the same image everywhere, other seeds give other images."""

import keras
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import tensorflow as tf

from breastus.augmentation.base import image_seed, random_generator
from breastus.augmentation.layers import (
    Affine,
    GaussianBlur,
    HorizontalFlip,
    JpegQuality,
    MultiplicativeNoise,
    RandomErasing,
)
from breastus.augmentation.policies import build_augmenter, check_policy, list_policies
from breastus.augmentation.ultrasound import LEVELS_PER_DB, GainCurve, Shadow, Speckle
from breastus.errors import ConfigError

SEED = tf.constant([1, 2])

LAYERS = {
    "flip": lambda: HorizontalFlip(probability=0.5),
    "affine": lambda: Affine(scale=0.2, translation=0.2, rotation=30.0),
    "noise": lambda: MultiplicativeNoise(stddev=0.2),
    "blur": lambda: GaussianBlur(sigma=2.0, probability=1.0),
    "jpeg": lambda: JpegQuality(lowest=30),
    "erasing": lambda: RandomErasing(probability=1.0),
    "gain": lambda: GainCurve(gain=6.0, curve=6.0, contrast=0.3),
    "shadow": lambda: Shadow(probability=1.0),
    "speckle": lambda: Speckle(stddev=0.3),
    "study": lambda: build_augmenter("study", erasing=0.5),
    "ultrasound": lambda: build_augmenter("ultrasound"),
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


@pytest.mark.parametrize("name", LAYERS)
def test_whole_levels_are_rounded_once_at_the_end(name, image):
    layer = LAYERS[name]()
    for seed in seeds(4):
        fraction = np.clip(layer(image, seed), 0, 255)
        whole = layer(tf.cast(image, tf.uint8), seed)
        assert whole.dtype == tf.uint8
        np.testing.assert_allclose(whole, fraction, atol=0.51)
    batch = layer(tf.cast(tf.stack([image] * 2), tf.uint8), seeds(2))
    assert batch.dtype == tf.uint8


def test_flip_mirrors(image):
    always = HorizontalFlip(probability=1.0)
    np.testing.assert_array_equal(always(image, SEED), image[:, ::-1])
    never = HorizontalFlip(probability=0.0)
    np.testing.assert_array_equal(never(image, SEED), image)


def test_affine_without_ranges_changes_nothing(image):
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


def test_affine_zooms_between_two_factors_evenly_in_their_logarithm():
    layer = Affine(scale=(0.25, 1.0), translation=0.0, rotation=0.0, fill_mode="constant")
    white = tf.fill([80, 80, 1], 255.0)
    sides = [np.sqrt((layer(white, seed).numpy() / 255.0).sum()) / 80 for seed in seeds(60)]
    assert min(sides) >= 0.24
    assert max(sides) <= 1.0
    assert np.median(sides) == pytest.approx(0.5, abs=0.1)
    again = Affine.from_config(layer.get_config())
    np.testing.assert_array_equal(again(white, SEED), layer(white, SEED))


def test_affine_fills_with_the_image_or_with_black():
    white = tf.fill([40, 40, 3], 200.0)
    smaller = {"scale": (0.5, 0.5), "translation": 0.0, "rotation": 0.0}
    np.testing.assert_allclose(Affine(**smaller)(white, SEED), white, atol=1e-3)
    black = Affine(**smaller, fill_mode="constant")(white, SEED).numpy()
    np.testing.assert_allclose(black[12:28, 12:28], 200.0, atol=1e-3)
    assert black[:8].max() == black[:, 32:].max() == 0.0


def test_noise_is_multiplicative_and_the_same_in_all_channels():
    layer = MultiplicativeNoise(stddev=0.3)
    black = layer(tf.zeros([32, 32, 3]), SEED)
    assert np.abs(black).max() == 0
    noisy = layer(tf.fill([32, 32, 3], 100.0), SEED).numpy()
    np.testing.assert_array_equal(noisy[..., 0], noisy[..., 2])
    assert noisy.std() > 0


def test_blur_equals_scipys(image):
    layer = GaussianBlur(sigma=2.0, probability=1.0)
    for seed in seeds(8):
        rng = random_generator(seed.numpy())
        rng.random()
        sigma = 2.0 * rng.random()
        radius = round(3 * sigma)
        expected = scipy.ndimage.gaussian_filter(
            image.numpy(), (sigma, sigma, 0), mode="reflect", radius=(radius, radius, 0)
        )
        np.testing.assert_allclose(layer(image, seed), expected, atol=0.05)


def test_noise_is_normal_with_the_drawn_strength():
    layer = MultiplicativeNoise(stddev=0.2)
    flat = tf.fill([300, 300, 1], 100.0)
    for seed in seeds(5):
        strength = 20.0 * random_generator(seed.numpy()).random()
        noise = layer(flat, seed).numpy() - 100.0
        assert noise.std() == pytest.approx(strength, rel=0.02)
        assert scipy.stats.kstest(noise.ravel()[:2000] / strength, "norm").pvalue > 1e-3
    huge = layer(tf.ones([1100, 1000, 1]), SEED)  # more pixels than the table has numbers
    assert huge.shape == (1100, 1000, 1)


def test_erasing_covers_a_rectangle_of_the_papers_size():
    image = tf.random.stateless_uniform([60, 80, 3], [1, 1], 0.0, 255.0)
    shares, ratios = [], []
    for seed in seeds(60):
        erased = RandomErasing(probability=1.0)(image, seed).numpy()
        covered = (erased != image.numpy()).any(axis=-1)
        rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert covered.sum() == height * width
        np.testing.assert_allclose(
            erased[covered], np.tile(image.numpy().mean((0, 1)), (height * width, 1)), rtol=1e-4
        )
        shares.append(covered.mean())
        ratios.append(height / width)
    assert 0.01 < min(shares) < 0.06
    assert 0.34 < max(shares) < 0.42
    assert min(ratios) < 0.6
    assert max(ratios) > 2.0


def test_erasing_leaves_some_images_by_its_probability():
    image = tf.random.stateless_uniform([16, 16, 3], [1, 1], 0.0, 255.0)
    layer = RandomErasing(probability=0.3)
    spared = sum(np.array_equal(layer(image, seed), image) for seed in seeds(200))
    assert 0.6 < spared / 200 < 0.8
    assert build_augmenter("none", erasing=0.0) is None
    assert [type(one) for one in build_augmenter("none", erasing=1.0).layers] == [RandomErasing]


def test_seed_depends_on_each_of_its_parts():
    parts = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    drawn = {tuple(image_seed(s, tf.constant(e), tf.constant(i)).numpy()) for s, e, i in parts}
    assert len(drawn) == 4
    many = {
        tuple(image_seed(7, tf.constant(e), tf.constant(i)).numpy())
        for e in range(30)
        for i in range(30)
    }
    assert len(many) == 900


@pytest.mark.parametrize(
    ("layer", "argument", "value"),
    [
        (HorizontalFlip, "probability", 1.5),
        (Affine, "scale", 1.0),
        (Affine, "scale", (0.5, 0.6, 0.7)),
        (Affine, "rotation", -1.0),
        (Affine, "fill_mode", "grey"),
        (MultiplicativeNoise, "stddev", -0.1),
        (GaussianBlur, "sigma", float("nan")),
        (JpegQuality, "lowest", 0),
        (RandomErasing, "probability", 1.1),
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


def test_gain_is_added_in_decibels_and_leaves_black_alone():
    layer = GainCurve(gain=6.0, curve=0.0, contrast=0.0)
    grey = np.full((32, 32, 3), 120.0, np.float32)
    grey[:4] = 0.0
    changes = []
    for seed in seeds(20):
        changed = layer(tf.constant(grey), seed).numpy()
        assert changed[:4].max() == 0
        assert np.ptp(changed[4:]) < 1e-3
        changes.append((changed[-1, 0, 0] - 120.0) / LEVELS_PER_DB)
    assert -6.0 <= min(changes) < -3
    assert 3 < max(changes) <= 6.0


def test_time_gain_changes_along_depth_only():
    changed = GainCurve(gain=0.0, curve=6.0, contrast=0.0)(tf.fill([60, 40, 3], 120.0), SEED)
    assert np.ptp(changed.numpy(), axis=1).max() < 1e-3
    assert np.ptp(changed.numpy()[:, 0, 0]) > 3


def test_a_shadow_darkens_a_part_below_a_depth():
    layer = Shadow(probability=1.0, depth=15.0, width=0.3)
    for seed in seeds(8):
        shadowed = layer(tf.fill([80, 100, 3], 150.0), seed).numpy()[..., 0]
        assert shadowed.max() <= 150
        dark = shadowed < 149
        assert dark.mean() < 0.6
        rows = np.flatnonzero(dark.any(axis=1))
        if rows.size:
            assert rows[-1] == 79
    assert Shadow(probability=0.0)(tf.fill([8, 8, 3], 9.0), SEED).numpy().min() == 9


def test_speckle_comes_in_grains():
    noise = Speckle(stddev=0.5, grain=8.0)(tf.fill([128, 128, 3], 100.0), SEED).numpy()[..., 0]
    noise -= noise.mean()
    beside = (noise[:, 1:] * noise[:, :-1]).mean() / noise.var()
    assert beside > 0.5
