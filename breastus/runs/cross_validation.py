"""The folder of a cross-validation: a run for each fold, and the pooled predictions.

runs/compact-cv/
  settings.yaml                what was asked for; other data or settings are refused
  manifest.csv                 the images, prepared once
  repeat-0-fold-0/ ...         a run folder each
  predictions_oof.csv          every image once a repeat, by a network that never saw its group
  metrics.json, report.html, figures/
  bundle/                      only if the folds were exported there
"""

import itertools
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import pandas as pd

from breastus.config.schema import Config
from breastus.runs.report_folder import ReportFolder, read_config
from breastus.runs.run import BUNDLE_FOLDER, CONFIG_FILE, Run
from breastus.utils.files import write_csv, write_text

PREDICTIONS_FILE = "predictions_oof.csv"
SETTINGS_FILE = "settings.yaml"  # not config.yaml, which marks a run folder
_FOLDS = "repeat-*-fold-*"


class CrossValidation(ReportFolder):
    """A cross-validation on disk.

    Its `metrics` hold the means over repeats that `recipe_metrics` returns, and `referral` and
    `subgroups` of the first repeat.

    Args:
        path: the folder.
    """

    WAY_OUT: ClassVar[str] = "Run the same command again to finish the cross-validation."

    @classmethod
    def is_one(cls, path: Path) -> bool:
        """Whether a folder holds the folds of a cross-validation."""
        return any(path.glob(_FOLDS))

    @property
    def bundle(self) -> Path:
        """The folder of the bundle of all folds, which may not exist."""
        return self.path / BUNDLE_FOLDER

    @property
    def settings(self) -> Config | None:
        """The settings that were asked for; None if an earlier version did not write them."""
        file = self.path / SETTINGS_FILE
        return read_config(file) if file.is_file() else None

    def write_settings(self, config: Config) -> None:
        """Write settings.yaml."""
        write_text(self.path / SETTINGS_FILE, config.to_yaml())

    def fold(self, repeat: int, fold: int, rotation: int = 0) -> Path:
        """Return the run folder of a fold.

        Args:
            repeat: number of the repeat, from 0.
            fold: number of the test fold, from 0.
            rotation: number of the validation fold among the other folds, from 0.
        """
        suffix = f"-rotation-{rotation}" if rotation else ""
        return self.path / f"repeat-{repeat}-fold-{fold}{suffix}"

    @cached_property
    def runs(self) -> list[Run]:
        """The runs by repeat, fold and validation rotation."""
        found = [Run(file.parent) for file in self.path.glob(f"{_FOLDS}/{CONFIG_FILE}")]
        return sorted(found, key=lambda run: (*_fold_of(run), run.config.data.val_rotation))

    @cached_property
    def folds(self) -> list[list[Run]]:
        """The runs of each fold, one for each validation rotation, repeat by repeat."""
        return [list(runs) for _, runs in itertools.groupby(self.runs, key=_fold_of)]

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """Out-of-fold predictions: the columns of a predictions table, and `repeat` and `fold`."""
        return pd.read_csv(self.file(PREDICTIONS_FILE), keep_default_na=False)

    def write_predictions(self, tables: Sequence[pd.DataFrame]) -> None:
        """Write predictions_oof.csv, one table a repeat."""
        write_csv(self.path / PREDICTIONS_FILE, pd.concat(tables, ignore_index=True))
        self.__dict__.pop("predictions", None)


def _fold_of(run: Run) -> tuple[int, int]:
    return run.config.seed, run.config.data.fold
