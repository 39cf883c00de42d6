"""Leaks of a split: held-out images with a near-duplicate, or the same patient, in training.

    twins_in_training(members, manifest, pairs)   # one row for each held-out image that has a twin
    random_split_leakage(manifest, pairs)         # what to expect of a random split of images

A near-duplicate is another image of the same scene, or the same file under another name.
"""

import numpy as np
import pandas as pd

from breastus.data.manifest.merge import patient_keys
from breastus.data.near_duplicates.grouping import PAIR_COLUMNS

# Kinds of pairs that `near_duplicate_pairs` does not know.
SAME_FILE, SAME_IMAGE, SAME_PATIENT = "same file", "same image", "same patient"
HELD_OUT = ("val", "test")


def duplicate_pairs(manifest: pd.DataFrame, near_duplicates: pd.DataFrame) -> pd.DataFrame:
    """Return all near-duplicate pairs of a manifest, including equal files.

    Args:
        manifest: rows with `image_id` and `sha256`.
        near_duplicates: pairs found by `breastus.data.manifest.build.build_manifest_with_pairs`.

    Returns:
        `image_id`, `duplicate_id`, `similarity` and `kind` (text), one row for each pair.
    """
    table = near_duplicates[list(PAIR_COLUMNS)].copy()
    sha256 = manifest.set_index("image_id")["sha256"]
    equal = table["image_id"].map(sha256).eq(table["duplicate_id"].map(sha256))
    table.loc[equal & table["image_id"].map(sha256).ne(""), "kind"] = SAME_FILE
    # Equal files without structure, such as two black ones, correlate with nothing.
    files = manifest[["image_id", "sha256"]].assign(position=range(len(manifest)))
    files = files[(files["sha256"] != "") & files["sha256"].duplicated(keep=False)]
    copies = files.merge(files, on="sha256", suffixes=("", "_duplicate"))
    copies = copies[copies["position"] < copies["position_duplicate"]]
    copies = copies.rename(columns={"image_id_duplicate": "duplicate_id"})
    copies = copies.assign(similarity=1.0, kind=SAME_FILE)[table.columns]
    table = pd.concat([table, copies], ignore_index=True)
    pair = [frozenset(ends) for ends in zip(table["image_id"], table["duplicate_id"], strict=True)]
    return table[~pd.Series(pair, dtype=object).duplicated()].reset_index(drop=True)


def twins_in_training(
    members: pd.DataFrame, manifest: pd.DataFrame, pairs: pd.DataFrame
) -> pd.DataFrame:
    """Return the held-out images that have a twin in training: a near-duplicate or their patient.

    Args:
        members: `image_id` and `split` (train, val, test), or, for folds, `image_id` and `fold`:
            each fold is tested by a model that learned from all others. An image may be listed
            several times.
        manifest: table of all these images, with `source` and `patient_id`.
        pairs: result of `duplicate_pairs`.

    Returns:
        A table of `image_id`, `split` (val, test; in folds test), `duplicate_id` (the twin),
        `similarity` (NaN for a patient), `kind`, `near_duplicate` and `same_patient` (bool, whether
        training has one), one row for each held-out image with a twin, the most similar first. Its
        twin is the most similar near-duplicate, or else an image of the same patient.
    """
    both_ways, patient_of = _both_ways(pairs), patient_keys(manifest.set_index("image_id"))
    if "split" in members:
        return _twins(members, both_ways, patient_of)
    found = [
        _twins(
            members.assign(split=np.where(members["fold"] == fold, "test", "train")),
            both_ways,
            patient_of,
        )
        for fold in sorted(members["fold"].unique())
    ]
    return _most_similar_first(pd.concat(found))


