"""Resolve what `--data` names: a name in, a folder or CSV file and its content out."""

import os
import warnings
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path

from breastus.config.parsing import split_sources
from breastus.data.image_files import first_bytes
from breastus.data.sources.class_names import ClassNames
from breastus.data.sources.content import SourceContent, SourceImage
from breastus.data.sources.dicom_folder import expand_frames
from breastus.data.sources.file_tree import is_broken_link, walk
from breastus.data.sources.registry import find_source, recognise_source
from breastus.errors import DataError, DataWarning, HubError, did_you_mean
from breastus.labels import FAULTS
from breastus.utils.files import printable

RAW = Path("data", "raw")
# Files that come with images and are none; all others that are not read are named.
_NO_IMAGES = {
    *(".csv", ".tsv", ".txt", ".md", ".rst", ".json", ".xml", ".yaml", ".yml", ".html", ".bib"),
    *(".xls", ".xlsx", ".xlsm", ".ods", ".py", ".ipynb", ".sh", ".log", ".ini", ".db", ".lnk"),
}
_SHOWN = 5  # kinds of files in a problem
_NAMES = ("hub", "phantom", "auto")


def resolve(name: str | os.PathLike, *, phantom_images: int, seed: int) -> Path:
    """Return the folder or CSV file that a name refers to, downloaded or simulated if needed.

    Args:
        name: a directory or CSV file; `hub`, `phantom` (write `./hub` for a directory of that
            name); or `auto`, the first that exists of `$BREASTUS_DATA`, `data/raw`, the hub, and,
            without a network, phantoms, with a warning.
        phantom_images: number of phantoms to simulate.
        seed: seed of the phantoms.

    Raises:
        DataError: if the directory or file does not exist.
        HubError: if `hub` cannot be reached.
    """
    if name == "hub":
        from breastus.data.sources import hub

        return hub.fetch(cache_dir())
    if name == "phantom":
        from breastus.data.sources.phantom import write_phantoms

        folder = cache_dir() / f"phantom-{phantom_images}-{seed}"
        return write_phantoms(folder, count=phantom_images, seed=seed)
    if name != "auto":
        return _existing(Path(name), "--data")
    if chosen := os.environ.get("BREASTUS_DATA"):
        return _existing(Path(chosen), "$BREASTUS_DATA")
    if RAW.is_dir() and any(not entry.name.startswith(".") for entry in RAW.iterdir()):
        return RAW
    try:
        return resolve("hub", phantom_images=phantom_images, seed=seed)
    except HubError as error:
        warnings.warn(
            "\n" + "=" * 78 + "\nNO REAL DATA: continuing with PHANTOMS, which are simulated "
            "images. A model that\nlearns from them says nothing about patients. For real images "
            f"name their folder\nwith --data.\n({error})\n" + "=" * 78,
            DataWarning,
            stacklevel=2,
        )
        return resolve("phantom", phantom_images=phantom_images, seed=seed)


def check_sources_exist(sources: str | os.PathLike | Iterable[str | os.PathLike]) -> None:
    """Raise DataError unless the named directories and files exist, before any long work."""
    for name in split_sources(sources):
        if name == "auto" and (chosen := os.environ.get("BREASTUS_DATA")):
            _existing(Path(chosen), "$BREASTUS_DATA")
        elif name not in _NAMES:
            _existing(Path(name), "--data")


def read_content(
    path: Path,
    *,
    known_faults: bool,
    keep_faults: Collection[str] = (),
    dicom_frames: int = 1,
    names: ClassNames | None = None,
) -> SourceContent:
    """Read the content of a folder, whose layout is recognised, or of a CSV file.

    Args:
        path: folder or CSV file.
        known_faults: true to exclude images with a published fault.
        keep_faults: kinds of faults that do not exclude an image, of `breastus.labels.FAULTS`.
        dicom_frames: number of frames taken from a multi-frame DICOM file.
        names: names of classes; None takes the usual ones.

    Raises:
        DataError: if the layout is unknown or ambiguous, or its rules are broken.
    """
    names = names or ClassNames()
    try:
        source = find_source("csv") if path.is_file() else recognise_source(path, names)
        content = source.content(path, names)
        content.report_missing()
        if path.is_dir():
            _report_unused_files(path, content)
        content.images = expand_frames(content.images, frames=dicom_frames)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror} ({error.filename}). Check its permissions."
        ) from error
    if not content.images:
        raise DataError(
            f"{path} holds none of the images that its table names. "
            f"{next(iter(content.problems), '')}"
        )
    content.source = source.name
    _check_names(path, content)
    content.problems += _lacking_patients(content)
    return content.exclude_faulty(keep=keep_faults if known_faults else FAULTS)


