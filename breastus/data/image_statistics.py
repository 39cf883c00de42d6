"""Nine statistics of an image, and which of them lie outside the range of the training images.

They say what is unusual about an image from another source; they do not measure its quality.
"""

from collections.abc import Iterable, Mapping

import numpy as np

# name: (description, fewest decimals of its value, presentation type of `format`)
STATISTICS = {
    "width": ("width in pixels", 0, "f"),
    "height": ("height in pixels", 0, "f"),
    "aspect": ("width divided by height", 2, "f"),
    "brightness": ("mean grey level, 0 to 255", 0, "f"),
    "contrast": ("standard deviation of the grey levels", 0, "f"),
    "black": ("fraction of pixels darker than 10", 0, "%"),
    "white": ("fraction of pixels brighter than 245", 1, "%"),
    "color": ("fraction of coloured pixels", 1, "%"),
    "detail": ("mean difference between neighbouring pixels, in grey levels", 1, "f"),
}


def image_statistics(image: np.ndarray) -> dict[str, float]:
    """Return the value of each of `STATISTICS` for an image, uint8 [H, W, 3], RGB."""
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
        # In grey images stored as JPEG, channels differ by a few levels; in colour modes by many.
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
    """Return the statistics outside their ranges, as flags with a sentence each.

    Such as `{"brightness_high": "mean grey level, 0 to 255: 201; the training images have ..."}`.
    """
    found = {}
    for name, (low, high) in ranges.items():
        value = statistics[name]
        if low <= value <= high:
            continue
        flag = f"{name}_{'low' if value < low else 'high'}"
        value, low, high = _rounded(name, value, low, high)
        found[flag] = f"{STATISTICS[name][0]}: {value}; the training images have {low} to {high}"
    return found


def value_format(name: str, extra: int = 0) -> str:
    """Return the format string of a statistic, such as "{:.1%}", with `extra` decimals."""
    _, decimals, kind = STATISTICS[name]
    return f"{{:.{decimals + extra}{kind}}}"


def _rounded(name: str, value: float, low: float, high: float) -> list[str]:
    """Return a value and the ends of its range with as many digits as show that it lies outside."""
    for extra in range(6):
        rounded = [value_format(name, extra).format(number) for number in (value, low, high)]
        if rounded[0] not in rounded[1:]:
            break
    return [text.replace("%", " %") for text in rounded]
