"""The study's data set on the Hugging Face hub: fetched, checked, and kept.

`ShivamRaisharma/breastcancer` holds about 850 breast ultrasound images of the BUSI release (labels,
licence and known faults as in `busi`), its lesion masks among them. Files are fetched by
`huggingface_hub`, which resumes and caches them; here each one's checksum is compared with the
hub's. Whatever the data set holds, folders, Parquet or zip, ends as a folder of image files.

`HF_ENDPOINT`, `HF_HOME`, `HF_HUB_CACHE` and the hub's token mean here what they mean there.

Reference:
    The images are those of `busi`: cite what stands there.
"""

import fnmatch
import json
import os
from pathlib import Path

from tqdm import tqdm

from breastus.data.images import SUFFIXES
from breastus.data.sources.unpack import ARCHIVES, unpack
from breastus.errors import HubError
from breastus.utils.files import write_json
from breastus.utils.hub import matches_checksum

DATASET = "ShivamRaisharma/breastcancer"

# Both cases of every letter, as hub file names tell them apart: *.[pP][nN][gG]
_PATTERNS = [
    "*" + "".join(f"[{c}{c.upper()}]" if c.isalpha() else c for c in suffix)
    for suffix in (*SUFFIXES, *ARCHIVES)
] + ["README.md"]
_MAX_BYTES = 20 * 2**30  # more than this is no set of a few hundred images
_ATTEMPTS = 2  # downloads of a file whose checksum differs
_TIMEOUT = 8  # seconds; with no network the answer is there within ten
_WAYS_OUT = (
    "Ways out: name a folder of your own (--data FOLDER), put the images into data/raw, set "
    "HF_ENDPOINT to a mirror, or try the software out with --data phantom."
)


def fetch(cache: Path, repo_id: str = DATASET) -> Path:
    """Return a folder with the data set's image files.

    Args:
        cache: where unpacked images and the record of checked files are kept.
        repo_id: a data set on the hub.

    Returns:
        A folder in a layout that `read_content` knows. Without a network, what was fetched before.

    Raises:
        HubError: when the hub is out of reach and nothing was fetched before, the data set is not
            there or needs permission, a file stays damaged, or its classes are unknown.
    """
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    own = cache / "hub" / repo_id.replace("/", "--")
    try:
        info = api.dataset_info(repo_id, timeout=_TIMEOUT, files_metadata=True)
    except GatedRepoError as error:
        raise HubError(
            f"The data set {repo_id} needs permission: ask for it on its page, then log in with "
            f"'hf auth login'. {_WAYS_OUT}"
        ) from error
    except RepositoryNotFoundError as error:
        raise HubError(
            f"The hub at {api.endpoint} has no data set {repo_id}, or it is private. {_WAYS_OUT}"
        ) from error
    except (httpx2.HTTPError, HfHubHTTPError, OfflineModeIsEnabled, OSError) as error:
        if (kept := _fetched_before(own)) is not None:
            return kept
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise HubError(
            f"The hub at {api.endpoint} is out of reach ({reason}). {_WAYS_OUT}"
        ) from error

    files = [
        file
        for file in info.siblings
        if any(fnmatch.fnmatchcase(file.rfilename, pattern) for pattern in _PATTERNS)
    ]
    if (total := sum(file.size or 0 for file in files)) > _MAX_BYTES:
        raise HubError(
            f"The data set {repo_id} must be below {_MAX_BYTES >> 30} GiB. "
            f"Received: {total >> 30} GiB"
        )
    snapshot = _download(api, repo_id, info.sha, files, own)
    folder = unpack(snapshot, own / info.sha)
    write_json(own / "latest.json", {"folder": str(folder)})
    return folder


def _download(api, repo_id: str, commit: str, files: list, own: Path) -> Path:
    """Fetch the files of a commit; a damaged one is fetched a second time."""
    record = own / f"{commit}.checked.json"
    checked = json.loads(record.read_text()) if record.is_file() else {}
    for _ in range(_ATTEMPTS):
        snapshot = _snapshot(api, repo_id, commit)
        damaged = []
        bar = tqdm(files, "checking files", leave=False, disable=None)
        for file in bar:
            path = snapshot / file.rfilename
            stamp = [path.stat().st_size, path.stat().st_mtime_ns] if path.exists() else None
            if stamp and checked.get(file.rfilename) == stamp:
                continue
            if stamp and matches_checksum(path, file):
                checked[file.rfilename] = stamp
            else:
                damaged.append(path)
        write_json(record, checked)
        if not damaged:
            return snapshot
        for path in damaged:
            # The name in the snapshot is a link to the content; both have to go.
            path.resolve().unlink(missing_ok=True)
            path.unlink(missing_ok=True)
    names = ", ".join(path.name for path in damaged)
    raise HubError(
        f"{names} of the data set {repo_id} differ from the hub's checksum after {_ATTEMPTS} "
        f"downloads. Try again later. {_WAYS_OUT}"
    )


def _snapshot(api, repo_id: str, commit: str) -> Path:
    import httpx2
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(
                repo_id,
                repo_type="dataset",
                revision=commit,
                endpoint=api.endpoint,
                cache_dir=_hub_cache(),
                allow_patterns=_PATTERNS,
                etag_timeout=_TIMEOUT,
            )
        )
    except (httpx2.HTTPError, OSError, RuntimeError) as error:
        raise HubError(
            f"The data set {repo_id} could not be fetched whole ({error}). What is there is kept: "
            f"run the command again to go on. {_WAYS_OUT}"
        ) from error


def _fetched_before(own: Path) -> Path | None:
    try:
        folder = Path(json.loads((own / "latest.json").read_text())["folder"])
    except (OSError, ValueError, KeyError):
        return None
    return folder if folder.is_dir() else None


def _hub_cache() -> Path:
    # Read here and not at import, as huggingface_hub does, so that a later change is seen.
    if chosen := os.environ.get("HF_HUB_CACHE"):
        return Path(chosen)
    home = os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface"
    return Path(home) / "hub"
