"""The records of finished runs, from which RESULTS.md is written.

    records/<experiment>/runs.jsonl            one line a run: settings, environment, cost
    records/<experiment>/predictions.parquet   validation and test predictions of all runs
    records/<benchmark>/<benchmark>.json       what a benchmark measured

Scores are not recorded: they are computed from the predictions. Images, weights and the places of
files on a machine are not recorded either. A run that is recorded again replaces its own rows.

A record states the version of its format, the commit that made it and the version of the image
transform. Records of another format, or with gaps, are refused; nothing is filled in.
"""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import pandas as pd

from breastus.config.parsing import join_sources, split_sources
from breastus.errors import RunError
from breastus.evaluation.predictions import MALIGNANT_SHARE
from breastus.runs.run import Run
from breastus.utils.files import write_aside, write_text
from experiments.pages import HERE, ROOT

RECORDS = HERE / "records"
RUNS, PREDICTIONS = "runs.jsonl", "predictions.parquet"
SPLITS = ("val", "test")
# 2: validation and test predictions, each with its threshold and its uncalibrated probability, and
# `transform`. Records of version 1 may lack them.
RECORD_VERSION = 2
# Columns of the predictions; `fold` is the setting data.fold of the run.
COLUMNS = (
    "run",
    "split",
    "fold",
    "image_id",
    "group_id",
    "finding",
    "label",
    "predicted",
    "probability",
    "probability_uncalibrated",
    "threshold",
    MALIGNANT_SHARE,  # only of networks that learned findings
)
_NUMBERS = ("fold", "probability", "probability_uncalibrated", "threshold", MALIGNANT_SHARE)
_HISTORY = ("loss", "val_loss", "val_accuracy", "seconds")


@dataclass(frozen=True)
class Record:
    """A recorded run.

    Attributes:
        facts: its line of runs.jsonl.
        predictions: its rows of predictions.parquet.
    """

    facts: dict[str, Any]
    predictions: pd.DataFrame

    @property
    def name(self) -> str:
        return self.facts["run"]

    @property
    def variant(self) -> str:
        return self.facts["variant"]

    @property
    def seed(self) -> int:
        return self.facts["seed"]

    def split(self, name: str) -> pd.DataFrame:
        """Return the predictions of the split `val` or `test`, without columns it does not have."""
        rows = self.predictions[self.predictions["split"] == name]
        return rows.dropna(axis="columns", how="all").reset_index(drop=True)


def experiments() -> list[str]:
    """Return the names of the experiments that have records, sorted."""
    return sorted(path.parent.name for path in RECORDS.glob(f"*/{RUNS}"))


def read_records(experiment: str) -> list[Record]:
    """Return the recorded runs of an experiment, sorted by variant and seed.

    Raises:
        RunError: when a record has another version, no code version, or gaps.
    """
    folder = RECORDS / experiment
    facts = _read_lines(folder / RUNS)
    if not facts:
        return []
    predictions = _read_table(folder / PREDICTIONS)
    found = [Record(one, predictions[predictions["run"] == one["run"]]) for one in facts]
    for record in found:
        _check(record, experiment)
    return sorted(found, key=lambda record: (record.variant, record.seed))


def _check(record: Record, experiment: str) -> None:
    """Raise RunError unless a record is of this version and complete."""
    facts, wrong = record.facts, ""
    learned_labels = facts["settings"]["training"].get("target", "label") == "label"
    needed = [name for name in _NUMBERS if name != MALIGNANT_SHARE or not learned_labels]
    if facts.get("record_version") != RECORD_VERSION:
        found = facts.get("record_version")
        wrong = f"must have the version {RECORD_VERSION}. Received: record_version={found!r}"
    elif not facts.get("code_version") or not isinstance(facts.get("transform"), int):
        wrong = "must state code_version and transform, the version of the image transform"
    elif missing := [split for split in SPLITS if not len(record.split(split))]:
        wrong = f"must hold validation and test predictions. Received: none of {missing[0]}"
    elif (gaps := record.predictions[needed].isna().any()).any():
        wrong = f"must not have gaps. Received: predictions without {gaps.idxmax()}"
    if wrong:
        raise RunError(
            f"records/{experiment}: the record {record.name} {wrong}. Delete the records of the "
            "experiment and run its recipe again."
        )


def recorded_runs(experiment: str) -> set[str]:
    """Return the names of the recorded runs of an experiment."""
    return {facts["run"] for facts in _read_lines(RECORDS / experiment / RUNS)}


def record_run(experiment: str, run: Run) -> None:
    """Record a finished run, in the place of an earlier record of the same name."""
    tables = [
        run.read_predictions(split).assign(run=run.path.name, fold=run.config.data.fold)
        for split in SPLITS
    ]
    write_record(experiment, facts_of(run), pd.concat(tables, ignore_index=True))


