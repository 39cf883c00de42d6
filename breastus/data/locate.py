"""From what `--data` names to a folder and its content: a directory, `hub`, `phantom` or `auto`."""

import difflib
import os
import warnings
from pathlib import Path

from breastus.data.sources import SourceContent, bus_uclm, busi, dicom, folder
from breastus.errors import DataError, HubError

RAW = Path("data", "raw")
PHANTOM = "phantom"

_LAYOUTS = (
    "BUSI (benign/benign (1).png, ...), BUS-UCLM (INFO.csv, images/, masks/), class folders "
    "(lump/ and no_lump/, or benign/, malignant/ and normal/, also within train/, val/ and test/), "
    "or hold DICOM files"
)


class DataWarning(UserWarning):
    """Something about the data that a person should know, and that does not stop the work."""


def locate(where: str | os.PathLike, *, phantom_images: int, seed: int) -> tuple[Path, str]:
    """Return the folder that a name stands for, fetching or simulating it where needed.

    `auto` is the first of these that is there: `$BREASTUS_DATA`, `data/raw` if it holds anything,
    the hub, and with the hub out of reach, phantoms.

    Args:
        where: a directory, or `hub`, `phantom` or `auto` (a directory of such a name is `./hub`).
        phantom_images: how many phantoms to simulate.
        seed: of the phantoms.

    Returns:
        The folder, and "phantom" or "" (to be recognised by its layout).

    Raises:
        DataError: when the directory does not exist.
        HubError: when `hub` was asked for and is out of reach.
    """
    if where == "auto":
        return _automatic(phantom_images, seed)
    if where == "hub":
        from breastus.data.sources import hub

        return hub.fetch(cache_dir()), ""
    if where == PHANTOM:
        return _phantoms(phantom_images, seed), PHANTOM
    return _directory(Path(where), "--data"), ""


def read_content(
    path: Path, source: str, *, known_faults: bool, dicom_frames: int = 1
) -> SourceContent:
    """Read a folder's content by its layout.

    Args:
        path: the folder.
        source: "phantom", or "" to recognise the layout.
        known_faults: whether published faults of a data set are marked as excluded.
        dicom_frames: how many frames are taken of a DICOM file with several.

    Raises:
        DataError: when no layout is recognised, or the layout's own rules are broken.
    """
    if source == PHANTOM:
        return folder.read(path, source=PHANTOM)
    try:
        if busi.recognises(path):
            return busi.read(path, known_faults=known_faults)
        if bus_uclm.recognises(path):
            return bus_uclm.read(path)
        if folder.recognises(path):
            return folder.read(path, dicom_frames=dicom_frames)
        if dicom.recognises(path):
            return dicom.read(path, frames=dicom_frames)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror} ({error.filename}). Check its permissions."
        ) from error
    raise DataError(f"{path} has no layout that is known here. It must be {_LAYOUTS}.")


def cache_dir() -> Path:
    """Return where fetched and simulated data is kept: `$BREASTUS_CACHE` or `~/.cache/breastus`."""
    return Path(os.environ.get("BREASTUS_CACHE") or Path.home() / ".cache" / "breastus")


def _automatic(phantom_images: int, seed: int) -> tuple[Path, str]:
    if chosen := os.environ.get("BREASTUS_DATA"):
        return _directory(Path(chosen), "$BREASTUS_DATA"), ""
    if RAW.is_dir() and any(not entry.name.startswith(".") for entry in RAW.iterdir()):
        return RAW, ""
    try:
        return locate("hub", phantom_images=phantom_images, seed=seed)
    except HubError as error:
        warnings.warn(
            "\n" + "=" * 78 + "\nNO REAL DATA: going on with PHANTOMS, images that are simulated. "
            "What is learned\nfrom them says nothing about patients. For real images name their "
            f"folder with --data.\n({error})\n" + "=" * 78,
            DataWarning,
            stacklevel=2,
        )
        return locate(PHANTOM, phantom_images=phantom_images, seed=seed)


def _phantoms(count: int, seed: int) -> Path:
    from breastus.data.sources import phantom

    return phantom.write_phantoms(cache_dir() / f"phantom-{count}-{seed}", count=count, seed=seed)


def _directory(path: Path, argument: str) -> Path:
    if path.is_dir():
        return path
    if path.exists():
        raise DataError(f"{argument} must name a directory. Received: {path}")
    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.is_dir()]
    except OSError:
        names = []
    near = difflib.get_close_matches(path.name, [*names, "hub", "phantom", "auto"], n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise DataError(
        f"{argument} must be a directory, hub, phantom or auto.{hint} Received: {path}, which does "
        "not exist"
    )
