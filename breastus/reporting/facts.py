"""Facts about the model and the images of a report, from which templates make sentences."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """Facts about the model of a report that every reader must know.

    Attributes:
        name: name of the network or bundle.
        phantom: true if it was trained on simulated images.
        groups_ignored: true if images of one patient or scene may lie on both sides of its split.
        held_out_images_seen: number of validation and test images that its pretraining saw.
        random_weights: reason why it started from random weights; "" if that was intended.
    """

    name: str
    phantom: bool = False
    groups_ignored: bool = False
    held_out_images_seen: int = 0
    random_weights: str = ""

    @classmethod
    def of_bundle(cls, info: Mapping[str, Any]) -> "ModelFacts":
        """Return the facts that a bundle.json holds."""
        trained = info["trained_on"]
        return cls(
            name=info["model"],
            phantom=trained["phantom"],
            groups_ignored=trained.get("groups_ignored", False),
            held_out_images_seen=trained.get("held_out_images_seen", 0),
        )


@dataclass(frozen=True, kw_only=True)
class ExternalFacts:
    """How the images of an external validation relate to those that the model has seen.

    Attributes:
        sources: names of the data sets.
        internal: metrics of the model's own test images, as in metrics.json.
        seen: number of images that were excluded because they took part in training.
        related: number of images that were excluded as near-duplicates of training images, or as
            images of a patient or scene that took part in training.
        compared: number of training images that were searched for near-duplicates.
        missing: number of training images that could not be searched, as their files are gone.
        internal_test_images: number of images that are the model's own test images.
        from_bundle: true if the model is a bundle, which carries no images to search.
        pretrained: true if the network was pretrained with breastus on further images.
    """

    sources: tuple[str, ...]
    internal: dict[str, Any]
    seen: int
    related: int
    compared: int
    missing: int
    internal_test_images: int
    from_bundle: bool
    pretrained: bool

    @classmethod
    def from_metrics(cls, metrics: Mapping[str, Any]) -> "ExternalFacts":
        """Return the facts that the metrics.json of an external validation holds."""
        return cls(**{**metrics["external"], "sources": tuple(metrics["external"]["sources"])})
