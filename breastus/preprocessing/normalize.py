"""Scale pixels to the input of a network, in TensorFlow ops: [..., 3], 0 to 255.

zscore   by ImageNet's statistics, about -2 to 3
unit     0 to 1
raw      0 to 255
"""

import tensorflow as tf

# Per channel, of pixels scaled to [0, 1]: the statistics published with PyTorch's ImageNet models
# (torchvision.models), which the study used and pretrained networks expect.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def scale(image: tf.Tensor, scaling: str) -> tf.Tensor:
    """Return an image, [..., 3], RGB, 0 to 255, in the scaling of that name, float32."""
    if scaling == "zscore":
        return zscore(image)
    image = tf.cast(image, tf.float32)
    return image / 255.0 if scaling == "unit" else image


def zscore(image: tf.Tensor) -> tf.Tensor:
    """Return `(image / 255 - mean) / std`, float32.

    Args:
        image: [..., 3], RGB, values 0 to 255.
    """
    scaled = tf.cast(image, tf.float32) / 255.0
    return (scaled - tf.constant(IMAGENET_MEAN)) / tf.constant(IMAGENET_STD)
