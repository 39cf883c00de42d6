"""A folder with predictions, metrics and a report: what every kind of evaluation leaves on disk.

Runs, external validations and cross-validations share these files; each adds its own.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from breastus.config.schema import Config
from breastus.data.manifest.schema import MANIFEST_FILE, read_manifest, write_manifest
from breastus.errors import ConfigError, RunError
from breastus.evaluation.result_cache import read_cached_result, write_cached_result
from breastus.utils.files import read_json, write_json

METRICS_FILE = "metrics.json"
ROBUSTNESS_FILE = "robustness.json"
REPORT_FILE = "report.html"
FIGURES_FOLDER = "figures"


@dataclass(frozen=True)
class ReportFolder:
    """A folder with a report.

    Args:
        path: the folder.
    """

    path: Path

    WAY_OUT: ClassVar[str] = ""  # ends the error about a missing file

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))  # a text is allowed

    def file(self, name: str) -> Path:
        """Return the path of a file in the folder.

        Raises:
            RunError: if the file does not exist.
        """
        path = self.path / name
        if not path.exists():
            raise RunError(f"{path} does not exist. {self.WAY_OUT}")
        return path

    def has(self, name: str) -> bool:
        """Whether a file exists in the folder."""
        return (self.path / name).exists()

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.path / REPORT_FILE

    @property
    def figures(self) -> Path:
        """The folder of figures."""
        return self.path / FIGURES_FOLDER

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """Metrics with intervals: `run.metrics["test"]["roc_auc"]["value"]`."""
        return read_json(self.file(METRICS_FILE))

    def write_metrics(self, metrics: dict[str, Any]) -> None:
        """Write metrics.json."""
        self._write_json(METRICS_FILE, metrics, "metrics")

    def read_manifest(self) -> pd.DataFrame:
        """Return the manifest of the images."""
        return read_manifest(self.file(MANIFEST_FILE))

    def write_manifest(self, manifest: pd.DataFrame) -> None:
        """Write manifest.csv."""
        write_manifest(manifest, self.path / MANIFEST_FILE)

    def read_robustness(self, predictions: pd.DataFrame) -> dict[str, Any] | None:
        """Return robustness.json; None if it is absent or was measured on other predictions.

        Warns:
            StaleResultWarning: if there is one of other predictions, which stays.
        """
        return read_cached_result(self.path / ROBUSTNESS_FILE, predictions=predictions)

    def write_robustness(self, result: dict[str, Any], predictions: pd.DataFrame) -> None:
        """Write robustness.json, together with the predictions it was measured on."""
        write_cached_result(self.path / ROBUSTNESS_FILE, result, predictions=predictions)

    def _write_json(self, name: str, values: dict[str, Any], cached: str = "") -> None:
        write_json(self.path / name, values)
        self.__dict__.pop(cached, None)  # the next access reads what was written


def read_config(file: Path) -> Config:
    """Read the settings of a run or cross-validation.

    Raises:
        RunError: if an earlier version wrote them and this one does not know them all.
    """
    try:
        return Config.from_yaml(file)
    except ConfigError as error:
        raise RunError(
            f"{file} cannot be used, probably because an earlier version of breastus wrote it. "
            f"Train again, in a new folder. {error}"
        ) from error
