"""Several finished runs as one bundle: folds or seeds in, their averaged network out.

    export_ensemble([run_1, run_2, run_3], "models/three")

Their logits are averaged. Calibration, threshold and referral are fitted anew, on validation
predictions of the runs: of each image, the mean over those runs that had it in validation. The
scores that travel with the bundle are of test images, each judged by the runs that had it in test;
where the runs split the images differently, fewer networks judged an image than the bundle has, and
the whole should do a little better than that.
"""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from breastus.bundling import bundle_info
from breastus.data.manifest import read_manifest, simulated
from breastus.data.splits import read_splits
from breastus.deploy.export import write_bundle
from breastus.errors import RunError
from breastus.evaluation.judgement import judgement
from breastus.evaluation.tta import VIEWS
from breastus.judging import attributes
from breastus.models.ensemble import ensemble
from breastus.models.load import load_network
from breastus.preprocessing.transform import Transform
from breastus.together import decision_together, mean_predictions
from breastus.training.callbacks import BEST_FILE
from breastus.training.run import MANIFEST_FILE, SPLITS_FILE, Run
from breastus.training.seen_images import pretraining_seen


def export_ensemble(runs: Sequence[Run | str | os.PathLike], out: str | os.PathLike) -> Path:
    """Write the bundle of several runs' averaged network.

    Args:
        runs: finished runs on the same data, with one transform and one set of views.
        out: the bundle's folder.

    Returns:
        `out`.

    Raises:
        RunError: when there are fewer than two runs, one is not finished, or they differ in what
            has to be alike.
        DataError: when an earlier version wrote their predictions.
    """
    members = [run if isinstance(run, Run) else Run.load(run) for run in runs]
    _check(members)
    first = members[0]
    config = first.config
    networks = [load_network(run.file(BEST_FILE)) for run in members]
    network = ensemble(networks)

    validation, test = mean_predictions(members, "val"), mean_predictions(members, "test")
    decision = decision_together(members, config.evaluation)
    tables = {"val": decision.apply(validation), "test": decision.apply(test)}
    manifest = read_manifest(first.file(MANIFEST_FILE))
    name = f"{len(members)} x {config.model.name}"
    metrics = judgement(
        tables,
        decision,
        attributes=attributes(manifest, test["image_id"]),
        model=name,
        color=config.preprocessing.color,
        settings=config.evaluation,
        seed=config.seed,
    )
    seen = _seen(members)
    info = bundle_info(
        config=config,
        environment=_environment(members),
        decision=decision,
        metrics=metrics,
        validation=tables["val"],
        trained_on=manifest[manifest["sha256"].isin(seen)],
        phantom=simulated(manifest),
        parameters=network.count_params(),
    )
    with tempfile.TemporaryDirectory() as folder:
        keras_file = Path(folder, "ensemble.keras")
        network.save(keras_file)
        return write_bundle(
            Path(out),
            keras_file=keras_file,
            transform=Transform.of(config),
            calibrator=decision.calibrator,
            views=VIEWS[config.evaluation.tta],
            info={**info, "model": name, "members": _members(members)},
            seen=[*seen, *(sha for run in members for sha in pretraining_seen(run.path))],
        )


def _check(runs: Sequence[Run]) -> None:
    if len(runs) < 2:
        raise RunError(f"An ensemble is of at least two runs. Received: {len(runs)}")
    first = runs[0]
    for run in runs:
        if not run.finished:
            raise RunError(f"{run.path} is not finished. Run its training command again.")
        for what, of in (
            ("transform", lambda run: Transform.of(run.config)),
            ("evaluation.tta", lambda run: run.config.evaluation.tta),
            ("images", lambda run: set(read_manifest(run.file(MANIFEST_FILE))["sha256"])),
        ):
            if of(run) != of(first):
                raise RunError(
                    f"The runs of an ensemble must have the same {what}. Received: {run.path} and "
                    f"{first.path}, which differ"
                )


def _seen(runs: Sequence[Run]) -> list[str]:
    """Return the checksums of all images that any of the runs was fitted on or chosen by."""
    found: set[str] = set()
    for run in runs:
        manifest = read_manifest(run.file(MANIFEST_FILE))
        rows = read_splits(run.file(SPLITS_FILE), manifest).merge(manifest, on="image_id")
        found |= set(rows.loc[rows["split"] != "test", "sha256"])
    return sorted(found)


def _environment(runs: Sequence[Run]) -> dict[str, Any]:
    """Return the first run's, with the worst that is known of any run's initial weights."""
    found = [run.environment.get("pretraining") for run in runs]
    worst = max(filter(None, found), key=lambda facts: facts["held_out_seen"], default=None)
    return {**runs[0].environment, "pretraining": worst}


def _members(runs: Sequence[Run]) -> list[dict[str, Any]]:
    scores = [run.metrics["test"]["roc_auc"]["value"] for run in runs]
    return [
        {
            "model": run.config.model.name,
            "seed": run.config.seed,
            "split": run.config.data.split,
            "fold": run.config.data.fold,
            "turn": run.config.data.turn,
            "data_fingerprint": run.environment["data_fingerprint"],
            "test_roc_auc": score if score is None else float(np.round(score, 4)),
        }
        for run, score in zip(runs, scores, strict=True)
    ]
