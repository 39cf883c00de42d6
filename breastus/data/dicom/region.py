"""The B-mode region of an ultrasound frame: the elements of a file in, a box and flags out.

Reference:
    DICOM PS3.3 C.8.5.5, US Region Calibration Module: (0018,6011) Sequence of Ultrasound Regions.
"""

from breastus.data.dicom.privacy import Elements, attempt
from breastus.errors import ImageError

_TWO_DIMENSIONAL = 1  # Region Spatial Format, C.8.5.5.1.1
_TISSUE, _COLOR_FLOW = 1, 2  # Region Data Type, C.8.5.5.1.2
_MAX_REGIONS = 1000
# Smallest side of a region that can be an image, as fraction of the frame's. One of four views has
# half of each side; some writers fill regions that mean nothing with zeros or small numbers.
_MIN_SIDE = 1 / 8
_KEYWORDS = (
    "RegionSpatialFormat",
    "RegionDataType",
    "RegionLocationMinX0",
    "RegionLocationMinY0",
    "RegionLocationMaxX1",
    "RegionLocationMaxY1",
)

Box = tuple[int, int, int, int]


def bmode_region(elements: Elements, rows: int, columns: int) -> tuple[Box | None, tuple[str, ...]]:
    """Find the largest B-mode region of a file with frames of `rows` x `columns` pixels.

    A damaged region is ignored: the whole frame is still the image.

    Returns:
        First column, first row, one past the last column and one past the last row of the region,
        None for the whole frame; and flags: `color_doppler` when a region holds colour flow, and
        `no_region` or `impossible_region` (it does not lie in the frame, or is too small to be an
        image) for the whole frame.
    """
    items, _ = attempt(lambda: elements.items("SequenceOfUltrasoundRegions")[:_MAX_REGIONS])
    tissue, possible, flags = 0, [], ()
    for item in items or []:
        try:
            space, data, left, top, right, bottom = (
                item.integer(keyword, 0, 2**32 - 1) for keyword in _KEYWORDS
            )
        except ImageError:
            continue
        if data == _COLOR_FLOW:
            flags = ("color_doppler",)
        if space != _TWO_DIMENSIONAL or data != _TISSUE:
            continue
        tissue += 1
        # Some writers give one past the last column and row, so a maximum of `columns` is accepted.
        if right > columns or bottom > rows:
            continue
        right, bottom = min(right + 1, columns), min(bottom + 1, rows)
        if right - left >= _MIN_SIDE * columns and bottom - top >= _MIN_SIDE * rows:
            possible.append((left, top, right, bottom))
    if not possible:
        return None, (*flags, "impossible_region" if tissue else "no_region")
    return max(possible, key=lambda box: (box[2] - box[0]) * (box[3] - box[1])), flags
