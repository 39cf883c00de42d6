"""Compare two runs on the images that both were tested on: what differs, and whether by chance."""

from typing import Any

from breastus.errors import RunError
from breastus.evaluation.comparison.paired import compare
from breastus.evaluation.decision.decision import Decision
from breastus.evaluation.metrics.metrics import METRICS
from breastus.evaluation.predictions import read_predictions
from breastus.runs.run import DECISION_FILE, Run
from breastus.utils.files import read_json, write_json

_SHOWN = ("roc_auc", "balanced_accuracy", "sensitivity", "specificity", "brier")


def compare_runs(run: Run, other: Run) -> dict[str, Any]:
    """Compare the test predictions of two runs, each called by its own threshold.

    Returns:
        As from `compare`, and `ours` and `theirs`, the folders' names. It is written to
        `comparison-<other>.json` in the run.

    Raises:
        RunError: when a run has no predictions, or both are one.
        DataError: when they were not tested on the same images, with the same labels and groups.
    """
    if run.path.resolve() == other.path.resolve():
        raise RunError(f"A run is compared with another one. Received: {run.path} twice")
    settings = run.config.evaluation
    tables = [read_predictions(one.file("predictions_test.csv")) for one in (run, other)]
    thresholds = [_threshold(one) for one in (run, other)]
    result = compare(
        *tables,
        threshold=thresholds[0],
        other_threshold=thresholds[1],
        resamples=settings.resamples,
        confidence=settings.confidence,
        prevalence=settings.prevalence,
        seed=run.config.seed,
    )
    result = {"ours": run.path.name, "theirs": other.path.name, **result}
    write_json(run.path / f"comparison-{other.path.name}.json", result)
    return result


def comparison_summary(result: dict[str, Any]) -> str:
    """Say in a few lines what differs, with intervals."""
    level = f"{100 * result['confidence']:.0f} %"
    lines = [
        f"{result['ours']} less {result['theirs']}, on the same {result['n']} test images of "
        f"{result['n_groups']} patients or scenes ({level} intervals):"
    ]
    for name in _SHOWN:
        entry = result["metrics"][name]
        lines.append(
            f"  {METRICS[name].title}: {_number(entry['ours'])} less {_number(entry['theirs'])} = "
            f"{_number(entry['difference'])} ({_number(entry['ci_low'])} to "
            f"{_number(entry['ci_high'])})"
        )
    lines.append(f"  ROC-AUC, DeLong: p = {_number(result['delong']['p_value'], 3)}")
    lines.append(f"  Calls, McNemar: p = {_number(result['mcnemar']['all']['p_value'], 3)}")
    return "\n".join(lines)


def _threshold(run: Run) -> float:
    return Decision.from_dict(read_json(run.file(DECISION_FILE))).threshold


def _number(value: float | None, digits: int = 2) -> str:
    return "undefined" if value is None or value != value else f"{value:.{digits}f}"
