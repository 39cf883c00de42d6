"""Recalibration for a new hospital, for a reader: a trial in, a part of the report out, HTML."""

import math
from html import escape
from pathlib import Path
from typing import Any

from breastus.evaluation.calibration.recalibration import FEW_GROUPS
from breastus.evaluation.calibration.recalibration_study import SCORES
from breastus.evaluation.metrics.metrics import METRICS
from breastus.utils.html import picture, table

_METHODS = {
    "intercept": "one number shifts the logit of every probability",
    "platt": "two numbers, a slope and a shift of the logit, change every probability",
}
# Of these, which way is better is plain; of the others nearness to 0 or 1 counts.
_DIRECTED = {"ece": -1, "brier": -1, "sensitivity": 1, "specificity": 1, "balanced_accuracy": 1}


def recalibration_section(
    trial: dict[str, Any], figures: dict[str, Path], *, patients_known: bool
) -> str:
    """Return the part of the report, HTML: what was done, before and after, figures.

    What it came to in words, `recalibration_lead`, stands on top of a report.

    Args:
        trial: as from `recalibration_study`, or as JSON gives it back.
        figures: caption to PNG file, that of the reliability first.
        patients_known: whether groups are patients; else they are near-duplicates alone.
    """
    level = f"{100 * trial['confidence']:.0f} %"
    drawn, rest, found = trial["drawn"], trial["rest"], trial["recalibration"]
    line = found["calibrator"]
    how = (
        f"{drawn['n']} labelled images of {drawn['n_groups']} patients or scenes were drawn by "
        f"chance (seed {trial['seed']}), whole patients and not by class: {drawn['n_lump']} with a "
        f"lump, {drawn['n_no_lump']} without. On them {_METHODS[found['method']]} (slope "
        f"{line['slope']:.2f}, shift {_signed(line['intercept'])}), and the threshold goes from "
        f"{trial['threshold_before']:.3g} to {trial['decision']['threshold']:.3g} "
        f"({found['threshold']['rule']} rule). No image that was fitted on is in the scores: they "
        f"are of the other {rest['n']} images of {rest['n_groups']} patients or scenes, the same "
        "before and after."
    )
    if (fewest := min(drawn["groups_of_class"].values())) < FEW_GROUPS:
        how += (
            f" One class came from {fewest} of them only: what was fitted follows chance, and "
            "more images are needed."
        )
    if not patients_known:
        how += (
            " Patients are not known here, so images of one can be among both; that flatters the "
            "scores after."
        )
    header = ["", "as it came", "recalibrated", "difference", ""]
    rows = [
        [
            METRICS[name].title,
            *(_entry(trial[part][name]) for part in ("before", "after")),
            _entry(trial["difference"][name], signed=True),
            _verdict(name, trial["difference"][name]),
        ]
        for name in SCORES
    ]
    note = (
        f"{level} intervals by bootstrap over groups, the same resamples before and after; that of "
        "a difference is therefore narrower than those of the two suggest. The order of the images "
        "stays as it was, and so does ROC-AUC: recalibration cannot make up for lumps that are not "
        "seen. Ideal are a calibration slope of 1 and an intercept of 0."
    )
    if trial["curve"]:
        note += (
            " Learning curve: in each of 50 draws half of the patients or scenes are held out to "
            "judge by, and of the others whole ones are taken until there are so many images; "
            "draws share images, so hospitals differ more than draws do."
        )
    else:
        note += f" There is no learning curve. {trial['no_curve']}"
    drawings = "".join(
        picture(file, caption, caption, css="wide" if "curve" in file.stem else "")
        + ("" if "curve" in file.stem else f'<p class="soft">{escape(note)}</p>')
        for caption, file in figures.items()
    )
    return (
        f"<h2>Recalibrated for this hospital</h2><p>{escape(how)}</p>"
        + table(header, rows, texts=1)
        + f'<div class="grid" style="margin-top: 1.2rem">{drawings}</div>'
    )


def recalibration_lead(trial: dict[str, Any]) -> str:
    """Say in two sentences what the images bought."""
    before, after, change = trial["before"], trial["after"], trial["difference"]
    drawn = trial["drawn"]

    def goes(name: str) -> str:
        return (
            f"from {_entry(before[name], alone=True)} to {_entry(after[name], alone=True)} "
            f"({_entry(change[name], signed=True, brackets=False)})"
        )

    text = (
        f"Recalibrated on {drawn['n']} of these images ({drawn['n_groups']} patients or scenes), "
        f"its calibration error on the other {trial['rest']['n']} goes {goes('ece')} and the Brier "
        f"score {goes('brier')}; at the new threshold sensitivity goes {goes('sensitivity')} and "
        f"specificity {goes('specificity')}. In brackets the differences with their intervals. "
    )
    verdicts = {_verdict(name, change[name]) for name in ("ece", "brier")}
    if "better" in verdicts and "worse" not in verdicts:
        return text + "Its probabilities mean more here than they did."
    if "worse" in verdicts:
        return text + "That made its probabilities worse: leave it as it came, or take more images."
    return text + "Whether its probabilities are better so, these images do not tell."


def _verdict(name: str, change: dict[str, Any]) -> str:
    low, high = change["ci_low"], change["ci_high"]
    if name not in _DIRECTED or _undefined(low) or low <= 0 <= high:
        return ""
    return "better" if (low > 0) == (_DIRECTED[name] > 0) else "worse"


def _entry(
    entry: dict[str, Any], *, signed: bool = False, alone: bool = False, brackets: bool = True
) -> str:
    """Return a value with its interval; `alone` leaves the interval out."""
    number = _signed if signed else _plain
    value, low, high = entry["value"], entry["ci_low"], entry["ci_high"]
    if _undefined(value):
        return "undefined"
    if alone or _undefined(low) or low == high:
        return number(value)
    if not brackets:
        return f"{number(value)}, {number(low)} to {number(high)}"
    return f"{number(value)}  ({number(low)} to {number(high)})"


def _plain(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _signed(value: float) -> str:
    text = f"{abs(value):.2f}"
    return text if text == "0.00" else f"{'−' if value < 0 else '+'}{text}"


def _undefined(value: float | None) -> bool:
    return value is None or math.isnan(value)  # JSON has no NaN
