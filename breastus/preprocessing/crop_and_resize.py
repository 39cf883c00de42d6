"""Crop black borders and resize, in TensorFlow ops: [H, W, C] to [S, S, C], values 0 to 255."""

import tensorflow as tf

# A border line is black when at most 1 % of its pixels are brighter than 10 of 255: it may hold
# JPEG noise or a stray annotation, but no echoes. Both numbers are our choice.
_BLACK_LEVEL = 10
_BRIGHT_FRACTION = 0.01
_MIN_SIDE = 8  # pixels; a smaller box is no image but an annotation on black


def border_box(image: tf.Tensor) -> tf.Tensor:
    """Return the box without the black borders of an image; dark parts inside it stay.

    Args:
        image: [H, W, 3], any number type, values 0 to 255.

    Returns:
        int32 [4]: top, bottom, left, right. It is the whole image when that is black all over, or
        holds only an annotation on black.
    """
    bright = tf.reduce_max(image, axis=-1) > tf.cast(_BLACK_LEVEL, image.dtype)
    bright = tf.cast(bright, tf.float32)
    top, bottom = _extent(tf.reduce_mean(bright, axis=1) > _BRIGHT_FRACTION)
    left, right = _extent(tf.reduce_mean(bright, axis=0) > _BRIGHT_FRACTION)
    usable = (bottom - top >= _MIN_SIDE) & (right - left >= _MIN_SIDE)
    height, width = tf.shape(image)[0], tf.shape(image)[1]
    return tf.where(usable, [top, bottom, left, right], [0, height, 0, width])


def crop(image: tf.Tensor, box: tf.Tensor) -> tf.Tensor:
    """Return the part of an image [H, W, C] in a box from `border_box`."""
    top, bottom, left, right = tf.unstack(box)
    return image[top:bottom, left:right]


def resize(image: tf.Tensor, size: int, *, aspect: str = "squash") -> tf.Tensor:
    """Resize to a square with antialiasing.

    Args:
        image: [H, W, C], any number type, values 0 to 255.
        size: side of the result in pixels.
        aspect: "squash" fills the square, as the study did; "keep" keeps the ratio of the sides
            and pads with black on both sides equally.

    Returns:
        float32 [size, size, C] in whole grey levels 0 to 255. Because of the rounding, pixels that
        training caches as uint8 equal the pixels of the exported graph.
    """
    if aspect == "keep":
        resized = tf.image.resize_with_pad(image, size, size, method="bilinear", antialias=True)
    else:
        resized = tf.image.resize(image, [size, size], method="bilinear", antialias=True)
    resized = tf.ensure_shape(resized, [size, size, image.shape[-1]])
    return tf.round(tf.clip_by_value(resized, 0.0, 255.0))


def _extent(lines: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the first true position and one past the last; (0, 0) if all are false."""
    positions = tf.cast(tf.where(lines)[:, 0], tf.int32)
    found = tf.size(positions) > 0
    # reduce_min of an empty tensor is the largest value of its type.
    return (
        tf.where(found, tf.reduce_min(positions), 0),
        tf.where(found, tf.reduce_max(positions) + 1, 0),
    )
