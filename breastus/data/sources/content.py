"""The content of a data source: images with what is known about them, and problems with files."""

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from breastus.data.dicom.files import is_dicom_file, may_be_dicom
from breastus.data.images import SUFFIXES
from breastus.errors import DataError
from breastus.labels import label_of_finding


@dataclass(frozen=True)
class Fault:
    """A published fault of an image.

    Attributes:
        kind: one of `breastus.labels.FAULTS`.
        reason: text for `excluded`, with its citation.
    """

    kind: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class SourceImage:
    """One image as its source describes it.

    Attributes:
        name: unique within the source.
        path: image file.
        mask_paths: lesion masks of the image.
        finding: "normal", "benign", "malignant" or "unknown".
        label: "lump", "no_lump", or "" if unknown; by default it follows from the finding.
        patient_id: "" if unknown.
        flags: flags such as "caliper" or "color_doppler".
        faults: published faults; the settings decide whether they exclude the image.
        excluded: reason why the image is excluded whatever the settings, or "".
        source: name of its source if the folder holds several, else "".
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

    def __post_init__(self):
        object.__setattr__(self, "label", self.label or label_of_finding(self.finding))


@dataclass
class SourceContent:
    """The images of a data set.

    Attributes:
        images: images in natural order of their names.
        problems: sentences about files that are missing, misplaced or unexpected.
        source: name of the source, the first part of every image id; filled in by `read_content`.
    """

    images: list[SourceImage] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    source: str = ""

    def exclude_faulty(self, *, keep: Collection[str]) -> "SourceContent":
        """Return a copy that excludes images with a fault of a kind that is not in `keep`."""
        images = []
        for image in self.images:
            reasons = [fault.reason for fault in image.faults if fault.kind not in keep]
            images.append(replace(image, excluded=image.excluded or next(iter(reasons), "")))
        return replace(self, images=images)

    def add_unused_files(
        self, table: Path, *, files: Iterable[Path] = (), masks: Iterable[Path] = ()
    ) -> None:
        """Add a problem for each image file without a row in a table, and each unused mask."""
        self.problems += [f"{file} has no row in {table.name} and is ignored." for file in files]
        self.add_orphan_masks(masks)

    def add_orphan_masks(self, masks: Iterable[Path]) -> None:
        """Add a problem for each mask that belongs to no image."""
        self.problems += [
            f"{mask} is a mask without an image. Add its image or remove it." for mask in masks
        ]

    def add_missing(self, name: str, table: Path, place: str) -> None:
        """Add the problem that a table names a file which does not exist."""
        self.problems.append(
            f"{table} names {name}, which is not in {place}. Copy it, or remove its row."
        )


def files_below(folder: Path) -> list[Path]:
    """Return the image files below a folder in natural order, without hidden ones.

    Files without a suffix are opened, because DICOM files often have none.

    Raises:
        DataError: if a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise DataError(
            f"{error.filename} cannot be read: {error.strerror}. Check its permissions."
        ) from error

    found = []
    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not _is_hidden(name)]
        found += [
            Path(parent, name)
            for name in names
            if not _is_hidden(name) and _is_image(Path(parent, name))
        ]
    return sorted(found, key=lambda path: natural_key(path.relative_to(folder).as_posix()))


def natural_key(text: str) -> list:
    """Return a sorting key that puts `benign (2)` before `benign (10)`."""
    return [int(part) if part.isdigit() else part.lower() for part in re.split(r"(\d+)", text)]


def find_root(folder: Path, is_root: Callable[[Path], bool]) -> Path | None:
    """Return the first of a folder and those up to two levels below that is a data set's root.

    Archives often wrap a data set in one or two more folders.
    """
    return next(filter(is_root, _folder_and_below(folder, depth=2)), None)


def _folder_and_below(folder: Path, depth: int) -> Iterator[Path]:
    yield folder
    if depth:
        try:
            inner = sorted(entry for entry in folder.iterdir() if entry.is_dir())
        except OSError:
            return
        for entry in inner:
            yield from _folder_and_below(entry, depth - 1)


def _is_image(path: Path) -> bool:
    if path.name.lower().endswith(SUFFIXES):
        return True
    return path.name.upper() != "DICOMDIR" and may_be_dicom(path.name) and is_dicom_file(path)


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "__MACOSX"))
