"""What several runs say together: the mean of their logits, and what is decided by it."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from breastus.config import EvaluationConfig
from breastus.evaluation.decision import Decision, decide
from breastus.evaluation.logistic import logit, sigmoid
from breastus.evaluation.predictions import read_predictions
from breastus.training.odds_shift import odds_shift_of
from breastus.training.run import Run


def mean_predictions(runs: Sequence[Run], split: str) -> pd.DataFrame:
    """Return each image of a split once, with the mean of what those runs said that had it there.

    Args:
        runs: finished.
        split: "val" or "test".

    Returns:
        A predictions table in the order of image ids; `raw` is the mean of logits, its other
        columns that depend on a run's decision are the first run's.
    """
    parts = pd.concat([read_predictions(run.file(f"predictions_{split}.csv")) for run in runs])
    parts = parts.assign(raw=logit(parts["raw"].to_numpy(float)))
    once = parts.drop_duplicates("image_id").set_index("image_id")
    once["raw"] = sigmoid(parts.groupby("image_id")["raw"].mean().loc[once.index].to_numpy())
    return once.reset_index().sort_values("image_id", ignore_index=True)


def decision_together(runs: Sequence[Run], settings: EvaluationConfig) -> Decision:
    """Return what the validation predictions of several runs decide for their average.

    Args:
        runs: finished.
        settings: of the decision; its seed is the first run's.
    """
    shift = float(np.mean([odds_shift_of(run) for run in runs]))  # as logits are averaged
    validation = mean_predictions(runs, "val")
    return decide(validation, settings, seed=runs[0].config.seed, shift=shift)
