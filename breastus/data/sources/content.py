"""The content of a data source: images with what is known about them, and problems with files."""

import os
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from breastus.labels import label_of_finding

_SHOWN = 4  # folders in a problem
_FEW = 3  # files that are named one by one


@dataclass(frozen=True)
class Fault:
    """A published fault of an image."""

    kind: str  # one of `breastus.labels.FAULTS`
    reason: str  # text for `excluded`, with its citation


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
        left_out: files that are no images of the data set and need no further problem.
        class_names: names of classes as the folders or the table write them.
    """

    images: list[SourceImage] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    source: str = ""
    left_out: set[Path] = field(default_factory=set)
    class_names: set[str] = field(default_factory=set)
    _missing: dict[tuple[Path, str], list[str]] = field(
        default_factory=dict, init=False, repr=False
    )

    def exclude_faulty(self, *, keep: Collection[str]) -> "SourceContent":
        """Return a copy that excludes images with a fault of a kind that is not in `keep`."""
        images = []
        for image in self.images:
            reasons = [fault.reason for fault in image.faults if fault.kind not in keep]
            images.append(replace(image, excluded=image.excluded or next(iter(reasons), "")))
        return replace(self, images=images)

    def leave_out(self, files: Iterable[Path], one: str, several: str) -> None:
        """Add a problem about files that are not used, or one for each if they are few.

        `one` ends the sentence about one file, such as "is in no class folder.", and
        `several` the same about several files.
        """
        files = list(files)
        self.left_out.update(files)
        if len(files) <= _FEW:
            self.problems += [f"{file} {one}" for file in files]
        else:
            self.problems.append(f"{len(files)} files {places(files)} {several}")

    def add_unused_files(
        self, table: Path, *, files: Iterable[Path] = (), masks: Iterable[Path] = ()
    ) -> None:
        """Add a problem about image files without a row in a table, and one about unused masks."""
        rest = f"no row in {table.name} and"
        self.leave_out(files, f"has {rest} is ignored.", f"have {rest} are ignored.")
        self.add_orphan_masks(masks)

    def add_orphan_masks(self, masks: Iterable[Path]) -> None:
        """Add a problem about masks that belong to no image."""
        self.leave_out(
            masks,
            "is a mask without an image. Add its image or remove it.",
            "are masks without an image. Add their images or remove them.",
        )

    def add_missing(self, name: str, table: Path, place: str) -> None:
        """Note that a table names a file which does not exist; see `report_missing`."""
        self._missing.setdefault((table, place), []).append(name)

    def report_missing(self) -> None:
        """Add a problem about the missing files of each table, or one for each if they are few."""
        problems = []
        for (table, place), names in self._missing.items():
            if len(names) <= _FEW:
                problems += [
                    f"{table} names {name}, which is not in {place}. Copy it, or remove its row."
                    for name in names
                ]
            else:
                problems.append(
                    f"{table} names {len(names)} files that are not in {place}, such as "
                    f"{names[0]}. Copy them, or remove their rows."
                )
        self.problems = problems + self.problems
        self._missing.clear()


def places(files: Iterable[Path]) -> str:
    """Return where files are, such as `in scans (12 in a, 3 in b)`."""
    counts = Counter(file.parent for file in files).most_common()
    above = Path(os.path.commonpath([folder for folder, _ in counts]))
    if len(counts) == 1:
        return f"in {above}"
    shown = [f"{number} in {folder.relative_to(above)}" for folder, number in counts[:_SHOWN]]
    others = len(counts) - _SHOWN
    return f"in {above} ({', '.join(shown)}{f' and {others} other folders' if others > 0 else ''})"
