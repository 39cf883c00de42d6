"""A folder of DICOM files, at any depth, with the suffix .dcm or none; DICOMDIR is skipped.

What is known is what the headers say: the patient, colour flow, text in the pixels. The label is
unknown, unless the files lie in class folders, which the reader of those then names. Of a file with
several frames `data.dicom_frames` are taken, evenly spread; they share the file and the patient, so
that no split cuts them apart.

Patients become `patient-0001`, ... in the order in which the files name them. Nobody can be found
by that: it follows from no id. The names of files and folders are kept as they are.
"""

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from breastus.data.dicom.files import SUFFIXES, frame_path, is_dicom_file
from breastus.data.sources import SourceContent, SourceImage, files_below
from breastus.errors import ImageError

SOURCE = "dicom"


def recognises(folder: Path) -> bool:
    """Whether a DICOM file lies anywhere below."""
    return any(is_dicom_file(file) for file in files_below(folder))


def read(folder: Path) -> SourceContent:
    """List all DICOM files, whole; a file that cannot be read is left for later to report."""
    content = SourceContent(SOURCE)
    files = files_below(folder)
    names = [file.relative_to(folder).as_posix() for file in files]
    # Only these suffixes are cut off: in 1.2.840.7 the last number is none.
    stems = [
        os.path.splitext(name)[0] if name.lower().endswith(SUFFIXES) else name for name in names
    ]
    for file, name, stem in zip(files, names, stems, strict=True):
        if is_dicom_file(file):
            content.images.append(
                SourceImage(name=name if stems.count(stem) > 1 else stem, path=file)
            )
        else:
            content.problems.append(f"{file} is not a DICOM file and is left out.")
    return content


def with_frames(images: Iterable[SourceImage], *, frames: int) -> list[SourceImage]:
    """Put in the place of each DICOM file its frames, with patient and flags from its header.

    A patient that the source names stands.

    Images of other kinds are left as they are, and so are files that cannot be read: what is wrong
    with them is said when they are.

    Args:
        images: one for each file.
        frames: how many to take of a file with several.
    """
    images = list(images)
    if not any(is_dicom_file(image.path) for image in images):
        return images
    from breastus.data.dicom.dicom_file import DicomFile

    found, numbers = [], {}
    for image in tqdm(images, "reading headers", leave=False, disable=None):
        if not is_dicom_file(image.path):
            found.append(image)
            continue
        try:
            file = DicomFile.read(image.path, pixels=False)
        except ImageError:
            found.append(image)
            continue
        patient = ""
        if file.patient:
            patient = f"patient-{numbers.setdefault(file.patient, len(numbers) + 1):04d}"
        image = replace(
            image,
            patient_id=image.patient_id or patient,
            flags=(*image.flags, *(flag for flag in file.flags if flag not in image.flags)),
        )
        found += [image] if file.frames == 1 else _frames(image, file.frames, frames)
    return found


def _frames(image: SourceImage, count: int, wanted: int) -> list[SourceImage]:
    digits = len(str(count))
    return [
        replace(
            image,
            name=f"{image.name}/frame {number:0{digits}d}",
            path=frame_path(image.path, number),
            mask_paths=(),  # one mask is not that of every frame
        )
        for number in spread(count, wanted)
    ]


def spread(count: int, wanted: int) -> list[int]:
    """Return the numbers, from 1, of `wanted` of `count` frames: the middles of as many parts.

    >>> spread(30, 1), spread(30, 3), spread(2, 5)
    ([15], [5, 15, 25], [1, 2])
    """
    wanted = min(count, wanted)
    return [int(number) for number in np.ceil((np.arange(wanted) + 0.5) * count / wanted)]
