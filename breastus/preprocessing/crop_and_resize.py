"""Trim black borders and resize, in TensorFlow ops: [H, W, C] to [S, S, C], values 0 to 255."""

import tensorflow as tf

# A border line is black when at most 1 % of its pixels are brighter than 10 of 255: JPEG noise and
# a stray mark in the border do not keep it, echoes do. Both numbers are our choice.
BLACK_LEVEL = 10
BRIGHT_SHARE = 0.01
_SMALLEST_SIDE = 8  # pixels; a box smaller than this is no image but a mark on black


def trim_borders(image: tf.Tensor) -> tf.Tensor:
    """Cut the black lines at the four sides; dark parts inside the image stay.

    Args:
        image: [H, W, 3], any number type, values 0 to 255.

    Returns:
        The image without its black borders, same type; an image that is black all over, or has
        nothing but a mark on black, comes back whole.
    """
    return crop(image, border_box(image))


def border_box(image: tf.Tensor) -> tf.Tensor:
    """Return what `trim_borders` keeps of an image: int32 [4], top, bottom, left, right."""
    bright = tf.cast(tf.reduce_max(image, axis=-1) > tf.cast(BLACK_LEVEL, image.dtype), tf.float32)
    top, bottom = _extent(tf.reduce_mean(bright, axis=1) > BRIGHT_SHARE)
    left, right = _extent(tf.reduce_mean(bright, axis=0) > BRIGHT_SHARE)
    usable = (bottom - top >= _SMALLEST_SIDE) & (right - left >= _SMALLEST_SIDE)
    height, width = tf.shape(image)[0], tf.shape(image)[1]
    return tf.where(usable, [top, bottom, left, right], [0, height, 0, width])


def crop(image: tf.Tensor, box: tf.Tensor) -> tf.Tensor:
    """Cut an image [H, W, C] to a box: int32 [4], top, bottom, left, right."""
    top, bottom, left, right = tf.unstack(box)
    return image[top:bottom, left:right]


def resize(image: tf.Tensor, size: int, *, aspect: str = "squash") -> tf.Tensor:
    """Resize to a square with antialiasing.

    Args:
        image: [H, W, C], any number type, values 0 to 255.
        size: side of the result in pixels.
        aspect: "squash" fills the square, as the study did; "keep" keeps the ratio of the sides
            and pads with black on both sides alike.

    Returns:
        float32 [size, size, C] in whole grey levels 0 to 255. The rounding is part of the result:
        it lets pixels be cached as uint8 in training and still equal those of the exported graph.
    """
    if aspect == "keep":
        resized = tf.image.resize_with_pad(image, size, size, method="bilinear", antialias=True)
    else:
        resized = tf.image.resize(image, [size, size], method="bilinear", antialias=True)
    resized = tf.ensure_shape(resized, [size, size, image.shape[-1]])
    return tf.round(tf.clip_by_value(resized, 0.0, 255.0))


def _extent(lines: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the first true position and one past the last; (0, 0) when there is none."""
    positions = tf.cast(tf.where(lines)[:, 0], tf.int32)
    found = tf.size(positions) > 0
    # reduce_min of nothing is the type's largest value, so the empty case is answered apart.
    return (
        tf.where(found, tf.reduce_min(positions), 0),
        tf.where(found, tf.reduce_max(positions) + 1, 0),
    )
