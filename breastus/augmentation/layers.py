"""Augmentations as Keras layers: each draws for itself, per image, from a seed it is handed.

layer = HorizontalFlip(probability=0.5)
image = layer(image, seed)        # [H, W, C], values 0 to 255; seed int32 [2]
"""

import functools
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from breastus.augmentation.base import StatelessAugmentation, checked
from breastus.errors import ConfigError
from breastus.utils.opencv import cv2

_BORDERS = {"mirrored": "BORDER_REFLECT", "black": "BORDER_CONSTANT"}


@keras.saving.register_keras_serializable("breastus")
class HorizontalFlip(StatelessAugmentation):
    """Mirror left and right: a breast has no preferred side, but a top and a bottom.

    Args:
        probability: share of the images that are mirrored, 0 to 1.
    """

    moves = True

    def __init__(self, probability: float = 0.5, **kwargs):
        super().__init__(**kwargs)
        self.probability = checked("probability", probability, 0.0, 1.0)

    def change(self, image, rng, spare):
        if rng.random() >= self.probability:
            return image
        cv2.flip(image, 1, dst=spare)
        return spare

    def get_config(self):
        return {**super().get_config(), "probability": self.probability}


@keras.saving.register_keras_serializable("breastus")
class Affine(StatelessAugmentation):
    """Scale, shift and rotate in one bilinear resampling.

    Args:
        scale: largest relative change of size; 0.1 draws a factor from 0.9 to 1.1. Or the smallest
            and the largest factor, between which it is drawn evenly in its logarithm.
        translation: largest shift as a share of the side, in x and in y.
        rotation: largest angle in degrees, either way.
        outside: what comes in from beyond the borders: "mirrored", or "black" as a scanner shows
            what is no image, so that nothing of it is seen twice.
    """

    moves = True

    def __init__(
        self,
        scale: float | Sequence[float] = 0.1,
        translation: float = 0.1,
        rotation: float = 15.0,
        outside: str = "mirrored",
        **kwargs,
    ):
        super().__init__(**kwargs)
        if outside not in _BORDERS:
            raise ConfigError(f"outside must be one of {', '.join(_BORDERS)}. Received: {outside}")
        self.scale, self.outside = _checked_scale(scale), outside
        self.translation = checked("translation", translation, 0.0, 1.0)
        self.rotation = checked("rotation", rotation, 0.0, 180.0)

    def change(self, image, rng, spare):
        drawn = rng.uniform(-1.0, 1.0, 4)
        height, width = image.shape[:2]
        factor, angle = self._factor(drawn[0]), np.deg2rad(self.rotation * drawn[1])
        shift_y, shift_x = self.translation * drawn[2] * height, self.translation * drawn[3] * width
        center_y, center_x = (height - 1) / 2, (width - 1) / 2

        # The inverse map, from output to input position, about the image's centre.
        cos, sin = np.cos(angle) / factor, np.sin(angle) / factor
        offset_x = center_x - cos * (center_x + shift_x) - sin * (center_y + shift_y)
        offset_y = center_y + sin * (center_x + shift_x) - cos * (center_y + shift_y)
        cv2.warpAffine(
            image,
            np.array([[cos, sin, offset_x], [-sin, cos, offset_y]]),
            (width, height),
            dst=spare,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=getattr(cv2, _BORDERS[self.outside]),
        )
        return spare

    def _factor(self, drawn: float) -> float:
        if isinstance(self.scale, float):
            return 1.0 + self.scale * drawn
        smallest, largest = np.log(self.scale)
        return float(np.exp(smallest + (largest - smallest) * (drawn + 1.0) / 2.0))

    def get_config(self):
        names = ("scale", "translation", "rotation", "outside")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable("breastus")
