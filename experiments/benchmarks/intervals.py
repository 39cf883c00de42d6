"""Intervals of recipes: how often they hold the truth, and how often equal recipes differ

Simulated: scores of 20 images without a lump in 14 scenes and 75 lumps in 45, by models that vary
between seeds as the recorded runs do (moderate: standard deviation 0.14 for sensitivity, 0.21 for
specificity, 0.05 for the ROC-AUC), or less, with scores near 1 (high). All seeds have the
same test set, or each draws its own from a data set of five times as many scenes. Difficulty is
partly a scene's own, for all seeds alike. Methods:

- `recipe`: the method of the tables, `breastus.evaluation.intervals.recipe`.
- `scenes`: bootstrap over scenes of the mean over seeds, as for trained models.
- `seeds`: Student's t of the seeds' scores, without the scenes.
- `pigeonhole`: bootstrap of seeds and scenes at once (Owen, Annals of Applied Statistics 1, 2007,
  386), percentiles expanded by the number of seeds.
- `corrected t`: variance times 1/k + overlap / (1 - overlap) (Nadeau, Bengio, Machine Learning 52,
  2003, 239); with one test set for all it is undefined.

`trained` are logistic regressions on 30 noisy features, trained on 60 % of one simulated data set,
with a threshold from 20 % and tested on 20 %, a new split for each seed: training sets overlap too.
The truth is the mean over many such data sets.

The A/A test takes recorded runs of one experiment, and deals them at random into two sets of k
runs. Both sets come from one distribution, so that a claimed difference is false.

Two tables are about one trained model: the ROC-AUC of few patients, by Student's quantile as in
`delong_interval` and by the normal quantile, and the calibration error of perfect probabilities.

    python -m experiments.benchmarks.intervals

It records what it finds in `records/intervals/`; `python -m experiments.results` writes the tables.
One core: about ten minutes. Expected: `recipe` holds the truth in 92 to 98 % of the simulated
tests, and of trained models in 92 to 96 % with five seeds, 90 to 94 % with ten (Brier scores more
often): models trained on parts of one data set share what is particular to it, and no split of that
data set shows it. At most 7 % of equal sets differ.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm
from scipy.stats import t as student

from breastus.errors import UndefinedMetricWarning
from breastus.evaluation.calibration.reliability import (
    chance_ece,
    debiased_ece,
    ece_by_chance,
    expected_calibration_error,
)
from breastus.evaluation.intervals.bootstrap import expanded_tail, percentile_interval
from breastus.evaluation.intervals.delong import delong_difference, delong_interval
from breastus.evaluation.intervals.metric_intervals import Resampled
from breastus.evaluation.intervals.proportions import wilson_interval
from breastus.evaluation.intervals.recipe import (
    samples_of,
    seed_and_group_variance,
    share_interval,
)
from breastus.evaluation.metrics.metrics import roc_auc
from breastus.evaluation.options import EvaluationOptions
from experiments.pages import fact_list, run_script, table, title_and_text
from experiments.records import measurement_facts, read_records, write_measurement

EXPERIMENT = "intervals"
SCORES = {
    "roc_auc": "ROC-AUC",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "balanced_accuracy": "balanced accuracy",
    "brier": "Brier score",
}
_PROPORTIONS = {"sensitivity", "specificity"}
SEEDS = (3, 5, 10)
TESTS, RESAMPLES, PAIRS = 400, 200, 400
EXPERIMENTS = (("ablation", ""), ("networks", ""), ("study", "cnn-group"))  # start of a variant
_DIFFICULTY = 0.6  # share of the variance of a score that all seeds have in common
_GROUPS, _IMAGES = (14, 45), (20, 75)  # without a lump, with
_POOL = 5  # test sets that a data set holds


@dataclass(frozen=True)
class Recipe:
    """Scores of a recipe: means of both classes, threshold 0, and how much seeds vary.

    Attributes:
        means: mean score without and with a lump; the standard deviation within a class is 1.
        shifts: standard deviation between seeds of a shift of all scores, by class.
        separation: standard deviation between seeds of the distance of the classes from 0.
    """

    means: tuple[float, float]
    shifts: tuple[float, float]
    separation: float

    def seed(self, rng: np.random.Generator) -> np.ndarray:
        """Return the mean scores of both classes of another seed, [2]."""
        shift, apart = rng.normal(), self.separation * rng.normal()
        return np.array(self.means) + np.array(self.shifts) * shift + [-apart, apart]

    def probability(self, score: np.ndarray) -> np.ndarray:
        low, high = self.means
        return expit((high - low) * (score - (low + high) / 2) + np.log(75 / 20))

    def truth(self) -> dict[str, float]:
        """Return the expected scores, from 400,000 seeds of one image each."""
        rng, number = np.random.default_rng(0), 400_000
        shift, apart = rng.normal(size=number), self.separation * rng.normal(size=number)
        low, high = (
            mean + wide * shift + side * apart
            for mean, wide, side in zip(self.means, self.shifts, (-1, 1), strict=True)
        )
        lump = rng.random(number) < 75 / 95
        probability = self.probability(np.where(lump, high, low) + rng.normal(size=number))
        found = {
            "roc_auc": norm.cdf((high - low) / 2**0.5).mean(),
            "sensitivity": norm.cdf(high).mean(),
            "specificity": norm.cdf(-low).mean(),
            "brier": ((probability - lump) ** 2).mean(),
        }
        found["balanced_accuracy"] = (found["sensitivity"] + found["specificity"]) / 2
        return {name: float(found[name]) for name in SCORES}


RECIPES = {
    "moderate": Recipe((-0.85, 0.85), (0.78, 0.50), 0.12),
    "high": Recipe((-1.9, 1.6), (0.6, 0.4), 0.2),
}


def scores(lump, score, probability, weights) -> np.ndarray:
    """Return the scores of `SCORES` for weights [..., n], [..., 5]; images above 0 are called."""
    right = (score >= 0) == lump
    with np.errstate(invalid="ignore"):  # a resample without a class
        sensitivity, specificity = (
            (weights[..., lump == value] @ right[lump == value])
            / weights[..., lump == value].sum(-1)
            for value in (1, 0)
        )
        brier = weights @ (probability - lump) ** 2 / weights.sum(-1)
    area = roc_auc(lump, score, weights)
    return np.stack([area, sensitivity, specificity, (sensitivity + specificity) / 2, brier], -1)


def draw(rng: np.random.Generator, recipe: Recipe, seeds: int, own: bool) -> tuple:
    """Return scores [seeds, 5], resampled scores [resamples, seeds, 5], and groups by class."""
    pool = _POOL if own else 1
    sizes = [
        _sizes(rng, pool * groups, pool * images)
        for groups, images in zip(_GROUPS, _IMAGES, strict=True)
    ]
    group = np.repeat(np.arange(sum(map(len, sizes))), np.concatenate(sizes))
    lump = (group >= len(sizes[0])).astype(int)
    common = _difficulty(rng, group)
    tests = []
    for _ in range(seeds):
        first = rng.choice(len(sizes[0]), _GROUPS[0], replace=False)
        second = len(sizes[0]) + rng.choice(len(sizes[1]), _GROUPS[1], replace=False)
        tests.append(np.flatnonzero(np.isin(group, np.concatenate([first, second]))))
    used = np.unique(group[np.concatenate(tests)])
    drawn = rng.multinomial(len(used), np.full(len(used), 1 / len(used)), RESAMPLES)
    values, resampled = [], []
    for test in tests:
        own_part = np.sqrt(1 - _DIFFICULTY) * _difficulty(rng, group)
        score = recipe.seed(rng)[lump] + np.sqrt(_DIFFICULTY) * common + own_part
        arrays = lump[test], score[test], recipe.probability(score[test])
        values.append(scores(*arrays, np.ones(len(test))))
        resampled.append(scores(*arrays, drawn[:, np.searchsorted(used, group[test])]))
    groups = [int((used < len(sizes[0])).sum()), int((used >= len(sizes[0])).sum())]
    return np.array(values), np.stack(resampled, 1), groups


def _sizes(rng: np.random.Generator, groups: int, images: int) -> np.ndarray:
    return 1 + rng.multinomial(images - groups, np.full(groups, 1 / groups))


def _difficulty(rng: np.random.Generator, group: np.ndarray) -> np.ndarray:
    """Return scores of variance 1, [n], half of which is common to the images of a group."""
    return (rng.normal(size=group.max() + 1)[group] + rng.normal(size=len(group))) / 2**0.5


def methods(rng, name, values, drawn, groups, overlap) -> dict[str, tuple[float, float]]:
    """Return the interval of each method; values [seeds], drawn [resamples, seeds]."""
    seeds, mean = len(values), float(values.mean())
    by_class = {"specificity": groups[0], "sensitivity": groups[1]}
    number = by_class.get(name, min(groups))
    defined = drawn[~np.isnan(drawn).any(axis=1)]
    found = {"scenes": percentile_interval(defined.mean(axis=1), expanded_tail(0.95, number))}
    error = values.std(ddof=1) / np.sqrt(seeds)
    reach = student.ppf(0.975, seeds - 1) * error
    found["seeds"] = mean - reach, mean + reach
    counts = rng.multinomial(seeds, np.full(seeds, 1 / seeds), len(defined))
    tail = expanded_tail(0.95, min(seeds, number))
    found["pigeonhole"] = percentile_interval((counts * defined).sum(axis=1) / seeds, tail)
    if overlap < 1:
        reach *= np.sqrt(1 + seeds * overlap / (1 - overlap))
        found["corrected t"] = mean - reach, mean + reach
    spread = seed_and_group_variance([values], [drawn], number)
    if spread.variance and 0 < mean < 1:
        found["recipe"] = share_interval(
            mean, spread, confidence=0.95, proportion=name in _PROPORTIONS
        )
    else:  # all seeds have a score of 1, in every resample
        found["recipe"] = wilson_interval(mean * number, number)
    return found


def coverage() -> list[dict]:
    """Return a row for each recipe, kind of test set, number of seeds and method."""
    rows = []
    for level, recipe in RECIPES.items():
        truth = recipe.truth()
        for own in (False, True):
            for seeds in SEEDS:
                rng, tests = np.random.default_rng(seeds), []
                for _ in range(TESTS):
                    values, drawn, groups = draw(rng, recipe, seeds, own)
                    tests.append((values, drawn, groups))
                where = {"scores": level, "test sets": "own" if own else "one", "seeds": seeds}
                rows += _rows(rng, where, tests, truth, 1 / _POOL if own else 1)
                print(rows[-1], flush=True)
    return rows


def _rows(rng, where, tests, truth, overlap) -> list[dict]:
    held: dict[str, dict[str, list]] = {}
    for values, drawn, groups in tests:
        for column, name in enumerate(SCORES):
            found = methods(rng, name, values[:, column], drawn[:, :, column], groups, overlap)
            for method, (low, high) in found.items():
                inside = low <= truth[name] <= high
                held.setdefault(method, {}).setdefault(name, []).append((inside, high - low))
    return [
        {
            **where,
            "method": method,
            "coverage": {name: float(np.mean([one[0] for one in of])) for name, of in by.items()},
            "width": {name: float(np.mean([one[1] for one in of])) for name, of in by.items()},
        }
        for method, by in held.items()
    ]


def trained() -> list[dict]:
    """Return the rows of models that are trained, on overlapping parts of one data set."""
    from sklearn.linear_model import LogisticRegression

    rows = []
    for seeds in SEEDS[1:]:
        rng, tests = np.random.default_rng(seeds), []
        for _ in range(TESTS):
            lump = np.repeat([0, 1], [100, 375])
            group = np.arange(475)
            features = rng.normal(size=(475, 30)) + 0.35 * lump[:, None] * (np.arange(30) < 12)
            drawn = rng.multinomial(475, np.full(475, 1 / 475), RESAMPLES)
            values, resampled = [], []
            for _ in range(seeds):
                order = np.concatenate([rng.permutation(100), 100 + rng.permutation(375)])
                place = np.concatenate([np.arange(100) / 100, np.arange(375) / 375])
                train, val, test = (
                    order[(place >= low) & (place < high)]
                    for low, high in ((0, 0.6), (0.6, 0.8), (0.8, 1))
                )
                model = LogisticRegression(C=0.1).fit(features[train], lump[train])
                score = model.decision_function(features)
                cut = _youden(lump[val], score[val])
                arrays = lump[test], score[test] - cut, expit(score[test])
                values.append(scores(*arrays, np.ones(len(test))))
                resampled.append(scores(*arrays, drawn[:, group[test]]))
            tests.append((np.array(values), np.stack(resampled, 1), [100, 375]))
        means = np.mean([values.mean(axis=0) for values, _, _ in tests], axis=0)
        truth = dict(zip(SCORES, means.tolist(), strict=True))
        where = {"scores": "trained", "test sets": "own", "seeds": seeds}
        rows += _rows(rng, where, tests, truth, 1 / _POOL)
        print(rows[-1], flush=True)
    return rows


def _youden(lump: np.ndarray, score: np.ndarray) -> float:
    cuts = np.sort(score)
    found = [(score[lump == 1] >= cut).mean() - (score[lump == 0] >= cut).mean() for cut in cuts]
    return float(cuts[int(np.argmax(found))])


def equal_sets(pairs: int = PAIRS) -> list[dict]:
    """Return how often two sets of runs of one experiment, dealt at random, differ."""
    rows = []
    for experiment, only in EXPERIMENTS:
        records = [one for one in read_records(experiment) if one.variant.startswith(only)]
        tables = [record.split("test") for record in records]
        found = Resampled(samples_of(tables), EvaluationOptions(resamples=500))
        for seeds in SEEDS:
            if 2 * seeds > len(records):
                continue
            rng, differ = np.random.default_rng(seeds), dict.fromkeys(SCORES, 0)
            for _ in range(pairs):
                dealt = rng.permutation(len(records))
                ours, theirs = dealt[:seeds], dealt[seeds : 2 * seeds]
                for name in SCORES:
                    differ[name] += _differ(found, name, ours, theirs)
            share = {name: count / pairs for name, count in differ.items()}
            rows.append({"experiment": experiment, "runs": len(records), "k": seeds, **share})
            print(rows[-1], flush=True)
    return rows


def _differ(found: Resampled, name: str, ours: np.ndarray, theirs: np.ndarray) -> bool:
    values, drawn = found.values(name), found.drawn_each[name]
    spread = seed_and_group_variance(
        [values[ours], -values[theirs]],
        [drawn[:, ours], -drawn[:, theirs]],
        found.groups_for(name),
    )
    difference = abs(values[ours].mean() - values[theirs].mean())
    return bool(difference > student.ppf(0.975, spread.degrees) * np.sqrt(spread.variance))


def few_patients() -> list[dict]:
    """Return how often DeLong's interval holds the ROC-AUC, and equal models differ, by patients.

    Half of the variance of a score is common to a patient's images.
    """
    rows = []
    for patients, images, both, shift in (
        (10, 15, True, 1.0),
        (10, 15, True, 1.8),
        (10, 6, False, 1.8),
        (28, 15, True, 1.1),
        (60, 2, False, 1.6),
        (200, 1, False, 1.6),
    ):
        rng, found = np.random.default_rng(0), []
        group, truth = np.repeat(np.arange(patients), images), norm.cdf(shift / 2**0.5)
        for _ in range(TESTS):
            lump = rng.integers(0, 2, len(group)) if both else group % 2
            patient = rng.normal(size=patients)[group]
            first, second = (
                shift * lump + (patient + rng.normal(size=len(group))) / 2**0.5 for _ in range(2)
            )
            area = delong_interval(lump, first, group)
            value = area["value"]
            if not area["standard_error"]:  # a perfect order has another interval
                continue
            reach = norm.ppf(0.975) * area["standard_error"] / (value * (1 - value))
            found.append(
                (
                    area["ci_low"] <= truth <= area["ci_high"],
                    abs(logit(value) - logit(truth)) <= reach,
                    delong_difference(lump, first, second, group)["p_value"] < 0.05,
                )
            )
        kind = "both classes" if both else "one class"
        names = ("Student", "normal", "differ")
        shares = dict(zip(names, np.mean(found, axis=0).tolist(), strict=True))
        rows.append({"patients": patients, "images": images, "of each": kind, **shares})
    return rows


def perfect_probabilities() -> list[dict]:
    """Return the calibration error of perfect probabilities, by number of images."""
    rows = []
    for images in (134, 673):
        rng, found = np.random.default_rng(0), []
        for _ in range(TESTS):
            probability = expit(1.5 * rng.normal(size=images) + 1)
            lump = (rng.random(images) < probability).astype(int)
            drawn = rng.multinomial(images, np.full(images, 1 / images), RESAMPLES)
            chance = chance_ece(lump, probability, drawn)
            error = debiased_ece(float(expected_calibration_error(lump, probability)), chance)
            seen = error["uncorrected"] > ece_by_chance(chance, 0.025)
            found.append((*(error[key] for key in ("uncorrected", "noise", "value")), seen))
        names = ("uncorrected", "noise", "value", "distinguishable")
        means = dict(zip(names, np.mean(found, axis=0).tolist(), strict=True))
        rows.append({"images": images, **means})
    return rows


def section(record: dict) -> str:
    """Return the text of the section `intervals` of RESULTS.md."""
    keys = ("scores", "test sets", "seeds", "method")
    rows = [
        [
            *(row[key] for key in keys),
            *(f"{row['coverage'][name]:.3f}, {row['width'][name]:.2f}" for name in SCORES),
        ]
        for row in record["coverage"]
    ]
    equal = [
        [row["experiment"], row["runs"], row["k"], *(f"{row[name]:.3f}" for name in SCORES)]
        for row in record["equal_sets"]
    ]
    lines = [
        *title_and_text(__doc__),
        "",
        *fact_list(
            {
                "Command": "`python -m experiments.benchmarks.intervals`",
                **measurement_facts(EXPERIMENT, record),
                "Tests": f"{record['tests']} a row, so that a coverage of 0.95 is known to ± 0.02",
            }
        ),
        "",
        "How often an interval of the level 0.95 held the truth, and its mean width:",
        "",
        *table([*keys, *SCORES.values()], rows),
        "",
        f"A/A test: share of {record['pairs']} pairs of equal sets of k recorded runs that differ "
        "at the level 0.05 (5 % are expected, 7 % allowed). Tables claim differences from five "
        "seeds on:",
        "",
        *table(["experiment", "runs", "k", *SCORES.values()], equal),
        "",
        "ROC-AUC of one trained model: how often DeLong's interval of the level 0.95 held it, with "
        "Student's quantile (as reported) and with the normal one, and how often two equal models "
        "differed at the level 0.05:",
        "",
        *_plain_table(record["few_patients"]),
        "",
        "Calibration error of perfect probabilities, mean over tests, and how often it could be "
        "distinguished from 0:",
        "",
        *_plain_table(record["perfect_probabilities"]),
    ]
    return "\n".join(lines)


def _plain_table(rows: list[dict]) -> list[str]:
    cells = [
        [f"{cell:.3f}" if isinstance(cell, float) else cell for cell in row.values()]
        for row in rows
    ]
    return table(list(rows[0]), cells)


def main() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        found = {
            "tests": TESTS,
            "pairs": PAIRS,
            "few_patients": few_patients(),
            "perfect_probabilities": perfect_probabilities(),
            "equal_sets": equal_sets(),
            "coverage": [*coverage(), *trained()],
        }
    write_measurement(EXPERIMENT, found)


if __name__ == "__main__":
    run_script(main)
