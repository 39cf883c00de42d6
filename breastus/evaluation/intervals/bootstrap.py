"""Bootstrap over groups: resamples of whole patients or scenes, and percentile intervals.

Images of one group belong together. Drawing them one by one would count the same evidence several
times and give intervals that are too narrow.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from breastus.evaluation.options import EvaluationOptions
from breastus.evaluation.validation import group_numbers, groups_per_class

MAX_UNDEFINED = 0.05  # share of undefined resamples above which there is no interval
_BLOCK = 500  # resamples scored at a time, which bounds memory


def resample_weights(groups: Sequence, *, resamples: int, seed: int) -> np.ndarray:
    """Return how often each image counts in each resample, int [resamples, n].

    Each resample draws as many groups, with replacement, as there are.
    """
    groups = group_numbers(groups, len(groups))
    count = groups.max() + 1
    rng = np.random.default_rng(seed)
    return rng.multinomial(count, np.full(count, 1 / count), size=resamples)[:, groups]


def expanded_tail(confidence: float, groups: int) -> float:
    """Return the share that a percentile interval leaves out on either side, by number of groups.

    Resamples of n groups vary too little, by a factor of sqrt((n - 1) / n), and as a normal
    distribution where Student's applies. A smaller tail corrects both: the expanded percentile
    interval (Hesterberg, The American Statistician 69, 2015, 371, section 5.3). There must be at
    least two groups.
    """
    return float(norm.cdf(-student_reach(confidence, groups)))


def student_reach(confidence: float, groups: int) -> float:
    """Return how many standard errors an interval reaches on either side, by number of groups.

    Student's quantile with n - 1 degrees of freedom times sqrt(n / (n - 1)); at least two groups.
    """
    return float(student.ppf((1 + confidence) / 2, groups - 1) * np.sqrt(groups / (groups - 1)))


@dataclass(frozen=True)
class GroupBootstrap:
    """Resamples of whole groups, drawn once for all scores that are to be compared.

    Attributes:
        weights: int [resamples, n], how often each image counts in each resample; no row when a
            class is sparse.
        tail: share of the resamples that an interval leaves out on either side, for a score that
            depends on both classes.
        sparse: names of the classes that come from fewer than two groups. If there are any,
            `interval` is NaN.
    """

    weights: np.ndarray
    tail: float
    sparse: tuple[str, ...]

    @property
    def sparse_reason(self) -> str:
        """Why there are no intervals, for a warning; empty text if no class is sparse."""
        names = " and ".join(self.sparse)
        return f"the images of {names} come from fewer than two groups" if names else ""

    @classmethod
    def draw(
        cls, y_true: np.ndarray, groups: Sequence | None, options: EvaluationOptions, *, expand=True
    ) -> "GroupBootstrap":
        """Draw resamples; `expand` widens intervals by the groups of the rarer class."""
        y_true, groups = np.asarray(y_true), group_numbers(groups, len(y_true))
        counts = groups_per_class(y_true, groups)
        sparse = tuple(label.replace("_", " ") for label, count in counts.items() if count < 2)
        tail = (1 - options.confidence) / 2
        if sparse:
            return cls(np.zeros((0, len(y_true)), int), tail, sparse)
        if expand:
            tail = expanded_tail(options.confidence, min(counts.values()))
        weights = resample_weights(groups, resamples=options.resamples, seed=options.seed)
        return cls(weights, tail, sparse)

    def scores(
        self, score: Callable[[np.ndarray], dict[str, np.ndarray]], columns: slice = slice(None)
    ) -> dict[str, np.ndarray]:
        """Return each score of each resample, name to [resamples, ...].

        `score` takes weights [block, n] of the images `columns` to name to [block, ...].
        """
        starts = range(0, max(len(self.weights), 1), _BLOCK)
        blocks = [score(self.weights[start : start + _BLOCK, columns]) for start in starts]
        return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}

    def interval(self, values: np.ndarray) -> tuple:
        """Return the `percentile_interval` of the resampled values [resamples, ...]."""
        return percentile_interval(values, self.tail)


def percentile_interval(values: np.ndarray, tail: float) -> tuple:
    """Return the quantiles `tail` and `1 - tail` of values [resamples, ...].

    Floats, or arrays of the trailing shape. NaN without values, as when a class is sparse, or when
    more than 5 % of the resamples are undefined.
    """
    undefined = np.isnan(values).any(axis=tuple(range(1, values.ndim)))
    if not len(values) or undefined.mean() > MAX_UNDEFINED:
        low = high = np.full(values.shape[1:], np.nan)
    else:
        low, high = np.quantile(values[~undefined], [tail, 1 - tail], axis=0)
    return (float(low), float(high)) if values.ndim == 1 else (low, high)
