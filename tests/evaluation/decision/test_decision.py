"""Validation predictions in, one decision out: which images are a lump, which are referred."""

import json

import numpy as np
import pytest
from prediction_tables import predictions

from breastus.config.schema import EvaluationConfig
from breastus.errors import UndefinedMetricWarning
from breastus.evaluation.calibration.calibrators import Calibrator
from breastus.evaluation.decision.conformal import ConformalSets
from breastus.evaluation.decision.decision import Decision, threshold_rule


def decision(threshold, no_lump_to, lump_from):
    sets = ConformalSets(0.9, lump_from=lump_from, no_lump_to=no_lump_to)
    return Decision(Calibrator("none"), threshold, sets, {})


def test_images_whose_set_does_not_settle_them_are_referred():
    # no_lump up to 0.4 and lump from 0.2: both are possible between the two.
    np.testing.assert_array_equal(
        decision(0.3, 0.4, 0.2).referred(np.array([0.1, 0.2, 0.3, 0.4, 0.5])),
        [False, True, True, True, False],
    )
    # Neither is possible between 0.4 and 0.7.
    np.testing.assert_array_equal(
        decision(0.5, 0.4, 0.7).referred(np.array([0.4, 0.5, 0.7])), [False, True, False]
    )
    # The set of 0.45 is {no_lump}, and the threshold calls it a lump.
    assert decision(0.3, 0.5, 0.6).referred(np.array([0.45])).tolist() == [True]
    assert decision(0.46, 0.5, 0.6).referred(np.array([0.45])).tolist() == [False]


def test_a_decision_survives_json_and_labels_from_its_threshold_up():
    validation = predictions("val", seed=1)
    fitted = Decision.fit(validation, EvaluationConfig(calibration="platt"), seed=0)
    again = Decision.from_dict(json.loads(json.dumps(fitted.to_dict())))
    assert again == fitted
    table = again.apply(validation)
    assert table["threshold"].eq(fitted.threshold).all()
    assert (table["predicted"] == "lump").equals(table["probability"] >= fitted.threshold)
    shifted = Decision.fit(
        validation, EvaluationConfig(calibration="temperature"), seed=0, shift=1.5
    )
    assert shifted.calibrator.shift == 1.5
    # Calibration keeps the order of the images.
    assert table["probability"].rank().equals(validation["probability_uncalibrated"].rank())


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"threshold": 0.3, "threshold_rule": "youden"}, {"rule": "fixed", "threshold": 0.3}),
        ({"threshold_rule": "youden"}, {"rule": "youden"}),
        (
            {"threshold_rule": "sensitivity", "target_sensitivity": 0.8},
            {"rule": "sensitivity", "target": 0.8},
        ),
        (
            {"threshold_rule": "cost", "cost_ratio": 7.0, "prevalence": 0.2},
            {"rule": "cost", "cost_ratio": 7.0, "prevalence": 0.2},
        ),
    ],
)
def test_the_settings_give_the_rule_with_its_numbers(settings, expected):
    assert threshold_rule(EvaluationConfig(**settings), np.array([0, 1, 1])) == expected


def test_one_class_alone_has_the_threshold_one_half():
    with pytest.warns(UndefinedMetricWarning, match="one class"):
        rule = threshold_rule(EvaluationConfig(threshold_rule="youden"), np.ones(3, int))
    assert rule == {"rule": "fixed", "threshold": 0.5}
