"""Write every section of RESULTS.md that has records, from experiments/records/ alone.

    python -m experiments.results

The pages in docs/ take their tables from RESULTS.md.

A recipe records its runs as they finish, so an experiment can be run in several sittings. Each
section shows the mean of every variant over its seeds with an interval for other seeds and images,
differences between variants of five or more seeds, costs, and each trained model. Sections of
experiments without records stay as they are.
"""

import importlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from breastus.config.schema import EvaluationConfig
from breastus.errors import RunError, UndefinedMetricWarning
from breastus.evaluation.decision.decision import Decision
from breastus.evaluation.intervals.recipe import (
    MIN_SEEDS,
    check_recipe,
    recipe_difference,
    recipe_metrics,
)
from breastus.evaluation.options import EvaluationOptions
from breastus.evaluation.published_baseline import published_baseline
from breastus.runs.environment import describe_hardware
from breastus.runs.run import kept_epoch
from experiments import entries, readings
from experiments.benchmarks import (
    data_checks,
    intervals,
    lesion_maps,
    many_files,
    search_scaling,
    unfamiliar,
)
from experiments.pages import (
    RESULTS,
    SCORES,
    fact_list,
    format_score,
    run_script,
    score_row,
    score_table,
    table,
    title_and_text,
    write_section,
)
from experiments.recipes import best
from experiments.recipes.study_readings import EXPERIMENT
from experiments.records import Record, experiments, read_measurement, read_records
from experiments.runner import SEEDS

OPTIONS = EvaluationOptions(resamples=2000)
# Settings in which the seeds of a variant may differ: the machine decides them.
MAY_DIFFER = {"data.source", "model.weights", "training.precision"}
# Rows of the published study that are shown below an experiment: network, colour map.
PUBLISHED = {
    "study": [("cnn", "plain"), ("cnn", "parula"), ("swin", "plain"), ("swin", "parula")],
    "study_readings": [("cnn", "plain"), ("cnn", "parula")],
    "networks": [("cnn", "plain"), ("swin", "plain")],
}
# Experiment: the experiment it is compared with, (variant) to the variant there, and a heading.
COMPARISONS: dict[str, tuple[str, Callable[[str], str], str]] = {
    "precision": ("networks", lambda variant: variant, "float32"),
    "pretraining": ("precision", lambda variant: variant.rpartition("-")[0], "random weights"),
    "ablation": (
        "ablation",
        lambda variant: "cnn" if variant.startswith("cnn") else "base",
        "`base` (`cnn-two-blocks`: from `cnn`)",
    ),
}
# Experiments whose first tables were withdrawn.
WITHDRAWN = ("leakage", "shortcuts")
# Settings of `evaluation` that are tried on the predictions of a variant, without training.
REDECIDED = {
    "ablation": (
        "base",
        {
            "calibration none": {"calibration": "none"},
            "calibration Platt": {"calibration": "platt"},
            "calibration isotonic": {"calibration": "isotonic"},
            "calibration by rule": {"calibration": "auto"},
            "threshold 0.5": {"threshold": 0.5},
            "threshold for sensitivity": {"threshold_rule": "sensitivity"},
            "threshold, one miss costs 30 false alarms": {
                "threshold_rule": "cost",
                "cost_ratio": 30.0,
            },
        },
    )
}

Variants = Mapping[str, list[Record]]


def main() -> None:
    found = recorded()
    if not found:
        raise RunError("experiments/records/ holds no runs. Run a recipe first.")
    with warnings.catch_warnings():
        # Small test sets leave some metrics undefined; the tables say so.
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        for name, text in sections(found):
            write_section(RESULTS, name, text())
            print(f"{RESULTS.name}: {name}", flush=True)


def recorded() -> dict[str, dict[str, list[Record]]]:
    """Return the recorded runs of every experiment, by variant."""
    return {name: by_variant(name, read_records(name)) for name in experiments()}


def sections(found: Mapping[str, Variants]) -> Iterator[tuple[str, Callable[[], str]]]:
    """Return the name of each section that has records, and a function that returns its text."""
    yield "reading", lambda: "\n".join(reading(found))
    for name, variants in found.items():
        yield name, partial(section, name, variants, comparison(name, found))
    if entries.has_entries():
        yield entries.EXPERIMENT, entries.section
    for benchmark in (
        data_checks,
        search_scaling,
        many_files,
        intervals,
        lesion_maps,
        unfamiliar,
    ):
        if (record := read_measurement(benchmark.EXPERIMENT)) is not None:
            yield benchmark.EXPERIMENT, partial(benchmark.section, record)


