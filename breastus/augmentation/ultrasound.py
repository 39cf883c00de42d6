"""Augmentations that imitate the settings of scanners and the physics of ultrasound.

Grey levels of B-mode are decibels: the level of the echo, compressed so that about 60 dB span 0 to
255 (usual settings for the breast are 55 to 70 dB). A gain is therefore added, not multiplied, and
`GainCurve` takes dB. Depth runs downwards. Black pixels, where no echo came from, stay black. The
ranges are our choice.
"""

import keras
import numpy as np

from breastus.augmentation.base import StatelessAugmentation, check_range
from breastus.utils.opencv import cv2

LEVELS_PER_DB = 255 / 60
_FAINT = 24.0  # grey levels; below, noise exceeds the echo, and gain fades in


@keras.saving.register_keras_serializable("breastus")
class GainCurve(StatelessAugmentation):
    """Change overall gain, time-gain compensation along depth, and the dynamic range.

    Args:
        gain: largest change of the overall gain in dB, in both directions.
        curve: largest change in dB at each of six depths, in both directions, smooth between them:
            the sliders of time-gain compensation.
        contrast: largest relative change of the dynamic range, about grey level 96.
    """

    _SLIDERS = 6
    _PIVOT = 96.0

    def __init__(self, gain: float = 4.0, curve: float = 4.0, contrast: float = 0.15, **kwargs):
        super().__init__(**kwargs)
        self.gain = check_range("gain", gain, 0.0, 40.0)
        self.curve = check_range("curve", curve, 0.0, 40.0)
        self.contrast = check_range("contrast", contrast, 0.0, 0.9)

    def apply(self, image, rng, out):
        overall, range_change, *sliders = rng.uniform(-1.0, 1.0, 2 + self._SLIDERS)
        points = np.array(sliders, np.float32)[:, None] * self.curve + overall * self.gain
        height = image.shape[0]
        curve = cv2.resize(points, (1, height), interpolation=cv2.INTER_CUBIC)
        shift = (curve * LEVELS_PER_DB).astype(np.float32).reshape(height, 1, 1)
        factor = np.float32(1.0 + self.contrast * range_change)
        np.multiply(image, np.float32(1.0 / _FAINT), out=out)
        np.minimum(out, 1.0, out=out)  # fraction of the pixel that is echo
        changed = (image - np.float32(self._PIVOT)) * factor + np.float32(self._PIVOT) + shift
        changed -= image
        out *= changed
        out += image
        np.clip(out, 0.0, 255.0, out=out)  # as a scanner does
        return out


@keras.saving.register_keras_serializable("breastus")
class Shadow(StatelessAugmentation):
    """Add an acoustic shadow, as behind ribs, gas and calcifications.

    Args:
        probability: fraction of the images with a shadow, 0 to 1.
        depth: largest loss in dB in the middle of the shadow.
        width: largest width as a fraction of the image's.
    """

    def __init__(self, probability: float = 0.2, depth: float = 15.0, width: float = 0.3, **kwargs):
        super().__init__(**kwargs)
        self.probability = check_range("probability", probability, 0.0, 1.0)
        self.depth = check_range("depth", depth, 0.0, 60.0)
        self.width = check_range("width", width, 0.0, 1.0)

    def apply(self, image, rng, out):
        chance, loss, wide, where, start, lean = rng.random(6)
        if chance >= self.probability:
            return image
        height, width = image.shape[:2]
        half = max(1.0, 0.5 * self.width * (0.3 + 0.7 * wide) * width)
        rows = np.arange(height, dtype=np.float32)[:, None]
        columns = np.arange(width, dtype=np.float32)[None, :]
        top = 0.7 * start * height
        middle = where * width + 0.3 * (lean - 0.5) * (rows - top)
        across = np.clip(1.5 - np.abs(columns - middle) / half, 0.0, 1.0)
        below = np.clip((rows - top) / (0.08 * height), 0.0, 1.0)
        shift = np.float32(loss * self.depth * LEVELS_PER_DB) * across * below
        np.subtract(image, shift[..., None], out=out)
        np.maximum(out, 0.0, out=out)
        return out


@keras.saving.register_keras_serializable("breastus")
class Speckle(StatelessAugmentation):
    """Multiply by 1 + noise in grains that are wider than tall, as speckle is.

    Args:
        stddev: largest standard deviation; each image draws its own from 0 to this.
        grain: largest width of a grain in pixels; its height is half of that.
    """

    def __init__(self, stddev: float = 0.15, grain: float = 4.0, **kwargs):
        super().__init__(**kwargs)
        self.stddev = check_range("stddev", stddev, 0.0, 1.0)
        self.grain = check_range("grain", grain, 1.0, 32.0)

    def apply(self, image, rng, out):
        strength, grain = self.stddev * rng.random(), 1.0 + (self.grain - 1.0) * rng.random()
        height, width = image.shape[:2]
        # Drawn on a grid of grains and enlarged, which is faster than a blur.
        grid = max(2, round(2 * height / grain)), max(2, round(width / grain))
        noise = rng.standard_normal(grid, np.float32) * np.float32(strength)
        field = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
        field += np.float32(1.0)
        np.multiply(image, field[..., None], out=out)
        return out
