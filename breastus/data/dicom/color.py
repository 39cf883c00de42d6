"""Stored values of a DICOM image to shown ones: uint8 [H, W, 3], RGB.

Grey values go through the pipeline of PS3.4 N.2: modality transform (PS3.3 C.11.1), window or VOI
table (C.11.2), polarity. There are at most 65,536 of them, so the pipeline runs once on each
possible value and its result is a lookup table for all frames.
"""

import numpy as np

from breastus.data.dicom.elements import Elements
from breastus.data.dicom.privacy import attempt

COLORS = (
    "RGB",
    "YBR_FULL",
    "YBR_FULL_422",
    "YBR_PARTIAL_422",
    "YBR_PARTIAL_420",
    "YBR_ICT",
    "YBR_RCT",
)
_PALETTES = [f"{color}PaletteColorLookupTable" for color in ("Red", "Green", "Blue")]
# PS3.3 C.7.6.3.1.2: RGB to Y, Cb, Cr of partial range, which pydicom does not convert.
_RGB_TO_PARTIAL = np.array(
    [[0.2568, 0.5041, 0.0979], [-0.1482, -0.2910, 0.4392], [0.4392, -0.3678, -0.0714]]
)
_ROWS_AT_A_TIME = 128  # colours are converted in float32, four times as large as the frame
_MAX_ENTRIES = 1 << 16


