"""Whether a file that was fetched is the one that the Hugging Face hub lists."""

import hashlib
from pathlib import Path


def matches_checksum(path: Path, file) -> bool:
    """Return whether a file has the checksum, or else the size, that the hub lists for it.

    Args:
        path: of the file.
        file: as `huggingface_hub` lists it with `files_metadata=True`.
    """
    data = path.read_bytes()
    if file.lfs is not None:
        return hashlib.sha256(data).hexdigest() == file.lfs.sha256
    if file.blob_id is not None:
        # Small files carry git's own checksum: SHA-1 of a header and the content.
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest() == file.blob_id
    return file.size in (None, len(data))  # a mirror that lists no checksums
