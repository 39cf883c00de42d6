"""Phantoms: simulated B-mode images in class folders, with exact lesion masks.

    no_lump/phantom_00000_normal.png
    lump/phantom_00001_benign.png, lump/phantom_00001_benign_mask.png

They serve to try the software without data; a model that learned from them says nothing about
patients. Each file contains a mark, which gives every copy of it the flag `simulated` in a
manifest, and a model that learned from one states so with every prediction.
"""

import json
from pathlib import Path

from tqdm import tqdm

from breastus.data.images import to_png
from breastus.data.sources import class_folders
from breastus.data.sources.class_names import ClassNames
from breastus.data.sources.content import SourceContent
from breastus.data.sources.registry import register_source
from breastus.errors import DataError
from breastus.labels import label_of_finding
from breastus.phantoms.simulation import VERSION, simulate_phantom
from breastus.utils.files import write_folder_aside, write_json

_MARKER = "phantoms.json"


@register_source("phantom", recognises=lambda folder: (folder / _MARKER).is_file(), is_layout=True)
def read(folder: Path) -> SourceContent:
    """List the phantoms of a folder that `write_phantoms` wrote."""
    return class_folders.read(folder, ClassNames())


def write_phantoms(folder: Path, *, count: int, seed: int) -> Path:
    """Simulate `count` images into a folder, unless they are there already, and return it.

    The folder is written atomically; phantoms of other arguments are replaced.

    Raises:
        DataError: if the folder holds something else.
        RunError: if the folder cannot be written.
    """
    wanted = {"simulated": True, "count": count, "seed": seed, "version": VERSION}
    marker = folder / _MARKER
    if marker.is_file() and json.loads(marker.read_text()) == wanted:
        return folder
    if folder.exists() and not marker.is_file():
        raise DataError(f"{folder} holds something other than phantoms. Choose another folder.")
    with write_folder_aside(folder) as aside:
        bar = tqdm(range(count), "simulating images", leave=False, disable=None)
        for index in bar:
            phantom = simulate_phantom(seed, index)
            parent = aside / label_of_finding(phantom.finding)
            parent.mkdir(exist_ok=True)
            name = f"phantom_{index:05d}_{phantom.finding}"
            (parent / f"{name}.png").write_bytes(to_png(phantom.image, simulated=True))
            if phantom.mask.any():
                (parent / f"{name}_mask.png").write_bytes(to_png(phantom.mask, simulated=True))
        write_json(aside / _MARKER, wanted)
    return folder
