"""Ways to share images out: the included rows of a manifest in, a table of splits out.

One file a scheme. Each keeps a group on one side, and refuses what it cannot split, saying what is
there.
"""

import numpy as np
import pandas as pd

from breastus.errors import SplitError
from breastus.labels import LABELS

FOLD_OF_SPLIT = {"test": 0, "val": 1, "train": 2}  # where a scheme draws no folds


def split_table(rows: pd.DataFrame, split, fold=None) -> pd.DataFrame:
    """Return `image_id`, `split` and `fold`, which is 0 to 2 by split where none is given."""
    fold = [FOLD_OF_SPLIT[name] for name in split] if fold is None else fold
    return pd.DataFrame(
        {
            "image_id": rows["image_id"].to_numpy(),
            "split": np.asarray(split),
            "fold": np.asarray(fold, int),
        }
    )


def check_classes(rows: pd.DataFrame, where: str = "") -> None:
    """See that both classes are there.

    Raises:
        SplitError: when not.
    """
    for label in LABELS:
        if not (rows["label"] == label).any():
            raise SplitError(
                f"There are no images of {label}{where}. {what_is_there(rows)} Training takes "
                "both classes: add the other, in a folder of its name, or from another data set "
                "(--data A --data B)."
            )


def what_is_there(rows: pd.DataFrame) -> str:
    """Say how many images and groups of each label some rows hold."""
    parts = [
        f"{(rows['label'] == label).sum()} images of {label} in "
        f"{rows.loc[rows['label'] == label, 'group_id'].nunique()} groups"
        for label in LABELS
    ]
    return f"There are {' and '.join(parts)}."
