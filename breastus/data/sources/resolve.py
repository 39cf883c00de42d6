"""From what `--data` names to a folder or CSV file, and to what it holds."""

import difflib
import os
import warnings
from collections.abc import Collection, Iterable
from pathlib import Path

from breastus.config.parsing import split_sources
from breastus.data.sources import (
    SourceContent,
    breast_usg,
    bus_bra,
    bus_uclm,
    busi,
    csv_table,
    dicom,
    folder,
    udiat,
)
from breastus.errors import DataError, DataWarning, HubError
from breastus.labels import FAULTS

RAW = Path("data", "raw")
PHANTOM = "phantom"

# Each reads a folder that it recognises: the public data sets by what only they have ...
PUBLIC = {
    "BUSI": busi,
    "BUS-UCLM": bus_uclm,
    "BUS-BRA": bus_bra,
    "BrEaST": breast_usg,
    "UDIAT": udiat,
}
# ... and one's own images, the first that recognises the folder.
OWN = {
    "a CSV": csv_table,
    "class folders": folder,
    "DICOM files": dicom,
}

_LAYOUTS = (
    f"one of the public data sets {', '.join(PUBLIC)} as released; images.csv, or a single CSV, "
    "with the columns path and label; class folders (lump/ and no_lump/, or benign/, malignant/ "
    "and normal/, also within train/, val/ and test/); or DICOM files"
)


def locate(where: str | os.PathLike, *, phantom_images: int, seed: int) -> tuple[Path, str]:
    """Return the folder or CSV file that a name stands for, fetching or simulating it where needed.

    `auto` is the first of these that is there: `$BREASTUS_DATA`, `data/raw` if it holds anything,
    the hub, and with the hub out of reach, phantoms.

    Args:
        where: a directory or CSV file, or `hub`, `phantom` or `auto` (a directory of such a name
            is `./hub`).
        phantom_images: how many phantoms to simulate.
        seed: of the phantoms.

    Returns:
        The folder or file, and "phantom" or "" (to be recognised by its layout).

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


def check_places(where: str | os.PathLike | Iterable[str | os.PathLike]) -> None:
    """See that the directories and files that are named are there; nothing is fetched or read.

    To be called before what takes long or goes to the network.

    Args:
        where: as for `load_manifest`.

    Raises:
        DataError: when one does not exist.
    """
    for name in split_sources(where):
        if name == "auto" and (chosen := os.environ.get("BREASTUS_DATA")):
            _directory(Path(chosen), "$BREASTUS_DATA")
        elif name not in ("auto", "hub", PHANTOM):
            _directory(Path(name), "--data")


def read_content(
    path: Path,
    source: str,
    *,
    known_faults: bool,
    keep_faults: Collection[str] = (),
    dicom_frames: int = 1,
) -> SourceContent:
    """Read what a folder or CSV file holds, by its layout.

    Args:
        path: as from `locate`.
        source: likewise.
        known_faults: whether images with a known fault are excluded.
        keep_faults: kinds of faults that do not exclude one, of `breastus.labels.FAULTS`.
        dicom_frames: how many frames are taken of a DICOM file with several.

    Raises:
        DataError: when no layout is recognised, several data sets are, or the layout's own rules
            are broken.
    """
    try:
        reader = folder if source == PHANTOM else _reader(path)
        content = reader.read(path)
        content.images = dicom.with_frames(content.images, frames=dicom_frames)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror} ({error.filename}). Check its permissions."
        ) from error
    if source:
        content.source = source
    return content.without_faulty(keep=keep_faults if known_faults else FAULTS)


def _reader(path: Path):
    if path.is_file():
        return csv_table
    public = {name: module for name, module in PUBLIC.items() if module.recognises(path)}
    if len(public) > 1:
        raise DataError(
            f"{path} holds several data sets: {', '.join(public)}. Name the folder of each (on the "
            "command line: --data A --data B), or of one."
        )
    own = (module for module in OWN.values() if module.recognises(path))
    if (module := next(iter(public.values()), None) or next(own, None)) is not None:
        return module
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
    near = difflib.get_close_matches(path.name, [*names, "hub", "phantom", "auto"], n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise DataError(
        f"{argument} must be a directory, a CSV file, hub, phantom or auto.{hint} "
        f"Received: {path}, which does not exist"
    )
