"""Damaged files, made by number, and how the readers handle them. Run in a process of its own.

    python tests/helpers/fuzzing.py FIRST COUNT FOLDER [graph]

File `n` is the same whenever it is made. Its number is written to FOLDER/at before it is read, so
that the one that ends the process is known; what was found is printed as JSON.

With `graph`, images also pass through the TensorFlow graph: the transform, `decode_image` of their
PNG, and of the file itself if it is a PNG or JPEG that TensorFlow decodes.
"""

import faulthandler
import functools
import io
import json
import re
import resource
import struct
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from dicom_maker import MARKER, compressed, dataset, dicom, region, without_preamble
from PIL import Image

from breastus.data.images import ImageFile, to_png
from breastus.data.sources.content import SourceImage
from breastus.data.sources.dicom_folder import expand_frames
from breastus.errors import ImageError

SECONDS = 10  # the longest one file may take; a hundred times what whole ones do
MEGABYTES = 1024  # the most the process may ever hold: a frame of 50 million pixels takes 600
GRAPH_MEGABYTES = 3072  # with TensorFlow
_GRAPH_PIXELS = 4_000_000  # larger images are not taken through the graph

_NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


@functools.cache
def whole_files() -> dict[str, bytes]:
    """Return small files of every kind that is read, by name."""
    rng = np.random.default_rng(0)
    color = rng.integers(0, 255, (5, 6, 3), np.uint8).repeat(6, axis=0).repeat(8, axis=1)
    color += rng.integers(0, 9, color.shape, np.uint8)
    grey = np.ascontiguousarray(color[..., 0])
    return {**_pictures(color), **_dicom_files(color, grey)}


def _pictures(color: np.ndarray) -> dict[str, bytes]:
    image = Image.fromarray(color)
    deep = Image.fromarray(color[..., 0].astype(np.uint16) * 257)
    turned = Image.Exif()
    turned[0x0112] = 6
    made = {"a deep.png": _saved(deep, "PNG"), "a deep.tif": _saved(deep, "TIFF")}
    for mode in ("1", "L", "P", "RGB", "RGBA", "LA"):
        made[f"{mode}.png"] = _saved(image.convert(mode), "PNG")
    for mode in ("L", "RGB", "CMYK"):
        made[f"{mode}.jpg"] = _saved(image.convert(mode), "JPEG", exif=turned)
    made["progressive.jpg"] = _saved(image, "JPEG", progressive=True)
    for mode in ("1", "L", "P", "RGB"):
        made[f"{mode}.bmp"] = _saved(image.convert(mode), "BMP")
        made[f"{mode}.tif"] = _saved(image.convert(mode), "TIFF")
    for packing in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg"):
        made[f"{packing}.tif"] = _saved(image, "TIFF", compression=packing)
    made["32.tif"] = _saved(Image.fromarray(color[..., 0].astype(np.int32)), "TIFF")
    for mode in ("L", "RGB", "RGBA"):
        made[f"{mode}.webp"] = _saved(image.convert(mode), "WEBP", exif=turned)
    made["lossless.webp"] = _saved(image, "WEBP", lossless=True)
    made["turned.png"] = _saved(image, "PNG", exif=turned)
    made["described.jpg"] = _saved(
        image, "JPEG", icc_profile=bytes(3000), xmp=b'<x tiff:Orientation="8"/>'
    )
    return made


