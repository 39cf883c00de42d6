"""External leakage: near-duplicates of a run's own images among images for external validation.

A checksum finds the same file, but not a copy that was compressed, scaled or cropped, and a network
recognises both. A run stores no pixels, so its image files must still be where they were.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from breastus.data.images import ImageFile
from breastus.data.near_duplicates.search import SIDE, fingerprint, near_duplicates
from breastus.errors import ImageError
from breastus.utils.threads import in_threads


class ExternalLeakage(NamedTuple):
    """Result of the search."""

    duplicate_of: dict[str, str]  # id of a new image to id of the run's most similar image
    compared: int  # number of the run's images that the new ones were compared with
    missing: int  # number of the run's images whose file is missing or was changed


def find_external_leakage(
    new: pd.DataFrame, seen: pd.DataFrame, *, threshold: float
) -> ExternalLeakage:
    """Find the new images that are near-duplicates of an image of the run.

    `seen` are the manifest rows of its training and validation images. Two registered images are
    near-duplicates from the correlation `threshold` on.
    """
    old = _fingerprints(seen)
    there = np.array([small is not None for small in old], bool)
    counts = int(there.sum()), int((~there).sum())
    if not there.any() or new.empty:  # then the new ones need not be read
        return ExternalLeakage({}, *counts)
    fresh = _fingerprints(new)
    blank = np.zeros((SIDE, SIDE), np.uint8)  # similar to no other image
    prints = np.stack([small if small is not None else blank for small in (*old, *fresh)])
    pairs = near_duplicates(prints, threshold=threshold)
    between = (pairs.first < len(old)) & (pairs.second >= len(old))
    found = pd.DataFrame(
        {
            "new": new["image_id"].to_numpy()[pairs.second[between] - len(old)],
            "seen": seen["image_id"].to_numpy()[pairs.first[between]],
            "similarity": pairs.similarity[between],
        }
    )
    best = found.sort_values("similarity", ascending=False, kind="stable").drop_duplicates("new")
    return ExternalLeakage(dict(zip(best["new"], best["seen"], strict=True)), *counts)


def _fingerprints(manifest: pd.DataFrame) -> list[np.ndarray | None]:
    files = list(zip(manifest["path"], manifest["sha256"], strict=True))
    return list(in_threads(lambda file: _fingerprint(*file), files, "reading images"))


def _fingerprint(path: str, sha256: str) -> np.ndarray | None:
    try:
        file = ImageFile.read(path)
    except ImageError:
        return None
    return fingerprint(file.pixels) if file.sha256 == sha256 else None
