"""Lesion masks among image files, whatever their names: files in, masks and cut-outs out.

Two files are candidates if their names agree but for a folder or a few words: `images/benign/1.png`
and `annotations/benign/1.png`, `a.png` and `GT_a.png`, `1 Image.bmp` and `1 Lesion.bmp`. Only these
are opened, and the content decides which of them is the mask.
"""

import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from breastus.data.images import read_image
from breastus.data.masks import MIN_BLACK, is_cutout, looks_like_mask
from breastus.errors import ImageError
from breastus.utils.threads import in_threads

_FOLDERS, _WORDS = 2, 3  # how many folders and adjacent words may differ
# Names that more files share tell nothing, such as `1` in a folder for each patient.
_SHARED = 8
_BLACK = 8  # grey level up to which a pixel counts as black
_GREY = 24  # number of grey levels that a mask without compression does not have


class MaskFiles(NamedTuple):
    """Files that are no images."""

    masks: dict[Path, Path | None]  # mask to its image; None if it fits several equally well
    cutouts: dict[Path, Path]  # file that shows a part of an image on black, to that image

    def masks_of(self, image: Path) -> list[Path]:
        """Return the masks of an image."""
        return [mask for mask, other in self.masks.items() if other == image]


def find_masks(
    folder: Path, files: Sequence[Path], *, fits: Callable[[Path, Path], bool]
) -> MaskFiles:
    """Find the masks and cut-outs among image files below a folder.

    `fits` is a function (file, image) that returns whether the class and split of a file allow it
    to be a mask of an image.
    """
    partners = {
        file: {other: cost for other, cost in found.items() if fits(file, other)}
        for file, found in _similar_names(folder, files).items()
    }
    candidates = [file for file in files if partners.get(file)]
    looks = in_threads(_look, candidates, "looking for masks")
    look_of = dict(zip(candidates, looks, strict=True))
    no_images = {file for file, look in look_of.items() if look.mask}

    def images_for(file: Path) -> dict[Path, int]:
        return {image: cost for image, cost in partners[file].items() if image not in no_images}

    # A small lesion cut out on black looks like a mask too, so cut-outs are looked for first.
    cutouts = {}
    for file in candidates:
        if look_of[file].may_be_cutout and (image := _cut_from(file, images_for(file))):
            cutouts[file] = image
    no_images |= set(cutouts)
    masks = {}
    for file in candidates:
        if look_of[file].mask and file not in cutouts and (images := images_for(file)):
            best = min(images.values())
            nearest = [image for image, cost in images.items() if cost == best]
            masks[file] = nearest[0] if len(nearest) == 1 else None
    return MaskFiles(masks, cutouts)


class _Look(NamedTuple):
    mask: bool
    may_be_cutout: bool


def _look(path: Path) -> _Look:
    try:
        pixels = read_image(path)
    except ImageError:
        return _Look(False, False)  # reported when the manifest is built
    levels = np.bincount(pixels[..., 1].ravel(), minlength=256)
    black = levels[: _BLACK + 1].sum() / levels.sum()
    may_be_cutout = black >= MIN_BLACK and np.count_nonzero(levels) >= _GREY
    return _Look(looks_like_mask(pixels), bool(may_be_cutout))


def _cut_from(file: Path, images: dict[Path, int]) -> Path | None:
    """Return the image that a file is a part of, if it is."""
    pixels = read_image(file)
    for image in sorted(images, key=images.__getitem__):
        try:
            if is_cutout(pixels, read_image(image)):
                return image
        except ImageError:
            continue
    return None


def _similar_names(folder: Path, files: Sequence[Path]) -> dict[Path, dict[Path, int]]:
    """Return the files of similar name for each file, with the number of words that differ."""
    names = [_name(file.relative_to(folder)) for file in files]
    # Words that all names have need not be left out to make two of them equal.
    common = set.intersection(*({*folders, *words} for folders, words in names)) if names else set()
    common = {word for word in common if not word.isdigit()}
    keys = [_keys(folders, words, common) for folders, words in names]
    members: dict[tuple, list[tuple[Path, int]]] = defaultdict(list)
    for file, costs in zip(files, keys, strict=True):
        for key, cost in costs.items():
            members[key].append((file, cost))
    similar: dict[Path, dict[Path, int]] = {}
    for file, costs in zip(files, keys, strict=True):
        found: dict[Path, int] = {}
        for key, cost in costs.items():
            if len(members[key]) <= _SHARED:
                for other, other_cost in members[key]:
                    found[other] = min(cost + other_cost, found.get(other, cost + other_cost))
        found.pop(file, None)
        if found:
            similar[file] = found
    return similar


def _name(name: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the folders of a file, and the words and numbers of its name."""
    found = re.findall(r"[^\W\d_]+|\d+", name.stem.casefold())
    folders = tuple(f"{part.casefold()}/" for part in name.parent.parts)
    return folders, tuple(word.lstrip("0") or "0" for word in found) or (name.stem,)


def _keys(folders: tuple[str, ...], words: tuple[str, ...], common: set[str]) -> dict[tuple, int]:
    """Return a file's name without some folders and words, with the number of these."""
    costs: dict[tuple, int] = {}
    for kept_words, left_words in _without_words(words, common):
        for kept, left in _without_folders(folders, common):
            key, cost = (kept, kept_words), left + left_words
            costs[key] = min(cost, costs.get(key, cost))
    return costs


def _without_words(
    words: tuple[str, ...], common: set[str]
) -> Iterator[tuple[tuple[str, ...], int]]:
    yield words, 0
    if len(words) <= _WORDS and not any(map(str.isdigit, words)):
        yield (), len(words)  # `case1/image.png` and `case1/mask.png`
    for length in range(1, min(_WORDS, len(words) - 1) + 1):
        for start in range(len(words) - length + 1):
            left = words[start : start + length]
            # The number of an image is what tells it from others: `1 lesion 2` belongs to 1, and
            # `seg 2 case 1` to case 1.
            numbers = [word.isdigit() for word in left]
            last = start + length == len(words)
            beside = last or (start == 0 and not numbers[0])
            if not (common & set(left) or all(numbers) or (any(numbers) and not beside)):
                yield words[:start] + words[start + length :], length


def _without_folders(
    folders: tuple[str, ...], common: set[str]
) -> Iterator[tuple[tuple[str, ...], int]]:
    others = [place for place, name in enumerate(folders) if name not in common]
    for count in range(min(_FOLDERS, len(others)) + 1):
        for left in itertools.combinations(others, count):
            yield tuple(name for place, name in enumerate(folders) if place not in left), count
