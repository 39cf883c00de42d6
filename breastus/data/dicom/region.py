"""Where in an ultrasound frame the B-mode picture is, and how large its pixels are.

Reference:
    DICOM PS3.3 C.8.5.5, US Region Calibration Module: (0018,6011) Sequence of Ultrasound Regions.
"""

import math
from dataclasses import dataclass

import numpy as np

from breastus.data.dicom.elements import Elements, attempt
from breastus.errors import ImageError

REGION_KEYWORDS = ("SequenceOfUltrasoundRegions", "PixelSpacing")

_PLANE = 1  # Region Spatial Format, C.8.5.5.1.1: 2D (tissue or flow)
_TISSUE, _COLOR_FLOW = 1, 2  # Region Data Type, C.8.5.5.1.2
_CENTIMETRES = 3  # Physical Units, C.8.5.5.1.15
_MAX_REGIONS = 1000
_BOUNDS = (
    "RegionLocationMinX0",
    "RegionLocationMinY0",
    "RegionLocationMaxX1",
    "RegionLocationMaxY1",
)


@dataclass(frozen=True)
class Geometry:
    """What a file says of the plane it shows.

    Attributes:
        box: first column, first row, and one past the last column and row of the B-mode region in
            pixels of the frame; None for the whole frame.
        spacing_mm: height and width of a pixel in mm; None when unknown.
        region: "region", or why the frame is whole: "no_region", or "impossible_region" for one
            that does not lie in the frame.
        color_flow: whether a region holds colour flow.
    """

    box: tuple[int, int, int, int] | None
    spacing_mm: tuple[float, float] | None
    region: str
    color_flow: bool

    def crop(self, frame: np.ndarray) -> np.ndarray:
        """Return the region of a frame [H, W, 3], as a view."""
        if self.box is None:
            return frame
        left, top, right, bottom = self.box
        return frame[top:bottom, left:right]


def geometry(elements: Elements, rows: int, columns: int) -> Geometry:
    """Find the largest B-mode region of a file with frames of `rows` x `columns` pixels.

    A damaged region counts as none: the whole frame is still the image.
    """
    found, problem = attempt(lambda: elements.items("SequenceOfUltrasoundRegions")[:_MAX_REGIONS])
    regions = [] if problem else [region for item in found if (region := _read(item))]
    tissue = [region for region in regions if region.plane and region.data == _TISSUE]
    possible = [region for region in tissue if region.inside(rows, columns)]
    color_flow = any(region.data == _COLOR_FLOW for region in regions)
    if possible:
        region = max(possible, key=lambda region: region.area)
        return Geometry(
            # A maximum of `columns` is one too many, and what writers of half-open boxes mean.
            (region.left, region.top, min(region.right, columns), min(region.bottom, rows)),
            region.spacing_mm or _pixel_spacing(elements),
            "region",
            color_flow,
        )
    # Its spacing is not used either: such files were mostly resized after the region was written.
    why = "impossible_region" if tissue else "no_region"
    return Geometry(None, _pixel_spacing(elements), why, color_flow)


@dataclass(frozen=True)
class _Region:
    plane: bool
    data: int
    left: int
    top: int
    right: int  # one past the last column
    bottom: int
    spacing_mm: tuple[float, float] | None

    @property
    def area(self) -> int:
        return (self.right - self.left) * (self.bottom - self.top)

    def inside(self, rows: int, columns: int) -> bool:
        return (
            0 <= self.left < self.right <= columns + 1
            and 0 <= self.top < self.bottom <= rows + 1
            and self.left < columns
            and self.top < rows
        )


def _read(item: Elements) -> _Region | None:
    try:
        space, data = (
            item.integer(keyword, 0, 0xFFFF)
            for keyword in ("RegionSpatialFormat", "RegionDataType")
        )
        left, top, right, bottom = (item.integer(keyword, 0, 2**32 - 1) for keyword in _BOUNDS)
        return _Region(
            space == _PLANE, data, left, top, right + 1, bottom + 1, _region_spacing(item)
        )
    except ImageError:
        return None


def _region_spacing(item: Elements) -> tuple[float, float] | None:
    sides = []
    for axis in ("Y", "X"):
        if item.text(f"PhysicalUnits{axis}Direction") != str(_CENTIMETRES):
            return None
        sides += [10.0 * abs(delta) for delta in item.numbers(f"PhysicalDelta{axis}")]
    return _sane(sides)


def _pixel_spacing(elements: Elements) -> tuple[float, float] | None:
    try:
        return _sane(elements.numbers("PixelSpacing"))  # row spacing first, PS3.3 10.7.1.3
    except ImageError:
        return None


def _sane(sides: list[float]) -> tuple[float, float] | None:
    if len(sides) != 2 or not all(math.isfinite(side) and side > 0 for side in sides):
        return None
    return sides[0], sides[1]
