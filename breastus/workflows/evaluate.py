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
from breastus.data.images import read_image, to_png
from breastus.data.manifest.build import simulated, summary
from breastus.data.masks import lesion_area_fraction
from breastus.deploy.predictor import PHANTOM_NOTICE
from breastus.errors import ImageError
from breastus.evaluation.decision.decision import Decision, decide
from breastus.evaluation.evaluate_predictions import evaluate_predictions
from breastus.labels import LABELS, LUMP
from breastus.models.registry import ResolvedWeights
from breastus.reporting.figures.plots import save_figure, save_figures
from breastus.reporting.figures.robustness import plot_robustness
from breastus.reporting.model_card import GROUPS_IGNORED, HELD_OUT_SEEN
from breastus.reporting.report import write_report
from breastus.reporting.robustness_section import robustness_lead, robustness_section
from breastus.runs.report_folder import ReportFolder
from breastus.runs.run import Run
from breastus.training.prior_correction import prior_correction_of

_WORST = 8  # errors shown as pictures in the report


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
    return decide(
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
    run.write_metrics(metrics)
    figures = save_figures(
        run.figures,
        metrics=metrics,
        predictions=predictions,
        history=run.history,
        seed=config.seed,
    )
    lead, sections = robustness_part(run, predictions["test"])
    write_report(
        run.report,
        metrics=metrics,
        config=config.to_dict(),
        environment=run.environment,
        notices=notices(run, manifest),
        data_summary=summary(manifest),
        worst=worst_errors(predictions["test"], manifest),
        figures=figures,
        lead=lead,
        sections=sections,
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


def notices(run: Run, manifest: pd.DataFrame) -> list[str]:
    """Return the texts on a run that must not be overlooked."""
    return [*([PHANTOM_NOTICE] if simulated(manifest) else []), *run_notices(run)]


def run_notices(run: Run) -> list[str]:
    """Return those of how it was trained, whatever images it is judged on."""
    texts = []
    if run.config.data.groups == "ignore":
        texts.append(GROUPS_IGNORED)
    if count := (run.environment.get("pretraining") or {}).get("held_out_seen"):
        texts.append(HELD_OUT_SEEN.format(count=count))
    weights = ResolvedWeights(**run.environment["weights"])
    if run.config.model.weights == "auto" and weights.weights is None:
        texts.append(f"The network started with random weights. {weights.reason}")
    return texts


def robustness_part(folder: ReportFolder, table: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Return what robustness.json adds to a report: sentences on top, and sections as HTML.

    Both are empty where robustness was not measured. What is of other predictions is dropped, with
    a warning.

    Args:
        folder: of the report.
        table: the predictions that the report is of.
    """
    found = folder.read_robustness(table)
    figure = folder.figures / "robustness.png"
    if found is None:
        figure.unlink(missing_ok=True)
        return [], []
    save_figure(plot_robustness(found), figure)
    return [robustness_lead(found)], [robustness_section(found, figure)]


def worst_errors(test: pd.DataFrame, manifest: pd.DataFrame) -> list[tuple[str, bytes, str]]:
    """Return (image id, PNG bytes, text) of the errors the model was surest of."""
    paths = manifest.set_index("image_id")["path"]
    wrong = test[test["predicted"] != test["label"]].copy()
    wrong["sureness"] = (wrong["probability"] - (wrong["label"] == LABELS[LUMP])).abs()
    return [
        (
            row.image_id,
            to_png(read_image(paths[row.image_id]), side=360),
            f"{row.finding}: is {row.label}, called {row.predicted} "
            f"(probability of lump {row.probability:.2f})",
        )
        for row in wrong.nlargest(_WORST, "sureness").itertuples()
    ]
