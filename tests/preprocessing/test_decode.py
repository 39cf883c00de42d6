"""Decoding equals Pillow's, with the EXIF orientation, and survives damaged headers."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from breastus.data.images import read_image, upright_pixels
from breastus.data.orientation import file_orientation
from breastus.preprocessing.decode import decode_image, orientation


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


def bare(pixels, form="JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, quality=90)
    return buffer.getvalue()


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(content)) + content


def chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def exif(orientation: int, order: str = "<", kind: int = 3) -> bytes:
    value = struct.pack({1: f"{order}Bxxx", 3: f"{order}Hxx", 4: f"{order}I"}[kind], orientation)
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IH", 8, 1)
    return head + struct.pack(f"{order}HHI", 0x0112, kind, 1) + value + bytes(4)


def xmp(orientation: int) -> bytes:
    return b'<rdf:Description tiff:Orientation="%d"/>' % orientation


JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
PNG_XMP = b"XML:com.adobe.xmp\0\0\0\0\0"
ICC = [segment(0xE2, b"ICC_PROFILE\0" + bytes([part, 3]) + bytes(65000)) for part in (1, 2, 3)]
THUMBNAIL = segment(0xE1, b"Exif\0\0" + exif(3))
JPEG_HEADERS = {
    "LONG, big-endian": [segment(0xE1, b"Exif\0\0" + exif(6, ">", 4))],
    "BYTE": [segment(0xE1, b"Exif\0\0" + exif(6, ">", 1))],
    "behind 195 KB": [*ICC, segment(0xE1, b"Exif\0\0" + exif(6))],
    "XMP only": [segment(0xE1, JPEG_XMP + xmp(6))],
    "XMP first, other": [
        segment(0xE1, JPEG_XMP + xmp(3)),
        segment(0xE1, b"Exif\0\0" + exif(6)),
    ],
    "XMP of 1 behind EXIF without": [
        segment(0xE1, b"Exif\0\0" + exif(6).replace(b"\x12\x01", b"\x0f\x01")),
        segment(0xE1, JPEG_XMP + b"\xff\xfe" + xmp(6)),
    ],
    "a thumbnail in another segment": [segment(0xED, b"Photoshop" + THUMBNAIL)],
    "a file in a comment": [segment(0xFE, b"\xff\xd8" + THUMBNAIL)],
    "none": [],
}
PNG_HEADERS = {
    "eXIf": chunk(b"eXIf", exif(6, ">")),
    "XMP": chunk(b"iTXt", PNG_XMP + xmp(6)),
    "text": chunk(b"tEXt", b"comment\0" + exif(6) + xmp(6)),
    "none": b"",
}


@pytest.mark.parametrize("header", JPEG_HEADERS)
def test_one_decision_about_the_orientation_of_jpeg(speckle, header):
    data = bare(speckle(40, 56))
    data = data[:2] + b"".join(JPEG_HEADERS[header]) + data[2:]
    upright = "BYTE", "none", "a thumbnail in another segment", "a file in a comment"
    _check_decision(data, turned=header not in upright)


@pytest.mark.parametrize("header", PNG_HEADERS)
def test_one_decision_about_the_orientation_of_png(speckle, header):
    data = bare(speckle(40, 56), "PNG")
    data = data[:33] + PNG_HEADERS[header] + data[33:]
    _check_decision(data, turned=header in ("eXIf", "XMP"))


def _check_decision(data: bytes, *, turned: bool) -> None:
    assert file_orientation(data) == int(orientation(tf.constant(data))) == (6 if turned else 1)
    opened = Image.open(io.BytesIO(data))
    expected = np.asarray(ImageOps.exif_transpose(opened))
    assert expected.shape[:2] == ((56, 40) if turned else (40, 56))
    np.testing.assert_array_equal(decode_image(data), expected)
    np.testing.assert_array_equal(read_image(data), expected)
    np.testing.assert_array_equal(upright_pixels(opened), expected)


def test_damaged_headers_give_the_same_decision(speckle):
    rng, small = np.random.default_rng(0), speckle(8, 8)
    jpegs = [b"".join(parts) for name, parts in JPEG_HEADERS.items() if "195" not in name]
    whole = [bare(small)[:2] + part + bare(small)[2:] for part in jpegs]
    png = bare(small, "PNG")
    whole += [png[:33] + part + png[33:] for part in PNG_HEADERS.values()]
    compiled = tf.function(orientation, input_signature=[tf.TensorSpec([], tf.string)])
    found = []
    for number in range(400):
        data = bytearray(whole[number % len(whole)])
        for _ in range(rng.integers(1, 6)):
            data[rng.integers(min(len(data), 150))] = rng.choice([0, 1, 6, 8, 255, 0xDA, 0xE1])
        data = bytes(data[: rng.integers(1, 200) if number % 7 == 0 else None])
        assert file_orientation(data) == int(compiled(data)), (number, data)
        found.append(file_orientation(data))
    assert found.count(6) > 50
    assert found.count(1) > 50


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xe1\x00\x10Exif\x00\x00II"])
def test_short_data_is_upright(data):
    assert int(orientation(tf.constant(data))) == file_orientation(data) == 1
