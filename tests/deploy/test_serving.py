"""The exported graph says what NumPy says: calibrators and views."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy_views import apply_view, mean_of_logits

from breastus.data.images import to_png
from breastus.deploy.serving import ServingModule
from breastus.evaluation.calibration.calibrators import Calibrator
from breastus.evaluation.predictions import lump_probability
from breastus.evaluation.tta import VIEWS
from breastus.preprocessing.transform import Transform
from breastus.training.predict_fn import mean_over_views, view_images

CALIBRATORS = {
    "none": Calibrator(),
    "temperature": Calibrator("temperature", temperature=2.5),
    "shifted": Calibrator("temperature", temperature=1.5, shift=-0.8),
    "platt": Calibrator("platt", slope=0.6, intercept=-0.4),
    "isotonic": Calibrator("isotonic", knots=((0.0, 0.1), (0.3, 0.1), (0.6, 0.8), (1.0, 0.95))),
}


def network(seed, size=24, sharp=3.0, classes=2):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((size, size, 3)),
            keras.layers.Conv2D(4, 5, 2, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(classes, activation="softmax", kernel_initializer=_spread(sharp)),
        ]
    )


def _spread(sharp):
    return keras.initializers.RandomNormal(stddev=sharp / 20, seed=1)


@pytest.fixture
def scans(speckle):
    return [speckle(60, 80, seed) for seed in range(6)]


def served(module, scans, tmp_path):
    module.save(tmp_path / "served")
    loaded = tf.saved_model.load(str(tmp_path / "served"))
    found = loaded.signatures["predict_bytes"](tf.constant([to_png(scan) for scan in scans]))
    np.testing.assert_allclose(tf.reduce_sum(found["probabilities"], 1), 1, atol=1e-6)
    np.testing.assert_array_equal(found["lump"], found["probabilities"][:, 1])
    return found["lump"].numpy()


def pixels_of(transform, scans):
    return tf.stack([transform.crop_and_resize(tf.constant(scan)) for scan in scans])


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(name, marks=() if name in ("platt", "isotonic") else pytest.mark.slow)
        for name in CALIBRATORS
    ],
)
def test_calibrators_in_the_graph(scans, tmp_path, method):
    transform, model = Transform(image_size=24), network(0)
    raw = model.predict(transform.normalize(pixels_of(transform, scans)), verbose=0)
    expected = CALIBRATORS[method].apply(lump_probability(raw))
    assert np.ptp(expected) > 0.05
    module = ServingModule(model, transform, [CALIBRATORS[method]])
    np.testing.assert_allclose(served(module, scans, tmp_path), expected, atol=1e-5)


def test_the_network_is_traced_once_for_all_signatures(tmp_path):
    class Counting:
        def __init__(self, model):
            self.model, self.variables, self.traced = model, model.variables, 0

        def __call__(self, inputs, training):
            self.traced += 1
            return self.model(inputs, training=training)

    counting = Counting(network(0))
    ServingModule(counting, Transform(image_size=24)).save(tmp_path / "served")
    assert counting.traced == 1


@pytest.mark.parametrize("method", CALIBRATORS)
@pytest.mark.parametrize("views", ["none", "flip"])
def test_findings_are_merged_calibrated_and_shared_again(scans, method, views):
    transform, model = Transform(image_size=24), network(0, classes=3)
    pixels = pixels_of(transform, scans)
    raw = mean_over_views(
        lambda view: model.predict(transform.normalize(view_images(view, pixels)), verbose=0),
        VIEWS[views],
    )
    lump = CALIBRATORS[method].apply(raw[:, 1] + raw[:, 2])
    shares = raw[:, 1:] / raw[:, 1:].sum(axis=1, keepdims=True)
    assert np.ptp(lump) > 0.05
    assert np.ptp(shares) > 0.05
    module = ServingModule(model, transform, [CALIBRATORS[method]], VIEWS[views])
    found = module.serving_default(tf.constant(np.stack(scans)))
    np.testing.assert_allclose(found["lump"], lump, atol=1e-5)
    np.testing.assert_allclose(found["probabilities"], np.stack([1 - lump, lump], 1), atol=1e-5)
    expected = np.concatenate([1 - lump[:, None], lump[:, None] * shares], axis=1)
    np.testing.assert_allclose(found["findings"], expected, atol=1e-5)


@pytest.mark.parametrize("method", CALIBRATORS)
def test_a_recalibrator_comes_after_the_calibrator(scans, method):
    transform, model = Transform(image_size=24), network(0)
    raw = lump_probability(
        model.predict(transform.normalize(pixels_of(transform, scans)), verbose=0)
    )
    again = Calibrator("platt", slope=0.7, intercept=1.2)
    module = ServingModule(model, transform, [CALIBRATORS[method], again])
    found = module.serving_default(tf.constant(np.stack(scans)))["lump"]
    expected = again.apply(CALIBRATORS[method].apply(raw))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("views", [pytest.param("flip", marks=pytest.mark.slow), "all"])
def test_views_in_the_graph_are_those_of_the_evaluation(scans, tmp_path, views):
    transform, model = Transform(image_size=24), network(1)
    pixels = pixels_of(transform, scans)

    def predict(images):
        return lump_probability(model.predict(transform.normalize(tf.constant(images)), verbose=0))

    expected = mean_of_logits([predict(apply_view(view, pixels.numpy())) for view in VIEWS[views]])
    mean = mean_over_views(
        lambda view: model.predict(transform.normalize(view_images(view, pixels)), verbose=0),
        VIEWS[views],
    )
    np.testing.assert_allclose(mean[:, 1], expected, atol=1e-6)
    module = ServingModule(model, transform, views=VIEWS[views])
    np.testing.assert_allclose(served(module, scans, tmp_path), expected, atol=1e-5)


@pytest.mark.parametrize("number", range(len(VIEWS["all"])))
def test_each_view_has_the_same_pixels(speckle, number):
    view = VIEWS["all"][number]
    images = np.stack([speckle(50, 50, seed) for seed in range(2)])
    np.testing.assert_array_equal(view_images(view, tf.constant(images)), apply_view(view, images))


def test_an_empty_batch_gives_empty_outputs():
    convolutions = keras.Sequential(  # each fails on an empty batch
        [
            keras.Input((24, 24, 3)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.DepthwiseConv2D(3),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    module = ServingModule(convolutions, Transform(image_size=24), views=VIEWS["flip"])
    for found in (
        module.serving_default(tf.zeros([0, 50, 60, 3], tf.uint8)),
        module.serving_default(tf.zeros([0, 50, 60, 3])),
        module.predict_bytes(tf.zeros([0], tf.string)),
    ):
        assert found["probabilities"].shape == (0, 2)
        assert found["lump"].shape == (0,)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_no_numbers_are_an_error(scans, value):
    module = ServingModule(network(0), Transform(image_size=24))
    images = np.stack(scans).astype(np.float32)
    assert np.isfinite(module.serving_default(tf.constant(images))["lump"]).all()
    images[2, 5, 6, 1] = value
    with pytest.raises(tf.errors.InvalidArgumentError, match="Pixels must be numbers"):
        module.serving_default(tf.constant(images))
