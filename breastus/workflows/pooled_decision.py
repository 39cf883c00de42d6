"""Ensembling of several runs: their mean logits, and a decision fitted on these.

    decision = fit_pooled_decision(runs, settings)       # fitted on all their validation images
    test = out_of_fold_predictions(runs, settings)       # test images, by decisions that are not

In a cross-validation every image is a validation image of one fold and a test image of another. A
decision fitted on all validation images has therefore seen the test images.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from breastus.config.schema import EvaluationConfig
from breastus.errors import RunError
from breastus.evaluation.calibration.logistic import TINY, logit, sigmoid
from breastus.evaluation.decision.conformal import PrecomputedSets
from breastus.evaluation.decision.decision import Decision
from breastus.evaluation.predictions import finding_probabilities, prediction_columns
from breastus.runs.run import Run
from breastus.training.prior_correction import prior_correction_of


def mean_predictions(runs: Sequence[Run], split: str) -> pd.DataFrame:
    """Return each image of a split once, with the mean logit of the runs that have it in the split.

    Images are in the order of their ids; `probability_uncalibrated` is the sigmoid of the mean
    logit. Of runs that learned findings, the logits of the findings are averaged, as in their
    ensemble, before benign and malignant are summed. Other columns that depend on a decision come
    from the first run.
    """
    parts = pd.concat(_tables(runs, split), ignore_index=True)
    check_consistent(parts)
    once = parts.drop_duplicates("image_id").set_index("image_id")
    findings = finding_probabilities(parts, column="probability_uncalibrated")
    if findings is None:
        logits = pd.Series(logit(parts["probability_uncalibrated"].to_numpy(float)))
        means = logits.groupby(parts["image_id"]).mean().loc[once.index]
        once["probability_uncalibrated"] = sigmoid(means.to_numpy())
    else:
        logs = pd.DataFrame(np.log(np.maximum(findings, TINY)))
        means = logs.groupby(parts["image_id"]).mean().loc[once.index]
        columns = prediction_columns(np.exp(means.to_numpy()))
        once[list(columns)] = pd.DataFrame(columns, index=once.index)
    return once.reset_index().sort_values("image_id", ignore_index=True)


def check_consistent(rows: pd.DataFrame) -> None:
    """Refuse rows of several runs, predictions or manifests, that disagree on label or group."""
    for column in ("label", "group_id"):
        several = rows.groupby("image_id")[column].unique()
        if len(wrong := several[several.map(len) > 1]):
            raise RunError(
                f"Runs that are averaged must give each image one {column}. Received: "
                f"{' and '.join(map(repr, wrong.iloc[0]))} of {wrong.index[0]} "
                f"({len(wrong)} in all). Train them on the same manifest.csv."
            )


def fit_pooled_decision(
    runs: Sequence[Run], settings: EvaluationConfig, *, without: Collection[str] = ()
) -> Decision:
    """Fit a decision on the mean validation predictions of several runs.

    The first run gives the seed. Images of the groups `without` are excluded.
    """
    shift = float(np.mean([prior_correction_of(run) for run in runs]))  # logits are averaged
    validation = mean_predictions(runs, "val")
    validation = validation[~validation["group_id"].isin(set(without))].reset_index(drop=True)
    if validation.empty:
        raise RunError(
            f"No decision can be fitted for some test image: {len(runs)} runs tested it, and each "
            "of their validation images is a test image of one of them. Use fewer repeats or more "
            "folds."
        )
    return Decision.fit(validation, settings, seed=runs[0].config.seed, shift=shift)


@dataclass(frozen=True)
class OutOfFoldPredictions:
    """Test images, each with a decision that was fitted without it."""

    table: pd.DataFrame  # predictions, in the order of image ids
    sets: PrecomputedSets  # their conformal sets
    networks: np.ndarray  # int [n], number of networks that predicted each image
    decisions: int  # number of decisions


def splits_overlap(runs: Sequence[Run]) -> bool:
    """Whether a group that one of the runs tests is in the validation part of another."""
    groups = {
        split: {group for table in _tables(runs, split) for group in table["group_id"]}
        for split in ("val", "test")
    }
    return bool(groups["val"] & groups["test"])


def out_of_fold_predictions(
    runs: Sequence[Run], settings: EvaluationConfig
) -> OutOfFoldPredictions:
    """Predict each test image only by the runs that tested it.

    Their decision is fitted on their own validation predictions, without groups that one of them
    tests. So neither the label of an image nor the labels of images tested with it influence its
    prediction. For a single cross-validation this equals its report. With several repeats, the
    folds of an image are taken together, which leaves fewer images to fit on.
    """
    tests = _tables(runs, "test")
    mean = mean_predictions(runs, "test")
    having = pd.concat([table[["image_id"]].assign(run=n) for n, table in enumerate(tests)])
    by = having.groupby("image_id")["run"].agg(tuple).loc[mean["image_id"]].tolist()
    parts, held = [], np.zeros((len(mean), 2), bool)
    for numbers in sorted(set(by)):
        rows = mean[[their == numbers for their in by]]
        tested = {group for number in numbers for group in tests[number]["group_id"]}
        own = [runs[number] for number in numbers]
        decision = fit_pooled_decision(own, settings, without=tested)
        parts.append(decision.apply(rows))
        held[rows.index] = decision.conformal.sets(parts[-1]["probability"].to_numpy())
    table = pd.concat(parts).sort_index()
    sets = PrecomputedSets(held, settings.coverage)
    return OutOfFoldPredictions(table, sets, np.array([*map(len, by)]), len(parts))


def _tables(runs: Sequence[Run], split: str) -> list[pd.DataFrame]:
    return [run.read_predictions(split) for run in runs]
