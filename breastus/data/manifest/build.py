"""Build a manifest: data sets in, a table with one row per image out.

Each image is read once: for its size, its checksum, its annotations, and the fingerprint by which
near-duplicates are found.
"""

import dataclasses
import os
import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from breastus.config.parsing import class_labels, join_labels, kept_faults, split_sources
from breastus.config.schema import DataConfig
from breastus.data.annotations.flags import annotation_flags
from breastus.data.images import ImageFile
from breastus.data.manifest.merge import exclude_copies, manifest_rows, merge_manifests
from breastus.data.manifest.schema import (
    MANIFEST_FILE,
    SIMULATED,
    UNREADABLE,
    check_manifest,
    read_manifest,
)
from breastus.data.masks import looks_like_mask
from breastus.data.near_duplicates.grouping import group_images, pairs_table
from breastus.data.near_duplicates.search import SIDE, fingerprint, near_duplicates
from breastus.data.sources.class_names import ClassNames
from breastus.data.sources.resolve import read_content, resolve
from breastus.data.sources.tables import columns_of
from breastus.errors import DataError, DataWarning, ImageError
from breastus.utils.threads import in_threads

_SHOWN = 5  # images in a warning
_MEASURED = ("sha256", "width", "height", "flags", "excluded")

Sources = str | os.PathLike | Sequence[str | os.PathLike]


class ManifestWithPairs(NamedTuple):
    """A manifest and the near-duplicates among its images.

    The tables have the columns of `breastus.data.manifest.schema.COLUMNS` and of
    `breastus.data.near_duplicates.grouping.PAIR_COLUMNS`.
    """

    manifest: pd.DataFrame
    near_duplicate_pairs: pd.DataFrame


