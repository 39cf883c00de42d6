"""The tables and drawings of an audit's page: counts, marks, size and brightness, masks."""

from html import escape

import pandas as pd

from breastus.audit.run_audit import Audit
from breastus.audit.shortcuts import strata
from breastus.audit.verdicts import counted, percent
from breastus.data.image_statistics import STATISTICS
from breastus.data.manifest.build import reason_kinds
from breastus.labels import FINDINGS, LABELS
from breastus.reporting.audit.drawings import interval_strip, ridges
from breastus.utils.html import Markup, table

_DRAWN = ("brightness", "contrast", "width", "height", "aspect", "detail")
_IDS = 12  # named before "and more"
_ROWS = (("lump", "lump", "var(--lump)"), ("no_lump", "no lump", "var(--no-lump)"))


def sources(audit: Audit) -> str:
    """Return a row a source: images, patients, groups, sizes."""
    rows = []
    for source, part in strata(audit.manifest).items():
        used = part[part["image_id"].isin(audit.used["image_id"])]
        counts = used["label"].value_counts()
        rows.append(
            [
                source,
                f"{len(part):,}",
                *(f"{counts.get(label, 0):,}" for label in reversed(LABELS)),
                f"{(part['excluded'] != '').sum():,}",
                f"{((part['excluded'] == '') & (part['label'] == '')).sum():,}",
                _patients(part),
                f"{used['group_id'].nunique():,}",
            ]
        )
    header = [
        *("source", "images", "used: lump", "used: no lump", "left out", "without a label"),
        *("patients", "groups of those used"),
    ]
    return table(header, rows, texts=1)


def classes(audit: Audit) -> str:
    """Return the findings, the reasons to be left out, and the flags, as counts."""
    manifest, used = audit.manifest, audit.used
    findings = [
        [
            finding,
            f"{(manifest['finding'] == finding).sum():,}",
            f"{(used['finding'] == finding).sum():,}",
        ]
        for finding in FINDINGS
        if (manifest["finding"] == finding).any()
    ]
    kinds = reason_kinds(manifest)
    held = manifest["flags"].str.split(";").explode()
    of_used = held[held.index.isin(used.index)].value_counts()
    listed = {
        "By finding": (["finding", "images", "used"], findings),
        "By flag": (
            ["flag", "images", "used"],
            [[flag, f"{count:,}", f"{of_used.get(flag, 0):,}"] for flag, count in _counts(held)],
        ),
        "By reason to be left out": (
            ["reason", "images"],
            [[reason, f"{count:,}"] for reason, count in _counts(kinds)],
        ),
    }
    return (
        '<div class="grid">'
        + "".join(
            f"<div><h3>{title}</h3>{table(header, rows, texts=1)}</div>"
            for title, (header, rows) in listed.items()
            if rows
        )
        + "</div>"
    )


def flags(audit: Audit) -> str:
    """Return how often each flag stands on images with and without a lump."""
    text = (
        "Calipers and text are put where somebody saw something. A network that finds the marks "
        "needs no lump to score well. An image without a flag has no mark, or nobody looked."
    )
    if audit.flags.empty:
        return (
            f"<p>{text}</p><p>None of the images that are used carries a flag, so that nothing can "
            "be said of it here.</p>"
        )
    rows = []
    for row in audit.flags.itertuples():
        certain = row.low > 0 or row.high < 0
        rows.append(
            [
                row.source,
                row.flag,
                _share(row.lump, row.lump_images),
                _share(row.no_lump, row.no_lump_images),
                _points(row.difference, row.low, row.high),
                Markup(
                    interval_strip(
                        row.difference, row.low, row.high, centre=0, span=1, alarming=certain
                    )
                ),
            ]
        )
    header = [
        *("source", "flag", "on images of lump", "on images of no lump"),
        *("difference (95 % interval)", "no lump ← on more → lump"),
    ]
    return f"<p>{text}</p>{_by_source(audit, header, rows)}"


