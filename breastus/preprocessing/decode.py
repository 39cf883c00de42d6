"""Decode PNG and JPEG files, in TensorFlow ops: a scalar string in, uint8 [H, W, 3] out.

It runs inside `tf.data` and inside the exported graph. JPEGs are decoded with the accurate integer
DCT, which gives the pixels of libjpeg's default decoder, and turned upright by their EXIF
orientation, which TensorFlow's own decoder ignores.
"""

import tensorflow as tf

# A JPEG's Exif segment holds at most 64 KB and follows the file's first few markers.
_HEADER_BYTES = 2 * 65536
_EXIF_MARKER = (0xFF, 0xE1, None, None, 0x45, 0x78, 0x69, 0x66, 0x00, 0x00)  # APP1, length, "Exif"
_ORIENTATION_TAG = 0x0112


def decode_image(encoded: tf.Tensor) -> tf.Tensor:
    """Decode one file.

    Args:
        encoded: PNG or JPEG file (scalar string). Grey images become RGB, alpha is dropped, 16-bit
            values keep their high byte.

    Returns:
        uint8 tensor [H, W, 3], RGB, values 0 to 255.
    """
    image = tf.cond(
        tf.io.is_jpeg(encoded),
        lambda: _upright(
            tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE"),
            exif_orientation(encoded),
        ),
        lambda: tf.io.decode_image(encoded, channels=3, expand_animations=False),
    )
    return tf.ensure_shape(image, [None, None, 3])


def exif_orientation(encoded: tf.Tensor) -> tf.Tensor:
    """Return a JPEG's EXIF orientation: int32, 1 (upright, also the default) to 8."""
    data = tf.cast(
        tf.io.decode_raw(tf.strings.substr(encoded, 0, _HEADER_BYTES), tf.uint8), tf.int32
    )
    # A damaged header then reads zeros, not beyond the tensor.
    data = tf.pad(data, [[0, 32]])
    size = tf.size(data)

    width = size - len(_EXIF_MARKER) + 1
    found = tf.ones([width], tf.bool)
    for offset, byte in enumerate(_EXIF_MARKER):
        if byte is not None:
            found &= data[offset : offset + width] == byte
    start = tf.cast(tf.argmax(tf.cast(found, tf.int32)), tf.int32) + len(_EXIF_MARKER)

    little_endian = data[tf.minimum(start, size - 1)] == ord("I")

    def number(position: tf.Tensor, length: int) -> tf.Tensor:
        position = tf.clip_by_value(position, 0, size - length)
        octets = tf.stack([tf.gather(data, position + i) for i in range(length)], axis=-1)
        octets = tf.where(little_endian, octets[..., ::-1], octets)
        return tf.reduce_sum(octets * [256**i for i in reversed(range(length))], axis=-1)

    directory = start + number(start + 4, 4) % size
    entries = tf.minimum(number(directory, 2), (size - 2) // 12)
    positions = directory + 2 + 12 * tf.range(entries)
    is_orientation = (number(positions, 2) == _ORIENTATION_TAG) & (positions < size - 12)
    # The tag occurs once, all other values are 0.
    value = tf.reduce_max(
        tf.concat([[0], tf.where(is_orientation, number(positions + 8, 2), 0)], axis=0)
    )
    known = tf.reduce_any(found) & (value >= 1) & (value <= 8)
    return tf.where(known, value, 1)


def _upright(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turn and mirror [H, W, 3] by its EXIF orientation, 1 to 8 (CIPA DC-008)."""

    def when(values: tuple[int, ...], change, image: tf.Tensor) -> tf.Tensor:
        chosen = tf.reduce_any(orientation == tf.constant(values))
        return tf.cond(chosen, lambda: change(image), lambda: image)

    image = when((5, 6, 7, 8), lambda x: tf.transpose(x, [1, 0, 2]), image)
    image = when((2, 3, 6, 7), lambda x: tf.reverse(x, [1]), image)
    return when((3, 4, 7, 8), lambda x: tf.reverse(x, [0]), image)
