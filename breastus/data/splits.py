"""Splits: a manifest in, a table of `image_id`, `split` and `fold` out. No group is ever cut apart.

auto    given where the folders are split already, else group
group   60/20/20 by label; five folds, of which 0 is test, 1 is val and the rest train
study   the sizes of the published study's Table I, drawn by seed
given   what the folders say, less the images that have a twin in a later part
"""

import os
import warnings

import numpy as np
import pandas as pd

from breastus.data.locate import DataWarning
from breastus.data.manifest import included
from breastus.data.sources.folder import split_of
from breastus.errors import SplitError
from breastus.files import write_csv
from breastus.labels import LABELS, SPLITS

COLUMNS = ("image_id", "split", "fold")
FOLDS = 5
_SPLIT_OF_FOLD = ("test", "val", "train", "train", "train")
_SHUFFLES = 20  # the most even of these is taken

# Images of each label in train, val and test: Table I of the published student study on BUSI.
STUDY_SIZES = {"lump": (194, 66, 66), "no_lump": (80, 27, 26)}


def make_splits(manifest: pd.DataFrame, *, scheme: str = "auto", seed: int = 0) -> pd.DataFrame:
    """Share the included images of a manifest out.

    Args:
        manifest: as from `load_manifest`.
        scheme: `auto`, `group`, `study` or `given`.
        seed: decides what is drawn.

    Returns:
        A table of `image_id`, `split` (train, val, test) and `fold` (0 to 4; for `study` and
        `given` test is 0, val 1, train 2), in the manifest's order.

    Raises:
        SplitError: when a class is missing or has too few groups or images, saying what is there.
    """
    rows = included(manifest)
    named = rows["image_id"].map(_given_split)
    if scheme == "auto":
        split = (named != "").all() and {"train", "test"} <= set(named)
        scheme = "given" if split else "group"
    if scheme == "given":
        return _given(rows, named, seed)
    _check_classes(rows)
    if scheme == "group":
        fold = _folds(rows, seed)
        return _table(rows, [_SPLIT_OF_FOLD[number] for number in fold], fold)
    if scheme == "study":
        return _study(rows, seed)
    raise SplitError(f"scheme must be auto, group, study or given. Received: {scheme!r}")


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
    both = splits.merge(manifest[["image_id", "group_id"]], on="image_id")
    for group, members in both.groupby("group_id"):
        if members["split"].nunique() > 1:
            first, *others = members.itertuples()
            other = next(row for row in others if row.split != first.split)
            raise SplitError(
                f"{path} cuts the group {group} apart: {first.image_id} is in {first.split}, "
                f"{other.image_id} in {other.split}. Put all of a group into one split."
            )
    return splits


def splits_summary(splits: pd.DataFrame, manifest: pd.DataFrame) -> str:
    """Say in a few lines how many images and groups of each label each split holds."""
    rows = splits.merge(manifest, on="image_id")
    lines = []
    for split in SPLITS:
        part = rows[rows["split"] == split]
        counts = ", ".join(f"{(part['label'] == label).sum()} {label}" for label in LABELS)
        lines.append(f"  {split:<6}{counts}, in {part['group_id'].nunique()} groups")
    return "\n".join(lines)


def _folds(rows: pd.DataFrame, seed: int) -> np.ndarray:
    from sklearn.model_selection import StratifiedGroupKFold

    labels = rows["label"].to_numpy()
    groups = rows["group_id"].to_numpy()
    fewest = rows.groupby("label")["group_id"].nunique().min()
    if fewest < len(SPLITS):
        raise SplitError(
            f"Each class needs at least {len(SPLITS)} groups (patients or scenes), one for each of "
            f"train, val and test. {_what_is_there(rows)} Add images of other patients, or split "
            "the images into folders train/, val/ and test/ yourself."
        )
    if rows["label"].value_counts().max() < FOLDS:
        raise SplitError(
            f"One class at least needs {FOLDS} images. {_what_is_there(rows)} Add images, or split "
            "them into folders train/, val/ and test/ yourself."
        )
    best, best_error = None, np.inf
    for attempt in range(_SHUFFLES):
        folding = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed + attempt * 10_007)
        fold = np.empty(len(rows), int)
        with warnings.catch_warnings():
            # With 3 or 4 groups a class some folds lack it; that is settled by the check below.
            warnings.simplefilter("ignore", UserWarning)
            for number, (_, held_out) in enumerate(folding.split(rows, labels, groups)):
                fold[held_out] = number
        fold = _most_even_first(fold, labels)
        error = _unevenness(fold, labels)
        if error < best_error:
            best, best_error = fold, error
    if not np.isfinite(best_error):
        raise SplitError(
            f"No split has both classes in train, val and test. {_what_is_there(rows)} Add images "
            "of other patients."
        )
    return best


