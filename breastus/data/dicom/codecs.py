"""Compressed frames of a DICOM file: encapsulated bytes in, stored values out.

Each decoder checks the size that the compressed frame states against the header's before it gives
memory to it. JPEG and JPEG 2000 are decoded by Pillow, run lengths by Pillow's PackBits.

Lossless JPEG and JPEG-LS are not read: of the decoders that pydicom takes for them, GDCM (3.2.6)
ended the process with a segmentation fault on a damaged file, and pylibjpeg-libjpeg is under the
GPL.
"""

import io
import struct

import numpy as np
from PIL import Image

from breastus.data.dicom.elements import Problem

MAX_FRAGMENTS = 40_000

_ITEM, _END = 0xFFFEE000, 0xFFFEE0DD


def frame_bytes(data: bytes, index: int, frames: int) -> bytes:
    """Return the compressed bytes of one frame of encapsulated pixel data, PS3.5 A.4.

    Raises:
        Problem: when the data does not hold `frames` frames.
    """
    from pydicom.encaps import get_frame

    # Walked here first, as pydicom walks without a limit.
    position, fragments = 0, 0
    while position + 8 <= len(data):
        group, element, length = struct.unpack_from("<HHL", data, position)
        tag = group << 16 | element
        if tag == _END:
            break
        if tag != _ITEM or position + 8 + length > len(data) or fragments > MAX_FRAGMENTS:
            raise Problem("has damaged fragments")
        position += 8 + length
        fragments += 1
    if fragments - 1 < frames:  # the first item is the offset table
        raise Problem("has fewer fragments than NumberOfFrames says")
    return get_frame(data, index, number_of_frames=frames)


def decode_rle(data: bytes, rows: int, columns: int, samples: int, allocated: int) -> np.ndarray:
    """Decode a frame of RLE segments, PS3.5 G, one for each byte of each sample.

    Returns:
        uint8 or uint16 [rows, columns] or [rows, columns, samples].
    """
    count, *offsets = struct.unpack_from("<16L", data)
    width = allocated // 8
    if count != samples * width:
        raise Problem("has another number of RLE segments than its bits say")
    ends = [*offsets[1:count], len(data)]
    planes = np.empty((samples, width, rows * columns), np.uint8)
    for number, (start, end) in enumerate(zip(offsets, ends, strict=False)):
        if not 64 <= start < end <= len(data):
            raise Problem("has an RLE segment outside of itself")
        # As one long row: runs may then cross the image's rows, as some writers let them. The
        # buffer is what is asked for here, so a segment that would expand without end cannot.
        row = Image.frombytes("L", (rows * columns, 1), data[start:end], "packbits", "L")
        planes[number // width, number % width] = np.frombuffer(row.tobytes(), np.uint8)
    values = planes[:, 0].astype(np.uint16)  # the most significant byte comes first
    for byte in range(1, width):
        values = values << 8 | planes[:, byte]
    values = values.astype(f"u{width}").reshape(samples, rows, columns)
    return values[0] if samples == 1 else np.ascontiguousarray(values.transpose(1, 2, 0))


def decode_jpeg(
    data: bytes, rows: int, columns: int, samples: int, photometric: str
) -> tuple[np.ndarray, str]:
    """Decode an 8-bit JPEG frame.

    Returns:
        uint8 [rows, columns] or [rows, columns, 3], and the photometric interpretation it now has.
    """
    image = _opened(data, "JPEG", rows, columns)
    if image.mode != ("L" if samples == 1 else "RGB"):
        raise Problem(f"is not a JPEG with SamplesPerPixel={samples}")
    if samples == 1:
        return np.asarray(image), photometric
    if photometric == "RGB" and not {"jfif", "adobe_transform"} & image.info.keys():
        # libjpeg takes components without a marker for Y, Cb and Cr. They are R, G and B here; as
        # YCbCr they are handed out as they were stored.
        image.draft("YCbCr", image.size)
    return np.asarray(image), "RGB"


def decode_jpeg_2000(
    data: bytes, rows: int, columns: int, samples: int, stored: int, photometric: str
) -> tuple[np.ndarray, str]:
    """Decode a JPEG 2000 frame of unsigned values.

    Returns:
        uint8 or uint16 [rows, columns] or [rows, columns, 3], and the photometric interpretation
        it now has: the colour transform of YBR_ICT and YBR_RCT is undone by the decoder.
    """
    from pydicom.pixels.utils import get_j2k_parameters

    if b"\xff\xd9" not in data[-10:]:  # padding of any kind may follow
        # The decoder fills what is missing with black and says nothing.
        raise Problem("is truncated: JPEG 2000 without its end marker")
    image = _opened(data, "JPEG2000", rows, columns)
    described = get_j2k_parameters(data)
    precision = described.get("precision", stored)
    if described.get("is_signed"):
        raise Problem("holds signed values in JPEG 2000, which are not read here")
    if precision > stored:
        raise Problem("has more bits than BitsStored says")
    if samples == 3:
        if image.mode != "RGB" or precision > 8:
            raise Problem("is not JPEG 2000 with three samples of 8 bits")
        values = np.asarray(image) >> (8 - precision)
        return values, "RGB" if photometric in ("YBR_ICT", "YBR_RCT") else photometric
    if image.mode not in ("L", "I;16"):
        raise Problem("is not JPEG 2000 with one sample a pixel")
    # Pillow scales to 8 or 16 bits.
    return np.asarray(image) >> ((8 if image.mode == "L" else 16) - precision), photometric


def _opened(data: bytes, form: str, rows: int, columns: int) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=(form,))
    if image.size != (columns, rows):
        raise Problem("has another size than Rows and Columns say")
    return image