def by_variant(experiment: str, records: list[Record]) -> dict[str, list[Record]]:
    """Return the runs of each variant.

    Raises:
        RunError: when the seeds of a variant were trained with different settings.
        DataError: when two of them have the same predictions.
    """
    variants: dict[str, list[Record]] = {}
    for record in records:
        first = variants.setdefault(record.variant, [record])[0]
        ours, theirs = _settings(first), _settings(record)
        ours["transform"], theirs["transform"] = (one.facts["transform"] for one in (first, record))
        # A setting that is newer than a record is missing there, and cannot be compared.
        common = (ours.keys() & theirs.keys()) - MAY_DIFFER
        if different := sorted(name for name in common if ours[name] != theirs[name]):
            raise RunError(
                f"{experiment}/{record.variant}: all seeds must have the same settings. Received: "
                f"seeds {first.seed} and {record.seed} with different {different[0]}. Run all "
                "seeds with the same settings."
            )
        if record is not first:
            variants[record.variant].append(record)
    for runs in variants.values():
        check_recipe([(f"records/{experiment}, {one.name}", one.split("test")) for one in runs])
    return variants


def _settings(record: Record) -> dict[str, Any]:
    """Return the settings of a run by `section.key`."""
    sections = {key: part for key, part in record.facts["settings"].items() if key != "seed"}
    return {f"{name}.{key}": part[key] for name, part in sections.items() for key in part}


def comparison(name: str, found: Mapping[str, Variants]) -> tuple[Variants, str]:
    """Return the runs that each variant of an experiment is compared with, and a heading."""
    if name not in COMPARISONS:
        return {}, ""
    experiment, base_of, heading = COMPARISONS[name]
    bases = found.get(experiment, {})
    return {
        variant: bases[base_of(variant)]
        for variant in found[name]
        if base_of(variant) in bases and (experiment, base_of(variant)) != (name, variant)
    }, heading


def reading(found: Mapping[str, Variants]) -> list[str]:
    """Return the lines that say what the numbers mean, with the spread between seeds."""
    several = [runs for variants in found.values() for runs in variants.values() if len(runs) > 1]
    each = [
        recipe_metrics(_test(runs), options=EvaluationOptions(resamples=100))["per_table"]
        for runs in several
    ]
    spread = ", ".join(
        f"{np.mean([np.var([one[key] for one in scores], ddof=1) for scores in each]) ** 0.5:.2f} "
        f"for {SCORES[key]}"
        for key in ("sensitivity", "specificity", "balanced_accuracy")
        if each
    )
    return [
        "## How to read the tables",
        "",
        "A *recipe* is a variant with its settings; a seed decides the split of the images, the "
        "initial weights and the order of training. Each table says whether a number is of a "
        "recipe or of one trained model:",
        "",
        "- **Recipe**: mean over its seeds ± the standard deviation between them, and in brackets "
        "a 95 % interval for other seeds and other images: a random-effects interval of seeds and "
        "scenes, see `docs/evaluation.md`.",
        "- **One trained model**: a 95 % interval over the scenes (BUSI) or patients (BUS-UCLM) of "
        "its test images. It says nothing about another seed. Intervals of the ROC-AUC are "
        "DeLong's, of accuracy, sensitivity and specificity Wilson's; all others come from a "
        "bootstrap, or from Wilson's formula where a share is exactly 0 or 1.",
        "",
        f"Two recipes are compared if both have at least {MIN_SEEDS} seeds; the interval of the "
        "difference covers seeds and scenes too. With fewer seeds no difference is claimed, in "
        "either direction: that two rows look alike does not show that the recipes are. Do not "
        "rank such rows.",
        "",
        "Scores vary between seeds by more than test images explain. The standard deviation "
        f"between the seeds of a variant, pooled over {len(several)} variants, is {spread}.",
        "",
        "Splits by `group` are scene-disjoint: no scene, which is one image and its "
        "near-duplicates, is in two splits. BUSI has no patient numbers, so one patient may be in "
        "two splits. ECE is the expected calibration error less what noise adds; *noise* is what "
        "perfect probabilities would show on as many images. Read slope (ideal 1) and intercept "
        "(ideal 0) first.",
        "",
        "Sections with a line *Records: none kept* were written once, by the command that they "
        "name. Their tables cannot be regenerated from `experiments/records/`, their intervals are "
        "over scenes or patients alone, and their ECE is not corrected for noise. All others are "
        "written by `python -m experiments.results`.",
        *_withdrawn(found),
    ]


