"""Recalibrate a model for a new hospital: the folder of an external validation in, a bundle out.

    runs/compact/external/bus_uclm/
      predictions.csv  ->  recalibration.json
                       ->  models/compact-bus_uclm/, by `export_recalibrated`

The network is not changed. A second calibration, the threshold and the referral are fitted on some
labelled images of the new hospital, which take no part in the scores.
"""

import os
from pathlib import Path
from typing import Any

import pandas as pd

from breastus.deploy.bundle import Bundle
from breastus.deploy.export import write_bundle
from breastus.errors import RunError
from breastus.evaluation.calibration.recalibration_study import recalibration_study
from breastus.evaluation.decision.decision import Decision
from breastus.reporting.model_card import model_card
from breastus.runs.external import RECALIBRATION_FILE, ExternalEvaluation
from breastus.runs.run import Run
from breastus.workflows.model_artifact import ModelArtifact


def measure_recalibration(
    folder: ExternalEvaluation,
    *,
    model: ModelArtifact,
    table: pd.DataFrame,
    manifest: pd.DataFrame,
    images: int,
    seed: int,
) -> dict[str, Any]:
    """Recalibrate on some predictions of a new hospital; write recalibration.json.

    `images` is the smallest number of images to recalibrate on, and `seed` the seed of the sample.
    """
    study = recalibration_study(table, model.config.evaluation, images=images, seed=seed)
    rows = manifest[manifest["image_id"].isin(set(table["image_id"]))]
    study["sources"] = sorted(set(rows["source"]))
    study["model_identity"] = model.identity
    folder.write_recalibration(study, table)
    return study


def export_recalibrated(
    model: ModelArtifact | Run | str | os.PathLike,
    folder: ExternalEvaluation | str | os.PathLike,
    out: str | os.PathLike,
) -> Path:
    """Write the bundle of a model as recalibrated for a new hospital.

    Its graph applies the recalibration. bundle.json and the card name the data set and the number
    of images; the scores come from the images there that nothing was fitted on.

    Args:
        model: a finished run, a bundle, or a cross-validation with a bundle.
        folder: folder of `evaluate_external(model, ..., recalibrate=N)`.
        out: the bundle folder.

    Returns:
        `out`.

    Raises:
        RunError: if the run is not finished, or the folder holds no recalibration of this model
            with the predictions in it.
        DataError: if the predictions are damaged.
    """
    model, folder = ModelArtifact.load(model), _external(folder)
    study, manifest = _recalibration(folder, model), folder.read_manifest()
    decision = Decision.from_dict(study["decision"])
    drawn = manifest[manifest["image_id"].isin(set(study["sample"]["image_ids"]))]
    bundle = Bundle.load(model.bundle)
    return write_bundle(
        out,
        network=model.network_file,
        config=model.config,
        calibrators=[model.decision.calibrator, decision.calibrator],
        metadata=_metadata(bundle, study, decision),
        card=model_card,
        seen=[*bundle.seen, *drawn["sha256"]],
        # No features: their limit would refer images of the new hospital for being from there.
    )


def recalibrated_name(model: ModelArtifact, folder: ExternalEvaluation | str | os.PathLike) -> str:
    """Return the name of a recalibrated bundle, made of network and sources."""
    return "-".join([model.config.model.name, *_recalibration(_external(folder), model)["sources"]])


def _metadata(bundle: Bundle, study: dict[str, Any], decision: Decision) -> dict[str, Any]:
    """Return the metadata of a bundle with what the recalibration changed."""
    before = bundle.metadata
    counts = {name: value for name, value in study["sample"].items() if name != "image_ids"}
    return before | {
        "threshold": decision.threshold,
        "threshold_rule": decision.selection["threshold"]["description"],
        "conformal": decision.conformal.to_dict(),
        "recalibration": {
            "sources": study["sources"],
            "method": study["recalibration"]["method"],
            "calibrator": decision.calibrator.to_dict(),
            "threshold_before": study["threshold_before"],
            "seed": study["seed"],
            **counts,
        },
        "metrics": study["metrics"],
        "metrics_before_recalibration": before["metrics"],
        "reliability": study["reliability"],
    }


def _external(folder: ExternalEvaluation | str | os.PathLike) -> ExternalEvaluation:
    return folder if isinstance(folder, ExternalEvaluation) else ExternalEvaluation(Path(folder))


def _recalibration(folder: ExternalEvaluation, model: ModelArtifact) -> dict[str, Any]:
    way_out = "Name the folder of breastus evaluate RUN --data OTHER --recalibrate N."
    if not folder.has(RECALIBRATION_FILE):
        raise RunError(f"{folder.path} holds no {RECALIBRATION_FILE}. {way_out}")
    study = folder.read_recalibration(folder.read_predictions())
    if study is None:
        raise RunError(f"{folder.path} was evaluated again since it was recalibrated. {way_out}")
    if study["model_identity"] != model.identity:
        raise RunError(
            f"{folder.path} was recalibrated for another network, or before {model.path} was "
            f"evaluated again. {way_out}"
        )
    return study
