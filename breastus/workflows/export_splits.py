"""Export a split: data in; a file of folds for any framework out.

export = breastus.export_splits("path/to/BUSI")
export.split.name        # busi-scenes-v1
"""

import os
from pathlib import Path
from typing import Any, NamedTuple

from breastus.config.schema import Config
from breastus.data.splits.benchmark import (
    FORMATS,
    BenchmarkSplit,
    make_benchmark_split,
    write_benchmark_split,
)
from breastus.errors import ConfigError, RunError, did_you_mean
from breastus.workflows.prepare import Places, prepare_manifest, with_settings

DEFAULTS = Config().replace({"data": {"split": "kfold"}})  # five folds of groups, seed 0


class SplitExport(NamedTuple):
    """A split and its file.

    Attributes:
        split: the images with their folds, and the excluded images, with the reason.
        file: the file.
    """

    split: BenchmarkSplit
    file: Path


def export_splits(
    data: Places | None = None,
    *,
    out: str | os.PathLike | None = None,
    format: str | None = None,
    config: Config | None = None,
    **settings: Any,
) -> SplitExport:
    """Write folds with checksums, groups, exclusions and reasons, to train on without breastus.

    With its default settings, BUSI gives the named split `busi-scenes-v1`. Another split is named
    by its fingerprint.

    Args:
        data: see `breastus.train`.
        out: a new file; None takes the name of the split in the working folder.
        format: csv or json; None takes the suffix of `out`, else csv.
        config: all settings; None takes five folds (`data.split=kfold`) and the defaults.
        **settings: single settings by name, such as `folds=10`, `split="group"` or `seed=1`.

    Raises:
        ConfigError: if a setting or the format is unknown, or groups are ignored.
        RunError: if the file exists or cannot be written.
        DataError: if the data cannot be found or split.
    """
    config = with_settings(config or DEFAULTS, data, settings)
    if format is None:
        format = Path(out).suffix.lower().removeprefix(".") if out is not None else FORMATS[0]
    if format not in FORMATS:
        raise ConfigError(
            f"A split is exported as {' or '.join(FORMATS)}: choose --format, or a file name that "
            f"ends so.{did_you_mean(format, FORMATS)} Received: {format!r}"
        )
    check_groups_kept(config)
    if out is not None:
        _check_new(Path(out))
    split = make_benchmark_split(prepare_manifest(config), config.data, config.seed)
    file = Path(out) if out is not None else Path(f"{split.name}.{format}")
    _check_new(file)
    write_benchmark_split(split, file, format)
    return SplitExport(split, file)


def check_groups_kept(config: Config) -> None:
    """Refuse settings that separate the images of a group."""
    if config.data.groups == "ignore":
        raise ConfigError(
            "data.groups must be keep for a benchmark, whose intervals are over groups. "
            "Received: ignore"
        )


def _check_new(file: Path) -> None:
    if file.exists():
        raise RunError(f"{file} exists. Choose another --out, or delete it.")
