"""Corruptions of ultrasound images: pixels, a severity and a seed in, corrupted pixels out.

    corrupted = CORRUPTIONS["speckle"](pixels, 5, seed=0)  # severity 1 to 5

Pixels are uint8 [H, W, 3], RGB, 0 to 255, at least `SMALLEST` pixels a side. B-mode images are log
compressed, so decibels are grey levels: `DYNAMIC_RANGE` dB span 0 to 255. An image states no scale,
so its height is assumed to show `DEPTH` and its width `WIDTH`. Changes of level scale the three
colours alike and keep hues. Black has no echo and stays black. Text and panels on the image change
with the tissue, which on a device they would not. A seed puts speckle, shadows and marks at the
same place for every severity, so that severities differ in strength only.

The design follows ImageNet-C (Hendrycks and Dietterich, ICLR 2019), but not its severities.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from breastus.data.annotations.drawing import MIN_SIDE as ANNOTATION_MIN_SIDE
from breastus.data.annotations.drawing import draw_annotations
from breastus.errors import ImageError
from breastus.utils.opencv import cv2

SMALLEST = 16  # pixels a side
SEVERITIES = (1, 2, 3, 4, 5)
DYNAMIC_RANGE = 60.0  # dB; scanners are set to 50 to 70 for the breast
DEPTH, WIDTH = 4.0, 4.0  # cm; a typical field of view of a linear probe

_LEVELS_PER_DB = 255 / DYNAMIC_RANGE
# Grey levels. Up to _BLACK a pixel is black, as when borders are trimmed. Gain sets in between the
# local mean levels _SILENT and _ECHO; a step would draw an outline around dark regions.
_BLACK, _SILENT, _ECHO = 10.0, 6.0, 22.0
_AROUND = 0.03  # side of the local mean, as a fraction of the image's shorter side
_FWHM = 2.355  # full width at half maximum of a Gaussian, in standard deviations
# Windows of the sets of marks: top, left and side as fractions. The first covers the whole image.
_WINDOWS = ((0, 0, 1), (0, 0.45, 0.55), (0, 0, 0.55), (0.45, 0.45, 0.55), (0.45, 0, 0.55))

Change = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Corruption:
    """One corruption; call it with (pixels, severity, seed).

    Attributes:
        title: title in a table.
        description: cause of the corruption in practice, in one line.
        values: strength at severities 1 to 5.
        unit: unit of the values.
        reason: source of the range.
        change: function of (pixels, value, generator) that returns the changed pixels.
    """

    title: str
    description: str
    values: tuple[float, float, float, float, float]
    unit: str
    reason: str
    change: Change

    def __call__(self, pixels: np.ndarray, severity: int, seed: int = 0) -> np.ndarray:
        """Return a corrupted copy of an image; raise ImageError when it does not fit."""
        _check_pixels(pixels)
        return self.change(pixels, self.values[severity - 1], np.random.default_rng(seed))


CORRUPTIONS: dict[str, Corruption] = {}


def _corruption(**about) -> Callable[[Change], Corruption]:
    """Register a function under its name."""

    def register(change: Change) -> Corruption:
        made = CORRUPTIONS[change.__name__] = Corruption(change=change, **about)
        return made

    return register


@_corruption(
    title="Gain up",
    description="the overall gain is set too high",
    values=(3, 6, 9, 12, 15),
    unit="dB",
    reason="our choice: operators differ by a few dB; at 15 dB fat and fasciae are white",
)
def gain_up(pixels, value, _):
    return _amplified(pixels, value)


@_corruption(
    title="Gain down",
    description="the overall gain is set too low",
    values=(3, 6, 9, 12, 15),
    unit="dB",
    reason="our choice: the mirror of gain up; at 15 dB only fasciae and skin stay visible",
)
def gain_down(pixels, value, _):
    return _amplified(pixels, -value)


@_corruption(
    title="Attenuation along depth",
    description="time-gain compensation corrects too little of the attenuation in tissue",
    values=(1, 2, 3, 4, 5),
    unit="dB/cm",
    reason="at most a third of the 15 dB/cm of breast tissue out and back at 10 MHz "
    f"(0.75 dB/cm/MHz; Duck: Physical Properties of Tissue, 1990); {DEPTH:g} cm from top to bottom",
)
def depth_attenuation(pixels, value, _):
    top, bottom = _beam_rows(pixels)
    depth = np.clip((np.arange(len(pixels)) - top) / max(bottom - 1 - top, 1), 0, 1)
    return _amplified(pixels, -value * DEPTH * depth[:, None])


@_corruption(
    title="Speckle",
    description="coarser, stronger speckle: a cheaper device, without compounding or smoothing",
    values=(1, 2, 3, 4, 5.57),
    unit="dB of spread",
    reason="5.57 dB is the spread of fully developed speckle after log compression, raw and "
    "unsmoothed (Burckhardt, IEEE Trans. Sonics Ultrason. 25, 1978, 1)",
)
def speckle(pixels, value, rng):
    height, width = pixels.shape[:2]
    # A grain is a resolution cell: 0.7 mm lateral by 0.25 mm axial, full width at half maximum.
    lateral, axial = 0.07 / WIDTH * width / _FWHM, 0.025 / DEPTH * height / _FWHM
    scatterers = rng.standard_normal((height, width, 2), dtype=np.float32)
    field = _blurred(scatterers, lateral, axial)
    level = np.log(np.maximum(np.hypot(field[..., 0], field[..., 1]), 1e-6))
    level -= level.mean()
    return _amplified(pixels, value / max(float(level.std()), 1e-6) * level)


@_corruption(
    title="Blur",
    description="a wider beam: lower frequency, out of focus; axially a third of the lateral blur",
    values=(0.25, 0.4, 0.6, 0.8, 1.1),
    unit="mm across",
    reason="added to the image's own blur: the beam width is wavelength times f-number, 0.3 mm at "
    f"10 MHz in focus, 1 mm at 5 MHz out of it; FWHM, {WIDTH:g} cm from side to side",
)
def blur(pixels, value, _):
    height, width = pixels.shape[:2]
    lateral = value / 10 / WIDTH * width / _FWHM
    axial = value / 3 / 10 / DEPTH * height / _FWHM
    return _rounded(_blurred(pixels.astype(np.float32), lateral, axial))


@_corruption(
    title="JPEG",
    description="an export or a messenger with strong compression",
    values=(60, 40, 25, 15, 8),
    unit="of 100 in quality",
    reason="our choice: messengers use about 60; blocks are visible at 15 and dominate at 8",
)
def jpeg(pixels, value, _):
    bgr = np.ascontiguousarray(pixels[..., ::-1])
    _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, int(value)])
    return np.ascontiguousarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1])


@_corruption(
    title="Resolution",
    description="shrunk for a slide, a thumbnail or a video, and enlarged again",
    values=(1.5, 2, 3, 4, 6),
    unit="times smaller",
    reason="our choice: 6 turns 600 pixels into 100, the size of a thumbnail",
)
def resolution(pixels, value, _):
    height, width = pixels.shape[:2]
    small = (max(1, round(width / value)), max(1, round(height / value)))
    shrunk = cv2.resize(pixels, small, interpolation=cv2.INTER_AREA)
    return cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR)


@_corruption(
    title="Shadow",
    description="an acoustic shadow of bad contact, a rib or a calcification, over up to a quarter",
    values=(5, 10, 15, 20, 30),
    unit="dB",
    reason="from a transparent shadow to an opaque one: half the dynamic range",
)
def shadow(pixels, value, rng):
    height, width = pixels.shape[:2]
    top, bottom = _beam_rows(pixels)
    centre, half = rng.uniform(0.2, 0.8), rng.uniform(0.05, 0.09)
    start, lean, spread = rng.uniform(0.1, 0.4), rng.uniform(-0.12, 0.12), rng.uniform(0.0, 0.05)
    depth = ((np.arange(height) - top) / max(bottom - top, 1))[:, None]
    below = depth - start
    across = np.abs((np.arange(width)[None] + 0.5) / width - centre - lean * below)
    edge = 0.02 + 0.04 * np.clip(below, 0, 1)  # edges soften with depth, as the beam has a width
    inside = expit((half + spread * below - across) / (edge / 2))
    inside *= expit((below - 0.06) / 0.025)
    return _amplified(pixels, -value * inside)


@_corruption(
    title="Calipers and text",
    description="measurement marks: crosses, dotted lines, numbers and a line of text",
    values=(1, 2, 3, 4, 5),
    unit="sets of marks",
    reason="our choice: one set is usual; five also cover tissue",
)
def calipers(pixels, value, rng):
    seeds = rng.integers(2**31, size=len(_WINDOWS))
    pixels = pixels.copy()
    for seed, (top, left, share) in zip(seeds[: int(value)], _WINDOWS, strict=False):
        height, width = (round(share * side) for side in pixels.shape[:2])
        if min(height, width) < ANNOTATION_MIN_SIDE:  # too small for a part: the whole image
            top, left, (height, width) = 0, 0, pixels.shape[:2]
        top, left = round(top * pixels.shape[0]), round(left * pixels.shape[1])
        window = np.s_[top : top + height, left : left + width]
        pixels[window] = draw_annotations(pixels[window], int(seed))
    return pixels


def _amplified(pixels: np.ndarray, decibels) -> np.ndarray:
    """Add decibels, one number or [H, W], where there is an echo; hues stay."""
    red, green, blue = cv2.split(pixels)
    level = cv2.max(cv2.max(red, green), blue).astype(np.float32)
    change = np.asarray(decibels, np.float32) * np.float32(_LEVELS_PER_DB)
    if (change > 0).any():
        # A loss applies everywhere, as levels end at black; a gain needs an echo.
        side = max(3, round(_AROUND * min(level.shape)))
        mean = cv2.blur(level, (side, side), borderType=cv2.BORDER_REFLECT_101)
        echo = np.clip((mean - _SILENT) / (_ECHO - _SILENT), 0, 1) * np.minimum(level / _BLACK, 1)
        change = np.where(change > 0, echo * change, change)
    now = np.clip(level + change, 0, 255)
    if (red == green).all() and (green == blue).all():
        return cv2.merge([_rounded(now)] * 3)
    return _rounded(pixels * (now / np.maximum(level, 1))[..., None])


def _blurred(field: np.ndarray, lateral: float, axial: float) -> np.ndarray:
    """Blur [H, W, C] by a Gaussian of these standard deviations in pixels."""
    least = 1e-3  # OpenCV derives a sigma of 0 from the kernel size
    return cv2.GaussianBlur(
        field,
        (0, 0),
        sigmaX=max(lateral, least),
        sigmaY=max(axial, least),
        borderType=cv2.BORDER_REFLECT_101,
    )


def _beam_rows(pixels: np.ndarray) -> tuple[int, int]:
    """Return the first row with echoes and one past the last; all rows when there are none."""
    bright = (pixels > _BLACK).any(axis=-1).mean(axis=1) > 0.05
    rows = np.flatnonzero(bright)
    return (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, len(pixels))


def _rounded(image: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _check_pixels(pixels: np.ndarray) -> None:
    if not (isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8):
        raise ImageError(
            "An image must be uint8 [H, W, 3]. "
            f"Received: {getattr(pixels, 'dtype', type(pixels).__name__)}"
        )
    if pixels.ndim != 3 or pixels.shape[-1] != 3:
        raise ImageError(f"An image must be uint8 [H, W, 3]. Received: shape {pixels.shape}")
    height, width = pixels.shape[:2]
    if min(height, width) < SMALLEST:
        raise ImageError(
            f"An image must have at least {SMALLEST} pixels a side. Received: {width} x {height}"
        )
