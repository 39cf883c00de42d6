"""How scores hold when images get worse, for a reader: the result of `robustness` in, HTML out."""

import math
from html import escape
from pathlib import Path
from typing import Any

from breastus.evaluation.intervals.bootstrap_scores import CALIBRATION_ERROR
from breastus.utils.html import Markup, picture, table

_CAPTION = "ROC-AUC and calibration error, by corruption and severity"


def robustness_section(robustness: dict[str, Any], figure: Path | None = None) -> str:
    """Return the part of the report, HTML: the answer in words, the figure, tables by severity.

    Args:
        robustness: as from `robustness`, or as JSON gives it back.
        figure: PNG file of `plot_robustness`, if there is one.
    """
    level = f"{100 * robustness['confidence']:.0f} %"
    parts = robustness["corruptions"].values()
    count = sum(len(part["severities"]) for part in parts)
    drawn = picture(figure, _CAPTION, _CAPTION, css="wide") if figure else ""
    note = (
        f"Each cell: value, change against the clean images, {level} interval of the value; the "
        "stronger the orange, the worse it got. ▼ and ▲ mark changes beyond chance: at a level of "
        f"{level} for all {count} changes of a table together, so that none is marked just because "
        "many were looked at. A change without a mark may be chance, or there are too few images "
        "to tell. The calibration error is the mean gap between probability and truth over five "
        "bins of equal count; with few images it is biased upwards, on clean images as well. "
        f"Intervals: {robustness['interval']}; {robustness['resamples']} resamples. Images are "
        "made worse as they were read, before preprocessing. How far severities go is a choice; "
        "what another hospital's images suffer, only its images tell."
    )
    return (
        "<h2>Does it hold when images get worse?</h2>"
        f"<p>{escape(robustness_sentence(robustness))} {escape(_called(robustness))} "
        f"{escape(_said(robustness))}</p>{drawn}"
        "<h3>Does it still tell lumps from others? ROC-AUC</h3>"
        + _table(robustness, lambda entry: _cell(entry["roc_auc"], entry["beyond_chance"]))
        + "<h3>Does it still mean what it says? Calibration error</h3>"
        + _table(
            robustness,
            lambda entry: _cell(
                entry[CALIBRATION_ERROR], entry["calibration_beyond_chance"], worse=1
            ),
        )
        + "<h3>What it calls, at its own threshold: sensitivity / specificity</h3>"
        + _table(robustness, _shares)
        + f'<p class="soft">{escape(note)}</p>'
    )


def robustness_sentence(robustness: dict[str, Any]) -> str:
    """Say in a sentence or two what makes the order of the images fall beyond chance."""
    clean = robustness["clean"]["roc_auc"]
    images = f"{robustness['n']} images of {robustness['n_groups']} patients or scenes"
    if _undefined(clean["value"]):
        return f"On the clean {images} ROC-AUC is undefined, and so is every change."
    falls = _falls(robustness) or f"No corruption makes it fall beyond chance{_lowest(robustness)}."
    if _undefined(clean["ci_low"]):
        falls = "From so few of a class, what is beyond chance cannot be told."
    return f"On the clean {images} ROC-AUC is {clean['value']:.2f} ({_bounds(clean)}). {falls}"


def robustness_lead(robustness: dict[str, Any]) -> str:
    """Say the same more shortly, for the top of a report, and what becomes of the calls."""
    count = len(robustness["corruptions"])
    text = f"Made worse on purpose in {count} {'way' if count == 1 else 'ways'}: "
    if _undefined(robustness["clean"]["roc_auc"]["ci_low"]):
        return text + "with so few patients or scenes of a class, what that does cannot be told."
    falls = _falls(robustness).replace("It falls", "ROC-AUC falls")
    falls = falls or f"none makes ROC-AUC fall beyond chance{_lowest(robustness)}."
    return f"{text}{falls} {_called(robustness)}"


def _falls(robustness: dict[str, Any]) -> str:
    falls = []
    for part in robustness["corruptions"].values():
        fallen = [
            entry
            for entry in part["severities"]
            if entry["beyond_chance"] and entry["roc_auc"]["change"] < 0
        ]
        if fallen:
            worst = min(fallen, key=lambda entry: entry["roc_auc"]["value"])
            falls.append(
                f"{_name(part)} from severity {fallen[0]['severity']} "
                f"(down to {worst['roc_auc']['value']:.2f})"
            )
    return f"It falls beyond chance with {'; '.join(falls)}." if falls else ""


