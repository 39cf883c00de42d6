"""The part of the report on another prevalence: as from `prevalence_estimate` in, HTML out."""

import math
from html import escape
from typing import Any

from breastus.evaluation.calibration.prevalence import SCORES
from breastus.evaluation.metrics.metrics import METRICS
from breastus.utils.html import table as html_table


def prevalence_section(found: dict[str, Any]) -> str:
    """Return the part of the report, HTML.

    Args:
        found: as from `prevalence_estimate`, or as JSON gives it back.
    """
    level = f"{100 * found['confidence']:.0f} %"
    entry = found["estimate"]
    if entry["value"] is None or math.isnan(entry["value"]):
        said = "From the probabilities alone the share of lumps here cannot be estimated."
        rows: list[list[str]] = []
    else:
        said = (
            f"The model was calibrated where {_percent(found['training_prevalence'])} of the "
            f"images have a lump. From its probabilities alone, without a label, the share here is "
            f"estimated at {_percent(entry['value'])} ({level} interval "
            f"{_percent(entry['ci_low'])} to {_percent(entry['ci_high'])}). "
            + _truth(found)
            + " This is an estimate for comparison; nothing in this report or in the bundle is "
            "adjusted by it."
        )
        titles = {"log_loss": "Log loss (lower is better)"}
        titles |= {name: METRICS[name].title for name in SCORES}
        rows = [
            [title, *(_number(found[part][name]) for part in ("as_it_came", "adjusted"))]
            for name, title in titles.items()
        ]
    note = (
        "By the likelihood of Saerens, Latinne and Decaestecker (2002). It holds where lumps look "
        "as they did in training, and images without one too, and only how many there are of each "
        "differs. Where another scanner or other patients make the images themselves differ it is "
        "wrong, and without labels that cannot be seen. ROC-AUC does not change by it."
    )
    header = ["On these images", "as it came", "if adjusted to the estimate"]
    return (
        f"<h2>If only the prevalence had changed</h2><p>{escape(said)}</p>"
        + (html_table(header, rows, texts=1) if rows else "")
        + f'<p class="soft">{escape(note)}</p>'
    )


def _truth(found: dict[str, Any]) -> str:
    share, entry = found["prevalence"], found["estimate"]
    text = f"By the labels it is {_percent(share)}"
    if entry["ci_low"] is not None and not entry["ci_low"] <= share <= entry["ci_high"]:
        return (
            f"{text}, outside the interval: more than the prevalence has changed, and labels are "
            "needed."
        )
    return f"{text}, within the interval."


def _percent(share: float | None) -> str:
    return "undefined" if share is None or math.isnan(share) else f"{100 * share:.0f} %"


def _number(value: float | None) -> str:
    return "undefined" if value is None or math.isnan(value) else f"{value:.2f}".replace("-", "−")
