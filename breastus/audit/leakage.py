"""Leaks of a split: images held out of training that have a twin, or their patient, in it.

    found = leaks(members, manifest, twins)       # one row a held-out image that leaks
    random_split_share(manifest, twins)           # what a split drawn image by image would give

A twin is another image of the same scene: a near-duplicate, or the same file under another name.
"""

import numpy as np
import pandas as pd

from breastus.data.near_duplicates.grouping import PAIR_COLUMNS

# Besides what `twins` calls them.
SAME_FILE, SAME_IMAGE, SAME_PATIENT = "same file", "same image", "same patient"
HELD_OUT = ("val", "test")


def twin_links(manifest: pd.DataFrame, twins: pd.DataFrame) -> pd.DataFrame:
    """Return all pairs of twins of a manifest, those of equal files included.

    Args:
        manifest: rows with `image_id` and `sha256`.
        twins: as from `breastus.data.manifest.build.build_manifest_with_pairs`.

    Returns:
        A table of `image_id`, `twin_id`, `similarity` and `kind` (text), one row a pair.
    """
    table = twins[list(PAIR_COLUMNS)].copy()
    sha256 = manifest.set_index("image_id")["sha256"]
    equal = table["image_id"].map(sha256).eq(table["twin_id"].map(sha256))
    table.loc[equal & table["image_id"].map(sha256).ne(""), "kind"] = SAME_FILE
    # Equal files without structure, such as two black ones, correlate with nothing.
    files = manifest[["image_id", "sha256"]].assign(position=range(len(manifest)))
    files = files[(files["sha256"] != "") & files["sha256"].duplicated(keep=False)]
    copies = files.merge(files, on="sha256", suffixes=("", "_twin"))
    copies = copies[copies["position"] < copies["position_twin"]]
    copies = copies.rename(columns={"image_id_twin": "twin_id"})[["image_id", "twin_id"]]
    copies = copies.assign(similarity=1.0, kind=SAME_FILE)
    table = pd.concat([table, copies], ignore_index=True)
    pair = [frozenset(ends) for ends in zip(table["image_id"], table["twin_id"], strict=True)]
    return table[~pd.Series(pair, dtype=object).duplicated()].reset_index(drop=True)


def leaks(members: pd.DataFrame, manifest: pd.DataFrame, links: pd.DataFrame) -> pd.DataFrame:
    """Return the held-out images that training has seen, or nearly.

    Args:
        members: `image_id` and `split`; an image may stand in several splits.
        manifest: holds all of them, with `patient_id`.
        links: as from `twin_links`.

    Returns:
        A table of `image_id`, `split` (val, test), `twin_id` (in train), `similarity` (NaN for a
        patient), `kind`, `twin` and `patient` (bool: whether training holds a twin, and the same
        patient). One row a held-out image that leaks, the most alike first; its pair is the most
        similar twin, else an image of the same patient.
    """
    both_ways = _both_ways(links)
    patient_of = manifest.set_index("image_id")["patient_id"]
    train = members.loc[members["split"] == "train", "image_id"].drop_duplicates()
    in_train = both_ways[both_ways["twin_id"].isin(train)]
    same = pd.DataFrame(
        {"image_id": train, "twin_id": train, "similarity": 1.0, "kind": SAME_IMAGE}
    )
    best = pd.concat([same, in_train]).sort_values("similarity", ascending=False, kind="stable")
    best = best.drop_duplicates("image_id")

    of_patient = train.groupby(patient_of[train].to_numpy()).first()
    of_patient = of_patient[of_patient.index != ""]

    held_out = members[members["split"].isin(HELD_OUT)].merge(best, on="image_id", how="left")
    held_out["twin"] = held_out["twin_id"].notna()
    seen = held_out["image_id"].map(patient_of).map(of_patient)
    held_out["patient"] = seen.notna()
    held_out["twin_id"] = held_out["twin_id"].where(held_out["twin"], seen)
    held_out["kind"] = held_out["kind"].where(held_out["twin"], SAME_PATIENT)
    found = held_out[held_out["twin"] | held_out["patient"]]
    columns = ["image_id", "split", "twin_id", "similarity", "kind", "twin", "patient"]
    return found.sort_values("similarity", ascending=False, kind="stable")[columns].reset_index(
        drop=True
    )


def leak_shares(members: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """Count the leaks of each held-out split.

    Args:
        members: `image_id` and `split`.
        found: as from `leaks`.

    Returns:
        Index val and test as far as they have images; columns `images`, `twin`, `patient` and
        `either` (counts), and `share` (of images with either, 0 to 1).
    """
    rows = {}
    for split in HELD_OUT:
        count = int((members["split"] == split).sum())
        if count:
            part = found[found["split"] == split]
            rows[split] = {
                "images": count,
                "twin": int(part["twin"].sum()),
                "patient": int(part["patient"].sum()),
                "either": len(part),
                "share": len(part) / count,
            }
    return pd.DataFrame.from_dict(
        rows, orient="index", columns=["images", "twin", "patient", "either", "share"]
    )


def random_split_share(
    manifest: pd.DataFrame, links: pd.DataFrame, *, patients: bool = False, test: float = 0.2
) -> float:
    """Return the share of test images with a twin in training that a random split must expect.

    Exact: an image with k twins among n, in a test part of m, has all of them in the test part with
    probability (m-1)/(n-1) x (m-2)/(n-2) x ... (k factors), and else at least one in training.

    Args:
        manifest: the images that are split, image by image.
        links: as from `twin_links`; pairs with images that are not among them do not count.
        patients: count images of the same patient as twins.
        test: share of the images that is tested.

    Returns:
        The mean over all such splits, 0 to 1; NaN where a part would be empty.
    """
    count = len(manifest)
    tested = round(test * count)
    if not 0 < tested < count:
        return float("nan")
    both_ways = _both_ways(links)
    here = both_ways[
        both_ways["image_id"].isin(manifest["image_id"])
        & both_ways["twin_id"].isin(manifest["image_id"])
    ]
    patient = manifest.set_index("image_id")["patient_id"]
    related = pd.Series(0, index=patient.index)
    if patients:
        known = patient[patient != ""]
        related[known.index] = known.groupby(known).transform("size") - 1
        first, second = here["image_id"].map(patient), here["twin_id"].map(patient)
        here = here[(first != second) | (first == "")]
    related = related.add(here["image_id"].value_counts(), fill_value=0).astype(int).to_numpy()
    factors = np.clip((tested - np.arange(1, count)) / (count - np.arange(1, count)), 0, None)
    all_tested = np.concatenate([[1.0], np.cumprod(factors)])
    return float(1 - all_tested[related].mean())


def _both_ways(links: pd.DataFrame) -> pd.DataFrame:
    turned = links.rename(columns={"image_id": "twin_id", "twin_id": "image_id"})
    return pd.concat([links, turned], ignore_index=True)
