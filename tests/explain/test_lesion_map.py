"""Lesion maps against what can be computed by hand, and back in the frame of the original image."""

import keras
import numpy as np
import pytest
from keras import layers

from breastus.data.images import read_image, to_png
from breastus.errors import ModelError
from breastus.explain.geometry import to_original
from breastus.explain.lesion_map import LesionMapper, lesion_map, occlusion_map
from breastus.explain.randomization import randomization_check
from breastus.models.ensemble import ensemble
from breastus.models.load import load_network
from breastus.models.registry import build_model
from breastus.preprocessing.transform import Transform

SIZE = 32


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).normal(size=(3, SIZE, SIZE, 3)).astype(np.float32)


def network(*, classes=2, cells=False, seed=0) -> keras.Model:
    """A network whose maps can be computed by hand."""
    keras.utils.set_random_seed(seed)
    image = keras.Input((SIZE, SIZE, 3), name="image")
    x = layers.Conv2D(5, 4, 4, activation="relu", name="feature_map")(image)
    if cells:
        x = layers.Conv2D(1, 1, bias_initializer="ones", name="lesion_logits")(x)
    x = layers.GlobalAveragePooling2D(name="features")(x)
    x = layers.Dense(classes, activation="softmax", name="probabilities")(x)
    return keras.Model(image, x)


def maps_of(model, images, name="feature_map"):
    return keras.Model(model.input, model.get_layer(name).output)(images).numpy()


def at_cells(maps: np.ndarray) -> np.ndarray:
    """Enlarged maps at the centres of their cells of 4 x 4 pixels, [B, 8, 8]."""
    middle = [maps[:, row::4, column::4] for row in (1, 2) for column in (1, 2)]
    return np.mean(middle, axis=0)


def enlarged(cells: np.ndarray) -> np.ndarray:
    return np.asarray(keras.ops.image.resize(cells[..., None], (SIZE, SIZE))[..., 0])


def test_cells_are_the_probabilities_of_the_networks_own_logits(images):
    model = network(cells=True)
    assert LesionMapper(model).method == "lesion_logits"
    logits = maps_of(model, images, "lesion_logits")[..., 0]
    expected = enlarged(1 / (1 + np.exp(-logits)))
    np.testing.assert_allclose(lesion_map(model, images), expected, atol=1e-6)


@pytest.mark.parametrize("factor", [1, 1000])
def test_grad_cam_is_that_of_the_log_odds_however_sure_the_network_is(images, factor):
    model = network()
    model.get_layer("probabilities").kernel.assign(
        factor * model.get_layer("probabilities").kernel.numpy()
    )
    kernel = model.get_layer("probabilities").kernel.numpy()
    # Between a map and the log odds there is nothing but a mean and a weighted sum.
    cells = np.maximum(maps_of(model, images) @ (kernel[:, 1] - kernel[:, 0]), 0)
    cells /= cells.max(axis=(1, 2), keepdims=True)
    found = lesion_map(model, images)
    np.testing.assert_allclose(found, enlarged(cells), atol=1e-4)
    assert found.dtype == np.float32
    assert at_cells(found).std() > 0.05


def test_of_three_findings_benign_and_malignant_are_lumps(images):
    model = network(classes=3)
    normal, *lumps = np.asarray(model(images)).T
    expected = np.log(np.sum(lumps, axis=0)) - np.log(normal)
    np.testing.assert_allclose(LesionMapper(model).log_odds(images), expected, atol=1e-5)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("cells", [True, False])
def test_the_map_of_an_ensemble_is_the_mean(images, shared, cells, tmp_path):
    models = [network(cells=cells, seed=seed) for seed in range(3)]
    if shared:
        for model in models[1:]:
            weights = models[0].get_layer("feature_map").get_weights()
            model.get_layer("feature_map").set_weights(weights)
    expected = np.mean([lesion_map(model, images) for model in models], axis=0)
    ensemble(models).save(tmp_path / "ensemble.keras")
    joined = load_network(tmp_path / "ensemble.keras")
    assert ("backbone" in {layer.name for layer in joined.layers}) == shared
    np.testing.assert_allclose(lesion_map(joined, images), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("cnn", 32),
        ("compact", 64),
        ("swin_micro", 112),
        pytest.param("efficientnet_mil", 64, marks=pytest.mark.slow),
        pytest.param("hybrid", 224, marks=pytest.mark.slow),
        pytest.param("efficientnet_lite0", 64, marks=pytest.mark.slow),
        pytest.param("resnet50", 64, marks=pytest.mark.slow),
    ],
)
def test_networks_have_maps_that_depend_on_the_place(name, size):
    model = build_model(name, image_size=size)
    images = np.random.default_rng(0).normal(size=(2, size, size, 3))
    found = lesion_map(model, images)
    assert found.shape == (2, size, size)
    assert found.min() >= 0
    assert found.max() <= 1
    # What speaks against a lump is no part of the map; with the classes swapped it speaks for one.
    last = model.get_layer("probabilities")
    last.set_weights([weight[..., ::-1] for weight in last.get_weights()])
    assert (found + lesion_map(model, images)).std(axis=(1, 2)).min() > 0


