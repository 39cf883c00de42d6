"""Benchmark splits: a file from which anyone can train and be tested as breastus is, and its name.

    image_id,file,sha256,pixel_sha256,label,finding,group_id,fold,excluded
    busi/benign (1),benign/benign (1).png,1782...,90b1...,lump,benign,busi/benign (1),3,
    busi/benign (9),benign/benign (9).png,77aa...,,lump,benign,busi/benign (9),,known fault: ...

`fold` is the fold in which an image is tested. Fold k is tested by a model that may use the others
in any way; breastus validates on fold k + 1 (after the last comes 0) and trains on the others. A
split without folds has a column `split` (train, val, test) instead.

A split is known by its fingerprint: a checksum of which pixels, with which label, are in which
fold. File checksums are not part of it, so that files saved again without loss stay the same.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from breastus.config.schema import DataConfig
from breastus.data.images import read_image
from breastus.data.manifest.schema import UNREADABLE, included
from breastus.data.splits.make import make_splits_of_settings
from breastus.utils.files import write_csv, write_json
from breastus.utils.threads import in_threads

# Name to fingerprint. `busi-scenes-v1`: five folds of scenes of BUSI without its known faults, by
# the default settings and seed 0; 673 images. A name never changes its meaning: other folds, for
# example of a better search for near-duplicates, get the next number.
NAMED_SPLITS = {
    "busi-scenes-v1": "d73939530e0a29b789b7fa454d6ce8eb7040643caff82198a62862a2955ca681",
}
FOLD, SPLIT = "fold", "split"
FORMATS = ("csv", "json")
_FACTS = ("image_id", "file", "sha256", "pixel_sha256", "label", "finding", "group_id")


@dataclass(frozen=True)
class BenchmarkSplit:
    """Images, each with its fold or split, and the excluded images.

    Attributes:
        by: `fold`, or `split` for a split without folds.
        images: one row an image: `image_id`, `file` (relative to `folder`), `sha256` (of the
            file), `pixel_sha256` (see `pixel_checksum`), `label`, `finding`, `group_id` and a
            column named by `by`: a whole number, or train, val or test.
        excluded: the other images, with the same columns and the reason in `excluded`.
        parts: fold or split by image id, of excluded images too if a file names one for them.
        folder: folder that all files are in.
    """

    by: str
    images: pd.DataFrame
    excluded: pd.DataFrame
    parts: pd.Series
    folder: Path

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the sorted lines `pixel_sha256 label part`, 64 hexadecimal digits."""
        lines = sorted(
            " ".join(map(str, row))
            for row in self.images[["pixel_sha256", "label", self.by]].to_numpy()
        )
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    @property
    def name(self) -> str:
        """The name of the split, or `split-` and the first digits of its fingerprint."""
        return name_of(self.fingerprint)

    @property
    def is_named(self) -> bool:
        """Whether this is one of `NAMED_SPLITS`."""
        return self.name in NAMED_SPLITS

    @property
    def tested(self) -> pd.DataFrame:
        """The images that are tested: in folds all of them, else the images of `test`."""
        return self.images if self.by == FOLD else self.images[self.images[SPLIT] == "test"]

    @property
    def folds(self) -> list[int]:
        """The numbers of the folds, rising; none in a split without folds."""
        return sorted(self.images[FOLD].unique().tolist()) if self.by == FOLD else []


def name_of(fingerprint: str) -> str:
    """Return the name of a fingerprint: one of `NAMED_SPLITS`, or `split-` and twelve digits."""
    names = (name for name, known in NAMED_SPLITS.items() if known == fingerprint)
    return next(names, f"split-{fingerprint[:12]}")


