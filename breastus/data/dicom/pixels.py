"""The pixels of a DICOM image: its elements in, one frame after the other as uint8 [H, W, 3] out.

All sizes are checked before anything is decoded. Uncompressed frames are decoded by pydicom.
Compressed ones are decoded by Pillow itself, since pydicom's plugin decodes before a frame's size
is known, and its RLE decoder expands damaged data without a limit.

Lossless JPEG and JPEG-LS are not supported: of the decoders that pydicom uses for them, GDCM
(3.2.6) ended the process with a segmentation fault on a damaged file, and pylibjpeg-libjpeg is
under the GPL.
"""

import io
import struct

import numpy as np
from PIL import Image

from breastus.data.dicom.color import COLORS, grey_table, palette_table, to_rgb
from breastus.data.dicom.elements import Elements
from breastus.data.dicom.privacy import DamageError, attempt
from breastus.data.image_files import MAX_PIXELS

MAX_FRAMES = 10_000  # more than five minutes at 30 frames a second
MAX_FRAGMENTS = 40_000

_NATIVE, _RLE, _JPEG, _JPEG_2000 = "native", "rle", "jpeg", "jpeg 2000"
_DECODERS = {  # by transfer syntax, PS3.5 A
    "1.2.840.10008.1.2": _NATIVE,  # implicit VR, little endian
    "1.2.840.10008.1.2.1": _NATIVE,  # explicit VR, little endian
    "1.2.840.10008.1.2.2": _NATIVE,  # explicit VR, big endian
    "1.2.840.10008.1.2.5": _RLE,
    "1.2.840.10008.1.2.4.50": _JPEG,  # baseline
    "1.2.840.10008.1.2.4.51": _JPEG,  # extended; only with 8 bits
    "1.2.840.10008.1.2.4.90": _JPEG_2000,  # lossless
    "1.2.840.10008.1.2.4.91": _JPEG_2000,
}
_ITEM, _END = 0xFFFEE000, 0xFFFEE0DD  # tags of fragments of compressed pixel data, and their end
_KNOWN = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", *COLORS)
_HALVED = ("YBR_FULL_422", "YBR_PARTIAL_422")  # Cb and Cr once for two pixels
_NOT_NATIVE = ("YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT")  # PS3.3 C.7.6.3.1.2


