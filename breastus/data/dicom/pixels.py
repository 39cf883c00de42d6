"""The pixels of a DICOM image: its elements in, single frames as uint8 [H, W, 3], RGB, out.

All sizes are checked before anything is decoded. pydicom does the work, except for two encodings
that Pillow decodes: RLE, because pydicom 3.0.2 expands damaged data without a limit, and JPEG,
because pydicom converts the colours of a JPEG with an Adobe marker twice.

Lossless JPEG and JPEG-LS are not supported: of the decoders that pydicom uses for them, GDCM
(3.2.6) ended the process with a segmentation fault on a damaged file, and pylibjpeg-libjpeg is
under the GPL.
"""

import io
import itertools
import struct

import numpy as np
from PIL import Image

from breastus.data.dicom.privacy import DamageError, Elements, attempt
from breastus.data.image_files import MAX_PIXELS

MAX_FRAMES = 10_000  # more than five minutes at 30 frames a second
MAX_FRAGMENTS = 40_000

# Transfer syntaxes, PS3.5 A: implicit and explicit little endian, explicit big endian; baseline
# and extended JPEG; lossless and any JPEG 2000.
_NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
_RLE = "1.2.840.10008.1.2.5"
_JPEG = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
_JPEG_2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
# Photometric interpretations, PS3.3 C.7.6.3.1.2.
_HALVED = ("YBR_FULL_422", "YBR_PARTIAL_422")  # one Cb and one Cr for two pixels
_ONLY_JPEG = ("YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT")
_COLORS = ("RGB", "YBR_FULL", *_HALVED, *_ONLY_JPEG)
_PHOTOMETRIC = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", *_COLORS)
_PARTIAL_TO_RGB = np.linalg.inv(  # pydicom does not convert a partial range
    [[0.2568, 0.5041, 0.0979], [-0.1482, -0.2910, 0.4392], [0.4392, -0.3678, -0.0714]]
).T.astype(np.float32)
_ROWS_AT_A_TIME = 128  # colours are converted in float32, four times as large as the frame
_MAX_ENTRIES = 1 << 16  # of a lookup table


