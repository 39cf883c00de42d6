"""Scenes: images linked by near-duplicate pairs, the most alarming scenes first."""

from dataclasses import dataclass

import pandas as pd

from breastus.data.manifest.merge import patient_keys
from breastus.data.near_duplicates.grouping import components, contradicting, known_findings


@dataclass(frozen=True)
class Scene:
    """Images that show one scene, at least two.

    Attributes:
        image_ids: ids of the images, in the order of the manifest.
        findings: findings that contradict each other, such as ("benign", "normal"), or empty.
        sources: sources of the images.
        one_patient: true if all images are of one known patient, so that no split separates them.
        similarity: similarity of the least and of the most similar pair.
    """

    image_ids: tuple[str, ...]
    findings: tuple[str, ...]
    sources: tuple[str, ...]
    one_patient: bool
    similarity: tuple[float, float]

    @property
    def contradicts(self) -> bool:
        """Whether the images carry findings that cannot both be true."""
        return bool(self.findings)


def scenes(manifest: pd.DataFrame, pairs: pd.DataFrame) -> list[Scene]:
    """Return the scenes of a data set.

    Frames of one sweep look alike and may differ in finding, so images of one patient never count
    as contradictions.

    `pairs` is the result of `duplicate_pairs`.

    Returns:
        Contradictions first (lump against no lump before kinds of lump), then scenes that lie in
        several sources, then the largest; scenes of one patient last.
    """
    rows = manifest.reset_index(drop=True)
    position = pd.Series(rows.index, index=rows["image_id"])
    first = position[pairs["image_id"]].to_numpy()
    second = position[pairs["duplicate_id"]].to_numpy()
    scene_of = components(len(rows), first, second)
    similarity = pairs["similarity"].astype(float).groupby(scene_of[first]).agg(["min", "max"])

    found = []
    linked = pd.Series(scene_of).duplicated(keep=False)
    for number, members in rows[linked].groupby(scene_of[linked]):
        patients = set(patient_keys(members))
        one_patient = len(patients) == 1 and patients != {""}
        found.append(
            Scene(
                image_ids=tuple(members["image_id"]),
                findings=() if one_patient else contradicting(known_findings(members)),
                sources=tuple(sorted(set(members["source"]))),
                one_patient=one_patient,
                similarity=tuple(similarity.loc[number]),
            )
        )
    return sorted(found, key=_alarm, reverse=True)


def _alarm(scene: Scene) -> tuple:
    lump_and_none = bool(set(scene.findings) & {"normal", "no_lump"})
    return (
        scene.contradicts,
        lump_and_none,
        len(scene.sources) > 1,
        not scene.one_patient,
        len(scene.image_ids),
        scene.similarity[1],
    )
