"""What an image looks like in nine numbers, and which of them lie outside what a model has seen.

Used to say of an image from elsewhere what is unusual about it; it is no measure of quality.
"""

from collections.abc import Iterable, Mapping

import numpy as np

# name: (what it measures, how its value is printed)
STATISTICS = {
    "width": ("width in pixels", "{:.0f}"),
    "height": ("height in pixels", "{:.0f}"),
    "aspect": ("width divided by height", "{:.2f}"),
    "brightness": ("mean grey level, 0 to 255", "{:.0f}"),
    "contrast": ("standard deviation of the grey levels", "{:.0f}"),
    "black": ("share of pixels darker than 10", "{:.0%}"),
    "white": ("share of pixels brighter than 245", "{:.1%}"),
    "color": ("share of pixels that are coloured, not grey", "{:.1%}"),
    "detail": ("mean difference between neighbouring pixels, in grey levels", "{:.1f}"),
}


def image_statistics(image: np.ndarray) -> dict[str, float]:
    """Measure one image.

    Args:
        image: uint8 [H, W, 3], RGB.

    Returns:
        One number for each name of `STATISTICS`.
    """
    height, width = image.shape[:2]
    # Plane by plane: NumPy is many times slower along a last axis of three.
    red, green, blue = np.moveaxis(image, -1, 0)
    grey = (red.astype(np.float32) + green + blue) / np.float32(3)
    brightest = np.maximum(np.maximum(red, green), blue)
    spread = brightest - np.minimum(np.minimum(red, green), blue)
    neighbours = [
        np.abs(np.diff(grey, axis=axis)).mean() for axis in (0, 1) if grey.shape[axis] > 1
    ]
    return {
        "width": float(width),
        "height": float(height),
        "aspect": width / height,
        "brightness": float(grey.mean()),
        "contrast": float(grey.std()),
        "black": float((grey < 10).mean()),
        "white": float((grey > 245).mean()),
        # Grey scans stored as JPEG have channel differences of a few levels; colour modes of many.
        "color": float((spread > 40).mean()),
        "detail": float(np.mean(neighbours)) if neighbours else 0.0,
    }


def statistics_ranges(measured: Iterable[Mapping[str, float]]) -> dict[str, tuple[float, float]]:
    """Return the smallest and the largest value of each statistic over a set of images."""
    rows = list(measured)
    return {
        name: (min(row[name] for row in rows), max(row[name] for row in rows))
        for name in STATISTICS
    }


def unusual(
    statistics: Mapping[str, float], ranges: Mapping[str, tuple[float, float]]
) -> dict[str, str]:
    """Name what lies outside the ranges.

    Args:
        statistics: of one image, as from `image_statistics`.
        ranges: of the training images, as from `statistics_ranges`.

    Returns:
        Flag to sentence, such as `{"brightness_high": "mean grey level ... is 201; ..."}`.
    """
    found = {}
    for name, (low, high) in ranges.items():
        value = statistics[name]
        if low <= value <= high:
            continue
        meaning, layout = STATISTICS[name]
        flag = f"{name}_{'low' if value < low else 'high'}"
        found[flag] = (
            f"{meaning} is {layout.format(value)}; "
            f"the training images have {layout.format(low)} to {layout.format(high)}"
        )
    return found
