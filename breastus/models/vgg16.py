"""VGG-16, which the study compared with: KerasHub's convolutions and a new head.

Simonyan, Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition. ICLR 2015.
14.7 million parameters. Global average pooling replaces the two layers of 4,096 units, whose 120
million parameters a few hundred images cannot train.
"""

import keras

from breastus.models.registry import register_model
from breastus.models.weights.kerashub import classifier


@register_model("vgg16")
def vgg16(
    *, num_classes: int, image_size: int, weights: str | None = None, dropout: float = 0.2
) -> keras.Model:
    """Build VGG-16.

    Args:
        image_size: side of the input in pixels, at least 32.
        weights: None; "imagenet" (KerasHub's `vgg_16_imagenet`); a `hf://` or `kaggle://` handle;
            or a preset's folder.
        dropout: share of the pooled features dropped in training.
    """
    return classifier(
        _backbone,
        name="vgg16",
        num_classes=num_classes,
        image_size=image_size,
        weights=weights,
        imagenet="vgg_16_imagenet",
        dropout=dropout,
    )


def _backbone(shape: tuple[int, int, int]) -> keras.Model:
    from keras_hub.models import VGGBackbone

    return VGGBackbone(
        stackwise_num_repeats=[2, 2, 3, 3, 3],
        stackwise_num_filters=[64, 128, 256, 512, 512],
        image_shape=shape,
    )
