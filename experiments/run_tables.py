"""What a recipe's runs gave, as Markdown: variants to runs in, an experiment's section out."""

import ast
import importlib
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from breastus.evaluation.decision.decision import decide
from breastus.evaluation.intervals.repeated_metrics import mean_difference, mean_metrics
from breastus.evaluation.predictions import check_predictions
from breastus.evaluation.published_baseline import published_baseline
from breastus.runs.environment import describe_hardware
from breastus.runs.run import Run
from experiments.pages import HERE, format_score, score_row, score_table
from experiments.runner import SEEDS

RESAMPLES = 2000
# The study's own rows below an experiment's.
STUDY_ROWS = {
    "study": [("cnn", "plain"), ("cnn", "parula"), ("swin", "plain"), ("swin", "parula")],
    "networks": [("cnn", "plain"), ("swin", "plain")],
}
# What is decided anew on the validation predictions of a variant: settings of `evaluation`.
DECIDED_ANEW = {
    "ablation": (
        "base",
        {
            "calibration none": {"calibration": "none"},
            "calibration Platt": {"calibration": "platt"},
            "calibration isotonic": {"calibration": "isotonic"},
            "calibration by rule": {"calibration": "auto"},
            "threshold 0.5": {"threshold": 0.5},
            "threshold for sensitivity": {"threshold_rule": "sensitivity"},
            "threshold, a miss as bad as 30 alarms": {"threshold_rule": "cost", "cost_ratio": 30.0},
        },
    )
}


def section(
    name: str,
    variants: dict[str, list[Run]],
    *,
    compared_with: dict[str, list[Run]] | None = None,
    what: str = "",
) -> str:
    """Return an experiment's part of RESULTS.md.

    Args:
        name: the recipe's.
        variants: runs by variant.
        compared_with: runs of another experiment by variant; the difference is shown for each name
            that both have.
        what: says in one word what those others are.
    """
    recipe = ast.get_docstring(
        ast.parse((HERE / "recipes" / f"{name}.py").read_text(encoding="utf-8"))
    )
    title, _, rest = recipe.partition("\n")
    runs = [run for group in variants.values() for run in group]
    machines = sorted({describe_hardware(run.environment["hardware"]) for run in runs})
    commands = sorted({_command(run) for run in runs})
    packages = sorted({_packages(run) for run in runs})
    minutes = np.array([run.environment["seconds_training"] for run in runs]) / 60
    between = f"{minutes.min():.1f} to {minutes.max():.1f}"
    return "\n".join(
        [
            f"## {title}",
            "",
            "```",
            *rest.strip("\n").splitlines(),
            "```",
            "",
            f"- Command: `{'`, `'.join(commands)}`",
            f"- Machine: {'; '.join(machines)}",
            f"- Versions: {'; '.join(packages)}",
            f"- Training: {np.median(minutes):.1f} minutes a run (median; {between})",
            *fewer(name, variants),
            "",
            means_table(name, variants),
            "",
            *(differences_table(variants, compared_with, what) if compared_with else ()),
            *decided_anew(name, variants),
            "What they cost:",
            "",
            costs_table(variants),
            "",
            "Every run by itself (95 % intervals of that run's own test images):",
            "",
            runs_table(runs),
        ]
    )


def fewer(experiment: str, variants: dict[str, list[Run]]) -> list[str]:
    """Return a line that says which of a recipe's runs there are not, or nothing."""
    asked = importlib.import_module(f"experiments.recipes.{experiment}").VARIANTS
    seeds = {name: len(variants.get(name, ())) for name in asked}
    lacking = [
        f"`{name}` {_number_of_seeds(number)}" if number else f"`{name}` was not run"
        for name, number in seeds.items()
        if number < SEEDS
    ]
    return (
        [f"- Fewer than {SEEDS} seeds, by what they cost: {', '.join(lacking)}"] if lacking else []
    )


def means_table(experiment: str, variants: dict[str, list[Run]]) -> str:
    """Return the mean of each variant over its seeds, and the study's own rows, as Markdown."""
    lines = score_table("test images")
    for name, runs in variants.items():
        means = mean_metrics(_predictions(runs), resamples=RESAMPLES)
        images = ", ".join(map(str, means["n"]))
        lines.append(score_row(f"{name}, {_number_of_seeds(len(runs))}", means, images))
    for model, color in STUDY_ROWS.get(experiment, ()):
        published = published_baseline(model, color)
        name = f"the study, {model}, {color}, as published"
        lines.append(score_row(name, published, published["n"]))
    return "\n".join(lines)


