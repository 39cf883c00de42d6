"""What the folders train/, val/ and test/ say, less the images that have a twin in a later part."""

import warnings

import pandas as pd

from breastus.data.sources.folder import split_of
from breastus.data.splits.common import FOLD_OF_SPLIT, check_classes, split_table
from breastus.data.splits.group_folds import draw_folds
from breastus.errors import DataWarning, SplitError
from breastus.labels import SPLITS


def named_splits(rows: pd.DataFrame) -> pd.Series:
    """Return the split that each image's folders say, or ""."""
    return rows["image_id"].map(lambda image_id: split_of(image_id.partition("/")[2]))


def by_folders(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Keep the folders' split. Without val, it is drawn from train.

    Raises:
        SplitError: when images lie in no such folder, or a part or class is missing.

    Warns:
        DataWarning: when the folders leak; what is left out of train or val for it is counted.
    """
    named = named_splits(rows)
    if not (named != "").all() or not len(rows):
        raise SplitError(
            "data.split=folders needs images in folders train/, val/ and test/, and some images "
            "are in none of them. Use data.split=group."
        )
    # The test part stays what its maker made it; twins of it are taken out of the others.
    rank = named.map(FOLD_OF_SPLIT)
    kept = rank == rank.groupby(rows["group_id"]).transform("min")
    if not kept.all():
        warnings.warn(
            f"{(~kept).sum()} images are left out of train or val, since a near-duplicate or "
            "another image of the same patient is in a later part: the folders leak.",
            DataWarning,
            stacklevel=3,
        )
    rows, named = rows[kept], with_val(rows[kept], named[kept], seed, "The folders hold")
    for split in SPLITS:
        check_classes(rows[named == split], f" in {split}")
    return split_table(rows, named)


def with_val(rows: pd.DataFrame, named: pd.Series, seed: int, who: str) -> pd.Series:
    """Return the splits with a fifth of train as val, where there is none.

    Raises:
        SplitError: when another part is missing; `who` begins the sentence.
    """
    missing = [split for split in SPLITS if not (named == split).any()]
    if missing == ["val"]:
        inner = rows[named == "train"]
        check_classes(inner)
        fold = draw_folds(inner, seed)
        named = named.copy()
        named.loc[inner.index[fold == 0]] = "val"
    elif missing:
        raise SplitError(f"{who} no images for {' and '.join(missing)}. Add them.")
    return named
