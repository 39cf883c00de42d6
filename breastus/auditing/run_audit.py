"""Data audit: content, near-duplicates, contradictions, leakage and shortcuts of a data set."""

import warnings
from dataclasses import dataclass

import pandas as pd

from breastus.auditing.leakage import (
    duplicate_pairs,
    leakage_rates,
    random_split_leakage,
    twins_in_training,
)
from breastus.auditing.measure import measure
from breastus.auditing.scenes import Scene, scenes
from breastus.auditing.shortcuts import flags_by_label, statistics_by_label
from breastus.config.schema import DataConfig
from breastus.data.manifest.build import ManifestWithPairs
from breastus.data.manifest.schema import included
from breastus.data.splits.folders import splits_of_folders
from breastus.data.splits.make import make_splits_of_settings
from breastus.errors import DataError, DataWarning, SplitError
from breastus.labels import LABELS

RANDOM_TEST_SHARE = 0.2


@dataclass(frozen=True)
class SplitAudit:
    """A split and its leaks.

    Attributes:
        title: name of the split in a sentence, such as "the split mine.csv".
        own: true for a split that breastus made.
        members: table of `image_id` and `split` (in folds `fold 0`, ...).
        trained: number of training images; None in folds, where it differs.
        leaks: result of `twins_in_training`.
        rates: result of `leakage_rates`.
    """

    title: str
    own: bool
    members: pd.DataFrame
    trained: int | None
    leaks: pd.DataFrame
    rates: pd.DataFrame


@dataclass(frozen=True)
class Audit:
    """Result of an audit.

    Attributes:
        manifest: the images, with the columns of `breastus.data.manifest.build.COLUMNS`.
        pairs: near-duplicate pairs, result of `duplicate_pairs`.
        scenes: groups of near-duplicates, the most alarming first.
        measured: result of `measure`.
        flags: result of `flags_by_label` for the images in use.
        statistics: result of `statistics_by_label` for the images in use.
        splits: split of the user or of the folders if there is one, then the split by breastus.
        split_error: reason why breastus cannot split these images, or "".
        random_split: expected leakage of a random 80/20 split of images: rows `readable` and
            `used`; columns `images`, `near_duplicate` and `leaked` (proportions of the test images,
            0 to 1).
        threshold: similarity from which two images count as near-duplicates.
    """

    manifest: pd.DataFrame
    pairs: pd.DataFrame
    scenes: list[Scene]
    measured: pd.DataFrame
    flags: pd.DataFrame
    statistics: pd.DataFrame
    splits: list[SplitAudit]
    split_error: str
    random_split: pd.DataFrame
    threshold: float

    @property
    def used(self) -> pd.DataFrame:
        """The rows of the manifest that have a label and are not excluded."""
        return included(self.manifest)

    @property
    def patients_known(self) -> bool:
        """Whether the patient of any image is known."""
        return bool((self.manifest["patient_id"] != "").any())

    @property
    def unreadable(self) -> dict[str, str]:
        """Image id to the problem, for images that cannot be read."""
        problem = self.measured["problem"]
        return problem[problem != ""].to_dict()

    @property
    def mask_like(self) -> list[str]:
        """Ids of images that look like lesion masks or blank images, and are not excluded."""
        rows = self.manifest.set_index("image_id")
        return list(rows.index[self.measured["mask_like"] & (rows["excluded"] == "")])

    def masks(self) -> dict[str, pd.Index]:
        """Return the ids of images whose masks have a problem, by problem."""
        rows = self.manifest.set_index("image_id")
        lump, none = (rows["label"] == label for label in reversed(LABELS))
        facts = self.measured
        empty = facts["mask_share"] == 0
        return {
            "lump without a mask": rows.index[lump & (facts["masks"] == 0)],
            "lump whose mask is empty": rows.index[lump & empty],
            "no lump, and a mask that is not empty": rows.index[none & (facts["mask_share"] > 0)],
            "mask of another size than its image": rows.index[facts["mask_resized"]],
            "mask with many grey levels, which may be an image": rows.index[facts["mask_grey"]],
            "mask that cannot be read": rows.index[facts["mask_problem"] != ""],
        }


