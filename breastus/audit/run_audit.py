"""An audit: what a data set holds, what repeats or contradicts itself, what tells the class.

audit = run_audit(build_manifest_with_pairs("path/to/BUSI"))
audit.splits[0].shares                      # how many test images have a twin in training
"""

import warnings
from dataclasses import dataclass

import pandas as pd

from breastus.audit.leakage import leak_shares, leaks, random_split_share, twin_links
from breastus.audit.measure import measure
from breastus.audit.scenes import Scene, scenes
from breastus.audit.shortcuts import flags_by_label, statistics_by_label
from breastus.config.schema import DataConfig
from breastus.data.manifest.build import ManifestWithPairs
from breastus.data.manifest.schema import included
from breastus.data.splits.folders import splits_of_folders
from breastus.data.splits.make import make_splits
from breastus.errors import DataError, DataWarning, SplitError
from breastus.labels import LABELS

RANDOM_TEST_SHARE = 0.2


@dataclass(frozen=True)
class SplitAudit:
    """A split and its leaks.

    Attributes:
        title: what it is called in a sentence, such as "the split mine.csv".
        own: whether breastus made it just now.
        members: `image_id`, `split`.
        leaks: as from `breastus.audit.leakage.leaks`.
        shares: as from `breastus.audit.leakage.leak_shares`.
    """

    title: str
    own: bool
    members: pd.DataFrame
    leaks: pd.DataFrame
    shares: pd.DataFrame


@dataclass(frozen=True)
class Audit:
    """All that an audit found.

    Attributes:
        manifest: the images, with the columns of `breastus.data.manifest.build.COLUMNS`.
        links: pairs of twins, as from `breastus.audit.leakage.twin_links`.
        scenes: images joined by them, what alarms first.
        measured: as from `breastus.audit.measure.measure`.
        flags: as from `flags_by_label`, of the images that are used.
        statistics: as from `statistics_by_label`, of the images that are used.
        splits: the user's or the folders' split if there is one, then breastus' own.
        no_own_split: why breastus cannot split these images, or "".
        random: what a random 80/20 split of single images must expect: rows `readable` and `used`;
            columns `images`, `twin` and `either` (shares of the test images, 0 to 1).
        threshold: similarity from which two images were taken for twins.
    """

    manifest: pd.DataFrame
    links: pd.DataFrame
    scenes: list[Scene]
    measured: pd.DataFrame
    flags: pd.DataFrame
    statistics: pd.DataFrame
    splits: list[SplitAudit]
    no_own_split: str
    random: pd.DataFrame
    threshold: float

    @property
    def used(self) -> pd.DataFrame:
        """The rows of the manifest that have a label and no reason to be left out."""
        return included(self.manifest)

    @property
    def patients_known(self) -> bool:
        """Whether the patient of any image is known."""
        return bool((self.manifest["patient_id"] != "").any())

    @property
    def unreadable(self) -> dict[str, str]:
        """Image id to what is wrong, for images that cannot be read."""
        problem = self.measured["problem"]
        return problem[problem != ""].to_dict()

    def masks(self) -> dict[str, pd.Index]:
        """Return the image ids whose masks are worth a look, by what is the matter."""
        rows = self.manifest.set_index("image_id")
        lump, none = (rows["label"] == label for label in reversed(LABELS))
        facts = self.measured
        empty = facts["mask_share"] == 0
        return {
            "lump without a mask": rows.index[lump & (facts["masks"] == 0)],
            "lump whose mask is empty": rows.index[lump & empty],
            "no lump, and a mask that is not empty": rows.index[none & (facts["mask_share"] > 0)],
            "mask of another size than its image": rows.index[facts["mask_resized"]],
            "mask that cannot be read": rows.index[facts["mask_problem"] != ""],
        }


def run_audit(
    data: ManifestWithPairs,
    *,
    members: pd.DataFrame | None = None,
    title: str = "",
    settings: DataConfig | None = None,
    seed: int = 0,
) -> Audit:
    """Audit a data set, and a split of it.

    Args:
        data: as from `breastus.data.manifest.build.build_manifest_with_pairs`.
        members: `image_id` and `split` of the split in question, maybe one that leaks; None for
            what folders train/, val/ and test/ say, if there are such.
        title: what to call it, such as "the split mine.csv".
        settings: the near-duplicates' threshold, and the scheme of breastus' own split.
        seed: of breastus' own split.

    Raises:
        DataError: when the manifest is empty.
    """
    settings = settings or DataConfig()
    manifest = data.manifest.reset_index(drop=True)
    if manifest.empty:
        raise DataError("The manifest holds no images: there is nothing to audit.")
    links = twin_links(manifest, data.near_duplicate_pairs)
    if members is None and (members := splits_of_folders(manifest)) is not None:
        title = "the split of the folders"
    splits = [] if members is None else [_judge(title, members, manifest, links)]
    own, problem = _own_split(manifest, settings, seed)
    if own is not None:
        splits.append(_judge("breastus’ own split", own, manifest, links, own=True))
    measured = measure(manifest)
    used = included(manifest)
    return Audit(
        manifest=manifest,
        links=links,
        scenes=scenes(manifest, links),
        measured=measured,
        flags=flags_by_label(used),
        statistics=statistics_by_label(used, measured),
        splits=splits,
        no_own_split=problem,
        random=_random(manifest, links, measured),
        threshold=settings.duplicate_threshold,
    )


def twins_table(audit: Audit) -> pd.DataFrame:
    """Return every pair of twins with finding, source, reason to be left out, and split of both.

    Several splits of one image are joined by `;`. A split column is there for the first split of
    the audit, the one in question.
    """
    table = audit.links.copy()
    rows = audit.manifest.set_index("image_id")
    for column in ("finding", "source", "excluded"):
        for end, prefix in (("image_id", ""), ("twin_id", "twin_")):
            table[prefix + column] = table[end].map(rows[column])
    # What cannot be read is named with its folder, which is nobody else's business.
    for column in ("excluded", "twin_excluded"):
        table[column] = table[column].str.replace(r"^unreadable.*", "unreadable", regex=True)
    if audit.splits:
        where = audit.splits[0].members.groupby("image_id")["split"].agg(";".join)
        table["split"] = table["image_id"].map(where).fillna("")
        table["twin_split"] = table["twin_id"].map(where).fillna("")
    return table


def _judge(title, members, manifest, links, *, own: bool = False) -> SplitAudit:
    members = members[["image_id", "split"]]
    found = leaks(members, manifest, links)
    return SplitAudit(title, own, members, found, leak_shares(members, found))


def _own_split(
    manifest: pd.DataFrame, settings: DataConfig, seed: int
) -> tuple[pd.DataFrame | None, str]:
    scheme = {"scheme": settings.split, "fold": settings.fold, "folds": settings.folds}
    try:
        with warnings.catch_warnings():
            # That folders leak, and what is left out for it, the audit says itself.
            warnings.simplefilter("ignore", DataWarning)
            return make_splits(manifest, seed=seed, **scheme), ""
    except SplitError as error:
        return None, str(error)


def _random(manifest, links, measured) -> pd.DataFrame:
    readable = manifest[(measured["problem"] == "").to_numpy()]
    rows = {
        name: {
            "images": len(part),
            "twin": random_split_share(part, links, test=RANDOM_TEST_SHARE),
            "either": random_split_share(part, links, patients=True, test=RANDOM_TEST_SHARE),
        }
        for name, part in (("readable", readable), ("used", included(readable)))
    }
    return pd.DataFrame.from_dict(rows, orient="index")
