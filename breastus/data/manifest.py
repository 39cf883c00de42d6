"""The manifest: one row an image, with everything that later stages need to know of it.

    manifest = load_manifest("path/to/BUSI")        # a pandas table with the columns of COLUMNS

All columns are text but `width` and `height` (pixels); what is unknown is the empty text. Paths are
absolute. `excluded` holds the reason why an image is left out of training and evaluation.
"""

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from breastus.config import DataConfig
from breastus.data.curation import THUMBNAIL, curate, thumbnail
from breastus.data.images import ImageFile
from breastus.data.locate import PHANTOM, DataWarning, locate, read_content
from breastus.data.sources import SourceImage
from breastus.errors import DataError, ImageError
from breastus.files import write_csv
from breastus.labels import FINDINGS, LABELS

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
_NUMBERS = ("width", "height")
MANIFEST_FILE = "manifest.csv"
SIMULATED = "simulated"  # the flag of a phantom
_THREADS = 4


class Survey(NamedTuple):
    """What reading a data set gives: the manifest, and the pairs of images that are one scene.

    Attributes:
        manifest: a table with the columns of `COLUMNS`.
        twins: a table with the columns of `breastus.data.curation.TWIN_COLUMNS`.
    """

    manifest: pd.DataFrame
    twins: pd.DataFrame


def load_manifest(
    where: str | os.PathLike = "auto", *, settings: DataConfig | None = None, seed: int = 0
) -> pd.DataFrame:
    """Find the images, read each of them once, and group and exclude what has to be.

    Args:
        where: a directory, `hub`, `phantom` or `auto`; or a manifest.csv, or a folder that holds
            one, which is then read as it is.
        settings: known faults, contradictions and the near-duplicates' threshold.
        seed: of the phantoms.

    Returns:
        A table with the columns of `COLUMNS`. An image that cannot be read is a row with the reason
        in `excluded` and a width and height of 0.

    Raises:
        DataError: when there is no such data, no layout is recognised, or no image can be read.

    Warns:
        DataWarning: once for each file that is not as it should be.
    """
    if (prepared := _prepared(where)) is not None:
        return read_manifest(prepared)
    return survey(where, settings=settings, seed=seed).manifest


def survey(
    where: str | os.PathLike = "auto", *, settings: DataConfig | None = None, seed: int = 0
) -> Survey:
    """Do as `load_manifest` with images, and return which of them were found to be twins as well.

    A prepared manifest is read for what it says; its images are read again, for their twins.
    """
    settings = settings or DataConfig()
    folder, source = locate(where, phantom_images=settings.phantom_images, seed=seed)
    content = read_content(
        folder, source, known_faults=settings.known_faults, dicom_frames=settings.dicom_frames
    )
    for problem in content.problems:
        warnings.warn(problem, DataWarning, stacklevel=2)

    rows, thumbnails = [], []
    with ThreadPoolExecutor(_THREADS) as pool:
        measured = pool.map(_measure, content.images)
        bar = tqdm(measured, "reading images", len(content.images), leave=False, disable=None)
        for image, (facts, small, phantom, error) in zip(content.images, bar, strict=True):
            if error:
                warnings.warn(error, DataWarning, stacklevel=2)
                facts["excluded"] = f"unreadable: {error}"
            row = {**_row(content.source, image), **facts}
            if phantom:
                row["flags"] = ";".join([*image.flags, SIMULATED])
            rows.append(row)
            thumbnails.append(small)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    if not (table["width"] > 0).any():
        raise DataError(f"{folder} holds no image that can be read.")
    table["group_id"] = table["image_id"]
    table, twins = curate(
        table,
        np.stack(thumbnails),
        threshold=settings.duplicate_threshold,
        exclude_contradictions=settings.contradictions == "exclude",
    )
    return Survey(_checked(table, str(folder)), twins)


def read_manifest(path: str | os.PathLike) -> pd.DataFrame:
    """Read a manifest.csv.

    Raises:
        DataError: when it cannot be read, a column is missing or unknown, an image id stands twice,
            or a label or finding is unknown.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise DataError(f"The manifest {path} cannot be read: {error}") from error
    return _checked(table, str(path))


def write_manifest(table: pd.DataFrame, path: str | os.PathLike) -> None:
    """Write a manifest.csv, whole or not at all."""
    write_csv(path, _checked(table, "the manifest"))


def included(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that have a label and no reason to be left out."""
    return table[(table["excluded"] == "") & (table["label"] != "")]


