"""Augmentations that follow what scanners and their operators do to B-mode images.

Grey levels of B-mode are decibels: the echo's level, compressed so that some 60 dB span 0 to 255
(55 to 70 dB are usual settings for the breast). A gain is therefore added, not multiplied; that is
why `GainCurve` is given in dB. Depth runs downwards. What is black in the image, where no echo
came from, stays black. The ranges are our choice.
"""

import keras
import numpy as np

from breastus.augmentation.base import StatelessAugmentation, checked
from breastus.utils.opencv import cv2

LEVELS_PER_DB = 255 / 60
_FAINT = 24.0  # levels; below, there is more noise than echo, and gain fades in


@keras.saving.register_keras_serializable("breastus")
class GainCurve(StatelessAugmentation):
    """Change overall gain, time-gain compensation along depth, and the dynamic range.

    Args:
        gain: largest change of the overall gain in dB, either way.
        curve: largest change in dB at each of six depths, either way, smooth between them: the
            sliders of time-gain compensation.
        contrast: largest relative change of the dynamic range, about grey level 96.
    """

    _SLIDERS = 6
    _PIVOT = 96.0

    def __init__(self, gain: float = 4.0, curve: float = 4.0, contrast: float = 0.15, **kwargs):
        super().__init__(**kwargs)
        self.gain = checked("gain", gain, 0.0, 40.0)
        self.curve = checked("curve", curve, 0.0, 40.0)
        self.contrast = checked("contrast", contrast, 0.0, 0.9)

    def change(self, image, rng, spare):
        overall, range_change, *sliders = rng.uniform(-1.0, 1.0, 2 + self._SLIDERS)
        points = np.array(sliders, np.float32)[:, None] * self.curve + overall * self.gain
        height = image.shape[0]
        curve = cv2.resize(points, (1, height), interpolation=cv2.INTER_CUBIC)
        shift = (curve * LEVELS_PER_DB).astype(np.float32).reshape(height, 1, 1)
        factor = np.float32(1.0 + self.contrast * range_change)
        np.multiply(image, np.float32(1.0 / _FAINT), out=spare)
        np.minimum(spare, 1.0, out=spare)  # how much of an echo there is
        changed = (image - np.float32(self._PIVOT)) * factor + np.float32(self._PIVOT) + shift
        changed -= image
        spare *= changed
        spare += image
        np.clip(spare, 0.0, 255.0, out=spare)  # as a scanner does; what is white stays white
        return spare

    def get_config(self):
        own = {"gain": self.gain, "curve": self.curve, "contrast": self.contrast}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("breastus")
class Shadow(StatelessAugmentation):
    """Darken what lies behind a bright reflector, as ribs, gas and calcifications do.

    Args:
        probability: share of the images that get a shadow, 0 to 1.
        depth: largest loss in dB at the middle of the shadow.
        width: largest width as a share of the image's.
    """

    def __init__(self, probability: float = 0.2, depth: float = 15.0, width: float = 0.3, **kwargs):
        super().__init__(**kwargs)
        self.probability = checked("probability", probability, 0.0, 1.0)
        self.depth = checked("depth", depth, 0.0, 60.0)
        self.width = checked("width", width, 0.0, 1.0)

    def change(self, image, rng, spare):
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
        np.subtract(image, shift[..., None], out=spare)
        np.maximum(spare, 0.0, out=spare)
        return spare

    def get_config(self):
        own = {"probability": self.probability, "depth": self.depth, "width": self.width}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("breastus")
class Speckle(StatelessAugmentation):
    """Multiply by 1 + noise that comes in grains, wider than tall, as speckle does.

    Args:
        stddev: largest standard deviation; each image draws its own from 0 to this.
        grain: largest size of a grain across in pixels; down it is half of that.
    """

    def __init__(self, stddev: float = 0.15, grain: float = 4.0, **kwargs):
        super().__init__(**kwargs)
        self.stddev = checked("stddev", stddev, 0.0, 1.0)
        self.grain = checked("grain", grain, 1.0, 32.0)

    def change(self, image, rng, spare):
        strength, grain = self.stddev * rng.random(), 1.0 + (self.grain - 1.0) * rng.random()
        height, width = image.shape[:2]
        # Drawn on a grid of grains and enlarged, which is cheaper than to draw and to blur.
        grid = max(2, round(2 * height / grain)), max(2, round(width / grain))
        noise = rng.standard_normal(grid, np.float32) * np.float32(strength)
        field = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
        field += np.float32(1.0)
        np.multiply(image, field[..., None], out=spare)
        return spare

    def get_config(self):
        return {**super().get_config(), "stddev": self.stddev, "grain": self.grain}
