"""The page of an audit: one HTML file that opens with what is alarming, and a CSV of all twins."""

import os
from html import escape
from itertools import chain
from pathlib import Path

import pandas as pd

import breastus
from breastus.audit.run_audit import RANDOM_TEST_SHARE, Audit, twins_table
from breastus.audit.verdicts import counted, percent, verdicts, words
from breastus.data.manifest.build import SIMULATED, simulated
from breastus.labels import LABELS
from breastus.reporting.audit.album import Album
from breastus.reporting.audit.galleries import left_out, pairs, scene_cards, shown_images
from breastus.reporting.audit.style import CSS
from breastus.reporting.audit.tables import classes, flags, masks, numbers, sources, unreadable
from breastus.utils.files import write_csv, write_text
from breastus.utils.html import page, table

PRIVACY = (
    "This page holds images of patients. Do not publish it or pass it on without the permission of "
    "those who own the images."
)
PHANTOMS = "These images are simulated (phantoms). What is found here says nothing about patients."
_LEVELS = {"alarm": "Alarming", "warning": "Mind", "good": "Good"}


def write_audit(audit: Audit, path: str | os.PathLike) -> Path:
    """Write the page, and beside it all pairs of twins as `NAME_twins.csv`.

    Args:
        audit: as from `run_audit`.
        path: the HTML file.

    Returns:
        The CSV file.

    Raises:
        RunError: when either cannot be written.
    """
    csv = twins_file(path)
    write_csv(csv, twins_table(audit))
    write_text(path, audit_page(audit, csv.name))
    return csv


def twins_file(path: str | os.PathLike) -> Path:
    """Return the name of the CSV that goes with a page."""
    return Path(path).with_name(f"{Path(path).stem}_twins.csv")


def summary(audit: Audit) -> str:
    """Say in a few lines what came out."""
    lines = [overview(audit)]
    lines += [f"  {_LEVELS[level]:<8}  {text}" for level, text in verdicts(audit)]
    return "\n".join(lines)


def overview(audit: Audit) -> str:
    """Say in a sentence what is there."""
    used = audit.used
    parts = ", ".join(
        f"{(used['label'] == label).sum():,} {words(label)}" for label in reversed(LABELS)
    )
    sources = ", ".join(sorted(set(audit.manifest["source"])))
    count = len(audit.manifest)
    return (
        f"{counted(count)} from {sources}: {len(used):,} can be used ({parts}), "
        f"{count - len(used):,} cannot."
    )


def audit_page(audit: Audit, csv_name: str) -> str:
    """Return the page as HTML."""
    album = Album(audit.manifest, shown_images(audit))
    sections = {
        "Splits and leaks": _leaks(audit, album),
        "What is here": sources(audit) + classes(audit),
        "Twins": scene_cards(audit, album, csv_name),
        "Left out": left_out(audit, album),
        "Marks and the class": flags(audit),
        "Size, brightness and the class": numbers(audit),
        "Masks": masks(audit),
        "Files that cannot be read": unreadable(audit),
        "How this was found": _method(audit, csv_name),
    }
    sections = {title: body for title, body in sections.items() if body}
    anchors = {title: f"s{number}" for number, title in enumerate(sections)}
    links = "".join(f'<a href="#{anchors[title]}">{escape(title)}</a>' for title in sections)
    body = (
        f'<p class="answer">{escape(overview(audit))}</p>{_verdicts(audit)}'
        f'<nav aria-label="Sections">{links}</nav>'
    )
    for title, section in sections.items():
        body += f'<section><h2 id="{anchors[title]}">{escape(title)}</h2>{section}</section>'
    names = ", ".join(sorted(set(audit.manifest["source"])))
    return page(f"Data audit: {names}", body, notices=_notices(audit.manifest), css=CSS)


def _notices(manifest: pd.DataFrame) -> list[str]:
    phantom = manifest["flags"].str.split(";").map(lambda flags: SIMULATED in flags)
    notices = [PHANTOMS] if simulated(manifest) else []
    return notices if phantom.all() else [PRIVACY, *notices]


def _verdicts(audit: Audit) -> str:
    items = "".join(
        f'<li class="{level}"><b>{_LEVELS[level]}</b><span>{escape(text)}</span></li>'
        for level, text in verdicts(audit)
    )
    return f'<ul class="verdicts">{items}</ul>'


def _leaks(audit: Audit, album: Album) -> str:
    text = (
        "An image that was held out, but has a twin in training, is answered from memory. Counted "
        "are images of test and val with at least one other image of the same scene"
        + (", or of the same patient," if audit.patients_known else "")
        + " in train."
    )
    if not audit.patients_known:
        text += " Patients are unknown here, so that their leaks cannot be counted."
    html = f"<p>{text}</p>{_leak_table(audit)}"
    if audit.no_own_split:
        html += f"<p>breastus cannot split these images itself. {escape(audit.no_own_split)}</p>"
    html += (
        '<p class="soft">'
        + (
            "breastus’ own split never cuts groups apart, so it has 0 by construction; the count "
            "checks that. "
            if any(split.own for split in audit.splits)
            else ""
        )
        + "The random split is none in particular: its numbers are the exact mean over all splits "
        "of single images into 80 % and 20 %.</p>"
    )
    return html + "".join(chain.from_iterable(pairs(split, album) for split in audit.splits))


def _leak_table(audit: Audit) -> str:
    rows = []
    for split in audit.splits:
        trained = (split.members["split"] == "train").sum()
        for row in list(split.shares.itertuples())[::-1]:
            counts = (row.twin, row.patient, row.either)
            rows.append(
                [
                    f"{split.title}: {row.Index}",
                    *(f"{count:,}" for count in (row.images, trained, *counts)),
                    percent(row.share),
                ]
            )
    for name, what in (("readable", "all images that can be read"), ("used", "images in use")):
        row = audit.random.loc[name]
        count, tested = int(row["images"]), round(RANDOM_TEST_SHARE * row["images"])
        rows.append(
            [
                f"for comparison, a random split: {what}",
                *(f"{tested:,}", f"{count - tested:,}", _expected(row["twin"], tested), ""),
                *(_expected(row["either"], tested), percent(row["either"])),
            ]
        )
    header = ["split", "images", "in training", "with a twin there", "with their patient there"]
    header += ["with either", "share"]
    if not audit.patients_known:
        header, *rows = ([*row[:4], row[6]] for row in (header, *rows))
    return table(header, rows, texts=1)


def _expected(share: float, tested: int) -> str:
    return "undefined" if share != share else f"≈ {share * tested:,.0f}"


def _method(audit: Audit, csv_name: str) -> str:
    items = [
        "Twins are images found to be near-duplicates (from a similarity of "
        f"{audit.threshold:g}: data.duplicate_threshold), and equal files. A scene is all that "
        "twins join, directly or over others. Some twins are missed and a few pairs may be wrong: "
        "look at the pictures.",
        f"All pairs, with finding, source and split: {csv_name}, beside this page.",
        "Intervals are 95 %: Newcombe’s for differences of shares, DeLong’s for ROC-AUC, both with "
        "images counted by group (patient or scene). They hold one at a time, and this page shows "
        "many: some will miss the truth.",
        "Marks, size and brightness are compared on the images that are used.",
        "ROC-AUC 0.5 says nothing about the class, 1 or 0 tells it for certain; below 0.5, images "
        "with a lump have the smaller values.",
        f"breastus {breastus.__version__}.",
    ]
    return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"
