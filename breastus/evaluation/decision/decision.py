"""From a network's probability to a decision: calibrated, called, or referred to a reader.

    decision = decide(validation, config.evaluation, seed=config.seed)
    test = decision.apply(test)

All three parts are fitted on validation predictions, in this order; nothing here ever sees a test
image. What `to_dict` writes is `decision.json` of a run, and travels in the bundle.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from breastus.config.schema import EvaluationConfig
from breastus.errors import UndefinedMetricWarning
from breastus.evaluation.calibration.calibrators import Calibrator
from breastus.evaluation.calibration.fit import fit_calibrator
from breastus.evaluation.decision.conformal import ConformalSets, called, fit_conformal
from breastus.evaluation.decision.thresholds import choose_threshold
from breastus.evaluation.predictions import truth_and_probability


@dataclass(frozen=True)
class Decision:
    """What is made of a network's probability.

    Attributes:
        calibrator: from the network's probability to one that means what it says.
        threshold: called lump when the calibrated probability is at least this.
        conformal: which images to refer to a reader, by the calibrated probability.
        facts: how they were chosen, for a report: `threshold` as from `Threshold.to_dict`,
            `calibration` with the losses by method where a rule chose among them.
    """

    calibrator: Calibrator
    threshold: float
    conformal: ConformalSets
    facts: dict[str, Any]

    def apply(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return predictions with `probability`, `threshold` and `predicted` filled in.

        Args:
            table: predictions with `probability_uncalibrated`.
        """
        probability = self.calibrator.apply(table["probability_uncalibrated"].to_numpy(float))
        return table.assign(
            probability=probability,
            threshold=self.threshold,
            predicted=called(probability, self.threshold),
        )

    def referred(self, y_prob: np.ndarray) -> np.ndarray:
        """Return bool [n], which calibrated probabilities are for a reader to judge: those whose
        set holds both classes or none, or the other one than they are called.
        """
        y_prob = np.asarray(y_prob, float)
        return self.conformal.decide(y_prob) != called(y_prob, self.threshold)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain JSON values."""
        return {
            "calibrator": self.calibrator.to_dict(),
            "threshold": self.threshold,
            "conformal": self.conformal.to_dict(),
            "facts": self.facts,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Decision":
        """Read what `to_dict` wrote.

        Raises:
            ConfigError: when a part of it is damaged.
        """
        return cls(
            Calibrator.from_dict(values["calibrator"]),
            float(values["threshold"]),
            ConformalSets.from_dict(values["conformal"]),
            values["facts"],
        )


def decide(
    validation: pd.DataFrame, settings: EvaluationConfig, *, seed: int, shift: float = 0.0
) -> Decision:
    """Fit calibration, threshold and conformal sets on validation predictions.

    Args:
        validation: a predictions table with `probability_uncalibrated`.
        settings: which calibration, which rule, which coverage.
        seed: of the folds in which calibrations are compared.
        shift: what the training added to the log odds of lump, as from `prior_correction`.

    Returns:
        The decision. Where validation holds one class only, nothing is calibrated and the
        threshold is 0.5, with a warning each.

    Raises:
        DataError: when the predictions are damaged.
    """
    y_true, raw = truth_and_probability(validation, column="probability_uncalibrated")
    groups = validation["group_id"].tolist()
    fit = fit_calibrator(y_true, raw, groups, method=settings.calibration, shift=shift, seed=seed)
    calibrated = fit.calibrator.apply(raw)
    threshold = choose_threshold(
        y_true,
        calibrated,
        groups,
        confidence=settings.confidence,
        **threshold_rule(settings, y_true),
    )
    conformal = fit_conformal(y_true, calibrated, groups, coverage=settings.coverage)
    return Decision(
        fit.calibrator,
        threshold.threshold,
        conformal,
        {"threshold": threshold.to_dict(), "calibration": fit.to_dict()},
    )


def threshold_rule(settings: EvaluationConfig, y_true: np.ndarray) -> dict[str, Any]:
    """Return the rule of the settings and its numbers, as `choose_threshold` takes them.

    Args:
        settings: of an experiment.
        y_true: int [n], 1 for lump, of the images to choose by; of one class only the threshold is
            fixed at 0.5, with a warning.
    """
    if settings.threshold is not None:
        return {"rule": "fixed", "threshold": settings.threshold}
    if len(np.unique(y_true)) < 2:
        warnings.warn(
            "The threshold is 0.5: the validation images are of one class only.",
            UndefinedMetricWarning,
            stacklevel=3,
        )
        return {"rule": "fixed", "threshold": 0.5}
    return {
        "youden": {"rule": "youden"},
        "likelihood": {"rule": "likelihood"},
        "sensitivity": {"rule": "sensitivity", "target": settings.target_sensitivity},
        "cost": {
            "rule": "cost",
            "cost_miss": settings.cost_ratio,
            "cost_alarm": 1.0,
            "prevalence": settings.prevalence,
        },
    }[settings.threshold_rule]