def _withdrawn(found: Mapping[str, Variants]) -> list[str]:
    """Return the lines about tables that were withdrawn and have no records since."""
    names = [f"`{name}`" for name in WITHDRAWN if name not in found]
    if not names:
        return []
    return [
        "",
        f"**Withdrawn:** the tables of {' and '.join(names)}. Their records had gaps, and the code "
        "of the tables filled in a threshold of 0.5 without saying so. Nothing here or in the "
        "documentation rests on them. Their recipes run with today's code, on ten seeds.",
    ]


def section(name: str, variants: Variants, compared: tuple[Variants, str]) -> str:
    """Return the section of an experiment in RESULTS.md.

    Args:
        name: name of the recipe.
        variants: recorded runs by variant.
        compared: result of `comparison`.
    """
    records = [record for group in variants.values() for record in group]
    minutes = np.array([record.facts["seconds_training"] for record in records]) / 60
    facts = {
        "Command": ", ".join(f"`{one}`" for one in _distinct(records, "command")),
        "Machine": "; ".join(sorted({_machine(record) for record in records})),
        "Versions": "; ".join(sorted({_packages(record) for record in records})),
        "Training": f"{np.median(minutes):.1f} minutes a run (median; {minutes.min():.1f} to "
        f"{minutes.max():.1f})",
        "Records": f"`records/{name}/`, of code versions "
        f"{', '.join(f'`{one}`' for one in _distinct(records, 'code_version'))}, image transform "
        f"{', '.join(map(str, _distinct(records, 'transform')))}",
    }
    if missing := missing_runs(name, variants):
        facts[f"Recorded of fewer than {seeds_of(name)} seeds"] = missing
    return "\n".join(
        [
            *title_and_text(recipe_of(name).__doc__),
            "",
            *fact_list(facts),
            "",
            *means_table(name, variants),
            "",
            *(differences_table(variants, *compared) if compared[0] else ()),
            *redecided_table(name, variants),
            *(readings.readings_tables(variants) if name == EXPERIMENT else ()),
            *(best.quarters_table(variants) if name == "best" else ()),
            "Cost (medians over seeds):",
            "",
            *costs_table(variants),
            "",
            "Each trained model, with intervals over the scenes of its own test images:",
            "",
            *runs_table(records),
        ]
    )


def recipe_of(experiment: str) -> ModuleType:
    """Return the module of a recipe."""
    return importlib.import_module(f"experiments.recipes.{experiment}")


def seeds_of(experiment: str) -> int:
    """Return the number of seeds that a recipe trains of each variant."""
    return getattr(recipe_of(experiment), "SEEDS", SEEDS)


def missing_runs(experiment: str, variants: Variants) -> str:
    """Return which runs of a recipe have no record, or an empty text."""
    seeds = {name: len(variants.get(name, ())) for name in recipe_of(experiment).VARIANTS}
    few = {name: number for name, number in seeds.items() if number < seeds_of(experiment)}
    return ", ".join(
        f"`{name}` {_seeds(number)}" if number else f"`{name}` was not run"
        for name, number in few.items()
    )


def means_table(experiment: str, variants: Variants) -> list[str]:
    """Return the mean of each variant over its seeds, and the published rows."""
    lines = score_table("interval of", "test images")
    for name, records in variants.items():
        means = recipe_metrics(_test(records), options=OPTIONS)
        before = means["interval_of"], ", ".join(map(str, means["n"]))
        lines.append(score_row(f"{name}, {_seeds(len(records))}", means, *before))
    for model, color in PUBLISHED.get(experiment, ()):
        published = published_baseline(model, color)
        before = "one trained model", published["n"]
        lines.append(score_row(f"published study, {model}, {color}", published, *before))
    return lines


def differences_table(variants: Variants, others: Variants, heading: str) -> list[str]:
    """Return each variant minus the one it is compared with, over the seeds that both have.

    Variants of too few seeds are named in a sentence: no difference is claimed.

    Raises:
        RunError: when two variants saw images of different versions of the transform.
    """
    rows, few = [], {}
    for name in sorted(variants.keys() & others.keys()):
        theirs = {record.seed: record for record in others[name]}
        pairs = [
            (record, theirs[record.seed]) for record in variants[name] if record.seed in theirs
        ]
        if len(pairs) < MIN_SEEDS:
            few[name] = len(pairs)
            continue
        if len(found := {one.facts["transform"] for pair in pairs for one in pair}) > 1:
            raise RunError(
                f"{name} and the variant that it is compared with must have the same version of "
                f"the image transform. Received: {found}. Run one of them again."
            )
        ours, bases = zip(*pairs, strict=True)
        difference = recipe_difference(_test(ours), _test(bases), options=OPTIONS)
        rows.append(score_row(name, difference, len(pairs)))
    lines = []
    if rows:
        lines += [
            f"Difference from {heading}, of recipes on the same test images (mean over seeds, 95 % "
            "interval for other seeds and images):",
            "",
            *score_table("seeds"),
            *rows,
            "",
        ]
    if few:
        counts = ", ".join(f"`{name}` ({number})" for name, number in few.items())
        lines += [
            f"No difference from {heading} is claimed for variants with fewer than {MIN_SEEDS} "
            f"seeds in common with it: {counts}.",
            "",
        ]
    return lines


