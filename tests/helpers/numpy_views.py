"""Views of test-time augmentation in NumPy, the reference for the graph's."""

import numpy as np

from breastus.evaluation.tta import View, gain_table, margins


def apply_view(view: View, images: np.ndarray) -> np.ndarray:
    """Return a view of uint8 [n, S, S, 3], of the same shape and type."""
    if view.flip:
        images = images[:, :, ::-1]
    if any(view.crop):
        side = images.shape[1]
        top, bottom, left, right = margins(side, view.crop)
        images = images[:, top : side - bottom, left : side - right].astype(np.float32)
        for axis in (2, 1):
            low, high, share = _neighbours(images.shape[axis], side)
            share = share.reshape([-1 if number == axis else 1 for number in range(4)])
            below = images.take(low, axis)
            images = below + (images.take(high, axis) - below) * share
        images = np.rint(images).astype(np.uint8)
    return gain_table(view.gain)[images] if view.gain else images


def mean_of_logits(probabilities) -> np.ndarray:
    """Return the sigmoid of the mean logit of probabilities [views, n], clipped at 1e-6."""
    clipped = np.clip(np.asarray(probabilities, float), 1e-6, 1 - 1e-6)
    return 1 / (1 + np.exp(-(np.log(clipped) - np.log1p(-clipped)).mean(axis=0)))


def _neighbours(length: int, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for each of `side` pixels the two of `length` it lies between, and how far along."""
    scale = np.float32(length) / np.float32(side)
    place = (np.arange(side, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
    below = np.floor(place)
    low = np.maximum(below, 0).astype(int)
    high = np.minimum(np.ceil(place), length - 1).astype(int)
    return low, high, place - below
