"""Split schemes by name: `register_split_scheme` adds one, `make_splits` finds it.

    @register_split_scheme("by_year")
    def split_by_year(rows: pd.DataFrame, options: SplitOptions) -> pd.DataFrame:
        ...
        return split_table(rows, split)

A scheme gets the included rows of a manifest and returns `image_id`, `split` and `fold`. It may
stand in any module, also outside the package, that is imported before the settings are read.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from breastus.config.parsing import FOLDS, SPLIT_SCHEMES
from breastus.errors import SplitError
from breastus.labels import LABELS

FOLD_OF_SPLIT = {"test": 0, "val": 1, "train": 2}  # for schemes that draw no folds


class SplitOptions(NamedTuple):
    """Settings of a split scheme.

    Attributes:
        seed: seed of everything that is drawn.
        fold: fold that is the test part, counted from 0 (only for `kfold`).
        folds: number of folds (only for `kfold`).
        val_rotation: number of the val fold among the other folds, where 0 is the one after the
            test fold (only for `kfold`).
    """

    seed: int = 0
    fold: int = 0
    folds: int = FOLDS
    val_rotation: int = 0


Scheme = Callable[[pd.DataFrame, SplitOptions], pd.DataFrame]

SCHEMES: dict[str, Scheme] = {}


def register_split_scheme(name: str) -> Callable[[Scheme], Scheme]:
    """Register a function (rows, options) -> splits as a value of the setting `data.split`.

    Raises:
        SplitError: if the name is taken.
    """

    def register(scheme: Scheme) -> Scheme:
        if name in SCHEMES:
            raise SplitError(
                f"A split scheme named {name} is registered already. Choose another name."
            )
        SCHEMES[name] = scheme
        if name not in SPLIT_SCHEMES:
            SPLIT_SCHEMES.append(name)
        return scheme

    return register


def split_table(rows: pd.DataFrame, split, fold=None) -> pd.DataFrame:
    """Return `image_id`, `split` and `fold`; without `fold` test is 0, val 1 and train 2."""
    if fold is None:
        fold = [FOLD_OF_SPLIT[name] for name in split]
    return pd.DataFrame(
        {
            "image_id": rows["image_id"].to_numpy(),
            "split": np.asarray(split),
            "fold": np.asarray(fold, int),
        }
    )


def check_classes(rows: pd.DataFrame, where: str = "") -> None:
    """Raise SplitError if a class is missing; `where` is a part for the message: " in train"."""
    for label in LABELS:
        if not (rows["label"] == label).any():
            raise SplitError(
                f"There are no images of {label}{where}. {describe_counts(rows)} A network learns "
                "from both classes: add the other, in a folder of its name, or from another data "
                "set (--data A --data B)."
            )


def check_groups(rows: pd.DataFrame, name: object) -> None:
    """Raise SplitError if a group, which the message names, is in two splits.

    Args:
        rows: `image_id`, `group_id` and `split`.
        name: file or scheme for the error message.
    """
    separated = rows.groupby("group_id")["split"].nunique() > 1
    if separated.any():
        group = separated.idxmax()
        first, *others = rows[rows["group_id"] == group].itertuples()
        other = next(row for row in others if row.split != first.split)
        raise SplitError(
            f"{name} separates the group {group}: {first.image_id} is in {first.split}, "
            f"{other.image_id} in {other.split}. Put all of a group into one split."
        )


def describe_counts(rows: pd.DataFrame) -> str:
    """Return a sentence with the numbers of images and groups of each label."""
    parts = [
        f"{(rows['label'] == label).sum()} images of {label} in "
        f"{rows.loc[rows['label'] == label, 'group_id'].nunique()} groups"
        for label in LABELS
    ]
    return f"There are {' and '.join(parts)}."
