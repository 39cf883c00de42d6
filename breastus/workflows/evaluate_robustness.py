"""Robustness to image corruptions: a run in; robustness.json and a section of the report out.

    found = evaluate_robustness("runs/compact", severities=(1, 3, 5))
    found["corruptions"]["blur"]["severities"][0]["roc_auc"]

The images are corrupted as they were read, before any preprocessing, and evaluated with the run's
network, calibration and threshold. The result stays in the report as long as the predictions do.
"""

import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import pandas as pd

from breastus.data.images import read_unchanged
from breastus.evaluation.options import EvaluationOptions
from breastus.evaluation.predictions import truth_and_probability
from breastus.evaluation.robustness.corruptions import SEVERITIES
from breastus.evaluation.robustness.evaluate import cells, robustness
from breastus.runs.report_folder import ReportFolder
from breastus.runs.run import Run
from breastus.training.predict_fn import make_predict_fn
from breastus.workflows.evaluate import evaluate_run
from breastus.workflows.model_artifact import ModelArtifact


def evaluate_robustness(
    run: Run | str | os.PathLike,
    *,
    severities: Sequence[int] = SEVERITIES,
    corruptions: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Corrupt a run's test images, evaluate them, and write robustness.json and the report.

    The test images are predicted unchanged, and for each corruption and severity: 46 times
    with all of them.

    Args:
        run: a finished run.
        severities: severities, 1 to 5.
        corruptions: names of `evaluation.robustness.corruptions.CORRUPTIONS`; None takes all.

    Returns:
        What `breastus.evaluation.robustness.evaluate.robustness` returns.

    Raises:
        ConfigError: if a corruption or severity is unknown.
        RunError: if the run is not finished.
        DataError: if an image has changed since the run was tested on it, cannot be read, or is
            too small for a corruption.

    Warns:
        UndefinedMetricWarning: if one class or few groups leave a metric undefined.
    """
    cells(corruptions, severities)  # reports wrong names before any image is read
    run = run if isinstance(run, Run) else Run.load(run)
    model = ModelArtifact.from_run(run)
    found = measure_robustness(
        run,
        model=model,
        network=model.load_network(),
        table=run.read_predictions("test"),
        manifest=run.read_manifest(),
        severities=severities,
        corruptions=corruptions,
    )
    evaluate_run(run, decision=model.decision)
    return found


def measure_robustness(
    folder: ReportFolder,
    *,
    model: ModelArtifact,
    network: keras.Model,
    table: pd.DataFrame,
    manifest: pd.DataFrame,
    severities: Sequence[int],
    corruptions: Sequence[str] | None,
) -> dict[str, Any]:
    """Measure robustness on the images of a table of predictions; write robustness.json.

    `network` is the loaded network of the model, and the manifest has a row for each prediction.
    """
    config, decision = model.config, model.decision
    rows = table[["image_id"]].merge(manifest, on="image_id", validate="one_to_one")

    def load(number: int) -> np.ndarray:
        row = rows.iloc[number]
        return read_unchanged(row["path"], row["sha256"])

    truth, _ = truth_and_probability(table)
    found = robustness(
        make_predict_fn(network, config=config, calibrator=decision.calibrator),
        load,
        truth,
        table["group_id"].tolist(),
        threshold=decision.threshold,
        severities=severities,
        corruptions=corruptions,
        options=EvaluationOptions.from_settings(config.evaluation, seed=config.seed),
    )
    folder.write_robustness(found, table)
    return found
