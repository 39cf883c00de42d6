"""ResNet-50, which the study compared with: KerasHub's backbone and a new head.

He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition. CVPR 2016. 23.6 million
parameters without its ImageNet head.
"""

import keras

from breastus.models.registry import register_model
from breastus.models.weights.kerashub import classifier


@register_model("resnet50")
def resnet50(
    *, num_classes: int, image_size: int, weights: str | None = None, dropout: float = 0.2
) -> keras.Model:
    """Build ResNet-50.

    Args:
        image_size: side of the input in pixels, at least 32.
        weights: None; "imagenet" (KerasHub's `resnet_50_imagenet`); a `hf://` or `kaggle://`
            handle; or a preset's folder.
        dropout: share of the pooled features dropped in training.
    """
    return classifier(
        _backbone,
        name="resnet50",
        num_classes=num_classes,
        image_size=image_size,
        weights=weights,
        imagenet="resnet_50_imagenet",
        dropout=dropout,
    )


def _backbone(shape: tuple[int, int, int]) -> keras.Model:
    from keras_hub.models import ResNetBackbone

    return ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 128, 256, 512],
        stackwise_num_blocks=[3, 4, 6, 3],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="bottleneck_block",
        image_shape=shape,
    )
