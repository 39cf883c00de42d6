"""The manifest: one row per image, with everything that later stages need to know about it.

All columns are text except `width` and `height` (pixels). The empty text means unknown. Paths are
absolute. `excluded` holds the reason why an image is not used for training and evaluation.
"""

import os
from pathlib import Path

import numpy as np
import pandas as pd

from breastus.data.sources.tables import read_table
from breastus.errors import DataError
from breastus.labels import FINDINGS, LABELS
from breastus.utils.files import write_csv

COLUMNS = (
    "image_id",
    "path",
    "mask_paths",
    "label",
    "finding",
    "source",
    "patient_id",
    "group_id",
    "sha256",
    "width",
    "height",
    "flags",
    "excluded",
)
MANIFEST_FILE = "manifest.csv"
SIMULATED = "simulated"  # the flag of a phantom
# Kinds of reasons in `excluded` whose text after the colon differs from image to image.
UNREADABLE, CONTRADICTION, DUPLICATE = "unreadable", "contradiction", "duplicate"


def read_manifest(path: str | os.PathLike) -> pd.DataFrame:
    """Read a manifest.csv. Raises DataError if it cannot be read; also as `check_manifest`."""
    table = read_table(Path(path), strip=False)
    return check_manifest(table.reset_index(drop=True), str(path))


def write_manifest(table: pd.DataFrame, path: str | os.PathLike) -> None:
    """Write a manifest.csv atomically."""
    write_csv(path, check_manifest(table, "the manifest"))


def check_manifest(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return a manifest with its columns in order and of the right type.

    `name` is the file or data set, for the error messages.

    Raises:
        DataError: if a column is missing or unknown, an image id is not unique, or a label or
            finding is unknown.
    """
    missing = [column for column in COLUMNS if column not in table]
    unknown = [column for column in table if column not in COLUMNS]
    if missing or unknown:
        raise DataError(
            f"{name} must have the columns {', '.join(COLUMNS)}. "
            f"Missing: {', '.join(missing) or 'none'}. Unknown: {', '.join(unknown) or 'none'}"
        )
    table = table[list(COLUMNS)].copy()
    for column in ("width", "height"):
        try:
            table[column] = table[column].astype(int)
        except ValueError as error:
            raise DataError(f"{name}: {column} must hold whole numbers. {error}") from error
    if (repeated := table["image_id"].duplicated()).any():
        raise DataError(
            f"{name}: each image_id must be unique. Received: "
            f"{table.loc[repeated, 'image_id'].iloc[0]} twice"
        )
    for column, allowed in (("label", ("", *LABELS)), ("finding", FINDINGS)):
        if not (known := table[column].isin(allowed)).all():
            row = table[~known].iloc[0]
            raise DataError(
                f"{name}: the {column} of {row['image_id']} must be one of "
                f"{', '.join(repr(value) for value in allowed)}. Received: {row[column]!r}"
            )
    return table


def included(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that have a label and are not excluded."""
    return table[(table["excluded"] == "") & (table["label"] != "")]


def exclusion_kinds(table: pd.DataFrame) -> pd.Series:
    """Return each row's reason for exclusion without the details that differ between images."""
    return table["excluded"].where(
        ~table["excluded"].str.match(f"{UNREADABLE}|{CONTRADICTION}|{DUPLICATE}"),
        table["excluded"].str.partition(":")[0],
    )


def has_phantoms(table: pd.DataFrame) -> bool:
    """Return whether any image of a manifest is simulated."""
    flagged = table["flags"].str.split(";").map(lambda flags: SIMULATED in flags)
    return bool((flagged | (table["source"] == "phantom")).any())


def sample_balanced(table: pd.DataFrame, count: int, *, seed: int) -> pd.DataFrame:
    """Return up to `count` included rows, drawn at random, findings as evenly as possible."""
    shuffled = included(table).sample(frac=1, random_state=seed)
    rank = shuffled.groupby("finding").cumcount()
    return shuffled.iloc[np.argsort(rank.to_numpy(), kind="stable")[:count]]


def summary(table: pd.DataFrame) -> str:
    """Describe the content of a manifest in a few lines."""
    used = included(table)
    sources = sorted(set(table["source"]))
    lines = [f"{len(table)} images from {', '.join(sources)}"]
    if len(sources) > 1:
        for source in sources:
            labels = used.loc[used["source"] == source, "label"]
            counts = ", ".join(f"{(labels == label).sum()} {label}" for label in LABELS)
            total = (table["source"] == source).sum()
            lines.append(f"  {source}: {total} images, {len(labels)} used ({counts})")
    kinds = exclusion_kinds(table)
    for kind, count in kinds[kinds != ""].value_counts().items():
        lines.append(f"  {count} excluded: {kind}")
    if unlabelled := int(((table["excluded"] == "") & (table["label"] == "")).sum()):
        lines.append(f"  {unlabelled} without a label, not used")
    groups = used["group_id"].nunique()
    lines.append(f"  {len(used)} used, in {groups} group{'s' * (groups != 1)} (patient or scene):")
    for label in LABELS:
        rows = used[used["label"] == label]
        findings = ", ".join(f"{n} {f}" for f, n in rows["finding"].value_counts().items())
        lines.append(f"    {label}: {len(rows)} images ({findings or 'none'})")
    return "\n".join(lines)