def _dicom_files(color: np.ndarray, grey: np.ndarray) -> dict[str, bytes]:
    names = ("Red", "Green", "Blue")
    table = np.arange(256, dtype="<u2") << 8
    palette = {
        "PhotometricInterpretation": "PALETTE COLOR",
        **{f"{name}PaletteColorLookupTableDescriptor": [256, 0, 16] for name in names},
    }
    segments = struct.pack("<9H", 0, 1, 7, 1, 255, 60000, 2, 1, 0) + bytes(2)
    window = {"WindowCenter": 90, "WindowWidth": 80, "RescaleSlope": 2, "RescaleIntercept": -9}
    image, plain = Image.fromarray(color), Image.fromarray(grey)
    jpeg, jpeg_2000 = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90"
    rle = np.zeros(16, "<u4")
    rle[:2] = 1, 64
    rows = b"".join(bytes([len(row) - 1]) + row.tobytes() for row in grey)
    return {
        "rgb.dcm": dicom(color, SequenceOfUltrasoundRegions=[region(2, 2, 40, 25)]),
        "implicit.dcm": dicom(grey, syntax="1.2.840.10008.1.2", **window),
        "big.dcm": dicom(grey.astype(np.uint16), syntax="1.2.840.10008.1.2.2", BitsStored=12),
        "frames.dcm": dicom(np.stack([grey] * 3), NumberOfFrames=3),
        "old.dcm": without_preamble(dataset(grey)),
        "palette.dcm": dicom(
            grey,
            **palette,
            **{f"{name}PaletteColorLookupTableData": table.tobytes() for name in names},
        ),
        "segments.dcm": dicom(
            grey,
            **palette,
            **{f"Segmented{name}PaletteColorLookupTableData": segments for name in names},
        ),
        "rle.dcm": compressed([rle.tobytes() + rows], grey, syntax="1.2.840.10008.1.2.5"),
        "jpeg.dcm": compressed(
            [_saved(image, "JPEG")] * 2,
            color,
            syntax=jpeg,
            PhotometricInterpretation="YBR_FULL_422",
        ),
        "jpeg grey.dcm": compressed([_saved(plain, "JPEG")], grey, syntax=jpeg),
        "jpeg 2000.dcm": compressed(
            [_saved(image, "JPEG2000", no_jp2=True)],
            color,
            syntax=jpeg_2000,
            PhotometricInterpretation="YBR_RCT",
        ),
        "jpeg 2000 grey.dcm": compressed(
            [_saved(plain, "JPEG2000", no_jp2=True)], grey, syntax=jpeg_2000
        ),
    }


def damaged(number: int) -> tuple[str, bytes]:
    """Return the name of the file that was damaged, and its bytes."""
    rng = np.random.default_rng(number)
    files = whole_files()
    name = sorted(files)[number % len(files)]
    data = bytearray(files[name])
    for _ in range(rng.integers(1, 4)):
        _DAMAGES[rng.integers(len(_DAMAGES))](rng, data, files)
        if not data:
            break
    if name.endswith(".png") and rng.random() < 0.7:
        _mend_checksums(data)  # else hardly any gets past them
    return name, bytes(data)


def _place(rng: np.random.Generator, data: bytearray) -> int:
    # Headers are where the harm is: half of all changes go there.
    end = len(data) if rng.random() < 0.5 else min(len(data), 700)
    return int(rng.integers(end)) if end else 0


def _flip_bits(rng, data, files):
    for _ in range(rng.integers(1, 9)):
        data[_place(rng, data)] ^= 1 << int(rng.integers(8))


def _cut(rng, data, files):
    del data[_place(rng, data) :]


def _splice(rng, data, files):
    other = files[sorted(files)[rng.integers(len(files))]]
    start, length = rng.integers(len(other)), rng.integers(1, 200)
    at = _place(rng, data)
    gone = int(rng.integers(2)) * length
    data[at : at + gone] = other[start : start + length]


def _set_number(rng, data, files):
    layout = ("<H", ">H", "<I", ">I")[rng.integers(4)]
    size = struct.calcsize(layout)
    value = int(rng.choice(_NUMBERS)) if rng.random() < 0.7 else int(rng.integers(2**32))
    at = _place(rng, data)
    data[at : at + size] = struct.pack(layout, value & (256**size - 1))


def _set_dimension(rng, data, files):
    """Replace the width or height by another number of the same size."""
    for value in rng.permutation([48, 30]):
        for layout in ("<I", ">I", "<H", ">H"):
            if (at := data.find(struct.pack(layout, value))) >= 0 and rng.random() < 0.5:
                new = int(rng.choice([1, 47, 49, 1000, 6000, 9000, 30000, 65535]))
                data[at : at + struct.calcsize(layout)] = struct.pack(layout, new)
                return


def _remove(rng, data, files):
    at = _place(rng, data)
    del data[at : at + int(rng.integers(1, 50))]


def _repeat(rng, data, files):
    at = _place(rng, data)
    data[at:at] = data[at : at + int(rng.integers(1, 100))] * int(rng.integers(1, 50))


