"""From stored values of a DICOM image to what is shown: uint8 [H, W, 3], RGB.

Grey values go through the grey-scale pipeline of PS3.4 N.2: modality transform (PS3.3 C.11.1),
window or VOI table (C.11.2), polarity. As there are at most 65,536 of them, the pipeline is run
once on each possible value, and the result is a table that frames are looked up in.
"""

import numpy as np

from breastus.data.dicom.elements import Elements, attempt

COLORS = (
    "RGB",
    "YBR_FULL",
    "YBR_FULL_422",
    "YBR_PARTIAL_422",
    "YBR_PARTIAL_420",
    "YBR_ICT",
    "YBR_RCT",
)
_CHANNELS = ("Red", "Green", "Blue")
LUT_KEYWORDS = (
    "ModalityLUTSequence",
    "RescaleSlope",
    "RescaleIntercept",
    "VOILUTSequence",
    "VOILUTFunction",
    "WindowCenter",
    "WindowWidth",
    *(f"{color}PaletteColorLookupTableDescriptor" for color in _CHANNELS),
    *(f"{color}PaletteColorLookupTableData" for color in _CHANNELS),
    *(f"Segmented{color}PaletteColorLookupTableData" for color in _CHANNELS),
)

# RGB to Y, Cb, Cr, PS3.3 C.7.6.3.1.2, and what is added to the three.
_FULL = ([[0.2990, 0.5870, 0.1140], [-0.1687, -0.3313, 0.5000], [0.5000, -0.4187, -0.0813]], 0)
_PARTIAL = ([[0.2568, 0.5041, 0.0979], [-0.1482, -0.2910, 0.4392], [0.4392, -0.3678, -0.0714]], 16)
_ROWS_AT_A_TIME = 128
_ENTRIES = 1 << 16  # the most a lookup table can have


def to_rgb(values: np.ndarray, photometric: str, stored: int) -> np.ndarray:
    """Return a colour frame as RGB.

    Args:
        values: uint8 or uint16 [H, W, 3].
        photometric: one of `COLORS`, what the three values are.
        stored: bits of each.
    """
    if stored > 8:
        values = (values >> (stored - 8)).astype(np.uint8)  # the high byte, as for other files
    elif stored < 8:
        values = (values.astype(np.uint16) * 255 // (2**stored - 1)).astype(np.uint8)
    if photometric == "RGB":
        return values
    matrix, offset = _PARTIAL if "PARTIAL" in photometric else _FULL
    back = np.linalg.inv(np.array(matrix)).T.astype(np.float32)
    zero = np.array([offset, 128, 128], np.float32)
    rgb = np.empty_like(values)
    for row in range(0, len(values), _ROWS_AT_A_TIME):
        part = slice(row, row + _ROWS_AT_A_TIME)
        rgb[part] = np.clip(np.rint((values[part] - zero) @ back), 0, 255)
    return rgb


def grey_table(elements: Elements, photometric: str, stored: int, signed: bool) -> np.ndarray:
    """Return what is shown for each stored value: uint8 [2**stored, 3].

    Without a window the full range of stored values is shown; of several windows or tables, which
    are alternatives (C.11.2.1.1, C.11.2.1.2), the first is taken.
    """
    values = np.arange(2**stored, dtype=np.float64)
    if signed:  # two's complement
        values[2 ** (stored - 1) :] -= 2**stored
    values = _modality(elements, values)
    low, high = values.min(), values.max()
    shown = _voi(elements, values)
    if shown is None:
        shown = (values - low) / (high - low)
    if photometric == "MONOCHROME1":  # the lowest value is white
        shown = 1.0 - shown
    return np.repeat(np.rint(255 * shown).astype(np.uint8)[:, None], 3, axis=1)


def palette_table(elements: Elements, stored: int, signed: bool) -> np.ndarray:
    """Return the colour of each stored value: uint8 [2**stored, 3], PS3.3 C.7.6.3.1.5 and .6."""
    values = np.arange(2**stored, dtype=np.int64)
    if signed:
        values[2 ** (stored - 1) :] -= 2**stored
    channels, deep = [], []
    for color in _CHANNELS:
        name = f"{color}PaletteColorLookupTable"
        first, table, bits = _table(elements, f"{name}Descriptor", f"{name}Data")
        channels.append(table[np.clip(values - first, 0, len(table) - 1)])
        deep.append(bits == 16)
    colors = np.stack(channels, axis=1)
    # Some writers state 16 bits and put values of 8 into them; real 16 bits use the high byte.
    if any(deep) and colors.max() > 255:
        colors = colors >> 8
    return np.minimum(colors, 255).astype(np.uint8)


def _modality(elements: Elements, values: np.ndarray) -> np.ndarray:
    if items := elements.items("ModalityLUTSequence"):
        first, table, _ = _table(items[0], "LUTDescriptor", "LUTData")
        values = table[_indices(values, first, table)].astype(np.float64)
        if values.min() == values.max():
            raise elements.refuse("ModalityLUTSequence", "makes all values the same")
        return values
    slope = (elements.numbers("RescaleSlope") or [1.0])[0]
    intercept = (elements.numbers("RescaleIntercept") or [0.0])[0]
    # Past this, neighbouring values are no longer told apart.
    if not 1e-9 <= abs(slope) <= 1e9 or abs(intercept) > 1e9 * abs(slope):
        raise elements.refuse("RescaleSlope", "and RescaleIntercept must not be 0 or enormous")
    return slope * values + intercept


def _voi(elements: Elements, values: np.ndarray) -> np.ndarray | None:
    """Return values from 0 to 1 after the VOI table or window, None when there is neither."""
    if items := elements.items("VOILUTSequence"):
        first, table, bits = _table(items[0], "LUTDescriptor", "LUTData")
        return np.minimum(table[_indices(values, first, table)] / (2**bits - 1), 1.0)
    centers, widths = elements.numbers("WindowCenter"), elements.numbers("WindowWidth")
    if not centers and not widths:
        return None
    function = elements.text("VOILUTFunction").upper() or "LINEAR"
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise elements.refuse("VOILUTFunction", "must be LINEAR, LINEAR_EXACT or SIGMOID")
    low = 1.0 if function == "LINEAR" else 1e-9
    if not centers or not widths or widths[0] < low:
        raise elements.refuse("WindowWidth", f"must stand with WindowCenter and be at least {low}")
    center, width = centers[0], widths[0]
    if function == "SIGMOID":  # C.11.2.1.3.1
        return 1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - center) / width, -700, 700)))
    if function == "LINEAR":  # C.11.2.1.2.1
        center, width = center - 0.5, width - 1.0
    if width == 0:
        return (values > center).astype(np.float64)
    return np.clip((values - center) / width + 0.5, 0.0, 1.0)


