"""Decode PNG and JPEG files, in TensorFlow ops: a scalar string in, uint8 [H, W, 3] out.

It runs inside the exported graph, for callers that have TensorFlow alone; breastus itself decodes
files in `breastus.data.images`, to the same pixels. JPEGs are decoded with the accurate integer
DCT, as libjpeg's default decoder does. Files are turned upright as `breastus.data.orientation`
says, function by function.
"""

import tensorflow as tf

from breastus.data.orientation import (
    JPEG_EXIF,
    JPEG_XMP,
    MAX_BLOCKS,
    MAX_BYTES,
    ORIENTATION_TAG,
    PNG_SIGNATURE,
    PNG_XMP,
    TYPE_BYTES,
    XMP_PATTERN,
)

_PADDING = b"\0" * 64  # behind the file, so that no header is read past its end


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
        lambda: tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE"),
        lambda: tf.io.decode_image(encoded, channels=3, expand_animations=False),
    )
    image = tf.ensure_shape(image, [None, None, 3])
    return _upright(image, orientation(encoded))


def orientation(encoded: tf.Tensor) -> tf.Tensor:
    """Return the orientation of a file (scalar string): int64, 1 (upright) to 8."""
    exif, xmp = _metadata(encoded)
    named = _exif_orientation(exif)
    # \C is any byte: a damaged file is not UTF-8.
    pattern = rf"\C*?{XMP_PATTERN}\C*"
    digit = tf.where(
        tf.strings.regex_full_match(xmp, pattern),
        tf.strings.regex_replace(xmp, pattern, r"\1", replace_global=False),
        "1",
    )
    return tf.where(named > 0, named, tf.strings.to_number(digit, tf.int64))


def _metadata(encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the EXIF and the XMP data of a file, "" where it has none."""
    size = tf.cast(tf.strings.length(encoded), tf.int64)
    padded = tf.strings.join([encoded, _PADDING])
    jpeg = tf.io.is_jpeg(encoded)
    png = tf.strings.substr(padded, 0, len(PNG_SIGNATURE)) == PNG_SIGNATURE

    def piece(at: tf.Tensor, length: int) -> tf.Tensor:
        return tf.strings.substr(padded, tf.minimum(at, size), length)

    def starts_with(at: tf.Tensor, text: bytes) -> tf.Tensor:
        return piece(at, len(text)) == text

    def is_block(at: tf.Tensor, *found: tf.Tensor) -> tf.Tensor:
        marker = starts_with(at, b"\xff") & ~starts_with(at + 1, b"\xda")
        return (at + 8 <= size) & (png | (jpeg & marker))

    def read_block(
        at: tf.Tensor, exif: tf.Tensor, exif_end: tf.Tensor, xmp: tf.Tensor, xmp_end: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        # Segment: FF, marker, length in two bytes that counts itself, content.
        # Chunk: length in four bytes, kind in four bytes, content, checksum.
        content = at + tf.where(jpeg, tf.constant(4, tf.int64), tf.constant(8, tf.int64))
        octets = tf.cast(tf.io.decode_raw(piece(at, 4), tf.uint8), tf.int64)
        weights = tf.where(jpeg, [0, 0, 256, 1], [1 << 24, 1 << 16, 256, 1])
        length = tf.reduce_sum(octets * tf.cast(weights, tf.int64))
        end = tf.where(jpeg, at + 2, content) + length
        app1, chunk = jpeg & starts_with(at + 1, b"\xe1"), piece(at + 4, 4)

        marked = starts_with(content, JPEG_EXIF) & (end >= content + len(JPEG_EXIF))
        is_exif = tf.where(jpeg, app1 & marked, chunk == b"eXIf") & (exif_end <= exif)
        begin = tf.where(marked, content + len(JPEG_EXIF), content)
        jpeg_xmp = app1 & starts_with(content, JPEG_XMP) & (end >= content + len(JPEG_XMP))
        png_xmp = ~jpeg & (chunk == b"iTXt") & starts_with(content, PNG_XMP)
        is_xmp = jpeg_xmp | (png_xmp & (end >= content + len(PNG_XMP)))
        is_xmp &= xmp_end <= xmp
        return (
            tf.where(jpeg, end, end + 4),
            tf.where(is_exif, begin, exif),
            tf.where(is_exif, end, exif_end),
            tf.where(is_xmp, content, xmp),
            tf.where(is_xmp, end, xmp_end),
        )

    zero = tf.constant(0, tf.int64)
    start = tf.where(jpeg, tf.constant(2, tf.int64), tf.constant(8, tf.int64))
    _, *ranges = tf.while_loop(
        is_block, read_block, (start, zero, zero, zero, zero), maximum_iterations=MAX_BLOCKS
    )
    exif, exif_end, xmp, xmp_end = (tf.minimum(position, size) for position in ranges)
    return (
        tf.strings.substr(padded, exif, tf.clip_by_value(exif_end - exif, 0, MAX_BYTES)),
        tf.strings.substr(padded, xmp, tf.clip_by_value(xmp_end - xmp, 0, MAX_BYTES)),
    )


def _exif_orientation(exif: tf.Tensor) -> tf.Tensor:
    """Return the orientation in EXIF data (scalar string), 0 if they name none: int64."""
    little = tf.strings.substr(exif, 0, tf.minimum(4, tf.strings.length(exif))) == b"II*\0"
    big = tf.strings.substr(exif, 0, tf.minimum(4, tf.strings.length(exif))) == b"MM\0*"
    data = tf.cast(tf.io.decode_raw(exif, tf.uint8), tf.int64)
    size = tf.size(data, tf.int64)
    data = tf.concat([data, tf.zeros([16], tf.int64)], axis=0)

    def number(at: tf.Tensor, length: int) -> tf.Tensor:
        at = tf.clip_by_value(at, 0, size)
        octets = tf.stack([tf.gather(data, at + i) for i in range(length)], axis=-1)
        octets = tf.where(little, octets[..., ::-1], octets)
        return tf.reduce_sum(octets * [256**i for i in reversed(range(length))], axis=-1)

    directory = number(tf.constant(4, tf.int64), 4)
    entries = tf.minimum(number(directory, 2), tf.maximum(size - directory - 2, 0) // 12)
    at = directory + 2 + 12 * tf.range(entries)
    at = tf.boolean_mask(at, number(at, 2) == ORIENTATION_TAG)[:1]
    kind, value = number(at + 2, 2), tf.zeros_like(at)
    for number_of_type, length in TYPE_BYTES.items():
        value = tf.where(kind == number_of_type, number(at + 8, length), value)
    value = tf.reduce_sum(value)  # of one entry, or none
    known = (little | big) & (size >= 10) & (value >= 1) & (value <= 8)
    return tf.where(known, value, 0)


def _upright(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turn and mirror [H, W, 3] by its orientation, 1 to 8."""

    def when(values: tuple[int, ...], change, image: tf.Tensor) -> tf.Tensor:
        chosen = tf.reduce_any(orientation == tf.constant(values, tf.int64))
        return tf.cond(chosen, lambda: change(image), lambda: image)

    image = when((5, 6, 7, 8), lambda x: tf.transpose(x, [1, 0, 2]), image)
    image = when((2, 3, 6, 7), lambda x: tf.reverse(x, [1]), image)
    return when((3, 4, 7, 8), lambda x: tf.reverse(x, [0]), image)
