"""KerasHub's EfficientNet-Lite0, whose preset comes with its own layers."""

import keras
import numpy as np
import pytest

from breastus.errors import ModelError
from breastus.models.efficientnet import efficientnet_lite0 as module
from breastus.models.registry import build_model


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    """A folder with the preset of KerasHub's EfficientNet-Lite0 of random weights, and itself."""
    backbone = module._hub_backbone((None, None, 3))
    rng = np.random.default_rng(0)
    for variable in backbone.weights:  # the norms' statistics too
        noise = rng.uniform(0.8, 1.2, variable.shape) if "kernel" not in variable.path else 1.0
        variable.assign(variable.numpy() * noise + (noise if "moving_mean" in variable.path else 0))
    folder = tmp_path_factory.mktemp("preset") / "lite0"
    backbone.save_to_preset(str(folder))
    return folder, backbone


def test_a_kerashub_preset_gives_kerashubs_features(preset):
    folder, backbone = preset
    model = build_model("efficientnet_lite0", image_size=65, weights=str(folder))
    image = np.random.default_rng(0).normal(size=(1, 65, 65, 3)).astype("float32")
    expected = keras.ops.convert_to_numpy(backbone(image)).mean(axis=(1, 2))
    features = keras.Model(model.input, model.get_layer("features").output)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(features(image)), expected, rtol=1e-4, atol=1e-5
    )
    assert np.abs(expected).max() > 1e-3
    # The published network: as many parameters as ours, which has the same shapes.
    assert model.count_params() == build_model("efficientnet_lite0", image_size=64).count_params()


@pytest.mark.slow
def test_such_a_network_saves_and_loads(preset, tmp_path):
    model = build_model("efficientnet_lite0", image_size=32, weights=str(preset[0]))
    assert [layer.name for layer in model.layers][-3:] == ["features", "dropout", "probabilities"]
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    image = np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(model(image), loaded(image), atol=1e-6)


@pytest.mark.slow
def test_a_preset_of_another_network_is_refused(preset, tmp_path):
    from keras_hub.models import EfficientNetBackbone

    config = {**preset[1].get_config(), "input_shape": (None, None, 3)}
    config["stackwise_width_coefficients"] = [1.1] * 7
    EfficientNetBackbone.from_config(config).save_to_preset(str(tmp_path / "wider"))
    with pytest.raises(ModelError, match=r"of another network: .* parameters, where"):
        build_model("efficientnet_lite0", image_size=32, weights=str(tmp_path / "wider"))
    with pytest.raises(ModelError, match="could not be loaded"):
        build_model("resnet50", image_size=32, weights=str(preset[0]))
