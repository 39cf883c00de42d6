"""How well scores order images: areas under the ROC and the precision-recall curve.

Scores may be probabilities or logits, as only their order counts. Weights are [..., n], such as a
bootstrap's counts, and give values of their leading shape.
"""

import numpy as np

from breastus.evaluation.validation import checked, ratio


def roc_auc(y_true: np.ndarray, y_prob: np.ndarray, weights=None) -> np.ndarray:
    """Chance that a lump scores above an image without one, ties counting half; 0.5 is guessing.

    NaN with one class only. Equal to scikit-learn's `roc_auc_score`.
    """
    y_true, y_prob, weights = checked(y_true, y_prob, weights)
    positive, negative = _by_score(y_true, y_prob, weights)
    below = np.cumsum(negative, axis=-1) - negative
    wins = (positive * (below + 0.5 * negative)).sum(-1)
    return ratio(wins, positive.sum(-1) * negative.sum(-1))


def average_precision(y_true: np.ndarray, y_prob: np.ndarray, weights=None) -> np.ndarray:
    """Area under the precision-recall curve as a sum of steps (not interpolated).

    Guessing gives the share of the class. NaN without an image of the class. Equal to
    scikit-learn's `average_precision_score`.
    """
    y_true, y_prob, weights = checked(y_true, y_prob, weights)
    positive, negative = (np.flip(part, -1) for part in _by_score(y_true, y_prob, weights))
    found = np.cumsum(positive, axis=-1)
    precision = ratio(found, found + np.cumsum(negative, axis=-1), undefined=0.0)
    return ratio((precision * positive).sum(-1), found[..., -1])


def _by_score(y_true, y_prob, weights) -> tuple[np.ndarray, np.ndarray]:
    """Return the weight of lumps and of the others at each distinct score, scores rising."""
    if not len(y_prob):
        empty = np.zeros((*weights.shape[:-1], 1))
        return empty, empty
    order = np.argsort(y_prob, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(y_prob[order]) != 0))
    ordered = weights[..., order]
    positive = ordered * (y_true[order] == 1)
    negative = ordered - positive
    if len(starts) == len(order):  # no ties
        return positive, negative
    return np.add.reduceat(positive, starts, axis=-1), np.add.reduceat(negative, starts, axis=-1)
