"""The study's data set on the Hugging Face hub, downloaded and kept as a folder of image files.

`ShivamRaisharma/breastcancer` holds about 850 breast ultrasound images of the BUSI release, their
lesion masks among them; `busi` states the origin of the labels, the licence, the citation and the
known faults. The data set may hold folders, Parquet files or zip archives.
"""

import json
import warnings
from pathlib import Path

from breastus.data.images import SUFFIXES
from breastus.data.sources.unpack import ARCHIVES, unpack
from breastus.errors import DataWarning, HubError, HubUnreachableError
from breastus.utils.files import write_json
from breastus.utils.hub import cached_folder, download

DATASET = "ShivamRaisharma/breastcancer"

# Both cases of every letter, because file names on the hub are case-sensitive: *.[pP][nN][gG]
_PATTERNS = [
    "*" + "".join(f"[{c}{c.upper()}]" if c.isalpha() else c for c in suffix)
    for suffix in (*SUFFIXES, *ARCHIVES)
] + ["README.md"]
_WAYS_OUT = (
    "Ways out: name a folder of your own (--data FOLDER), put the images into data/raw, set "
    "HF_ENDPOINT to a mirror, or try the software with --data phantom."
)


def fetch(cache: Path, repo_id: str = DATASET) -> Path:
    """Return a folder with the data set's image files.

    Without a network it is the copy in the cache of `huggingface_hub`, which other programs may
    have downloaded, or else the folder of an earlier call. It warns if that copy was never compared
    with the hub's checksums. `cache` holds the unpacked images and the list of verified files.

    Raises:
        HubError: if the hub cannot be reached and nothing was downloaded before, the data set does
            not exist or needs permission, a file stays damaged, or its classes are unknown.
    """
    own = cache / "hub" / repo_id.replace("/", "--")
    latest = own / "latest.json"
    try:
        snapshot = download(repo_id, _PATTERNS, kind="dataset", records=own)
    except HubError as error:
        snapshot = None
        if isinstance(error, HubUnreachableError):
            snapshot = cached_folder(repo_id, _PATTERNS, kind="dataset")
            if snapshot is None and (earlier := _earlier_folder(latest)):
                return earlier
        if snapshot is None:
            raise type(error)(f"{error} {_WAYS_OUT}") from error
        if not (own / f"{snapshot.name}.checked.json").is_file():
            warnings.warn(
                f"{error} The copy of {repo_id} in {snapshot} is used, without a comparison with "
                "the hub's checksums.",
                DataWarning,
                stacklevel=2,
            )
    folder = unpack(snapshot, own / f"{snapshot.name}-unpacked")
    write_json(latest, {"folder": str(folder)})
    return folder


def _earlier_folder(latest: Path) -> Path | None:
    try:
        folder = Path(json.loads(latest.read_text())["folder"])
    except (OSError, ValueError, KeyError):
        return None
    return folder if folder.is_dir() else None
