"""The pixels of a DICOM file: its elements in, one frame after the other as uint8 [H, W, 3] out.

All sizes are checked before anything is decoded, and each transfer syntax has one decoder, so that
pixels do not depend on what else is installed.
"""

import numpy as np

from breastus.data.dicom.codecs import decode_jpeg, decode_jpeg_2000, decode_rle, frame_bytes
from breastus.data.dicom.color import COLORS, LUT_KEYWORDS, grey_table, palette_table, to_rgb
from breastus.data.dicom.elements import Elements, Problem, attempt
from breastus.data.images import MAX_PIXELS

MAX_FRAMES = 10_000  # more than five minutes at 30 frames a second

PIXEL_KEYWORDS = (
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "NumberOfFrames",
    "PixelData",
    "FloatPixelData",
    "DoubleFloatPixelData",
    *LUT_KEYWORDS,
)

_NATIVE, _RLE, _JPEG, _JPEG_2000 = "native", "rle", "jpeg", "jpeg 2000"
_DECODERS = {  # by transfer syntax, PS3.5 A
    "1.2.840.10008.1.2": _NATIVE,  # implicit VR, little endian
    "1.2.840.10008.1.2.1": _NATIVE,  # explicit VR, little endian
    "1.2.840.10008.1.2.2": _NATIVE,  # explicit VR, big endian
    "1.2.840.10008.1.2.5": _RLE,
    "1.2.840.10008.1.2.4.50": _JPEG,  # baseline
    "1.2.840.10008.1.2.4.51": _JPEG,  # extended; with 8 bits
    "1.2.840.10008.1.2.4.90": _JPEG_2000,  # lossless
    "1.2.840.10008.1.2.4.91": _JPEG_2000,
}
_CODECS = {_JPEG: "jpg", _JPEG_2000: "jpg_2000"}  # as Pillow calls them
_GREY = ("MONOCHROME1", "MONOCHROME2")
_PALETTE = "PALETTE COLOR"
_HALVED = ("YBR_FULL_422", "YBR_PARTIAL_422")  # Cb and Cr once for two pixels
_NOT_NATIVE = ("YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT")  # PS3.3 C.7.6.3.1.2


