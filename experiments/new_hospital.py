"""What a few labelled images of another hospital mend of calibration and threshold.

    lines = recalibrated(elsewhere, config.evaluation)

`breastus evaluate BUNDLE --data OTHER --recalibrate N` draws once; with few patients it then
depends on whom it drew. Here many draws are averaged.
"""

import dataclasses
import warnings

import numpy as np
import pandas as pd

from breastus.config.schema import EvaluationConfig
from breastus.errors import DataError
from breastus.evaluation.calibration.recalibration_study import recalibration_study

IMAGES = (25, 50)
DRAWS = 50
COLUMNS = {
    "balanced_accuracy": "balanced accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "ece": "calibration error",
    "brier": "Brier score",
}
_RESAMPLES = 100  # of intervals that nobody asks for


def recalibrated(elsewhere: pd.DataFrame, settings: EvaluationConfig) -> list[str]:
    """Return the lines of a table: scores before and after, on the images not drawn.

    Args:
        elsewhere: predictions of the other hospital.
        settings: of the decision; its threshold's rule is applied anew.
    """
    settings = dataclasses.replace(settings, resamples=_RESAMPLES)
    rows, counts = [], []
    for images in IMAGES:
        trials = [
            trial for seed in range(DRAWS) if (trial := _trial(elsewhere, settings, images, seed))
        ]
        counts.append(f"{len(trials)} draws of {images}")
        if trials:
            names = {f"{images} images: as it came": "before", "recalibrated": "after"}
            rows += [_row(name, [trial[part] for trial in trials]) for name, part in names.items()]
    return [
        "What some labelled images of that hospital would mend, as `breastus evaluate BUNDLE "
        "--data OTHER --recalibrate N` does: calibration and threshold are fitted to them and "
        f"judged on the others. Whole patients are drawn, {DRAWS} times; draws that left too few "
        f"of a class to fit to or to judge by do not count, so that {' and '.join(counts)} images "
        "do. Mean over draws, and what nine draws of ten lie between.",
        "",
        f"| | {' | '.join(COLUMNS.values())} |",
        "|---" * (1 + len(COLUMNS)) + "|",
        *rows,
    ]


def _trial(elsewhere, settings, images: int, seed: int):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that few patients were drawn
        try:
            return recalibration_study(elsewhere, settings, images=images, seed=seed)
        except DataError:  # this draw cannot be fitted to or judged by
            return None


def _row(name: str, scores: list[dict]) -> str:
    cells = []
    for key in COLUMNS:
        values = [score[key]["value"] for score in scores]
        low, high = np.quantile(values, [0.05, 0.95])
        cells.append(f"{np.mean(values):.2f} ({low:.2f} to {high:.2f})")
    return f"| {' | '.join([name, *cells])} |"
