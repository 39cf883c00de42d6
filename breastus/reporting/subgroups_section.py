"""The part of the report on subgroups: as from `subgroups` in, HTML out."""

from html import escape
from typing import Any

from breastus.evaluation.metrics.subgroups import SCORES
from breastus.utils.html import Markup, table


def subgroups_section(subgroups: dict[str, Any]) -> str:
    """Return the part of the report, HTML: a row for each part.

    Args:
        subgroups: as from `subgroups`, or as JSON gives it back.
    """
    rows: list[list[str]] = []
    for family in subgroups["families"]:
        if family["name"] != "all":
            note = f' <small style="color: var(--soft)">{escape(family["note"])}</small>'
            rows.append([Markup(f"<b>{escape(family['title'])}</b>{note}"), *[""] * 4])
        rows += [_row(part) for part in family["parts"]]
    count = sum(len(family["parts"]) for family in subgroups["families"][1:])
    level = f"{100 * subgroups['confidence']:.0f} %"
    note = (
        f"{level} intervals: of shares Wilson's, of as many independent images as the grouped ones "
        "are worth, which is taken with caution where groups are few, so that they are wider than "
        "the table of scores has them; of ROC-AUC DeLong's, over groups. "
        f"There is no score from fewer than {subgroups['minimum']} groups of a class. Parts of one "
        "class, marked †, have their ROC-AUC against all images of the other class. These are "
        f"{count} parts: some will lie off the whole by chance, so a difference seen here is a "
        "question for other images, not a finding."
    )
    header = ["Part of the test images", "images (groups)", *SCORES.values()]
    return (
        "<h2>Who is served worse?</h2>"
        + table(header, rows, texts=1)
        + f'<p class="soft">{escape(note)}</p>'
    )


def _row(part: dict[str, Any]) -> list[str]:
    title = f"{part['title']}{' †' if part['against'] else ''}"
    return [title, f"{part['n']} ({part['n_groups']})", *(_cell(part[name]) for name in SCORES)]


def _cell(entry: dict[str, Any]) -> Markup:
    small = '<small style="color: var(--soft)">'
    if entry["reason"].startswith("no "):  # as the row's title says
        return Markup("—")
    if entry["reason"]:
        return Markup(f"—<br>{small}{escape(entry['reason'])}</small>")
    low, high = entry["ci_low"], entry["ci_high"]
    bounds = "no interval" if low is None or low != low else f"{low:.2f} to {high:.2f}"
    bounds = "no spread" if low == high and low is not None else bounds
    bounds = bounds.replace(" ", "\u00a0")  # on one line
    return Markup(f"<b>{entry['value']:.2f}</b><br>{small}{bounds}</small>")
