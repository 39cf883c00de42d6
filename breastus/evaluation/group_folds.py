"""Deal images to folds so that images of one patient or scene stay together."""

import numpy as np


def group_folds(
    y_true: np.ndarray, groups: np.ndarray, folds: int, rng: np.random.Generator
) -> np.ndarray:
    """Return the fold of each image, int [n]; each kind of group is spread evenly.

    Args:
        y_true: int [n], 1 for lump.
        groups: int [n], number of the group of each image, as from `check_predictions`.
        folds: how many.
        rng: what the groups are shuffled with. Those without lumps, with nothing else and with both
            are dealt one kind after the other.
    """
    number = groups.max() + 1
    lumps = np.bincount(groups, weights=y_true, minlength=number)
    sizes = np.bincount(groups, minlength=number)
    kind = np.where(lumps == 0, 0, np.where(lumps == sizes, 1, 2))
    order = rng.permutation(number)
    order = order[np.argsort(kind[order], kind="stable")]
    fold = np.empty(number, int)
    fold[order] = np.arange(number) % folds
    return fold[groups]