def redecided_table(experiment: str, variants: Variants) -> list[str]:
    """Return other calibrations and thresholds on the predictions of a variant."""
    base, decisions = REDECIDED.get(experiment, ("", {}))
    if base not in variants:
        return []
    records = variants[base]
    lines = [
        f"Other calibrations and thresholds on the predictions of `{base}`, without training "
        "(intervals of recipes):",
        "",
        *score_table(),
    ]
    for name, changes in decisions.items():
        tables = []
        for record in records:
            settings = EvaluationConfig(**record.facts["settings"]["evaluation"] | changes)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # isotonic calibration warns of few groups
                decision = Decision.fit(record.split("val"), settings, seed=record.seed)
            tables.append(decision.apply(record.split("test")))
        lines.append(score_row(name, recipe_metrics(tables, options=OPTIONS)))
        if len(records) >= MIN_SEEDS:
            difference = recipe_difference(tables, _test(records), options=OPTIONS)
            lines.append(score_row(f"difference from `{base}`", difference))
    return [*lines, ""]


def costs_table(variants: Variants) -> list[str]:
    """Return size and cost of each variant."""
    rows = []
    for name, records in variants.items():
        facts = records[0].facts
        training = facts["settings"]["training"]
        seconds = np.concatenate([record.facts["history"]["seconds"] for record in records])
        memory = np.median(np.array([one.facts["peak_memory_mb"] for one in records], float))
        size = [f"{facts['parameters']:,}", f"{facts['gflops']:.2f}", _initial_weights(records)]
        cost = [f"{np.median(seconds):.1f}", f"{memory:.0f}", _machine(records[0])]
        rows.append([name, *size, training["precision"], training["epochs"], *cost])
    columns = "parameters, GFLOPs an image, initial weights, precision, epochs, seconds an epoch"
    return table(["", *columns.split(", "), "peak memory, MiB", "machine"], rows)


def runs_table(records: list[Record]) -> list[str]:
    """Return a row for each run."""
    rows = []
    for record in records:
        scores = recipe_metrics([record.split("test")], options=OPTIONS)
        matrix = np.array(scores["confusion_matrix"], int).tolist()
        shown = [format_score(scores[key]) for key in ("roc_auc", "balanced_accuracy")]
        checkpoint = record.facts["settings"]["training"].get("checkpoint", "loss")
        epoch = kept_epoch(record.facts["history"], checkpoint)
        fingerprint = f"`{record.facts['data_fingerprint'][:12]}`"
        rows.append([record.name, matrix, *shown, epoch, fingerprint])
    columns = ["ROC-AUC", "balanced accuracy", "best epoch", "data fingerprint"]
    return table(["run", "[[TN, FP], [FN, TP]]", *columns], rows)


def _test(records: list[Record]) -> list[pd.DataFrame]:
    return [record.split("test") for record in records]


def _initial_weights(records: list[Record]) -> str:
    known = [record.facts["pretraining"] for record in records]
    if not known[0]:
        return records[0].facts["initial_weights"] or "random"
    minutes = np.median([facts["seconds"] for facts in known if facts]) / 60
    facts = known[0]
    return (
        f"pretrained on {facts['on']} ({facts['images']:,} images, {facts['epochs']} epochs, "
        f"{minutes:.1f} minutes)"
    )


def _machine(record: Record) -> str:
    return describe_hardware(record.facts["hardware"])


def _packages(record: Record) -> str:
    versions = record.facts["versions"]
    return ", ".join(f"{name} {versions[name]}" for name in ("breastus", "tensorflow", "keras"))


def _distinct(records: list[Record], key: str) -> list[str]:
    return sorted({record.facts[key] for record in records})


def _seeds(number: int) -> str:
    return f"{number} seed" + "s" * (number > 1)


if __name__ == "__main__":
    run_script(main)
