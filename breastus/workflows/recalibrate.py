"""Recalibrate a run for a new hospital: a folder of an outside evaluation in, its bundle out.

    runs/compact/external/bus_uclm/
      predictions.csv  ->  recalibration.json, figures/recalibration.png, figures/learning_curve.png
                       ->  models/compact-bus_uclm/, by `export_recalibrated`

The network stays as it is. Its probabilities are mapped once more, and the threshold and the
referral are chosen anew, all on labelled images of the new hospital that are judged by no more.
"""

import os
from pathlib import Path
from typing import Any

import pandas as pd

from breastus.deploy.export import INFO_FILE, SEEN_DIGITS, SEEN_FILE, write_bundle
from breastus.errors import RunError
from breastus.evaluation.calibration.recalibration_study import recalibration_study
from breastus.evaluation.decision.decision import Decision
from breastus.evaluation.tta import VIEWS
from breastus.preprocessing.transform import Transform
from breastus.reporting.model_card import model_card
from breastus.runs.external import RECALIBRATION_FILE, ExternalEvaluation
from breastus.runs.run import Run
from breastus.utils.files import read_json
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
    """Recalibrate on some of a new hospital's predictions; write recalibration.json to `folder`.

    Args:
        folder: of the outside evaluation.
        model: whose network predicted.
        table: the predictions.
        manifest: of the new hospital.
        images: how many are drawn to recalibrate on, at least.
        seed: of the draw.

    Raises:
        BreastusError: as `recalibration_study`.
    """
    trial = recalibration_study(table, model.config.evaluation, images=images, seed=seed)
    rows = manifest[manifest["image_id"].isin(set(table["image_id"]))]
    trial["sources"] = sorted(set(rows["source"]))
    trial["of"] = model.identity
    folder.write_recalibration(trial, table)
    return trial


def export_recalibrated(
    model: ModelArtifact | Run | str | os.PathLike,
    folder: str | os.PathLike,
    out: str | os.PathLike,
) -> Path:
    """Write the bundle of a run, or another bundle, as recalibrated for a new hospital.

    Its graph applies the recalibration; bundle.json and the card say on how many images of which
    data set, and the scores are those of the images there that nothing was fitted on.

    Args:
        model: a finished run, a bundle, or a cross-validation's folder for the bundle in it.
        folder: of `evaluate_external(model, ..., recalibrate=N)`.
        out: the bundle's folder.

    Returns:
        `out`.

    Raises:
        RunError: when the run is not finished, the folder holds no recalibration of the
            predictions in it, or it is one of another network or calibration.
        DataError: when the predictions are damaged.
    """
    model = model if isinstance(model, ModelArtifact) else ModelArtifact.load(model)
    trial = _trial(ExternalEvaluation(Path(folder)), model)
    manifest = ExternalEvaluation(Path(folder)).read_manifest()
    decision = Decision.from_dict(trial["decision"])
    drawn = manifest[manifest["image_id"].isin(set(trial["drawn"]["image_ids"]))]
    counts = {name: value for name, value in trial["drawn"].items() if name != "image_ids"}
    came = read_json(model.bundle / INFO_FILE)
    info = {name: value for name, value in came.items() if name not in ("files", "created")}
    info |= {
        "threshold": decision.threshold,
        "threshold_rule": decision.facts["threshold"]["description"],
        "conformal": decision.conformal.to_dict(),
        "recalibration": {
            "sources": trial["sources"],
            "method": trial["recalibration"]["method"],
            "calibrator": decision.calibrator.to_dict(),
            "threshold_before": trial["threshold_before"],
            "seed": trial["seed"],
            **counts,
        },
        "metrics": trial["metrics"],
        "metrics_before_recalibration": came["metrics"],
        "reliability": trial["reliability"],
    }
    seen = (model.bundle / SEEN_FILE).read_text(encoding="utf-8").split()
    return write_bundle(
        Path(out),
        keras_file=model.network_file,
        transform=Transform.from_config(model.config),
        calibrator=model.decision.calibrator,
        recalibrator=decision.calibrator,
        views=VIEWS[model.config.evaluation.tta],
        info=info,
        card=model_card,
        seen=[*seen, *(sha[:SEEN_DIGITS] for sha in drawn["sha256"])],
    )


def recalibrated_name(model: ModelArtifact, folder: str | os.PathLike) -> str:
    """Return what a recalibrated bundle is called: model and sources.

    Raises:
        RunError: as `export_recalibrated`.
    """
    trial = _trial(ExternalEvaluation(Path(folder)), model)
    return "-".join([model.config.model.name, *trial["sources"]])


def _trial(folder: ExternalEvaluation, model: ModelArtifact) -> dict[str, Any]:
    way_out = "Name the folder of breastus evaluate RUN --data OTHER --recalibrate N."
    if not folder.has(RECALIBRATION_FILE):
        raise RunError(f"{folder.path} holds no {RECALIBRATION_FILE}. {way_out}")
    trial = folder.read_recalibration(folder.read_predictions())
    if trial is None:
        raise RunError(f"{folder.path} was evaluated anew since it was recalibrated. {way_out}")
    if trial["of"] != model.identity:
        raise RunError(
            f"{folder.path} was recalibrated for another network, or before {model.path} was "
            f"evaluated again. {way_out}"
        )
    return trial
