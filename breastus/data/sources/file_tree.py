"""Files below a data folder: links are followed once, hidden files are ignored.

    tree = walk(folder)      # tree.images, tree.others, tree.folders, tree.unfollowed

Real folders come first. A link to a folder that is read anyway, or that contains the data folder,
is not followed, so that no file is listed twice and no loop is entered.
"""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from breastus.data.dicom.files import is_dicom, may_be_dicom
from breastus.data.image_files import first_bytes
from breastus.data.images import SUFFIXES
from breastus.errors import DataError

# First bytes of PNG, JPEG, TIFF, WebP and BMP files.
_STARTS = re.compile(rb"\x89PNG\r\n|\xff\xd8\xff|II\*\0|MM\0\*|RIFF.{4}WEBP|BM.{4}\0{4}", re.DOTALL)


class FileTree(NamedTuple):
    """Everything below a folder, in natural order."""

    images: list[Path]  # by their suffix, or if they have none, by their first bytes
    others: list[Path]  # all other files
    folders: list[Path]  # links that are followed among them
    unfollowed: list[Path]  # links to folders that are not followed


def walk(folder: Path) -> FileTree:
    """List a folder. Raises DataError if it, or a folder below it, cannot be read."""
    tree = FileTree([], [], [], [])
    top = os.path.realpath(folder)
    seen = {top}
    links = _walk_real(Path(folder), tree, seen)
    for link in links:  # grows: linked folders may hold links as well
        target = os.path.realpath(link)
        if target in seen or Path(top).is_relative_to(target):
            tree.unfollowed.append(link)
            continue
        seen.add(target)
        tree.folders.append(link)
        links += _walk_real(link, tree, seen)
    for paths in tree:
        paths.sort(key=lambda path: natural_key(path.relative_to(folder).as_posix()))
    return tree


def files_below(folder: Path) -> list[Path]:
    """Return the image files below a folder in natural order, without hidden ones.

    Files without a suffix are opened, because DICOM files often have none.
    """
    return walk(folder).images


def natural_key(text: str) -> list:
    """Return a sorting key that puts `benign (2)` before `benign (10)`."""
    return [int(part) if part.isdigit() else part.lower() for part in re.split(r"(\d+)", text)]


def is_broken_link(path: Path) -> bool:
    """Return whether a file is a link to nothing, or the text that git writes for a link."""
    try:
        if path.is_symlink() or path.suffix or path.stat().st_size > 1000:
            return not path.exists()
        target = path.read_text(encoding="utf-8")
        return "/" in target and "\n" not in target and (path.parent / target).exists()
    except (OSError, ValueError):
        return False


def find_roots(folder: Path, is_root: Callable[[Path], bool]) -> list[Path]:
    """Return the roots of data sets among a folder and the folders up to two levels below.

    Archives often wrap a data set in one or two more folders.
    """
    return list(filter(is_root, _folder_and_below(folder, depth=2)))


def find_root(folder: Path, is_root: Callable[[Path], bool]) -> Path | None:
    """Return the first of `find_roots`, or None."""
    return next(filter(is_root, _folder_and_below(folder, depth=2)), None)


def _walk_real(folder: Path, tree: FileTree, seen: set[str]) -> list[Path]:
    """Add what is below a folder to a tree, without following links; return the links."""

    def refuse(error: OSError) -> None:
        raise DataError(
            f"{error.filename} cannot be read: {error.strerror}. Check its permissions."
        ) from error

    links = []
    for parent, names, files in os.walk(folder, onerror=refuse):
        inner = [Path(parent, name) for name in sorted(names) if not _is_hidden(name)]
        links += [path for path in inner if path.is_symlink()]
        real = [path for path in inner if not path.is_symlink()]
        real = [path for path in real if os.path.realpath(path) not in seen]
        seen.update(map(os.path.realpath, real))
        names[:] = [path.name for path in real]
        tree.folders.extend(real)
        for path in (Path(parent, name) for name in files if not _is_hidden(name)):
            (tree.images if _is_image(path) else tree.others).append(path)
    return links


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
    if path.name.upper() == "DICOMDIR" or not may_be_dicom(path.name):
        return False
    start = first_bytes(path, 132)
    return is_dicom(start, path.suffix) or _STARTS.match(start) is not None


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "__MACOSX"))
