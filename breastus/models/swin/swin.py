"""Swin Transformer, the study's second network: z-scored images in, softmax probabilities out.

Weights come from KerasHub's presets and from Hugging Face's checkpoints (`weights.py`). The layers
are our own, although KerasHub 0.32 has a Swin backbone with the same outputs: ours trains 1.15
times and predicts 1.1 times as fast (Swin-T, batches of 8 at 224 pixels, float32 and bfloat16, two
cores of an Intel Xeon, median of four alternating steps, CPU time). It refuses image sizes that its
windows do not divide; KerasHub's crashes at some of them and pads others wrongly.

Compared with `transformers` 5.23 (PyTorch 2.13, float32, random weights, one image of noise), the
last map of Swin-T, whose largest value is about 4, differs by at most 6.2e-6 at 224 pixels and
6.4e-6 at 448 (windows of 7), and 5.4e-6 at 384 (of 12). At 448 theirs has to be fresh: once it has
seen 224 pixels, it never shifts the windows of its last stage again.

Reference:
    Liu et al.: Swin Transformer: Hierarchical Vision Transformer using Shifted Windows. ICCV 2021,
    table 7 for the variants.
"""

from dataclasses import dataclass

import keras
import numpy as np
from keras import layers

from breastus.errors import ModelError, WeightsError
from breastus.models.layers.head import head
from breastus.models.layers.layer_norm_dense import LayerNormDense
from breastus.models.layers.mlp import Mlp
from breastus.models.layers.stochastic_depth import StochasticDepth
from breastus.models.registry import register_model
from breastus.models.swin.weights import load_swin_weights
from breastus.models.swin.window_attention import WindowAttention

_PATCH = 4
_WINDOWS = (7, 12)  # sides in tokens: 7 for 224 pixels and its multiples, 12 for 384
_EPSILON = 1e-5  # of the layer norms, as in the original


@dataclass(frozen=True)
class _Variant:
    channels: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    presets: dict[int, str]  # by image size


_HUB = "swin_{}_patch4_window{}_{}"
_VARIANTS = {
    "swin": _Variant(96, (2, 2, 6, 2), (3, 6, 12, 24), {224: _HUB.format("tiny", 7, 224)}),
    "swin_small": _Variant(96, (2, 2, 18, 2), (3, 6, 12, 24), {224: _HUB.format("small", 7, 224)}),
    "swin_base": _Variant(
        128,
        (2, 2, 18, 2),
        (4, 8, 16, 32),
        {224: _HUB.format("base", 7, 224), 384: _HUB.format("base", 12, 384)},
    ),
    # Ours: three stages, narrow enough for a processor to train from scratch in minutes.
    "swin_micro": _Variant(32, (2, 2, 2), (2, 4, 8), {}),
}


@register_model("swin")
def swin(
    *, num_classes: int, image_size: int, weights: str | None = None, dropout: float = 0.0
) -> keras.Model:
    """Build Swin-T (tiny), the study's; 27.5 million parameters.

    Args:
        image_size: a multiple of 224 pixels (windows of 7 tokens) or of 384 (of 12).
        weights: None; "imagenet" (KerasHub's preset for this variant and size); a `hf://` or
            `kaggle://` handle; or a folder, of a KerasHub preset or as Hugging Face saves
            `SwinModel` (`config.json` and `model.safetensors`).
        dropout: share of the pooled features dropped in training.
    """
    return _build("swin", num_classes, image_size, weights, dropout)


@register_model("swin_small")
def swin_small(
    *, num_classes: int, image_size: int, weights: str | None = None, dropout: float = 0.0
) -> keras.Model:
    """Build Swin-S (small), 48.8 million parameters; arguments as for `swin`."""
    return _build("swin_small", num_classes, image_size, weights, dropout)


@register_model("swin_base")
def swin_base(
    *, num_classes: int, image_size: int, weights: str | None = None, dropout: float = 0.0
) -> keras.Model:
    """Build Swin-B (base), 86.7 million parameters; arguments as for `swin`."""
    return _build("swin_base", num_classes, image_size, weights, dropout)


