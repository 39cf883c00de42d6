"""The manifest: one row an image, with everything that later stages need to know of it.

    manifest = load_manifest("path/to/BUSI")        # a pandas table with the columns of COLUMNS

All columns are text but `width` and `height` (pixels); what is unknown is the empty text. Paths are
absolute. `excluded` holds the reason why an image is left out of training and evaluation.
"""

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from breastus.config.parsing import kept_faults, split_sources
from breastus.config.schema import DataConfig
from breastus.data.annotations.flags import annotation_flags
from breastus.data.images import ImageFile
from breastus.data.manifest.merge import curate_all, joined, rows_of
from breastus.data.near_duplicates.search import SIDE, fingerprint
from breastus.data.sources.resolve import PHANTOM, locate, read_content
from breastus.data.sources.tables import columns_of
from breastus.errors import DataError, DataWarning, ImageError
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
_NUMBERS = ("width", "height")
MANIFEST_FILE = "manifest.csv"
SIMULATED = "simulated"  # the flag of a phantom
_THREADS = 4


Where = str | os.PathLike | Sequence[str | os.PathLike]


class Survey(NamedTuple):
    """What reading a data set gives: the manifest, and the pairs of images that are one scene.

    Attributes:
        manifest: a table with the columns of `COLUMNS`.
        twins: a table with the columns of `breastus.data.near_duplicates.grouping.TWIN_COLUMNS`.
    """

    manifest: pd.DataFrame
    twins: pd.DataFrame


def load_manifest(
    where: Where = "auto", *, settings: DataConfig | None = None, seed: int = 0
) -> pd.DataFrame:
    """Find the images, read each of them once, and group and exclude what has to be.

    Args:
        where: a directory, a CSV file of your own, `hub`, `phantom` or `auto`; or a manifest.csv,
            or a folder that holds one, which is then read as it is; or several of these, as a
            list or as `A;B`, which become one manifest.
        settings: known faults, contradictions, near-duplicates, and whether groups are kept.
        seed: of the phantoms.

    Returns:
        A table with the columns of `COLUMNS`. An image that cannot be read is a row with the reason
        in `excluded` and a width and height of 0.

    Raises:
        DataError: when there is no such data, no layout is recognised, or no image can be read.

    Warns:
        DataWarning: once for each file that is not as it should be.
    """
    settings = settings or DataConfig()
    parts = _parts(where, settings, seed)
    prepared = parts[0].prepared if _is_prepared(parts) else None
    return _grouped(_survey(parts, settings).manifest if prepared is None else prepared, settings)


def survey(where: Where = "auto", *, settings: DataConfig | None = None, seed: int = 0) -> Survey:
    """Do as `load_manifest` with images, and return which of them were found to be twins as well.

    A prepared manifest is read for what it says; its images are read again, for their twins.
    """
    settings = settings or DataConfig()
    parts = _parts(where, settings, seed)
    found = _survey(parts, settings)
    manifest = parts[0].prepared if _is_prepared(parts) else found.manifest
    return found._replace(manifest=_grouped(manifest, settings))


def _grouped(manifest: pd.DataFrame, settings: DataConfig) -> pd.DataFrame:
    if settings.groups == "keep":
        return manifest
    # Every image by itself: splits are then drawn as if nothing were known of twins and patients.
    return manifest.assign(group_id=manifest["image_id"])


def _survey(parts: list["_Part"], settings: DataConfig) -> Survey:
    merged = joined([part.rows for part in parts])
    table = merged.table
    facts, fingerprints = [], []
    with ThreadPoolExecutor(_THREADS) as pool:
        measured = pool.map(_measure, table["path"])
        bar = tqdm(measured, "reading images", len(table), leave=False, disable=None)
        for row, (fact, small, seen, error) in zip(table.itertuples(), bar, strict=True):
            if error:
                warnings.warn(error, DataWarning, stacklevel=3)
            elif row.sha256 not in ("", fact["sha256"]):
                changed = f"{row.path} is not the file it was when it was prepared."
                warnings.warn(changed, DataWarning, stacklevel=3)
            # What the source says comes first; what the pixels show beyond it is added.
            flags = dict.fromkeys([*filter(None, row.flags.split(";")), *seen])
            excluded = f"unreadable: {error}" if error else row.excluded
            facts.append({**fact, "flags": ";".join(flags), "excluded": excluded})
            fingerprints.append(small)
    table = table.assign(**pd.DataFrame(facts, columns=["sha256", *_NUMBERS, "flags", "excluded"]))
    places = ", ".join(str(part.path) for part in parts)
    if not (table["width"] > 0).any():
        raise DataError(
            f"{places} holds no image that can be read. Add images, or prepare it again."
        )
    table, twins = curate_all(
        merged._replace(table=table),
        np.stack(fingerprints),
        threshold=settings.duplicate_threshold,
        exclude_contradictions=settings.contradictions == "exclude",
    )
    return Survey(_checked(table, places), twins)


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
    sources = sorted(set(table["source"]))
    lines = [f"{len(table)} images from {', '.join(sources)}"]
    if len(sources) > 1:
        lines += [f"  {_of_source(table, used, source)}" for source in sources]
    for reason, count in _reasons(table).items():
        lines.append(f"  {count} left out: {reason}")
    lines.append(f"  {len(used)} used, in {used['group_id'].nunique()} groups (patient or scene):")
    for label in LABELS:
        rows = used[used["label"] == label]
        findings = ", ".join(f"{n} {f}" for f, n in rows["finding"].value_counts().items())
        lines.append(f"    {label}: {len(rows)} images ({findings or 'none'})")
    return "\n".join(lines)


