"""Prepare a data set: settings in; manifest.csv and splits.csv out.

    manifest, splits = prepare("path/to/BUSI", out="data/prepared")

Training, pretraining and cross-validation read and split their images by the same functions.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd

from breastus.config.parsing import join_labels, join_sources
from breastus.config.schema import Config
from breastus.data.manifest.build import load_manifest
from breastus.data.manifest.schema import MANIFEST_FILE, summary, write_manifest
from breastus.data.splits.make import make_splits_of_settings, splits_summary, write_splits
from breastus.errors import RunError
from breastus.runs.run import SPLITS_FILE

PREPARED_FOLDER = Path("data", "prepared")
Places = str | os.PathLike | Sequence[str | os.PathLike]


def prepare(
    data: Places | None = None,
    *,
    out: str | os.PathLike = PREPARED_FOLDER,
    config: Config | None = None,
    **settings: Any,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Write which images are used, which are excluded and why, and how they are split.

    Args:
        data: see `breastus.train`.
        out: a new or empty folder for manifest.csv and splits.csv.
        config: all settings; None takes the defaults.
        **settings: single settings by name, such as `split="kfold"` or `seed=1`.

    Returns:
        Manifest and splits.

    Raises:
        RunError: if the folder is not empty.
        DataError: if the data cannot be found or split; a manifest that cannot be split is kept.
    """
    config = with_settings(config or Config(), data, settings)
    out = Path(out)
    if out.exists() and any(out.iterdir()):
        raise RunError(f"{out} exists and is not empty. Choose another --out, or delete it.")
    manifest = prepare_manifest(config)
    print(summary(manifest), flush=True)
    # Written first: a data set that cannot be split can still be looked at.
    write_manifest(manifest, out / MANIFEST_FILE)
    splits = prepare_splits(config, manifest)
    write_splits(splits, out / SPLITS_FILE)
    print(splits_summary(splits, manifest), flush=True)
    return manifest, splits


def with_settings(config: Config, data: Places | None, settings: dict[str, Any]) -> Config:
    """Return settings with another data set, if one is given, and single settings by name."""
    if data is not None:
        config = config.replace({"data": {"source": join_sources(data)}})
    given = {name: value for name, value in settings.items() if value is not None or name != "seed"}
    if "labels" in given:
        given["labels"] = join_labels(given["labels"])
    return config.replace_by_name(**given)


def free_name(stem: str, files: Callable[[Path], Iterable[Path]] = lambda page: (page,)) -> Path:
    """Return `STEM.html`, or the first of `STEM-2.html`, ... whose `files` do not exist yet."""
    names = (Path(f"{stem}.html" if n == 1 else f"{stem}-{n}.html") for n in count(1))
    return next(name for name in names if not any(file.exists() for file in files(name)))


def prepare_manifest(config: Config) -> pd.DataFrame:
    """Return the manifest of the images that the settings name."""
    return load_manifest(config.data.source, settings=config.data, seed=config.seed)


def prepare_splits(config: Config, manifest: pd.DataFrame) -> pd.DataFrame:
    """Return the splits that the settings ask for."""
    return make_splits_of_settings(manifest, config.data, config.seed)


def data_fingerprint(manifest: pd.DataFrame, splits: pd.DataFrame) -> str:
    """Return a SHA-256 of which image content, with which label, is in which split."""
    rows = splits.merge(manifest, on="image_id", how="left")
    lines = sorted(" ".join(row) for row in rows[["sha256", "label", "split"]].to_numpy())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
