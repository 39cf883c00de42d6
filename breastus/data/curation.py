"""Near-duplicates and contradictions: thumbnails in, groups and reasons for exclusion out.

Two images are near-duplicates when their high-pass thumbnails correlate: what is left when slow
changes of brightness are taken out is the arrangement of tissue, which gain, size, re-encoding and
small crops hardly touch. On BUSI this finds 140 groups that hold 315 images; comparing all pairs by
eye, Pawlowska et al. (Data in Brief 48, 2023, 109247) found 153 that hold 346.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from breastus.opencv import cv2

THUMBNAIL = 48  # pixels a side
# Two images of one scene, in the manifest's order, and how alike they are (1: the same).
TWIN_COLUMNS = ("image_id", "twin_id", "similarity")
_BLUR = 5.0  # standard deviation of the low-pass that is taken out, in thumbnail pixels
_BLACK = 10  # grey level up to which a border counts as black, as in the image transform
_CHUNK = 2048  # rows of the correlation matrix held at a time


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """Return an image's high-pass thumbnail.

    Args:
        pixels: uint8 [H, W, 3], RGB.

    Returns:
        float32 [48 * 48], mean 0 and length 1, so that a product of two is their correlation; all
        zeros for an image without structure, which then correlates with nothing.
    """
    grey = pixels.mean(axis=-1, dtype=np.float32)
    bright = grey > _BLACK
    rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    if rows.size:
        grey = grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    small = cv2().resize(grey, (THUMBNAIL, THUMBNAIL), interpolation=cv2().INTER_AREA)
    high = small - cv2().GaussianBlur(small, (0, 0), _BLUR)
    flat = high.ravel() - high.mean()
    length = np.linalg.norm(flat)
    return flat / length if length > 1e-3 else np.zeros_like(flat)


def near_duplicate_pairs(
    thumbnails: np.ndarray, *, threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pairs whose thumbnails correlate.

    Args:
        thumbnails: float32 [n, d], as from `thumbnail`.
        threshold: correlation from which two are a pair.

    Returns:
        Three arrays: first index, second index (larger), correlation.
    """
    found = []
    for start in range(0, len(thumbnails), _CHUNK):
        block = thumbnails[start : start + _CHUNK] @ thumbnails[start:].T
        first, second = np.nonzero(np.triu(block >= threshold, k=1))
        found.append((first + start, second + start, block[first, second]))
    if not found:
        return np.empty(0, int), np.empty(0, int), np.empty(0, np.float32)
    return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))


def components(count: int, first: Sequence[int], second: Sequence[int]) -> np.ndarray:
    """Return the number of the connected component of each of `count` nodes."""
    graph = coo_array((np.ones(len(first), bool), (first, second)), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def curate(
    manifest: pd.DataFrame,
    thumbnails: np.ndarray,
    *,
    threshold: float,
    exclude_contradictions: bool,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fill `group_id`, and mark near-duplicates that contradict each other as excluded.

    A group is what must never be split apart: images of one patient, near-duplicates, and whatever
    these two join. It is named after its first image.

    Args:
        manifest: rows with `image_id`, `patient_id`, `sha256`, `finding`, `label` and `excluded`.
        thumbnails: float32 [n, d], one for each row; zeros for unreadable images.
        threshold: correlation from which two images are near-duplicates.
        exclude_contradictions: whether contradicting images get a reason in `excluded`.

    Returns:
        A copy with both columns filled; and the pairs of images that are one scene, a table with
        the columns of `TWIN_COLUMNS`.
    """
    table = manifest.reset_index(drop=True).copy()
    count = len(table)
    first, second, similarity = near_duplicate_pairs(thumbnails, threshold=threshold)
    same_file = _links(table["sha256"])
    twins = pd.DataFrame(
        {
            "image_id": table["image_id"].to_numpy()[first],
            "twin_id": table["image_id"].to_numpy()[second],
            "similarity": similarity,
        },
        columns=list(TWIN_COLUMNS),
    )
    duplicates = np.hstack([np.stack([first, second]), same_file]).astype(int)

    everything = np.hstack([duplicates, _links(table["patient_id"])]).astype(int)
    group = components(count, *everything)
    names = table["image_id"].to_numpy()
    first_of_group = pd.Series(names).groupby(group).transform("first")
    table["group_id"] = first_of_group.to_numpy()

    if exclude_contradictions:
        # Frames of one patient's sweep look alike and rightly differ once the lump leaves the view;
        # so only images whose patients are unknown, or differ, contradict each other.
        patients = table["patient_id"].to_numpy()
        same_patient = (patients[duplicates[0]] == patients[duplicates[1]]) & (
            patients[duplicates[0]] != ""
        )
        scene = components(count, *duplicates[:, ~same_patient])
        for _, rows in table.groupby(scene):
            _mark_contradictions(table, rows)
    return table, twins


def _mark_contradictions(table: pd.DataFrame, rows: pd.DataFrame) -> None:
    known = rows["finding"].where(rows["finding"] != "unknown", rows["label"])
    if len(rows) == 1 or not _contradict(set(known) - {""}):
        return
    for index in rows.index:
        if table.at[index, "excluded"]:
            continue  # the first reason stands
        other = next(o for o in rows.index if _contradict({known[index], known[o]}))
        table.at[index, "excluded"] = (
            f"contradiction: near-duplicate of {table.at[other, 'image_id']}, "
            f"which is {known[other]} and not {known[index]}"
        )


def _contradict(findings: set[str]) -> bool:
    # "lump" without a kind agrees with benign and with malignant, "no_lump" with normal.
    if "lump" in findings:
        findings = findings - {"benign", "malignant"}
    if "no_lump" in findings:
        findings = findings - {"normal"}
    return len(findings) > 1


def _links(values: pd.Series) -> np.ndarray:
    """Return [2, k] pairs that join rows of equal value; the empty value joins nothing."""
    pairs = [
        (rows[0], row)
        for value, rows in values.groupby(values).indices.items()
        if value
        for row in rows[1:]
    ]
    return np.array(pairs, int).reshape(-1, 2).T
