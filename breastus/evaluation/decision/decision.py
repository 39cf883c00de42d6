"""From a network's probability to a decision: calibrated, classified, or referred to a reader.

    decision = Decision.fit(validation, config.evaluation, seed=config.seed)
    test = decision.apply(test)

Calibrator, threshold and conformal sets are fitted on validation predictions, in this order, never
on test images. `to_dict` gives the content of a run's `decision.json`, which travels in the bundle.
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
from breastus.evaluation.decision.conformal import ConformalSets, fit_conformal, predicted_labels
from breastus.evaluation.decision.thresholds import choose_threshold
from breastus.evaluation.predictions import truth_and_probability


@dataclass(frozen=True)
class Decision:
    """Calibrator, threshold and conformal sets of a model.

    Attributes:
        calibrator: calibrator of the network's probability.
        threshold: images are predicted lump when the calibrated probability is at least this.
        conformal: prediction sets of the calibrated probability, for referral to a reader.
        selection: record of the choice, for a report: `threshold` as from `Threshold.to_dict`,
            `calibration` as from `CalibratorFit.to_dict`.
    """

    calibrator: Calibrator
    threshold: float
    conformal: ConformalSets
    selection: dict[str, Any]

    @classmethod
    def fit(
        cls, validation: pd.DataFrame, settings: EvaluationConfig, *, seed: int, shift: float = 0.0
    ) -> "Decision":
        """Fit calibrator, threshold and conformal sets on validation predictions.

        Args:
            validation: predictions table with `probability_uncalibrated`.
            settings: method of calibration, threshold rule and coverage.
            seed: seed of the folds in which calibrations are compared.
            shift: log odds of lump that the training added, as from `prior_correction`.

        Returns:
            The decision. When validation has one class only, the probabilities are not calibrated
            and the threshold is 0.5, with a warning each.
        """
        y_true, y_prob = truth_and_probability(validation, column="probability_uncalibrated")
        groups = validation["group_id"].tolist()
        fit = fit_calibrator(
            y_true, y_prob, groups, method=settings.calibration, shift=shift, seed=seed
        )
        calibrated = fit.calibrator.apply(y_prob)
        rule = threshold_rule(settings, y_true)
        threshold = choose_threshold(
            y_true, calibrated, groups, confidence=settings.confidence, **rule
        )
        conformal = fit_conformal(y_true, calibrated, groups, coverage=settings.coverage)
        selection = {"threshold": threshold.to_dict(), "calibration": fit.to_dict()}
        return cls(fit.calibrator, threshold.threshold, conformal, selection)

    def apply(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return predictions with `probability`, `threshold` and `predicted` filled in."""
        probability = self.calibrator.apply(table["probability_uncalibrated"].to_numpy(float))
        return table.assign(
            probability=probability,
            threshold=self.threshold,
            predicted=predicted_labels(probability, self.threshold),
        )

    def referred(self, y_prob: np.ndarray) -> np.ndarray:
        """Return bool [n], which images are referred to a reader.

        An image is referred when its conformal set holds both classes, none, or only the class that
        it is not predicted to be. `y_prob` are the calibrated probabilities of lump, [n].
        """
        y_prob = np.asarray(y_prob, float)
        return self.conformal.decide(y_prob) != predicted_labels(y_prob, self.threshold)

    def to_dict(self) -> dict[str, Any]:
        """Return the decision as JSON values."""
        return {
            "calibrator": self.calibrator.to_dict(),
            "threshold": self.threshold,
            "conformal": self.conformal.to_dict(),
            "selection": self.selection,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Decision":
        """Read what `to_dict` wrote; raise ConfigError when a part of it is damaged."""
        return cls(
            Calibrator.from_dict(values["calibrator"]),
            float(values["threshold"]),
            ConformalSets.from_dict(values["conformal"]),
            values["selection"],
        )


def threshold_rule(settings: EvaluationConfig, y_true: np.ndarray) -> dict[str, Any]:
    """Return the threshold rule of the settings with its numbers, for `choose_threshold`.

    If `y_true`, the labels to choose on, has one class only, it is 0.5, with a warning.
    """
    if settings.threshold is not None:
        return {"rule": "fixed", "threshold": settings.threshold}
    if len(np.unique(y_true)) < 2:
        warnings.warn(
            "The threshold is 0.5: the validation images have one class only.",
            UndefinedMetricWarning,
            stacklevel=3,
        )
        return {"rule": "fixed", "threshold": 0.5}
    cost = {"cost_ratio": settings.cost_ratio, "prevalence": settings.prevalence}
    numbers = {"sensitivity": {"target": settings.target_sensitivity}, "cost": cost}
    return {"rule": settings.threshold_rule, **numbers.get(settings.threshold_rule, {})}
