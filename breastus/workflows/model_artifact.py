"""A model that is judged on images from elsewhere: a run or a bundle in, all that takes out.

A run is one network with all it was trained with; a bundle may be of several networks, such as the
folds of a cross-validation, and carries their network, their decision and what they have seen.
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
from breastus.deploy.export import INFO_FILE, NETWORK_FILE, SEEN_DIGITS, SEEN_FILE
from breastus.deploy.predictor import read_info
from breastus.errors import BundleError, RunError
from breastus.evaluation.decision.decision import Decision
from breastus.labels import LABELS, LUMP
from breastus.models.load import load_network
from breastus.reporting.facts import ModelFacts
from breastus.runs.cross_validation import CrossValidation
from breastus.runs.external import EXTERNAL_FOLDER
from breastus.runs.run import BEST_FILE, Run
from breastus.training.pretraining_leakage import pretraining_seen
from breastus.training.trainer import Trainer
from breastus.utils.files import sha256_of
from breastus.workflows.evaluate import model_facts


@dataclass(frozen=True)
class ModelArtifact:
    """What judging a model elsewhere takes.

    Attributes:
        path: of the run or bundle.
        name: of the model, for people.
        reports: the folder that reports of other images go to.
        config: its settings; of a bundle those that its network takes, else the default ones.
        environment: what a report says of how it came about, with `data_fingerprint`.
        decision: what it makes of the network's probability.
        network_file: the network, a `.keras` file.
        bundle: the folder with its bundle.json.
        home: metrics of its own test images.
        prevalence: share of lumps where its probabilities were calibrated, 0 to 1.
        seen: the first digits of the SHA-256 of each image that it has seen.
        seen_images: manifest rows of those that it was trained or chosen by; of a bundle none, as
            it carries no list of files.
        tested_on: SHA-256 of its own test images, where these are known.
        pretrained: whether it started from weights that had seen images of their own.
        facts: what a reader must know about it.
    """

    path: Path
    name: str
    reports: Path
    config: Config
    environment: dict[str, Any]
    decision: Decision
    network_file: Path
    bundle: Path
    home: dict[str, Any]
    prevalence: float
    seen: frozenset[str]
    seen_images: pd.DataFrame
    tested_on: frozenset[str]
    pretrained: bool
    facts: ModelFacts

    @classmethod
    def load(cls, model: "Run | str | os.PathLike") -> "ModelArtifact":
        """Open a run, a bundle, or a cross-validation's folder for the bundle in it.

        Raises:
            RunError: when the folder is none of these, or the run is not finished.
            BundleError: when the bundle is damaged, or has been recalibrated.
        """
        if isinstance(model, Run):
            return cls.of_run(model)
        path = Path(model)
        if (path / INFO_FILE).is_file():
            return cls.of_bundle(path)
        if CrossValidation.is_one(path):
            bundle = CrossValidation(path).bundle
            if not (bundle / INFO_FILE).is_file():
                raise RunError(
                    f"{path} is a cross-validation without a bundle. Make one of its networks: "
                    f"breastus export {path} --out {bundle}"
                )
            return cls.of_bundle(bundle)
        return cls.of_run(Run.load(path))

    @classmethod
    def of_run(cls, run: Run) -> "ModelArtifact":
        """Take what a finished run wrote."""
        images = run.read_images()
        used = images[images["split"] != "test"]
        pretraining = pretraining_seen(run.path)
        validation = run.read_predictions("val")
        return cls(
            path=run.path,
            name=run.config.model.name,
            reports=run.path / EXTERNAL_FOLDER,
            config=run.config,
            environment=run.environment,
            decision=run.read_decision(),
            network_file=run.network,
            bundle=run.bundle,
            home=run.metrics["test"],
            prevalence=float((validation["label"] == LABELS[LUMP]).mean()),
            seen=frozenset(sha[:SEEN_DIGITS] for sha in (*used["sha256"], *pretraining) if sha),
            seen_images=used,
            tested_on=frozenset(images.loc[images["split"] == "test", "sha256"]) - {""},
            pretrained=bool(pretraining),
            facts=model_facts(run, run.read_manifest()),
        )

    @classmethod
    def of_bundle(cls, bundle: Path) -> "ModelArtifact":
        """Take what a bundle carries."""
        info = read_info(bundle)
        if recalibrated := info.get("recalibration"):
            raise BundleError(
                f"{bundle} was recalibrated for {', '.join(recalibrated['sources'])}: its scores "
                "there are in MODEL_CARD.md. For other images name the run or bundle that it is of."
            )
        validation = info["metrics"]["val"]
        trained = info["trained_on"]
        return cls(
            path=bundle,
            name=info["model"],
            reports=bundle.with_name(f"{bundle.name}-external"),
            config=_config(info, bundle),
            environment={
                "bundle": bundle.name,
                **{key: info[key] for key in ("data_fingerprint", "trained_on", "versions")},
            },
            decision=Decision.from_dict(info["metrics"]["decision"]),
            network_file=bundle / NETWORK_FILE,
            bundle=bundle,
            home=info["metrics"]["test"],
            prevalence=validation["n_lump"] / validation["n"],
            seen=frozenset((bundle / SEEN_FILE).read_text(encoding="utf-8").split()),
            seen_images=pd.DataFrame({"image_id": [], "sha256": [], "path": []}, dtype=str),
            tested_on=frozenset(),
            pretrained=trained.get("pretrained") is not None,
            facts=ModelFacts.of_bundle(info),
        )

    @property
    def identity(self) -> dict[str, Any]:
        """What a recalibration is of: the network, and how its probabilities were calibrated."""
        return {
            "network": sha256_of(self.network_file),
            "calibrator": json.loads(json.dumps(self.decision.calibrator.to_dict())),
        }

    def network(self) -> keras.Model:
        """Load the network, in float32."""
        if self.network_file.name == BEST_FILE:
            return Trainer(self.path, self.config, {}).best_model()
        return load_network(self.network_file)


def _config(info: dict[str, Any], bundle: Path) -> Config:
    """Return settings with which a bundle's network is given what it was trained on."""
    members = info.get("members") or [info]
    try:
        config = default_config(members[0]["model"])
    except ValueError as error:  # a network that this installation does not know
        raise BundleError(f"{bundle} cannot be judged here: {error}") from error
    return config.replace(
        {
            "seed": info["seed"],
            "model": {"image_size": info["input_size"]},
            "preprocessing": info["preprocessing"],
            "evaluation": {"tta": info["views"]},
            "training": {"precision": "float32"},
        }
    )