def test_a_network_without_a_feature_map_has_no_lesion_map():
    image = keras.Input((SIZE, SIZE, 3))
    x = layers.Dense(2, activation="softmax", name="probabilities")(layers.Flatten()(image)[:, :9])
    mapped = keras.Model(image, x)
    assert LesionMapper(mapped).method == "grad_cam"  # the image itself is a map
    flat = keras.Input((12,))
    with pytest.raises(ModelError, match="no feature map"):
        LesionMapper(keras.Model(flat, layers.Dense(2, name="probabilities")(flat)))


def test_occlusion_finds_the_place_without_a_gradient(images):
    image = keras.Input((SIZE, SIZE, 3))
    brightness = layers.Cropping2D(((20, 6), (4, 22)))(image)  # of 6 x 6 pixels alone
    x = layers.GlobalAveragePooling2D(name="features")(brightness)
    last = layers.Dense(2, activation="softmax", name="probabilities")
    model = keras.Model(image, last(x))
    last.set_weights([np.array([[-1.0, 1.0]] * 3, np.float32), np.zeros(2, np.float32)])
    lit = images[0] * 0.1
    lit[20:26, 4:10] += 3
    found = occlusion_map(LesionMapper(model), lit)
    row, column = np.unravel_index(found.argmax(), found.shape)
    assert 20 <= row < 26
    assert 4 <= column < 10
    assert found.max() == 1
    assert found[:12].max() == 0


@pytest.mark.parametrize("aspect", ["squash", "keep"])
@pytest.mark.parametrize("trim", [True, False])
@pytest.mark.parametrize("shape", [(120, 200), (210, 90)])
def test_a_map_returns_to_the_pixels_it_came_from(aspect, trim, shape):
    height, width = shape
    rows, columns = np.mgrid[:height, :width]
    grey = 60 + 80 * np.exp(-((rows - 30) ** 2 + (columns - 60) ** 2) / 400)
    pixels = np.repeat(grey.astype(np.uint8)[..., None], 3, axis=-1)
    pixels[:12] = pixels[:, -25:] = 0  # borders that are cut off
    transform = Transform(image_size=96, trim=trim, aspect=aspect)
    # The transformed image itself takes the place of a map, so it has to come back.
    square = transform.crop_and_resize(pixels).numpy()[..., 0] / np.float32(255)
    found = to_original(square, pixels, transform)
    assert found.shape == shape
    inner = np.s_[20:-8, 8:-33]  # away from edges, which blur
    assert np.abs(found - pixels[..., 0] / 255)[inner].max() < 0.02
    if trim:
        assert not found[:12].any()
        assert not found[:, -25:].any()


def test_maps_of_another_network_are_others_and_the_weights_come_back(images):
    model = network(cells=True)
    before = model.get_weights()
    steps = randomization_check(model, images, seed=1)
    assert [(step.layers, step.of) for step in steps] == [(1, 2), (1, 2), (1, 2), (2, 2)]
    assert abs(steps[-1].correlation) < 0.6
    for kept, weight in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, weight)


def test_maps_that_ignore_the_weights_are_found_out(images):
    image = keras.Input((SIZE, SIZE, 3))
    edges = layers.AveragePooling2D(4)(image)[..., :1]
    learned = layers.Rescaling(0.0)(layers.Conv2D(1, 4, 4)(image))
    x = layers.Add(name="lesion_logits")([edges, learned])
    x = layers.GlobalAveragePooling2D(name="features")(x)
    model = keras.Model(image, layers.Dense(2, activation="softmax", name="probabilities")(x))
    assert randomization_check(model, images, seed=1)[-1].correlation == pytest.approx(1)


def test_the_frame_of_a_file(tmp_path, speckle):
    path = tmp_path / "scan.png"
    path.write_bytes(to_png(speckle(40, 60)))
    pixels = read_image(path)
    found = to_original(np.full((SIZE, SIZE), 0.5, np.float32), pixels, Transform(image_size=SIZE))
    np.testing.assert_allclose(found, 0.5)
