"""Data sources by name: `register_source` adds one, `find_sources` picks those that fit a folder.

    @register_source("my_hospital", recognises=lambda folder: (folder / "scans.csv").is_file())
    def read(folder: Path) -> SourceContent:
        ...

The function may stand in any module, also outside the package, that is imported before the data.
"""

import importlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from breastus.data.sources.class_names import ClassNames, suggestion
from breastus.data.sources.content import SourceContent
from breastus.data.sources.file_tree import files_below, walk
from breastus.errors import DataError

_MODULES = (
    "breastus.data.sources.busi",
    "breastus.data.sources.bus_uclm",
    "breastus.data.sources.bus_bra",
    "breastus.data.sources.breast_usg",
    "breastus.data.sources.udiat",
    "breastus.data.sources.phantom",
    "breastus.data.sources.csv_table",
    "breastus.data.sources.class_folders",
    "breastus.data.sources.dicom_folder",
)
_SHOWN = 6  # folders in an error
_ARCHIVES = (".zip", ".rar", ".7z", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".parquet", ".arrow")
# The layouts of the package in the order in which they are tried, after layouts of other packages.
_LAYOUTS = ("phantom", "csv", "folder", "dicom")


@dataclass(frozen=True)
class Source:
    """A data set or a layout that breastus can read.

    Attributes:
        name: value of the manifest's column `source`, and first part of every image id.
        recognises: function from a folder to whether it has the layout.
        read: function from a folder to its `SourceContent`.
        is_layout: true for a layout of any hospital's images, false for a single data set.
            Layouts are tried after all data sets, and their patient ids are valid only within one
            folder.
        takes_names: true if both functions take the user's `ClassNames` as well.
    """

    name: str
    recognises: Callable[..., bool]
    read: Callable[..., SourceContent]
    is_layout: bool
    takes_names: bool = False

    def fits(self, folder: Path, names: ClassNames) -> bool:
        """Return whether a folder has this layout."""
        return self.recognises(folder, names) if self.takes_names else self.recognises(folder)

    def content(self, path: Path, names: ClassNames) -> SourceContent:
        """Read a folder or table."""
        return self.read(path, names) if self.takes_names else self.read(path)


_SOURCES: dict[str, Source] = {}


def register_source(
    name: str,
    *,
    recognises: Callable[..., bool],
    is_layout: bool = False,
    takes_names: bool = False,
) -> Callable[[Callable], Callable]:
    """Register a function that reads a data set; `Source` explains the arguments.

    Raises:
        DataError: if the name is taken.
    """

    def register(read: Callable[[Path], SourceContent]) -> Callable[[Path], SourceContent]:
        if name in _SOURCES:
            raise DataError(f"A source named {name} is registered already. Choose another name.")
        _SOURCES[name] = Source(name, recognises, read, is_layout, takes_names)
        return read

    return register


def list_sources() -> list[str]:
    """Return the names of all sources."""
    _import_modules()
    return sorted(_SOURCES)


def find_source(name: str) -> Source | None:
    """Return the source of a name, or None."""
    _import_modules()
    return _SOURCES.get(name)


def is_layout(name: str) -> bool:
    """Return whether a source is a layout, whose name does not identify the hospital."""
    source = find_source(name)
    return source is not None and source.is_layout


def recognise_source(folder: Path, names: ClassNames) -> Source:
    """Return the source whose layout a folder has; none or several raise DataError."""
    _import_modules()
    data_sets = [source for source in _SOURCES.values() if not source.is_layout]
    found = [source for source in data_sets if source.fits(folder, names)]
    if len(found) > 1:
        raise DataError(
            f"{folder} holds several data sets: {', '.join(sorted(s.name for s in found))}. Name "
            "the folder of each (on the command line: --data A --data B), or of one."
        )
    layouts = sorted(
        (source for source in _SOURCES.values() if source.is_layout),
        key=lambda source: _LAYOUTS.index(source.name) if source.name in _LAYOUTS else -1,
    )
    matching = (source for source in layouts if source.fits(folder, names))
    if (source := next(iter(found), None) or next(matching, None)) is None:
        raise _unknown_layout(folder, sorted(source.name for source in data_sets))
    return source


def _unknown_layout(folder: Path, data_sets: list[str]) -> DataError:
    parents = Counter(file.parent for file in files_below(folder) if file.parent != folder)
    counts: Counter[str] = Counter()
    for parent, count in parents.items():
        counts[parent.name] += count
    if counts:
        found = ", ".join(f"{name} ({count} images)" for name, count in counts.most_common(_SHOWN))
        more = f" and {len(counts) - _SHOWN} others" if len(counts) > _SHOWN else ""
        return DataError(
            f"{folder} has no known layout. Its folders {found}{more} are no known classes. State "
            f"what they mean: {suggestion(list(counts)[:_SHOWN])} (lump, no_lump, benign, "
            "malignant or normal). Or name the images and labels in images.csv."
        )
    tree = walk(folder)
    archives = [file.name for file in tree.others if file.name.lower().endswith(_ARCHIVES)]
    found = ""
    if tree.images:
        found = f"{len(tree.images)} images lie in it without a class. "
    elif archives:
        found = f"It holds {archives[0]}: unpack it first. "
    return DataError(
        f"{folder} has no known layout. {found}It must be a released data set "
        f"({', '.join(data_sets)}); images.csv, or a single CSV, with the columns path and label; "
        "class folders (lump/ and no_lump/, or benign/, malignant/ and normal/, also within "
        "train/, val/ and test/); or "
        "DICOM files."
    )


def _import_modules() -> None:
    for module in _MODULES:
        importlib.import_module(module)