class MultiplicativeNoise(StatelessAugmentation):
    """Multiply each pixel by 1 + noise, as speckle does; the same noise in all channels.

    The noise is a stretch of a table of a million normal numbers, from a place that the image
    draws: drawing them anew for each pixel would take longer than all other layers together.

    Args:
        stddev: largest standard deviation; each image draws its own from 0 to this.
    """

    def __init__(self, stddev: float = 0.1, **kwargs):
        super().__init__(**kwargs)
        self.stddev = checked("stddev", stddev, 0.0, 1.0)

    def change(self, image, rng, spare):
        strength = np.float32(self.stddev * rng.random())
        table = _normal_numbers(image.shape[2])
        start = int(rng.integers(len(table)))
        flat = spare.reshape(-1, image.shape[2])
        for row in range(0, len(flat), len(table)):  # once, but for huge images
            ahead = flat[row : row + len(table)]
            until_end = table[start : start + len(ahead)]
            np.multiply(until_end, strength, out=ahead[: len(until_end)])
            np.multiply(table[: len(ahead) - len(until_end)], strength, out=ahead[len(until_end) :])
        spare += np.float32(1.0)
        spare *= image
        return spare

    def get_config(self):
        return {**super().get_config(), "stddev": self.stddev}


@keras.saving.register_keras_serializable("breastus")
class GaussianBlur(StatelessAugmentation):
    """Blur with a Gaussian whose width every image draws for itself.

    Args:
        sigma: largest standard deviation in pixels; drawn from 0 (no blur) to this.
        probability: share of the images that are blurred, 0 to 1.
    """

    def __init__(self, sigma: float = 1.5, probability: float = 0.5, **kwargs):
        super().__init__(**kwargs)
        self.sigma = checked("sigma", sigma, 0.0, 32.0)
        self.probability = checked("probability", probability, 0.0, 1.0)

    def change(self, image, rng, spare):
        chance, sigma = rng.random(), self.sigma * rng.random()
        radius = round(3.0 * sigma)
        if chance >= self.probability or radius == 0:
            return image
        # What lies beyond three standard deviations is a quarter of a percent.
        side = (2 * radius + 1, 2 * radius + 1)
        cv2.GaussianBlur(image, side, sigma, dst=spare, borderType=cv2.BORDER_REFLECT)
        return spare

    def get_config(self):
        return {**super().get_config(), "sigma": self.sigma, "probability": self.probability}


@keras.saving.register_keras_serializable("breastus")
class JpegQuality(StatelessAugmentation):
    """Re-encode as JPEG at a random quality, with KerasCV's `RandomJpegQuality`.

    Args:
        lowest: lowest quality, 1 to 100; drawn from this to 100.
    """

    def __init__(self, lowest: int = 40, **kwargs):
        super().__init__(**kwargs)
        self.lowest = int(checked("lowest", lowest, 1, 100))
        import keras_cv  # here, as only this layer needs it and it takes seconds to import

        self._layer = keras_cv.layers.RandomJpegQuality(factor=(self.lowest, 100))

    def augment(self, image, seed):
        # KerasCV would draw from a generator of its own; the quality is drawn here and handed over.
        quality = tf.random.stateless_uniform(
            [], seed, minval=self.lowest, maxval=101, dtype=tf.int32
        )
        # The encoder takes floats in [0, 1].
        scaled = tf.clip_by_value(tf.cast(image, tf.float32) / 255.0, 0.0, 1.0)
        encoded = 255.0 * self._layer.augment_image(scaled, transformation=quality)
        return tf.cast(tf.round(encoded) if image.dtype == tf.uint8 else encoded, image.dtype)

    def get_config(self):
        return {**super().get_config(), "lowest": self.lowest}


def _checked_scale(scale: float | Sequence[float]) -> float | tuple[float, float]:
    if isinstance(scale, (int, float)):
        return checked("scale", scale, 0.0, 0.9)
    if len(scale) != 2:
        raise ConfigError(f"scale must be one number or two. Received: {scale}")
    smallest = checked("scale[0]", scale[0], 0.1, 10.0)
    return smallest, checked("scale[1]", scale[1], smallest, 10.0)


@functools.cache
def _normal_numbers(channels: int) -> np.ndarray:
    """Return a million normal numbers, each repeated for all channels: float32 [2^20, C]."""
    drawn = np.random.default_rng(0).standard_normal((2**20, 1), np.float32)
    return np.repeat(drawn, channels, axis=1)