def _lowest(robustness: dict[str, Any]) -> str:
    """Return where the order is worst, as a sentence ends; what may be chance may have fallen."""
    title, entry = _extreme(robustness, "roc_auc", min)
    worst = f"{entry['roc_auc']['value']:.2f}"
    if worst >= f"{robustness['clean']['roc_auc']['value']:.2f}":
        return ""
    return f"; its worst, {worst} ({title}, severity {entry['severity']}), may be chance"


def _called(robustness: dict[str, Any]) -> str:
    """Say what becomes of the calls, which a shift of the probabilities ruins, the order kept."""
    said = []
    for name, what in (("sensitivity", "finds"), ("specificity", "clears")):
        of = "the lumps" if name == "sensitivity" else "the images without one"
        clean = robustness["clean"][name]["value"]
        if _undefined(clean):
            continue
        title, entry = _extreme(robustness, name, min)
        text = f"{what} {_percent(clean)} of {of} on clean images"
        if entry[name]["value"] < clean:
            text += (
                f", at worst {_percent(entry[name]['value'])} ({title}, severity "
                f"{entry['severity']})"
            )
        said.append(text)
    if not said:
        return ""
    return f"At its threshold of {robustness['threshold']:.3g} it {' and '.join(said)}."


def _said(robustness: dict[str, Any]) -> str:
    clean = robustness["clean"][CALIBRATION_ERROR]["value"]
    title, entry = _extreme(robustness, CALIBRATION_ERROR, max)
    worst = entry[CALIBRATION_ERROR]["value"]
    if f"{worst:.2f}" <= f"{clean:.2f}":
        return f"Its calibration error is {clean:.2f}, and not larger on images made worse."
    return (
        f"Its calibration error is {clean:.2f} on clean images and {worst:.2f} at worst "
        f"({title}, severity {entry['severity']})."
    )


def _extreme(robustness: dict[str, Any], name: str, which) -> tuple[str, dict[str, Any]]:
    entries = [
        (_name(part), entry)
        for part in robustness["corruptions"].values()
        for entry in part["severities"]
    ]
    return which(entries, key=lambda pair: pair[1][name]["value"])


def _name(part: dict[str, Any]) -> str:
    """Return the title as it stands inside a sentence; JPEG stays in capitals."""
    title = part["title"]
    return title if title.isupper() else title[0].lower() + title[1:]


def _table(robustness: dict[str, Any], cell) -> str:
    header = ["Corruption", *(f"severity {number}" for number in robustness["severities"])]
    rows = [
        [_about(part), *(cell(entry) for entry in part["severities"])]
        for part in robustness["corruptions"].values()
    ]
    return table(header, rows, texts=1)


def _about(part: dict[str, Any]) -> Markup:
    values = ", ".join(f"{value:g}" for value in part["values"]) + f" {part['unit']}"
    return Markup(
        f"<b>{escape(part['title'])}</b><br>"
        f'<small style="color: var(--soft)">{escape(values)}</small>'
    )


def _cell(entry: dict[str, Any], beyond: bool, *, worse: int = -1) -> Markup | str:
    """Return value, change and interval; `worse` is the sign of a change for the worse."""
    value, change = entry["value"], entry["change"]
    if _undefined(value):
        return "undefined"
    mark = ("▼ " if change < 0 else "▲ ") if beyond else ""
    # Full colour at a change of 0.25: half the way from a perfect order to guessing.
    share = round(50 * min(abs(change) / 0.25, 1))
    hue = "--lump" if change * worse > 0 else "--no-lump"
    return Markup(
        '<div style="padding: .15rem .45rem; border-radius: 4px; white-space: nowrap; '
        f'background: color-mix(in srgb, var({hue}) {share}%, transparent)">'
        f"{mark}<b>{value:.2f}</b> ({_signed(change)})<br>"
        f"<small>{escape(_bounds(entry))}</small></div>"
    )


def _shares(entry: dict[str, Any]) -> str:
    both = (entry[name]["value"] for name in ("sensitivity", "specificity"))
    return " / ".join("undefined" if _undefined(value) else f"{value:.2f}" for value in both)


def _signed(change: float) -> str:
    text = f"{abs(change):.2f}"
    return f"±{text}" if text == "0.00" else f"{'−' if change < 0 else '+'}{text}"


def _bounds(entry: dict[str, Any]) -> str:
    low, high = entry["ci_low"], entry["ci_high"]
    if _undefined(low):
        return "no interval"
    return "no spread" if low == high else f"{low:.2f} to {high:.2f}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _undefined(value: float | None) -> bool:
    return value is None or math.isnan(value)  # JSON has no NaN