def to_rgb(values: np.ndarray, photometric: str, stored: int) -> np.ndarray:
    """Return a colour frame as RGB.

    Args:
        values: uint8 or uint16 [H, W, 3].
        photometric: one of `COLORS`, the colour space of the values.
        stored: bits of each value.
    """
    from pydicom.pixels import convert_color_space

    if stored > 8:
        values = (values >> (stored - 8)).astype(np.uint8)  # the high byte, as for other files
    elif stored < 8:
        values = (values.astype(np.uint16) * 255 // (2**stored - 1)).astype(np.uint8)
    if photometric == "RGB":
        return values
    partial_to_rgb = np.linalg.inv(_RGB_TO_PARTIAL).T.astype(np.float32)
    rgb = np.empty_like(values)
    for row in range(0, len(values), _ROWS_AT_A_TIME):
        part = values[row : row + _ROWS_AT_A_TIME]
        if "PARTIAL" in photometric:
            part = (part - np.array([16, 128, 128], np.float32)) @ partial_to_rgb
            part = np.clip(np.rint(part), 0, 255)
        else:
            part = convert_color_space(part, "YBR_FULL", "RGB")
        rgb[row : row + _ROWS_AT_A_TIME] = part
    return rgb


def grey_table(elements: Elements, photometric: str, stored: int, signed: bool) -> np.ndarray:
    """Return what is shown for each stored value: uint8 [2**stored, 3].

    Without a window the full range of stored values is shown. Several windows or tables are
    alternatives (C.11.2.1.1, C.11.2.1.2); the first one is used.
    """
    values = _modality(elements, _stored_values(stored, signed))
    shown = _voi(elements, values)
    if shown is None:
        shown = (values - values.min()) / (values.max() - values.min())
    if photometric == "MONOCHROME1":  # the lowest value is white
        shown = 1.0 - shown
    return np.repeat(np.rint(255 * shown).astype(np.uint8)[:, None], 3, axis=1)


def palette_table(elements: Elements, stored: int, signed: bool) -> np.ndarray:
    """Return the colour of each stored value: uint8 [2**stored, 3], PS3.3 C.7.6.3.1.5 and .6."""
    values = _stored_values(stored, signed)
    tables = [_table(elements, f"{name}Descriptor", f"{name}Data") for name in _PALETTES]
    colors = np.stack([_look_up(values, first, table) for first, table, _ in tables], axis=1)
    # Some writers state 16 bits and write values of 8 bits; of real 16 bits the high byte is shown.
    if any(bits == 16 for _, _, bits in tables) and colors.max() > 255:
        colors = colors >> 8
    return np.minimum(colors, 255).astype(np.uint8)


def _stored_values(stored: int, signed: bool) -> np.ndarray:
    """Return the value of each pattern of bits, float64 [2**stored]."""
    values = np.arange(2**stored, dtype=np.float64)
    if signed:  # two's complement
        values[2 ** (stored - 1) :] -= 2**stored
    return values


def _modality(elements: Elements, values: np.ndarray) -> np.ndarray:
    if items := elements.items("ModalityLUTSequence"):
        first, table, _ = _table(items[0], "LUTDescriptor", "LUTData")
        values = _look_up(values, first, table).astype(np.float64)
        if values.min() == values.max():
            raise elements.error("ModalityLUTSequence", "makes all values the same")
        return values
    slope = (elements.numbers("RescaleSlope") or [1.0])[0]
    intercept = (elements.numbers("RescaleIntercept") or [0.0])[0]
    # Beyond these bounds neighbouring values would become one.
    if not 1e-9 <= abs(slope) <= 1e9 or abs(intercept) > 1e9 * abs(slope):
        raise elements.error("RescaleSlope", "and RescaleIntercept must not be 0 or enormous")
    return slope * values + intercept


def _voi(elements: Elements, values: np.ndarray) -> np.ndarray | None:
    """Return values from 0 to 1 after the VOI table or window, None when there is neither."""
    from pydicom.pixels import apply_windowing

    if items := elements.items("VOILUTSequence"):
        first, table, bits = _table(items[0], "LUTDescriptor", "LUTData")
        return np.minimum(_look_up(values, first, table) / (2**bits - 1), 1.0)
    centers, widths = elements.numbers("WindowCenter"), elements.numbers("WindowWidth")
    if not centers and not widths:
        return None
    function = elements.text("VOILUTFunction").upper() or "LINEAR"
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise elements.error("VOILUTFunction", "must be LINEAR, LINEAR_EXACT or SIGMOID")
    low = 1.0 if function == "LINEAR" else 1e-9
    if not centers or not widths or widths[0] < low:
        raise elements.error("WindowWidth", f"must be given with WindowCenter, at least {low}")
    # The infinities give the two ends of pydicom's output range.
    values = np.concatenate([[-np.inf], values, [np.inf]])
    with np.errstate(over="ignore"):
        shown, problem = attempt(lambda: apply_windowing(values, elements.dataset))
    if problem:
        raise elements.error("WindowCenter", problem)
    return (shown[1:-1] - shown[0]) / (shown[-1] - shown[0])


def _look_up(values: np.ndarray, first: int, table: np.ndarray) -> np.ndarray:
    # Values outside the table take its nearest entry.
    return table[np.clip(np.rint(values) - first, 0, len(table) - 1).astype(np.int64)]


def _table(elements: Elements, descriptor: str, data: str) -> tuple[int, np.ndarray, int]:
    """Return first mapped value, entries (int64) and bits of an entry of a lookup table."""
    described, problem = attempt(lambda: [int(number) for number in elements.numbers(descriptor)])
    if problem or len(described) != 3 or not 1 <= described[2] <= 16:
        raise elements.error(descriptor, "must be three numbers, the last of them 8 to 16")
    count, first, bits = described[0] or _MAX_ENTRIES, described[1], described[2]
    segmented = not elements.has(data) and elements.has(f"Segmented{data}")
    keyword = f"Segmented{data}" if segmented else data
    raw, little = elements.value(keyword), elements.dataset.original_encoding[1] is not False
    entries, problem = attempt(lambda: _entries(raw, count, bits, little, segmented))
    if problem or not 1 <= len(entries) <= _MAX_ENTRIES or len(entries) < count:
        raise elements.error(keyword, "does not hold as many entries as its descriptor says")
    return first, entries[:count], bits


def _entries(raw, count: int, bits: int, little: bool, segmented: bool) -> np.ndarray:
    if not isinstance(raw, bytes):  # VR US
        return np.atleast_1d(np.array(raw, np.int64))
    words = np.frombuffer(raw[: len(raw) // 2 * 2], "<u2" if little else ">u2")
    # Entries of 8 bits are packed two in a word, the first in its low byte.
    packed = bits == 8 and (segmented or len(raw) < 2 * count)
    values = words.astype("<u2").view(np.uint8) if packed else words
    values = values.astype(np.int64)
    return _expanded(values.tolist(), 1 if packed else 2) if segmented else values


def _expanded(codes: list[int], width: int) -> np.ndarray:
    """Expand the segments of a table, PS3.3 C.7.9.2.

    pydicom 3.0.2 does this without a limit, and counts the offset of a copy in entries.

    Args:
        codes: entries of the segmented table.
        width: bytes of an entry.
    """
    found: list[int] = []
    segments = 0

    def add(position: int) -> int:
        """Append a discrete (0) or linear (1) segment; return where the next one starts."""
        nonlocal segments
        kind, length = codes[position : position + 2]
        segments += 1
        if kind > 1 or segments > _MAX_ENTRIES or len(found) > _MAX_ENTRIES:
            raise ValueError("unknown segment, or segments without end")
        if kind == 0:
            found.extend(codes[position + 2 : position + 2 + length])
            return position + 2 + length
        ramp = np.linspace(found[-1], codes[position + 2], length + 1)[1:]
        found.extend(np.rint(ramp).astype(int).tolist())
        return position + 3

    position = 0
    while position + 1 < len(codes):
        if codes[position] != 2:
            position = add(position)
            continue
        # A copy of earlier segments, whose offset is in bytes, lowest part first.
        parts = codes[position + 2 : position + 2 + 4 // width]
        at = sum(part << 8 * width * n for n, part in enumerate(parts)) // width
        for _ in range(codes[position + 1]):
            at = add(at)
        position += 2 + 4 // width
    return np.array(found, np.int64)
