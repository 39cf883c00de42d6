"""Compare two runs on the images that both were tested on: differences and their significance."""

import os
from typing import Any

from breastus.errors import RunError
from breastus.evaluation.comparison.paired import compare
from breastus.evaluation.options import EvaluationOptions
from breastus.runs.run import Run


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
