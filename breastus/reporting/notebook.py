"""A run in a notebook: its verdict, key numbers and links as a small piece of HTML."""

from breastus.evaluation.metrics.metrics import METRICS
from breastus.reporting import texts
from breastus.reporting.render import render
from breastus.runs.report_folder import METRICS_FILE
from breastus.runs.run import BUNDLE_FOLDER, Run

_KEY_NUMBERS = ("roc_auc", "sensitivity", "specificity", "balanced_accuracy", "calibration_slope")


def run_html(run: Run) -> str:
    """Return HTML without pictures of patients; of an unfinished run only that it is unfinished."""
    evaluated = run.has(METRICS_FILE)
    return render(
        "notebook.html.j2",
        path=run.path,
        report=run.report if run.report.is_file() else None,
        bundle=run.bundle if run.has(BUNDLE_FOLDER) else None,
        verdict=texts.verdict(run.metrics) if evaluated else "",
        metrics=run.metrics if evaluated else None,
        key_numbers={name: METRICS[name].title for name in _KEY_NUMBERS},
    )