def run_audit(
    data: ManifestWithPairs,
    *,
    members: pd.DataFrame | None,
    title: str,
    settings: DataConfig,
    seed: int,
) -> Audit:
    """Audit a data set and its split.

    Args:
        data: result of `breastus.data.manifest.build.build_manifest_with_pairs`.
        members: `image_id`, and `split` or `fold`, of the split to audit; None takes the folders
            train/, val/ and test/ if they exist.
        title: name of the split in a sentence, such as "the split mine.csv".
        settings: threshold of near-duplicates, and scheme of the split that breastus makes.
        seed: seed of the split that breastus makes.

    Raises:
        DataError: if the manifest is empty.
    """
    manifest = data.manifest.reset_index(drop=True)
    if manifest.empty:
        raise DataError("The manifest holds no images to audit. Name a data set with images.")
    pairs = duplicate_pairs(manifest, data.near_duplicate_pairs)
    if members is None and (members := splits_of_folders(manifest)) is not None:
        title = "the split of the folders"
    splits = [_audit_split(title, members, manifest, pairs)] if members is not None else []
    own, problem = _own_split(manifest, settings, seed)
    if own is not None:
        splits.append(_audit_split("breastus’ own split", own, manifest, pairs, own=True))
    measured = measure(manifest)
    used = included(manifest)
    return Audit(
        manifest=manifest,
        pairs=pairs,
        scenes=scenes(manifest, pairs),
        measured=measured,
        flags=flags_by_label(used),
        statistics=statistics_by_label(used, measured),
        splits=splits,
        split_error=problem,
        random_split=_random_split(manifest, pairs, measured),
        threshold=settings.duplicate_threshold,
    )


def pairs_table(audit: Audit) -> pd.DataFrame:
    """Return all near-duplicate pairs with finding, source, exclusion and split of both images.

    The split is the first one of the audit; several splits of one image are joined by `;`.
    """
    table = audit.pairs.copy()
    rows = audit.manifest.set_index("image_id")
    for column in ("finding", "source", "excluded"):
        for end, prefix in (("image_id", ""), ("duplicate_id", "duplicate_")):
            table[prefix + column] = table[end].map(rows[column])
    # The reason names the folder, which is not recorded.
    for column in ("excluded", "duplicate_excluded"):
        table[column] = table[column].str.replace(r"^unreadable.*", "unreadable", regex=True)
    if audit.splits:
        where = audit.splits[0].members.groupby("image_id")["split"].agg(";".join)
        table["split"] = table["image_id"].map(where).fillna("")
        table["duplicate_split"] = table["duplicate_id"].map(where).fillna("")
    return table


def twins_table(audit: Audit) -> pd.DataFrame:
    """Return the held-out images of the first split that have a twin in training.

    Columns `image_id`, `split`, `finding`, `twin_id`, `similarity` and `kind`.
    """
    found = audit.splits[0].leaks.rename(columns={"duplicate_id": "twin_id"})
    found["finding"] = found["image_id"].map(audit.manifest.set_index("image_id")["finding"])
    return found[["image_id", "split", "finding", "twin_id", "similarity", "kind"]]


def _audit_split(title, members, manifest, pairs, *, own: bool = False) -> SplitAudit:
    found = twins_in_training(members, manifest, pairs)
    rates, trained = leakage_rates(members, found), None
    if "split" in members:
        trained = int((members["split"] == "train").sum())
    else:
        members = members.assign(split="fold " + members["fold"].astype(str))
    return SplitAudit(title, own, members[["image_id", "split"]], trained, found, rates)


def _own_split(manifest, settings, seed) -> tuple[pd.DataFrame | None, str]:
    try:
        with warnings.catch_warnings():
            # The audit itself reports leaks of folders, and the images excluded for them.
            warnings.simplefilter("ignore", DataWarning)
            return make_splits_of_settings(manifest, settings, seed), ""
    except SplitError as error:
        return None, str(error)


def _random_split(manifest, pairs, measured) -> pd.DataFrame:
    readable = manifest[(measured["problem"] == "").to_numpy()]
    rows = {
        name: {
            "images": len(part),
            "near_duplicate": random_split_leakage(part, pairs, test=RANDOM_TEST_SHARE),
            "leaked": random_split_leakage(part, pairs, patients=True, test=RANDOM_TEST_SHARE),
        }
        for name, part in (("readable", readable), ("used", included(readable)))
    }
    return pd.DataFrame.from_dict(rows, orient="index")
