"""Several data sets in one manifest: names stay apart, patients too, and no file comes twice.

    parts = joined([busi, mine])              # sources `folder`, `folder-2`; every image id once
    table, twins = curate_all(parts, fingerprints, ...)

Near-duplicates are sought among all images, whichever data set they are from.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from breastus.data.near_duplicates.grouping import components, curate
from breastus.data.sources import SourceContent
from breastus.data.sources.resolve import PUBLIC

# What these call a patient is known within one data set alone: two hospitals may both have a 001.
# Other names stand for one hospital or publication, wherever they come up.
ANONYMOUS = {"csv", "folder", "dicom", "phantom"}
_PUBLIC = {module.SOURCE for module in PUBLIC.values()}


def rows_of(content: SourceContent) -> pd.DataFrame:
    """Return the rows of a manifest that a source gives, without what only its files can tell."""
    sources = [image.source or content.source for image in content.images]
    ids = [f"{source}/{i.name}" for source, i in zip(sources, content.images, strict=True)]
    return pd.DataFrame(
        {
            "image_id": ids,
            "path": [str(image.path.absolute()) for image in content.images],
            "mask_paths": [
                ";".join(str(mask.absolute()) for mask in image.mask_paths)
                for image in content.images
            ],
            "label": [image.label for image in content.images],
            "finding": [image.finding for image in content.images],
            "source": sources,
            "patient_id": [image.patient_id for image in content.images],
            "group_id": ids,
            "sha256": "",
            "flags": [";".join(image.flags) for image in content.images],
            "excluded": [image.excluded for image in content.images],
        }
    )


class Joined(NamedTuple):
    """Manifests below each other.

    Attributes:
        table: all rows; a source whose name is taken became `name-2` and so on, its ids likewise.
        patients: for each row the patient together with where that name holds; "" if unknown.
        groups: likewise the group that the row had.
    """

    table: pd.DataFrame
    patients: np.ndarray
    groups: np.ndarray


def joined(tables: Sequence[pd.DataFrame]) -> Joined:
    """Put manifests below each other, so that every image id and group stays one of its own."""
    taken: set[str] = set()
    renamed, patients, groups = [], [], []
    for part, table in enumerate(tables):
        patients += _patients(table, part)
        groups += [group and f"{part}/{group}" for group in table["group_id"]]
        names = {source: _free(source, taken) for source in table["source"].unique()}
        taken |= set(names.values())
        renamed.append(_with_sources(table, names))
    table = pd.concat(renamed, ignore_index=True)
    return Joined(table, np.array(patients, object), np.array(groups, object))


def curate_all(
    parts: Joined, fingerprints: np.ndarray, *, threshold: float, exclude_contradictions: bool
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Group the images of one data set or several, and exclude what must be.

    Groups that the rows already have are kept together. A file that is in two sources is used from
    the first that says what it shows.

    Args:
        parts: as from `joined`, with what was measured of the files filled in.
        fingerprints: uint8 [n, 64, 64], as for `near_duplicates.grouping.curate`.
        threshold: likewise.
        exclude_contradictions: likewise.

    Returns:
        As `curate` does.
    """
    curated, twins = curate(
        parts.table.assign(patient_id=parts.patients),
        fingerprints,
        threshold=threshold,
        exclude_contradictions=exclude_contradictions,
    )
    curated["patient_id"] = parts.table["patient_id"]
    curated["group_id"] = _groups(curated, parts.groups)
    return _without_copies(curated), twins


def _free(source: str, taken: set[str]) -> str:
    name, number = source, 1
    while name in taken:
        number += 1
        name = f"{source}-{number}"
    return name


def _with_sources(table: pd.DataFrame, names: dict[str, str]) -> pd.DataFrame:
    ids = [
        image_id
        if names[source] == source
        else f"{names[source]}/{image_id.removeprefix(f'{source}/')}"
        for image_id, source in zip(table["image_id"], table["source"], strict=True)
    ]
    return table.assign(image_id=ids, source=table["source"].map(names))


def _patients(table: pd.DataFrame, part: int) -> list[str]:
    return [
        patient and f"{_place(source, part)}/{patient}"
        for source, patient in zip(table["source"], table["patient_id"], strict=True)
    ]


def _place(source: str, part: int) -> str:
    """Return where a name of a patient holds."""
    name, _, number = source.rpartition("-")
    # An earlier merge numbers sources too; but site-2 may be another hospital than site.
    original = name if number.isdigit() and name in _PUBLIC | ANONYMOUS else source
    return f"{part}/{source}" if original in ANONYMOUS else original


def _groups(table: pd.DataFrame, earlier: np.ndarray) -> np.ndarray:
    """Return the groups of the table, joined where rows had one in common before."""
    links = [
        (rows[0], row)
        for groups in (table["group_id"], pd.Series(earlier))
        for group, rows in groups.groupby(groups).indices.items()
        if group
        for row in rows[1:]
    ]
    number = components(len(table), *np.array(links, int).reshape(-1, 2).T)
    return table["image_id"].groupby(number).transform("first").to_numpy()


def _without_copies(table: pd.DataFrame) -> pd.DataFrame:
    """Exclude a file that another source has already; even if it is excluded there, for a fault."""
    files = table[table["sha256"] != ""]
    for _, rows in files[files["sha256"].duplicated(keep=False)].groupby("sha256"):
        labelled = rows[rows["label"] != ""]
        first = (labelled if len(labelled) else rows).iloc[0]
        for row in rows.itertuples():
            if row.source != first["source"] and not row.excluded:
                table.loc[row.Index, "excluded"] = (
                    f"duplicate: the same file as {first['image_id']}"
                )
    return table
