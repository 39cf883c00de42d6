"""KerasHub's backbones: the right network, weights from a folder, and a clear no without a hub."""

import keras
import numpy as np
import pytest

from breastus.errors import ModelError
from breastus.models.registry import build_model


@pytest.mark.parametrize(
    # Parameters of the convolutions (and norms) in the papers' networks, without their heads.
    ("name", "backbone", "features"),
    [("resnet50", 23_561_152, 2048), ("vgg16", 14_714_688, 512)],
)
def test_it_is_the_published_network(name, backbone, features):
    model = build_model(name, image_size=32)
    assert model.count_params() == backbone + features * 2 + 2
    assert model.get_layer("features").output.shape == (None, features)


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    """A folder with the preset of a VGG-16 of random weights, and its backbone."""
    from breastus.models.vgg16 import _backbone

    keras.utils.set_random_seed(3)
    backbone, folder = _backbone((None, None, 3)), tmp_path_factory.mktemp("preset") / "vgg"
    backbone.save_to_preset(str(folder))
    return folder, backbone


def test_weights_come_from_a_folder(preset):
    folder, backbone = preset
    model = build_model("vgg16", image_size=48, weights=str(folder))
    image = np.random.default_rng(0).normal(size=(1, 48, 48, 3)).astype("float32")
    expected = backbone.predict(image, verbose=0).mean(axis=(1, 2))
    features = keras.Model(model.input, model.get_layer("features").output)
    np.testing.assert_allclose(features.predict(image, verbose=0), expected, atol=1e-5)


def test_weights_of_another_network_are_refused(preset):
    with pytest.raises(ModelError, match=r"could not be loaded|of another network"):
        build_model("resnet50", image_size=32, weights=str(preset[0]))


def test_a_hub_out_of_reach_is_an_error_and_never_random_weights(monkeypatch):
    from keras_hub.models import ResNetBackbone

    def out_of_reach(preset, **kwargs):
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr(ResNetBackbone, "from_preset", out_of_reach)
    with pytest.raises(
        ModelError, match=r"resnet_50_imagenet could not be loaded: Name or service.*hub"
    ):
        build_model("resnet50", image_size=32, weights="imagenet")


def test_a_folder_that_is_not_there():
    with pytest.raises(ModelError, match="Received: 'nowhere', which does not exist"):
        build_model("vgg16", image_size=32, weights="nowhere")
