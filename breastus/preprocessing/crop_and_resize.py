"""Crop black borders and resize, in TensorFlow ops: [H, W, C] to [S, S, C], values 0 to 255."""

import tensorflow as tf

# A border line is black when at most 1 % of its pixels are brighter than 10 of 255: it may hold
# JPEG noise or a stray annotation, but no echoes. Both numbers are our choice.
_BLACK_LEVEL = 10
_BLACK_LINE = 100  # one in so many
_BLOCKS = 8  # of rows that are resized together
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
    bright = tf.cast(bright, tf.int32)
    height, width = tf.shape(image)[0], tf.shape(image)[1]
    top, bottom = _extent(_BLACK_LINE * tf.reduce_sum(bright, axis=1) > width)
    left, right = _extent(_BLACK_LINE * tf.reduce_sum(bright, axis=0) > height)
    usable = (bottom - top >= _MIN_SIDE) & (right - left >= _MIN_SIDE)
    return tf.where(usable, [top, bottom, left, right], [0, height, 0, width])


def crop(image: tf.Tensor, box: tf.Tensor) -> tf.Tensor:
    """Return the part of an image [H, W, C] in a box from `border_box`."""
    top, bottom, left, right = tf.unstack(box)
    return image[top:bottom, left:right]


def resize(image: tf.Tensor, size: int, *, aspect: str = "squash") -> tf.Tensor:
    """Resize to a square with antialiasing, to the same grey levels in every runtime.

    The filter is the triangle of `tf.image.resize(method="bilinear", antialias=True)`, rows first.
    Its weights are whole numbers, and sums of whole numbers below 2**24 are exact in float32 in any
    order, so TensorFlow, ONNX Runtime and LiteRT agree. Results are within one grey level of
    `tf.image.resize`.

    Args:
        image: [H, W, C], any number type, whole numbers 0 to 255.
        size: side of the result in pixels.
        aspect: "squash" fills the square, as the study did; "keep" keeps the ratio of the sides
            and pads with black on both sides equally.

    Returns:
        float32 [size, size, C] in whole grey levels 0 to 255. Because of the rounding, pixels that
        training caches as uint8 equal the pixels of the exported graph.
    """
    height, width, channels = tf.shape(image)[0], tf.shape(image)[1], image.shape[-1]
    rows = columns = tf.constant(size)
    if aspect == "keep":
        longer = tf.maximum(height, width)
        rows = tf.maximum(height * size // longer, 1)
        columns = tf.maximum(width * size // longer, 1)
    down, across = _triangles(height, rows), _triangles(width, columns)
    resized = _resize_planes(image, down, across)
    if aspect == "keep":
        top, left = (size - rows) // 2, (size - columns) // 2
        around = [[top, size - rows - top], [left, size - columns - left], [0, 0]]
        resized = tf.pad(resized, around)
    return tf.ensure_shape(resized, [size, size, channels])


def _resize_planes(image: tf.Tensor, down: tf.Tensor, across: tf.Tensor) -> tf.Tensor:
    """Return float32 [rows, columns, C]; the planes of a grey image are resized once."""
    planes = [tf.cast(plane, tf.float32) for plane in tf.unstack(image, axis=-1)]
    if len(planes) == 1:
        return _resize_plane(planes[0], down, across)[..., None]
    first, *others = planes
    grey = tf.reduce_all([tf.reduce_all(first == other) for other in others])
    return tf.cond(
        grey,
        lambda: tf.stack([_resize_plane(first, down, across)] * len(planes), axis=-1),
        lambda: tf.stack([_resize_plane(plane, down, across) for plane in planes], axis=-1),
    )


def _resize_plane(plane: tf.Tensor, down: tf.Tensor, across: tf.Tensor) -> tf.Tensor:
    # Grey levels in sixteenths in between, then whole ones.
    shrunk = tf.round(16.0 * _banded(down, plane) / tf.reduce_sum(down, axis=1, keepdims=True))
    resized = _banded(across, tf.transpose(shrunk))
    return tf.transpose(tf.round(resized / (16.0 * tf.reduce_sum(across, axis=1, keepdims=True))))


def _banded(weights: tf.Tensor, lines: tf.Tensor) -> tf.Tensor:
    """Return `weights @ lines` block by block, without most of the zeros beside the diagonal."""
    size, length = tf.shape(weights)[0], tf.shape(weights)[1]
    support = -(-tf.maximum(length, size) // size)
    blocks = []
    for block in range(_BLOCKS):
        start, end = block * size // _BLOCKS, (block + 1) * size // _BLOCKS
        first = tf.maximum(start * length // size - support, 0)
        last = tf.minimum(end * length // size + support + 1, length)
        blocks.append(weights[start:end, first:last] @ lines[first:last])
    return tf.concat(blocks, axis=0)


def _triangles(length: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Return the weights that resize a line of `length` pixels to `size`.

    The weight of pixel j for pixel i is `1 - |j + 0.5 - center| / support` where that is positive,
    in 256ths, rounded; `center = (i + 0.5) * length / size`, `support = max(length / size, 1)`. It
    is computed in whole numbers. If a pixel has more than 16 weights on a side, they are coarser
    than 256ths, so that sums of them and of sixteenths of grey levels stay below 2**24.

    Returns:
        float32 [size, length], whole numbers; the rows are not divided by their sums.
    """
    longer = tf.maximum(length, size)
    support = -(-longer // size)  # pixels, rounded up
    unit = tf.minimum(256, 4096 // support - 1)
    pixel, center = 2 * tf.range(length) + 1, 2 * tf.range(size) + 1
    distance = tf.abs(pixel * size - center[:, None] * length)  # in 1 / (2 * size) pixels
    distance = tf.minimum(distance, 2 * longer)
    return tf.cast((unit * (2 * longer - distance) + longer) // (2 * longer), tf.float32)


def _extent(lines: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the first true position and one past the last; (0, 0) if all are false."""
    positions = tf.cast(tf.where(lines)[:, 0], tf.int32)
    found = tf.size(positions) > 0
    # reduce_min of an empty tensor is the largest value of its type.
    return (
        tf.where(found, tf.reduce_min(positions), 0),
        tf.where(found, tf.reduce_max(positions) + 1, 0),
    )