def write_record(experiment: str, facts: dict[str, Any], predictions: pd.DataFrame) -> None:
    """Write one run into the two files of an experiment.

    Args:
        experiment: name of the recipe.
        facts: line of runs.jsonl, with `run`, `variant` and `seed`.
        predictions: rows with the columns of `COLUMNS`, in any order.
    """
    folder = RECORDS / experiment
    folder.mkdir(parents=True, exist_ok=True)
    # Two recipes, or two jobs of one, may record at the same time.
    with filelock.FileLock(folder / ".lock"):
        lines = {one["run"]: one for one in _read_lines(folder / RUNS)} | {facts["run"]: facts}
        rows = predictions.reindex(columns=list(COLUMNS))
        if (folder / PREDICTIONS).exists():
            old = _read_table(folder / PREDICTIONS)
            rows = pd.concat([old[old["run"] != facts["run"]], rows], ignore_index=True)
        rows = rows.sort_values(["run", "split"], kind="stable", ignore_index=True)
        texts = [name for name in COLUMNS if name not in _NUMBERS]
        with write_aside(folder / PREDICTIONS) as path:
            # As categories, texts are stored once.
            rows.astype(dict.fromkeys(texts, "category")).to_parquet(
                path, index=False, compression="zstd"
            )
        text = "".join(json.dumps(lines[name]) + "\n" for name in sorted(lines))
        write_text(folder / RUNS, text)


def facts_of(run: Run) -> dict[str, Any]:
    """Return the line of runs.jsonl of a finished run."""
    config, environment = run.config, run.environment
    hardware = environment["hardware"]
    settings = config.to_dict()
    # Names without folders.
    places = [Path(place).name for place in split_sources(config.data.source)]
    settings["data"]["source"] = join_sources(places)
    initial = environment["weights"]["weights"]
    if pretraining := environment.get("pretraining"):
        initial = settings["model"]["weights"] = Path(config.model.weights).name
    variant, _, _ = run.path.name.rpartition("-")
    return {
        "run": run.path.name,
        "variant": variant,
        "seed": config.seed,
        "network": config.model.name,
        "record_version": RECORD_VERSION,
        "code_version": code_version(),
        "transform": environment["transform"],
        "command": recipe_command(environment["command"]),
        "data_fingerprint": environment["data_fingerprint"],
        "versions": environment["versions"],
        "hardware": {key: hardware[key] for key in ("processor", "cores", "memory_gb", "gpus")},
        "parameters": environment["network"]["parameters"],
        "gflops": environment["network"]["gflops"],
        "initial_weights": initial,
        "pretraining": without_text(pretraining),
        "seconds_training": round(environment["seconds_training"], 2),
        "peak_memory_mb": environment["peak_memory_mb"],  # None where the system does not tell
        "settings": settings,
        "history": {
            name: [float(f"{value:.6g}") for value in run.history[name]] for name in _HISTORY
        },
    }


def without_text(pretraining: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the facts of a pretraining without the sentence that reports print."""
    return pretraining and {
        key: value for key, value in pretraining.items() if key != "description"
    }


def code_version() -> str:
    """Return the commit of this checkout, with `-dirty` if files differ; empty without Git."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def recipe_command(command: str) -> str:
    """Return the command line of a recipe as anyone can give it.

    Without folders of the machine and without the options that only select runs.
    """
    command = re.sub(
        r" --only( (?!-)\S+)+| --missing\b| --publish \S+", "", without_folders(command)
    )
    return re.sub(r"^(\w+)\.py", r"python -m experiments.recipes.\1", command)


def without_folders(command: str) -> str:
    """Return a command line without the folders of the machine that it ran on."""
    return re.sub(r"(?<= )/\S*/", "", re.sub(r"--data \S+", "--data ...", command))


def write_measurement(name: str, content: dict[str, Any]) -> None:
    """Record what a benchmark measured, with the code version, in the place of an earlier record.

    Args:
        name: name of its section of RESULTS.md.
        content: its numbers, from which the section is written.
    """
    path = RECORDS / name / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"code_version": code_version(), **content}
    write_text(path, json.dumps(content, indent=1) + "\n")


def read_measurement(name: str) -> dict[str, Any] | None:
    """Return what a benchmark measured last; None if there is no record."""
    path = RECORDS / name / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def measurement_facts(name: str, record: dict[str, Any]) -> dict[str, str]:
    """Return the facts of a measurement that a section of RESULTS.md lists."""
    facts = f"`records/{name}/`, of code version `{record['code_version']}`"
    return {**record.get("facts", {}), "Records": facts}


def _read_lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _read_table(path: Path) -> pd.DataFrame:
    table = pd.read_parquet(path).reindex(columns=list(COLUMNS))
    return table.astype({name: "str" for name in COLUMNS if name not in _NUMBERS})
