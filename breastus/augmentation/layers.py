"""General augmentations as Keras layers, each with random draws per image from a seed.

layer = HorizontalFlip(probability=0.5)
image = layer(image, seed)        # [H, W, C], values 0 to 255; seed int32 [2]
"""

import functools
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from breastus.augmentation.base import StatelessAugmentation, check_range
from breastus.errors import ConfigError
from breastus.utils.opencv import cv2

_FILL_MODES = {"reflect": "BORDER_REFLECT", "constant": "BORDER_CONSTANT"}
# Random erasing, values of the paper: erased fraction of the image, and height divided by width.
_AREA, _RATIO = (0.02, 0.4), (0.3, 1 / 0.3)


@keras.saving.register_keras_serializable("breastus")
class HorizontalFlip(StatelessAugmentation):
    """Mirror left and right: a breast has no preferred side, but a top and a bottom.

    Args:
        probability: fraction of the images that are mirrored, 0 to 1.
    """

    geometric = True

    def __init__(self, probability: float = 0.5, **kwargs):
        super().__init__(**kwargs)
        self.probability = check_range("probability", probability, 0.0, 1.0)

    def apply(self, image, rng, out):
        if rng.random() >= self.probability:
            return image
        cv2.flip(image, 1, dst=out)
        return out


@keras.saving.register_keras_serializable("breastus")
class Affine(StatelessAugmentation):
    """Scale, translate and rotate in one bilinear resampling.

    Args:
        scale: largest relative change of size; 0.1 draws a factor from 0.9 to 1.1. A pair gives the
            smallest and the largest factor, drawn uniformly in its logarithm.
        translation: largest shift in x and in y, as a fraction of the side.
        rotation: largest angle in degrees, in both directions.
        fill_mode: values beyond the borders: "reflect", or "constant" for black, the colour of a
            scanner's screen beside the image.
    """

    geometric = True

    def __init__(
        self,
        scale: float | Sequence[float] = 0.1,
        translation: float = 0.1,
        rotation: float = 15.0,
        fill_mode: str = "reflect",
        **kwargs,
    ):
        super().__init__(**kwargs)
        if fill_mode not in _FILL_MODES:
            raise ConfigError(
                f"fill_mode must be one of {', '.join(_FILL_MODES)}. Received: {fill_mode}"
            )
        self.scale, self.fill_mode = _check_scale(scale), fill_mode
        self.translation = check_range("translation", translation, 0.0, 1.0)
        self.rotation = check_range("rotation", rotation, 0.0, 180.0)

    def apply(self, image, rng, out):
        drawn = rng.uniform(-1.0, 1.0, 4)
        height, width = image.shape[:2]
        factor, angle = self._factor(drawn[0]), np.deg2rad(self.rotation * drawn[1])
        shift_y, shift_x = self.translation * drawn[2] * height, self.translation * drawn[3] * width
        center_y, center_x = (height - 1) / 2, (width - 1) / 2

        # The inverse map, from output to input position, about the centre of the image.
        cos, sin = np.cos(angle) / factor, np.sin(angle) / factor
        offset_x = center_x - cos * (center_x + shift_x) - sin * (center_y + shift_y)
        offset_y = center_y + sin * (center_x + shift_x) - cos * (center_y + shift_y)
        cv2.warpAffine(
            image,
            np.array([[cos, sin, offset_x], [-sin, cos, offset_y]]),
            (width, height),
            dst=out,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=getattr(cv2, _FILL_MODES[self.fill_mode]),
        )
        return out

    def _factor(self, drawn: float) -> float:
        if isinstance(self.scale, float):
            return 1.0 + self.scale * drawn
        smallest, largest = np.log(self.scale)
        return float(np.exp(smallest + (largest - smallest) * (drawn + 1.0) / 2.0))


@keras.saving.register_keras_serializable("breastus")
class MultiplicativeNoise(StatelessAugmentation):
    """Multiply each pixel by 1 + noise, as speckle does; the noise is the same in all channels.

    The noise is taken from a table of a million normal numbers, from a random start: new numbers
    for each pixel would take longer than all other layers together.

    Args:
        stddev: largest standard deviation; each image draws its own from 0 to this.
    """

    def __init__(self, stddev: float = 0.1, **kwargs):
        super().__init__(**kwargs)
        self.stddev = check_range("stddev", stddev, 0.0, 1.0)

    def apply(self, image, rng, out):
        strength = np.float32(self.stddev * rng.random())
        table = _normal_numbers(image.shape[2])
        start = int(rng.integers(len(table)))
        flat = out.reshape(-1, image.shape[2])
        for row in range(0, len(flat), len(table)):  # once, except for huge images
            ahead = flat[row : row + len(table)]
            until_end = table[start : start + len(ahead)]
            np.multiply(until_end, strength, out=ahead[: len(until_end)])
            np.multiply(table[: len(ahead) - len(until_end)], strength, out=ahead[len(until_end) :])
        out += np.float32(1.0)
        out *= image
        return out