def _of_source(table: pd.DataFrame, used: pd.DataFrame, source: str) -> str:
    labels = used.loc[used["source"] == source, "label"]
    counts = ", ".join(f"{(labels == label).sum()} {label}" for label in LABELS)
    return f"{source}: {(table['source'] == source).sum()} images, {len(labels)} used ({counts})"


def _reasons(table: pd.DataFrame) -> dict[str, int]:
    kinds = reason_kinds(table)
    return kinds[kinds != ""].value_counts().to_dict()


def reason_kinds(table: pd.DataFrame) -> pd.Series:
    """Return each row's reason to be left out, less what is true of that image alone."""
    return table["excluded"].where(
        ~table["excluded"].str.match("unreadable|contradiction|duplicate"),
        table["excluded"].str.partition(":")[0],
    )


def simulated(table: pd.DataFrame) -> bool:
    """Whether any image of a manifest is a phantom."""
    flagged = table["flags"].str.split(";").map(lambda flags: SIMULATED in flags)
    return bool((flagged | (table["source"] == PHANTOM)).any())


class _Part(NamedTuple):
    """One of the data sets that become a manifest: where it is, its rows, the manifest it had."""

    path: Path
    rows: pd.DataFrame
    prepared: pd.DataFrame | None = None


def _parts(where: Where, settings: DataConfig, seed: int) -> list[_Part]:
    places: dict[Path, str] = {}
    for name in split_sources(where):
        path, source = locate(name, phantom_images=settings.phantom_images, seed=seed)
        if any(path.resolve() == other.resolve() for other in places):
            raise DataError(f"Each data set must be named once. Received: {name} twice")
        places[path] = source
    return [_part(path, source, settings) for path, source in places.items()]


def _part(path: Path, source: str, settings: DataConfig) -> _Part:
    if (file := _manifest_file(path)) is not None:
        prepared = read_manifest(file)
        return _Part(path, prepared, prepared)
    content = read_content(
        path,
        source,
        known_faults=settings.known_faults,
        keep_faults=kept_faults(settings.keep_faults),
        dicom_frames=settings.dicom_frames,
    )
    for problem in content.problems:
        warnings.warn(problem, DataWarning, stacklevel=4)
    return _Part(path, rows_of(content))


def _is_prepared(parts: list[_Part]) -> bool:
    return len(parts) == 1 and parts[0].prepared is not None


def _measure(path: str) -> tuple[dict, np.ndarray, tuple[str, ...], str]:
    """Return sha256, width and height; the fingerprint; flags; an error or ""."""
    try:
        file = ImageFile.read(path)
    except ImageError as error:
        nothing = np.zeros((SIDE, SIDE), np.uint8)
        return {"sha256": "", "width": 0, "height": 0}, nothing, (), str(error)
    height, width = file.pixels.shape[:2]
    facts = {"sha256": file.sha256, "width": width, "height": height}
    flags = annotation_flags(file.pixels) + ((SIMULATED,) if file.simulated else ())
    return facts, fingerprint(file.pixels), flags, ""


def _manifest_file(path: Path) -> Path | None:
    """Return the manifest that a folder holds, or that a CSV file is, if any."""
    # os.path, as pathlib raises for a folder that may not be read; that is reported later.
    if os.path.isfile(path / MANIFEST_FILE):
        return path / MANIFEST_FILE
    is_manifest = path.name == MANIFEST_FILE or {"image_id", "sha256"} <= set(columns_of(path))
    return path if os.path.isfile(path) and is_manifest else None


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
