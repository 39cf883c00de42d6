"""A small residual network for a few hundred images and a processor: z-scores in, softmax out.

Pre-activation residual blocks (He et al., Identity Mappings in Deep Residual Networks, ECCV 2016)
behind a stem that shrinks the image to a quarter, so that most of the work is done on small maps;
average and maximum pooling side by side, as a lump covers a small part of an image.
"""

import keras
from keras import layers

from breastus.errors import ModelError
from breastus.models.layers.fused_batch_normalization import FusedBatchNormalization
from breastus.models.layers.head import head
from breastus.models.registry import register_model

FILTERS = (32, 64, 128, 192)  # of the stages; each but the first halves the map
_SMALLEST = 32


@register_model("compact")
def compact(*, num_classes: int, image_size: int, dropout: float = 0.3) -> keras.Model:
    """Build the network; 0.9 million parameters.

    Args:
        image_size: side of the input in pixels, at least 32.
        dropout: share of the pooled features dropped in training.
    """
    if image_size < _SMALLEST:
        raise ModelError(
            f"image_size must be at least {_SMALLEST} for compact. Received: {image_size}"
        )

    # === Functional model ===
    image = keras.Input((image_size, image_size, 3), name="image")
    x = layers.Conv2D(FILTERS[0], 5, 2, padding="same", use_bias=False, name="stem_conv")(image)
    x = FusedBatchNormalization(name="stem_norm")(x)
    x = layers.ReLU(name="stem_relu")(x)
    x = layers.MaxPooling2D(3, 2, padding="same", name="stem_pool")(x)
    for stage, filters in enumerate(FILTERS):
        x = _block(x, f"stage_{stage}_block_0", filters=filters, stride=2 if stage else 1)
    x = FusedBatchNormalization(name="last_norm")(x)
    x = layers.ReLU(name="feature_map")(x)
    pooled = [
        layers.GlobalAveragePooling2D(name="average")(x),
        layers.GlobalMaxPooling2D(name="maximum")(x),
    ]
    x = layers.Concatenate(name="features")(pooled)
    x = head(x, num_classes=num_classes, dropout=dropout)
    return keras.Model(image, x, name="compact")


def _block(x, name: str, *, filters: int, stride: int):
    shortcut = x
    x = FusedBatchNormalization(name=f"{name}_norm_1")(x)
    x = layers.ReLU(name=f"{name}_relu_1")(x)
    if stride > 1 or filters != shortcut.shape[-1]:
        shortcut = layers.Conv2D(filters, 1, stride, use_bias=False, name=f"{name}_shortcut")(x)
    x = layers.Conv2D(filters, 3, stride, padding="same", use_bias=False, name=f"{name}_conv_1")(x)
    x = FusedBatchNormalization(name=f"{name}_norm_2")(x)
    x = layers.ReLU(name=f"{name}_relu_2")(x)
    x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"{name}_conv_2")(x)
    return layers.Add(name=f"{name}_add")([shortcut, x])
