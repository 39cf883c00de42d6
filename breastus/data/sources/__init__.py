"""Data sources: a folder in, the images it holds with what is known of each out.

One file a public data set or layout, each with `recognises(folder)` and `read(folder)`.
Nothing is opened here but directories, tables and headers; reading the images is the manifest's
work.
"""

import os
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from breastus.data.dicom.files import is_dicom_file, may_be_dicom
from breastus.data.images import SUFFIXES
from breastus.errors import DataError


@dataclass(frozen=True)
class Fault:
    """What is published to be wrong with an image.

    Attributes:
        kind: one of `breastus.labels.FAULTS`, by which it can be switched off.
        reason: what stands in `excluded`, with its citation.
    """

    kind: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class SourceImage:
    """One image as its source describes it.

    Attributes:
        name: unique within the source.
        path: the image file.
        mask_paths: lesion masks that belong to it.
        finding: "normal", "benign", "malignant" or "unknown".
        label: "lump", "no_lump", or "" when unknown.
        patient_id: "" when unknown.
        flags: such as "caliper" or "color_doppler".
        faults: what is known to be wrong with it; whether that excludes it is a setting.
        excluded: the reason why it is left out whatever the settings, or "".
        source: the name of its source where the folder holds several, else "".
    """

    name: str
    path: Path
    mask_paths: tuple[Path, ...] = ()
    finding: str = "unknown"
    label: str = ""
    patient_id: str = ""
    flags: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()
    excluded: str = ""
    source: str = ""


@dataclass
class SourceContent:
    """What a source found in a folder.

    Attributes:
        source: name of the source, the first part of every image id.
        images: in natural order of their names.
        problems: sentences about files that are not as they should be.
    """

    source: str
    images: list[SourceImage] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def without_faulty(self, *, keep: Collection[str]) -> "SourceContent":
        """Return a copy in which images with a fault of another kind than `keep` are excluded."""
        images = []
        for image in self.images:
            reasons = [fault.reason for fault in image.faults if fault.kind not in keep]
            images.append(replace(image, excluded=image.excluded or next(iter(reasons), "")))
        return replace(self, images=images)


def files_below(folder: Path) -> list[Path]:
    """Return the image files below a folder in natural order, hidden ones left out.

    By suffix; files whose name has none are looked into, as DICOM files often have no suffix.

    Raises:
        DataError: when a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise DataError(
            f"{error.filename} cannot be read: {error.strerror}. Check its permissions."
        ) from error

    found = []
    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not _hidden(name)]
        found += [
            Path(parent, name)
            for name in names
            if not _hidden(name) and _is_image(Path(parent, name))
        ]
    return sorted(found, key=lambda path: natural_key(path.relative_to(folder).as_posix()))


def orphans(masks: Iterable[Path]) -> list[str]:
    """Return a problem for each mask that belongs to no image."""
    return [f"{mask} is a mask without an image. Add its image or remove it." for mask in masks]


def unlisted(files: Iterable[Path], table: Path) -> list[str]:
    """Return a problem for each image that a data set's table does not name."""
    return [f"{file} has no row in {table.name} and is left out." for file in files]


def not_there(name: str, table: Path, place: str) -> str:
    """Return the problem of a table's row whose image is missing."""
    return f"{table} names {name}, which is not in {place}. Copy it, or remove its row."


def natural_key(text: str) -> list:
    """Return a sorting key that puts `benign (2)` before `benign (10)`."""
    return [int(part) if part.isdigit() else part.lower() for part in re.split(r"(\d+)", text)]


def here_or_below(folder: Path, depth: int = 2) -> Iterator[Path]:
    """Yield a folder and those below it: archives often wrap a data set in one or two more."""
    yield folder
    if depth:
        try:
            inner = sorted(entry for entry in folder.iterdir() if entry.is_dir())
        except OSError:
            return
        for entry in inner:
            yield from here_or_below(entry, depth - 1)


def _is_image(path: Path) -> bool:
    if path.name.lower().endswith(SUFFIXES):
        return True
    return path.name.upper() != "DICOMDIR" and may_be_dicom(path.name) and is_dicom_file(path)


def _hidden(name: str) -> bool:
    return name.startswith((".", "__MACOSX"))
