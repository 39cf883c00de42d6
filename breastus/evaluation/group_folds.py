"""Folds for cross-validation within a set of predictions."""

import warnings

import numpy as np


def group_folds(y_true: np.ndarray, groups: np.ndarray, folds: int, *, seed: int) -> np.ndarray:
    """Return the fold of each image, int [n]: whole groups, classes spread evenly.

    Args:
        y_true: int [n], 1 for lump.
        groups: [n], name of each image's group.
        folds: number of folds.
        seed: seed of the shuffle.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    fold = np.empty(len(y_true), int)
    splits = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        for number, (_, held_out) in enumerate(splits.split(y_true, y_true, groups)):
            fold[held_out] = number
    return fold
