"""Options that evaluations share are checked once."""

import pytest

from breastus.config.schema import EvaluationConfig
from breastus.errors import ConfigError
from breastus.evaluation.options import EvaluationOptions


@pytest.mark.parametrize(
    "wrong",
    [
        {"resamples": 0},
        {"resamples": 2.5},
        {"confidence": 0},
        {"confidence": 1.0},
        {"confidence": 95},
        {"prevalence": 0.0},
        {"prevalence": 1},
        {"prevalence": float("nan")},
    ],
)
def test_options_out_of_range_are_refused(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ConfigError, match=f"{name} must be .* Received: .*{value}"):
        EvaluationOptions(**wrong)


def test_options_follow_the_settings_of_a_run():
    settings = EvaluationConfig(resamples=10, confidence=0.9, prevalence=0.3)
    assert EvaluationOptions.from_settings(settings, seed=7) == EvaluationOptions(10, 0.9, 0.3, 7)
