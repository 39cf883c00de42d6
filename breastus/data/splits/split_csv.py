"""A user's split: a CSV file in, the split of each image of a manifest out.

    image_id,split           or path, file, filename, image, ... as in a table of images: an image
    busi/benign (1),train    id, a path relative to the CSV or absolute, or the end of one
    scans/b.png,test         split: train, val, test; optional: fold, a whole number

Training uses the split unchanged or refuses it. `breastus.data.splits.benchmark_file` reads splits
that may leak.
"""

import os
import warnings
from collections import defaultdict
from pathlib import Path, PurePosixPath

import pandas as pd

from breastus.data.sources.split_words import parse_split
from breastus.data.sources.tables import (
    IMAGE_COLUMNS,
    find_image_column,
    read_image_table,
    row_name,
)
from breastus.data.splits.folders import draw_missing_val
from breastus.data.splits.scheme import check_classes, check_groups, split_table
from breastus.errors import DataError, DataWarning, SplitError
from breastus.labels import SPLITS

_ID = "image_id"
_SHOWN = 5  # unknown images in an error message


def split_by_csv(manifest: pd.DataFrame, rows: pd.DataFrame, seed: int, path: Path) -> pd.DataFrame:
    """Use the split of a CSV file; if it has no val, val is drawn from train by the seed.

    `rows` are the included rows of the manifest. It warns if the file names excluded images, or
    lacks included ones.
    """
    table = read_split_csv(path)
    table["image_id"] = match_images(table["image"], manifest, path)
    if (repeated := table["image_id"].duplicated(keep=False)).any():
        image = table.loc[repeated, "image_id"].iloc[0]
        first, second, *_ = table.index[table["image_id"] == image]
        raise SplitError(
            f"{path}: {row_name(table, first)} and {row_name(table, second)} are both {image}. "
            "Remove one."
        )
    used = rows.merge(table[["image_id", "split", "fold"]], on="image_id", validate="one_to_one")
    check_groups(used, path)
    if excluded := len(table) - len(used):
        warnings.warn(
            f"{excluded} images of {path} are not used, because the manifest excludes them or has "
            "no label for them.",
            DataWarning,
            stacklevel=3,
        )
    if unlisted := len(rows) - len(used):
        warnings.warn(
            f"{unlisted} included images are not in {path}, and so in no split.",
            DataWarning,
            stacklevel=3,
        )
    split = draw_missing_val(used, used["split"], seed, f"{path} names")
    for part in SPLITS:
        check_classes(used[split == part], f" in {part} of {path}")
    drawn = (split != used["split"]).any()
    fold = None if drawn or (used["fold"] == "").any() else used["fold"].astype(int)
    return split_table(used, split, fold)


def read_split_csv(path: str | os.PathLike) -> pd.DataFrame:
    """Read a CSV file with a column of images and a column `split`.

    Returns:
        A table of `image` (as in the file), `split` (train, val or test; words such as "training"
        are understood) and `fold` ("" if missing), all text. The row with index i is row i + 2.
    """
    path = Path(path)
    try:
        table = read_image_table(path)
        column = _ID if _ID in table else find_image_column(table, path)
    except DataError as error:
        raise SplitError(f"The splits cannot be read. {error}") from error
    if column is None or "split" not in table:
        raise SplitError(
            f"{path} must have a column split and one of {', '.join([_ID, *IMAGE_COLUMNS])}. "
            f"Received: {', '.join(table.columns)}"
        )
    if table.empty:
        raise SplitError(f"{path} names no images.")
    listed = pd.DataFrame(
        {"image": table[column], "split": table["split"], "fold": table.get("fold", "")}
    )
    for row, cell in listed["split"].items():
        if not (split := parse_split(cell)):
            raise SplitError(
                f"{path}, {row_name(listed, row)}: split must be one of {', '.join(SPLITS)}. "
                f"Received: {cell!r}"
            )
        listed.at[row, "split"] = split
    if not (whole := listed["fold"].str.fullmatch(r"\d*")).all():
        row = whole.idxmin()
        raise SplitError(
            f"{path}, {row_name(listed, row)}: fold must be a whole number or empty. "
            f"Received: {listed.at[row, 'fold']!r}"
        )
    return listed


def match_images(names: pd.Series, manifest: pd.DataFrame, path: str | os.PathLike) -> list[str]:
    """Return the image id that each name means.

    Names are image ids, paths relative to the CSV file or absolute, or ends of a path or image id
    such as `benign/a.png`, with or without the suffix. One that fits no image, or several, raises
    SplitError.
    """
    ids = set(manifest["image_id"])
    by_path = dict(zip(manifest["path"], manifest["image_id"], strict=True))
    by_last_part = defaultdict(list)  # to (parts before it, image id)
    for image_id, file in zip(manifest["image_id"], manifest["path"], strict=True):
        file, named = PurePosixPath(Path(file).as_posix()), PurePosixPath(image_id)
        for last, parts in (
            (file.name, file.parts),
            (file.stem, file.parts),
            (named.name, named.parts),
        ):
            by_last_part[last].append((parts[:-1], image_id))
    folder = os.path.dirname(os.path.abspath(path))
    found, unknown = [], []
    for row, name in names.items():
        slashed = name.replace("\\", "/")  # as a path of Windows
        places = (os.path.normpath(os.path.join(folder, text)) for text in (name, slashed))
        means = {name} & ids or set(map(by_path.get, places)) - {None}
        if not means and (parts := PurePosixPath(slashed).parts):
            means = {
                image_id
                for before, image_id in by_last_part[parts[-1]]
                if len(parts) == 1 or before[-len(parts) + 1 :] == parts[:-1]
            }
        if len(means) > 1:
            first, second, *_ = sorted(means)
            raise SplitError(
                f"{path}, row {row + 2} ({name}) fits several images: {first}, {second}. Use the "
                "image id or more of the path."
            )
        found += means
        unknown += [] if means else [name]
    if unknown:
        more = f" and {len(unknown) - _SHOWN} others" if len(unknown) > _SHOWN else ""
        raise SplitError(
            f"{path} names images that the manifest does not contain. Remove their rows, or name "
            f"their data set with --data. Received: {', '.join(unknown[:_SHOWN])}{more}"
        )
    return found