def costs_table(variants: dict[str, list[Run]]) -> str:
    """Return size and cost of each variant, medians over its seeds, as Markdown."""
    lines = [
        "| | parameters | GFLOPs an image | started from | precision | epochs | seconds an epoch | "
        "peak memory, MiB | machine |",
        "|---" * 9 + "|",
    ]
    for name, runs in variants.items():
        first, settings = runs[0].environment, runs[0].config.training
        seconds = np.median(np.concatenate([run.history["seconds"] for run in runs]))
        memory = np.median([run.environment["peak_memory_mb"] for run in runs])
        lines.append(
            f"| {name} | {first['network']['parameters']:,} | {first['network']['gflops']:.2f} | "
            f"{_started_from(runs)} | {settings.precision} | "
            f"{settings.epochs} | {seconds:.1f} | {memory:.0f} | "
            f"{describe_hardware(first['hardware'])} |"
        )
    return "\n".join(lines)


def runs_table(runs: list[Run]) -> str:
    """Return a row for each run as Markdown."""
    lines = [
        "| run | [[clear, false alarm], [missed, found]] | ROC-AUC | balanced accuracy | "
        "best epoch | data fingerprint |",
        "|---|---|---|---|---|---|",
    ]
    for run in runs:
        test = run.metrics["test"]
        scores = mean_metrics(_predictions([run]), resamples=RESAMPLES)
        cells = [format_score(scores[metric]) for metric in ("roc_auc", "balanced_accuracy")]
        best = int(run.history.loc[run.history["val_loss"].idxmin(), "epoch"])
        lines.append(
            f"| {run.path.name} | {test['confusion_matrix']} | {' | '.join(cells)} | {best} | "
            f"`{run.environment['data_fingerprint'][:12]}` |"
        )
    return "\n".join(lines)


def differences_table(
    variants: dict[str, list[Run]], others: dict[str, list[Run]], what: str
) -> list[str]:
    """Return the lines of a table: each variant less the other one of its name, on the same images.

    Only seeds that both have count.
    """
    lines = [
        f"Less {what}, on the same test images (mean over seeds; 95 % interval of the difference):",
        "",
        *score_table("seeds"),
    ]
    for name in variants.keys() & others.keys():
        pairs = {run.config.seed: [run] for run in variants[name]}
        for run in others[name]:
            pairs.setdefault(run.config.seed, []).append(run)
        both = [pair for pair in pairs.values() if len(pair) == 2]
        ours, theirs = (_predictions(side) for side in zip(*both, strict=True))
        difference = mean_difference(ours, theirs, resamples=RESAMPLES)
        lines.append(score_row(name, difference, len(both)))
    return [*lines[:4], *sorted(lines[4:]), ""]


def decided_anew(experiment: str, variants: dict[str, list[Run]]) -> list[str]:
    """Return the lines of a table: other calibrations and thresholds on a variant's predictions."""
    base, decisions = DECIDED_ANEW.get(experiment, ("", {}))
    if base not in variants:
        return []
    runs = variants[base]
    before = _predictions(runs)
    from breastus.training.prior_correction import prior_correction_of

    lines = [
        f"Decided anew on the predictions of `{base}`, without training (mean over seeds, and in "
        "the row below it the difference from the base's own, both with 95 % intervals):",
        "",
        *score_table(),
    ]
    for name, changes in decisions.items():
        tables = []
        for run in runs:
            settings = run.config.replace({"evaluation": changes}).evaluation
            validation, test = (_uncalibrated(run, split) for split in ("val", "test"))
            shift = prior_correction_of(run)
            decision = decide(validation, settings, seed=run.config.seed, shift=shift)
            tables.append(decision.apply(test))
        means = mean_metrics(tables, resamples=RESAMPLES)
        differences = mean_difference(tables, before, resamples=RESAMPLES)
        lines += [score_row(name, means), score_row("less the base's", differences)]
    return [*lines, ""]


def _started_from(runs: list[Run]) -> str:
    known = [run.environment.get("pretraining") for run in runs]
    if not known[0]:
        return runs[0].environment["weights"]["weights"] or "random"
    minutes = np.median([facts["seconds"] for facts in known if facts]) / 60
    facts = known[0]
    return (
        f"pretrained on {facts['on']} ({facts['images']:,} of them, {facts['epochs']} epochs, "
        f"{minutes:.1f} minutes)"
    )


def _packages(run: Run) -> str:
    versions = run.environment["versions"]
    return ", ".join(f"{name} {versions[name]}" for name in ("breastus", "tensorflow", "keras"))


def _command(run: Run) -> str:
    return re.sub(r"^(\w+)\.py", r"python -m experiments.recipes.\1", run.environment["command"])


def _number_of_seeds(number: int) -> str:
    return f"{number} seed" + "s" * (number > 1)


def _predictions(runs: Sequence[Run]) -> list[pd.DataFrame]:
    return [run.read_predictions("test") for run in runs]


def _uncalibrated(run: Run, split: str) -> pd.DataFrame:
    """Return a split's predictions; records name the uncalibrated column `raw`."""
    path = run.file(f"predictions_{split}.csv")
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    return check_predictions(table.rename(columns={"raw": "probability_uncalibrated"}), str(path))