def load_manifest(
    sources: Sources = "auto",
    *,
    labels: str | Mapping[str, str] = "",
    settings: DataConfig | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the manifest of one or several data sets.

    Args:
        sources: a directory, a CSV file of images, `hub`, `phantom` or `auto`; a manifest.csv or a
            directory with one, which is returned unchanged; or several of these, as a list or as
            `A;B`, which are merged.
        labels: meanings of class names, such as `{"cancer": "lump", "healthy": "no_lump"}`;
            empty takes `data.labels`.
        settings: settings of exclusions, near-duplicates and groups.
        seed: seed of the phantoms.

    Returns:
        A table with the columns of `breastus.data.manifest.schema.COLUMNS`. The row of an
        unreadable image has the reason in `excluded` and a width and height of 0.

    Raises:
        DataError: if the data does not exist, its layout is unknown, or no image can be read.

    Warns:
        DataWarning: if files have problems, one for each.
    """
    settings = settings or DataConfig()
    if labels:
        settings = dataclasses.replace(settings, labels=join_labels(labels))
    parts = _read_parts(sources, settings, seed)
    manifest = parts[0].rows if _is_prepared(parts) else _build(parts, settings).manifest
    return _apply_groups_setting(manifest, settings)


def build_manifest_with_pairs(
    sources: Sources = "auto", *, settings: DataConfig | None = None, seed: int = 0
) -> ManifestWithPairs:
    """Return the manifest as `load_manifest` does, with all pairs of near-duplicates.

    The images of a prepared manifest are read again for the pairs; its rows stay as they are.
    """
    settings = settings or DataConfig()
    parts = _read_parts(sources, settings, seed)
    built = _build(parts, settings)
    manifest = parts[0].rows if _is_prepared(parts) else built.manifest
    return built._replace(manifest=_apply_groups_setting(manifest, settings))


def _apply_groups_setting(manifest: pd.DataFrame, settings: DataConfig) -> pd.DataFrame:
    if settings.groups == "keep":
        return manifest
    return manifest.assign(group_id=manifest["image_id"])


class _Part(NamedTuple):
    """One of the data sets."""

    path: Path
    rows: pd.DataFrame
    class_names: Collection[str] = ()  # as its folders or table write them
    prepared: bool = False  # whether the rows come from a manifest.csv


def _read_parts(sources: Sources, settings: DataConfig, seed: int) -> list[_Part]:
    paths: list[Path] = []
    for name in split_sources(sources):
        path = resolve(name, phantom_images=settings.phantom_images, seed=seed)
        if any(path.resolve() == other.resolve() for other in paths):
            raise DataError(f"Each data set must be named once. Received: {name} twice")
        paths.append(path)
    names = ClassNames(class_labels(settings.labels))
    parts = [_read_part(path, settings, names) for path in paths]
    found = {name for part in parts for name in part.class_names}
    if unused := names.unused(found):
        warnings.warn(
            f"data.labels (--labels) explains {', '.join(unused)}, but no folder or label is "
            f"called so.",
            DataWarning,
            stacklevel=4,
        )
    return parts


def _read_part(path: Path, settings: DataConfig, names: ClassNames) -> _Part:
    if (file := _find_manifest(path)) is not None:
        return _Part(path, read_manifest(file), prepared=True)
    content = read_content(
        path,
        known_faults=settings.known_faults,
        keep_faults=kept_faults(settings.keep_faults),
        dicom_frames=settings.dicom_frames,
        names=names,
    )
    for problem in content.problems:
        warnings.warn(problem, DataWarning, stacklevel=4)
    return _Part(path, manifest_rows(content), content.class_names)


def _find_manifest(path: Path) -> Path | None:
    """Return the manifest in a folder, or a CSV file that is itself a manifest, if any."""
    # os.path, because pathlib raises for an unreadable folder, which is reported later.
    if os.path.isfile(path / MANIFEST_FILE):
        return path / MANIFEST_FILE
    is_manifest = path.name == MANIFEST_FILE or {"image_id", "sha256"} <= set(columns_of(path))
    return path if os.path.isfile(path) and is_manifest else None


def _is_prepared(parts: list[_Part]) -> bool:
    return len(parts) == 1 and parts[0].prepared


def _build(parts: list[_Part], settings: DataConfig) -> ManifestWithPairs:
    merged = merge_manifests([part.rows for part in parts])
    table, fingerprints = _measure_all(merged.table)
    places = ", ".join(str(part.path) for part in parts)
    if not (table["width"] > 0).any():
        raise DataError(f"{places} contains no readable image. Add images, or prepare it again.")
    pairs = near_duplicates(fingerprints, threshold=settings.duplicate_threshold)
    table = group_images(
        table,
        pairs,
        patients=merged.patients,
        earlier_groups=merged.groups,
        exclude_contradictions=settings.contradictions == "exclude",
    )
    table = check_manifest(exclude_copies(table), places)
    return ManifestWithPairs(table, pairs_table(table["image_id"], pairs))


def _measure_all(table: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """Fill the columns that need the pixels; return also the fingerprints, uint8 [n, 64, 64]."""
    mask_like: list[str] = []
    rows, fingerprints = [], np.zeros((len(table), SIDE, SIDE), np.uint8)
    measured = in_threads(_measure, table["path"], "reading images")
    for number, (row, found) in enumerate(zip(table.itertuples(), measured, strict=True)):
        if isinstance(found, ImageError):
            warnings.warn(str(found), DataWarning, stacklevel=4)
            rows.append(("", 0, 0, row.flags, f"{UNREADABLE}: {found}"))
            continue
        if row.sha256 not in ("", found.sha256):
            changed = f"{row.path} has changed since the manifest was prepared."
            warnings.warn(changed, DataWarning, stacklevel=4)
        # Flags of the source come first; flags found in the pixels are added.
        flags = dict.fromkeys([*filter(None, row.flags.split(";")), *found.flags])
        if found.mask_like:
            mask_like.append(row.image_id)
        rows.append((found.sha256, *found.size, ";".join(flags), row.excluded))
        fingerprints[number] = found.fingerprint
    if mask_like:
        shown = ", ".join(mask_like[:_SHOWN]) + (", ..." if len(mask_like) > _SHOWN else "")
        warnings.warn(
            "Some images have few grey levels, as lesion masks and blank images have: "
            f"{len(mask_like)} of {len(table)} ({shown}). Remove them if they are no B-mode "
            "images.",
            DataWarning,
            stacklevel=4,
        )
    return table.assign(**pd.DataFrame(rows, columns=_MEASURED, index=table.index)), fingerprints


class _Measured(NamedTuple):
    sha256: str
    size: tuple[int, int]  # width, height
    flags: tuple[str, ...]
    fingerprint: np.ndarray
    mask_like: bool


def _measure(path: str) -> _Measured | ImageError:
    try:
        file = ImageFile.read(path)
    except ImageError as error:
        return error
    flags = annotation_flags(file.pixels) + ((SIMULATED,) if file.simulated else ())
    height, width = file.pixels.shape[:2]
    mask_like = looks_like_mask(file.pixels)
    return _Measured(file.sha256, (width, height), flags, fingerprint(file.pixels), mask_like)
