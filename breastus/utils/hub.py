"""The one way to download from the Hugging Face hub: a repository's name in, verified files out.

`huggingface_hub` downloads, resumes and caches; here each file is compared with the checksum that
the hub lists. `HF_ENDPOINT`, `HF_HOME`, `HF_HUB_CACHE` and the hub's token work as usual.
"""

import fnmatch
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from breastus.errors import HubError, HubUnreachableError
from breastus.utils.files import write_json

TIMEOUT = 8  # seconds; without a network the error comes within ten
_MAX_BYTES = 20 * 2**30  # for all files together
_ATTEMPTS = 2  # downloads of a file whose checksum differs


def download(
    repo_id: str,
    patterns: Sequence[str],
    *,
    kind: Literal["dataset", "model"],
    records: Path | None = None,
) -> Path:
    """Download files of a repository, or find them in the cache, and verify their checksums.

    Args:
        repo_id: name on the hub, `owner/name`.
        patterns: names of files, case-sensitive, with wildcards.
        kind: "dataset" or "model".
        records: folder for the list of verified files, so that unchanged files are not hashed
            again; None verifies all files each time.

    Returns:
        The folder of the repository's newest commit.

    Raises:
        HubUnreachableError: if the hub does not answer.
        HubError: if the repository does not exist or needs permission, its files are too large,
            the download breaks off, or a file stays damaged.
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
    try:
        info = api.repo_info(repo_id, repo_type=kind, timeout=TIMEOUT, files_metadata=True)
    except GatedRepoError as error:
        raise HubError(
            f"The {kind} {repo_id} needs permission: ask for it on its page, then log in with "
            "'hf auth login'."
        ) from error
    except RepositoryNotFoundError as error:
        raise HubError(
            f"The hub at {api.endpoint} has no {kind} {repo_id}, or it is private."
        ) from error
    except (httpx2.HTTPError, HfHubHTTPError, OfflineModeIsEnabled, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise HubUnreachableError(
            f"The hub at {api.endpoint} cannot be reached ({reason})."
        ) from error

    files = [
        file
        for file in info.siblings
        if any(fnmatch.fnmatchcase(file.rfilename, pattern) for pattern in patterns)
    ]
    if (total := sum(file.size or 0 for file in files)) > _MAX_BYTES:
        raise HubError(
            f"The {kind} {repo_id} must be below {_MAX_BYTES >> 30} GiB. "
            f"Received: {total >> 30} GiB"
        )
    record = records / f"{info.sha}.checked.json" if records else None
    verified = json.loads(record.read_text()) if record and record.is_file() else {}
    for _ in range(_ATTEMPTS):
        try:
            folder = Path(
                api.snapshot_download(
                    repo_id,
                    repo_type=kind,
                    cache_dir=_cache_dir(),
                    allow_patterns=list(patterns),
                    etag_timeout=TIMEOUT,
                )
            )
        except (httpx2.HTTPError, OSError, RuntimeError) as error:
            raise HubError(
                f"The {kind} {repo_id} could not be downloaded completely ({error}). Finished "
                "files are kept: run the command again to continue."
            ) from error
        damaged = []
        for file in tqdm(files, "verifying files", leave=False, disable=None):
            path = folder / file.rfilename
            stamp = [path.stat().st_size, path.stat().st_mtime_ns] if path.exists() else None
            if stamp and verified.get(file.rfilename) == stamp:
                continue
            if stamp and _matches_checksum(path, file):
                verified[file.rfilename] = stamp
            else:
                damaged.append(path)
        if record:
            write_json(record, verified)
        if not damaged:
            return folder
        for path in damaged:
            # The name in the snapshot is a link to the content; both have to go.
            path.resolve().unlink(missing_ok=True)
            path.unlink(missing_ok=True)
    raise HubError(
        f"{', '.join(path.name for path in damaged)} of the {kind} {repo_id} differ from the hub's "
        f"checksum after {_ATTEMPTS} downloads and were removed. Try again later."
    )


def cached_folder(
    repo_id: str, patterns: Sequence[str], *, kind: Literal["dataset", "model"]
) -> Path | None:
    """Return the folder of a repository in the cache, without a network; see `download`.

    None if the cache does not hold the repository, or is known to lack some of the files.
    The checksums are not verified.
    """
    from huggingface_hub import HfApi

    try:
        folder = Path(
            HfApi().snapshot_download(
                repo_id,
                repo_type=kind,
                cache_dir=_cache_dir(),
                allow_patterns=list(patterns),
                local_files_only=True,
            )
        )
    except (LookupError, OSError, ValueError):
        return None
    # The files are links to their content, which may have been deleted.
    return folder if all(path.exists() for path in folder.rglob("*")) else None


def _matches_checksum(path: Path, file) -> bool:
    """Return whether a file has the checksum, or else the size, that the hub lists for it."""
    content = path.read_bytes()
    if file.lfs is not None:
        return hashlib.sha256(content).hexdigest() == file.lfs.sha256
    if file.blob_id is not None:
        # Small files have git's own checksum: SHA-1 of a header and the content.
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == file.blob_id
    return file.size in (None, len(content))  # a mirror without checksums


def _cache_dir() -> Path:
    # huggingface_hub reads these at import; read here, a later change is seen.
    if chosen := os.environ.get("HF_HUB_CACHE"):
        return Path(chosen)
    if home := os.environ.get("HF_HOME"):
        return Path(home) / "hub"
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "huggingface" / "hub"
