"""Image files: the same pixels here and in the graph, and a clear error for other files."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from breastus.data.images import ImageFile, read_image, to_png
from breastus.errors import ImageError
from breastus.preprocessing.decode import decode_image


def save(image: Image.Image, form: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def oriented(image: Image.Image, form: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return save(image, form, exif=exif)


FORMS = [
    *(("PNG", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
    *(("JPEG", mode) for mode in ("L", "RGB", "CMYK")),
    *(("BMP", mode) for mode in ("1", "L", "P", "RGB")),
    *(("TIFF", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16")),
    *(("WEBP", mode) for mode in ("L", "RGB", "RGBA")),
]


def _image(speckle, mode: str) -> Image.Image:
    pixels = speckle(30, 41)
    if mode == "I;16":
        return Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    pixels[..., 1] //= 2  # coloured, so that mixed-up channels show
    return Image.fromarray(pixels).convert(mode)


@pytest.mark.parametrize(("form", "mode"), FORMS)
def test_every_form_has_the_same_pixels_here_and_in_the_graph(speckle, form, mode):
    image = _image(speckle, mode)
    file = ImageFile.read(save(image, form))
    assert file.pixels.shape == (30, 41, 3)
    assert file.pixels.dtype == np.uint8
    np.testing.assert_array_equal(decode_image(to_png(file.pixels)), file.pixels)
    if mode == "I;16":
        np.testing.assert_array_equal(file.pixels[..., 0], np.asarray(image) >> 8)
    elif form not in ("JPEG", "WEBP"):
        np.testing.assert_array_equal(file.pixels, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_upright(speckle, form, orientation):
    data = oriented(Image.fromarray(speckle(20, 33)), form, orientation)
    file = ImageFile.read(data)
    assert file.pixels.shape[:2] == ((33, 20) if orientation > 4 else (20, 33))
    np.testing.assert_array_equal(decode_image(to_png(file.pixels)), file.pixels)


@pytest.mark.parametrize(
    "name", ["with space.png", "benign (1) [x].png", "снимок.png", "ünï.PNG", "a%20b#c?.png"]
)
def test_files_may_have_any_name(tmp_path, speckle, name):
    path = tmp_path / name
    path.write_bytes(to_png(speckle(8, 9)))
    np.testing.assert_array_equal(read_image(path), speckle(8, 9))


def _bomb(side: int) -> bytes:
    """A PNG header that promises side x side pixels, and next to no data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def _truncated(form: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (60, 60, 3), np.uint8)
    data = save(Image.fromarray(pixels), form)
    return data[: len(data) // 2]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"hello, this is no image at all", "is not a PNG, JPEG, BMP, TIFF, WebP or DICOM"),
        (b"GIF89a" + bytes(40), "is not a PNG, JPEG, BMP, TIFF, WebP or DICOM"),
        (_truncated("PNG"), "is damaged"),
        (_truncated("JPEG"), "is damaged"),
        (_truncated("TIFF"), "is damaged"),
        (_truncated("BMP"), "is damaged"),
        (b"\x89PNG\r\n\x1a\n", "image.png"),
        (_bomb(10_000), "too large"),
        (_bomb(30_000), "too large"),
    ],
)
def test_files_that_are_no_image_are_named(tmp_path, data, message):
    path = tmp_path / "image.png"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=message) as caught:
        read_image(path)
    assert str(path) in str(caught.value)


def test_files_that_cannot_be_opened_are_named(tmp_path):
    with pytest.raises(ImageError, match=r"nothing.png cannot be opened: No such file"):
        read_image(tmp_path / "nothing.png")
    with pytest.raises(ImageError, match="directory"):
        read_image(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match="not a file"):
        read_image(tmp_path / "pipe.png")


@pytest.mark.parametrize(
    ("values", "received"),
    [
        (np.ones((4, 4), np.float32), "floating-point values"),
        (np.full((4, 4), 10**6, np.int32), "values of 1000000 to 1000000 in 32 bits"),
        (np.arange(0, 4096, 64, dtype=np.int32).reshape(8, 8), "values of 0 to 4032 in 32 bits"),
        (np.array([[-1, 5]], np.int32), "values of -1 to 5 in 32 bits"),
    ],
)
def test_values_of_unknown_scale_are_refused(values, received):
    with pytest.raises(ImageError, match=f"scale is unknown.*Received: {received}"):
        read_image(save(Image.fromarray(values), "TIFF"))


