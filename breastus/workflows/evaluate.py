"""Evaluate a run: its predictions in; decision, metrics, figures, report and bundle out.

    uncalibrated predictions -> decision (from validation alone) -> labels -> metrics, report

A run can be evaluated again without its images and its network. Its bundle follows, so that the two
never disagree.
"""

import os
from collections.abc import Sequence
from typing import Any

from breastus.config.schema import Config, EvaluationConfig
from breastus.data.manifest.schema import has_phantoms
from breastus.deploy.bundle import Bundle
from breastus.deploy.bundle_metadata import decision_metadata
from breastus.deploy.export import write_bundle
from breastus.errors import ConfigError
from breastus.evaluation.decision.decision import Decision
from breastus.evaluation.evaluate_predictions import evaluate_predictions
from breastus.evaluation.metrics.twins import scores_by_twin
from breastus.reporting.model_card import model_card
from breastus.reporting.report import write_report
from breastus.runs.run import BUNDLE_FOLDER, Run
from breastus.training.prior_correction import prior_correction_of
from breastus.utils.files import jsonable
from breastus.workflows.model_artifact import model_facts
from breastus.workflows.subgroup_attributes import subgroup_attributes


def evaluate_run(
    run: Run | str | os.PathLike,
    *,
    settings: Sequence[str] = (),
    decision: Decision | None = None,
) -> dict[str, Any]:
    """Evaluate the predictions of a run; write decision, metrics and report, and update the bundle.

    Args:
        run: a run with predictions.
        settings: other settings of the evaluation, such as `["evaluation.threshold=0.3"]`, which
            are written into the run. `evaluation.tta` cannot be changed, because the predictions
            were made with it.
        decision: result of `fit_decision`; None fits it again.

    Returns:
        The content of metrics.json.

    Raises:
        ConfigError: if a setting is unknown, out of range or not one of these.
        RunError: if the run has no predictions yet.
        DataError: if its predictions are damaged or were written by an earlier version.
        BundleError: if its bundle, which changes with it, is damaged or was written by an earlier
            version.
    """
    run = run if isinstance(run, Run) else Run.load(run)
    bundle = Bundle.load(run.latest_bundle) if run.finished else None
    config, manifest = _with_settings(run.config, settings), run.read_manifest()
    decision = decision or fit_decision(run, config.evaluation)
    predictions = {
        split: decision.apply(table) for split, table in run.read_all_predictions().items()
    }
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
    if twins := run.read_twins():
        confidence = config.evaluation.confidence
        metrics["twins"] = scores_by_twin([predictions["test"]], twins, confidence=confidence)
    phantom = has_phantoms(manifest)
    metrics["simulated"] = {"training": phantom, "test": phantom}

    def write() -> None:
        if config != run.config:
            run.write_config(config)
        for split, table in predictions.items():
            run.write_predictions(split, table)
        run.write_decision(decision)
        run.write_metrics(metrics)

    metadata = None
    if bundle is not None:
        validation = predictions["val"]
        decided = decision_metadata(
            decision,
            metrics=jsonable(metrics),
            validation=validation,
            explanation=run.read_explanation(),
        )
        metadata = _new_metadata(bundle, decided)
    if metadata is None and run.latest_bundle in (None, run.path / BUNDLE_FOLDER):
        write()
    else:
        with run.replacing_bundle() as outdated:
            write()
            _write_bundle(run, Bundle.load(outdated), metadata or bundle.metadata, decision)
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
        explanation=run.read_explanation(),
        lesion_maps=run.read_lesion_maps(),
    )
    return metrics


def fit_decision(run: Run, settings: EvaluationConfig) -> Decision:
    """Return the decision that a run's validation predictions give with some settings."""
    validation = run.read_predictions("val")
    return Decision.fit(validation, settings, seed=run.config.seed, shift=prior_correction_of(run))


def _with_settings(config: Config, settings: Sequence[str]) -> Config:
    """Return settings of a run with others of its evaluation."""
    changed = config.override(settings)
    kept = {"evaluation": {**changed.to_dict()["evaluation"], "tta": config.evaluation.tta}}
    if config.replace(kept) != changed:
        raise ConfigError(
            "A trained run can be evaluated with other settings of evaluation. only, and not with "
            f"another evaluation.tta. Train again for others. Received: {', '.join(settings)}"
        )
    return changed


def _new_metadata(bundle: Bundle, decided: dict[str, Any]) -> dict[str, Any] | None:
    """Return the content of bundle.json after an evaluation; None if it stays the same."""
    # Added when a bundle is written.
    made = ("format", "transform", "files", "created", "distance_limit")
    before = {name: value for name, value in bundle.metadata.items() if name not in made}
    after = before | jsonable(decided)
    return None if after == before else after


def _write_bundle(run: Run, outdated: Bundle, metadata: dict[str, Any], decision: Decision) -> None:
    """Write the bundle of a run again, from an outdated one and the new decision."""
    # The network's predictions were made with these views, whatever the settings say now.
    config = run.config.replace({"evaluation": {"tta": metadata["views"]}})
    write_bundle(
        run.path / BUNDLE_FOLDER,
        network=outdated.network,
        config=config,
        calibrators=[decision.calibrator],
        metadata=metadata,
        card=model_card,
        seen=outdated.seen,
        features=outdated.training_features,
    )
