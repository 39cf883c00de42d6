"""Folds by group, even in both classes: 60/20/20 from five of them, or k-fold cross-validation."""

import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd

from breastus.data.splits.common import split_table, what_is_there
from breastus.errors import SplitError
from breastus.labels import LABELS, SPLITS

FOLDS = 5  # of the 60/20/20: one is test, one is val
_SPLIT_OF_FOLD = ("test", "val", "train", "train", "train")
_SHUFFLES = 20  # the most even of these is taken
_EVEN = 1e-3  # or the first that misses by less, as of many thousand images each one does


def by_group(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Split 60/20/20 in each label; of five folds 0 is test, 1 is val and the rest train."""
    fold = draw_folds(rows, seed)
    return split_table(rows, [_SPLIT_OF_FOLD[number] for number in fold], fold)


def by_fold(
    rows: pd.DataFrame, seed: int, *, fold: int, folds: int, val_rotation: int = 0
) -> pd.DataFrame:
    """Cross-validate: fold `fold` is test, that `1 + val_rotation` after it is val, others train.

    The folds are the same for each `fold` and `val_rotation`: every image is in one test part of
    all folds, and in one val part of all rotations of a fold it is not tested in.
    """
    _check_groups(rows, folds, f"one for each of the {folds} folds", "lower data.folds")
    number = _most_even(
        rows,
        seed,
        folds,
        arrange=lambda number, labels: number,
        unevenness=lambda number, labels: _unevenness_of_folds(number, labels, folds),
        failure=f"No {folds} folds have both classes in each of them.",
    )
    split = np.full(len(rows), "train", object)
    split[number == fold] = "test"
    split[number == (fold + 1 + val_rotation) % folds] = "val"
    return split_table(rows, split, number)


def draw_folds(rows: pd.DataFrame, seed: int) -> np.ndarray:
    """Return the fold of each row, 0 to 4; the two nearest to a fifth of each class come first."""
    _check_groups(
        rows,
        len(SPLITS),
        "one for each of train, val and test",
        "split the images into folders train/, val/ and test/ yourself",
    )
    return _most_even(
        rows,
        seed,
        FOLDS,
        arrange=_most_even_first,
        unevenness=_unevenness,
        failure="No split has both classes in train, val and test.",
    )


def _check_groups(rows: pd.DataFrame, least: int, why: str, way_out: str) -> None:
    if rows.groupby("label")["group_id"].nunique().min() < least:
        raise SplitError(
            f"Each class needs at least {least} groups (patients or scenes), {why}. "
            f"{what_is_there(rows)} Add images of other patients, or {way_out}."
        )


def _most_even(
    rows: pd.DataFrame,
    seed: int,
    folds: int,
    *,
    arrange: Callable[[np.ndarray, np.ndarray], np.ndarray],
    unevenness: Callable[[np.ndarray, np.ndarray], float],
    failure: str,
) -> np.ndarray:
    """Return the folds of the shuffle that is the most even, in the order of `arrange`."""
    from sklearn.model_selection import StratifiedGroupKFold

    labels = rows["label"].to_numpy()
    groups = rows["group_id"].to_numpy()
    if rows["label"].value_counts().max() < folds:
        raise SplitError(
            f"One class at least needs {folds} images. {what_is_there(rows)} Add images, or split "
            "them into folders train/, val/ and test/ yourself."
        )
    best, least = None, np.inf
    for attempt in range(_SHUFFLES):
        folding = StratifiedGroupKFold(folds, shuffle=True, random_state=seed + attempt * 10_007)
        fold = np.empty(len(rows), int)
        with warnings.catch_warnings():
            # With few groups a class some folds lack it; that is settled by the check below.
            warnings.simplefilter("ignore", UserWarning)
            for number, (_, held_out) in enumerate(folding.split(rows, labels, groups)):
                fold[held_out] = number
        fold = arrange(fold, labels)
        if (error := unevenness(fold, labels)) < least:
            best, least = fold, error
        if least < _EVEN:
            break
    if best is None:
        raise SplitError(f"{failure} {what_is_there(rows)} Add images of other patients.")
    return best


def _most_even_first(fold: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Renumber the folds so that those nearest to a fifth of each class are test and val."""
    error = [
        sum(abs((fold[labels == label] == number).mean() - 1 / FOLDS) for label in LABELS)
        + 10 * any(not (fold[labels == label] == number).any() for label in LABELS)
        for number in range(FOLDS)
    ]
    new_number = np.argsort(np.argsort(error, kind="stable"), kind="stable")
    return new_number[fold]


def _unevenness(fold: np.ndarray, labels: np.ndarray) -> float:
    """Return the largest miss of 60/20/20 over splits and classes; infinite when one is empty."""
    split = np.array(_SPLIT_OF_FOLD)[fold]
    worst = 0.0
    for label in LABELS:
        for name, share in zip(SPLITS, (0.6, 0.2, 0.2), strict=True):
            part = (split[labels == label] == name).mean()
            worst = max(worst, abs(part - share) if part else np.inf)
    return worst


def _unevenness_of_folds(fold: np.ndarray, labels: np.ndarray, folds: int) -> float:
    """Return the largest miss of an even share; infinite when a fold lacks a class."""
    shares = [
        (fold[labels == label] == number).mean() for label in LABELS for number in range(folds)
    ]
    return max(abs(share - 1 / folds) if share else np.inf for share in shares)
