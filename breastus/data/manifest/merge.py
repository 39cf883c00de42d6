"""Merge data sets into one manifest: image ids, sources, patients and groups stay distinct."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from breastus.data.manifest.schema import DUPLICATE
from breastus.data.sources.content import SourceContent
from breastus.data.sources.registry import find_source
from breastus.errors import DataError


def manifest_rows(content: SourceContent) -> pd.DataFrame:
    """Return the manifest rows of a source, without the columns that need the pixels."""
    images = content.images
    sources = [image.source or content.source for image in images]
    ids = [f"{source}/{image.name}" for source, image in zip(sources, images, strict=True)]
    return pd.DataFrame(
        {
            "image_id": ids,
            "path": [str(image.path.absolute()) for image in images],
            "mask_paths": [_joined(image.mask_paths) for image in images],
            "label": [image.label for image in images],
            "finding": [image.finding for image in images],
            "source": sources,
            "patient_id": [image.patient_id for image in images],
            "group_id": ids,
            "sha256": "",
            "flags": [";".join(image.flags) for image in images],
            "excluded": [image.excluded for image in images],
        }
    )


class MergedManifests(NamedTuple):
    """Manifests in one table."""

    table: pd.DataFrame  # a source whose name is taken becomes `name-2`, and so do its ids
    patients: np.ndarray  # object [n], each patient id with the scope in which it is valid, or ""
    groups: np.ndarray  # object [n], each earlier group with the same scope, or ""


def merge_manifests(tables: Sequence[pd.DataFrame]) -> MergedManifests:
    """Concatenate manifests so that each image id, patient and group stays distinct."""
    taken: set[str] = set()
    renamed, patients, groups = [], [], []
    for part, table in enumerate(tables):
        patients += patient_keys(table, part).tolist()
        groups += [group and f"{part}/{group}" for group in table["group_id"]]
        new_names = {source: _unused_name(source, taken) for source in table["source"].unique()}
        taken |= set(new_names.values())
        ids = [
            f"{new_names[source]}/{image_id.removeprefix(f'{source}/')}"
            if new_names[source] != source
            else image_id
            for image_id, source in zip(table["image_id"], table["source"], strict=True)
        ]
        renamed.append(table.assign(image_id=ids, source=table["source"].map(new_names)))
    table = pd.concat(renamed, ignore_index=True)
    return MergedManifests(table, np.array(patients, object), np.array(groups, object))


def patient_keys(table: pd.DataFrame, part: int = 0) -> pd.Series:
    """Return each row's patient with the scope in which the id is valid, or "" if unknown.

    Ids may be compared only in this form: two hospitals may both have a patient 001. `part` is the
    number of the data set among several.
    """
    scope = {source: _patient_scope(source, part) for source in table["source"].unique()}
    keys = table["source"].map(scope) + "/" + table["patient_id"]
    return keys.where(table["patient_id"] != "", "")


def exclude_copies(table: pd.DataFrame) -> pd.DataFrame:
    """Exclude files that another source contains too; the first with a label is not changed.

    A copy is excluded even if the first is itself excluded for a fault.
    """
    files = table[table["sha256"] != ""]
    for _, rows in files[files["sha256"].duplicated(keep=False)].groupby("sha256"):
        labelled = rows[rows["label"] != ""]
        first = (labelled if len(labelled) else rows).iloc[0]
        copies = rows.index[(rows["source"] != first["source"]) & (rows["excluded"] == "")]
        table.loc[copies, "excluded"] = f"{DUPLICATE}: the same file as {first['image_id']}"
    return table


def _joined(mask_paths: Iterable[Path]) -> str:
    texts = [str(path.absolute()) for path in mask_paths]
    for text in texts:
        if ";" in text:
            raise DataError(
                "The path of a lesion mask must not contain a semicolon, which separates masks in "
                f"manifest.csv. Rename the folder or file. Received: {text}"
            )
    return ";".join(texts)


def _unused_name(source: str, taken: set[str]) -> str:
    name, number = source, 1
    while name in taken:
        number += 1
        name = f"{source}-{number}"
    return name


def _patient_scope(source: str, part: int) -> str:
    """Return the scope in which a patient id of a source is unique.

    For a layout such as `folder`, which says nothing about the hospital, it is the data set. Other
    names identify one hospital or publication wherever they occur.
    """
    name, _, number = source.rpartition("-")
    # An earlier merge numbers sources, but `site-2` may also be another hospital than `site`.
    original = find_source(name if number.isdigit() and find_source(name) else source)
    if original is None:
        return source
    return f"{part}/{source}" if original.is_layout else original.name
