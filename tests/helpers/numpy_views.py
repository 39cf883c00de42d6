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
        images = images[:, top : side - bottom, left : side - right].astype(np.int64)
        rows, columns = _weights(images.shape[1], side), _weights(images.shape[2], side)
        eighths = np.rint(8 * np.einsum("ij,njkc->nikc", rows, images) / rows.sum(1)[:, None, None])
        images = np.einsum("ij,nkjc->nkic", columns, eighths) / columns.sum(1)[:, None]
        images = np.rint(images / 8).astype(np.uint8)
    return gain_table(view.gain)[images] if view.gain else images


def mean_of_logits(probabilities) -> np.ndarray:
    """Return the sigmoid of the mean logit of probabilities [views, n], clipped at 1e-6."""
    clipped = np.clip(np.asarray(probabilities, float), 1e-6, 1 - 1e-6)
    return 1 / (1 + np.exp(-(np.log(clipped) - np.log1p(-clipped)).mean(axis=0)))


def _weights(length: int, side: int) -> np.ndarray:
    """Return the weights of `length` pixels, at most `side`, in each of `side`: 256ths, rounded."""
    center = (np.arange(side) + 0.5) * length / side
    distance = np.abs(np.arange(length) + 0.5 - center[:, None])
    return np.rint(256 * np.maximum(1 - distance, 0)).astype(np.int64)
