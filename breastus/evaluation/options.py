"""Options that evaluations share: how intervals are computed, and the prevalence of PPV and NPV."""

from dataclasses import dataclass

from breastus.config.schema import EvaluationConfig
from breastus.evaluation.metrics.metrics import PREVALENCE
from breastus.evaluation.validation import check_count, check_number


@dataclass(frozen=True)
class EvaluationOptions:
    """Options of an evaluation.

    Attributes:
        resamples: number of bootstrap resamples of groups, at least 1.
        confidence: level of the intervals, above 0 and below 1.
        prevalence: prevalence of lumps for PPV and NPV, above 0 and below 1.
        seed: seed of the resamples.
    """

    resamples: int = 2000
    confidence: float = 0.95
    prevalence: float = PREVALENCE
    seed: int = 0

    def __post_init__(self):
        check_count("resamples", self.resamples)
        check_number("confidence", self.confidence)
        check_number("prevalence", self.prevalence)

    @classmethod
    def from_settings(cls, settings: EvaluationConfig, *, seed: int) -> "EvaluationOptions":
        """Return the options that the settings of a run name."""
        return cls(settings.resamples, settings.confidence, settings.prevalence, seed)


DEFAULTS = EvaluationOptions()