def _check_names(path: Path, content: SourceContent) -> None:
    """Refuse file names that no manifest can hold."""
    files = [file for image in content.images for file in (image.path, *image.mask_paths)]
    bad = [file for file in files if printable(file.absolute()) != str(file.absolute())]
    if bad:
        raise DataError(
            f"{printable(path)} has names of files or folders that are not UTF-8, of {len(bad)} of "
            f"{len(files)} files. Rename them (Linux: convmv -f latin1 -t utf8 -r --notest). "
            f"Received: {printable(bad[0])}"
        )


def _lacking_patients(content: SourceContent) -> list[str]:
    """Return a sentence for each source that names the patients of some used images only."""
    of_source: dict[str, list[SourceImage]] = {}
    for image in content.images:
        if image.label and not image.excluded:
            of_source.setdefault(image.source or content.source, []).append(image)
    problems = []
    for source, images in of_source.items():
        lacking = [image.name for image in images if not image.patient_id]
        if 0 < len(lacking) < len(images):
            problems.append(
                f"{source}: {len(lacking)} of {len(images)} images have no patient, such as "
                f"{lacking[0]}. Images of one patient may be split apart."
            )
    return problems


def _report_unused_files(folder: Path, content: SourceContent) -> None:
    """Add problems about files that the reader of a data set passed over."""
    tree = walk(folder)
    used = {mask for image in content.images for mask in image.mask_paths}
    used |= {image.path for image in content.images} | content.left_out
    used = {os.path.abspath(file) for file in used}
    content.leave_out(
        [file for file in tree.images if os.path.abspath(file) not in used],
        "is an image, but no part of the data set that was recognised; it is ignored.",
        "are images, but no part of the data set that was recognised; they are ignored.",
    )
    kind_of = {file: _kind(file) for file in tree.others if os.path.abspath(file) not in used}
    unread = [file for file, kind in kind_of.items() if kind and kind not in _NO_IMAGES]
    if unread:
        kinds = Counter(kind_of[file] for file in unread)
        found = ", ".join(f"{kind} ({number})" for kind, number in kinds.most_common(_SHOWN))
        more = f" and {len(kinds) - _SHOWN} other kinds" if len(kinds) > _SHOWN else ""
        content.problems.append(
            f"Files of other kinds in {folder} are not read: {found}{more}, such as {unread[0]}. "
            "Convert them to PNG if they are images."
        )
    content.leave_out(
        tree.unfollowed,
        "links to a folder that is read elsewhere or contains the data; it is not followed.",
        "link to folders that are read elsewhere or contain the data; they are not followed.",
    )


def _kind(file: Path) -> str:
    """Return what a file is that is not read, "" if it is no image."""
    if is_broken_link(file):
        return "broken links"
    suffix = file.suffix.lower()
    if suffix.strip(".0123456789"):
        return suffix
    # `walk` knows image files without a suffix by their first bytes, but not of every format.
    is_binary = file.name.upper() != "DICOMDIR" and b"\0" in first_bytes(file, 132)
    return "no suffix" if is_binary else ""


def cache_dir() -> Path:
    """Return the folder of downloaded and simulated data: `$BREASTUS_CACHE` or a default."""
    return Path(os.environ.get("BREASTUS_CACHE") or Path.home() / ".cache" / "breastus")


def _existing(path: Path, argument: str) -> Path:
    if path.is_dir() or (path.suffix.lower() == ".csv" and path.is_file()):
        return path
    if path.exists():
        raise DataError(f"{argument} must name a directory or a CSV file. Received: {path}")
    try:
        names = [
            entry.name
            for entry in path.parent.iterdir()
            if entry.is_dir() or entry.suffix.lower() == ".csv"
        ]
    except OSError:
        names = []
    raise DataError(
        f"{argument} must be a directory, a CSV file, hub, phantom or auto."
        f"{did_you_mean(path.name, [*names, *_NAMES])} Received: {path}, which does not exist"
    )
