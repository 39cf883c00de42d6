"""The split of the folders train/, val/ and test/, without leaking images: the scheme `folders`."""

import warnings

import pandas as pd

from breastus.data.sources.split_words import (
    is_fold,
    mentions_split,
    split_in_name,
    split_of_name,
)
from breastus.data.splits.group_folds import draw_folds
from breastus.data.splits.scheme import (
    FOLD_OF_SPLIT,
    SplitOptions,
    check_classes,
    register_split_scheme,
    split_table,
)
from breastus.errors import DataWarning, SplitError
from breastus.labels import SPLITS

_SHOWN = 4  # folders in a message


def folder_of_images(rows: pd.DataFrame) -> pd.Series:
    """Return the split of each image's folder, or ""."""
    return rows["image_id"].map(lambda image_id: split_of_name(image_id.partition("/")[2]))


def folders_are_split(rows: pd.DataFrame) -> bool:
    """Return whether all images are in folders of a split, train/ and test/ among them.

    It warns if only a part of the folders is, or the folders are folds.
    """
    split = folder_of_images(rows)
    named = [name for name in SPLITS if (split == name).any()]
    if (split != "").all() and {"train", "test"} <= set(named):
        return True
    parts = {part for name in rows["image_id"] for part in name.split("/")[1:-1]}
    folds = sorted(filter(is_fold, parts))
    advice = "Name a split of your own in a CSV file (--split mine.csv)"
    if named and (split == "").any():
        problem = (
            f"The split of the folders {', '.join(named)} is not used, because other images are "
            f"in none of train/, val/ and test/: {_places(rows[split == ''])}. {advice}, or rename "
            "these folders."
        )
    elif len(named) == 2:
        missing = next(name for name in SPLITS if name not in named)
        problem = (
            f"The split of the folders {' and '.join(named)} is not used, because there is no "
            f"{missing}/. {advice}, or add that folder."
        )
    elif len(folds) > 1:
        problem = f"The folds of the folders {_few(folds)} are not used. {advice} for other parts."
    elif unclear := sorted(filter(mentions_split, parts)):
        problem = (
            f"The folders {_few(unclear)} are not used as a split. {advice}, or put the folders of "
            "the classes into folders train/, val/ and test/."
        )
    elif {"train", "test"} <= set(in_names := rows["image_id"].map(_split_in_file_name)):
        counts = in_names[in_names != ""].value_counts()
        named = ", ".join(f"{name} ({number})" for name, number in counts.items())
        problem = f"The split in the names of files, {named}, is not used. {advice} if it is one."
    elif 1 < len(mixed := _folders_of_all_classes(rows)) <= _SHOWN:
        problem = (
            f"The folders {', '.join(mixed)} hold images of all classes each. They are not used as "
            f"a split. {advice} if they are one."
        )
    else:
        return False
    warnings.warn(problem, DataWarning, stacklevel=3)
    return False


def splits_of_folders(manifest: pd.DataFrame) -> pd.DataFrame | None:
    """Return the folders' split of all readable images, unchanged, to find leaks in it.

    It is a table of `image_id` and `split`; None without a folder train/ and another one.
    """
    rows = manifest[~manifest["excluded"].str.startswith("unreadable")]
    split = folder_of_images(rows)
    if not {"train"} < set(split) - {""}:
        return None
    table = pd.DataFrame({"image_id": rows["image_id"], "split": split})
    return table[split != ""].reset_index(drop=True)


@register_split_scheme("folders")
def split_by_folders(rows: pd.DataFrame, options: SplitOptions) -> pd.DataFrame:
    """Use the split of the folders; without val/, val is drawn from train.

    It warns if the folders leak; leaking images are not used for train or val.
    """
    split = folder_of_images(rows)
    if not (split != "").all() or not len(rows):
        raise SplitError(
            "data.split=folders needs images in folders train/, val/ and test/, and some images "
            f"are in none of them: {_places(rows[split == '']) or 'all'}. Use data.split=group."
        )
    # The test part is not changed; its near-duplicates are removed from the other parts.
    rank = split.map(FOLD_OF_SPLIT)
    kept = rank == rank.groupby(rows["group_id"]).transform("min")
    if not kept.all():
        warnings.warn(
            f"{(~kept).sum()} images are not used for train or val, because a near-duplicate or "
            "another image of the same patient is in a later part: the folders leak.",
            DataWarning,
            stacklevel=3,
        )
    rows = rows[kept]
    split = draw_missing_val(rows, split[kept], options.seed, "The folders hold")
    for name in SPLITS:
        check_classes(rows[split == name], f" in {name}")
    return split_table(rows, split)


def draw_missing_val(rows: pd.DataFrame, split: pd.Series, seed: int, subject: str) -> pd.Series:
    """Return the splits with a fifth of train, drawn by the seed, as val if there is no val.

    It raises SplitError if another part is missing; `subject` is the first words of the message,
    such as "The folders hold".
    """
    missing = [name for name in SPLITS if not (split == name).any()]
    if missing == ["val"]:
        train = rows[split == "train"]
        check_classes(train)
        split = split.copy()
        split.loc[train.index[draw_folds(train, seed) == 0]] = "val"
    elif missing:
        raise SplitError(f"{subject} no images for {' and '.join(missing)}. Add them.")
    return split


def _split_in_file_name(image_id: str) -> str:
    return split_in_name(image_id.rpartition("/")[2])


def _folders_of_all_classes(rows: pd.DataFrame) -> list[str]:
    """Return folders beside or within class folders that hold all classes, but not all images."""
    folders = rows["image_id"].map(lambda image_id: frozenset(image_id.split("/")[1:-1]))
    if (folders.map(len) < 2).any():
        return []  # not all images are in a class folder and another one
    of_folder = pd.DataFrame({"folder": folders, "label": rows["label"]}).explode("folder")
    found = of_folder.groupby("folder")["label"].agg(["nunique", "size"])
    mixed = found[(found["nunique"] == rows["label"].nunique()) & (found["size"] < len(rows))]
    return sorted(mixed.index)


def _few(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def _places(rows: pd.DataFrame) -> str:
    """Return the outermost folders of images with their numbers, such as `test_a (12)`."""
    folders = rows["image_id"].str.partition("/")[2].str.rpartition("/")[0].str.partition("/")[0]
    counts = folders.where(folders != "", rows["source"]).value_counts()
    shown = [f"{name} ({number})" for name, number in counts.head(_SHOWN).items()]
    others = len(counts) - _SHOWN
    return ", ".join(shown) + (f" and {others} more" if others > 0 else "")