def tiff(data: bytes, shape: tuple[int, int], tags: dict[int, int], *, planes: int = 1) -> bytes:
    """A TIFF file of one strip a plane, as other programs write it."""
    height, width = shape
    tags = {
        256: width,
        257: height,
        258: 8,
        259: 1,
        262: 1,
        277: 1,
        278: height,
        279: len(data) // planes,
        **tags,
    }
    tags[273] = first = 8 + 2 + 12 * (len(tags) + 1) + 4
    counts = dict.fromkeys(tags, 1)
    if planes > 1:  # values of more than four bytes stand behind the pixels
        bits, sizes = [tags[258]] * planes, [tags[279]] * planes
        starts = [first + plane * tags[279] for plane in range(planes)]
        for at, tag in enumerate((258, 273, 279)):
            tags[tag], counts[tag] = first + len(data) + 4 * planes * at, planes
        data += struct.pack(f"<{3 * planes}I", *bits, *starts, *sizes)
    entries = b"".join(struct.pack("<HHII", tag, 4, counts[tag], tags[tag]) for tag in sorted(tags))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + data


GREYS = np.arange(240, dtype=np.uint16).reshape(12, 20)


def test_each_number_of_bits_in_tiff_has_its_range():
    shape = GREYS.shape
    high, low = (GREYS << 4).reshape(-1, 2).T
    packed = np.stack([high >> 4, (high & 15) << 4 | low >> 8, low & 255], axis=1)
    whole = tiff((GREYS * 257).tobytes(), shape, {258: 16})
    twelve = tiff(packed.astype(np.uint8).tobytes(), shape, {258: 12})
    ints = save(Image.fromarray(GREYS.astype(np.int32)), "TIFF")
    for data in (whole, twelve, ints):
        np.testing.assert_array_equal(read_image(data)[..., 0], GREYS)


@pytest.mark.parametrize("bits", [1, 8, 16])
def test_zero_may_be_white_in_tiff(bits):
    greys = GREYS.astype(np.uint8)
    stored = {1: np.packbits(greys < 128, axis=1), 8: 255 - greys, 16: 65535 - GREYS * 257}[bits]
    data = tiff(stored.tobytes(), GREYS.shape, {258: bits, 262: 0})
    expected = np.where(greys < 128, 0, 255) if bits == 1 else greys
    np.testing.assert_array_equal(read_image(data)[..., 0], expected)


def test_colours_in_planes_are_right_or_refused():
    color = np.stack([GREYS, 255 - GREYS, GREYS // 2])
    tags = {262: 2, 277: 3, 284: 2}
    eight = tiff(color.astype(np.uint8).tobytes(), GREYS.shape, {258: 8, **tags}, planes=3)
    np.testing.assert_array_equal(read_image(eight), np.moveaxis(color, 0, -1))
    sixteen = tiff((color * 257).tobytes(), GREYS.shape, {258: 16, **tags}, planes=3)
    with pytest.raises(ImageError, match=r"colours in planes of 16 bits.*Export it with 8 bits"):
        read_image(sixteen)


@pytest.mark.parametrize("bits", [10, 14, 64])
def test_tiff_with_an_unusual_number_of_bits_is_not_called_no_tiff(bits):
    data = tiff(bytes(240 * 8), (12, 20), {258: bits})
    with pytest.raises(ImageError, match="is a TIFF file in a form that cannot be read"):
        read_image(data)


def test_signed_tiff_is_refused():
    data = tiff(bytes(240), (12, 20), {339: 2})
    with pytest.raises(ImageError, match=r"scale is unknown.*signed"):
        read_image(data)


def test_phantoms_declare_themselves(speckle):
    assert ImageFile.read(to_png(speckle(8, 8), simulated=True)).simulated
    assert not ImageFile.read(to_png(speckle(8, 8))).simulated


def test_shrinking(speckle):
    assert read_image(to_png(speckle(100, 50), side=20)).shape == (20, 10, 3)
    assert read_image(to_png(speckle(10, 5), side=20)).shape == (10, 5, 3)
