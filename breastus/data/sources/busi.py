"""BUSI: 780 breast ultrasound images of 600 women, 437 benign, 210 malignant, 133 normal.

Recorded in 2018 at Baheya Hospital, Cairo (GE LOGIQ E9), classes given by radiologists there,
lesion masks (798) drawn by hand. Its listing on Kaggle states CC0. As released:

    benign/benign (1).png, benign/benign (1)_mask.png, a second lesion in benign (1)_mask_1.png
    malignant/..., normal/... (whose masks are empty)

There are no patient ids, and hundreds of images are near-duplicates of others; `busi_faults` lists
what else is known to be wrong.

Reference:
    Al-Dhabyani, Gomaa, Khaled, Fahmy: Dataset of breast ultrasound images. Data in Brief 28 (2020)
    104863.
"""

import re
from pathlib import Path

from breastus.data.sources import SourceContent, SourceImage, files_below, here_or_below, orphans
from breastus.data.sources.busi_faults import DOPPLER, faults_of
from breastus.errors import DataError
from breastus.labels import label_of_finding

SOURCE = "busi"

_FINDINGS = ("benign", "malignant", "normal")
_IMAGE = re.compile(r"(benign|malignant|normal) \((\d+)\)")
_MASK = re.compile(r"((?:benign|malignant|normal) \(\d+\))_mask(?:_\d+)?")


def recognises(folder: Path) -> bool:
    """Whether the folder, or one at most two levels below, has BUSI's folders and file names."""
    return _root(folder) is not None


def read(folder: Path) -> SourceContent:
    """List the images with their masks and known faults.

    Raises:
        DataError: when the folder of a class is there and holds no images.
    """
    root = _root(folder)
    content = SourceContent(SOURCE)
    for finding in _FINDINGS:
        if not (root / finding).exists():
            continue  # part of the release; whether that can be split is seen later
        files = files_below(root / finding)
        masks: dict[str, list[Path]] = {}
        images: dict[str, Path] = {}
        for file in files:
            if mask := _MASK.fullmatch(file.stem):
                masks.setdefault(mask[1], []).append(file)
            elif _IMAGE.fullmatch(file.stem):
                images[file.stem] = file
            else:
                content.problems.append(
                    f"{file} is not named like an image of BUSI and is left out."
                )
        if not images:
            raise DataError(
                f"{root / finding} holds no images. Put the images of its class there, or remove "
                "the folder."
            )
        content.images += [
            _image(name, file, finding, masks.pop(name, [])) for name, file in images.items()
        ]
        content.problems += orphans(mask for left in masks.values() for mask in left)
    return content


def _image(name: str, file: Path, finding: str, masks: list[Path]) -> SourceImage:
    kind, number = _IMAGE.fullmatch(name).groups()
    return SourceImage(
        name=name,
        path=file,
        mask_paths=tuple(masks),
        finding=finding,
        label=label_of_finding(finding),
        flags=("color_doppler",) if int(number) in DOPPLER[kind] else (),
        faults=faults_of(kind, int(number)),
    )


def _root(folder: Path) -> Path | None:
    for candidate in here_or_below(folder):
        for finding in _FINDINGS:
            for file in (candidate / finding).glob(f"{finding} (*).*"):
                if _IMAGE.fullmatch(file.stem) and not _is_split(candidate):
                    return candidate
    return None


def _is_split(candidate: Path) -> bool:
    # train/benign/benign (1).png: somebody has split it; the class folders' reader keeps the split.
    return candidate.name.lower() in ("train", "val", "valid", "validation", "test")
