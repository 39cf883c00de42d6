"""Show images of a data set as training sees them: settings in, a contact sheet as PNG out."""

import os
from pathlib import Path
from typing import Any

from breastus.augmentation.contact_sheet import contact_sheet
from breastus.augmentation.policies import build_augmenter
from breastus.config.schema import Config
from breastus.data.images import read_image
from breastus.data.manifest.schema import sample_balanced
from breastus.errors import ConfigError, RunError
from breastus.preprocessing.transform import Transform
from breastus.utils.files import write_aside
from breastus.workflows.prepare import Places, prepare_manifest, with_settings

SHEET = Path("sheet.png")


def show(
    data: Places | None = None,
    *,
    out: str | os.PathLike | None = None,
    count: int = 4,
    augment: bool = False,
    config: Config | None = None,
    **settings: Any,
) -> Path:
    """Draw some images, and with `augment` augmented copies of them.

    Args:
        data: see `breastus.train`.
        out: a new PNG file; None takes sheet.png, which is replaced.
        count: number of images.
        augment: true to draw augmented copies.
        config: all settings; None takes the defaults.
        **settings: single settings by name, such as `color="parula"`.

    Returns:
        The PNG file.

    Raises:
        ConfigError: if `count` is below 1.
        RunError: if `out` exists.
    """
    if out is not None and Path(out).exists():
        raise RunError(f"{out} exists. Choose another --out, or delete it.")
    if count < 1:
        raise ConfigError(f"--count must be at least 1. Received: {count}")
    config = with_settings(config or Config(), data, settings)
    rows = sample_balanced(prepare_manifest(config), count, seed=config.seed)
    transform = Transform.from_config(config)
    figure = contact_sheet(
        [transform.crop_and_resize(read_image(path)).numpy() for path in rows["path"]],
        [image_id.rpartition("/")[2] for image_id in rows["image_id"]],
        augmenter=build_augmenter(config.augmentation.policy) if augment else None,
        seed=config.seed,
    )
    sheet = Path(out) if out is not None else SHEET
    with write_aside(sheet) as aside:
        figure.savefig(aside, dpi=120)
    return sheet
