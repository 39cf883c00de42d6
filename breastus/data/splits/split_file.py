"""Splits that somebody else made, a CSV or folders train/, val/ and test/: what they say, as it is.

Unlike `breastus.data.splits.make.read_splits`, which training goes by, nothing is refused or
mended for leaking: whether a split leaks is what is to be found out. An image may
even stand in two splits.
"""

import os
from collections import defaultdict
from pathlib import Path, PurePosixPath

import pandas as pd

from breastus.data.sources.folder import split_folder, split_of
from breastus.errors import SplitError
from breastus.labels import SPLITS

# The first of these that a file has says which image; the values may be ids, paths or file names.
_IMAGE_COLUMNS = ("image_id", "path", "file", "filename", "file_name", "image", "name")
_SHOWN = 3  # names in an error


def read_split_file(path: str | os.PathLike) -> pd.DataFrame:
    """Read who is where from a CSV with a header.

    Args:
        path: a CSV with a column `split` (train, val, test, or words such as training) and one of
            `image_id`, `path`, `file`, `filename`, `file_name`, `image`, `name`.

    Returns:
        A table of `image` (text, as it stands there) and `split` (train, val, test).

    Raises:
        SplitError: when it cannot be read, holds no rows, lacks a column, or has an unknown split.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise SplitError(f"The splits {path} cannot be read: {error}") from error
    table.columns = [str(column).strip().lower() for column in table.columns]
    column = next((name for name in _IMAGE_COLUMNS if name in table), None)
    if column is None or "split" not in table:
        raise SplitError(
            f"{path} must have a column split and one of {', '.join(_IMAGE_COLUMNS)}. "
            f"Received: {', '.join(table.columns)}"
        )
    if table.empty:
        raise SplitError(f"{path} names no images.")
    split = table["split"].map(lambda word: split_folder((word.strip(),)))
    if (wrong := split == "").any():
        row = table[wrong].iloc[0]
        raise SplitError(
            f"{path}: every split must be one of {', '.join(SPLITS)}. "
            f"Received: {row['split']!r} for {row[column]}{_and_more(wrong.sum() - 1)}"
        )
    return pd.DataFrame({"image": table[column].str.strip(), "split": split})


def match_images(
    listed: pd.DataFrame, manifest: pd.DataFrame, *, name: str | os.PathLike
) -> pd.DataFrame:
    """Find the images that a split file names.

    An image may be named by its id, its path (or the end of it, such as `benign/a.png`), or its
    file name with or without the suffix.

    Args:
        listed: as from `read_split_file`.
        manifest: as from `load_manifest`.
        name: of the file, for errors.

    Returns:
        A table of `image_id` and `split`; an image that is named twice in one split stands once.

    Raises:
        SplitError: when an image is not in the manifest, or a name fits several, naming the first.
    """
    ids = set(manifest["image_id"])
    by_name = defaultdict(list)  # file name, with and without its suffix, to (path, image id)
    for image_id, path in zip(manifest["image_id"], manifest["path"], strict=True):
        path = PurePosixPath(Path(path).as_posix())
        for key in {path.name, path.stem}:
            by_name[key].append((path, image_id))
    found, unknown = [], []
    for text in listed["image"]:
        if text in ids:
            found.append(text)
            continue
        fitting = _fitting(text, by_name)
        if len(fitting) > 1:
            raise SplitError(
                f"{name}: {text} may be {' or '.join(sorted(fitting)[:_SHOWN])}. Name it by its "
                f"image_id or its path."
            )
        if not fitting:
            unknown.append(text)
        found.extend(fitting)
    if unknown:
        raise SplitError(
            f"{name} names images that the data set has not; name them as the column image_id or "
            "path of manifest.csv does. Received: "
            f"{', '.join(unknown[:_SHOWN])}{_and_more(len(unknown) - _SHOWN)}"
        )
    table = pd.DataFrame({"image_id": found, "split": listed["split"].to_numpy()})
    return table.drop_duplicates(ignore_index=True)


def folder_splits(manifest: pd.DataFrame) -> pd.DataFrame | None:
    """Return what folders train/, val/ and test/ say of the images that can be read.

    Returns:
        A table of `image_id` and `split`; None where no train or nothing else is named.
    """
    rows = manifest[~manifest["excluded"].str.startswith("unreadable")]
    split = rows["image_id"].map(lambda image_id: split_of(image_id.partition("/")[2]))
    if not {"train"} < set(split) - {""}:
        return None
    table = pd.DataFrame({"image_id": rows["image_id"], "split": split})
    return table[split != ""].reset_index(drop=True)


def _fitting(text: str, by_name: dict[str, list]) -> set[str]:
    named = PurePosixPath(text.replace("\\", "/"))
    parts = tuple(part for part in named.parts if part != ".")
    if not parts:
        return set()
    return {
        image_id
        for path, image_id in by_name[parts[-1]]
        # The last part fits already, with or without its suffix.
        if path.parts[-len(parts) : -1] == parts[:-1]
    }


def _and_more(count: int) -> str:
    return f" and {count} more" if count > 0 else ""