def handful(table: pd.DataFrame, count: int, *, seed: int) -> pd.DataFrame:
    """Return up to `count` included rows, findings taken in turn, drawn by seed."""
    shuffled = included(table).sample(frac=1, random_state=seed)
    turn = shuffled.groupby("finding").cumcount()
    return shuffled.iloc[np.argsort(turn.to_numpy(), kind="stable")[:count]]


def summary(table: pd.DataFrame) -> str:
    """Say in a few lines what a manifest holds."""
    used = included(table)
    lines = [f"{len(table)} images from {', '.join(sorted(set(table['source'])))}"]
    for reason, count in _reasons(table).items():
        lines.append(f"  {count} left out: {reason}")
    lines.append(f"  {len(used)} used, in {used['group_id'].nunique()} groups (patient or scene):")
    for label in LABELS:
        rows = used[used["label"] == label]
        findings = ", ".join(f"{n} {f}" for f, n in rows["finding"].value_counts().items())
        lines.append(f"    {label}: {len(rows)} images ({findings or 'none'})")
    return "\n".join(lines)


def _reasons(table: pd.DataFrame) -> dict[str, int]:
    kinds = table["excluded"].where(
        ~table["excluded"].str.match("unreadable|contradiction"),
        table["excluded"].str.partition(":")[0],
    )
    return kinds[kinds != ""].value_counts().to_dict()


def simulated(table: pd.DataFrame) -> bool:
    """Whether any image of a manifest is a phantom."""
    flagged = table["flags"].str.split(";").map(lambda flags: SIMULATED in flags)
    return bool((flagged | (table["source"] == PHANTOM)).any())


def _measure(image: SourceImage) -> tuple[dict, np.ndarray, bool, str]:
    """Return sha256, width and height; the thumbnail; whether a phantom; an error or ""."""
    try:
        file = ImageFile.read(image.path)
    except ImageError as error:
        nothing = np.zeros(THUMBNAIL**2, np.float32)
        return {"sha256": "", "width": 0, "height": 0}, nothing, False, str(error)
    height, width = file.pixels.shape[:2]
    facts = {"sha256": file.sha256, "width": width, "height": height}
    return facts, thumbnail(file.pixels), file.simulated, ""


def _row(source: str, image: SourceImage) -> dict:
    return {
        "image_id": f"{source}/{image.name}",
        "path": str(image.path.absolute()),
        "mask_paths": ";".join(str(path.absolute()) for path in image.mask_paths),
        "label": image.label,
        "finding": image.finding,
        "source": source,
        "patient_id": image.patient_id,
        "group_id": "",
        "flags": ";".join(image.flags),
        "excluded": image.excluded,
    }


def _prepared(where: str | os.PathLike) -> Path | None:
    # os.path, as pathlib raises for a folder that may not be read; that is reported later.
    path = Path(where)
    if os.path.isfile(path / MANIFEST_FILE):
        return path / MANIFEST_FILE
    return path if path.suffix == ".csv" and os.path.isfile(path) else None


def _checked(table: pd.DataFrame, name: str) -> pd.DataFrame:
    missing = [column for column in COLUMNS if column not in table]
    unknown = [column for column in table if column not in COLUMNS]
    if missing or unknown:
        raise DataError(
            f"{name} must have the columns {', '.join(COLUMNS)}. "
            f"Missing: {', '.join(missing) or 'none'}. Unknown: {', '.join(unknown) or 'none'}"
        )
    table = table[list(COLUMNS)].copy()
    for column in _NUMBERS:
        try:
            table[column] = table[column].astype(int)
        except ValueError as error:
            raise DataError(f"{name}: {column} must hold whole numbers. {error}") from error
    if (twice := table["image_id"].duplicated()).any():
        raise DataError(
            f"{name}: each image_id must stand once. Received: "
            f"{table.loc[twice, 'image_id'].iloc[0]} twice"
        )
    for column, allowed in (("label", ("", *LABELS)), ("finding", FINDINGS)):
        if not (known := table[column].isin(allowed)).all():
            row = table[~known].iloc[0]
            raise DataError(
                f"{name}: the {column} of {row['image_id']} must be one of "
                f"{', '.join(repr(value) for value in allowed)}. Received: {row[column]!r}"
            )
    return table
