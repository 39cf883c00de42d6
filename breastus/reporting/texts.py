"""Results in sentences, for the terminal, pages and cards: metrics in, text out.

`metrics`, `robustness` and `recalibration` are the content of the JSON files of these names.
"""

from collections.abc import Callable
from typing import Any

from breastus.evaluation.calibration.recalibration import FEW_GROUPS
from breastus.evaluation.metrics.metrics import METRICS
from breastus.evaluation.robustness.evaluate import CALIBRATION_ERROR
from breastus.reporting.facts import ExternalFacts
from breastus.reporting.format import is_undefined
from breastus.reporting.render import lines, render, sentence
from breastus.runs.external import ExternalEvaluation

# Whether a higher (1) or a lower (-1) value is better. The other scores have an ideal in between.
_DIRECTION = {"ece": -1, "brier": -1, "sensitivity": 1, "specificity": 1, "balanced_accuracy": 1}
_COMPARED = ("roc_auc", "balanced_accuracy", "sensitivity", "specificity", "brier")


def verdict(metrics: dict[str, Any]) -> str:
    """Return the result of a test or a cross-validation, and how far it can be trusted."""
    return f"{counts(metrics)} {discrimination(metrics)}"


def counts(metrics: dict[str, Any]) -> str:
    """Return how many lumps were found and how many images were cleared, with intervals."""
    return sentence("text/counts.txt.j2", metrics=metrics, scores=scores_of(metrics))


def discrimination(metrics: dict[str, Any]) -> str:
    """Return whether the model separates the classes better than guessing."""
    scores = scores_of(metrics)
    n_no_lump = round(sum(scores["confusion_matrix"][0]))
    values = {"metrics": metrics, "scores": scores, "n_no_lump": n_no_lump}
    return sentence("text/discrimination.txt.j2", **values)


def scores_of(metrics: dict[str, Any]) -> dict[str, Any]:
    """Return the part of metrics.json with the scores of the test images."""
    return metrics.get("test", metrics)


def twin_parts(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the scores of test images with and without a twin in training; none without twins."""
    twins = metrics.get("twins") or {}
    return twins["attributes"][1]["subgroups"] if "attributes" in twins else []


def exclusions(external: ExternalFacts) -> list[str]:
    """Return which images an external validation excluded, and how they were searched for."""
    return lines("text/exclusions.txt.j2", external=external)


def summaries(
    external: ExternalFacts | None,
    *,
    robustness: dict[str, Any] | None,
    recalibration: dict[str, Any] | None,
) -> list[str]:
    """Return the results beside the verdict, one text each."""
    return [
        *(
            [sentence("text/internal_scores.txt.j2", internal=external.internal)]
            if external
            else []
        ),
        *([recalibration_summary(recalibration)] if recalibration else []),
        *([robustness_summary(robustness)] if robustness else []),
    ]


def external_summary(folder: ExternalEvaluation) -> list[str]:
    """Return what an external validation excluded, and its results beside the verdict."""
    external, predictions = ExternalFacts.from_metrics(folder.metrics), folder.read_predictions()
    return [
        " ".join(exclusions(external)),
        *summaries(
            external,
            robustness=folder.read_robustness(predictions),
            recalibration=folder.read_recalibration(predictions),
        ),
    ]


def explanation_summary(explanation: dict[str, Any]) -> str:
    """Return how often the lesion maps point at the lesion; `explanation`: explanation.json."""
    return sentence("text/explanation.txt.j2", explanation=explanation)


def no_lesion_map(explanation: dict[str, Any] | None) -> str:
    """Return why no lesion map is shown; "" if maps may be shown."""
    return sentence("text/no_lesion_map.txt.j2", explanation=explanation)


def robustness_summary(robustness: dict[str, Any]) -> str:
    """Return which corruptions lower the scores."""
    values = {"robustness": robustness, **robustness_facts(robustness)}
    return sentence("text/robustness.txt.j2", **values)


def robustness_facts(robustness: dict[str, Any]) -> dict[str, Any]:
    """Return the key facts of robustness.json.

    Returns:
        `falls`: for each corruption that lowers ROC-AUC beyond chance its `title`, the `severity`
        from which it does, and the lowest `value`. `worst`: score to the `title`, `severity` and
        `value` of the cell in which it is worst.
    """
    parts = robustness["corruptions"].values()
    falls = []
    for part in parts:
        fallen = [
            entry
            for entry in part["severities"]
            if entry["roc_auc_significant"] and entry["roc_auc"]["change"] < 0
        ]
        if fallen:
            lowest = min(entry["roc_auc"]["value"] for entry in fallen)
            falls.append(_cell(part, fallen[0]["severity"], lowest))
    return {
        "falls": falls,
        "worst": {
            name: _worst(robustness, name, which)
            for name, which in (
                ("roc_auc", min),
                ("sensitivity", min),
                ("specificity", min),
                (CALIBRATION_ERROR, max),
            )
        },
        "calibration_error": CALIBRATION_ERROR,
    }


def _worst(robustness: dict[str, Any], name: str, which: Callable) -> dict[str, Any] | None:
    if is_undefined(robustness["clean"][name]["value"]):
        return None
    cells = [
        _cell(part, entry["severity"], entry[name]["value"])
        for part in robustness["corruptions"].values()
        for entry in part["severities"]
    ]
    return which(cells, key=lambda cell: cell["value"])


def _cell(part: dict[str, Any], severity: int, value: float) -> dict[str, Any]:
    title = part["title"]
    inside_a_sentence = title if title.isupper() else title[0].lower() + title[1:]  # JPEG
    return {"title": inside_a_sentence, "severity": severity, "value": value}


def comparison_summary(comparison: dict[str, Any]) -> str:
    """Return the differences that `compare_runs` returns with their intervals, a line each."""
    return render("text/comparison.txt.j2", comparison=comparison, shown=_COMPARED, METRICS=METRICS)


def recalibration_summary(trial: dict[str, Any]) -> str:
    """Return what recalibration on labelled images of the new hospital changed."""
    changes = {change_of(trial, name) for name in ("ece", "brier")}
    return sentence("text/recalibration.txt.j2", trial=trial, changes=changes)


def change_of(trial: dict[str, Any], name: str) -> str:
    """Return "better" or "worse" where recalibration changed a score beyond chance, else ""."""
    change = trial["difference"][name]
    low, high = change["ci_low"], change["ci_high"]
    if name not in _DIRECTION or is_undefined(low) or low <= 0 <= high:
        return ""
    return "better" if (low > 0) == (_DIRECTION[name] > 0) else "worse"


def few_groups(trial: dict[str, Any]) -> int | None:
    """Return the number of groups of the rarer class if it is too small to recalibrate on."""
    fewest = min(trial["sample"]["groups_per_class"].values())
    return fewest if fewest < FEW_GROUPS else None
