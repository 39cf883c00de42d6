"""Export several finished runs as one bundle: folds or seeds in, their averaged network out.

    export_ensemble([run_1, run_2, run_3], "models/three")

Logits are averaged. Calibration, threshold and referral are fitted on the validation images, each
with the mean of the runs that validated on it. The scores in the bundle come from test images, each
predicted by the runs that tested it. If the runs split the images differently, as folds do, each
test image gets a decision that was fitted without it (`pooled_decision.py`). Such scores belong to
fewer networks and fewer validation images than the bundle has; card and bundle.json say so.
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
from breastus.deploy.bundle_metadata import bundle_metadata, decision_metadata
from breastus.deploy.export import write_bundle
from breastus.errors import RunError
from breastus.evaluation.decision.conformal import coverage_report
from breastus.evaluation.decision.decision import Decision
from breastus.evaluation.evaluate_predictions import evaluate_predictions, score_predictions
from breastus.evaluation.options import EvaluationOptions
from breastus.evaluation.predictions import thresholds_of, truth_and_probability
from breastus.models.ensemble import ensemble
from breastus.models.load import load_network
from breastus.preprocessing.transform import Transform
from breastus.reporting.model_card import model_card
from breastus.runs.run import Run
from breastus.training.pretraining_leakage import pretraining_seen
from breastus.workflows.explain import pooled_explanation
from breastus.workflows.pooled_decision import (
    OutOfFoldPredictions,
    check_consistent,
    fit_pooled_decision,
    mean_predictions,
    out_of_fold_predictions,
    splits_overlap,
)
from breastus.workflows.subgroup_attributes import subgroup_attributes


def export_ensemble(runs: Sequence[Run | str | os.PathLike], out: str | os.PathLike) -> Path:
    """Write the bundle of the averaged network of several runs.

    Args:
        runs: finished runs on the same data, with the same transform, target and views.
        out: the bundle folder.

    Returns:
        `out`.

    Raises:
        RunError: if there are fewer than two runs, one is not finished, they differ in something
            that must be the same, or no validation image remains for a decision.
        DataError: if an earlier version wrote their predictions.
    """
    members = [run if isinstance(run, Run) else Run.load(run) for run in runs]
    _check(members)
    network = ensemble([load_network(run.network) for run in members])
    decision = fit_pooled_decision(members, members[0].config.evaluation)
    with tempfile.TemporaryDirectory() as folder:
        keras_file = Path(folder, "ensemble.keras")
        network.save(keras_file)
        return write_bundle(
            out,
            network=keras_file,
            config=members[0].config,
            calibrators=[decision.calibrator],
            metadata=_metadata(members, decision, parameters=network.count_params()),
            card=model_card,
            seen=[*_seen(members), *(one for run in members for one in pretraining_seen(run.path))],
            features=members[0].training_features,  # as those of an ensemble are its first one's
        )


def _metadata(members: Sequence[Run], decision: Decision, *, parameters: int) -> dict[str, Any]:
    """Return the content of bundle.json."""
    config, manifest = members[0].config, members[0].read_manifest()
    overlap = splits_overlap(members)
    apart = out_of_fold_predictions(members, config.evaluation) if overlap else None
    test = apart.table if apart is not None else decision.apply(mean_predictions(members, "test"))
    tables = {"val": decision.apply(mean_predictions(members, "val")), "test": test}
    name = f"{len(members)} x {config.model.name}"
    metrics = _metrics(tables, decision, apart, manifest=manifest, name=name, config=config)
    metadata = bundle_metadata(
        config=config,
        environment=_environment(members),
        trained_on=manifest[manifest["image_id"].isin(_training_ids(members))],
        phantom=has_phantoms(manifest),
        parameters=parameters,
        decision=decision_metadata(
            decision,
            metrics=metrics,
            validation=tables["val"],
            explanation=pooled_explanation(members),
        ),
    )
    return {
        **metadata,
        "model": name,
        "members": [_member(run) for run in members],
        **_scored(apart, len(members)),
    }


def _metrics(
    tables: dict[str, pd.DataFrame],
    decision: Decision,
    apart: OutOfFoldPredictions | None,
    *,
    manifest: pd.DataFrame,
    name: str,
    config: Config,
) -> dict[str, Any]:
    """Return the metrics of validation and test, each image by its own threshold."""
    settings = config.evaluation
    model = {"model": name, "color": config.preprocessing.color}
    metrics = evaluate_predictions(
        tables,
        decision,
        attributes=subgroup_attributes(manifest, tables["test"]["image_id"]),
        settings=settings,
        seed=config.seed,
        **model,
    )
    if apart is None:
        return metrics
    # These parts were computed with the threshold and sets of the bundle.
    del metrics["subgroups"]  # not part of a bundle anyway
    metrics["test"] |= score_predictions(
        {"test": apart.table},
        threshold=apart.table["threshold"].to_numpy(),
        options=EvaluationOptions.from_settings(settings, seed=config.seed),
        **model,
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
    """Return how the test images were scored, if not by the decision of the bundle."""
    if apart is None:
        return {}
    return {
        "test_scoring": {
            "networks_per_image": [int(apart.networks.min()), int(apart.networks.max())],
            "members": members,
            "decisions": apart.decisions,
            "threshold_range": [float(end(apart.table["threshold"])) for end in (min, max)],
        }
    }


def _check(runs: Sequence[Run]) -> None:
    if len(runs) < 2:
        raise RunError(f"An ensemble needs at least two runs. Received: {len(runs)}")
    first = runs[0]
    for run in runs:
        if not run.finished:
            raise RunError(f"{run.path} is not finished. Run its training command again.")
        for what, of in (
            ("transform", lambda run: Transform.from_config(run.config)),
            ("training.target", lambda run: run.config.training.target),
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
    """Return names and content: predictions are averaged by name, files recognised by content."""
    manifest = run.read_manifest()
    return set(zip(manifest["image_id"], manifest["sha256"], strict=True))


def _seen(runs: Sequence[Run]) -> list[str]:
    """Return the SHA-256 of every image that a run was fitted on or selected by."""
    images = pd.concat([run.read_images() for run in runs])
    return sorted(set(images.loc[images["split"] != "test", "sha256"]))


def _training_ids(runs: Sequence[Run]) -> set[str]:
    """Return the ids of the images that the weights of a run were fitted on.

    A checksum would also find excluded rows with the same file.
    """
    images = pd.concat([run.read_images() for run in runs])
    return set(images.loc[images["split"] == "train", "image_id"])


def _environment(runs: Sequence[Run]) -> dict[str, Any]:
    """Return the environment of the first run, with the leakiest pretraining of any run."""
    found = [run.environment.get("pretraining") for run in runs]
    worst = max(filter(None, found), key=lambda facts: facts["held_out_images_seen"], default=None)
    return {**runs[0].environment, "pretraining": worst}


def _member(run: Run) -> dict[str, Any]:
    score = run.metrics["test"]["roc_auc"]["value"]
    return {
        "model": run.config.model.name,
        "seed": run.config.seed,
        "split": run.config.data.split,
        "fold": run.config.data.fold,
        "val_rotation": run.config.data.val_rotation,
        "data_fingerprint": run.environment["data_fingerprint"],
        "test_roc_auc": float(np.round(score, 4)) if score is not None else None,
    }