class PixelReader:
    """The frames of one file.

    Args:
        elements: the file's, with `PIXEL_KEYWORDS`.
        need_pixels: false for a header alone, which `frame` then refuses.

    Raises:
        ImageError: naming the first element that is missing, impossible or not supported.
    """

    def __init__(self, elements: Elements, *, need_pixels: bool):
        self._elements = elements
        self.photometric = elements.text("PhotometricInterpretation")
        if self.photometric not in (*_GREY, _PALETTE, *COLORS):
            known = ", ".join((*_GREY, _PALETTE, *COLORS))
            raise elements.refuse("PhotometricInterpretation", f"must be one of {known}")
        self._read_sizes()
        self._read_depth()
        self._syntax, self._decoder = _decoder(elements)
        if self._decoder == _NATIVE and self.photometric in _NOT_NATIVE:
            raise elements.refuse(
                "PhotometricInterpretation", "takes compressed pixels", self.photometric
            )
        self._data, self._table = b"", None
        if need_pixels:
            self._data = self._pixel_data()
            self._table = self._lookup_table()

    def frame(self, index: int) -> np.ndarray:
        """Decode frame `index`, counted from 0, to uint8 [H, W, 3], RGB.

        Raises:
            ImageError: when its data is damaged.
        """
        if not self._data:
            raise self._elements.refuse("PixelData", "was not read, only the header was")
        found, problem = attempt(lambda: self._decode(index))
        if problem:
            raise self._elements.refuse(
                "PixelData", f"of frame {index + 1} {problem}. Export or copy the file again"
            )
        values, photometric = found
        if self._table is None:
            return to_rgb(values, photometric, self._stored)
        # Bits above the stored ones may hold anything, PS3.5 8.1.1.
        return self._table[values & (2**self._stored - 1)]

    def _read_sizes(self) -> None:
        elements = self._elements
        self.rows = elements.integer("Rows", 1, 0xFFFF)
        self.columns = elements.integer("Columns", 1, 0xFFFF)
        if self.rows * self.columns > MAX_PIXELS:
            raise elements.refuse(
                "Rows",
                f"times Columns may be {MAX_PIXELS // 10**6} million pixels",
                f"{self.rows} x {self.columns}",
            )
        self.frames = elements.integer("NumberOfFrames", 1, MAX_FRAMES, default=1)

    def _read_depth(self) -> None:
        elements, color = self._elements, self.photometric in COLORS
        self._samples = 3 if color else 1
        elements.integer("SamplesPerPixel", self._samples, self._samples)
        self._planar = elements.integer("PlanarConfiguration", 0, 1, default=0) if color else 0
        self._allocated = elements.integer("BitsAllocated", 1, 64)
        if self._allocated not in (8, 16):
            raise elements.refuse("BitsAllocated", "must be 8 or 16", self._allocated)
        # Y, Cb and Cr of other depths have no conversion in the standard.
        low, high = (8, 8) if color and self.photometric != "RGB" else (1, self._allocated)
        self._stored = elements.integer("BitsStored", low, high)
        elements.integer("HighBit", self._stored - 1, self._stored - 1, default=self._stored - 1)
        self._signed = bool(elements.integer("PixelRepresentation", 0, 0 if color else 1))

    def _pixel_data(self) -> bytes:
        elements = self._elements
        for other in ("FloatPixelData", "DoubleFloatPixelData"):
            if elements.has(other):
                raise elements.refuse(other, "has values whose scale is unknown")
        data = elements.value("PixelData")
        if not isinstance(data, bytes):
            raise elements.refuse("PixelData", "is missing: the file holds no image")
        if self._decoder != _NATIVE:
            return data
        frame = self.rows * self.columns * self._allocated // 8
        expected = [frame * self._samples * self.frames]
        if self.photometric in _HALVED:
            # Some writers name it so and halve nothing.
            expected.insert(0, frame * 2 * self.frames)
        for length in expected:
            if len(data) in (length, length + length % 2):  # padded to an even length
                self._halved = length < frame * self._samples * self.frames
                return data
        raise elements.refuse(
            "PixelData",
            f"must have {expected[0]} bytes, as Rows, Columns, NumberOfFrames and bits say. Export "
            "or copy the file again",
            len(data),
        )

    def _lookup_table(self) -> np.ndarray | None:
        if self.photometric in COLORS:
            return None
        if self.photometric == _PALETTE:
            return palette_table(self._elements, self._stored, self._signed)
        return grey_table(self._elements, self.photometric, self._stored, self._signed)

    def _decode(self, index: int) -> tuple[np.ndarray, str]:
        """Return stored values, uint8 or uint16 [H, W] or [H, W, 3], and what they are."""
        if self._decoder == _NATIVE:
            return self._native(index), self.photometric
        data = frame_bytes(self._data, index, self.frames)
        shape = (self.rows, self.columns, self._samples)
        if self._decoder == _RLE:
            return decode_rle(data, *shape, self._allocated), self.photometric
        if self._stored > 8 and self._decoder == _JPEG:
            raise Problem("is a JPEG with more than 8 bits, which is not read here")
        if self._decoder == _JPEG:
            return decode_jpeg(data, *shape, self.photometric)
        return decode_jpeg_2000(data, *shape, self._stored, self.photometric)

    def _native(self, index: int) -> np.ndarray:
        big = self._syntax.endswith(".1.2.2")
        samples = 2 if self._halved else self._samples
        count = self.rows * self.columns * samples
        if self._allocated == 16:
            kind = ">u2" if big else "<u2"
            values = np.frombuffer(self._data, kind, count, 2 * index * count).astype(np.uint16)
        elif big and self._elements.dataset["PixelData"].VR == "OW":
            # Bytes lie swapped in words, across the ends of frames with an odd length.
            start = index * count
            words = np.frombuffer(self._data[start // 2 * 2 : (start + count + 1) // 2 * 2], ">u2")
            values = words.astype("<u2").view(np.uint8)[start % 2 :][:count]
        else:
            values = np.frombuffer(self._data, np.uint8, count, index * count)
        if self._halved:
            # Y1 Y2 Cb Cr for each two pixels of a row.
            pairs = values.reshape(self.rows, self.columns // 2, 4)
            return np.stack(
                [pairs[..., :2], *(pairs[..., [at, at]] for at in (2, 3))], axis=-1
            ).reshape(self.rows, self.columns, 3)
        if self._samples == 1:
            return values.reshape(self.rows, self.columns)
        if self._planar:
            return values.reshape(3, self.rows, self.columns).transpose(1, 2, 0)
        return values.reshape(self.rows, self.columns, 3)


def _decoder(elements: Elements) -> tuple[str, str]:
    """Return transfer syntax and decoder."""
    meta = getattr(elements.dataset, "file_meta", None)
    found, problem = attempt(lambda: str(meta.get("TransferSyntaxUID", "")) if meta else "")
    implicit, little = elements.dataset.original_encoding
    if not found and not problem and not elements.undefined_length("PixelData"):
        # Files without a header of their own: as pydicom found them to be written.
        last = "" if implicit else ".1" if little else ".2"
        found = f"1.2.840.10008.1.2{last}"
    decoder = _DECODERS.get(found)
    if problem or decoder is None:
        raise elements.refuse(
            "TransferSyntaxUID",
            "is not one that is read here: uncompressed, RLE, JPEG (8 bits) or JPEG 2000. Convert "
            "the file, for instance with gdcmconv --raw",
            found if found and set(found) <= set("0123456789.") else "none, or a damaged one",
        )
    if codec := _CODECS.get(decoder):
        from PIL import features

        if not features.check(codec):
            raise elements.refuse(
                "TransferSyntaxUID",
                f"takes a Pillow with the decoder {codec}: pip install --upgrade pillow",
                found,
            )
    return found, decoder
