"""Splits: a manifest in, a table of `image_id`, `split` and `fold` out; no group is separated.

auto         `folders` if the folders are split already, else `group`
group        60/20/20 in each label, from five folds
study        the sizes of the published study's Table I
folders      the folders train/, val/ and test/, without images that have a near-duplicate in a
             later part
kfold        cross-validation: one fold is test, another one val, the others are train
source:NAME  that source is test, train and val are drawn from the others
mine.csv     a file with the columns image_id and split, used unchanged or refused
"""

import os
from pathlib import Path

import pandas as pd

from breastus.config.parsing import FOLDS, SOURCE_SCHEME, check_folds, check_split
from breastus.config.schema import DataConfig
from breastus.data.manifest.schema import included
from breastus.data.sources.tables import read_table
from breastus.data.splits import group_folds, study  # noqa: F401 (they register their schemes)
from breastus.data.splits.by_source import split_by_source
from breastus.data.splits.folders import folders_are_split
from breastus.data.splits.scheme import SCHEMES, SplitOptions, check_groups
from breastus.data.splits.split_csv import split_by_csv
from breastus.errors import ConfigError, DataError, SplitError
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
    """Split the included images of a manifest.

    Args:
        manifest: manifest from `load_manifest`.
        scheme: name of a scheme, `source:NAME`, or path of a .csv file.
        seed: seed of everything that is drawn.
        fold: fold that is the test part, counted from 0 (only for `kfold`).
        folds: number of folds (only for `kfold`).
        val_rotation: number of the val fold among the other folds, where 0 is the one after the
            test fold (only for `kfold`).

    Returns:
        A table of `image_id`, `split` (train, val, test) and `fold`, in the manifest's order.
        `group`, `kfold` and a .csv file determine the fold; for other schemes test is 0, val 1 and
        train 2.

    Raises:
        SplitError: if the scheme, fold, source or file does not exist, a class is missing or has
            too few groups or images, or a group would be separated.

    Warns:
        DataWarning: if images are in no split, with their number; if `auto` does not use a split
            that some of the folders seem to be.
    """
    try:
        check_split(scheme)
        check_folds(scheme, fold, folds, val_rotation)
    except ConfigError as error:
        raise SplitError(str(error)) from error
    rows = included(manifest)
    if scheme == "auto":
        scheme = "folders" if folders_are_split(rows) else "group"
    if scheme.startswith(SOURCE_SCHEME):
        return split_by_source(rows, seed, source=scheme.removeprefix(SOURCE_SCHEME))
    if scheme.lower().endswith(".csv"):
        return split_by_csv(manifest, rows, seed, Path(scheme))
    splits = SCHEMES[scheme](rows, SplitOptions(seed, fold, folds, val_rotation))
    check_groups(
        splits.merge(rows[["image_id", "group_id"]], on="image_id"), f"data.split={scheme}"
    )
    return splits


def make_splits_of_settings(
    manifest: pd.DataFrame, settings: DataConfig, seed: int
) -> pd.DataFrame:
    """Split the included images of a manifest as the settings say; see `make_splits`."""
    return make_splits(
        manifest,
        scheme=settings.split,
        seed=seed,
        fold=settings.fold,
        folds=settings.folds,
        val_rotation=settings.val_rotation,
    )


def write_splits(splits: pd.DataFrame, path: str | os.PathLike) -> None:
    """Write a splits.csv atomically."""
    write_csv(path, splits[list(COLUMNS)])


def read_splits(path: str | os.PathLike, manifest: pd.DataFrame) -> pd.DataFrame:
    """Read a splits.csv and check it against its manifest; raises SplitError."""
    try:
        splits = read_table(Path(path), COLUMNS, strip=False).reset_index(drop=True)
        splits["fold"] = splits["fold"].astype(int)
    except (DataError, ValueError) as error:
        raise SplitError(f"The splits {path} cannot be read: {error}") from error
    for wrong, what in (
        (~splits["image_id"].isin(manifest["image_id"]), "names an image that the manifest lacks"),
        (splits["image_id"].duplicated(), "names an image twice"),
        (~splits["split"].isin(SPLITS), "has a split other than train, val and test"),
    ):
        if wrong.any():
            row = splits[wrong].iloc[0]
            raise SplitError(f"{path} {what}. Received: {row['image_id']}, {row['split']}")
    check_groups(splits.merge(manifest[["image_id", "group_id"]], on="image_id"), path)
    return splits


def splits_summary(splits: pd.DataFrame, manifest: pd.DataFrame) -> str:
    """Return a few lines with the numbers of images and groups of each label in each split."""
    rows = splits.merge(manifest, on="image_id")
    lines = []
    for split in SPLITS:
        part = rows[rows["split"] == split]
        groups = part["group_id"].nunique()
        counts = ", ".join(f"{(part['label'] == label).sum()} {label}" for label in LABELS)
        sources = part["source"].value_counts()
        by_source = ", ".join(f"{count} {name}" for name, count in sources.items())
        lines.append(
            f"  {split:<6}{counts}, in {groups} group{'s' * (groups != 1)}"
            f"{f' ({by_source})' if len(sources) > 1 else ''}"
        )
    return "\n".join(lines)
