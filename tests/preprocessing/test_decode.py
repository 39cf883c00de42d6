"""Decoding equals Pillow's, with the EXIF orientation, and survives damaged headers."""

import io

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from breastus.preprocessing.decode import decode_image, exif_orientation


def jpeg(pixels, *, orientation=None, endian="<") -> bytes:
    exif = Image.Exif()
    exif.endian = endian
    exif[0x010F] = "a maker"  # an entry before and one behind the orientation
    if orientation is not None:
        exif[0x0112] = orientation
    exif[0x0131] = "software"
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90, exif=exif.tobytes())
    return buffer.getvalue()


@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize("orientation", [None, *range(1, 9)])
def test_jpeg_is_turned_upright_like_pillow(speckle, orientation, endian):
    encoded = jpeg(speckle(40, 56), orientation=orientation, endian=endian)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(encoded))).convert("RGB")
    decoded = tf.function(decode_image)(tf.constant(encoded))
    np.testing.assert_array_equal(decoded, np.asarray(expected))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "LA", "1"])
def test_png_modes_become_rgb(speckle, mode):
    image = Image.fromarray(speckle(20, 30)).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    np.testing.assert_array_equal(decode_image(buffer.getvalue()), np.asarray(image.convert("RGB")))


def test_sixteen_bits_keep_the_high_byte():
    levels = np.linspace(0, 65535, 600).astype(np.uint16).reshape(20, 30)
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, "PNG")
    np.testing.assert_array_equal(decode_image(buffer.getvalue())[..., 0], levels >> 8)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(2, 150), st.integers(0, 255)), max_size=8))
def test_damaged_header_never_raises(changes):
    pixels = np.full((8, 8, 3), 100, np.uint8)
    data = bytearray(jpeg(pixels, orientation=6))
    for position, value in changes:
        data[position] = value
    assert 1 <= int(exif_orientation(tf.constant(bytes(data)))) <= 8


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xe1\x00\x10Exif\x00\x00II"])
def test_short_data_is_upright(data):
    assert int(exif_orientation(tf.constant(data))) == 1
