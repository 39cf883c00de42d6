"""Entries of the benchmark: what was recorded of each, and the table that documentation shows.

    records/benchmark/entries.jsonl       one line an entry: title, recipe, code version, machine
    records/benchmark/entries.parquet     its predictions: images, groups, labels, fold, run

Scores are not recorded: `python -m experiments.results` computes the table from the predictions.
"""

import json
from typing import Any

import filelock
import pandas as pd

from breastus.data.splits.benchmark import NAMED_SPLITS
from breastus.errors import RunError
from breastus.evaluation.entry_scores import score_entry
from breastus.evaluation.options import EvaluationOptions
from breastus.utils.files import write_aside, write_text
from experiments import records
from experiments.pages import fact_list, score_row, score_table

EXPERIMENT = "benchmark"
FACTS, PREDICTIONS = "entries.jsonl", "entries.parquet"
COLUMNS = (
    "entry",
    "run",
    "fold",
    "image_id",
    "group_id",
    "finding",
    "label",
    "probability",
    "threshold",
)
OPTIONS = EvaluationOptions(resamples=2000)


def has_entries() -> bool:
    """Return whether an entry is recorded."""
    return (records.RECORDS / EXPERIMENT / FACTS).exists()


def read_entries() -> tuple[list[dict[str, Any]], pd.DataFrame]:
    """Return the facts of each entry, sorted by name, and the predictions of all."""
    folder = records.RECORDS / EXPERIMENT
    if not has_entries():
        raise RunError(f"{folder / FACTS} does not exist. Run experiments.recipes.benchmark first.")
    text = (folder / FACTS).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()], pd.read_parquet(folder / PREDICTIONS)


def record_entry(facts: dict[str, Any], predictions: pd.DataFrame) -> None:
    """Record an entry, in the place of an earlier one of the same name.

    Args:
        facts: `entry`, `title`, `split` (its name), `fingerprint`, `command`, `code_version`,
            `versions`, `hardware` and `minutes`.
        predictions: rows with the columns of `COLUMNS` except `entry`.
    """
    folder = records.RECORDS / EXPERIMENT
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / ".lock"):
        lines, table = read_entries() if has_entries() else ([], None)
        own = predictions.assign(entry=facts["entry"])[list(COLUMNS)]
        if table is not None:
            own = pd.concat([table[table["entry"] != facts["entry"]], own], ignore_index=True)
        own = own.sort_values(["entry", "run", "image_id"], kind="stable", ignore_index=True)
        by_name = {one["entry"]: one for one in lines} | {facts["entry"]: facts}
        with write_aside(folder / PREDICTIONS) as path:
            own.to_parquet(path, index=False, compression="zstd")
        text = "".join(json.dumps(by_name[name]) + "\n" for name in sorted(by_name))
        write_text(folder / FACTS, text)


def tables_of(predictions: pd.DataFrame, entry: str) -> list[pd.DataFrame]:
    """Return a table of predictions for each run of an entry, sorted by image id."""
    rows = predictions[predictions["entry"] == entry]
    return [
        run.sort_values("image_id", ignore_index=True).assign(
            split="test",
            predicted=lambda one: (one["probability"] >= one["threshold"]).map(
                {True: "lump", False: "no_lump"}
            ),
        )
        for _, run in rows.groupby("run", sort=True)
    ]


def section() -> str:
    """Return the text of the section `benchmark` of RESULTS.md.

    Raises:
        RunError: if an entry is of a split that the package does not know any more.
    """
    entries, predictions = read_entries()
    rows, facts = [], {}
    for one in entries:
        if NAMED_SPLITS.get(one["split"]) != one["fingerprint"]:
            raise RunError(
                f"The entry {one['entry']} is of {one['split']}, {one['fingerprint'][:12]}, which "
                "the package does not know. Run its recipe again."
            )
        tables = tables_of(predictions, one["entry"])
        scores = score_entry(tables, options=OPTIONS)
        rows.append(
            score_row(one["title"], scores, one["split"], len(tables), scores["interval_of"])
        )
        facts[one["title"]] = (
            f"`{one['command']}`, code version `{one['code_version']}`, {one['hardware']}, "
            f"{one['minutes']:.0f} minutes"
        )
    return "\n".join(
        [
            "## Entries of the benchmark",
            "",
            "Out-of-fold predictions of every image of a named split, scored as `breastus score` "
            "does. Intervals (95 %) of one trained model are over scenes and do not cover another "
            "training; intervals of a recipe, of several runs, do.",
            "",
            *fact_list({**facts, "Records": "`records/benchmark/`"}),
            "",
            *score_table("split", "runs", "interval of"),
            *rows,
        ]
    )
