"""Small pictures of a manifest's images for an HTML page, each read once."""

import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from html import escape

import pandas as pd
from PIL import Image
from tqdm import tqdm

from breastus.data.images import read_image
from breastus.errors import ImageError
from breastus.utils.html import image

_SIDE = 240  # longer side of a picture, in pixels
_QUALITY = 78  # of JPEG: about 7 kB a picture
_THREADS = 4


class Album:
    """Pictures of some images of a manifest, as HTML figures.

    Args:
        manifest: rows with `image_id`, `path`, `finding`, `label` and `excluded`.
        image_ids: which will be asked for; they are read here.
    """

    def __init__(self, manifest: pd.DataFrame, image_ids: Iterable[str]):
        self._rows = manifest.set_index("image_id")
        wanted = list(dict.fromkeys(image_ids))
        with ThreadPoolExecutor(_THREADS) as pool:
            made = pool.map(_jpeg, self._rows.loc[wanted, "path"])
            bar = tqdm(made, "drawing pictures", len(wanted), leave=False, disable=None)
            self._jpeg = dict(zip(wanted, bar, strict=True))

    def figure(self, image_id: str, *notes: str) -> str:
        """Return a figure with id and finding below; `notes` are HTML, such as badges."""
        row = self._rows.loc[image_id]
        what = row["finding"] if row["finding"] != "unknown" else row["label"].replace("_", " ")
        name = image_id.partition("/")[2] or image_id
        data = self._jpeg[image_id]
        drawn = image(data, f"{image_id}, {what or 'unknown'}") if data else _NO_PICTURE
        return (
            f"<figure>{drawn}<figcaption><b>{escape(name)}</b><br>"
            f'<span class="{row["label"]}">{escape(what or "unknown")}</span>'
            f"{''.join(f' {note}' for note in notes)}</figcaption></figure>"
        )

    def is_left_out(self, image_id: str) -> bool:
        """Whether an image has a reason not to be used."""
        return bool(self._rows.at[image_id, "excluded"])


_NO_PICTURE = '<div class="nothing" role="img" aria-label="cannot be read">cannot be read</div>'


def _jpeg(path: str) -> bytes:
    try:
        small = Image.fromarray(read_image(path))
    except ImageError:
        return b""
    small.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
