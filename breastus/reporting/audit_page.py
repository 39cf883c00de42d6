"""The page of an audit: its result in, one HTML file and a CSV of all near-duplicate pairs out."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import breastus
from breastus.auditing.leakage import SAME_PATIENT
from breastus.auditing.run_audit import (
    RANDOM_TEST_SHARE,
    Audit,
    SplitAudit,
    pairs_table,
    twins_table,
)
from breastus.auditing.scenes import Scene
from breastus.auditing.shortcuts import strata
from breastus.data.image_statistics import STATISTICS, value_format
from breastus.data.manifest.merge import patient_keys
from breastus.data.manifest.schema import SIMULATED, exclusion_kinds, has_phantoms
from breastus.labels import LABELS, SPLITS
from breastus.reporting.audit_verdicts import verdicts
from breastus.reporting.figures.distributions import plot_distributions
from breastus.reporting.figures.style import to_svg
from breastus.reporting.format import count, words
from breastus.reporting.notices import data_notices
from breastus.reporting.pictures import thumbnails
from breastus.reporting.render import render, sentence
from breastus.utils.files import write_csv, write_text

# What is shown at most, so that the page stays below some 10 MB.
_SCENE_PICTURES = 500
_A_SCENE = 12
_PAIRS = 24  # of each part of a split
_A_REASON = 40
_DRAWN = ("brightness", "contrast", "width", "height", "aspect", "detail")
_LEVELS = {"alarm": "Alarming", "warning": "Caution", "good": "Good"}


def write_audit(audit: Audit, path: str | os.PathLike) -> Path:
    """Write the page and a CSV of all near-duplicate pairs beside it; return the CSV's path.

    If a split leaks that breastus did not make, the images that do are written as well.

    Raises:
        RunError: when a file cannot be written.
    """
    csv = pairs_file(path)
    write_csv(csv, pairs_table(audit))
    if audit.splits and not audit.splits[0].own and len(audit.splits[0].leaks):
        write_csv(twins_file(path), twins_table(audit))
    write_text(path, audit_page(audit, csv.name))
    return csv


def pairs_file(path: str | os.PathLike) -> Path:
    """Return the name of the CSV that goes with a page."""
    return Path(path).with_name(f"{Path(path).stem}_near_duplicates.csv")


def twins_file(path: str | os.PathLike) -> Path:
    """Return the name of the CSV of held-out images that have a twin in training."""
    return Path(path).with_name(f"{Path(path).stem}_twins.csv")


def summary(audit: Audit) -> str:
    """Return the result in a few lines."""
    lines = [overview(audit)]
    lines += [f"  {_LEVELS[level]:<8}  {text}" for level, text in verdicts(audit)]
    return "\n".join(lines)


def overview(audit: Audit) -> str:
    """Return the content of the data set in one sentence."""
    labels = audit.used["label"].value_counts()
    return sentence(
        "text/audit_overview.txt.j2",
        total=len(audit.manifest),
        used=len(audit.used),
        sources=sorted(set(audit.manifest["source"])),
        labels={label: int(labels.get(label, 0)) for label in reversed(LABELS)},
    )


def audit_page(audit: Audit, csv_name: str) -> str:
    """Return the page as HTML."""
    manifest = audit.manifest
    phantom = manifest["flags"].str.split(";").map(lambda flags: SIMULATED in flags)
    scenes = _shown_scenes(audit.scenes)
    leaks = [(split, name, rows) for split in audit.splits for name, rows in _worst(split)]
    reasons = list(_by_reason(audit))
    shown = [i for scene in scenes for i in scene.image_ids[:_A_SCENE]]
    for _, _, rows in leaks:
        shown += [*rows["image_id"], *rows["duplicate_id"]]
    for _, rows in reasons:
        shown += list(rows["image_id"][:_A_REASON])
    where = _where(audit.splits[0]) if audit.splits and not audit.splits[0].own else {}
    return render(
        "audit/audit.html.j2",
        title=f"Data audit: {', '.join(sorted(set(manifest['source'])))}",
        notices=data_notices(
            phantom_images=has_phantoms(manifest), patient_images=not phantom.all()
        ),
        audit=audit,
        overview=overview(audit),
        verdicts=[(level, _LEVELS[level], text) for level, text in verdicts(audit)],
        csv_name=csv_name,
        twins_name=csv_name.replace("_near_duplicates.csv", "_twins.csv"),
        version=breastus.__version__,
        pictures=thumbnails(manifest, shown),
        images=_captions(manifest),
        random_test_share=RANDOM_TEST_SHARE,
        leaks=[
            {
                "title": split.title,
                "part": name,
                "total": int((split.leaks["split"] == name).sum()),
                "pairs": [_pair(row) for row in rows.itertuples()],
            }
            for split, name, rows in leaks
        ],
        scenes=[_scene(scene, where) for scene in scenes],
        scene_images=sum(len(scene.image_ids) for scene in audit.scenes),
        where=where,
        contradicting=int(manifest["excluded"].str.startswith("contradiction").sum()),
        excluded=[
            {"reason": reason, "total": len(rows), "image_ids": rows["image_id"][:_A_REASON]}
            for reason, rows in reasons
        ],
        sources=_source_rows(audit),
        counts=list(_count_tables(audit)),
        statistics=STATISTICS,
        distributions=list(_distributions(audit)),
        mask_like=audit.mask_like,
        mask_files=[
            (row.image_id, ", ".join("/".join(Path(mask).parts[-2:]) for mask in masks))
            for row in manifest.itertuples()
            if (masks := row.mask_paths.split(";")) != [""]
        ],
        masks={what: list(ids) for what, ids in audit.masks().items() if len(ids)},
    )


def _captions(manifest: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return what stands below the picture of each image, by image id."""
    return {
        row.image_id: {
            "name": row.image_id.partition("/")[2] or row.image_id,
            "what": (row.finding if row.finding != "unknown" else words(row.label)) or "unknown",
            "label": row.label,
            "excluded": bool(row.excluded),
        }
        for row in manifest.itertuples()
    }


