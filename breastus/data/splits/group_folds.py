"""Folds of groups, balanced in both classes: the schemes `group` (60/20/20) and `kfold`.

scikit-learn's StratifiedGroupKFold balances one shuffle; here the most balanced of twenty shuffles
is taken, because with few groups a class a single one may leave a fold almost without a class.
"""

import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd

from breastus.data.splits.scheme import (
    SplitOptions,
    check_classes,
    describe_counts,
    register_split_scheme,
    split_table,
)
from breastus.errors import SplitError
from breastus.labels import LABELS, SPLITS

FOLDS = 5  # of the split 60/20/20: one is test, one is val
_SPLIT_OF_FOLD = ("test", "val", "train", "train", "train")
_SHUFFLES = 20  # of which the most balanced is taken
_DEALS = 1000  # of groups that are too few for five folds
_BALANCED = 1e-3  # deviation at which the search ends; with many thousand images all reach it


@register_split_scheme("group")
def split_by_group(rows: pd.DataFrame, options: SplitOptions) -> pd.DataFrame:
    """Split 60/20/20 in each label: of five folds, 0 is test, 1 is val, and 2 to 4 are train."""
    check_classes(rows)
    fold = draw_folds(rows, options.seed)
    return split_table(rows, [_SPLIT_OF_FOLD[number] for number in fold], fold)


@register_split_scheme("kfold")
def split_by_fold(rows: pd.DataFrame, options: SplitOptions) -> pd.DataFrame:
    """Cross-validate: `fold` is test, fold `fold + 1 + val_rotation` is val, the others are train.

    The folds are the same for each `fold` and `val_rotation`: every image is in the test part of
    one fold, and in the val part of one rotation of each other fold.
    """
    check_classes(rows)
    folds = options.folds
    _check_enough_groups(rows, folds, f"one for each of the {folds} folds", "lower data.folds")
    number = _most_balanced(
        rows,
        options.seed,
        folds,
        arrange=lambda number, labels: number,
        deviation=lambda number, labels: _deviation_of_folds(number, labels, folds),
    )
    if number is None:
        raise SplitError(
            f"No {folds} folds have both classes in each of them. "
            f"{describe_counts(rows)} Add images of other patients, or lower data.folds."
        )
    split = np.full(len(rows), "train", object)
    split[number == options.fold] = "test"
    split[number == (options.fold + 1 + options.val_rotation) % folds] = "val"
    return split_table(rows, split, number)


def draw_folds(rows: pd.DataFrame, seed: int) -> np.ndarray:
    """Return the fold of each row: 0 is test, 1 is val, and 2 to 4 are train.

    Of five folds the two closest to a fifth of each class come first. If the groups are too few for
    five folds they are dealt to 0, 1 and 2.
    """
    _check_enough_groups(
        rows,
        len(SPLITS),
        "one for each of train, val and test",
        "split the images into folders train/, val/ and test/ yourself",
    )
    fold = _most_balanced(
        rows, seed, FOLDS, arrange=_most_balanced_first, deviation=_deviation_of_splits
    )
    if fold is None:
        fold = _deal(rows, seed)
    if fold is None:
        raise SplitError(
            "No split has both classes in train, val and test. "
            f"{describe_counts(rows)} Add images of other patients."
        )
    return fold


def _check_enough_groups(rows: pd.DataFrame, least: int, why: str, way_out: str) -> None:
    if rows.groupby("label")["group_id"].nunique().min() < least:
        raise SplitError(
            f"Each class needs at least {least} groups (patients or scenes), {why}. "
            f"{describe_counts(rows)} Add images of other patients, or {way_out}."
        )


def _most_balanced(
    rows: pd.DataFrame,
    seed: int,
    folds: int,
    *,
    arrange: Callable[[np.ndarray, np.ndarray], np.ndarray],
    deviation: Callable[[np.ndarray, np.ndarray], float],
) -> np.ndarray | None:
    """Return the folds of the most balanced shuffle, renumbered by `arrange`.

    None if there are too few groups or images, or no shuffle has a finite deviation.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    labels = rows["label"].to_numpy()
    groups = rows["group_id"].to_numpy()
    # The limits of StratifiedGroupKFold.
    if rows["group_id"].nunique() < folds or rows["label"].value_counts().max() < folds:
        return None
    best, least = None, np.inf
    for attempt in range(_SHUFFLES):
        folding = StratifiedGroupKFold(folds, shuffle=True, random_state=seed + attempt * 10_007)
        fold = np.empty(len(rows), int)
        with warnings.catch_warnings():
            # With few groups a class some folds lack it, which gives an infinite deviation below.
            warnings.simplefilter("ignore", UserWarning)
            for number, (_, held_out) in enumerate(folding.split(rows, labels, groups)):
                fold[held_out] = number
        fold = arrange(fold, labels)
        if (error := deviation(fold, labels)) < least:
            best, least = fold, error
        if least < _BALANCED:
            break
    return best


def _deal(rows: pd.DataFrame, seed: int) -> np.ndarray | None:
    """Return the most balanced of many random deals of the groups to test, val and train."""
    labels = rows["label"].to_numpy()
    group = rows["group_id"].factorize()[0]
    rng = np.random.default_rng(seed)
    best, least = None, np.inf
    for _ in range(_DEALS):
        fold = rng.integers(0, len(SPLITS), group.max() + 1)[group]
        if (error := _deviation_of_splits(fold, labels)) < least:
            best, least = fold, error
    return best


def _most_balanced_first(fold: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Renumber the folds so that those closest to a fifth of each class are test and val."""
    error = [
        sum(abs((fold[labels == label] == number).mean() - 1 / FOLDS) for label in LABELS)
        + 10 * any(not (fold[labels == label] == number).any() for label in LABELS)
        for number in range(FOLDS)
    ]
    new_number = np.argsort(np.argsort(error, kind="stable"), kind="stable")
    return new_number[fold]


def _deviation_of_splits(fold: np.ndarray, labels: np.ndarray) -> float:
    """Return the largest deviation from 60/20/20 in a class; infinite if a split lacks one."""
    split = np.array(_SPLIT_OF_FOLD)[fold]
    worst = 0.0
    for label in LABELS:
        for name, target in zip(SPLITS, (0.6, 0.2, 0.2), strict=True):
            share = (split[labels == label] == name).mean()
            worst = max(worst, abs(share - target) if share else np.inf)
    return worst


def _deviation_of_folds(fold: np.ndarray, labels: np.ndarray, folds: int) -> float:
    """Return the largest deviation from equal folds in a class; infinite if a fold lacks one."""
    shares = [
        (fold[labels == label] == number).mean() for label in LABELS for number in range(folds)
    ]
    return max(abs(share - 1 / folds) if share else np.inf for share in shares)
