"""Several data sets in one manifest: names stay apart, patients too, and no file comes twice.

    table = joined([busi, mine])              # sources `folder`, `folder-2`; every image id once
    table, twins = curate_all(table, parts, thumbnails, ...)

Near-duplicates are sought among all images, whichever data set they are from.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from breastus.data.curation import components, curate
from breastus.data.locate import PUBLIC
from breastus.data.sources import SourceContent

# What these call a patient is known within one data set alone: two hospitals may both have a 001.
# Other names stand for one hospital or publication, wherever they come up.
_ANONYMOUS = {"csv", "folder", "dicom", "phantom"}
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


def joined(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Put manifests below each other; sources of a name that is taken become `name-2` and so on.

    Args:
        tables: manifests, each with image ids that differ.

    Returns:
        All rows, with image ids that differ, in the order of the tables.
    """
    taken: set[str] = set()
    renamed = []
    for table in tables:
        names = {source: _free(source, taken) for source in table["source"].unique()}
        taken |= set(names.values())
        renamed.append(_with_sources(table, names))
    return pd.concat(renamed, ignore_index=True)


def curate_all(
    table: pd.DataFrame,
    parts: np.ndarray,
    thumbnails: np.ndarray,
    *,
    threshold: float,
    exclude_contradictions: bool,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Group the images of one data set or several, and exclude what must be.

    Groups that the rows already have are kept together. A file that is in two sources is used from
    the first that says what it shows.

    Args:
        table: as from `joined`.
        parts: int [n], which data set each row is from.
        thumbnails: float32 [n, d], as `breastus.data.curation.curate` takes them.
        threshold: likewise.
        exclude_contradictions: likewise.

    Returns:
        As `curate` does.
    """
    patients = table["patient_id"].to_numpy()
    curated, twins = curate(
        table.assign(patient_id=_patients(table, parts)),
        thumbnails,
        threshold=threshold,
        exclude_contradictions=exclude_contradictions,
    )
    curated["patient_id"] = patients
    curated["group_id"] = _groups(curated, table["group_id"], parts)
    return _without_copies(curated), twins


def _free(source: str, taken: set[str]) -> str:
    name, number = source, 1
    while name in taken:
        number += 1
        name = f"{source}-{number}"
    return name


def _with_sources(table: pd.DataFrame, names: dict[str, str]) -> pd.DataFrame:
    ids = {
        image_id: f"{names[source]}/{image_id.removeprefix(f'{source}/')}"
        for image_id, source in zip(table["image_id"], table["source"], strict=True)
        if names[source] != source
    }
    return table.assign(
        image_id=[ids.get(name, name) for name in table["image_id"]],
        group_id=[ids.get(name, name) for name in table["group_id"]],  # named after an image
        source=table["source"].map(names),
    )


def _patients(table: pd.DataFrame, parts: np.ndarray) -> list[str]:
    """Return each row's patient with where the name holds, "" where the patient is unknown."""
    places = []
    for source, part in zip(table["source"], parts, strict=True):
        original = _original(source)
        places.append(f"{part}/{source}" if original in _ANONYMOUS else original)
    return [
        patient and f"{place}/{patient}"
        for place, patient in zip(places, table["patient_id"], strict=True)
    ]


def _original(source: str) -> str:
    # Only where breastus has numbered it: site-2 may be another hospital than site.
    name, _, number = source.rpartition("-")
    return name if number.isdigit() and name in _PUBLIC | _ANONYMOUS else source


def _groups(table: pd.DataFrame, earlier: pd.Series, parts: np.ndarray) -> np.ndarray:
    """Return the groups of the table, joined where rows of a part had one in common before."""
    kept = [group and f"{part}/{group}" for group, part in zip(earlier, parts, strict=True)]
    links = [
        (rows[0], row)
        for groups in (table["group_id"], pd.Series(kept))
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
