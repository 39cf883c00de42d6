"""Judge a run: its predictions in, decision.json, metrics.json, figures and report.html out.

    raw predictions -> decision (from validation alone) -> calls -> metrics, figures, report

It reads and writes files of the run folder only, so that a run can be judged again without its
network.
"""

import math
from collections.abc import Iterable
from typing import Any

import pandas as pd

from breastus.config.schema import EvaluationConfig
from breastus.data.manifest.schema import has_phantoms
from breastus.data.masks import lesion_area_fraction
from breastus.errors import ImageError
from breastus.evaluation.decision.decision import Decision
from breastus.evaluation.evaluate_predictions import evaluate_predictions
from breastus.models.registry import ResolvedWeights
from breastus.reporting.facts import ModelFacts
from breastus.reporting.report import write_report
from breastus.runs.run import Run
from breastus.training.prior_correction import prior_correction_of


def fit_decision(run: Run) -> Decision:
    """Fit calibration, threshold and referral on a run's validation predictions, and apply them.

    Returns:
        The decision, as written to decision.json; the predictions are written anew by it.

    Raises:
        RunError: when the run has no predictions yet.
        DataError: when its predictions are damaged, or an earlier version wrote them.
    """
    predictions = run.read_all_predictions()
    decision = validation_decision(run, run.config.evaluation)
    for split, table in predictions.items():
        run.write_predictions(split, decision.apply(table))
    run.write_decision(decision)
    return decision


def validation_decision(run: Run, settings: EvaluationConfig) -> Decision:
    """Return what a run's validation predictions decide, by its own settings or by others.

    Raises:
        RunError: when the run has no predictions yet.
        DataError: when its predictions are damaged, or an earlier version wrote them.
    """
    return Decision.fit(
        run.read_predictions("val"), settings, seed=run.config.seed, shift=prior_correction_of(run)
    )


def evaluate_run(run: Run, decision: Decision | None = None) -> dict[str, Any]:
    """Compute metrics from a run's predictions; write metrics.json, the figures and the report.

    Args:
        run: a run with predictions.
        decision: as from `fit_decision`; None decides anew.

    Returns:
        What metrics.json holds.

    Raises:
        RunError: when the run has no predictions yet.
        DataError: when its predictions are damaged, or an earlier version wrote them.
    """
    config = run.config
    decision = decision or fit_decision(run)
    predictions = run.read_all_predictions()
    manifest = run.read_manifest()
    metrics = evaluate_predictions(
        predictions,
        decision,
        attributes=attributes(manifest, predictions["test"]["image_id"]),
        model=config.model.name,
        color=config.preprocessing.color,
        settings=config.evaluation,
        seed=config.seed,
    )
    if shortcuts := run.read_shortcuts():
        metrics["shortcuts"] = shortcuts
    phantom = has_phantoms(manifest)
    metrics["simulated"] = {"training": phantom, "test": phantom}
    run.write_metrics(metrics)
    write_report(
        run,
        model=model_facts(run, manifest),
        metrics=metrics,
        predictions=predictions["test"],
        manifest=manifest,
        config=config.to_dict(),
        environment=run.environment,
        history=run.history,
        robustness=run.read_robustness(predictions["test"]),
    )
    return metrics


def attributes(manifest: pd.DataFrame, image_ids: Iterable[str]) -> pd.DataFrame:
    """Return what subgroups are made by: `image_id`, `source`, `flags`, `lesion_area_fraction`."""
    rows = manifest[manifest["image_id"].isin(set(image_ids))]
    shares = [
        _lesion_area_fraction(masks, (height, width))
        for masks, height, width in zip(
            rows["mask_paths"], rows["height"], rows["width"], strict=True
        )
    ]
    return rows[["image_id", "source", "flags"]].assign(lesion_area_fraction=shares)


def _lesion_area_fraction(mask_paths: str, size: tuple[int, int]) -> float:
    try:
        return lesion_area_fraction([path for path in mask_paths.split(";") if path], size)
    except ImageError:  # moved or damaged since; the size is unknown then
        return math.nan


def model_facts(run: Run, manifest: pd.DataFrame) -> ModelFacts:
    """Return what a reader must know about the model of a run.

    Args:
        run: the run.
        manifest: images that it was trained on.
    """
    weights = ResolvedWeights(**run.environment["weights"])
    random = run.config.model.weights == "auto" and weights.weights is None
    return ModelFacts(
        name=run.config.model.name,
        phantom=has_phantoms(manifest),
        groups_ignored=run.config.data.groups == "ignore",
        held_out_seen=(run.environment.get("pretraining") or {}).get("held_out_seen", 0),
        random_weights=weights.reason or "No pretrained weights were found." if random else "",
    )
