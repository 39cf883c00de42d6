"""What ultrasound images suffer elsewhere: pixels, a severity and a seed in, worse pixels out.

    worse = gain_up(pixels, 3, seed=0)                 # severity 1 to 5; 0 is the image itself
    worse = CORRUPTIONS["speckle"](pixels, 5, seed=0)  # by name

Pixels are uint8 [H, W, 3], RGB, 0 to 255, at least `SMALLEST` pixels a side. B-mode images are log
compressed, so decibels are grey levels: `DYNAMIC_RANGE` dB are taken to fill 0 to 255. As an
image states no scale, its height is taken to show `DEPTH` and its width `WIDTH`. What changes a
level scales the three colours alike: grey stays grey, and hues stay. What has no echo, black, is
left black, as no gain lifts it. Letters and panels on the image change with the tissue, which on a
device they would not. One seed puts grains, shadows and marks at the same place for every severity,
so that severities differ in strength alone.

Severities are not those of ImageNet-C (Hendrycks and Dietterich, ICLR 2019), whose plan this is.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from breastus.data.annotations.drawing import MIN_SIDE as ANNOTATION_MIN_SIDE
from breastus.data.annotations.drawing import draw_annotations
from breastus.errors import ConfigError, ImageError
from breastus.utils.opencv import cv2

SMALLEST = 16  # pixels a side
SEVERITIES = (1, 2, 3, 4, 5)
DYNAMIC_RANGE = 60.0  # dB; scanners are set to 50 to 70 for the breast
DEPTH, WIDTH = 4.0, 4.0  # cm; what a linear probe shows of a breast, about

_LEVELS_PER_DB = 255 / DYNAMIC_RANGE
# Up to here a pixel is black: the level at which black borders are trimmed. Around a pixel, gain
# lifts nothing below the first mean level and everything above the second; a step would draw an
# outline around what is dark.
_BLACK, _SILENT, _ECHO = 10.0, 6.0, 22.0
_AROUND = 0.03  # share of the image's shorter side
# Half the height of a Gaussian is 2.355 standard deviations wide.
_FWHM = 2.355
# Where sets of marks are drawn: top, left and side as shares. One on all, the next beside it.
_WINDOWS = ((0, 0, 1), (0, 0.45, 0.55), (0, 0, 0.55), (0.45, 0.45, 0.55), (0.45, 0, 0.55))

Change = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Corruption:
    """One way in which images get worse; call it with (pixels, severity, seed).

    Attributes:
        name: as in `CORRUPTIONS`.
        title: as in a table.
        meaning: what it stands for, in one line.
        values: what severities 1 to 5 are.
        unit: of the values.
        reason: where the range comes from.
        change: (pixels, value, generator) to the changed pixels.
    """

    name: str
    title: str
    meaning: str
    values: tuple[float, float, float, float, float]
    unit: str
    reason: str
    change: Change

    def __call__(self, pixels: np.ndarray, severity: int, seed: int = 0) -> np.ndarray:
        """Return the image at a severity, a copy.

        Args:
            pixels: uint8 [H, W, 3].
            severity: 1 to 5; 0 changes nothing.
            seed: decides where what is random lies.

        Raises:
            ConfigError: for another severity.
            ImageError: for what is no such image, or one too small.
        """
        check_severity(severity, lowest=0)
        _check_pixels(pixels)
        if severity == 0:
            return pixels.copy()
        return self.change(pixels, self.values[severity - 1], np.random.default_rng(seed))


CORRUPTIONS: dict[str, Corruption] = {}


def corruption(name: str) -> Corruption:
    """Return a corruption by name.

    Raises:
        ConfigError: when there is none; the message names a near one.
    """
    if name not in CORRUPTIONS:
        near = difflib.get_close_matches(str(name), CORRUPTIONS, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ConfigError(
            f"A corruption must be one of {', '.join(CORRUPTIONS)}.{hint} Received: {name!r}"
        )
    return CORRUPTIONS[name]


def check_severity(severity: int, *, lowest: int = 1) -> None:
    """See that a severity is a whole number from `lowest` to 5.

    Raises:
        ConfigError: when it is none.
    """
    whole = isinstance(severity, int | np.integer) and not isinstance(severity, bool)
    if not whole or not lowest <= severity <= SEVERITIES[-1]:
        raise ConfigError(
            f"A severity must be a whole number from {lowest} to {SEVERITIES[-1]}. "
            f"Received: {severity!r}"
        )


def _corruption(**about) -> Callable[[Change], Corruption]:
    """Register a change under its function's name."""

    def register(change: Change) -> Corruption:
        name = change.__name__
        if name in CORRUPTIONS:
            raise ValueError(f"There is a corruption of that name. Received: {name}")
        CORRUPTIONS[name] = Corruption(name=name, change=change, **about)
        return CORRUPTIONS[name]

    return register


@_corruption(
    title="Gain up",
    meaning="the overall gain is set too high",
    values=(3, 6, 9, 12, 15),
    unit="dB",
    reason="our choice: operators differ by a few dB; at 15 dB fat and fasciae are white",
)
def gain_up(pixels, value, _):
    return _amplified(pixels, value)


@_corruption(
    title="Gain down",
    meaning="the overall gain is set too low",
    values=(3, 6, 9, 12, 15),
    unit="dB",
    reason="our choice: the mirror of gain up; at 15 dB only fasciae and skin are left to see",
)
def gain_down(pixels, value, _):
    return _amplified(pixels, -value)


