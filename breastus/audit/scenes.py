"""Scenes: images that are twins of each other, directly or over others, what alarms first."""

from dataclasses import dataclass

import pandas as pd

from breastus.data.near_duplicates.grouping import components, contradicting, known_findings


@dataclass(frozen=True)
class Scene:
    """Images that show one scene, at least two.

    Attributes:
        image_ids: in the manifest's order.
        findings: those that contradict each other, such as ("benign", "normal"); else empty.
        sources: where the images come from.
        one_patient: whether all are of one known patient, who keeps them together anyway.
        similarity: of the least and of the most similar pair of twins.
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


def scenes(manifest: pd.DataFrame, links: pd.DataFrame) -> list[Scene]:
    """Return the scenes of a data set.

    Frames of one patient's sweep look alike and rightly differ in finding; they contradict nothing.

    Args:
        manifest: as from `load_manifest`.
        links: as from `breastus.audit.leakage.twin_links`.

    Returns:
        Contradictions first (lump against no lump before kinds of lump), then scenes that lie in
        several sources, then the largest; scenes of one patient last.
    """
    rows = manifest.reset_index(drop=True)
    position = pd.Series(rows.index, index=rows["image_id"])
    first = position[links["image_id"]].to_numpy()
    second = position[links["twin_id"]].to_numpy()
    scene_of = components(len(rows), first, second)
    similarity = links["similarity"].astype(float).groupby(scene_of[first]).agg(["min", "max"])

    found = []
    for number, members in rows[pd.Series(scene_of).duplicated(keep=False)].groupby(
        scene_of[pd.Series(scene_of).duplicated(keep=False)]
    ):
        patients = set(members["patient_id"])
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
