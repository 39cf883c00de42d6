"""What is made of the probabilities: metrics in, a part of the report out.

Which calibration, which threshold and by which rule, whom it refers to a reader, and what that came
to on the test images.
"""

from html import escape
from typing import Any

from breastus.evaluation.calibration.calibrators import Calibrator
from breastus.evaluation.metrics.metrics import METRICS
from breastus.utils.html import table

_SHARES = {
    "referred": "Referred to a reader, of all images",
    "referred_lump": "Referred, of the lumps",
    "referred_no_lump": "Referred, of the images without a lump",
    "sensitivity": "Sensitivity among the others",
    "specificity": "Specificity among the others",
    "coverage_lump": "Lumps whose set holds lump",
    "coverage_no_lump": "Images without a lump whose set holds no lump",
}


def section(metrics: dict[str, Any]) -> str:
    """Return the part of the report, HTML.

    Args:
        metrics: as from `evaluate_predictions`, with `decision`, and of the test images
            `before_calibration` and `referral`.
    """
    decision, test = metrics["decision"], metrics["test"]
    facts = decision["facts"]
    level = f"{100 * metrics['confidence']:.0f} %"
    calibrator = Calibrator.from_dict(decision["calibrator"])
    calibration = [
        [
            METRICS[name].title,
            f"{_number(before)}",
            f"{_interval(test[name])}",
        ]
        for name, before in test["before_calibration"].items()
    ]
    threshold = facts["threshold"]
    said = (
        f"Calibration: {calibrator.words}; {facts['calibration']['reason']}. Threshold "
        f"{decision['threshold']:.3g}: {threshold['words']}; there, sensitivity "
        f"{_share(threshold['sensitivity'])} and specificity {_share(threshold['specificity'])}. "
        "All of it was fitted on the validation images, on which it flatters itself."
    )
    header = ["On the test images", "before calibration", f"after ({level} interval)"]
    return (
        f"<h2>From probability to decision</h2><p>{escape(said)}</p>"
        + table(header, calibration)
        + referral_section(test["referral"], metrics["confidence"])
    )


def referral_section(referral: dict[str, Any], confidence: float) -> str:
    """Return the part of a report on whom the model refers, HTML.

    Args:
        referral: as from `coverage_report`, or as JSON gives it back.
        confidence: level of its intervals.
    """
    level = f"{100 * confidence:.0f} %"
    rows = [[title, _share(referral[name])] for name, title in _SHARES.items()]
    note = (
        "A conformal set holds no lump, lump, or both; who has a set of both or none, or of the "
        "other class than the threshold calls, is referred to a reader. For images like the "
        "validation images it holds the truth of each class for "
        f"{100 * referral['asked']:.0f} % of new patients or scenes; elsewhere that promise does "
        f"not hold. {level} intervals after Wilson, over groups."
    )
    return (
        "<h2>When it should ask a reader</h2>"
        + table(["On the test images", f"value ({level} interval)"], rows)
        + f'<p class="soft">{escape(note)}</p>'
    )


def _interval(entry: dict[str, float]) -> str:
    low, high = entry["ci_low"], entry["ci_high"]
    if entry["value"] is None or entry["value"] != entry["value"]:
        return "undefined"
    if low is None or low != low:
        return _number(entry["value"])
    return f"{_number(entry['value'])}  ({low:.2f} to {high:.2f})"


def _share(entry: dict[str, float]) -> str:
    return f"{_interval(entry)}" if entry["n"] else "no such images"


def _number(value: float | None) -> str:
    return "undefined" if value is None or value != value else f"{value:.2f}"