def _pair(row) -> dict[str, Any]:
    patient = row.kind == SAME_PATIENT
    alike = "another scene" if patient else f"similarity {row.similarity:.2f}"
    return {
        "text": f"{row.kind}, {alike}",
        "image_id": row.image_id,
        "duplicate_id": row.duplicate_id,
    }


def _scene(scene: Scene, where: dict[str, str]) -> dict[str, Any]:
    parts = {where[i] for i in scene.image_ids if i in where}
    names = [name for name in SPLITS if any(name in held for held in parts)] or sorted(parts)
    low, high = (f"{value:.2f}" for value in scene.similarity)
    size = len(scene.image_ids)
    return {
        "count": size,
        "image_ids": scene.image_ids[:_A_SCENE],
        "contradiction": " against ".join(map(words, scene.findings)) if scene.contradicts else "",
        "sources": scene.sources,
        "one_patient": scene.one_patient,
        "parts": names if len(parts) > 1 else [],
        "similarity": low if low == high else f"{low} to {high}",
        "css": "" if size < 3 else "some" if size < 5 else "many",
    }


def _shown_scenes(scenes: list[Scene]) -> list[Scene]:
    pictures, shown = 0, []
    for scene in scenes:
        pictures += min(len(scene.image_ids), _A_SCENE)
        if pictures > _SCENE_PICTURES:
            break
        shown.append(scene)
    return shown


def _worst(split: SplitAudit) -> Iterator[tuple[str, pd.DataFrame]]:
    for name in ("test", "val"):
        rows = split.leaks[split.leaks["split"] == name].head(_PAIRS)
        if len(rows):
            yield name, rows


def _by_reason(audit: Audit) -> Iterator[tuple[str, pd.DataFrame]]:
    kinds = exclusion_kinds(audit.manifest)
    for reason in kinds[~kinds.isin(["", "contradiction", "unreadable"])].value_counts().index:
        yield reason, audit.manifest[kinds == reason]


def _where(split: SplitAudit) -> dict[str, str]:
    return split.members.groupby("image_id")["split"].agg(" and ".join).to_dict()


def _source_rows(audit: Audit) -> list[list[str]]:
    """Return a row for each source: images, labels, exclusions, patients, groups."""
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
    return rows


def _patients(part: pd.DataFrame) -> str:
    patients = patient_keys(part)
    known = patients[patients != ""]
    if known.empty:
        return "unknown"
    missing = len(part) - len(known)
    return f"{known.nunique():,}" + (f" (unknown for {count(missing, 'image')})" if missing else "")


def _count_tables(audit: Audit) -> Iterator[dict[str, Any]]:
    """Yield `title`, and `rows` of (name, images, images in use): by finding, flag, exclusion."""
    manifest = audit.manifest
    for title, values in (
        ("By finding", manifest["finding"]),
        ("By flag", manifest["flags"].str.split(";").explode()),
        ("By reason for exclusion", exclusion_kinds(manifest)),
    ):
        values = values[values != ""]
        used = values[values.index.isin(audit.used.index)].value_counts()
        rows = [(name, n, used.get(name, 0)) for name, n in values.value_counts().items()]
        if rows:
            yield {"title": title, "rows": rows}


def _distributions(audit: Audit) -> Iterator[dict[str, Any]]:
    """Yield `title`, and the drawing `svg` by source and class, or the `constant` value."""
    manifest = audit.manifest[audit.manifest["excluded"] == ""]
    several = manifest["source"].nunique() > 1
    for statistic in _DRAWN:
        rows = []
        for source, part in manifest.groupby("source"):
            for label in (*reversed(LABELS), ""):
                ids = part.loc[part["label"] == label, "image_id"]
                values = audit.measured[statistic].loc[ids].dropna().to_numpy(float)
                name = words(label) or "label unknown"
                if len(values):
                    title = f"{source}, {name}" if several else name
                    rows.append((title, label or "soft", values))
        if not rows:
            continue
        form = value_format(statistic)
        distinct = np.unique(np.concatenate([values for _, _, values in rows]))
        constant = form.format(distinct[0]) if len(distinct) == 1 else ""
        svg = "" if constant else to_svg(plot_distributions(rows, form=form), statistic)
        yield {"title": STATISTICS[statistic][0].capitalize(), "constant": constant, "svg": svg}
