"""Crop black borders and resize, in TensorFlow ops: [H, W, C] to [S, S, C], values 0 to 255."""

import tensorflow as tf

# A border line is black when at most 1 % of its pixels are brighter than 10 of 255: it may hold
# JPEG noise or a stray annotation, but no echoes. Both numbers are our choice.
_BLACK_LEVEL = 10
_BLACK_LINE = 100  # one pixel in this many
_BLOCK = 16  # rows or columns of a result that are computed together
_MIN_SIDE = 8  # pixels; a smaller box is no image but an annotation on black


def distinct_planes(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Find out whether an image is grey, as most are: one plane of it is a third of the work.

    Args:
        image: [H, W, 3], any number type.

    Returns:
        One plane if the image is grey, else all, float32 [H, W, 1 or 3]; the brightest value of
        each pixel, float32 [H, W].
    """
    # Not in uint8, which LiteRT cannot compare.
    red, green, blue = (tf.cast(plane, tf.float32) for plane in tf.unstack(image, axis=-1))
    return tf.cond(
        tf.reduce_all((red == green) & (red == blue)),
        lambda: (tf.expand_dims(red, -1), red),
        lambda: (tf.cast(image, tf.float32), tf.maximum(tf.maximum(red, green), blue)),
    )


def border_box(brightest: tf.Tensor) -> tf.Tensor:
    """Return the box without the black borders of an image; dark parts inside it stay.

    Args:
        brightest: float32 [H, W], the brightest value of each pixel, 0 to 255.

    Returns:
        int32 [4]: top, bottom, left, right. It is the whole image when that is black all over, or
        holds only an annotation on black.
    """
    bright = tf.cast(brightest > _BLACK_LEVEL, tf.float32)
    height, width = tf.shape(brightest)[0], tf.shape(brightest)[1]
    rows = tf.cast(tf.reduce_sum(bright, axis=1), tf.int32)
    columns = tf.cast(tf.reduce_sum(bright, axis=0), tf.int32)
    top, bottom = _extent(_BLACK_LINE * rows > width)
    left, right = _extent(_BLACK_LINE * columns > height)
    usable = (bottom - top >= _MIN_SIDE) & (right - left >= _MIN_SIDE)
    return tf.where(usable, [top, bottom, left, right], [0, height, 0, width])


def crop(image: tf.Tensor, box: tf.Tensor) -> tf.Tensor:
    """Return the part of an image [H, W, C] in a box from `border_box`."""
    top, bottom, left, right = tf.unstack(box)
    return image[top:bottom, left:right]


def resize(image: tf.Tensor, size: int, *, aspect: str = "squash") -> tf.Tensor:
    """Resize to a square with antialiasing, to the same grey levels in every runtime.

    The filter is the triangle of `tf.image.resize(method="bilinear", antialias=True)`, rows first.
    Its weights are whole numbers. Sums of whole numbers below 2**24 are exact in float32 in any
    order, so TensorFlow, ONNX Runtime and LiteRT agree; no factor has more than 11 bits, so the
    TF32 format of GPUs is exact too. Results are within one grey level of `tf.image.resize`.

    Args:
        image: [H, W, C], any number type, whole numbers 0 to 255.
        size: side of the result in pixels.
        aspect: "squash" fills the square, as the study did; "keep" keeps the ratio of the sides
            and pads with black on both sides equally.

    Returns:
        float32 [size, size, C] in whole grey levels 0 to 255. Because of the rounding, pixels that
        training caches as uint8 equal the pixels of the exported graph.
    """
    rows, columns = resized_shape(tf.shape(image)[0], tf.shape(image)[1], size, aspect=aspect)
    # In between, grey levels are rounded to eighths.
    turned = _resize_lines(tf.cast(image, tf.float32), rows, scale=8.0)
    turned = _resize_lines(tf.transpose(turned, [1, 0, 2]), columns, scale=1 / 8)
    resized = tf.transpose(turned, [1, 0, 2])
    if aspect == "keep":
        top, left = (size - rows) // 2, (size - columns) // 2
        around = [[top, size - rows - top], [left, size - columns - left], [0, 0]]
        resized = tf.pad(resized, around)
    return tf.reshape(resized, [size, size, image.shape[-1] or -1])  # a static shape


def resized_shape(
    height: tf.Tensor, width: tf.Tensor, size: int, *, aspect: str
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the rows and columns of a square of `size` that an image fills, in its middle."""
    if aspect == "squash":
        return tf.constant(size), tf.constant(size)
    longer = tf.maximum(height, width)
    return tf.maximum(height * size // longer, 1), tf.maximum(width * size // longer, 1)


def resize_batch(images: tf.Tensor, size: int) -> tf.Tensor:
    """Resize images [B, H, W, 3] of one size as `resize` does, to float32 [B, size, size, 3]."""
    height, width = images.shape[1:3]
    planes = tf.reshape(tf.transpose(images, [1, 2, 0, 3]), [height, width, -1])
    resized = tf.reshape(resize(planes, size), [size, size, -1, 3])
    return tf.transpose(resized, [2, 0, 1, 3])


def _resize_lines(image: tf.Tensor, size: tf.Tensor, *, scale: float) -> tf.Tensor:
    """Resize whole numbers [L, M, C] to [size, M, C], times `scale`, rounded.

    The weight of line j in result i is `1 - |j + 0.5 - center| / support` where that is positive,
    in 256ths, rounded; `center = (i + 0.5) * L / size`, `support = max(L / size, 1)`. If more than
    31 lines on a side count, the weights are coarser than 256ths, so that their sum times eighths
    of grey levels stays below 2**24. Results are computed in blocks, each from the lines near it.
    """
    length, others = tf.shape(image)[0], tf.shape(image)[1:]
    longer = tf.maximum(length, size)
    # Rounded up; in ONNX -(-a // b) is not, as integers are divided towards 0.
    support = (longer + size - 1) // size  # lines
    blocks = (size + _BLOCK - 1) // _BLOCK
    first = _BLOCK * tf.range(blocks) * length // size - support
    near = tf.expand_dims(first, 1) + tf.range(_BLOCK * length // size + 2 * support + 2)
    lines = tf.clip_by_value(near, 0, length - 1)  # [blocks, lines]
    # The distance from the center in 1 / (2 * size) lines.
    center = tf.reshape((2 * tf.range(blocks * _BLOCK) + 1) * length, [-1, _BLOCK, 1])
    distance = tf.abs(tf.expand_dims((2 * near + 1) * size, 1) - center)
    nearness = tf.cast(tf.maximum(2 * longer - distance, 0), tf.float32)
    unit = tf.cast(tf.minimum(256, 8192 // support - 1), tf.float32)
    weights = tf.round(unit * nearness / tf.cast(2 * longer, tf.float32))
    weights *= tf.cast(tf.expand_dims(near == lines, 1), tf.float32)  # 0 beyond the image
    weighted = tf.matmul(weights, tf.gather(tf.reshape(image, [length, -1]), lines))
    # The last block may go beyond the image, where no line counts.
    sums = tf.maximum(tf.reduce_sum(weights, axis=2, keepdims=True), 1.0)
    # Optimisers multiply by the reciprocal of a constant divisor, which rounds otherwise. Where the
    # sides of an image are fixed the sums are constant, but for this 0, of which they cannot know.
    sums += tf.minimum(tf.reduce_min(image[:1, :1]), 0.0)
    resized = tf.reshape(tf.round(scale * weighted / sums), [blocks * _BLOCK, -1])
    return tf.reshape(resized[:size], tf.concat([[size], others], axis=0))


def _extent(lines: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the first true position and one past the last; (0, 0) if all are false."""
    positions = tf.cast(tf.where(lines)[:, 0], tf.int32)
    found = tf.size(positions) > 0
    # reduce_min of an empty tensor is the largest value of its type.
    return (
        tf.where(found, tf.reduce_min(positions), 0),
        tf.where(found, tf.reduce_max(positions) + 1, 0),
    )
