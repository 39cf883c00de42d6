"""How a run holds when its test images get worse: robustness.json and a part of the report out.

    found = evaluate_robustness("runs/compact", severities=(1, 3, 5))
    found["corruptions"]["blur"]["severities"][0]["roc_auc"]

The images are made worse as they were read, and judged with the run's own best network,
calibration and threshold. The result stays in the report for as long as the predictions do.
"""

import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import pandas as pd

from breastus.config.schema import Config
from breastus.data.images import ImageFile
from breastus.errors import DataError
from breastus.evaluation.decision.decision import Decision
from breastus.evaluation.options import EvaluationOptions
from breastus.evaluation.predictions import truth_and_probability
from breastus.evaluation.robustness.corruptions import SEVERITIES
from breastus.evaluation.robustness.evaluate import cells, robustness
from breastus.runs.report_folder import ReportFolder
from breastus.runs.run import Run
from breastus.training.predict_fn import make_predict_fn
from breastus.training.trainer import Trainer
from breastus.workflows.evaluate import evaluate_run


def evaluate_robustness(
    run: Run | str | os.PathLike,
    *,
    severities: Sequence[int] = SEVERITIES,
    corruptions: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Corrupt a run's test images, evaluate them, and write robustness.json and the report.

    It takes as many predictions of the test images as there are corruptions times severities, and
    one: 46 with all of them.

    Args:
        run: a finished run.
        severities: which of 1 to 5.
        corruptions: names of `evaluation.robustness.corruptions.CORRUPTIONS`; None takes them all.

    Returns:
        As from `breastus.evaluation.robustness.evaluate.robustness`.

    Raises:
        ConfigError: for an unknown corruption or severity.
        RunError: when the run is not finished.
        DataError: when an image has changed since the run was tested on it, cannot be read or is
            too small for a corruption.

    Warns:
        UndefinedMetricWarning: for what one class or few groups leave undefined.
    """
    cells(corruptions, severities)  # says what is wrong with them before any image is read
    run = run if isinstance(run, Run) else Run.load(run)
    decision = run.read_decision()
    table = run.read_predictions("test")
    _ = run.network  # raises if it is missing
    network = Trainer(run.path, run.config, {}).best_model()
    found = measure_robustness(
        run,
        config=run.config,
        network=network,
        decision=decision,
        table=table,
        manifest=run.read_manifest(),
        severities=severities,
        corruptions=corruptions,
    )
    evaluate_run(run, decision)
    return found


def measure_robustness(
    folder: ReportFolder,
    *,
    config: Config,
    network: keras.Model,
    decision: Decision,
    table: pd.DataFrame,
    manifest: pd.DataFrame,
    severities: Sequence[int],
    corruptions: Sequence[str] | None,
) -> dict[str, Any]:
    """Measure robustness on images that were predicted; write robustness.json to `folder`.

    Args:
        folder: of the predictions.
        config: settings that they were predicted with.
        network: that predicted them.
        decision: its calibration and threshold.
        table: the predictions.
        manifest: with a row for each of them.
        severities: as of `evaluate_robustness`.
        corruptions: likewise.

    Raises:
        DataError: as `evaluate_robustness`.
    """
    rows = table[["image_id"]].merge(manifest, on="image_id", validate="one_to_one")

    def load(number: int) -> np.ndarray:
        row = rows.iloc[number]
        file = ImageFile.read(row["path"])
        if file.sha256 != row["sha256"]:
            raise DataError(
                f"{row['path']} has changed since it was predicted. Put the old file back, or "
                "evaluate anew."
            )
        return file.pixels

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
