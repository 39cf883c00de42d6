"""A folder of DICOM files at any depth, with the suffix .dcm or none; DICOMDIR is ignored.

The headers state the patient, colour flow and text in the pixels. The label is unknown, unless the
files are in class folders, which `breastus.data.sources.class_folders` reads. Of a multi-frame file
`data.dicom_frames` frames are taken, evenly spaced; they share file and patient, so no split
separates them.

Patients become `patient-0001` etc. in the order of their first file, so that no id is kept.
The names of files and folders are kept as they are.
"""

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from breastus.data.dicom.files import SUFFIXES, frame_path, is_dicom_file
from breastus.data.sources.content import SourceContent, SourceImage
from breastus.data.sources.file_tree import files_below
from breastus.data.sources.registry import register_source
from breastus.errors import ImageError


def _has_dicom_files(folder: Path) -> bool:
    return any(is_dicom_file(file) for file in files_below(folder))


@register_source("dicom", recognises=_has_dicom_files, is_layout=True)
def read(folder: Path) -> SourceContent:
    """List all DICOM files; unreadable ones are reported when the manifest is built."""
    content = SourceContent()
    files = files_below(folder)
    names = [file.relative_to(folder).as_posix() for file in files]
    # Only these suffixes are removed: in 1.2.840.7 the last number is part of the name.
    stems = [
        os.path.splitext(name)[0] if name.lower().endswith(SUFFIXES) else name for name in names
    ]
    for file, name, stem in zip(files, names, stems, strict=True):
        if is_dicom_file(file):
            content.images.append(
                SourceImage(name=name if stems.count(stem) > 1 else stem, path=file)
            )
    content.leave_out(
        [file for file in files if not is_dicom_file(file)],
        "is not a DICOM file and is ignored.",
        "are not DICOM files and are ignored. Put them into class folders if they are images.",
    )
    return content


def expand_frames(images: Iterable[SourceImage], *, frames: int) -> list[SourceImage]:
    """Replace each DICOM file by up to `frames` frames, with patient and flags from its header.

    A patient that the source names has priority. Other images stay as they are, and so do
    unreadable files, which are reported when the manifest is built.
    """
    images = list(images)
    if not any(is_dicom_file(image.path) for image in images):
        return images
    from breastus.data.dicom.dicom_file import DicomFile

    expanded, numbers = [], {}
    for image in tqdm(images, "reading headers", leave=False, disable=None):
        if not is_dicom_file(image.path):
            expanded.append(image)
            continue
        try:
            file = DicomFile.read(image.path, pixels=False)
        except ImageError:
            expanded.append(image)
            continue
        patient = ""
        if file.patient:
            patient = f"patient-{numbers.setdefault(file.patient, len(numbers) + 1):04d}"
        image = replace(
            image,
            patient_id=image.patient_id or patient,
            flags=(*image.flags, *(flag for flag in file.flags if flag not in image.flags)),
        )
        if file.frames == 1:
            expanded.append(image)
            continue
        digits = len(str(file.frames))
        expanded += [
            replace(
                image,
                name=f"{image.name}/frame {number:0{digits}d}",
                path=frame_path(image.path, number),
                mask_paths=(),  # one mask does not fit every frame
            )
            for number in evenly_spaced(file.frames, frames)
        ]
    return expanded


def evenly_spaced(count: int, wanted: int) -> list[int]:
    """Return `wanted` of the numbers 1 to `count`: the middles of as many equal parts.

    >>> evenly_spaced(30, 1), evenly_spaced(30, 3), evenly_spaced(2, 5)
    ([15], [5, 15, 25], [1, 2])
    """
    wanted = min(count, wanted)
    return [int(number) for number in np.ceil((np.arange(wanted) + 0.5) * count / wanted)]