@_corruption(
    title="Attenuation along depth",
    meaning="time-gain compensation makes up for too little of what tissue takes",
    values=(1, 2, 3, 4, 5),
    unit="dB/cm",
    reason="a third at most of the 15 dB/cm that breast tissue takes out and back at 10 MHz "
    f"(0.75 dB/cm/MHz; Duck: Physical Properties of Tissue, 1990); {DEPTH:g} cm from top to bottom",
)
def depth_attenuation(pixels, value, _):
    top, bottom = _beam_rows(pixels)
    depth = np.clip((np.arange(len(pixels)) - top) / max(bottom - 1 - top, 1), 0, 1)
    return _amplified(pixels, -value * DEPTH * depth[:, None])


@_corruption(
    title="Speckle",
    meaning="coarser, stronger grain: a cheaper device, without compounding or smoothing",
    values=(1, 2, 3, 4, 5.57),
    unit="dB of spread",
    reason="5.57 dB is the spread of fully developed speckle after log compression, raw and "
    "unsmoothed (Burckhardt, IEEE Trans. Sonics Ultrason. 25, 1978, 1)",
)
def speckle(pixels, value, rng):
    height, width = pixels.shape[:2]
    # Grains are as large as a resolution cell, wider than deep: 0.7 by 0.25 mm at half height.
    lateral, axial = 0.07 / WIDTH * width / _FWHM, 0.025 / DEPTH * height / _FWHM
    scatterers = rng.standard_normal((height, width, 2), dtype=np.float32)
    field = _blurred(scatterers, lateral, axial)
    level = np.log(np.maximum(np.hypot(field[..., 0], field[..., 1]), 1e-6))
    level -= level.mean()
    return _amplified(pixels, value / max(float(level.std()), 1e-6) * level)


@_corruption(
    title="Blur",
    meaning="a wider beam: lower frequency, out of focus; along depth a third of that across",
    values=(0.25, 0.4, 0.6, 0.8, 1.1),
    unit="mm across",
    reason="added to the blur there is: a beam is wavelength times f-number wide, 0.3 mm at 10 "
    f"MHz in focus, 1 mm at 5 MHz out of it; at half height, {WIDTH:g} cm from side to side",
)
def blur(pixels, value, _):
    height, width = pixels.shape[:2]
    lateral = value / 10 / WIDTH * width / _FWHM
    axial = value / 3 / 10 / DEPTH * height / _FWHM
    return _rounded(_blurred(pixels.astype(np.float32), lateral, axial))


@_corruption(
    title="JPEG",
    meaning="an export or a messenger that compresses",
    values=(60, 40, 25, 15, 8),
    unit="of 100 in quality",
    reason="our choice: 60 is what messengers send, at 15 blocks are seen, at 8 they prevail",
)
def jpeg(pixels, value, _):
    bgr = np.ascontiguousarray(pixels[..., ::-1])
    _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, int(value)])
    return np.ascontiguousarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1])


@_corruption(
    title="Resolution",
    meaning="shrunk for a slide, a thumbnail or a video, and enlarged again",
    values=(1.5, 2, 3, 4, 6),
    unit="times smaller",
    reason="our choice: 6 makes 100 pixels of 600, the size of a thumbnail",
)
def resolution(pixels, value, _):
    height, width = pixels.shape[:2]
    small = (max(1, round(width / value)), max(1, round(height / value)))
    shrunk = cv2.resize(pixels, small, interpolation=cv2.INTER_AREA)
    return cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR)


@_corruption(
    title="Shadow",
    meaning="an acoustic shadow: bad contact, a rib, a calcification; it covers up to a quarter",
    values=(5, 10, 15, 20, 30),
    unit="dB",
    reason="from a shadow one sees through to one in which nothing is seen: half the dynamic range",
)
def shadow(pixels, value, rng):
    height, width = pixels.shape[:2]
    top, bottom = _beam_rows(pixels)
    centre, half = rng.uniform(0.2, 0.8), rng.uniform(0.05, 0.09)
    start, lean, spread = rng.uniform(0.1, 0.4), rng.uniform(-0.12, 0.12), rng.uniform(0.0, 0.05)
    depth = ((np.arange(height) - top) / max(bottom - top, 1))[:, None]
    below = depth - start
    across = np.abs((np.arange(width)[None] + 0.5) / width - centre - lean * below)
    edge = 0.02 + 0.04 * np.clip(below, 0, 1)  # the beam is wide: edges are soft, more so below
    inside = _sigmoid((half + spread * below - across) / (edge / 2))
    inside *= _sigmoid((below - 0.06) / 0.025)
    return _amplified(pixels, -value * inside)


@_corruption(
    title="Calipers and text",
    meaning="somebody measured: crosses, dotted lines, numbers and a line of text",
    values=(1, 2, 3, 4, 5),
    unit="sets of marks",
    reason="our choice: one set is usual; five cover tissue as well",
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
    """Add decibels, one number or [H, W], to what has an echo; hues stay."""
    red, green, blue = cv2.split(pixels)
    level = cv2.max(cv2.max(red, green), blue).astype(np.float32)
    change = np.asarray(decibels, np.float32) * np.float32(_LEVELS_PER_DB)
    if (change > 0).any():
        # Loss darkens all, as there is no step at black, where levels end; gain needs an echo.
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
    least = 1e-3  # OpenCV takes 0 for "as the kernel's size says"
    return cv2.GaussianBlur(
        field,
        (0, 0),
        sigmaX=max(lateral, least),
        sigmaY=max(axial, least),
        borderType=cv2.BORDER_REFLECT_101,
    )


def _beam_rows(pixels: np.ndarray) -> tuple[int, int]:
    """Return the first row with echoes and one past the last; all rows where there are none."""
    bright = (pixels > _BLACK).any(axis=-1).mean(axis=1) > 0.05
    rows = np.flatnonzero(bright)
    return (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, len(pixels))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))


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
            f"An image must have at least {SMALLEST} pixels a side to be made worse. "
            f"Received: {width} x {height}"
        )
