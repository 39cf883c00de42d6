"""Images side by side: twins, leaks of a split, what is left out; as HTML."""

from collections.abc import Iterator
from html import escape

import pandas as pd

from breastus.audit.leakage import SAME_PATIENT
from breastus.audit.run_audit import Audit, SplitAudit
from breastus.audit.scenes import Scene
from breastus.audit.verdicts import counted, words
from breastus.data.manifest.build import reason_kinds
from breastus.labels import SPLITS
from breastus.reporting.audit.album import Album

# What is shown at most, so that the page stays below some 10 MB; the totals are said.
_SCENE_PICTURES = 500
_A_SCENE = 12
_PAIRS = 24  # of each part of a split
_A_REASON = 40
_OPEN = 12  # cards before the rest is folded away


def shown_images(audit: Audit) -> list[str]:
    """Return the ids of all images that the galleries show."""
    ids = [i for scene in _shown_scenes(audit.scenes) for i in scene.image_ids[:_A_SCENE]]
    for split in audit.splits:
        for _, rows in _worst(split):
            ids += [*rows["image_id"], *rows["twin_id"]]
    for _, rows in _by_reason(audit):
        ids += list(rows["image_id"][:_A_REASON])
    return ids


def badge(text: str, level: str = "plain") -> str:
    """Return a short text in a frame, in the colour of a level."""
    return f'<span class="badge {level}">{escape(text)}</span>'


def pairs(split: SplitAudit, album: Album) -> Iterator[str]:
    """Yield, for test and val, the held-out images beside what training holds of them."""
    for name, rows in _worst(split):
        total = int((split.leaks["split"] == name).sum())
        what = f"{split.title}: {name} images (left) and what training holds of them"
        yield f"<h3>{escape(what)}</h3>"
        if len(rows) < total:
            yield f'<p class="soft">The {len(rows)} most alike of {total:,}.</p>'
        yield _folded(
            [
                f'<article class="card"><p>{_how_alike(row)}</p><div class="strip">'
                f"{album.figure(row.image_id, badge(name, 'alarm'))}"
                f"{album.figure(row.twin_id, badge('train'))}</div></article>"
                for row in rows.itertuples()
            ],
            "pairs",
        )


def scene_cards(audit: Audit, album: Album, csv_name: str) -> str:
    """Return the scenes, what alarms first."""
    if not audit.scenes:
        return "<p>No two images are near-duplicates of each other.</p>"
    shown = _shown_scenes(audit.scenes)
    images = sum(len(scene.image_ids) for scene in audit.scenes)
    text = (
        f"{counted(len(audit.scenes), 'scene')} hold {counted(images)}. Contradictions come first, "
        "then scenes that lie in several sources, then the largest; frames of one patient last."
    )
    if len(shown) < len(audit.scenes):
        text += f" The first {len(shown)} are shown; all pairs are in {csv_name}."
    where = _where(audit.splits[0]) if audit.splits and not audit.splits[0].own else {}
    return f"<p>{escape(text)}</p>" + _folded(
        [_card(scene, album, where) for scene in shown], "scenes"
    )


def left_out(audit: Audit, album: Album) -> str:
    """Return the images that have a reason not to be used, by reason."""
    parts = []
    contradicting = audit.manifest["excluded"].str.startswith("contradiction").sum()
    if contradicting:
        parts.append(
            f"<p>{counted(int(contradicting))} contradict a near-duplicate: they stand above, "
            "among the twins.</p>"
        )
    for reason, rows in _by_reason(audit):
        shown = rows["image_id"][:_A_REASON]
        figures = "".join(album.figure(image_id) for image_id in shown)
        more = f", {len(shown)} of them shown" if len(shown) < len(rows) else ""
        parts.append(
            f"<details{' open' if len(shown) <= _OPEN else ''}><summary>{counted(len(rows))}: "
            f"{escape(reason)}{more}</summary>"
            f'<div class="strip loose">{figures}</div></details>'
        )
    return "".join(parts)


def _card(scene: Scene, album: Album, where: dict[str, str]) -> str:
    badges = []
    if scene.contradicts:
        badges.append(badge(" against ".join(map(words, scene.findings)), "alarm"))
    if len(scene.sources) > 1:
        badges.append(badge(" and ".join(scene.sources), "warning"))
    if scene.one_patient:
        badges.append(badge("one patient"))
    in_splits = {where[i] for i in scene.image_ids if i in where}
    if len(in_splits) > 1:
        names = [name for name in SPLITS if any(name in held for held in in_splits)]
        badges.append(badge(f"in {' and '.join(names)}", "alarm"))
    low, high = (f"{value:.2f}" for value in scene.similarity)
    alike = f"similarity {low}" if low == high else f"similarity {low} to {high}"
    figures = "".join(
        album.figure(
            image_id,
            *([badge(where[image_id])] if image_id in where else []),
            *([badge("left out")] if album.is_left_out(image_id) else []),
        )
        for image_id in scene.image_ids[:_A_SCENE]
    )
    count = len(scene.image_ids)
    more = f", {_A_SCENE} of them shown" if count > _A_SCENE else ""
    return (
        f'<article class="card{_breadth(count)}"><p>{counted(count)}{more}, {alike} '
        f'{"".join(badges)}</p><div class="strip">{figures}</div></article>'
    )


def _breadth(count: int) -> str:
    return "" if count < 3 else " some" if count < 5 else " many"


def _how_alike(row) -> str:
    if row.kind == SAME_PATIENT:
        return escape(f"{row.kind}, another scene")
    return escape(f"{row.kind}, similarity {row.similarity:.2f}")


def _folded(cards: list[str], what: str) -> str:
    html = f'<div class="cards">{"".join(cards[:_OPEN])}</div>'
    if rest := cards[_OPEN:]:
        html += (
            f"<details><summary>{len(rest)} more {what}</summary>"
            f'<div class="cards">{"".join(rest)}</div></details>'
        )
    return html


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
    kinds = reason_kinds(audit.manifest)
    for reason in kinds[~kinds.isin(["", "contradiction", "unreadable"])].value_counts().index:
        yield reason, audit.manifest[kinds == reason]


def _where(split: SplitAudit) -> dict[str, str]:
    return split.members.groupby("image_id")["split"].agg(" and ".join).to_dict()
