"""Twins: test images of which a near-duplicate is among the training images of the same run.

    records/<experiment>/twins.json    data fingerprint to test image to its most similar twin

A split is known by its data fingerprint, so runs that share a split share the entry. The twins of a
split are found from the files of its run, once it is finished.
"""

import json

from breastus.auditing.leakage import duplicate_pairs, leaks
from breastus.data.manifest.build import build_manifest_with_pairs
from breastus.runs.run import Run
from breastus.utils.files import write_json
from experiments import records, runner

TWINS = "twins.json"


def read_twins(experiment: str) -> dict[str, dict[str, str]]:
    """Return data fingerprint to the twins of its test images: image id to training image id."""
    path = records.RECORDS / experiment / TWINS
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def write_twins(experiment: str) -> None:
    """Record the twins of each finished run whose split has no entry yet."""
    found, pairs = read_twins(experiment), {}
    recorded = records.recorded_runs(experiment)
    for folder in sorted((runner.RUNS / experiment).glob("*-*")):
        run = Run(folder)
        if folder.name not in recorded or not run.finished:
            continue
        if (fingerprint := run.environment["data_fingerprint"]) in found:
            continue
        settings, manifest = run.config.data, run.read_manifest()
        key = settings.source, settings.duplicate_threshold
        if key not in pairs:  # reads every image
            built = build_manifest_with_pairs(settings.source, settings=settings)
            pairs[key] = duplicate_pairs(built.manifest, built.near_duplicate_pairs)
        leaked = leaks(run.read_splits(manifest), manifest, pairs[key])
        leaked = leaked[(leaked["split"] == "test") & leaked["near_duplicate"]]
        found[fingerprint] = dict(zip(leaked["image_id"], leaked["duplicate_id"], strict=True))
        write_json(records.RECORDS / experiment / TWINS, found)