class PixelReader:
    """The frames of one file; raises ImageError if an element is missing or not supported.

    With `need_pixels` frames will be decoded, otherwise only the header is checked.
    """

    def __init__(self, elements: Elements, *, need_pixels: bool):
        self._elements = elements
        self._photometric = elements.text("PhotometricInterpretation")
        if self._photometric not in _PHOTOMETRIC:
            raise elements.error(
                "PhotometricInterpretation", f"must be one of {', '.join(_PHOTOMETRIC)}"
            )
        self.rows = elements.integer("Rows", 1, 0xFFFF)
        self.columns = elements.integer("Columns", 1, 0xFFFF)
        if self.rows * self.columns > MAX_PIXELS:
            rule = f"times Columns may be {MAX_PIXELS // 10**6} million pixels"
            raise elements.error("Rows", rule, f"{self.rows} x {self.columns}")
        self.frames = elements.integer("NumberOfFrames", 1, MAX_FRAMES, default=1)
        color = self._photometric in _COLORS
        self._samples = elements.integer("SamplesPerPixel", *((3, 3) if color else (1, 1)))
        self._planar = elements.integer("PlanarConfiguration", 0, 1, default=0) if color else 0
        self._allocated = elements.integer("BitsAllocated", 1, 64)
        if self._allocated not in (8, 16):
            raise elements.error("BitsAllocated", "must be 8 or 16", self._allocated)
        # The standard converts Y, Cb and Cr of 8 bits only.
        high = 8 if color and self._photometric != "RGB" else self._allocated
        self._stored = elements.integer("BitsStored", 8 if color else 1, high)
        elements.integer("HighBit", self._stored - 1, self._stored - 1, default=self._stored - 1)
        signed = elements.integer("PixelRepresentation", 0, 0 if color else 1)
        self._syntax = _transfer_syntax(elements)
        if self._photometric in _ONLY_JPEG and self._syntax not in (*_JPEG, *_JPEG_2000):
            rule = "needs JPEG or JPEG 2000"
            raise elements.error("PhotometricInterpretation", rule, self._photometric)
        self._data, self._layout, self._table = b"", self._photometric, None
        if need_pixels:
            self._data = self._pixel_data()
            if not color:
                self._values = np.arange(2**self._stored)
                self._values[len(self._values) // 2 :] -= signed * len(self._values)
                convert = _palette if self._photometric == "PALETTE COLOR" else _greys
                self._table = convert(elements, self._values)

    def frame(self, index: int) -> np.ndarray:
        """Decode frame `index`, counted from 0, to uint8 [H, W, 3], RGB."""
        pixels, problem = attempt(lambda: self._decode(index))
        if problem:
            raise self._elements.error(
                "PixelData", f"of frame {index + 1} {problem}. Export or copy the file again"
            )
        return pixels

    def _pixel_data(self) -> bytes:
        data = self._elements.value("PixelData")
        if not isinstance(data, bytes):
            raise self._elements.error("PixelData", "is missing: the file holds no image")
        if self._syntax not in _NATIVE:
            return data
        # Some writers name a halved interpretation and halve nothing.
        layouts = [("YBR_FULL_422", 2), ("RGB", 3)] if self._photometric in _HALVED else []
        values = self.rows * self.columns * self.frames * self._allocated // 8
        for layout, samples in layouts or [(self._photometric, self._samples)]:
            length = values * samples
            if len(data) in (length, length + length % 2):  # padded to an even length
                self._layout = layout
                return data
        raise self._elements.error(
            "PixelData",
            f"must have {values * (2 if layouts else self._samples)} bytes, as Rows, Columns, "
            "NumberOfFrames and bits say. Export or copy the file again",
            len(data),
        )

    def _decode(self, index: int) -> np.ndarray:
        from pydicom.pixels import get_decoder

        if self._syntax not in _NATIVE:
            data = _encapsulated_frame(self._data, index, self.frames)
            if self._syntax == _RLE:
                shape = self.rows, self.columns, self._samples
                return self._to_rgb(_decode_rle(data, shape, self._allocated // 8))
            if self._syntax in _JPEG:
                pixels = self._decode_jpeg(data)
                return pixels if self._samples == 3 else self._to_rgb(pixels)
            self._check_jpeg_2000(data)
        values, _ = get_decoder(self._syntax).as_array(
            self._elements.dataset,
            index=index,
            raw=True,
            decoding_plugin="" if self._syntax in _NATIVE else "pillow",
            number_of_frames=self.frames,
            planar_configuration=self._planar,
            photometric_interpretation=self._layout,
            extended_offsets=None,  # the frame that was checked has none
        )
        return self._to_rgb(values.astype(f"u{values.itemsize}", copy=False))

    def _check_jpeg_2000(self, data: bytes) -> None:
        from pydicom.pixels.utils import get_j2k_parameters

        if b"\xff\xd9" not in data[-10:]:  # padding of any kind may follow
            # The decoder fills what is missing with black and reports nothing.
            raise DamageError("is truncated: JPEG 2000 without its end marker")
        if not data.startswith(b"\xff\x4f\xff\x51"):  # pydicom never leaves a damaged JP2 box
            raise DamageError("is no JPEG 2000 codestream, but perhaps a JP2 file")
        self._open(data, "JPEG2000", "L", "I;16")
        if get_j2k_parameters(data)["precision"] > self._stored:
            raise DamageError("has more bits than BitsStored says")

    def _decode_jpeg(self, data: bytes) -> np.ndarray:
        """Return uint8 [H, W] or, if there are three samples, uint8 [H, W, 3], RGB."""
        if self._stored > 8:
            raise DamageError("is a JPEG with more than 8 bits, which is not supported")
        image = self._open(data, "JPEG", "L")
        if self._photometric == "RGB" and _taken_for_ycbcr(image):
            image.draft("YCbCr", image.size)  # read as YCbCr, R, G and B stay as they were stored
        return np.asarray(image)

    def _open(self, data: bytes, form: str, *grey_modes: str) -> Image.Image:
        """Open an image without decoding it, and check its size against the header."""
        image = Image.open(io.BytesIO(data), formats=(form,))
        if image.size != (self.columns, self.rows):
            raise DamageError("has another size than Rows and Columns say")
        if image.mode not in (grey_modes if self._samples == 1 else ("RGB",)):
            raise DamageError(f"is not a {form} with SamplesPerPixel={self._samples}")
        return image

    def _to_rgb(self, values: np.ndarray) -> np.ndarray:
        """Return stored values, uint8 or uint16 [H, W] or [H, W, 3], as uint8 [H, W, 3], RGB."""
        from pydicom.pixels import convert_color_space

        if self._table is not None:
            # Bits above the stored ones may hold anything, PS3.5 8.1.1.
            return self._table_of(values)[values & (2**self._stored - 1)]
        bits = _used_bits(values, self._stored)
        values = (values >> (bits - 8)).astype(np.uint8, copy=False)  # the high byte
        if self._photometric in ("RGB", "YBR_ICT", "YBR_RCT"):  # Pillow converts the last two
            return values
        rgb = np.empty_like(values)
        for row in range(0, len(values), _ROWS_AT_A_TIME):
            part = values[row : row + _ROWS_AT_A_TIME]
            if "PARTIAL" in self._photometric:
                part = (part - np.array([16, 128, 128], np.float32)) @ _PARTIAL_TO_RGB
                part = np.clip(np.rint(part), 0, 255)
            else:
                part = convert_color_space(part, "YBR_FULL", "RGB")
            rgb[row : row + _ROWS_AT_A_TIME] = part
        return rgb

    def _table_of(self, stored: np.ndarray) -> np.ndarray:
        """Return the colour shown for each stored value of a frame.

        Nothing but BitsStored states the range of values without a window or table. If they use
        fewer bits, they are shown in the range of those.
        """
        shown = ("WindowCenter", "WindowWidth", "VOILUTSequence", "ModalityLUTSequence")
        if self._photometric == "PALETTE COLOR" or any(map(self._elements.value, shown)):
            return self._table
        values = self._values[stored & (2**self._stored - 1)]
        negative = bool(values.min() < 0)
        magnitudes = np.where(values < 0, -1 - values, values)
        bits = negative + _used_bits(magnitudes, self._stored - negative)
        if bits == self._stored:
            return self._table
        low = -(2 ** (bits - 1)) * negative
        return _greys(self._elements, np.clip(self._values, low, low + 2**bits - 1))


def _taken_for_ycbcr(image: Image.Image) -> bool:
    """Whether libjpeg takes the R, G and B of a JPEG for Y, Cb and Cr.

    It does if no marker says otherwise and the components are not named R, G and B. Components of
    different size are Y, Cb and Cr, whatever the header says.
    """
    names = bytes(component for component, *_ in image.layer)
    sizes = {(across, down) for _, across, down, _ in image.layer}
    marked = {"jfif", "adobe_transform"} & image.info.keys()
    return not marked and names != b"RGB" and len(sizes) == 1


def _used_bits(values: np.ndarray, stated: int) -> int:
    """Return the bits of values, at least 8: as stated, unless two or more of these are unused."""
    largest = int(values.max())
    return max(8, largest.bit_length()) if largest <= (2**stated - 1) // 4 else stated


def _transfer_syntax(elements: Elements) -> str:
    meta = getattr(elements.dataset, "file_meta", None) or {}
    found = Elements(elements.name, meta).text("TransferSyntaxUID")
    if not found:  # a file without a file header is written as pydicom found it to be
        implicit, little = elements.dataset.original_encoding
        found = _NATIVE[0 if implicit else 1 if little else 2]
    if found not in (*_NATIVE, _RLE, *_JPEG, *_JPEG_2000):
        raise elements.error(
            "TransferSyntaxUID",
            "is not supported. Supported are uncompressed pixels, RLE, JPEG (8 bits) and JPEG "
            "2000. Convert the file, for instance with gdcmconv --raw",
            found if set(found) <= set("0123456789.") else "a damaged one",
        )
    return found


def _encapsulated_frame(data: bytes, index: int, frames: int) -> bytes:
    """Return the compressed bytes of one frame, PS3.5 A.4."""
    from pydicom.encaps import get_frame

    # pydicom walks through the fragments without a limit, and past the end of the data.
    position = items = 0
    while position + 8 <= len(data) and items <= MAX_FRAGMENTS:
        *tag, length = struct.unpack_from("<HHL", data, position)
        if tag != [0xFFFE, 0xE000]:
            break
        position += 8 + length
        items += 1
    if position > len(data) or items > MAX_FRAGMENTS:
        raise DamageError("has damaged fragments")
    if items - 1 < frames:  # the first item is the offset table
        raise DamageError("has fewer fragments than NumberOfFrames says")
    return get_frame(data, index, number_of_frames=frames)


def _decode_rle(data: bytes, shape: tuple[int, int, int], width: int) -> np.ndarray:
    """Decode a frame of RLE segments, one for each byte of each sample, PS3.5 G.

    `shape` is rows, columns and samples; `width` is the bytes of a sample, 1 or 2.
    """
    pixels, samples = shape[0] * shape[1], shape[2]
    count, *offsets = struct.unpack_from("<16L", data)
    if count != samples * width:
        raise DamageError("has another number of RLE segments than its bits say")
    planes = np.empty((pixels, count), np.uint8)
    for segment in range(count):
        start, end = offsets[segment], [*offsets[1:count], len(data)][segment]
        if not 64 <= start < end <= len(data):
            raise DamageError("has an RLE segment that lies outside its data")
        # As one long row, since some writers let runs cross the rows of the image. Pillow fills a
        # buffer of this size, so a segment cannot expand without end.
        row = Image.frombytes("L", (pixels, 1), data[start:end], "packbits", "L")
        planes[:, segment] = np.frombuffer(row.tobytes(), np.uint8)
    values = planes.view(f">u{width}").astype(f"u{width}")  # the most significant byte is first
    return values.reshape(shape if samples == 3 else shape[:2])


def _greys(elements: Elements, values: np.ndarray) -> np.ndarray:
    """Return the grey shown for each stored value, uint8 [values, 3].

    This is the pipeline of PS3.4 N.2: modality transform (PS3.3 C.11.1), VOI table or window
    (C.11.2), polarity. Several tables or windows are alternatives, of which the first is used.
    """
    from pydicom.pixels import apply_modality_lut

    values, problem = attempt(lambda: apply_modality_lut(values, elements.dataset))
    incomplete = elements.has("RescaleSlope") != elements.has("RescaleIntercept")
    if problem or incomplete or not -np.inf < values.min() < values.max() < np.inf:
        if elements.has("ModalityLUTSequence"):
            raise elements.error("ModalityLUTSequence", "must hold a table of values that differ")
        raise elements.error("RescaleSlope", "must be a number, not 0, with a RescaleIntercept")
    items = elements.items("VOILUTSequence")
    shown = _voi_table(elements, items[0], values) if items else _window(elements, values)
    if elements.text("PhotometricInterpretation") == "MONOCHROME1":  # the lowest value is white
        shown = 1.0 - shown
    return np.repeat(np.rint(255 * shown).astype(np.uint8)[:, None], 3, axis=1)


def _voi_table(elements: Elements, item: Elements, values: np.ndarray) -> np.ndarray:
    """Return values from 0 to 1 after the first table of the VOILUTSequence."""
    from pydicom.pixels.processing import apply_voi

    count, first, bits = _descriptor(item, "LUTDescriptor")
    inputs = np.clip(np.rint(values), first, first + count - 1).astype(np.int64)
    shown, problem = attempt(lambda: apply_voi(inputs, elements.dataset))
    if problem:
        raise item.error("LUTData", "does not hold as many entries as its descriptor says")
    # Some writers state 16 bits and write entries of fewer.
    return np.minimum(shown / (2 ** _used_bits(shown.astype(int), bits) - 1), 1.0)


def _window(elements: Elements, values: np.ndarray) -> np.ndarray:
    """Return values from 0 to 1 after the first window, or of the full range without one."""
    from pydicom.pixels import apply_windowing

    if not elements.text("WindowCenter") + elements.text("WindowWidth"):
        return (values - values.min()) / (values.max() - values.min())
    # The infinities give the two ends of pydicom's output range.
    ends = np.concatenate([[-np.inf], values, [np.inf]])
    shown, problem = attempt(lambda: apply_windowing(ends, elements.dataset))
    if problem or not np.isfinite(shown).all():
        raise elements.error(
            "WindowWidth",
            "must be given with WindowCenter and be at least 1 (above 0 if VOILUTFunction is "
            "LINEAR_EXACT or SIGMOID)",
        )
    return (shown[1:-1] - shown[0]) / (shown[-1] - shown[0])


def _palette(elements: Elements, values: np.ndarray) -> np.ndarray:
    """Return the colour of each stored value, uint8 [values, 3], PS3.3 C.7.6.3.1.5 and .6."""
    from pydicom.pixels import apply_color_lut

    count, first, bits = _descriptor(elements, "RedPaletteColorLookupTableDescriptor")
    for keyword in (f"{color}PaletteColorLookupTableData" for color in ("Red", "Green", "Blue")):
        segmented = not elements.has(keyword)
        data = elements.value(f"Segmented{keyword}" if segmented else keyword) or b""
        if elements.dataset.original_encoding[1] is False:
            data = np.frombuffer(data[: len(data) // 2 * 2], ">u2").astype("<u2").tobytes()
        # Entries of 8 bits are packed two in a word, the first in its low byte, or not packed.
        width = 1 if bits == 8 and (segmented or len(data) < 2 * count) else 2
        if segmented:
            codes = np.frombuffer(data[: len(data) // width * width], f"<u{width}").tolist()
            entries, _ = attempt(lambda codes=codes, width=width: _expand(codes, width))
            data = np.array(entries or [], f"<u{width}").tobytes()
        if len(data) < count * width:
            raise elements.error(keyword, "does not hold as many entries as its descriptor says")
        setattr(elements.dataset, keyword, data[: count * width])
    # pydicom wraps values beyond the width of an entry.
    inputs = np.clip(values, first, first + count - 1)
    colors, problem = attempt(lambda: apply_color_lut(inputs, elements.dataset)[:, :3])
    if problem:
        raise elements.error("RedPaletteColorLookupTableDescriptor", "must say 8 or 16 bits")
    # Some writers state 16 bits and write entries of fewer.
    return (colors >> _used_bits(colors, bits) - 8).astype(np.uint8)


def _descriptor(elements: Elements, keyword: str) -> tuple[int, int, int]:
    """Return the number of entries of a table, its first mapped value and the bits of an entry."""
    value = elements.value(keyword)
    numbers, _ = attempt(lambda: [int(number) for number in value])
    count, first, bits = numbers if numbers and len(numbers) == 3 else (-1, 0, 0)
    count = count or _MAX_ENTRIES
    # pydicom wraps the index at the width of an entry.
    if not 8 <= bits <= 16 or not 1 <= count <= (256 if bits == 8 else _MAX_ENTRIES):
        rule = "must be three numbers: up to 65536 entries (256 of 8 bits), first value, bits"
        raise elements.error(keyword, rule)
    return count, first, bits


def _expand(codes: list[int], width: int) -> list[int]:
    """Expand the segments of a palette, PS3.3 C.7.9.2, whose entries have `width` bytes.

    pydicom 3.0.2 does this without a limit, and counts the offset of a copy in entries, not bytes.
    """
    entries: list[int] = []
    segments = itertools.count(1)

    def add(at: int, *, copied: bool = False) -> int:
        """Append the entries of the segment that starts at `at`; return where the next starts."""
        kind, length, level = (*codes[at : at + 3], 0)[:3]
        if next(segments) > _MAX_ENTRIES or len(entries) > _MAX_ENTRIES or kind > 2 - copied:
            raise DamageError("has unknown segments, or too many")
        if kind == 0:  # discrete
            entries.extend(codes[at + 2 : at + 2 + length])
            return at + 2 + length
        if kind == 1:  # linear
            entries.extend(np.rint(np.linspace(entries[-1], level, length + 1)[1:]).astype(int))
            return at + 3
        # A copy of `length` segments, whose offset in bytes has its lowest part first.
        end = at + 2 + 4 // width
        offset = sum(part << 8 * width * n for n, part in enumerate(codes[at + 2 : end]))
        source = offset // width
        for _ in range(length):
            source = add(source, copied=True)
        return end

    position = 0
    while position + 1 < len(codes):
        position = add(position)
    return entries
