"""Write what experiments gave into RESULTS.md and README.md, from run folders alone.

    python -m experiments.results                 # all of runs/<experiment>/<variant>-<seed>/

First the records of finished runs (settings, environment, history, metrics, predictions; no images
and no weights) are copied to `experiments/records/`, where they stay; the tables are then written
from all records, so that an experiment can be run in several sittings.

Of each variant: the mean over its seeds, with a 95 % interval by bootstrap over scenes (patients),
as `breastus.evaluation.pooled` has it. Below stands every run by itself. An experiment of which
there are no runs keeps its section.
"""

import argparse
import ast
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from breastus.errors import BreastusError, RunError
from breastus.evaluation.pooled import mean_difference, mean_metrics
from breastus.evaluation.predictions import read_predictions
from breastus.evaluation.study import study_row
from breastus.files import write_json, write_text
from breastus.setting_texts import join_sources, split_sources
from breastus.training.environment import describe_hardware
from breastus.training.run import CONFIG_FILE, ENVIRONMENT_FILE, METRICS_FILE, Run
from experiments.places import write_between
from experiments.score_table import entry, header, row

HERE = Path(__file__).parent
RECORDS = HERE / "records"
KEPT = (METRICS_FILE, "history.csv", "predictions_val.csv", "predictions_test.csv")
RESAMPLES = 2000
# Experiments that README.md shows as well.
README = ("study", "networks", "leakage", "shortcuts")
# The study's own rows below an experiment's.
STUDY_ROWS = {
    "study": [("cnn", "plain"), ("cnn", "parula"), ("swin", "plain"), ("swin", "parula")],
    "networks": [("cnn", "plain"), ("swin", "plain")],
}
# With whose variants an experiment's are compared, each with which, and how those are called.
COMPARED_WITH = {
    "precision": ("networks", lambda variant: variant, "float32"),
    "pretraining": ("networks", lambda variant: variant.rpartition("-")[0], "random weights"),
    "ablation": (
        "ablation",
        lambda variant: "cnn" if variant.startswith("cnn") else "base",
        "what each is compared with",
    ),
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="default: runs")
    args = parser.parse_args()

    for folder in sorted(args.runs.glob("*")):
        if _has_variants(folder.name):
            keep_records(folder)
    found = {folder.name: read_variants(folder) for folder in sorted(RECORDS.glob("*"))}
    if not found:
        raise RunError(f"{args.runs} holds no finished runs of an experiment. Run one first.")
    for name, variants in found.items():
        others, what = compared(name, found)
        text = section(name, variants, compared_with=others, what=what)
        write_between(HERE / "RESULTS.md", name, text)
        print(f"experiments/RESULTS.md: {name}, {sum(map(len, variants.values()))} runs")
    for name in README:
        if name not in found:
            continue
        write_between(HERE.parent / "README.md", name, means_table(name, found[name]))
        print(f"README.md: {name}")


def compared(name: str, found: dict[str, dict[str, list[Run]]]) -> tuple[dict[str, list[Run]], str]:
    """Return what an experiment's variants are compared with, by their names, and its own name.

    Args:
        name: the experiment's.
        found: experiment to variant to runs.
    """
    if name not in COMPARED_WITH:
        return {}, ""
    experiment, base_of, what = COMPARED_WITH[name]
    bases = found.get(experiment, {})
    return {
        variant: bases[base_of(variant)]
        for variant in found[name]
        if base_of(variant) in bases and (experiment, base_of(variant)) != (name, variant)
    }, what


def keep_records(folder: Path) -> None:
    """Copy what the tables need of an experiment's finished runs to its folder of records."""
    for path in folder.glob("*-*"):
        if not Run(path).finished:
            continue
        record = RECORDS / folder.name / path.name
        shutil.rmtree(record, ignore_errors=True)
        record.mkdir(parents=True)
        for name in KEPT:
            shutil.copy(path / name, record / name)
        # Where the images lay on that machine is nobody's business.
        config = Run(path).config
        names = [Path(place).name for place in split_sources(config.data.source)]
        source = config.replace({"data": {"source": join_sources(names)}})
        environment = dict(Run(path).environment)
        if environment.get("pretraining"):
            weights = Path(config.model.weights).name
            source = source.replace({"model": {"weights": weights}})
            environment["weights"] = {**environment["weights"], "weights": weights}
        write_text(record / CONFIG_FILE, source.to_yaml())
        # Which variants a command was limited to changes none of its runs.
        command = re.sub(r" --only( (?!-)\S+)+", "", environment["command"])
        environment["command"] = without_folders(command)
        write_json(record / ENVIRONMENT_FILE, environment)