def numbers(audit: Audit) -> str:
    """Return how size, brightness and the like are distributed, and how far they tell the class."""
    text = (
        "What the scanner, its settings and the way of saving leave in an image should be alike in "
        "both classes and in all sources. Where it is not, a network can learn it in place of the "
        "lump, and fails elsewhere."
    )
    drawn = "".join(_drawing(audit, name) for name in _DRAWN)
    rows = []
    for row in audit.statistics.itertuples():
        certain = row.low > 0.5 or row.high < 0.5
        rows.append(
            [
                row.source,
                STATISTICS[row.statistic][0],
                _auc(row),
                Markup(
                    interval_strip(
                        row.auc, row.low, row.high, centre=0.5, span=0.5, alarming=certain
                    )
                ),
            ]
        )
    header = ["source", "number", "ROC-AUC (95 % interval)", "larger without ← → with a lump"]
    return (
        f'<p>{text}</p><div class="grid">{drawn}</div>'
        f"<h3>How well each of them alone would tell a lump</h3>{_by_source(audit, header, rows)}"
    )


def masks(audit: Audit) -> str:
    """Return how many images of lump have a mask, and which masks are worth a look."""
    rows = audit.manifest.set_index("image_id")
    with_mask = audit.measured["masks"] > 0
    lump = rows["label"] == LABELS[1]
    html = (
        f"<p>{(with_mask & lump).sum():,} of {counted(int(lump.sum()))} of lump have a lesion mask"
        f" ({counted(int(audit.measured['masks'].sum()), 'file')} in all).</p>"
    )
    if not with_mask.any():
        return html
    found = {what: ids for what, ids in audit.masks().items() if len(ids)}
    if not found:
        return html + (
            "<p>All of them have the size of their image, none of a lump is empty, and none of an "
            "image without a lump marks anything.</p>"
        )
    listed = [[what, f"{len(ids):,}", _named(list(ids))] for what, ids in found.items()]
    return html + table(["worth a look", "images", "which"], listed)


def unreadable(audit: Audit) -> str:
    """Return the images that cannot be read, with the reason; "" if there are none."""
    items = "".join(
        f"<li><b>{escape(image_id)}</b>: {escape(problem)}</li>"
        for image_id, problem in audit.unreadable.items()
    )
    return f"<ul>{items}</ul>" if items else ""


def _by_source(audit: Audit, header: list[str], rows: list[list[str]]) -> str:
    """Return a table whose first column is the source, which is left away if there is but one."""
    if audit.manifest["source"].nunique() > 1:
        return table(header, rows, texts=2)
    return table(header[1:], [row[1:] for row in rows], texts=1)


def _drawing(audit: Audit, name: str) -> str:
    rows = audit.manifest[audit.manifest["excluded"] == ""]
    values = audit.measured[name]
    drawn = []
    several = rows["source"].nunique() > 1
    for source, part in rows.groupby("source"):
        for label, words, color in (*_ROWS, ("", "label unknown", "var(--soft)")):
            chosen = values.loc[part.loc[part["label"] == label, "image_id"]].dropna().to_numpy()
            if len(chosen):
                drawn.append((f"{source}, {words}" if several else words, color, chosen))
    meaning, layout = STATISTICS[name]
    return ridges(meaning.capitalize(), drawn, layout) if drawn else ""


def _patients(part: pd.DataFrame) -> str:
    known = part.loc[part["patient_id"] != "", "patient_id"]
    if known.empty:
        return "unknown"
    missing = len(part) - len(known)
    return f"{known.nunique():,}" + (f" (unknown for {counted(missing)})" if missing else "")


def _counts(values: pd.Series):
    return values[values != ""].value_counts().items()


def _share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,} ({percent(part / whole)})" if whole else "no images"


def _points(value: float, low: float, high: float) -> str:
    if value != value:
        return "undefined"
    bounds = "no interval" if low != low else f"{100 * low:+.0f} to {100 * high:+.0f}"
    return f"{100 * value:+.0f} points ({bounds})".replace("-", "\N{MINUS SIGN}")


def _auc(row) -> str:
    if row.auc != row.auc:
        return "undefined"
    if row.low != row.low:
        return f"{row.auc:.2f} (no interval)"
    if row.low == row.high:
        return f"{row.auc:.2f} (no spread)"
    return f"{row.auc:.2f} ({row.low:.2f} to {row.high:.2f})"


def _named(ids: list[str]) -> str:
    more = f" and {len(ids) - _IDS:,} more" if len(ids) > _IDS else ""
    return ", ".join(ids[:_IDS]) + more
