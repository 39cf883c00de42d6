"""The orientation of a JPEG or PNG file: its bytes in, 1 (upright) to 8 out; and turning by it.

This is the one decision about orientation. `breastus.preprocessing.decode` repeats it in the
exported graph, which is tested to agree, also on damaged files.

EXIF data decide (JPEG segment APP1, PNG chunk eXIf). If they name no orientation, XMP data do.

References:
    CIPA DC-008 (Exif), 4.6.2; XMP specification part 3, 1.1.3 and 1.1.5.
"""

import re
import struct
from collections.abc import Iterator

import numpy as np

ORIENTATION_TAG = 0x0112
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_EXIF, JPEG_XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
PNG_XMP = b"XML:com.adobe.xmp\0\0"  # not compressed
MAX_BLOCKS = 10_000  # segments or chunks that are looked at
MAX_BYTES = 1 << 16  # of EXIF or XMP; a JPEG segment holds no more
XMP_PATTERN = r"""tiff:Orientation(?:=["']|>)([1-8])"""
TYPE_BYTES = {3: 2, 4: 4, 8: 2, 9: 4}  # of SHORT and LONG, without and with a sign


def file_orientation(data: bytes) -> int:
    """Return the orientation of a JPEG or PNG file; 1 if it names none. It never raises."""
    exif = xmp = b""
    for kind, content in _blocks(data):
        if kind in (b"\xe1", b"eXIf") and not exif:
            if content.startswith(JPEG_EXIF):
                exif = content[len(JPEG_EXIF) :]
            elif kind == b"eXIf":
                exif = content
        if kind == b"\xe1" and content.startswith(JPEG_XMP) and not xmp:
            xmp = content
        if kind == b"iTXt" and content.startswith(PNG_XMP) and not xmp:
            xmp = content
    if found := _exif_orientation(exif[:MAX_BYTES]):
        return found
    match = re.search(XMP_PATTERN.encode(), xmp[:MAX_BYTES])
    return int(match[1]) if match else 1


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn and mirror [H, W, 3] by its orientation, 1 to 8; others are taken for upright."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _blocks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield marker and content of each JPEG segment before the pixels, or of each PNG chunk."""
    jpeg, png = data.startswith(b"\xff\xd8\xff"), data.startswith(PNG_SIGNATURE)
    at = 2 if jpeg else 8 if png else len(data)
    for _ in range(MAX_BLOCKS):
        if at + 8 > len(data):
            return
        if jpeg:
            if data[at] != 0xFF or data[at + 1] == 0xDA:  # no marker, or the start of the pixels
                return
            end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
            yield data[at + 1 : at + 2], data[at + 4 : end]
            at = end
        else:
            end = at + 8 + int.from_bytes(data[at : at + 4], "big")
            yield data[at + 4 : at + 8], data[at + 8 : end]
            at = end + 4  # behind the checksum


def _exif_orientation(exif: bytes) -> int:
    """Return the orientation in EXIF data; 0 if they name none from 1 to 8."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None or len(exif) < 10:
        return 0
    (directory,) = struct.unpack_from(f"{order}I", exif, 4)
    if directory + 2 > len(exif):
        return 0
    (count,) = struct.unpack_from(f"{order}H", exif, directory)
    for entry in range(directory + 2, len(exif) - 11, 12)[:count]:
        tag, kind = struct.unpack_from(f"{order}HH", exif, entry)
        if tag == ORIENTATION_TAG:
            value = exif[entry + 8 : entry + 8 + TYPE_BYTES.get(kind, 0)]
            number = int.from_bytes(value, "little" if order == "<" else "big")
            return number if 1 <= number <= 8 else 0
    return 0
