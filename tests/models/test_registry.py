"""One contract for every registered network, so that nothing registered goes untested."""

import keras
import numpy as np
import pytest

from breastus.errors import ModelError
from breastus.models import registry
from breastus.models.registry import build_model, list_models, register_model

# Image sizes that keep the tests quick; what is not named takes 32 pixels.
SIZES = {"swin": 224, "swin_small": 224, "swin_base": 224, "swin_micro": 112}
LARGE = {"swin_small", "swin_base"}
NAMES = [
    pytest.param(name, marks=pytest.mark.slow if name in LARGE else ()) for name in list_models()
]


@pytest.mark.parametrize("name", NAMES)
def test_model_contract(name, tmp_path):
    size = SIZES.get(name, 32)
    model = build_model(name, num_classes=3, image_size=size)
    images = np.random.default_rng(0).normal(size=(4, size, size, 3)).astype("float32")
    probabilities = model.predict(images, verbose=0)
    assert probabilities.shape == (4, 3)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)

    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_allclose(loaded.predict(images, verbose=0), probabilities, atol=1e-6)
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    np.testing.assert_allclose(clone.predict(images, verbose=0), probabilities, atol=1e-6)

    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    before = [weight.copy() for weight in model.get_weights()]
    loss = model.fit(images, np.array([0, 1, 2, 0]), verbose=0).history["loss"][0]
    assert np.isfinite(loss)
    changed = [not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)]
    assert all(changed)


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
        ({"name": "efficientnet_lite0", "image_size": 16}, "image_size must be at least 32"),
        ({"name": "efficientnet_lite0", "weights": "none.pth"}, r"none\.pth cannot be opened"),
    ],
)
def test_impossible_arguments_are_refused(arguments, message):
    with pytest.raises(ModelError, match=message):
        build_model(**arguments)


def test_a_taken_name_is_refused(monkeypatch):
    list_models()
    monkeypatch.setattr(registry, "_BUILDERS", dict(registry._BUILDERS))
    register_model("mine")(lambda *, num_classes, image_size: None)
    assert "mine" in list_models()
    with pytest.raises(ModelError, match="registered already"):
        register_model("cnn")(None)
