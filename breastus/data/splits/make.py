"""Splits: a manifest in, a table of `image_id`, `split` and `fold` out. No group is ever cut apart.

auto         folders where the folders are split already, else group
group        60/20/20 by label; five folds, of which 0 is test, 1 is val and the rest train
study        the sizes of the published study's Table I, drawn by seed
folders      what the folders say, less the images that have a twin in a later part
kfold        cross-validation: one fold is test, another one val, the rest train
source:NAME  the source of that name is test, train and val are drawn from the others
mine.csv     a file with the columns image_id and split, kept as it is or refused
"""

import os
from pathlib import Path

import pandas as pd

from breastus.config.parsing import FOLDS, SOURCE_SCHEME, check_folds, check_split
from breastus.data.manifest.build import included
from breastus.data.splits.by_source import by_source
from breastus.data.splits.common import check_classes
from breastus.data.splits.folders import by_folders, named_splits
from breastus.data.splits.group_folds import by_fold, by_group
from breastus.data.splits.split_csv import by_own_file, refuse_cut_groups
from breastus.data.splits.study import by_study
from breastus.errors import ConfigError, SplitError
from breastus.labels import LABELS, SPLITS
from breastus.utils.files import write_csv

COLUMNS = ("image_id", "split", "fold")


def make_splits(
    manifest: pd.DataFrame,
    *,
    scheme: str = "auto",
    seed: int = 0,
    fold: int = 0,
    folds: int = FOLDS,
    val_rotation: int = 0,
) -> pd.DataFrame:
    """Share the included images of a manifest out.

    Args:
        manifest: as from `load_manifest`.
        scheme: `auto`, `group`, `study`, `folders`, `kfold`, `source:NAME` or a path to a .csv.
        seed: decides what is drawn.
        fold: of `kfold`, the fold that is the test part, from 0.
        folds: of `kfold`, how many.
        val_rotation: which of the other folds is val; 0 is the one after the test fold (only for
            `kfold`).

    Returns:
        A table of `image_id`, `split` (train, val, test) and `fold` (of `group` and `kfold` the
        fold that was drawn; for the others test is 0, val 1, train 2, unless the .csv has folds),
        in the manifest's order.

    Raises:
        SplitError: when there is no such scheme, fold, source or file; when a class is missing or
            has too few groups or images, saying what is there; when a file cuts a group apart.

    Warns:
        DataWarning: when images are left out of the splits, with their number.
    """
    try:
        check_split(scheme)
        check_folds(scheme, fold, folds, val_rotation)
    except ConfigError as error:
        raise SplitError(str(error)) from error
    rows = included(manifest)
    if scheme == "auto":
        named = named_splits(rows)
        split = (named != "").all() and {"train", "test"} <= set(named)
        scheme = "folders" if split else "group"
    if scheme == "folders":
        return by_folders(rows, seed)
    if scheme.startswith(SOURCE_SCHEME):
        return by_source(rows, seed, source=scheme.removeprefix(SOURCE_SCHEME))
    if scheme.lower().endswith(".csv"):
        return by_own_file(manifest, rows, seed, Path(scheme))
    check_classes(rows)
    if scheme == "kfold":
        return by_fold(rows, seed, fold=fold, folds=folds, val_rotation=val_rotation)
    return by_study(rows, seed) if scheme == "study" else by_group(rows, seed)


def write_splits(splits: pd.DataFrame, path: str | os.PathLike) -> None:
    """Write a splits.csv, whole or not at all."""
    write_csv(path, splits[list(COLUMNS)])


def read_splits(path: str | os.PathLike, manifest: pd.DataFrame) -> pd.DataFrame:
    """Read a splits.csv and check it against its manifest.

    Raises:
        SplitError: when it cannot be read, lacks a column, names an unknown image, an image twice
            or an unknown split, or cuts a group apart.
    """
    try:
        splits = pd.read_csv(path, dtype={"image_id": str, "split": str})
    except (OSError, ValueError) as error:
        raise SplitError(f"The splits {path} cannot be read: {error}") from error
    if missing := [column for column in COLUMNS if column not in splits]:
        raise SplitError(f"{path} lacks the column {', '.join(missing)}.")
    for wrong, what in (
        (~splits["image_id"].isin(manifest["image_id"]), "names an image the manifest has not"),
        (splits["image_id"].duplicated(), "names an image twice"),
        (~splits["split"].isin(SPLITS), "has a split other than train, val and test"),
    ):
        if wrong.any():
            row = splits[wrong].iloc[0]
            raise SplitError(f"{path} {what}. Received: {row['image_id']}, {row['split']}")
    refuse_cut_groups(splits.merge(manifest[["image_id", "group_id"]], on="image_id"), Path(path))
    return splits


def splits_summary(splits: pd.DataFrame, manifest: pd.DataFrame) -> str:
    """Say in a few lines how many images and groups of each label each split holds."""
    rows = splits.merge(manifest, on="image_id")
    lines = []
    for split in SPLITS:
        part = rows[rows["split"] == split]
        counts = ", ".join(f"{(part['label'] == label).sum()} {label}" for label in LABELS)
        lines.append(
            f"  {split:<6}{counts}, in {part['group_id'].nunique()} groups{_by_source(part)}"
        )
    return "\n".join(lines)


def _by_source(rows: pd.DataFrame) -> str:
    counts = rows["source"].value_counts()
    return f" ({', '.join(f'{n} {name}' for name, n in counts.items())})" if len(counts) > 1 else ""
