"""Pixels of DICOM files in every form that is supported."""

import io
import struct

import numpy as np
import pydicom
import pytest
from dicom_maker import compressed, dataset, dicom, encoded
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.pixels import get_decoder
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.uid import (
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from breastus.data.dicom.dicom_file import DicomFile
from breastus.data.dicom.pixels import PixelReader
from breastus.data.dicom.privacy import Elements

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (12, 18), np.uint8)
COLOR = RNG.integers(0, 256, (12, 18, 3), np.uint8)


def frame(data: bytes, number: int = 1) -> np.ndarray:
    pixels = DicomFile.read(data).frame(number)
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    return pixels


def as_rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=-1)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_grey_values_are_shown_as_they_are(syntax):
    np.testing.assert_array_equal(frame(dicom(GREY, syntax=syntax)), as_rgb(GREY))
    white_is_low = dicom(GREY, syntax=syntax, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(frame(white_is_low), as_rgb(255 - GREY))


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_rgb_by_pixel_and_by_plane(syntax):
    np.testing.assert_array_equal(frame(dicom(COLOR, syntax=syntax)), COLOR)
    planes = np.ascontiguousarray(COLOR.transpose(2, 0, 1)).tobytes()
    by_plane = dicom(COLOR, syntax=syntax, PlanarConfiguration=1, PixelData=planes)
    np.testing.assert_array_equal(frame(by_plane), COLOR)


def test_bytes_swapped_in_words():
    odd = RNG.integers(0, 256, (3, 5, 7), np.uint8)  # frames of 35 bytes: words cross their ends
    made = dataset(odd, syntax=ExplicitVRBigEndian, NumberOfFrames=3)
    made.PixelData = np.frombuffer(made.PixelData, "<u2").astype(">u2").tobytes()
    made["PixelData"].VR = "OW"
    file = DicomFile.read(encoded(made))
    for number in (1, 2, 3):
        np.testing.assert_array_equal(file.frame(number), as_rgb(odd[number - 1]))


def test_sixteen_bits_keep_the_order_and_the_ends():
    wide = np.array([[0, 1000, 40000, 65535]], np.uint16)
    expected = np.rint(wide / 65535 * 255).astype(np.uint8)
    for syntax in (ImplicitVRLittleEndian, ExplicitVRBigEndian):
        np.testing.assert_array_equal(frame(dicom(wide, syntax=syntax)), as_rgb(expected))
    twelve = np.array([[0, 2048, 4095, 0xF000]], np.uint16)  # bits above the stored ones are noise
    np.testing.assert_array_equal(frame(dicom(twelve, BitsStored=12))[0, :, 0], [0, 128, 255, 0])
    signed = np.array([[-32768, 0, 32767]], np.int16)
    np.testing.assert_array_equal(frame(dicom(signed))[0, :, 0], [0, 128, 255])
    color = RNG.integers(0, 2**16, (4, 6, 3), np.uint16)
    np.testing.assert_array_equal(frame(dicom(color)), color >> 8)


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_values_of_fewer_bits_than_stated_are_shown_in_their_range(bits, photometric, dtype):
    values = np.array([[0, 2**bits // 4, 2**bits - 1]], dtype)
    slope = {"RescaleSlope": 2, "RescaleIntercept": -9} if bits == 10 else {}
    shown = frame(dicom(values, PhotometricInterpretation=photometric, **slope))[0, :, 0]
    expected = [0, 64, 255]
    if photometric == "MONOCHROME1":
        expected = [255 - level for level in expected]
    np.testing.assert_allclose(shown, expected, atol=1)


def test_negative_values_of_fewer_bits_than_stated():
    values = np.array([[-512, 0, 511]], np.int16)
    np.testing.assert_array_equal(frame(dicom(values))[0, :, 0], [0, 128, 255])
    windowed = dicom(values, WindowCenter=0, WindowWidth=65535)
    np.testing.assert_allclose(frame(windowed)[0, :, 0], [126, 128, 130], atol=1)


def test_colors_of_fewer_bits_than_stated():
    np.testing.assert_array_equal(frame(dicom(COLOR.astype(np.uint16))), COLOR)
    np.testing.assert_array_equal(frame(dicom(COLOR.astype(np.uint16) << 4)), COLOR)


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_tables_of_fewer_bits_than_stated(bits):
    levels = np.arange(256) << (bits - 8)
    item = pydicom.Dataset()
    item.LUTDescriptor, item.LUTData = [256, 0, 16], levels.tolist()
    item["LUTDescriptor"].VR = item["LUTData"].VR = "US"
    np.testing.assert_allclose(
        frame(dicom(GREY, VOILUTSequence=[item])).astype(int), as_rgb(GREY), atol=1
    )
    data = dict.fromkeys(("Red", "Green", "Blue"), levels.astype("<u2").tobytes())
    shown = frame(dicom(GREY, **palette([256, 0, 16], data)))
    np.testing.assert_array_equal(shown, as_rgb(GREY))


# What PS3.3 C.11.2.1.2.1, C.11.2.1.3.1 and .2 give for center 128 and width 101.
WINDOWS = [
    ("LINEAR", lambda x: np.clip((x - 127.5) / 100 + 0.5, 0, 1)),
    ("LINEAR_EXACT", lambda x: np.clip((x - 128) / 101 + 0.5, 0, 1)),
    ("SIGMOID", lambda x: 1 / (1 + np.exp(-4 * (x - 128) / 101))),
]


@pytest.mark.parametrize(("function", "formula"), WINDOWS)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_windows(function, formula, photometric):
    data = dicom(
        GREY,
        PhotometricInterpretation=photometric,
        WindowCenter=[128, 5],  # alternatives: the first counts
        WindowWidth=[101, 5],
        VOILUTFunction=function,
    )
    shown = formula(GREY.astype(float))
    shown = 1 - shown if photometric == "MONOCHROME1" else shown
    np.testing.assert_array_equal(frame(data), as_rgb(np.rint(255 * shown).astype(np.uint8)))


def test_a_window_of_one_is_a_threshold():
    data = dicom(GREY, WindowCenter=100.5, WindowWidth=1)
    np.testing.assert_array_equal(frame(data), as_rgb(np.where(GREY > 100, 255, 0)))


def test_rescale_comes_before_the_window():
    data = dicom(GREY, RescaleSlope=2, RescaleIntercept=-100, WindowCenter=100.5, WindowWidth=1)
    np.testing.assert_array_equal(frame(data), as_rgb(np.where(2.0 * GREY - 100 > 100, 255, 0)))
    np.testing.assert_array_equal(
        frame(dicom(GREY, RescaleSlope=-1, RescaleIntercept=0)), as_rgb(255 - GREY)
    )


@pytest.mark.parametrize("sequence", ["ModalityLUTSequence", "VOILUTSequence"])
def test_lookup_tables(sequence):
    item = pydicom.Dataset()
    item.LUTDescriptor = [4, 10, 16]  # stored 10, 11, 12, 13; others take the nearest entry
    item.LUTData = [0, 65535, 32768, 16384]
    item["LUTDescriptor"].VR = item["LUTData"].VR = "US"
    if sequence == "ModalityLUTSequence":
        item.ModalityLUTType = "US"
    grey = np.array([[0, 10, 11, 12, 13, 255]], np.uint8)
    shown = frame(dicom(grey, **{sequence: [item]}))[0, :, 0]
    np.testing.assert_array_equal(shown, [0, 0, 255, 128, 64, 64])


def full_range(ybr: np.ndarray) -> np.ndarray:
    y, b, r = (ybr[..., n].astype(float) - (0, 128, 128)[n] for n in range(3))
    rgb = [y + 1.402 * r, y - 0.344136 * b - 0.714136 * r, y + 1.772 * b]
    return np.clip(np.stack(rgb, axis=-1), 0, 255)


def test_ybr_full():
    found = frame(dicom(COLOR, PhotometricInterpretation="YBR_FULL")).astype(float)
    assert np.abs(found - full_range(COLOR)).max() < 1.0


@pytest.mark.parametrize("photometric", ["YBR_FULL_422", "YBR_PARTIAL_422"])
def test_ybr_with_halved_colours(photometric):
    halved = COLOR.copy()
    halved[:, 1::2, 1:] = halved[:, ::2, 1:]
    packed = np.stack(
        [halved[:, ::2, 0], halved[:, 1::2, 0], halved[:, ::2, 1], halved[:, ::2, 2]], axis=-1
    )
    found = frame(
        dicom(COLOR, PhotometricInterpretation=photometric, PixelData=packed.tobytes())
    ).astype(float)
    expected = full_range(halved)
    if "PARTIAL" in photometric:  # ITU-R BT.601, of which the standard's matrix is the inverse
        y, b, r = (halved[..., n].astype(float) - (16, 128, 128)[n] for n in range(3))
        expected = [
            1.1644 * y + 1.5960 * r,
            1.1644 * y - 0.3918 * b - 0.8130 * r,
            1.1644 * y + 2.0172 * b,
        ]
        expected = np.clip(np.stack(expected, axis=-1), 0, 255)
    assert np.abs(found - expected).max() < 1.0


def palette(descriptor: list[int], data: dict[str, bytes], prefix: str = "") -> dict:
    colors = ("Red", "Green", "Blue")
    return {
        "PhotometricInterpretation": "PALETTE COLOR",
        **{f"{color}PaletteColorLookupTableDescriptor": descriptor for color in colors},
        **{f"{prefix}{color}PaletteColorLookupTableData": data[color] for color in colors},
    }


def test_palettes():
    table = RNG.integers(0, 256, (256, 3)).astype(np.uint8)
    names = ("Red", "Green", "Blue")
    eight = {name: table[:, n].tobytes() for n, name in enumerate(names)}
    wide = {name: (table[:, n].astype("<u2") << 8).tobytes() for n, name in enumerate(names)}
    narrow = {name: table[:, n].astype("<u2").tobytes() for n, name in enumerate(names)}
    for descriptor, data in (([256, 0, 8], eight), ([256, 0, 16], wide), ([256, 0, 16], narrow)):
        np.testing.assert_array_equal(frame(dicom(GREY, **palette(descriptor, data))), table[GREY])
    few = {name: table[:16, n].tobytes() for n, name in enumerate(names)}
    shown = frame(dicom(GREY, **palette([16, 100, 8], few)))
    np.testing.assert_array_equal(shown, table[np.clip(GREY.astype(int) - 100, 0, 15)])


def test_segmented_palettes():
    # Two entries as they are, a ramp of four to 40001, a copy of both segments, PS3.3 C.7.9.2.
    codes = [0, 2, 7, 9, 1, 4, 40001, 2, 2, 0, 0]
    entries = np.array([7, 9, 10007, 20005, 30003, 40001] * 2)
    data = dict.fromkeys(("Red", "Green", "Blue"), struct.pack("<11H", *codes))
    grey = np.arange(12, dtype=np.uint8)[None]
    shown = frame(dicom(grey, **palette([12, 0, 16], data, prefix="Segmented")))
    assert np.abs(shown[0, :, 0].astype(int) - (entries >> 8)).max() == 0


def test_a_copied_palette_segment_starts_at_an_offset_in_bytes():
    # One entry, two entries from byte 6 on, a copy of the latter segment.
    codes = [0, 1, 5000, 0, 2, 256, 60000, 2, 1, 6, 0]
    data = dict.fromkeys(("Red", "Green", "Blue"), struct.pack("<11H", *codes))
    made = dicom(np.arange(5, dtype=np.uint8)[None], **palette([5, 0, 16], data, "Segmented"))
    np.testing.assert_array_equal(frame(made)[0, :, 0], [19, 1, 234, 1, 234])
    # pydicom takes the offset for a number of entries. Drop `_expand` when this no longer raises.
    read = pydicom.dcmread(io.BytesIO(made))
    with pytest.raises(ValueError, match="segment"):
        pydicom.pixels.apply_color_lut(read.pixel_array, read)


def rle(pixels: np.ndarray) -> bytes:
    return RLELosslessEncoder.encode(
        np.ascontiguousarray(pixels),
        rows=pixels.shape[0],
        columns=pixels.shape[1],
        samples_per_pixel=3 if pixels.ndim == 3 else 1,
        number_of_frames=1,
        bits_allocated=8 * pixels.dtype.itemsize,
        bits_stored=8 * pixels.dtype.itemsize,
        pixel_representation=0,
        photometric_interpretation="RGB" if pixels.ndim == 3 else "MONOCHROME2",
        planar_configuration=0,
    )


@pytest.mark.parametrize(
    "pixels", [GREY, COLOR, GREY.astype(np.uint16) * 257, COLOR // 64 * 64], ids=str
)
def test_run_lengths(pixels):
    data = compressed([rle(pixels)], pixels, syntax=RLELossless)
    expected = (pixels >> 8).astype(np.uint8) if pixels.dtype == np.uint16 else pixels
    np.testing.assert_array_equal(frame(data), expected if pixels.ndim == 3 else as_rgb(expected))


def jpeg(pixels: np.ndarray, form: str = "JPEG", **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()


def test_jpeg_and_jpeg_2000(speckle):
    color = speckle(32, 48)
    color[..., 1] //= 2
    stored = jpeg(color)
    data = compressed(
        [stored], color, syntax=JPEGBaseline8Bit, PhotometricInterpretation="YBR_FULL_422"
    )
    np.testing.assert_array_equal(frame(data), np.asarray(Image.open(io.BytesIO(stored))))
    stored = jpeg(color, "JPEG2000", irreversible=False, no_jp2=True)
    for photometric in ("YBR_RCT", "RGB"):
        data = compressed(
            [stored], color, syntax=JPEG2000Lossless, PhotometricInterpretation=photometric
        )
        np.testing.assert_array_equal(frame(data), color)
    grey = np.ascontiguousarray(color[..., 1])
    data = compressed([jpeg(grey)], grey, syntax=JPEGBaseline8Bit)
    assert np.abs(frame(data)[..., 0].astype(int) - grey).max() < 30


def test_a_jpeg_with_an_adobe_marker_is_converted_once(speckle):
    color = speckle(32, 48)
    color[..., 1] //= 2
    stored = jpeg(color)
    start = stored.index(b"JFIF") - 4
    end = start + 2 + int.from_bytes(stored[start + 2 : start + 4], "big")
    marker = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x01"  # 1: Y, Cb and Cr
    data = compressed(
        [stored[:start] + marker + stored[end:]],
        color,
        syntax=JPEGBaseline8Bit,
        PhotometricInterpretation="YBR_FULL_422",
    )
    np.testing.assert_array_equal(frame(data), np.asarray(Image.open(io.BytesIO(stored))))


# Of the files that come with pydicom these are ultrasound.
@pytest.mark.parametrize("names", [b"RGB", b"\0\1\2", b"\1\2\3"])
def test_rgb_in_jpeg_without_a_marker(names):
    smooth = np.add.outer(np.arange(30), np.arange(20)).astype(np.uint8)
    color = np.stack([smooth * 4, 200 - smooth * 2, smooth + 90], axis=-1)
    data = jpeg(color, quality=100, subsampling=0, keep_rgb=True)
    data = _named(data, names)
    made = compressed([data], color, syntax=JPEGBaseline8Bit)
    assert np.abs(frame(made).astype(int) - color).max() < 5


def test_ycbcr_in_jpeg_that_the_header_calls_rgb():
    smooth = np.add.outer(np.arange(32), np.arange(16)).astype(np.uint8)
    color = np.stack([smooth * 4, 200 - smooth * 2, smooth + 90], axis=-1)
    data = _named(jpeg(color, quality=100, subsampling=2), b"\1\2\3")
    made = compressed([data], color, syntax=JPEGBaseline8Bit)
    assert np.abs(frame(made).astype(int) - color).max() < 25


def _named(data: bytes, names: bytes) -> bytes:
    """A JPEG without its markers APP0 and APP14, whose components have these names."""
    parts, at = [data[:2]], 2
    while True:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        part = bytearray(data[at : at + 2 + length])
        if marker == 0xC0:
            part[10::3] = names
        if marker == 0xDA:
            part[5:11:2] = names
            return b"".join(parts) + bytes(part) + data[at + 2 + length :]
        if marker not in (0xE0, 0xEE):
            parts.append(bytes(part))
        at += 2 + length


REAL = ["examples_jpeg2k", "examples_palette", "examples_rgb_color", "examples_ybr_color"]


@pytest.mark.parametrize("name", [*REAL, "ExplVR_BigEnd"])
def test_real_ultrasound_files(name):
    path = get_testdata_file(f"{name}.dcm", download=False)
    file = DicomFile.read(path)
    made = pydicom.dcmread(path)
    expected, _ = get_decoder(made.file_meta.TransferSyntaxUID).as_array(
        made,
        index=0,
        decoding_plugin="pillow" if made.file_meta.TransferSyntaxUID.is_compressed else "",
    )
    if name == "examples_palette":
        expected = pydicom.pixels.apply_color_lut(expected, made) >> 8
    np.testing.assert_array_equal(file.frame(1), expected)
    if name == "examples_ybr_color":
        assert file.frames == 30
    # Two of them were shrunk after their regions were written, which then lie outside.
    shrunk = name in ("examples_palette", "examples_ybr_color")
    assert file.flags == ("impossible_region" if shrunk else "no_region",)


@pytest.mark.parametrize(
    "name",
    [
        "SC_rgb_jpeg.dcm",  # R, G and B behind an Adobe marker that is cut short
        "SC_rgb_jpeg_app14_dcmd.dcm",
        "SC_jpeg_no_color_transform.dcm",  # R, G and B without any marker
        "SC_rgb_dcmtk_+eb+cr.dcm",
        "SC_rgb_dcmtk_+eb+cy+n1.dcm",
        "SC_rgb_dcmtk_+eb+cy+s4.dcm",
        "SC_rgb_gdcm_KY.dcm",
        "SC_rgb_rle_16bit_2frame.dcm",
        "SC_rgb_small_odd_big_endian.dcm",
        "SC_ybr_full_422_uncompressed.dcm",
        "MR_small_RLE.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_jp2klossless.dcm",
    ],
)
def test_pixels_equal_pydicoms(name):
    made = pydicom.dcmread(get_testdata_file(name, download=False))
    expected = pydicom.pixels.pixel_array(made, index=0)
    if expected.dtype.kind == "i":
        assert 0 <= expected.min() < 2048 <= expected.max() < 4096  # 12 of 15 bits
        expected = np.rint(expected / 4095 * 255)
        expected = as_rgb(expected.astype(np.uint8))
    elif expected.dtype.itemsize == 2:
        expected = expected >> 8
    for keyword in ("WindowCenter", "WindowWidth"):
        if keyword in made:
            delattr(made, keyword)
    reader = PixelReader(Elements(name, made), need_pixels=True)
    np.testing.assert_array_equal(reader.frame(0), expected)