def _most_even_first(fold: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Renumber the folds so that those nearest to a fifth of each class are test and val."""
    error = [
        sum(abs((fold[labels == label] == number).mean() - 1 / FOLDS) for label in LABELS)
        + 10 * any(not (fold[labels == label] == number).any() for label in LABELS)
        for number in range(FOLDS)
    ]
    new_number = np.argsort(np.argsort(error, kind="stable"), kind="stable")
    return new_number[fold]


def _unevenness(fold: np.ndarray, labels: np.ndarray) -> float:
    """Return the largest miss of 60/20/20 over splits and classes; infinite when one is empty."""
    split = np.array(_SPLIT_OF_FOLD)[fold]
    worst = 0.0
    for label in LABELS:
        for name, share in zip(SPLITS, (0.6, 0.2, 0.2), strict=True):
            part = (split[labels == label] == name).mean()
            worst = max(worst, abs(part - share) if part else np.inf)
    return worst


def _study(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    split = pd.Series("", index=rows.index)
    for label, sizes in STUDY_SIZES.items():
        if (rows["label"] == label).sum() < sum(sizes):
            raise SplitError(
                f"The split 'study' takes {sum(sizes)} images of {label}. {_what_is_there(rows)} "
                "On BUSI keep all images, as the study did: --set data.known_faults=false --set "
                "data.contradictions=keep"
            )
    # Groups of both labels first, then large ones: single images fill what is left exactly.
    groups = list(rows.groupby("group_id", sort=True).indices.values())
    rng.shuffle(groups)
    groups.sort(key=len, reverse=True)
    room = {
        (label, s): size
        for label, sizes in STUDY_SIZES.items()
        for s, size in zip(SPLITS, sizes, strict=True)
    }
    labels = rows["label"].to_numpy()
    for members in groups:
        need = {label: int((labels[members] == label).sum()) for label in set(labels[members])}
        fits = [s for s in SPLITS if all(room[label, s] >= count for label, count in need.items())]
        if not fits:
            continue
        # By the share of room that is left, so that large groups do not all go to one split.
        weights = np.array([sum(room[label, s] for label in need) for s in fits], float)
        chosen = rng.choice(fits, p=weights / weights.sum())
        for label, count in need.items():
            room[label, chosen] -= count
        split.iloc[members] = chosen
    if any(room.values()):
        raise SplitError(
            "The sizes of the split 'study' cannot be met without cutting groups apart. "
            f"{_what_is_there(rows)} Use data.split=group."
        )
    drawn = rows[split != ""]
    return _in_three(drawn, split[split != ""])


def _given(rows: pd.DataFrame, named: pd.Series, seed: int) -> pd.DataFrame:
    if not (named != "").all() or not len(rows):
        raise SplitError(
            "The split 'given' takes folders train/, val/ and test/; these images are not in such "
            "folders. Use data.split=group."
        )
    # The test part stays what its maker made it; twins of it are taken out of the others.
    order = {"test": 0, "val": 1, "train": 2}
    rank = named.map(order)
    kept = rank == rank.groupby(rows["group_id"]).transform("min")
    if not kept.all():
        warnings.warn(
            f"{(~kept).sum()} images are left out of train or val, since a near-duplicate or "
            "another image of the same patient is in a later part: the folders leak.",
            DataWarning,
            stacklevel=3,
        )
    rows, named = rows[kept], named[kept]
    missing = [split for split in SPLITS if not (named == split).any()]
    if missing == ["val"]:
        # A quarter of train, as val is to train and val together in 60/20/20.
        inner = rows[named == "train"]
        _check_classes(inner)
        fold = _folds(inner, seed)
        named = named.copy()
        named.loc[inner.index[fold == 0]] = "val"
    elif missing:
        raise SplitError(f"The folders hold no images for {' and '.join(missing)}. Add them.")
    for split in SPLITS:
        _check_classes(rows[named == split], f" in {split}")
    return _in_three(rows, named)


def _given_split(image_id: str) -> str:
    return split_of(image_id.partition("/")[2])


def _check_classes(rows: pd.DataFrame, where: str = "") -> None:
    for label in LABELS:
        if not (rows["label"] == label).any():
            raise SplitError(
                f"There are no images of {label}{where}. {_what_is_there(rows)} Training takes "
                "both classes: add the other, in a folder of its name."
            )


def _what_is_there(rows: pd.DataFrame) -> str:
    parts = [
        f"{(rows['label'] == label).sum()} images of {label} in "
        f"{rows.loc[rows['label'] == label, 'group_id'].nunique()} groups"
        for label in LABELS
    ]
    return f"There are {' and '.join(parts)}."


def _in_three(rows: pd.DataFrame, split: pd.Series) -> pd.DataFrame:
    return _table(rows, split.to_numpy(), split.map({"test": 0, "val": 1, "train": 2}).to_numpy())


def _table(rows: pd.DataFrame, split, fold) -> pd.DataFrame:
    table = pd.DataFrame({"image_id": rows["image_id"].to_numpy(), "split": split, "fold": fold})
    return table.reset_index(drop=True)
