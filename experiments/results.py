"""Write the sections of RESULTS.md that have records, from experiments/records/ alone.

    python -m experiments.results

A recipe records its runs as they finish, so an experiment can be run in several sittings. Each
section shows the mean of every variant over its seeds, differences between variants, costs, and
each run. Sections of experiments without records stay as they are.
"""

import importlib
import warnings
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from breastus.config.schema import EvaluationConfig
from breastus.errors import RunError, UndefinedMetricWarning
from breastus.evaluation.decision.decision import Decision
from breastus.evaluation.intervals.repeated_metrics import mean_difference, mean_metrics
from breastus.evaluation.options import EvaluationOptions
from breastus.evaluation.published_baseline import published_baseline
from breastus.runs.environment import describe_hardware
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
from experiments.records import Record, experiments, read_records
from experiments.runner import SEEDS

OPTIONS = EvaluationOptions(resamples=2000)
# Settings in which the seeds of a variant may differ: the machine decides them.
MAY_DIFFER = {"data.source", "model.weights", "training.precision"}
# Rows of the published study that are shown below an experiment: network, colour map.
PUBLISHED = {
    "study": [("cnn", "plain"), ("cnn", "parula"), ("swin", "plain"), ("swin", "parula")],
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
    found = {name: by_variant(name, read_records(name)) for name in experiments()}
    if not found:
        raise RunError("experiments/records/ holds no runs. Run a recipe first.")
    with warnings.catch_warnings():
        # Small test sets leave some metrics undefined; the tables say so.
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        write_section(RESULTS, "reading", "\n".join(reading(found)))
        for name, variants in found.items():
            write_section(RESULTS, name, section(name, variants, comparison(name, found)))
            print(f"{RESULTS.name}: {name}, {sum(map(len, variants.values()))} runs")


def by_variant(experiment: str, records: list[Record]) -> dict[str, list[Record]]:
    """Return the runs of each variant.

    Raises:
        RunError: when the seeds of a variant were trained with different settings.
    """
    variants: dict[str, list[Record]] = {}
    for record in records:
        first = variants.setdefault(record.variant, [record])[0]
        ours, theirs = _settings(first), _settings(record)
        # A setting that is newer than a record is missing there.
        common = (ours.keys() & theirs.keys()) - MAY_DIFFER
        if different := sorted(name for name in common if ours[name] != theirs[name]):
            raise RunError(
                f"{experiment}/{record.variant}: all seeds must have the same settings. Received: "
                f"seeds {first.seed} and {record.seed} with different {different[0]}. Run all "
                "seeds with the same settings."
            )
        if record is not first:
            variants[record.variant].append(record)
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
        mean_metrics(_test(runs), options=EvaluationOptions(resamples=100))["per_table"]
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
        "A row is the mean over the seeds of a variant. A seed decides the split of the images, "
        "the initial weights and the order of training.",
        "",
        "A 95 % interval covers the sampling of the test images, by scene (BUSI) or by patient "
        "(BUS-UCLM), for the models as they were trained. It does not cover training again with "
        "another seed. The ROC-AUC has DeLong's interval; accuracy, sensitivity and "
        "specificity have Wilson's; all others come from a bootstrap, or from Wilson's formula "
        "where a share is exactly 0 or 1.",
        "",
        "Scores vary between seeds by more than most intervals suggest. The standard deviation "
        f"between the seeds of a variant, pooled over {len(several)} variants, is {spread}.",
        "",
        "BUSI has no patient identifiers. Leak-free means that no scene, which is one image and "
        "its near-duplicates, is in two splits. ECE is the expected calibration error.",
        "",
        "Sections with a line *Records: none kept* were written once, by the command that they "
        "name. Their tables cannot be regenerated from `experiments/records/`; all others can, by "
        "`python -m experiments.results`.",
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
        f"{', '.join(f'`{one}`' for one in _distinct(records, 'code_version'))}",
    }
    if missing := missing_runs(name, variants):
        facts[f"Fewer than {SEEDS} seeds, to save time"] = missing
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
            "Cost (medians over seeds):",
            "",
            *costs_table(variants),
            "",
            "Each run, with intervals over the scenes of its own test images:",
            "",
            *runs_table(records),
        ]
    )


def recipe_of(experiment: str) -> ModuleType:
    """Return the module of a recipe."""
    return importlib.import_module(f"experiments.recipes.{experiment}")


def missing_runs(experiment: str, variants: Variants) -> str:
    """Return which runs of a recipe have no record, or an empty text."""
    seeds = {name: len(variants.get(name, ())) for name in recipe_of(experiment).VARIANTS}
    few = {name: number for name, number in seeds.items() if number < SEEDS}
    return ", ".join(
        f"`{name}` {_seeds(number)}" if number else f"`{name}` was not run"
        for name, number in few.items()
    )


def means_table(experiment: str, variants: Variants) -> list[str]:
    """Return the mean of each variant over its seeds, and the published rows."""
    lines = score_table("test images")
    for name, records in variants.items():
        means = mean_metrics(_test(records), options=OPTIONS)
        images = ", ".join(map(str, means["n"]))
        lines.append(score_row(f"{name}, {_seeds(len(records))}", means, images))
    for model, color in PUBLISHED.get(experiment, ()):
        published = published_baseline(model, color)
        lines.append(score_row(f"published study, {model}, {color}", published, published["n"]))
    return lines


def differences_table(variants: Variants, others: Variants, heading: str) -> list[str]:
    """Return each variant minus the one it is compared with, over the seeds that both have."""
    rows = []
    for name in sorted(variants.keys() & others.keys()):
        theirs = {record.seed: record for record in others[name]}
        pairs = [
            (record, theirs[record.seed]) for record in variants[name] if record.seed in theirs
        ]
        ours, bases = zip(*pairs, strict=True)
        difference = mean_difference(_test(ours), _test(bases), options=OPTIONS)
        rows.append(score_row(name, difference, len(pairs)))
    return [
        f"Difference from {heading}, on the same test images (mean over seeds, 95 % interval of "
        "the difference):",
        "",
        *score_table("seeds"),
        *rows,
        "",
    ]


def redecided_table(experiment: str, variants: Variants) -> list[str]:
    """Return other calibrations and thresholds on the predictions of a variant."""
    base, decisions = REDECIDED.get(experiment, ("", {}))
    if base not in variants:
        return []
    records = variants[base]
    lines = [
        f"Other calibrations and thresholds on the predictions of `{base}`, without training "
        f"(mean over seeds; below it the difference from `{base}`; 95 % intervals of both):",
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
        means = mean_metrics(tables, options=OPTIONS)
        differences = mean_difference(tables, _test(records), options=OPTIONS)
        lines += [score_row(name, means), score_row(f"difference from `{base}`", differences)]
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
        scores = mean_metrics([record.split("test")], options=OPTIONS)
        matrix = np.array(scores["confusion_matrix"], int).tolist()
        shown = [format_score(scores[key]) for key in ("roc_auc", "balanced_accuracy")]
        epoch = 1 + int(np.nanargmin(record.facts["history"]["val_loss"]))
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