_DAMAGES = (_flip_bits, _cut, _splice, _set_number, _set_dimension, _remove, _repeat)


def _mend_checksums(data: bytearray) -> None:
    at = 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 > len(data):
            return
        data[end : end + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4, "big")
        at = end + 4


def read(path: Path, in_graph: Callable | None = None) -> bool:
    """Read a file in all ways there are; return whether it was an image.

    Args:
        path: the file.
        in_graph: function that checks an `ImageFile` and the bytes of its file in the graph.

    Raises:
        AssertionError: when something comes out that should not.
    """
    images = 0
    for image in expand_frames([SourceImage(name="a", path=path)], frames=1):
        pixels, message = None, ""
        try:
            file = ImageFile.read(image.path)
            pixels = file.pixels
        except ImageError as error:
            message = str(error)
        if pixels is None:
            assert str(path) in message, f"file not named: {message}"
            assert MARKER not in message, f"names somebody: {message}"
            assert "MemoryError" not in message, f"out of memory: {message}"
        else:
            assert pixels.dtype == np.uint8, pixels.dtype
            assert pixels.ndim == 3, pixels.shape
            assert pixels.shape[2] == 3, pixels.shape
            assert min(pixels.shape) > 0, pixels.shape
            if in_graph is not None:
                in_graph(file, path.read_bytes())
            images += 1
    return images > 0


class Graph:
    """Checks that the graph sees the pixels that the reader sees.

    Attributes:
        found: number of files that TensorFlow decodes by itself, and that it refuses.
    """

    def __init__(self):
        import tensorflow as tf

        from breastus.preprocessing.decode import decode_image
        from breastus.preprocessing.transform import Transform

        self._error, self.found = tf.errors.OpError, {"decoded": 0, "not decoded": 0}
        pixels, text = tf.TensorSpec([None, None, 3], tf.uint8), tf.TensorSpec([], tf.string)
        transform = Transform(image_size=16)
        self._transform = tf.function(transform.crop_and_resize, input_signature=[pixels])
        self._decode = tf.function(decode_image, input_signature=[text])

    def __call__(self, file: ImageFile, data: bytes) -> None:
        if file.pixels.size > 3 * _GRAPH_PIXELS:
            return
        assert self._transform(file.pixels).shape == (16, 16, 3)
        decoded = self._decode(to_png(file.pixels)).numpy()
        assert np.array_equal(decoded, file.pixels), "the PNG of its pixels has others"
        if not data.startswith((b"\x89PNG", b"\xff\xd8\xff")):
            return
        try:
            decoded = self._decode(data).numpy()
        except self._error:
            self.found["not decoded"] += 1
            return
        self.found["decoded"] += 1
        assert decoded.shape == file.pixels.shape, f"{decoded.shape}, read as {file.pixels.shape}"
        different = (decoded != file.pixels).mean()
        assert different == 0, f"{different:.3f} of the values differ in the graph"


def main(first: int, count: int, folder: Path, *, graph: bool = False) -> dict:
    """Read files `first` to `first + count - 1`; return what was found."""
    in_graph = Graph() if graph else None
    if not graph:  # TensorFlow reserves more, and does not use it
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    found = {"read": 0, "refused": 0, "slowest": [0.0, 0], "failures": []}
    for number in range(first, first + count):
        name, data = damaged(number)
        (folder / "at").write_text(f"{number} {name}")
        path = folder / f"file{Path(name).suffix}"
        path.write_bytes(data)
        faulthandler.dump_traceback_later(3 * SECONDS, exit=True)
        start = time.perf_counter()
        try:
            found["read" if read(path, in_graph) else "refused"] += 1
        except Exception as error:
            found["failures"].append(f"{number} {name}: {type(error).__name__}: {error}")
        found["slowest"] = max(found["slowest"], [time.perf_counter() - start, number])
        faulthandler.cancel_dump_traceback_later()
    found["peak_mb"] = _peak_mb()
    return found | (in_graph.found if graph else {})


def _peak_mb() -> float:
    # Not getrusage's, which begins at what the parent had when it started this process.
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _saved(image: Image.Image, form: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


if __name__ == "__main__":
    faulthandler.enable()
    found = main(
        int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), graph="graph" in sys.argv[4:]
    )
    print(json.dumps(found))