def _twins(members: pd.DataFrame, both_ways: pd.DataFrame, patient_of: pd.Series) -> pd.DataFrame:
    """Return the result of `twins_in_training` for images in train, val and test."""
    train = members.loc[members["split"] == "train", "image_id"].drop_duplicates()
    in_train = both_ways[both_ways["duplicate_id"].isin(train)]
    same = pd.DataFrame(
        {"image_id": train, "duplicate_id": train, "similarity": 1.0, "kind": SAME_IMAGE}
    )
    best = _most_similar_first(pd.concat([same, in_train])).drop_duplicates("image_id")

    of_patient = train.groupby(patient_of[train].to_numpy()).first()
    of_patient = of_patient[of_patient.index != ""]

    held_out = members.loc[members["split"].isin(HELD_OUT), ["image_id", "split"]]
    held_out = held_out.merge(best, on="image_id", how="left")
    held_out["near_duplicate"] = held_out["duplicate_id"].notna()
    seen = held_out["image_id"].map(patient_of).map(of_patient)
    held_out["same_patient"] = seen.notna()
    held_out["duplicate_id"] = held_out["duplicate_id"].where(held_out["near_duplicate"], seen)
    held_out["kind"] = held_out["kind"].where(held_out["near_duplicate"], SAME_PATIENT)
    found = held_out[held_out["near_duplicate"] | held_out["same_patient"]]
    columns = ["image_id", "split", *PAIR_COLUMNS[1:], "near_duplicate", "same_patient"]
    return _most_similar_first(found[columns])


def _most_similar_first(table: pd.DataFrame) -> pd.DataFrame:
    return table.sort_values("similarity", ascending=False, kind="stable", ignore_index=True)


def leakage_rates(members: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """Count the twins of each held-out part.

    Args:
        members, found: argument and result of `twins_in_training`.

    Returns:
        One row for each of val and test that has images; columns `images`, `near_duplicate`,
        `same_patient`, `leaked` (images with either), and `rate` (of images that leak, 0 to 1).
    """
    parts = members.get("split", pd.Series("test", index=members.index))
    rows = {}
    for split in HELD_OUT:
        count = int((parts == split).sum())
        if count:
            part = found[found["split"] == split]
            rows[split] = {
                "images": count,
                "near_duplicate": int(part["near_duplicate"].sum()),
                "same_patient": int(part["same_patient"].sum()),
                "leaked": len(part),
                "rate": len(part) / count,
            }
    return pd.DataFrame.from_dict(
        rows, orient="index", columns=["images", "near_duplicate", "same_patient", "leaked", "rate"]
    )


def random_split_leakage(
    manifest: pd.DataFrame, pairs: pd.DataFrame, *, patients: bool = False, test: float
) -> float:
    """Return the expected proportion of test images that leak in a random split of images.

    This is exact: an image with k near-duplicates among n images has all of them in a test part of
    m images with probability (m-1)/(n-1) x (m-2)/(n-2) x ... (k factors), and at least one in
    training otherwise.

    Args:
        manifest: images that are split one by one.
        pairs: result of `duplicate_pairs`; pairs with other images do not count.
        patients: true to count images of the same patient as near-duplicates.
        test: proportion of images in the test part.

    Returns:
        The mean over all such splits, 0 to 1; NaN if a part would be empty.
    """
    count = len(manifest)
    tested = round(test * count)
    if not 0 < tested < count:
        return float("nan")
    both_ways = _both_ways(pairs)
    here = both_ways[
        both_ways["image_id"].isin(manifest["image_id"])
        & both_ways["duplicate_id"].isin(manifest["image_id"])
    ]
    patient = patient_keys(manifest.set_index("image_id"))
    related = pd.Series(0, index=patient.index)
    if patients:
        known = patient[patient != ""]
        related[known.index] = known.groupby(known).transform("size") - 1
        first, second = here["image_id"].map(patient), here["duplicate_id"].map(patient)
        here = here[(first != second) | (first == "")]
    related = related.add(here["image_id"].value_counts(), fill_value=0).astype(int).to_numpy()
    factors = np.clip((tested - np.arange(1, count)) / (count - np.arange(1, count)), 0, None)
    all_tested = np.concatenate([[1.0], np.cumprod(factors)])
    return float(1 - all_tested[related].mean())


def _both_ways(pairs: pd.DataFrame) -> pd.DataFrame:
    turned = pairs.rename(columns={"image_id": "duplicate_id", "duplicate_id": "image_id"})
    return pd.concat([pairs, turned], ignore_index=True)