class PixelReader:
    """The frames of one file.

    Args:
        elements: elements of the file.
        need_pixels: false for a header alone, which `frame` then refuses.

    Raises:
        ImageError: when an element is missing, impossible or not supported.
    """

    def __init__(self, elements: Elements, *, need_pixels: bool):
        self._elements = elements
        self._photometric = elements.text("PhotometricInterpretation")
        if self._photometric not in _KNOWN:
            raise elements.error("PhotometricInterpretation", f"must be one of {', '.join(_KNOWN)}")
        self.rows = elements.integer("Rows", 1, 0xFFFF)
        self.columns = elements.integer("Columns", 1, 0xFFFF)
        if self.rows * self.columns > MAX_PIXELS:
            raise elements.error(
                "Rows",
                f"times Columns may be {MAX_PIXELS // 10**6} million pixels",
                f"{self.rows} x {self.columns}",
            )
        self.frames = elements.integer("NumberOfFrames", 1, MAX_FRAMES, default=1)
        self._read_depth()
        self._syntax = _transfer_syntax(elements)
        self._decoder = _DECODERS[self._syntax]
        if self._decoder == _NATIVE and self._photometric in _NOT_NATIVE:
            raise elements.error(
                "PhotometricInterpretation", "takes compressed pixels", self._photometric
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
            raise self._elements.error("PixelData", "was not read, only the header was")
        decoded, problem = attempt(lambda: self._decode(index))
        if problem:
            raise self._elements.error(
                "PixelData", f"of frame {index + 1} {problem}. Export or copy the file again"
            )
        values, photometric = decoded
        if self._table is None:
            return to_rgb(values, photometric, self._stored)
        # Bits above the stored ones may hold anything, PS3.5 8.1.1.
        return self._table[values & (2**self._stored - 1)]

    def _read_depth(self) -> None:
        elements, color = self._elements, self._photometric in COLORS
        self._samples = 3 if color else 1
        elements.integer("SamplesPerPixel", self._samples, self._samples)
        self._planar = elements.integer("PlanarConfiguration", 0, 1, default=0) if color else 0
        self._allocated = elements.integer("BitsAllocated", 1, 64)
        if self._allocated not in (8, 16):
            raise elements.error("BitsAllocated", "must be 8 or 16", self._allocated)
        # The standard has no conversion of Y, Cb and Cr with other depths.
        low, high = (8, 8) if color and self._photometric != "RGB" else (1, self._allocated)
        self._stored = elements.integer("BitsStored", low, high)
        elements.integer("HighBit", self._stored - 1, self._stored - 1, default=self._stored - 1)
        self._signed = bool(elements.integer("PixelRepresentation", 0, 0 if color else 1))

    def _pixel_data(self) -> bytes:
        elements = self._elements
        for other in ("FloatPixelData", "DoubleFloatPixelData"):
            if elements.has(other):
                raise elements.error(other, "has values whose scale is unknown")
        data = elements.value("PixelData")
        if not isinstance(data, bytes):
            raise elements.error("PixelData", "is missing: the file holds no image")
        if self._decoder != _NATIVE:
            return data
        # Some writers name a halved interpretation and halve nothing.
        samples = [2, 3] if self._photometric in _HALVED else [self._samples]
        values = self.rows * self.columns * self.frames * self._allocated // 8
        for self._native_samples in samples:
            length = values * self._native_samples
            if len(data) in (length, length + length % 2):  # padded to an even length
                return data
        raise elements.error(
            "PixelData",
            f"must have {values * samples[0]} bytes, as Rows, Columns, NumberOfFrames and bits "
            "say. Export or copy the file again",
            len(data),
        )

    def _lookup_table(self) -> np.ndarray | None:
        if self._photometric in COLORS:
            return None
        if self._photometric == "PALETTE COLOR":
            return palette_table(self._elements, self._stored, self._signed)
        return grey_table(self._elements, self._photometric, self._stored, self._signed)

    def _decode(self, index: int) -> tuple[np.ndarray, str]:
        """Return stored values, uint8 or uint16 [H, W] or [H, W, 3], and their interpretation."""
        if self._decoder == _NATIVE:
            return self._decode_native(index), self._photometric
        data = _frame_bytes(self._data, index, self.frames)
        if self._decoder == _RLE:
            shape = self.rows, self.columns, self._samples
            return decode_rle(data, *shape, self._allocated), self._photometric
        return self._decode_jpeg(data) if self._decoder == _JPEG else self._decode_jpeg_2000(data)

    def _decode_native(self, index: int) -> np.ndarray:
        from pydicom.pixels import get_decoder

        photometric = "RGB" if self._samples == 3 else "MONOCHROME2"
        values, _ = get_decoder(self._syntax).as_array(
            self._data,
            index=index,
            raw=True,
            rows=self.rows,
            columns=self.columns,
            number_of_frames=self.frames,
            samples_per_pixel=self._samples,
            planar_configuration=self._planar,
            photometric_interpretation="YBR_FULL_422" if self._native_samples == 2 else photometric,
            bits_allocated=self._allocated,
            bits_stored=self._stored,
            pixel_representation=0,
            pixel_keyword="PixelData",
            pixel_vr=self._elements.dataset["PixelData"].VR,
        )
        return values.astype(f"u{self._allocated // 8}", copy=False)

    def _decode_jpeg(self, data: bytes) -> tuple[np.ndarray, str]:
        if self._stored > 8:
            raise DamageError("is a JPEG with more than 8 bits, which is not supported")
        image = self._open(data, "JPEG", "L")
        if self._samples == 1:
            return np.asarray(image), self._photometric
        if self._photometric == "RGB" and not {"jfif", "adobe_transform"} & image.info.keys():
            # libjpeg takes components without a marker for Y, Cb and Cr. Here they are R, G and B:
            # read as YCbCr they stay as they were stored.
            image.draft("YCbCr", image.size)
        return np.asarray(image), "RGB"

    def _decode_jpeg_2000(self, data: bytes) -> tuple[np.ndarray, str]:
        from pydicom.pixels.utils import get_j2k_parameters

        if b"\xff\xd9" not in data[-10:]:  # padding of any kind may follow
            # The decoder fills what is missing with black and reports nothing.
            raise DamageError("is truncated: JPEG 2000 without its end marker")
        image, described = self._open(data, "JPEG2000", "L", "I;16"), get_j2k_parameters(data)
        precision = described.get("precision", self._stored)
        if described.get("is_signed"):
            raise DamageError("holds signed values in JPEG 2000, which are not supported")
        if precision > self._stored or (self._samples == 3 and precision > 8):
            raise DamageError("has more bits than BitsStored says, or colours of more than 8")
        # Pillow scales to 8 or 16 bits, and undoes the colour transform of YBR_ICT and YBR_RCT.
        values = np.asarray(image) >> ((16 if image.mode == "I;16" else 8) - precision)
        transformed = self._photometric in ("YBR_ICT", "YBR_RCT")
        return values, "RGB" if transformed else self._photometric

    def _open(self, data: bytes, form: str, *grey_modes: str) -> Image.Image:
        image = Image.open(io.BytesIO(data), formats=(form,))
        if image.size != (self.columns, self.rows):
            raise DamageError("has another size than Rows and Columns say")
        if image.mode not in (grey_modes if self._samples == 1 else ("RGB",)):
            raise DamageError(f"is not a {form} with SamplesPerPixel={self._samples}")
        return image


def _frame_bytes(data: bytes, index: int, frames: int) -> bytes:
    """Return the compressed bytes of one frame of encapsulated pixel data, PS3.5 A.4."""
    from pydicom.encaps import get_frame

    # pydicom walks through the fragments without a limit, and past damaged ones.
    position, items = 0, 0
    while position + 8 <= len(data):
        group, element, length = struct.unpack_from("<HHL", data, position)
        tag = group << 16 | element
        if tag == _END:
            break
        if tag != _ITEM or position + 8 + length > len(data) or items > MAX_FRAGMENTS:
            raise DamageError("has damaged fragments")
        position += 8 + length
        items += 1
    if items - 1 < frames:  # the first item is the offset table
        raise DamageError("has fewer fragments than NumberOfFrames says")
    return get_frame(data, index, number_of_frames=frames)


def decode_rle(data: bytes, rows: int, columns: int, samples: int, allocated: int) -> np.ndarray:
    """Decode a frame of RLE segments, PS3.5 G, one for each byte of each sample.

    Returns:
        uint8 or uint16 [rows, columns] or [rows, columns, samples].
    """
    count, *offsets = struct.unpack_from("<16L", data)
    width = allocated // 8
    if count != samples * width:
        raise DamageError("has another number of RLE segments than its bits say")
    ends = [*offsets[1:count], len(data)]
    planes = np.empty((samples, width, rows * columns), np.uint8)
    for number, (start, end) in enumerate(zip(offsets, ends, strict=False)):
        if not 64 <= start < end <= len(data):
            raise DamageError("has an RLE segment outside of itself")
        # As one long row, since some writers let runs cross the rows of the image. Pillow fills a
        # buffer of this size, so a segment cannot expand without end.
        row = Image.frombytes("L", (rows * columns, 1), data[start:end], "packbits", "L")
        planes[number // width, number % width] = np.frombuffer(row.tobytes(), np.uint8)
    values = planes[:, 0].astype(f"u{width}")  # the most significant byte comes first
    for byte in range(1, width):
        values = values << 8 | planes[:, byte]
    values = values.reshape(samples, rows, columns)
    return values[0] if samples == 1 else np.ascontiguousarray(values.transpose(1, 2, 0))


def _transfer_syntax(elements: Elements) -> str:
    dataset = elements.dataset
    meta = getattr(dataset, "file_meta", None)
    found, problem = attempt(lambda: str(meta.get("TransferSyntaxUID", "")) if meta else "")
    compressed, _ = attempt(lambda: dataset["PixelData"].is_undefined_length)
    if not found and not problem and not compressed:
        # A file without a file header is written as pydicom found it to be.
        implicit, little = dataset.original_encoding
        found = f"1.2.840.10008.1.2{'' if implicit else '.1' if little else '.2'}"
    if found not in _DECODERS:
        raise elements.error(
            "TransferSyntaxUID",
            "is not supported. Supported are uncompressed pixels, RLE, JPEG (8 bits) and JPEG "
            "2000. Convert the file, for instance with gdcmconv --raw",
            found if found and set(found) <= set("0123456789.") else "none, or a damaged one",
        )
    return found
