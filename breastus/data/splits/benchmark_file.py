"""Read a split that predictions are scored on: a CSV or JSON file and a manifest in, a split out.

The file is an export of breastus, or anybody's: a CSV file with a column of images, as for
`breastus.data.splits.split_csv`, and a column `fold` (the fold in which the image is tested) or
`split` (train, val, test). It may leak: how much that helps is measured.
"""

import json
import os
import re
from pathlib import Path

import pandas as pd

from breastus.data.sources.split_words import parse_split
from breastus.data.sources.tables import find_image_column, read_image_table, row_name
from breastus.data.splits.benchmark import FOLD, SPLIT, BenchmarkSplit, with_parts
from breastus.data.splits.split_csv import match_images
from breastus.errors import DataError, SplitError
from breastus.labels import LABELS, SPLITS

_SHOWN = 3  # images in an error message
_WAY_OUT = "Export it again with breastus splits export."


def read_benchmark_split(path: str | os.PathLike, manifest: pd.DataFrame) -> BenchmarkSplit:
    """Read the split of some images.

    Args:
        path: a .json file that breastus exported, or a CSV file.
        manifest: manifest of the images; it decides which are excluded.

    Raises:
        SplitError: if the file cannot be read; names no part, an image twice or one that the
            manifest lacks; was made from other pixels or labels; or is not what its name says.
    """
    path = Path(path)
    facts, table = _read(path)
    by = FOLD if FOLD in table else SPLIT
    table["image_id"] = match_images(table["image"], manifest, path)
    _check_unique(table, path)
    parts = table.set_index("image_id")[by]
    split = with_parts(manifest, parts, by, others=f"not in {path.name}")
    _check_parts(split, path)
    _check_content(split, table, path)
    if facts and (facts["name"], facts["fingerprint"]) != (split.name, split.fingerprint):
        raise SplitError(
            f"{path} states the name {facts['name']}, but its folds and the images of --data give "
            f"{split.name}. {_WAY_OUT}"
        )
    return split


def read_parts(path: str | os.PathLike) -> pd.DataFrame:
    """Return `image` (as in the file) and `fold` or `split` of a split, which may leak.

    Raises:
        SplitError: if the file cannot be read or names no part.
    """
    _, table = _read(Path(path))
    if table.empty:
        raise SplitError(f"{path} puts no image into a fold or split.")
    return table[["image", SPLIT if SPLIT in table else FOLD]]


def _read(path: Path) -> tuple[dict[str, str], pd.DataFrame]:
    """Return what a file states about itself, and its table."""
    return _read_json(path) if path.suffix.lower() == ".json" else ({}, _read_csv(path))


def _read_csv(path: Path) -> pd.DataFrame:
    """Return `image`, `fold` or `split`, and the checksums and labels that a CSV file has."""
    try:
        table = read_image_table(path)
        image = "image_id" if "image_id" in table else find_image_column(table, path)
    except DataError as error:
        raise SplitError(f"The splits cannot be read. {error}") from error
    by = SPLIT if SPLIT in table else FOLD
    if image is None or by not in table:
        raise SplitError(
            f"{path} must have a column of images, such as image_id, and one of fold and split. "
            f"Received: {', '.join(table.columns)}"
        )
    table = table[table[by] != ""]  # an excluded image has none
    read = parse_split if by == SPLIT else parse_fold
    for row, cell in table[by].items():
        if read(cell) == "":
            rule = f"one of {', '.join(SPLITS)}" if by == SPLIT else "a whole number"
            raise SplitError(
                f"{path}, {row_name(table, row)}: {by} must be {rule}, or empty for an image that "
                f"is not used. Received: {cell!r}"
            )
    columns = [name for name in ("label", "pixel_sha256") if name in table]
    return table[columns].assign(image=table[image], **{by: table[by].map(read)})


def parse_fold(text: str) -> int | str:
    """Return a whole number, which pandas writes as `3.0` beside empty cells; "" for other text."""
    return int(text.removesuffix(".0")) if re.fullmatch(r"\d+(\.0)?", text) else ""


def _read_json(path: Path) -> tuple[dict[str, str], pd.DataFrame]:
    """Return `name` and `fingerprint`, and the table of a JSON file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        facts = {key: str(content[key]) for key in ("name", "fingerprint")}
        by = FOLD if content["tested_by"] == FOLD else SPLIT
        table = pd.DataFrame(content["images"])
        table = table[["image_id", by, "label", "pixel_sha256"]]
        table = table.astype({by: int if by == FOLD else str})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SplitError(
            f"{path} cannot be read as a split that breastus exported: {error}. {_WAY_OUT}"
        ) from error
    return facts, table.rename(columns={"image_id": "image"})


def _check_unique(table: pd.DataFrame, path: Path) -> None:
    repeated = table["image_id"].duplicated(keep=False)
    if repeated.any():
        image = table.loc[repeated, "image_id"].iloc[0]
        first, second, *_ = table.index[table["image_id"] == image]
        raise SplitError(
            f"{path}: rows {first + 2} and {second + 2} are both {image}. An image is tested once: "
            "remove one."
        )


def _check_parts(split: BenchmarkSplit, path: Path) -> None:
    parts = set(split.images[split.by])
    if split.by == FOLD and len(parts) < 2:
        raise SplitError(
            f"{path} must put the images into at least two folds. Received: {len(parts)}"
        )
    if split.by == SPLIT and not {"train", "test"} <= parts:
        raise SplitError(
            f"{path} must have images that are used in train and in test. "
            f"Received: {', '.join(sorted(parts)) or 'none'}"
        )


def _check_content(split: BenchmarkSplit, table: pd.DataFrame, path: Path) -> None:
    """Refuse a file whose checksums or labels differ from the images."""
    rows = split.images.merge(table, on="image_id", suffixes=("", "_listed"))
    for column, what in (("pixel_sha256", "other pixels"), ("label", "another label")):
        if f"{column}_listed" not in rows:
            continue
        listed = rows[f"{column}_listed"]
        known = listed.isin(LABELS) if column == "label" else listed != ""
        different = rows.loc[known & (listed != rows[column]), "image_id"].tolist()
        if different:
            shown = ", ".join(different[:_SHOWN]) + (", ..." if len(different) > _SHOWN else "")
            raise SplitError(
                f"{path} was made from other images than --data: {len(different)} have {what}. "
                f"Name the data set that it was made from. Received: {shown}"
            )
