"""A split of one's own: a CSV that names images and their parts, kept as it is or refused.

image_id,split           or path, image, file; an image id of the manifest, a path relative to
busi/benign (1),train    the CSV, or the end of one, such as the file name alone
scans/b.png,test         split: train, val or test; optional: fold, a whole number
"""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path, PurePath

import pandas as pd

from breastus.data.sources.folder import split_folder
from breastus.data.sources.tables import read_table, row_name
from breastus.data.splits.common import check_classes, split_table
from breastus.data.splits.folders import with_val
from breastus.errors import DataError, DataWarning, SplitError
from breastus.labels import SPLITS

_IMAGES = ("image_id", "path", "image", "file")
_SHOWN = 5  # of the unknown images


def by_own_file(manifest: pd.DataFrame, rows: pd.DataFrame, seed: int, path: Path) -> pd.DataFrame:
    """Read a split. Where it has no val, that is drawn from train.

    Args:
        manifest: all rows.
        rows: those that are included.
        seed: decides what is val, where the file has none.
        path: the CSV.

    Raises:
        SplitError: when the file cannot be read, names an image that the manifest has not or that
            could be several, names one twice, has an unknown split, cuts a group apart, or leaves a
            part without a class.

    Warns:
        DataWarning: when the file names images that are excluded, or leaves included ones out.
    """
    table, named = _read(path)
    table["image_id"] = _image_ids(table, named, manifest, path)
    if (twice := table["image_id"].duplicated(keep=False)).any():
        image = table.loc[twice, "image_id"].iloc[0]
        first, second, *_ = table.index[table["image_id"] == image]
        raise SplitError(
            f"{path}: {row_name(table, first)} and {row_name(table, second)} are both {image}. "
            "Remove one."
        )
    used = rows.merge(table[["image_id", "split", "fold"]], on="image_id", validate="one_to_one")
    refuse_cut_groups(used, path)
    _warn_of_the_rest(table, rows, used, path)
    split = with_val(used, used["split"], seed, f"{path} names")
    for part in SPLITS:
        check_classes(used[split == part], f" in {part} of {path}")
    drawn = (split != used["split"]).any()
    fold = None if drawn or (used["fold"] == "").any() else used["fold"].astype(int)
    return split_table(used, split, fold)


def refuse_cut_groups(rows: pd.DataFrame, path: Path) -> None:
    """See that no group is in two splits.

    Raises:
        SplitError: when one is, naming it and two of its images.
    """
    for group, members in rows.groupby("group_id"):
        if members["split"].nunique() > 1:
            first, *others = members.itertuples()
            other = next(row for row in others if row.split != first.split)
            raise SplitError(
                f"{path} cuts the group {group} apart: {first.image_id} is in {first.split}, "
                f"{other.image_id} in {other.split}. Put all of a group into one split."
            )


def _read(path: Path) -> tuple[pd.DataFrame, str]:
    try:
        table = read_table(path)
    except DataError as error:
        raise SplitError(f"The splits cannot be read. {error}") from error
    named = next((name for name in _IMAGES if name in table), None)
    if named is None or "split" not in table:
        raise SplitError(
            f"{path} must have the columns image_id (or {', '.join(_IMAGES[1:])}) and split. "
            f"Received: {', '.join(table.columns)}"
        )
    table = table[[named, *(name for name in ("split", "fold") if name in table)]].copy()
    if "fold" not in table:
        table["fold"] = ""
    for row, cell in table["split"].items():
        if not (split := split_folder((cell,))):
            raise SplitError(
                f"{path}, {row_name(table, row)}: split must be one of {', '.join(SPLITS)}. "
                f"Received: {cell!r}"
            )
        table.at[row, "split"] = split
    if not (whole := table["fold"].str.fullmatch(r"\d*")).all():
        row = whole.idxmin()
        raise SplitError(
            f"{path}, {row_name(table, row)}: fold must be a whole number or empty. "
            f"Received: {table.at[row, 'fold']!r}"
        )
    return table, named


def _image_ids(table: pd.DataFrame, named: str, manifest: pd.DataFrame, path: Path) -> list[str]:
    """Return the image that each row means."""
    ids = set(manifest["image_id"])
    by_path: dict[str, set[str]] = {}
    for image_id, where in zip(manifest["image_id"], manifest["path"], strict=True):
        for end in (*_ends(PurePath(where)), *_ends(PurePath(image_id))):
            by_path.setdefault(end, set()).add(image_id)
    found, unknown = [], []
    for row, cell in table[named].items():
        whole = os.path.abspath(path.parent / cell)
        means = {cell} & ids or by_path.get(whole) or by_path.get(PurePath(cell).as_posix(), set())
        if len(means) > 1:
            first, second, *_ = sorted(means)
            raise SplitError(
                f"{path}, {row_name(table, row)} could be several images: {first}, {second}. Write "
                "its image id or more of its path."
            )
        found += means
        unknown += [] if means else [cell]
    if unknown:
        more = f" and {len(unknown) - _SHOWN} others" if len(unknown) > _SHOWN else ""
        raise SplitError(
            f"{path} names images that the manifest has not. Remove their rows, or name their data "
            f"set with --data. Received: {', '.join(unknown[:_SHOWN])}{more}"
        )
    return found


def _ends(path: PurePath) -> Iterator[str]:
    for start in range(len(path.parts)):
        yield PurePath(*path.parts[start:]).as_posix()


def _warn_of_the_rest(
    table: pd.DataFrame, rows: pd.DataFrame, used: pd.DataFrame, path: Path
) -> None:
    if excluded := len(table) - len(used):
        warnings.warn(
            f"{excluded} images of {path} are left out: the manifest excludes them or knows no "
            "label of theirs.",
            DataWarning,
            stacklevel=4,
        )
    if left := len(rows) - len(used):
        warnings.warn(
            f"{left} images that could be used are not in {path}, and in no split.",
            DataWarning,
            stacklevel=4,
        )
