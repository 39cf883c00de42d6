"""The folder of an external validation: a model evaluated on images of another hospital.

runs/compact/external/bus_uclm/
  manifest.csv, predictions.csv, metrics.json, report.html, figures/
  recalibration.json, robustness.json    only if they were asked for
"""

from typing import Any, ClassVar

import pandas as pd

from breastus.evaluation.predictions import read_predictions, write_predictions
from breastus.evaluation.result_cache import read_cached_result, write_cached_result
from breastus.runs.report_folder import ReportFolder

EXTERNAL_FOLDER = "external"  # of a run
PREDICTIONS_FILE = "predictions.csv"
RECALIBRATION_FILE = "recalibration.json"


class ExternalEvaluation(ReportFolder):
    """A model evaluated on external images.

    Its `metrics` hold what `evaluate_predictions` returns for "test"; `network`, its SHA-256;
    `excluded_training_images`, the number of images that took part in training; `near_duplicates`
    (`excluded`: images that resemble one of these or share its patient or scene, `compared` and
    `missing`: training images that could and could not be compared); `pretrained`, whether the
    model had seen further images; `internal`, scores on the model's own test images; and
    `prevalence_estimate`.

    Args:
        path: the folder.
    """

    WAY_OUT: ClassVar[str] = "Name the folder of breastus evaluate RUN --data OTHER."

    def read_predictions(self) -> pd.DataFrame:
        """Return the predictions."""
        return read_predictions(self.file(PREDICTIONS_FILE))

    def write_predictions(self, table: pd.DataFrame) -> None:
        """Write predictions.csv."""
        write_predictions(table, self.path / PREDICTIONS_FILE)

    def read_recalibration(self, predictions: pd.DataFrame) -> dict[str, Any] | None:
        """Return recalibration.json; None if it is absent or was fitted on other predictions."""
        return read_cached_result(self.path / RECALIBRATION_FILE, predictions=predictions)

    def write_recalibration(self, result: dict[str, Any], predictions: pd.DataFrame) -> None:
        """Write recalibration.json, together with the predictions it was fitted on."""
        write_cached_result(self.path / RECALIBRATION_FILE, result, predictions=predictions)
