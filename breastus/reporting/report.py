"""The report of a run, an external validation or a cross-validation: results in, one page out.

report.html        self-contained: verdict, key numbers, figures, tables, details
figures/*.png      the figures, one file each
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from breastus.data.manifest.schema import SIMULATED, has_phantoms, summary
from breastus.evaluation.calibration.calibrators import Calibrator
from breastus.evaluation.calibration.recalibration_study import held_out_after
from breastus.evaluation.metrics.metrics import METRICS
from breastus.evaluation.metrics.subgroups import SCORES as SUBGROUP_SCORES
from breastus.labels import KNOWN_FINDINGS
from breastus.reporting import texts
from breastus.reporting.confident_errors import errors_of_all, most_confident_errors
from breastus.reporting.facts import ExternalFacts, ModelFacts
from breastus.reporting.figures import plots
from breastus.reporting.figures.learning_curve import plot_learning_curve
from breastus.reporting.figures.robustness import plot_robustness
from breastus.reporting.figures.side_by_side import plot_twins
from breastus.reporting.figures.style import SavedFigure, save_figure
from breastus.reporting.figures.subgroups import plot_subgroups
from breastus.reporting.format import listed
from breastus.reporting.lesion_pictures import lesion_pictures
from breastus.reporting.notices import notices
from breastus.reporting.render import render
from breastus.runs.report_folder import ReportFolder
from breastus.utils.files import write_text

_OTHER_NAMES = ("recall", "recall_no_lump")  # of sensitivity and specificity
_EXAMPLES = 2  # hits of lesion maps that are shown, and misses
_OPTIONAL_FIGURES = (
    "findings",
    "history",
    "twins",
    "robustness",
    "recalibration",
    "learning_curve",
)


def write_report(
    folder: ReportFolder,
    *,
    model: ModelFacts,
    metrics: dict[str, Any],
    predictions: pd.DataFrame | Sequence[pd.DataFrame],
    manifest: pd.DataFrame,
    config: dict[str, Any],
    environment: dict[str, Any],
    history: pd.DataFrame | None = None,
    folds: Sequence[tuple[str, dict[str, Any]]] = (),
    external: ExternalFacts | None = None,
    robustness: dict[str, Any] | None = None,
    recalibration: dict[str, Any] | None = None,
    explanation: dict[str, Any] | None = None,
    lesion_maps: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write report.html and figures/.

    Args:
        folder: folder of the run, the external validation or the cross-validation.
        model: facts about the model.
        metrics, environment, robustness, recalibration, explanation: content of the JSON files of
            these names.
        predictions: predictions of the test images; of a cross-validation the out-of-fold
            predictions of each repeat.
        manifest: manifest of the images.
        config: settings of the run, or of the first fold.
        history: epochs of the training, where there was one.
        folds: name and metrics of each run of a cross-validation.
        external: facts about the images of an external validation.
        lesion_maps: lesion maps by image id, see `Run.read_lesion_maps`. They are shown if they
            point at lesions better than the centre does.
    """
    tables = [predictions] if isinstance(predictions, pd.DataFrame) else list(predictions)
    if not lesion_maps or not explanation or not explanation["better_than_centre"]:
        lesion_maps = {}
    errors = most_confident_errors(errors_of_all(tables), manifest, lesion_maps)
    figures = _save_figures(
        folder.figures,
        metrics=metrics,
        tables=tables,
        seed=config["seed"],
        history=history,
        checkpoint=config["training"]["checkpoint"],
        robustness=robustness,
        recalibration=recalibration,
    )
    phantom_images = has_phantoms(manifest)
    page = render(
        "report/report.html.j2",
        title=_title(model, folds, external),
        notices=notices(
            model,
            phantom_images=phantom_images,
            patient_images=bool(errors or lesion_maps) and not _all_simulated(manifest),
        ),
        metrics=metrics,
        scores=texts.scores_of(metrics),
        counts=texts.counts(metrics),
        discrimination=texts.discrimination(metrics),
        summaries=texts.summaries(external, robustness=robustness, recalibration=recalibration),
        figures=figures,
        errors=errors,
        folds=folds,
        external=external,
        exclusions=texts.exclusions(external) if external else [],
        study=None if phantom_images else metrics.get("published_baseline"),
        calibration=_calibration(metrics),
        **_explanation_values(explanation, manifest, lesion_maps),
        **_robustness_values(robustness),
        **_recalibration_values(recalibration, tables[0], manifest),
        definitions={name: m for name, m in METRICS.items() if name not in _OTHER_NAMES},
        subgroup_scores=SUBGROUP_SCORES,
        twin_parts=texts.twin_parts(metrics),
        data_summary=summary(manifest),
        config=config,
        environment=environment,
    )
    write_text(folder.report, page)


def _title(model: ModelFacts, folds: Sequence, external: ExternalFacts | None) -> str:
    if external:
        return f"External validation of “{model.name}” on {listed(external.sources)}"
    return f"{'Cross-validation' if folds else 'Test report'} of “{model.name}”"


