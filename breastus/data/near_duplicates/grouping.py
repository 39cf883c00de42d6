"""Groups and contradictions: a manifest and its images' fingerprints in, both marked out.

A group is what no split may cut apart. On BUSI 153 groups hold 346 images, as many as Pawlowska et
al. (Data in Brief 48, 2023, 109247) found when they compared all pairs by eye.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from breastus.data.near_duplicates.search import near_duplicates

# Two images of one scene, in the manifest's order; how alike they are (1: the same); and whether
# the one is a `near-duplicate` of the other, or of the other `mirrored`.
TWIN_COLUMNS = ("image_id", "twin_id", "similarity", "kind")


def components(count: int, first: Sequence[int], second: Sequence[int]) -> np.ndarray:
    """Return the number of the connected component of each of `count` nodes."""
    graph = coo_array((np.ones(len(first), bool), (first, second)), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def curate(
    manifest: pd.DataFrame,
    fingerprints: np.ndarray,
    *,
    threshold: float,
    exclude_contradictions: bool,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fill `group_id`, and mark near-duplicates that contradict each other as excluded.

    A group is what must never be split apart: images of one patient, near-duplicates, and whatever
    these two join. It is named after its first image.

    Args:
        manifest: rows with `image_id`, `patient_id`, `sha256`, `finding`, `label` and `excluded`.
        fingerprints: uint8 [n, 64, 64], one for each row; zeros for unreadable images.
        threshold: correlation from which two registered images are near-duplicates.
        exclude_contradictions: whether contradicting images get a reason in `excluded`.

    Returns:
        A copy with both columns filled; and the pairs of images that are one scene, a table with
        the columns of `TWIN_COLUMNS`.
    """
    table = manifest.reset_index(drop=True).copy()
    count = len(table)
    pairs = near_duplicates(fingerprints, threshold=threshold)
    names = table["image_id"].to_numpy()
    twins = pd.DataFrame(
        {
            "image_id": names[pairs.first],
            "twin_id": names[pairs.second],
            "similarity": pairs.similarity,
            "kind": np.where(pairs.mirrored, "mirrored", "near-duplicate"),
        },
        columns=list(TWIN_COLUMNS),
    )
    same_file = _links(table["sha256"])
    duplicates = np.hstack([np.stack([pairs.first, pairs.second]), same_file]).astype(int)

    everything = np.hstack([duplicates, _links(table["patient_id"])]).astype(int)
    group = components(count, *everything)
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
        several = np.bincount(scene)[scene] > 1
        for _, rows in table[several].groupby(scene[several]):
            _mark_contradictions(table, rows)
    return table, twins


def _mark_contradictions(table: pd.DataFrame, rows: pd.DataFrame) -> None:
    known = known_findings(rows)
    if not contradicting(known):
        return
    for index in rows.index:
        if table.at[index, "excluded"]:
            continue  # the first reason stands
        other = next(o for o in rows.index if contradicting((known[index], known[o])))
        table.at[index, "excluded"] = (
            f"contradiction: near-duplicate of {table.at[other, 'image_id']}, "
            f"which is {known[other]} and not {known[index]}"
        )


def known_findings(rows: pd.DataFrame) -> pd.Series:
    """Return each row's finding, or its label where the finding is unknown, or ""."""
    return rows["finding"].where(rows["finding"] != "unknown", rows["label"])


def contradicting(findings: Iterable[str]) -> tuple[str, ...]:
    """Return, of what is known of one scene, what cannot all be true; nothing if it can.

    "lump" without a kind agrees with benign and with malignant, "no_lump" with normal.
    """
    known = set(findings) - {""}
    if "lump" in known:
        known -= {"benign", "malignant"}
    if "no_lump" in known:
        known -= {"normal"}
    return tuple(sorted(known)) if len(known) > 1 else ()


def _links(values: pd.Series) -> np.ndarray:
    """Return [2, k] pairs that join rows of equal value; the empty value joins nothing."""
    pairs = [
        (rows[0], row)
        for value, rows in values.groupby(values).indices.items()
        if value
        for row in rows[1:]
    ]
    return np.array(pairs, int).reshape(-1, 2).T
