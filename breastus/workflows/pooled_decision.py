"""What several runs say together: the mean of their logits, and what is decided by it.

    decision = fit_pooled_decision(runs, settings)       # fitted on all their validation images
    called = out_of_fold_predictions(runs, settings)     # test images, by decisions that are not

Of a cross-validation's folds every image is validation of one and test of another. What the whole
decides is then fitted to the very images that it would be tested on, so each test image is called
by the runs that had it in test, and by what these decide without any image that they test.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from breastus.config.schema import EvaluationConfig
from breastus.errors import RunError
from breastus.evaluation.calibration.logistic import logit, sigmoid
from breastus.evaluation.decision.conformal import PrecomputedSets
from breastus.evaluation.decision.decision import Decision
from breastus.runs.run import Run
from breastus.training.prior_correction import prior_correction_of


def mean_predictions(runs: Sequence[Run], split: str) -> pd.DataFrame:
    """Return each image of a split once, with the mean of what those runs said that had it there.

    Args:
        runs: finished.
        split: "val" or "test".

    Returns:
        A predictions table in the order of image ids; `probability_uncalibrated` is the sigmoid of
        the mean logit, the other columns that depend on a run's decision are the first run's.

    Raises:
        RunError: when two runs give an image another label or group.
    """
    parts = pd.concat(_tables(runs, split))
    check_consistent(parts)
    parts = parts.assign(
        probability_uncalibrated=logit(parts["probability_uncalibrated"].to_numpy(float))
    )
    once = parts.drop_duplicates("image_id").set_index("image_id")
    once["probability_uncalibrated"] = sigmoid(
        parts.groupby("image_id")["probability_uncalibrated"].mean().loc[once.index].to_numpy()
    )
    return once.reset_index().sort_values("image_id", ignore_index=True)


def check_consistent(rows: pd.DataFrame) -> None:
    """Refuse runs that disagree on what an image shows, or on what it belongs to.

    Args:
        rows: of several runs' predictions or manifests: `image_id`, `label` and `group_id`.

    Raises:
        RunError: when an image comes with two labels or two groups.
    """
    for column in ("label", "group_id"):
        several = rows.groupby("image_id")[column].unique()
        if len(wrong := several[several.map(len) > 1]):
            raise RunError(
                f"Runs that are averaged must give each image one {column}. Received: "
                f"{' and '.join(map(repr, wrong.iloc[0]))} of {wrong.index[0]}, and {len(wrong)} "
                "such images in all. Train them on one manifest.csv."
            )


def fit_pooled_decision(
    runs: Sequence[Run], settings: EvaluationConfig, *, without: Collection[str] = ()
) -> Decision:
    """Return what the validation predictions of several runs decide for their average.

    Args:
        runs: finished.
        settings: of the decision; its seed is the first run's.
        without: groups whose images are left out.

    Raises:
        RunError: when no image is left, or as `mean_predictions`.
    """
    shift = float(np.mean([prior_correction_of(run) for run in runs]))  # as logits are averaged
    validation = mean_predictions(runs, "val")
    validation = validation[~validation["group_id"].isin(set(without))].reset_index(drop=True)
    if validation.empty:
        raise RunError(
            f"Some image was tested by {len(runs)} runs that have no validation image which none "
            "of them tests, so nothing can be decided for it. Take fewer repeats, or more folds."
        )
    return Decision.fit(validation, settings, seed=runs[0].config.seed, shift=shift)


@dataclass(frozen=True)
class OutOfFoldPredictions:
    """Test images, called by several decisions.

    Attributes:
        table: a predictions table, in the order of image ids.
        sets: their conformal sets.
        networks: int [n], of how many runs the mean is.
        decisions: how many there were.
    """

    table: pd.DataFrame
    sets: PrecomputedSets
    networks: np.ndarray
    decisions: int


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
    """Call each test image by the runs that had it in test, and by nothing else.

    Their decision is fitted on their own validation predictions, of groups that none of them tests.
    So of an image neither the label nor those of the images that it is tested with have a share in
    how it is called. For a single cross-validation this is what its report is made of; of several
    repeats an image's folds are taken together, and what is left to fit on gets less.

    Args:
        runs: finished.
        settings: of the decisions.

    Raises:
        RunError: as `fit_pooled_decision`.
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
