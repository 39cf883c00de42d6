"""The two pages of experiments, RESULTS.md and BENCH.md: sections and rows of Markdown tables."""

import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from breastus.errors import BreastusError
from breastus.utils.files import write_text

HERE = Path(__file__).parent
ROOT = HERE.parent
RESULTS, BENCH = HERE / "RESULTS.md", HERE / "BENCH.md"
# Metrics of a row of scores, and the headings of their columns.
SCORES = {
    "roc_auc": "ROC-AUC",
    "balanced_accuracy": "balanced accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "calibration_slope": "calibration slope",
    "calibration_intercept": "calibration intercept",
    "ece": "ECE",
}


def write_section(path: Path, name: str, text: str) -> None:
    """Replace one section of a page, or append it if the page has none of that name.

    A section lies between the comments `<!-- begin NAME -->` and `<!-- end NAME -->`.
    """
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    old = path.read_text(encoding="utf-8") if path.exists() else "# Results\n"
    if begin not in old:
        old = f"{old.rstrip()}\n\n{begin}\n{end}\n"
    before, _, rest = old.partition(begin)
    write_text(path, f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}")


def title_and_text(doc: str) -> list[str]:
    """Return the lines of a script's docstring above its command, the first as a heading."""
    title, _, rest = inspect.cleandoc(doc).partition("\n")
    return [f"## {title}", "", *rest.partition("\n    python -m")[0].strip().splitlines()]


def fact_list(values: Mapping[str, str]) -> list[str]:
    """Return the lines of a list of facts, such as command and machine."""
    return ["How it was run:", "", *(f"- {name}: {value}" for name, value in values.items())]


def facts_here(command: str) -> dict[str, str]:
    """Return the facts of a benchmark that starts now, on this machine."""
    from breastus.runs.environment import describe_hardware, hardware

    load = os.getloadavg()[0]
    return {
        "Command": f"`{command}`",
        "Machine": describe_hardware(hardware()),
        "Other work on the machine": f"load average {load:.1f} at the start; a busy machine makes "
        "every time below longer",
    }


def table(columns: list[str], rows: list[list[Any]]) -> list[str]:
    """Return the lines of a Markdown table.

    Args:
        columns: headings.
        rows: cells, as many in each row as there are headings.
    """
    lines = [_line(columns), "|---" * len(columns) + "|"]
    return lines + [_line(row) for row in rows]


def _line(cells: list[Any]) -> str:
    return "|" + "|".join(f" {cell} " if cell != "" else " " for cell in cells) + "|"


def score_table(*before: str) -> list[str]:
    """Return the two heading lines of a table of scores.

    Args:
        before: headings of columns between the row's name and the scores.
    """
    return table(["", *before, *SCORES.values()], [])


def score_row(name: str, metrics: Mapping[str, Any], *before: Any) -> str:
    """Return a row of a table of scores; a metric that is missing reads `not given`."""
    cells = [format_score(metrics[key]) if key in metrics else "not given" for key in SCORES]
    return _line([name, *before, *cells])


def format_score(score: Mapping[str, float | None]) -> str:
    """Return a score with its interval, such as `0.85 (0.77 to 0.92)`.

    The score of a recipe has its standard deviation over seeds before the interval, as in `0.85 ±
    0.04 (0.77 to 0.92)`. A calibration error has the noise level after it, and no value when it
    cannot be distinguished from the error of perfect probabilities.
    """
    # JSON has null for what is undefined.
    found = {name: np.nan if number is None else number for name, number in score.items()}
    value, low, high = found["value"], found["ci_low"], found["ci_high"]
    if np.isnan(value):
        return "undefined"
    text = f"{value:.2f}"
    if not np.isnan(found.get("seed_sd", np.nan)):
        text += f" ± {found['seed_sd']:.2f}"
    if np.isnan(low):
        return text
    if low == high:
        return f"{text} (no spread)"
    interval = f"({low:.2f} to {high:.2f})"
    if np.isnan(found.get("noise", np.nan)):
        return f"{text} {interval}"
    text = text if low > 0 else "not distinguishable from 0"
    return f"{text} {interval}, noise {found['noise']:.2f}"


def run_script(main: Callable[[], None]) -> None:
    """Run a script's main function; an error of breastus ends it with one line on stderr."""
    try:
        main()
    except BreastusError as error:
        raise SystemExit(f"error: {error}") from error
