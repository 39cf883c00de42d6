"""Several finished runs as one bundle: folds or seeds in, their averaged network out.

    export_ensemble([run_1, run_2, run_3], "models/three")

Their logits are averaged. Calibration, threshold and referral are fitted anew, on validation
predictions of the runs: of each image, the mean over those runs that had it in validation. The
scores that travel with the bundle are of test images, each judged by the runs that had it in test.

Where the runs split the images differently, as folds do, test images of one are validation of
another. The bundle's own decision would be tested on what it was fitted to; so a test image is
called by what the runs that had it in test decide without it, and card and bundle.json say so. Such
scores are of fewer networks and fewer validation images than the bundle has, and not of the bundle.
"""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from breastus.config.schema import Config
from breastus.data.manifest.schema import has_phantoms
from breastus.deploy.bundle_metadata import bundle_metadata
from breastus.deploy.export import write_bundle
from breastus.errors import RunError
from breastus.evaluation.decision.conformal import coverage_report
from breastus.evaluation.decision.decision import Decision
from breastus.evaluation.evaluate_predictions import evaluate_predictions, score_predictions
from breastus.evaluation.options import EvaluationOptions
from breastus.evaluation.predictions import thresholds_of, truth_and_probability
from breastus.evaluation.tta import VIEWS
from breastus.models.ensemble import ensemble
from breastus.models.load import load_network
from breastus.preprocessing.transform import Transform
from breastus.reporting.model_card import model_card
from breastus.runs.run import Run
from breastus.training.pretraining_leakage import pretraining_seen
from breastus.workflows.evaluate import attributes
from breastus.workflows.pooled_decision import (
    OutOfFoldPredictions,
    check_consistent,
    fit_pooled_decision,
    mean_predictions,
    out_of_fold_predictions,
    splits_overlap,
)


def export_ensemble(runs: Sequence[Run | str | os.PathLike], out: str | os.PathLike) -> Path:
    """Write the bundle of several runs' averaged network.

    Args:
        runs: finished runs on the same data, with one transform and one set of views.
        out: the bundle's folder.

    Returns:
        `out`.

    Raises:
        RunError: when there are fewer than two runs, one is not finished, they differ in what has
            to be alike, or there are so many repeats that nothing is left to decide a score on.
        DataError: when an earlier version wrote their predictions.
    """
    members = [run if isinstance(run, Run) else Run.load(run) for run in runs]
    _check(members)
    first = members[0]
    config = first.config
    networks = [load_network(run.network) for run in members]
    network = ensemble(networks)

    validation = mean_predictions(members, "val")
    decision = fit_pooled_decision(members, config.evaluation)
    apart = out_of_fold_predictions(members, config.evaluation) if splits_overlap(members) else None
    test = decision.apply(mean_predictions(members, "test")) if apart is None else apart.table
    tables = {"val": decision.apply(validation), "test": test}
    manifest = first.read_manifest()
    name = f"{len(members)} x {config.model.name}"
    metrics = _metrics(tables, decision, apart, manifest=manifest, name=name, config=config)
    seen = _seen(members)
    info = bundle_metadata(
        config=config,
        environment=_environment(members),
        decision=decision,
        metrics=metrics,
        validation=tables["val"],
        trained_on=manifest[manifest["sha256"].isin(seen)],
        phantom=has_phantoms(manifest),
        parameters=network.count_params(),
    )
    with tempfile.TemporaryDirectory() as folder:
        keras_file = Path(folder, "ensemble.keras")
        network.save(keras_file)
        return write_bundle(
            Path(out),
            keras_file=keras_file,
            transform=Transform.from_config(config),
            calibrator=decision.calibrator,
            views=VIEWS[config.evaluation.tta],
            info={
                **info,
                "model": name,
                "members": _members(members),
                **_scored(apart, len(members)),
            },
            card=model_card,
            seen=[*seen, *(sha for run in members for sha in pretraining_seen(run.path))],
        )


def _metrics(
    tables: dict[str, pd.DataFrame],
    decision: Decision,
    apart: OutOfFoldPredictions | None,
    *,
    manifest: pd.DataFrame,
    name: str,
    config: Config,
) -> dict[str, Any]:
    """Return what bundle.json says of validation and test, each image by its own threshold."""
    settings = config.evaluation
    options = {"model": name, "color": config.preprocessing.color}
    metrics = evaluate_predictions(
        tables,
        decision,
        attributes=attributes(manifest, tables["test"]["image_id"]),
        settings=settings,
        seed=config.seed,
        **options,
    )
    if apart is None:
        return metrics
    # Of these, what depends on thresholds and sets was computed by those of the bundle.
    del metrics["subgroups"]  # as everywhere, they would not travel
    metrics["test"] |= score_predictions(
        {"test": apart.table},
        threshold=apart.table["threshold"].to_numpy(),
        **options,
        options=EvaluationOptions.from_settings(settings, seed=config.seed),
    )["test"]
    metrics["test"]["referral"] = coverage_report(
        *truth_and_probability(apart.table),
        apart.table["group_id"].tolist(),
        apart.sets,
        threshold=thresholds_of(apart.table),
        confidence=settings.confidence,
    )
    return metrics


def _scored(apart: OutOfFoldPredictions | None, members: int) -> dict[str, Any]:
    """Return how the scores of test images came about, where not by the bundle's own decision."""
    if apart is None:
        return {}
    return {
        "scored": {
            "networks": [int(apart.networks.min()), int(apart.networks.max())],
            "of": members,
            "decisions": apart.decisions,
            "thresholds": [float(end(apart.table["threshold"])) for end in (min, max)],
        }
    }


def _check(runs: Sequence[Run]) -> None:
    if len(runs) < 2:
        raise RunError(f"An ensemble is of at least two runs. Received: {len(runs)}")
    first = runs[0]
    for run in runs:
        if not run.finished:
            raise RunError(f"{run.path} is not finished. Run its training command again.")
        for what, of in (
            ("transform", lambda run: Transform.from_config(run.config)),
            ("evaluation.tta", lambda run: run.config.evaluation.tta),
            ("images", _images),
        ):
            if of(run) != of(first):
                raise RunError(
                    f"The runs of an ensemble must have the same {what}. Received: {run.path} and "
                    f"{first.path}, which differ"
                )
    check_consistent(pd.concat([run.read_manifest() for run in runs]))


def _images(run: Run) -> set[tuple[str, str]]:
    """Return name and content, as predictions are averaged by the one and images known by both."""
    manifest = run.read_manifest()
    return set(zip(manifest["image_id"], manifest["sha256"], strict=True))


def _seen(runs: Sequence[Run]) -> list[str]:
    """Return the checksums of all images that any of the runs was fitted on or chosen by."""
    found: set[str] = set()
    for run in runs:
        rows = run.read_images()
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
            "val_rotation": run.config.data.val_rotation,
            "data_fingerprint": run.environment["data_fingerprint"],
            "test_roc_auc": score if score is None else float(np.round(score, 4)),
        }
        for run, score in zip(runs, scores, strict=True)
    ]