def make_benchmark_split(manifest: pd.DataFrame, settings: DataConfig, seed: int) -> BenchmarkSplit:
    """Split the images of a manifest as the settings say.

    `kfold` gives the folds of the first repeat of `breastus train --folds`.

    Raises:
        SplitError: see `breastus.data.splits.make.make_splits`.
        ImageError: if an image cannot be read.
    """
    splits = make_splits_of_settings(manifest, settings, seed)
    by = FOLD if settings.split == "kfold" else SPLIT
    return with_parts(manifest, splits.set_index("image_id")[by], by)


def with_parts(
    manifest: pd.DataFrame, parts: pd.Series, by: str, *, others: str = "in no part of this split"
) -> BenchmarkSplit:
    """Return the included images of a manifest with their parts as a benchmark split.

    Args:
        manifest: manifest of the images, whose files are read for their checksums.
        parts: fold or split by image id; images that the manifest excludes may be among them.
        by: `fold` or `split`.
        others: reason of included images without a part.
    """
    folder = _folder_of(manifest["path"])
    rows = manifest.assign(file=[_relative(path, folder) for path in manifest["path"]])
    rows[by] = rows["image_id"].map(parts)
    used = rows["image_id"].isin(included(manifest)["image_id"]) & rows[by].notna()
    images = rows[used].astype({by: int if by == FOLD else str})
    images = images.assign(pixel_sha256=pixel_checksums(images["path"]))
    left_out = rows[~used].assign(**{by: "", "pixel_sha256": ""})
    # The reason of an unreadable file names a folder of this machine.
    reasons = left_out["excluded"].str.replace(rf"^{UNREADABLE}.*", UNREADABLE, regex=True)
    reasons = reasons.mask((reasons == "") & (left_out["label"] == ""), "no label")
    columns = [*_FACTS, by]
    return BenchmarkSplit(
        by,
        images[columns].reset_index(drop=True),
        left_out.assign(excluded=reasons.replace("", others))[[*columns, "excluded"]].reset_index(
            drop=True
        ),
        parts,
        folder,
    )


def pixel_checksums(paths: Sequence[str]) -> list[str]:
    """Return the `pixel_checksum` of each image file."""
    return list(in_threads(lambda path: pixel_checksum(read_image(path)), paths, "reading images"))


def pixel_checksum(pixels: np.ndarray) -> str:
    """Return the SHA-256 of an image, uint8 [H, W, 3], that does not depend on its file format.

    It is of the line `HEIGHTxWIDTH`, its line feed, and the RGB bytes row by row.
    """
    height, width = pixels.shape[:2]
    size = f"{height}x{width}\n".encode()
    return hashlib.sha256(size + np.ascontiguousarray(pixels).tobytes()).hexdigest()


def write_benchmark_split(split: BenchmarkSplit, path: str | os.PathLike, format: str) -> None:
    """Write a benchmark split.

    `csv` has a row for each image, excluded ones last, which have no part. `json` says the same,
    with the name, the fingerprint, and for each fold which folds are test, val and train.
    """
    table = pd.concat([split.images.assign(excluded=""), split.excluded], ignore_index=True)
    if format == "csv":
        write_csv(path, table)
        return
    images, left_out = (
        part.to_dict("records") for part in (split.images, split.excluded.drop(columns=split.by))
    )
    facts = {"name": split.name, "fingerprint": split.fingerprint, "tested_by": split.by}
    if split.folds:
        facts["folds"] = [parts_of_fold(fold, split.folds) for fold in split.folds]
    write_json(path, {**facts, "images": images, "excluded": left_out})


def parts_of_fold(fold: int, folds: list[int]) -> dict[str, list[int]]:
    """Return which folds breastus takes as `test`, `val` and `train` when it tests a fold."""
    val = folds[(folds.index(fold) + 1) % len(folds)]
    return {
        "test": [fold],
        "val": [val],
        "train": [number for number in folds if number not in (fold, val)],
    }


def _folder_of(paths: pd.Series) -> Path:
    """Return the innermost folder that holds all files."""
    return Path(os.path.commonpath([os.path.dirname(path) for path in paths]))


def _relative(path: str, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()