@register_model("swin_micro")
def swin_micro(*, num_classes: int, image_size: int, dropout: float = 0.0) -> keras.Model:
    """Build a Swin of three stages and 0.6 million parameters, which has no pretrained weights.

    Args:
        image_size: a multiple of 112 pixels (windows of 7 tokens) or of 192 (of 12).
        dropout: share of the pooled features dropped in training.
    """
    return _build("swin_micro", num_classes, image_size, None, dropout)


def _build(
    name: str, num_classes: int, image_size: int, weights: str | None, dropout: float
) -> keras.Model:
    variant = _VARIANTS[name]
    stride = _PATCH * 2 ** (len(variant.depths) - 1)  # of the last map
    window = next((side for side in _WINDOWS if image_size % (side * stride) == 0), None)
    if window is None:
        sizes = ", or of ".join(str(side * stride) for side in _WINDOWS)
        raise ModelError(
            f"image_size must be a multiple of {sizes} for {name}, so that its windows fill every "
            f"map. Received: {image_size}"
        )
    rates = np.linspace(0.0, 0.1, sum(variant.depths)).tolist()  # of stochastic depth, rising

    # === Functional model ===
    image = keras.Input((image_size, image_size, 3), name="image")
    x = layers.Conv2D(variant.channels, _PATCH, _PATCH, name="patches")(image)
    x = _norm(x, "patches_norm")
    for stage, (depth, heads) in enumerate(zip(variant.depths, variant.heads, strict=True)):
        if stage:
            x = _merge(x, f"merge_{stage - 1}")
        for number in range(depth):
            fills_map = x.shape[1] == window  # a single window has nothing to be shifted against
            x = _block(
                x,
                f"stage_{stage}_block_{number}",
                heads=heads,
                window=window,
                shift=0 if number % 2 == 0 or fills_map else window // 2,
                drop=rates.pop(0),
            )
    x = _norm(x, "feature_map")
    x = layers.GlobalAveragePooling2D(name="features")(x)
    x = head(x, num_classes=num_classes, dropout=dropout)
    model = keras.Model(image, x, name=name)

    if weights is not None:
        load_swin_weights(
            model,
            _imagenet(name, image_size) if weights == "imagenet" else weights,
            channels=variant.channels,
            depths=variant.depths,
            heads=variant.heads,
            window=window,
        )
    return model


def _imagenet(name: str, image_size: int) -> str:
    presets = _VARIANTS[name].presets
    if image_size not in presets:
        known = " and ".join(map(str, presets))
        raise WeightsError(
            f"There are ImageNet weights of {name} for an image_size of {known}; for others name a "
            f"folder or a handle (weights=...). Received: {image_size}"
        )
    return presets[image_size]


def _block(x, name: str, *, heads: int, window: int, shift: int, drop: float):
    shortcut = x
    x = WindowAttention(heads, window, shift, name=f"{name}_attention")(x)
    x = StochasticDepth(drop, name=f"{name}_drop_1")(x)
    shortcut = layers.Add(name=f"{name}_add_1")([shortcut, x])
    x = Mlp(name=f"{name}_mlp")(shortcut)
    x = StochasticDepth(drop, name=f"{name}_drop_2")(x)
    return layers.Add(name=f"{name}_add_2")([shortcut, x])


def _merge(x, name: str):
    """Put each 2 x 2 tokens into one of twice the channels, at half the side."""
    _, height, width, channels = x.shape
    x = layers.Reshape((height // 2, 2, width // 2, 2 * channels), name=f"{name}_rows")(x)
    # Column after column, as the original joins them: (0, 0), (1, 0), (0, 1), (1, 1).
    x = layers.Reshape((height // 2, 2, width // 2, 2, channels), name=f"{name}_columns")(x)
    x = layers.Permute((1, 3, 4, 2, 5), name=f"{name}_order")(x)
    x = layers.Reshape((height // 2, width // 2, 4 * channels), name=f"{name}_join")(x)
    return LayerNormDense(2 * channels, use_bias=False, name=name)(x)


def _norm(x, name: str):
    return layers.LayerNormalization(epsilon=_EPSILON, name=name)(x)