def _calibration(metrics: dict[str, Any]) -> str:
    if "decision" not in metrics:
        return ""
    return Calibrator.from_dict(metrics["decision"]["calibrator"]).description


def _explanation_values(
    explanation: dict[str, Any] | None,
    manifest: pd.DataFrame,
    lesion_maps: Mapping[str, np.ndarray],
) -> dict[str, Any]:
    """Return the results, and hits and misses as examples, one image for each patient or scene."""
    if not explanation:
        return {"explanation": None}
    images = pd.DataFrame(explanation["images"]).drop_duplicates("group_id")
    images = images[images["image_id"].isin(set(lesion_maps))]
    shown = images.groupby("hit", sort=False).head(_EXAMPLES).sort_values("hit", ascending=False)
    drawn = lesion_pictures(shown["image_id"], manifest, lesion_maps)
    return {
        "explanation": explanation,
        "explanation_summary": texts.explanation_summary(explanation),
        "no_lesion_map": texts.no_lesion_map(explanation),
        "examples": list(shown.join(drawn).itertuples()),
    }


def _robustness_values(robustness: dict[str, Any] | None) -> dict[str, Any]:
    if not robustness:
        return {"robustness": None}
    return {
        "robustness": robustness,
        "robustness_summary": texts.robustness_summary(robustness),
        **texts.robustness_facts(robustness),
    }


def _recalibration_values(
    trial: dict[str, Any] | None, table: pd.DataFrame, manifest: pd.DataFrame
) -> dict[str, Any]:
    if not trial:
        return {"recalibration": None}
    patients = manifest.set_index("image_id").loc[table["image_id"], "patient_id"]
    return {
        "recalibration": trial,
        "changes": {name: texts.change_of(trial, name) for name in trial["difference"]},
        "few_groups": texts.few_groups(trial),
        "patients_known": bool((patients != "").all()),
    }


def _save_figures(
    folder: Path,
    *,
    metrics: dict[str, Any],
    tables: Sequence[pd.DataFrame],
    seed: int,
    history: pd.DataFrame | None,
    checkpoint: str,
    robustness: dict[str, Any] | None,
    recalibration: dict[str, Any] | None,
) -> dict[str, SavedFigure]:
    """Draw the results, remove figures of earlier results, and return name to figure."""
    test, scores = tables[0], texts.scores_of(metrics)
    threshold = float(np.median(test["threshold"])) if "threshold" in test else metrics["threshold"]
    drawn = {
        "confusion": plots.plot_confusion(scores["confusion_matrix"]),
        "scores": plots.plot_scores(test, threshold, seed=seed),
        "reliability": plots.plot_reliability(test),
    }
    if matrix := scores.get("finding_confusion_matrix"):
        drawn["findings"] = plots.plot_confusion(matrix, KNOWN_FINDINGS)
    if "test" in metrics:
        drawn |= {
            "roc": plots.plot_roc(
                test, scores, threshold=threshold, confidence=metrics["confidence"], seed=seed
            ),
            "precision_recall": plots.plot_precision_recall(test, scores),
            "decision_curve": plots.plot_decision_curve(
                scores["decision_curve"],
                prevalence=metrics["prevalence"],
                confidence=metrics["confidence"],
            ),
        }
    else:
        drawn["roc"] = plots.plot_repeats(tables)
    figures = {name: save_figure(one, folder / f"{name}.png") for name, one in drawn.items()}

    wide = {"subgroups": lambda narrow: plot_subgroups(metrics["subgroups"], narrow=narrow)}
    if parts := texts.twin_parts(metrics):
        wide["twins"] = lambda narrow: plot_twins(parts, narrow=narrow)
    if history is not None:
        wide["history"] = lambda narrow: plots.plot_history(
            history, checkpoint=checkpoint, narrow=narrow
        )
    if robustness is not None:
        wide["robustness"] = lambda narrow: plot_robustness(robustness, narrow=narrow)
    if recalibration is not None:
        figure = plots.plot_reliability(
            held_out_after(test, recalibration), before="original", after="recalibrated"
        )
        figures["recalibration"] = save_figure(figure, folder / "recalibration.png")
        if recalibration["learning_curve"]:
            wide["learning_curve"] = lambda narrow: plot_learning_curve(
                recalibration["learning_curve"], images=recalibration["min_images"], narrow=narrow
            )
    for name, draw in wide.items():
        path = folder / f"{name}.png"
        figures[name] = save_figure(draw(narrow=False), path, narrow=draw(narrow=True))
    for name in _OPTIONAL_FIGURES:
        if name not in figures:
            (folder / f"{name}.png").unlink(missing_ok=True)
    return figures


def _all_simulated(manifest: pd.DataFrame) -> bool:
    return bool(manifest["flags"].str.split(";").map(lambda flags: SIMULATED in flags).all())
