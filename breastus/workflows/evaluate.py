"""Evaluate a run: its predictions in; decision, metrics, figures, report and bundle out.

    uncalibrated predictions -> decision (from validation alone) -> labels -> metrics, report

This reads and writes files of the run folder, so that a run can be evaluated again without its
images and its network. A finished run and its bundle never disagree: the bundle follows.
"""

import os
from typing import Any

import pandas as pd

from breastus.config.schema import EvaluationConfig
from breastus.data.manifest.schema import has_phantoms
from breastus.deploy.bundle import Bundle
from breastus.deploy.bundle_metadata import decision_metadata
from breastus.deploy.export import write_bundle
from breastus.evaluation.decision.decision import Decision
from breastus.evaluation.evaluate_predictions import evaluate_predictions
from breastus.reporting.model_card import model_card
from breastus.reporting.report import write_report
from breastus.runs.run import Run
from breastus.training.prior_correction import prior_correction_of
from breastus.utils.files import jsonable
from breastus.workflows.model_artifact import model_facts
from breastus.workflows.subgroup_attributes import subgroup_attributes


def evaluate_run(
    run: Run | str | os.PathLike, *, decision: Decision | None = None
) -> dict[str, Any]:
    """Compute the metrics of a run; write metrics.json, figures and report, and update the bundle.

    Args:
        run: a run with predictions.
        decision: result of `fit_decision`; None fits it again.

    Returns:
        The content of metrics.json.

    Raises:
        RunError: if the run has no predictions yet.
        DataError: if its predictions are damaged or were written by an earlier version.
        BundleError: if its bundle is damaged or was written by an earlier version.
    """
    run = run if isinstance(run, Run) else Run.load(run)
    bundle = Bundle.load(run.bundle) if run.finished else None
    decision = decision or fit_decision(run)
    config, manifest = run.config, run.read_manifest()
    predictions = run.read_all_predictions()
    metrics = evaluate_predictions(
        predictions,
        decision,
        attributes=subgroup_attributes(manifest, predictions["test"]["image_id"]),
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
    if bundle is not None:
        _update_bundle(bundle, run, decision, predictions["val"])
    return metrics


def fit_decision(run: Run) -> Decision:
    """Fit calibration, threshold and referral on a run's validation predictions, and apply them.

    Returns:
        The decision, which is also written to decision.json and applied to all predictions.

    Raises:
        RunError: if the run has no predictions yet.
        DataError: if its predictions are damaged or were written by an earlier version.
    """
    predictions = run.read_all_predictions()
    decision = validation_decision(run, run.config.evaluation)
    for split, table in predictions.items():
        run.write_predictions(split, decision.apply(table))
    run.write_decision(decision)
    return decision


def validation_decision(run: Run, settings: EvaluationConfig) -> Decision:
    """Return the decision that a run's validation predictions give with some settings.

    Raises:
        RunError: if the run has no predictions yet.
        DataError: if its predictions are damaged or were written by an earlier version.
    """
    validation = run.read_predictions("val")
    return Decision.fit(validation, settings, seed=run.config.seed, shift=prior_correction_of(run))


def _update_bundle(bundle: Bundle, run: Run, decision: Decision, validation: pd.DataFrame) -> None:
    """Write the bundle of a run again if the evaluation changed what it says."""
    made = ("format", "files", "created")  # added when a bundle is written
    before = {name: value for name, value in bundle.metadata.items() if name not in made}
    decided = decision_metadata(decision, metrics=run.metrics, validation=validation)
    after = before | jsonable(decided)
    if after == before:
        return
    # The network's predictions were made with these views, whatever the settings say now.
    config = run.config.replace({"evaluation": {"tta": before["views"]}})
    write_bundle(
        bundle.path,
        network=bundle.network,
        config=config,
        calibrators=[decision.calibrator],
        metadata=after,
        card=model_card,
        seen=bundle.seen,
    )
