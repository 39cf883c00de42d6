"""Twins: test images of which a near-duplicate is among the training images of the same run.

    records/<experiment>/twins.json    data fingerprint to test image to its most similar twin

A split is known by its data fingerprint, so runs that share a split share the entry. A training
whose split separates groups finds its twins itself (`breastus.auditing.leakage.twins_in_training`).
"""

import json

from breastus.errors import RunError
from breastus.runs.run import Run
from breastus.utils.files import write_json
from experiments import records, runner

TWINS = "twins.json"


def read_twins(experiment: str) -> dict[str, dict[str, str]]:
    """Return data fingerprint to the twins of its test images: image id to training image id."""
    path = records.RECORDS / experiment / TWINS
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def write_twins(experiment: str) -> None:
    """Record the twins of the split of each finished run.

    Raises:
        RunError: if a run of a split that separates groups does not hold its twins.
    """
    found = read_twins(experiment)
    recorded = records.recorded_runs(experiment)
    for folder in sorted((runner.RUNS / experiment).glob("*-*")):
        run = Run(folder)
        if folder.name not in recorded or not run.finished:
            continue
        twins = run.read_twins()
        if twins is None and run.config.data.groups == "ignore":
            raise RunError(
                f"{folder} does not hold the twins of its split: an earlier version trained it. "
                "Delete it, and run the recipe again."
            )
        found[run.environment["data_fingerprint"]] = twins or {}
    write_json(records.RECORDS / experiment / TWINS, found)
