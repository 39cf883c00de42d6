"""The study's convolutional network: 266,306 parameters at 224 x 224 pixels and two classes."""

import keras
from keras import layers

from breastus.errors import ModelError
from breastus.models.layers.head import head
from breastus.models.registry import register_model

FILTERS = (32, 64, 128)
_SMALLEST = 22  # pixels, of which a map of one remains


@register_model("cnn")
def cnn(*, num_classes: int = 2, image_size: int = 224, dropout: float = 0.2) -> keras.Model:
    """Build the CNN of the published student study on BUSI.

    Three times 3x3 convolution (no padding), ReLU and 2x2 maximum pooling, then flatten, dropout
    and softmax. It has no pretrained weights.

    Args:
        image_size: side of the input in pixels, at least 22.
        dropout: share of the flattened features dropped in training; the study's value is 0.2.
    """
    if image_size < _SMALLEST:
        raise ModelError(f"image_size must be at least {_SMALLEST} for cnn. Received: {image_size}")

    # === Functional model ===
    image = keras.Input((image_size, image_size, 3), name="image")
    x = image
    for filters in FILTERS:
        x = layers.Conv2D(filters, 3, activation="relu", name=f"conv_{filters}")(x)
        x = layers.MaxPooling2D(2, name=f"pool_{filters}")(x)
    x = layers.Flatten(name="features")(x)
    x = head(x, num_classes=num_classes, dropout=dropout)
    return keras.Model(image, x, name="cnn")
