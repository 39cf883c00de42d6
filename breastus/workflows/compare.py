"""Compare two runs on the images that both were tested on: differences and their significance."""

import os
from typing import Any

from breastus.errors import RunError
from breastus.evaluation.comparison.paired import compare
from breastus.evaluation.metrics.metrics import METRICS
from breastus.evaluation.options import EvaluationOptions
from breastus.runs.run import Run

_SHOWN = ("roc_auc", "balanced_accuracy", "sensitivity", "specificity", "brier")


def compare_runs(run: Run | str | os.PathLike, other: Run | str | os.PathLike) -> dict[str, Any]:
    """Compare the test predictions of two runs, each with its own threshold.

    Returns:
        What `compare` returns, and `ours` and `theirs`, the names of the folders. It is written to
        `comparison-<other>.json` in the run.

    Raises:
        RunError: if a run has no predictions, or both are the same.
        DataError: if they were not tested on the same images, with the same labels and groups.
    """
    run, other = (one if isinstance(one, Run) else Run.load(one) for one in (run, other))
    if run.path.resolve() == other.path.resolve():
        raise RunError(f"A run must be compared with another run. Received: {run.path} twice")
    settings = run.config.evaluation
    result = compare(
        run.read_predictions("test"),
        other.read_predictions("test"),
        threshold=run.read_decision().threshold,
        other_threshold=other.read_decision().threshold,
        options=EvaluationOptions.from_settings(settings, seed=run.config.seed),
    )
    result = {"ours": run.path.name, "theirs": other.path.name, **result}
    run.write_comparison(other, result)
    return result


def comparison_summary(result: dict[str, Any]) -> str:
    """Return the differences with their intervals, in a few lines."""
    level = f"{100 * result['confidence']:.0f} %"
    lines = [
        f"{result['ours']} minus {result['theirs']}, on the same {result['n']} test images of "
        f"{result['n_groups']} patients or scenes ({level} intervals):"
    ]
    for name in _SHOWN:
        entry = result["metrics"][name]
        lines.append(
            f"  {METRICS[name].title}: {_number(entry['ours'])} minus {_number(entry['theirs'])} = "
            f"{_number(entry['difference'])} ({_number(entry['ci_low'])} to "
            f"{_number(entry['ci_high'])})"
        )
    lines.append(f"  ROC-AUC, DeLong: p = {_number(result['delong']['p_value'], 3)}")
    lines.append(f"  Predictions, McNemar: p = {_number(result['mcnemar']['all']['p_value'], 3)}")
    return "\n".join(lines)


def _number(value: float | None, digits: int = 2) -> str:
    return "undefined" if value is None or value != value else f"{value:.{digits}f}"