def _indices(values: np.ndarray, first: int, table: np.ndarray) -> np.ndarray:
    # What lies before the first mapped value gets the first entry, what lies after the last it.
    return np.clip(np.rint(values) - first, 0, len(table) - 1).astype(np.int64)


def _table(elements: Elements, descriptor: str, data: str) -> tuple[int, np.ndarray, int]:
    """Return first mapped value, entries (int64) and bits of an entry of a lookup table."""
    described, problem = attempt(lambda: [int(number) for number in elements.numbers(descriptor)])
    if problem or len(described) != 3 or not 1 <= described[2] <= 16:
        raise elements.refuse(descriptor, "must be three numbers, the last of them 8 to 16")
    count, first, bits = described[0] or _ENTRIES, described[1], described[2]
    segmented = not elements.has(data) and elements.has(f"Segmented{data}")
    keyword = f"Segmented{data}" if segmented else data
    raw = elements.value(keyword)
    entries, problem = attempt(lambda: _entries(raw, count, bits, _little(elements), segmented))
    if problem or not 1 <= len(entries) <= _ENTRIES or len(entries) < count:
        raise elements.refuse(keyword, "does not hold what its descriptor says")
    return first, entries[:count], bits


def _little(elements: Elements) -> bool:
    return elements.dataset.original_encoding[1] is not False


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
    """Expand segments, PS3.3 C.7.9.2: discrete (0), linear (1), and copies of earlier ones (2)."""
    found: list[int] = []
    position = steps = 0
    while position + 1 < len(codes):
        if codes[position] == 2:
            size = 4 // width
            offset = codes[position + 2 : position + 2 + size]  # in bytes, lowest part first
            at = sum(part << 8 * width * n for n, part in enumerate(offset)) // width
            copies, position = codes[position + 1], position + 2 + size
            for _ in range(copies):
                at = _add_segment(codes, at, found)
                if (steps := steps + 1) > _ENTRIES:
                    raise ValueError("segments without end")
        else:
            position = _add_segment(codes, position, found)
        if len(found) > _ENTRIES or (steps := steps + 1) > _ENTRIES:
            raise ValueError("segments without end")
    return np.array(found, np.int64)


def _add_segment(codes: list[int], position: int, found: list[int]) -> int:
    """Append a segment's values to `found`; return where the next one starts."""
    kind, length = codes[position : position + 2]
    if kind == 0:
        found += codes[position + 2 : position + 2 + length]
        return position + 2 + length
    if kind == 1:
        ramp = np.linspace(found[-1], codes[position + 2], length + 1)[1:]
        found += np.rint(ramp).astype(int).tolist()
        return position + 3
    raise ValueError("unknown segment")