@keras.saving.register_keras_serializable("breastus")
class GaussianBlur(StatelessAugmentation):
    """Blur with a Gaussian of random width.

    Args:
        sigma: largest standard deviation in pixels; each image draws its own from 0 (no blur).
        probability: fraction of the images that are blurred, 0 to 1.
    """

    def __init__(self, sigma: float = 1.5, probability: float = 0.5, **kwargs):
        super().__init__(**kwargs)
        self.sigma = check_range("sigma", sigma, 0.0, 32.0)
        self.probability = check_range("probability", probability, 0.0, 1.0)

    def apply(self, image, rng, out):
        chance, sigma = rng.random(), self.sigma * rng.random()
        radius = round(3.0 * sigma)  # a quarter of a percent of the Gaussian is beyond
        if chance >= self.probability or radius == 0:
            return image
        side = (2 * radius + 1, 2 * radius + 1)
        cv2.GaussianBlur(image, side, sigma, dst=out, borderType=cv2.BORDER_REFLECT)
        return out


@keras.saving.register_keras_serializable("breastus")
class RandomErasing(StatelessAugmentation):
    """Erase a random rectangle with the image's mean, which is neither a shadow nor a cyst.

    The paper draws again when a rectangle does not fit; here it is cut at the image's size, which
    needs one draw.

    Args:
        probability: fraction of the images with an erased rectangle, 0 to 1.

    Reference:
        Zhong, Zheng, Kang, Li, Yang: Random Erasing Data Augmentation. AAAI 2020.
    """

    def __init__(self, probability: float = 0.5, **kwargs):
        super().__init__(**kwargs)
        self.probability = check_range("probability", probability, 0.0, 1.0)

    def apply(self, image, rng, out):
        chance, share, stretch, *place = rng.random(5)
        if chance >= self.probability:
            return image
        size = np.array(image.shape[:2])
        area = (_AREA[0] + (_AREA[1] - _AREA[0]) * share) * size.prod()
        ratio = _RATIO[0] + (_RATIO[1] - _RATIO[0]) * stretch
        sides = np.minimum(np.sqrt([area * ratio, area / ratio]).round().astype(int), size)
        top, left = ((size - sides + 1) * place).astype(int)
        out[...] = image
        out[top : top + sides[0], left : left + sides[1]] = image.mean((0, 1))
        return out


@keras.saving.register_keras_serializable("breastus")
class JpegQuality(StatelessAugmentation):
    """Compress as JPEG at a random quality, with KerasCV's `RandomJpegQuality`.

    Args:
        lowest: lowest quality, 1 to 100; each image draws its own from this to 100.
    """

    def __init__(self, lowest: int = 40, **kwargs):
        super().__init__(**kwargs)
        self.lowest = int(check_range("lowest", lowest, 1, 100))
        import keras_cv  # takes seconds, and only this layer needs it

        self._layer = keras_cv.layers.RandomJpegQuality(factor=(self.lowest, 100))

    def augment(self, image, seed):
        # KerasCV would draw from a generator of its own, so the quality is drawn here.
        quality = tf.random.stateless_uniform(
            [], seed, minval=self.lowest, maxval=101, dtype=tf.int32
        )
        # The encoder takes floats in [0, 1].
        scaled = tf.clip_by_value(tf.cast(image, tf.float32) / 255.0, 0.0, 1.0)
        encoded = 255.0 * self._layer.augment_image(scaled, transformation=quality)
        return tf.cast(tf.round(encoded) if image.dtype == tf.uint8 else encoded, image.dtype)


def _check_scale(scale: float | Sequence[float]) -> float | tuple[float, float]:
    if isinstance(scale, (int, float)):
        return check_range("scale", scale, 0.0, 0.9)
    if len(scale) != 2:
        raise ConfigError(f"scale must be one number or two. Received: {scale}")
    smallest = check_range("scale[0]", scale[0], 0.1, 10.0)
    return smallest, check_range("scale[1]", scale[1], smallest, 10.0)


@functools.cache
def _normal_numbers(channels: int) -> np.ndarray:
    """Return a million normal numbers, each repeated for all channels: float32 [2^20, C]."""
    drawn = np.random.default_rng(0).standard_normal((2**20, 1), np.float32)
    return np.repeat(drawn, channels, axis=1)
