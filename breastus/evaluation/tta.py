"""Test-time augmentation: a predict function in, one that averages over views of an image out.

    averaged = tta(predict, views="flip_zoom")
    probability, spread = averaged(images)      # uint8 [n, S, S, 3] to two float [n]

Views are few, fixed and in whole numbers, so that an exported graph can repeat them. For images
[n, S, S, 3] in uint8, in this order:

    flip    reverse axis 2
    crop    keep rows top to S - bottom and columns left to S - right; each of the four is
            (S * parts + 50) // 100 pixels. Then resize to S x S, bilinear, half-pixel centres, no
            antialiasing, in float32, round half to even: `tf.image.resize` and `tf.round`.
    gain    look each value up in a table of 256: `tf.gather(gain_table(decibels), image)`
"""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from breastus.errors import ConfigError, DataError
from breastus.evaluation.predict_fn import PredictFn, predict_probabilities
from breastus.evaluation.robustness.corruptions import DYNAMIC_RANGE

_TINY = 1e-6  # probabilities are kept off 0 and 1: one rounded to either would outvote all others
_BLACK, _ECHO = 10, 34  # grey levels from which a gain sets in, and applies in full


@dataclass(frozen=True)
class View:
    """One way to look at an image.

    Attributes:
        flip: left is right.
        crop: what is cut at the top, bottom, left and right, in whole hundredths of the side.
            Alike on all sides it is a zoom; else the window is shifted as well.
        gain: dB, as a scanner's; black stays black.
    """

    flip: bool = False
    crop: tuple[int, int, int, int] = (0, 0, 0, 0)
    gain: float = 0.0

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return the view of uint8 [n, S, S, 3], of the same shape and type."""
        if self.flip:
            images = images[:, :, ::-1]
        if any(self.crop):
            images = _cropped(images, self.crop)
        if self.gain:
            images = gain_table(self.gain)[images]
        return np.ascontiguousarray(images)


class Averaged(NamedTuple):
    """What the views say together.

    Attributes:
        probability: float [n], of lump.
        spread: float [n], standard deviation of the views' probabilities, 0 to 0.5; large where
            the answer hangs on how the image is framed.
    """

    probability: np.ndarray
    spread: np.ndarray


_PLAIN, _FLIP = View(), View(flip=True)
_ZOOMS = (View(crop=(4, 4, 4, 4)), View(flip=True, crop=(4, 4, 4, 4)))
_SHIFTS = tuple(
    View(crop=crop) for crop in ((0, 6, 0, 6), (0, 6, 6, 0), (6, 0, 0, 6), (6, 0, 6, 0))
)
_GAINS = (View(gain=2.0), View(gain=-2.0))
VIEWS: dict[str, tuple[View, ...]] = {
    "none": (_PLAIN,),
    "flip": (_PLAIN, _FLIP),
    "flip_zoom": (_PLAIN, _FLIP, *_ZOOMS),
    "flip_shift": (_PLAIN, _FLIP, *_SHIFTS),
    "flip_gain": (_PLAIN, _FLIP, *_GAINS),
    "all": (_PLAIN, _FLIP, *_ZOOMS, *_SHIFTS, *_GAINS),
}


def tta(
    predict: PredictFn, *, views: str | Sequence[View] = "flip"
) -> Callable[[np.ndarray], Averaged]:
    """Wrap a predict function so that it averages over views.

    The mean is one of logits, not of probabilities. It is the same whichever class is called
    positive; it is the mean of what the network puts out, so that a temperature divides it as it
    divides each view's; and where views agree that something is sure, it stays as sure, while a
    mean of probabilities is pulled to the middle by one that is less so.

    Args:
        predict: uint8 [n, S, S, 3] to probabilities of lump, [n].
        views: a name of `VIEWS`, or views of your own. Each costs a prediction.

    Returns:
        A function of uint8 [n, S, S, 3] that returns `Averaged`. It raises DataError for other
        images, for none, and when `predict` does not return a probability for each.

    Raises:
        ConfigError: for an unknown name, or no views.
    """
    chosen = _chosen(views)

    def averaged(images: np.ndarray) -> Averaged:
        images = _checked(images)
        said = [
            predict_probabilities(predict, view(images), of=f"images in view {number}")
            for number, view in enumerate(chosen)
        ]
        probability = np.clip(np.stack(said), _TINY, 1 - _TINY)
        logit = (np.log(probability) - np.log1p(-probability)).mean(axis=0)
        return Averaged(1 / (1 + np.exp(-logit)), np.std(said, axis=0))

    return averaged


def gain_table(decibels: float) -> np.ndarray:
    """Return what a gain makes of each grey level: uint8 [256], never falling.

    Decibels are grey levels as in `breastus.evaluation.robustness.corruptions`. They are added in
    full from 34 on, not at all up to 10, and in proportion between.

    Args:
        decibels: -5 to 5, small enough that no level overtakes another.

    Raises:
        ConfigError: when it is more.
    """
    if not abs(decibels) <= 5:
        raise ConfigError(f"gain must be from -5 to 5 dB. Received: {decibels}")
    level = np.arange(256, dtype=np.float64)
    weight = np.clip((level - _BLACK) / (_ECHO - _BLACK), 0, 1)
    changed = level + weight * decibels * 255 / DYNAMIC_RANGE
    return np.clip(np.rint(changed), 0, 255).astype(np.uint8)


def margins(side: int, crop: Sequence[int]) -> tuple[int, int, int, int]:
    """Return the pixels that a crop cuts at the top, bottom, left and right of a square."""
    return tuple((side * parts + 50) // 100 for parts in crop)


def _cropped(images: np.ndarray, crop: Sequence[int]) -> np.ndarray:
    side = images.shape[1]
    top, bottom, left, right = margins(side, crop)
    if top + bottom >= side or left + right >= side:
        raise DataError(f"Images of {side} pixels a side are too small for the crop {crop}.")
    images = images[:, top : side - bottom, left : side - right].astype(np.float32)
    low, high, share = _neighbours(images.shape[2], side)
    share = share[:, None]
    across = images[:, :, low] + (images[:, :, high] - images[:, :, low]) * share
    low, high, share = _neighbours(images.shape[1], side)
    share = share[:, None, None]
    down = across[:, low] + (across[:, high] - across[:, low]) * share
    return np.rint(down).astype(np.uint8)


def _neighbours(length: int, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for each of `side` pixels the two of `length` it lies between, and how far along."""
    scale = np.float32(length) / np.float32(side)
    place = (np.arange(side, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
    below = np.floor(place)
    low = np.maximum(below, 0).astype(int)
    high = np.minimum(np.ceil(place), length - 1).astype(int)
    return low, high, place - below


def _chosen(views: str | Sequence[View]) -> tuple[View, ...]:
    if not isinstance(views, str):
        if not views:
            raise ConfigError("views must hold at least one. Received: none")
        return tuple(views)
    if views not in VIEWS:
        near = difflib.get_close_matches(views, VIEWS, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ConfigError(f"views must be one of {', '.join(VIEWS)}.{hint} Received: {views!r}")
    return VIEWS[views]


def _checked(images: np.ndarray) -> np.ndarray:
    images = np.asarray(images)
    square = images.ndim == 4 and images.shape[1] == images.shape[2] and images.shape[3] == 3
    if images.dtype != np.uint8 or not square or not images.size:
        raise DataError(
            "Images must be uint8 [n, S, S, 3], at least one. "
            f"Received: {images.dtype} {list(images.shape)}"
        )
    return images