def without_folders(command: str) -> str:
    """Return a command line without where things lay on the machine that it ran on."""
    return re.sub(r"(?<= )/\S*/", "", re.sub(r"--data \S+", "--data ...", command))


def read_variants(folder: Path) -> dict[str, list[Run]]:
    """Return an experiment's recorded runs by variant, in order of names and seeds."""
    variants: dict[str, list[Run]] = {}
    runs = [Run(path) for path in folder.glob("*-*")]
    for run in sorted(runs, key=lambda run: (_variant(run), run.config.seed)):
        variants.setdefault(_variant(run), []).append(run)
    return variants


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
    recipe = ast.get_docstring(ast.parse((HERE / f"{name}.py").read_text(encoding="utf-8")))
    title, _, rest = recipe.partition("\n")
    runs = [run for group in variants.values() for run in group]
    machines = sorted({describe_hardware(run.environment["hardware"]) for run in runs})
    commands = sorted({run.environment["command"] for run in runs})
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


def means_table(experiment: str, variants: dict[str, list[Run]]) -> str:
    """Return the mean of each variant over its seeds, and the study's own rows, as Markdown."""
    lines = header("test images")
    for name, runs in variants.items():
        means = mean_metrics(_predictions(runs), resamples=RESAMPLES)
        images = ", ".join(map(str, means["n"]))
        lines.append(row(f"{name}, {_seeds(runs)}", means, images))
    for model, color in STUDY_ROWS.get(experiment, ()):
        published = study_row(model, color)
        name = f"the study, {model}, {color}, as published"
        lines.append(row(name, published, published["n"]))
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
        cells = [entry(test[metric]) for metric in ("roc_auc", "balanced_accuracy")]
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
        *header("seeds"),
    ]
    for name in variants.keys() & others.keys():
        pairs = {run.config.seed: [run] for run in variants[name]}
        for run in others[name]:
            pairs.setdefault(run.config.seed, []).append(run)
        both = [pair for pair in pairs.values() if len(pair) == 2]
        ours, theirs = (_predictions(side) for side in zip(*both, strict=True))
        difference = mean_difference(ours, theirs, resamples=RESAMPLES)
        lines.append(row(name, difference, len(both)))
    return [*lines[:4], *sorted(lines[4:]), ""]


def decided_anew(experiment: str, variants: dict[str, list[Run]]) -> list[str]:
    """Return the lines of a table: other calibrations and thresholds on a variant's predictions."""
    base, decisions = DECIDED_ANEW.get(experiment, ("", {}))
    if base not in variants:
        return []
    runs = variants[base]
    before = _predictions(runs)
    from breastus.judging import decision_of

    lines = [
        f"Decided anew on the predictions of `{base}`, without training (mean over seeds, and in "
        "the row below it the difference from the base's own, both with 95 % intervals):",
        "",
        *header(),
    ]
    for name, changes in decisions.items():
        tables = []
        for run in runs:
            settings = run.config.replace({"evaluation": changes}).evaluation
            decision = decision_of(run, settings)
            tables.append(decision.apply(read_predictions(run.file("predictions_test.csv"))))
        means = mean_metrics(tables, resamples=RESAMPLES)
        differences = mean_difference(tables, before, resamples=RESAMPLES)
        lines += [row(name, means), row("less the base's", differences)]
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


def _has_variants(name: str) -> bool:
    # best.py writes its own section, of folds.
    recipe = HERE / f"{name}.py"
    return recipe.is_file() and "\nVARIANTS = {" in recipe.read_text(encoding="utf-8")


def _variant(run: Run) -> str:
    return run.path.name.rpartition("-")[0]


def _packages(run: Run) -> str:
    versions = run.environment["versions"]
    return ", ".join(f"{name} {versions[name]}" for name in ("breastus", "tensorflow", "keras"))


def _seeds(runs: list[Run]) -> str:
    return f"{len(runs)} seed" + "s" * (len(runs) > 1)


def _predictions(runs: Sequence[Run]) -> list[pd.DataFrame]:
    return [read_predictions(run.file("predictions_test.csv")) for run in runs]


if __name__ == "__main__":
    try:
        main()
    except BreastusError as error:
        raise SystemExit(f"error: {error}") from error
