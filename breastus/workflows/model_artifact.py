"""A trained model to evaluate on other images: a run or bundle in, network, decision, facts out.

A run is one network with everything it was trained with. A bundle may hold several networks, such
as the folds of a cross-validation, with their decision and what they have seen.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import pandas as pd

from breastus.config.presets import default_config
from breastus.config.schema import Config
from breastus.data.manifest.schema import has_phantoms
from breastus.deploy.bundle import SEEN_DIGITS, Bundle, find_bundle, is_bundle
from breastus.errors import BundleError
from breastus.evaluation.decision.decision import Decision
from breastus.labels import LABELS, LUMP
from breastus.models.load import load_network
from breastus.models.registry import ResolvedWeights
from breastus.reporting.facts import ModelFacts
from breastus.runs.cross_validation import CrossValidation
from breastus.runs.external import EXTERNAL_FOLDER
from breastus.runs.run import Run
from breastus.training.pretraining_leakage import pretraining_seen
from breastus.utils.files import sha256_of


@dataclass(frozen=True, kw_only=True)
class ModelArtifact:
    """A trained model on disk."""

    path: Path  # of the run or bundle folder
    reports: Path  # folder for reports about external images
    config: Config  # of a bundle those that its network needs, and defaults otherwise
    environment: dict[str, Any]  # origin of the model for a report, with `data_fingerprint`
    decision: Decision
    network_file: Path  # the network, a `.keras` file
    bundle: Path  # folder of the bundle
    internal: dict[str, Any]  # metrics on its own test images
    prevalence: float  # fraction of lumps among the images it was calibrated on, 0 to 1
    seen: frozenset[str]  # first digits of the SHA-256 of each image that it has seen
    # Manifest rows of the images it was trained on or selected by; empty for a bundle, which does
    # not list files.
    training_images: pd.DataFrame
    test_images: frozenset[str]  # SHA-256 of its own test images, if they are known
    pretrained: bool  # whether it started from weights that had seen further images
    facts: ModelFacts  # facts that every report states

    @classmethod
    def load(cls, model: "ModelArtifact | Run | str | os.PathLike") -> "ModelArtifact":
        """Open a run, a bundle, or a cross-validation with a bundle."""
        if isinstance(model, ModelArtifact):
            return model
        if isinstance(model, Run):
            return cls.from_run(model)
        path = Path(model)
        if is_bundle(path) or CrossValidation.is_one(path):
            return cls.from_bundle(find_bundle(path))
        return cls.from_run(Run.load(path))

    @classmethod
    def from_run(cls, run: Run) -> "ModelArtifact":
        """Open a finished run."""
        images = run.read_images()
        tested = images["split"] == "test"
        sha256 = [*images.loc[~tested, "sha256"], *(pretraining := pretraining_seen(run.path))]
        validation = run.read_predictions("val")
        return cls(
            path=run.path,
            reports=run.path / EXTERNAL_FOLDER,
            config=run.config,
            environment=run.environment,
            decision=run.read_decision(),
            network_file=run.network,
            bundle=run.bundle,
            internal=run.metrics["test"],
            prevalence=float((validation["label"] == LABELS[LUMP]).mean()),
            seen=frozenset(one[:SEEN_DIGITS] for one in sha256 if one),
            training_images=images[~tested],
            test_images=frozenset(images.loc[tested, "sha256"]) - {""},
            pretrained=bool(pretraining),
            facts=model_facts(run, run.read_manifest()),
        )

    @classmethod
    def from_bundle(cls, path: Path) -> "ModelArtifact":
        """Open a bundle."""
        bundle = Bundle.load(path)
        metadata = bundle.metadata
        if recalibrated := metadata.get("recalibration"):
            raise BundleError(
                f"{path} was recalibrated for {', '.join(recalibrated['sources'])}; its scores "
                "there are in MODEL_CARD.md. For other images name the run or bundle it comes from."
            )
        validation, trained = metadata["metrics"]["val"], metadata["trained_on"]
        origin = {key: metadata[key] for key in ("data_fingerprint", "trained_on", "versions")}
        return cls(
            path=path,
            reports=path.with_name(f"{path.name}-external"),
            config=_bundle_config(bundle),
            environment={"bundle": path.name, **origin},
            decision=Decision.from_dict(metadata["metrics"]["decision"]),
            network_file=bundle.network,
            bundle=path,
            internal=metadata["metrics"]["test"],
            prevalence=validation["n_lump"] / validation["n"],
            seen=bundle.seen,
            training_images=pd.DataFrame({"image_id": [], "sha256": [], "path": []}, dtype=str),
            test_images=frozenset(),
            pretrained=trained.get("pretrained") is not None,
            facts=ModelFacts.of_bundle(metadata),
        )

    @property
    def identity(self) -> dict[str, Any]:
        """Network and calibration, which a recalibration belongs to."""
        return {
            "network": sha256_of(self.network_file),
            "calibrator": json.loads(json.dumps(self.decision.calibrator.to_dict())),
        }

    def load_network(self) -> keras.Model:
        """Load the network, in float32."""
        return load_network(self.network_file)

    def has_seen(self, sha256: pd.Series) -> pd.Series:
        """Return bool [n]: which of the files with these checksums the model has seen."""
        return sha256.str[:SEEN_DIGITS].isin(self.seen) & (sha256 != "")


def model_facts(run: Run, manifest: pd.DataFrame) -> ModelFacts:
    """Return the facts about the model of a run that every report states."""
    weights = ResolvedWeights(**run.environment["weights"])
    random = run.config.model.weights == "auto" and weights.weights is None
    return ModelFacts(
        name=run.config.model.name,
        phantom=has_phantoms(manifest),
        groups_ignored=run.config.data.groups == "ignore",
        held_out_images_seen=(run.environment.get("pretraining") or {}).get(
            "held_out_images_seen", 0
        ),
        random_weights=weights.reason or "No pretrained weights were found." if random else "",
    )


def _bundle_config(bundle: Bundle) -> Config:
    """Return settings that feed a bundle's network as in its training."""
    metadata = bundle.metadata
    members = metadata.get("members") or [metadata]
    try:
        config = default_config(members[0]["model"])
    except ValueError as error:  # a network that this installation does not know
        raise BundleError(f"{bundle.path} cannot be evaluated here: {error}") from error
    return config.replace(
        {
            "seed": metadata["seed"],
            "model": {"image_size": metadata["input_size"]},
            "preprocessing": metadata["preprocessing"],
            "evaluation": {"tta": metadata["views"]},
            "training": {
                "precision": "float32",
                "target": "finding" if metadata.get("findings") else "label",
            },
        }
    )
