"""Compare two runs on the images that both were tested on: what differs, and whether by chance."""

from typing import Any

from breastus.errors import RunError
from breastus.evaluation.comparison.paired import compare
from breastus.evaluation.metrics.metrics import METRICS
from breastus.evaluation.options import EvaluationOptions
from breastus.runs.run import Run

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
    tables = [one.read_predictions("test") for one in (run, other)]
    thresholds = [one.read_decision().threshold for one in (run, other)]
    result = compare(
        *tables,
        threshold=thresholds[0],
        other_threshold=thresholds[1],
        options=EvaluationOptions.from_settings(settings, seed=run.config.seed),
    )
    result = {"ours": run.path.name, "theirs": other.path.name, **result}
    run.write_comparison(other, result)
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


def _number(value: float | None, digits: int = 2) -> str:
    return "undefined" if value is None or value != value else f"{value:.{digits}f}"
