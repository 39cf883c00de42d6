"""Every setting of an experiment, as frozen dataclasses that go to YAML and come back.

    config = Config.from_yaml("config.yaml").override(["training.epochs=5", "seed=1"])

Unknown names raise and name the nearest known one; values are checked for type and range, so that a
misspelt or impossible setting ends a run before it starts.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from breastus.config.fields import FOLDS, check_folds, check_split, kept_faults
from breastus.config.tree import build, check, merged, setting, walk
from breastus.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which images, what is left out, and how they are split."""

    source: str = setting("auto", "a directory, CSV file, hub, phantom or auto; several: A;B")
    known_faults: bool = setting(True, "leave out the published faults of a data set")
    keep_faults: str = setting(
        "", "kinds of them that stay in all the same, such as axilla,needle", check=kept_faults
    )
    contradictions: Literal["exclude", "keep"] = setting(
        "exclude", "near-duplicates that carry different findings"
    )
    duplicate_threshold: float = setting(
        0.76, "correlation from which two registered images are near-duplicates", 0.5, 1.0
    )
    groups: Literal["keep", "ignore"] = setting(
        "keep", "ignore: twins and patients may be split apart, to see how much that flatters"
    )
    split: str = setting(
        "auto",
        "auto: given by the folders if they are split already, else group; study: Table I's sizes; "
        "kfold; source:NAME tests on one source; a .csv with image_id and split",
        check=check_split,
    )
    fold: int = setting(0, "of split=kfold: the test part", 0)
    folds: int = setting(FOLDS, "of split=kfold: how many", 3, 100)
    turn: int = setting(0, "of split=kfold: which of the other folds is val; 0: the next one", 0)
    dicom_frames: int = setting(
        1, "frames of a DICOM file with several, evenly spread; 1: the middle one", 1, 10_000
    )
    phantom_images: int = setting(450, "how many phantoms `phantom` simulates", 2)


@dataclass(frozen=True, kw_only=True)
class PreprocessingConfig:
    """The one transform from a file to the tensor a model takes."""

    marks: Literal["keep", "remove", "only"] = setting(
        "keep", "what is drawn on an image: remove fills it, only leaves nothing else, as a test"
    )
    trim: bool = setting(True, "cut black borders")
    aspect: Literal["squash", "keep"] = setting(
        "squash", "fill the square, as the study did, or keep the ratio of the sides, with black"
    )
    color: Literal["plain", "parula"] = setting("plain", "grey levels as they are, or PARULA")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network."""

    name: str = setting("cnn", "a name of breastus.list_models()")
    image_size: int = setting(224, "side of the square input in pixels", 16, 4096)
    weights: str | None = setting(
        None,
        "pretrained weights, such as imagenet or a folder made by `breastus pretrain`; auto: "
        "imagenet's where they can be had; null for random",
    )
    seen_images: Literal["refuse", "allow"] = setting(
        "refuse", "weights that saw images of val or test; allow: scores that flatter, and say so"
    )
    dropout: float | None = setting(
        None, "share of features dropped before the head; null for the network's own", 0.0, 0.95
    )


@dataclass(frozen=True, kw_only=True)
class AugmentationConfig:
    """What happens to a training image on the fly."""

    policy: str = setting("study", "a name of breastus.augmentation.list_policies()")
    erasing: float = setting(0.0, "share of the images in which a rectangle is erased", 0.0, 1.0)
    mixup: float = setting(0.0, "alpha of mixup's Beta distribution; 0 mixes nothing", 0.0, 10.0)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """The optimisation; the defaults are the study's Table II."""

    epochs: int = setting(20, "passes over the training images", 1)
    batch_size: int = setting(32, "images an update of the weights", 1)
    optimizer: Literal["adamw", "adam", "sgd"] = setting("adamw", "sgd: with Nesterov momentum")
    learning_rate: float = setting(1e-3, "of the optimizer; a schedule's largest", 1e-9, 10.0)
    momentum: float = setting(0.9, "of sgd", 0.0, 0.9999)
    weight_decay: float = setting(0.004, "of AdamW, decoupled (Keras' default)", 0.0, 10.0)
    decay_all: bool = setting(True, "false: weight decay skips norms and biases")
    schedule: Literal["constant", "cosine", "one_cycle"] = setting(
        "constant", "of the learning rate, over the whole training"
    )
    warmup_epochs: float = setting(0.0, "of a linear rise; one_cycle has its own", 0.0)
    clip_norm: float | None = setting(None, "largest norm of all gradients; null for any", 1e-6)
    accumulation: int | None = setting(
        None, "parts a batch is cut into to fit memory; null: as the hardware profile says", 1
    )
    ema: float = setting(0.0, "decay of the weights' moving average; 0 for none", 0.0, 0.99999)
    head_epochs: int = setting(
        0, "of the epochs, how many train the head alone, first; all of them: never the rest", 0
    )
    kept_views: int = setting(
        0,
        "where head_epochs is all of the epochs: so many views of each image go through the rest "
        "once, and come again; 0: new ones each epoch",
        0,
        10_000,
    )
    layer_decay: float = setting(
        1.0, "factor on the learning rate from a twelfth of the layers to the one before", 0.1, 1.0
    )
    class_weights: Literal["none", "balanced"] = setting(
        "none", "balanced: both classes count alike in the loss"
    )
    focal_gamma: float = setting(0.0, "of the focal loss; 0 is cross-entropy", 0.0, 10.0)
    label_smoothing: float = setting(0.0, "share of the target spread over classes", 0.0, 0.9)
    mask_weight: float = setting(
        0.0, "of the lesion masks' loss beside that of the labels; 0: no masks", 0.0, 100.0
    )
    sampling: Literal["all", "oversample", "balanced"] = setting(
        "all", "oversample: the rarer class comes again; balanced: and every batch is even"
    )
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = setting(
        "auto", "of the training; auto: as the hardware profile says. What is exported is float32"
    )
    profile: Literal["auto", "cpu", "rtx2060", "t4"] = setting(
        "auto", "of the hardware: precision, accumulation, memory, XLA; auto: what is there"
    )
    xla: Literal["auto", "on", "off"] = setting("auto", "auto: as the hardware profile says")
    devices: int | None = setting(
        None, "GPUs (or processors) that share each batch; null for all there are", 1
    )
    cache_mb: int = setting(1024, "decoded images are kept in memory up to this size", 0)


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """How the trained model is judged."""

    tta: Literal["none", "flip", "flip_zoom", "flip_shift", "flip_gain", "all"] = setting(
        "none", "views over which predictions are averaged, in the exported graph as well"
    )
    calibration: Literal["auto", "none", "temperature", "platt", "isotonic"] = setting(
        "temperature", "fitted on validation; auto: the simplest that does as well as any"
    )
    threshold: float | None = setting(
        None, "probability of lump from which it is called so; null: by threshold_rule", 0, 1
    )
    threshold_rule: Literal["youden", "likelihood", "sensitivity", "cost"] = setting(
        "youden", "how validation images choose the threshold, unless it is given"
    )
    target_sensitivity: float = setting(
        0.9, "of threshold_rule=sensitivity: what its lower bound must reach", 0.01, 0.999
    )
    cost_ratio: float = setting(
        9.0, "of threshold_rule=cost: how many false alarms are as bad as a missed lump", 1e-3, 1e6
    )
    prevalence: float = setting(
        0.1, "share of lumps for which PPV, NPV and cost are meant", 1e-6, 0.999999
    )
    coverage: float = setting(
        0.9, "share of each class that conformal sets hold; the rest refers to a reader", 0.5, 0.999
    )
    resamples: int = setting(2000, "bootstrap resamples of an interval", 100)
    # Above 0.5: the one-sided bound of a sensitivity is the end of an interval of 2 c - 1.
    confidence: float = setting(0.95, "level of the intervals", 0.501, 0.999)


@dataclass(frozen=True, kw_only=True)
class Config:
    """All settings of one experiment. `seed` decides every random choice in it."""

    data: DataConfig = DataConfig()
    preprocessing: PreprocessingConfig = PreprocessingConfig()
    model: ModelConfig = ModelConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    seed: int = setting(0, "decides splits, weights, order, augmentation and dropout", 0, 2**31 - 1)

    def __post_init__(self) -> None:
        for key, spec, value in walk(self):
            check(key, spec, value)
        check_folds(self.data.split, self.data.fold, self.data.folds, self.data.turn)
        if self.training.mask_weight and self.augmentation.mixup:
            raise ConfigError(
                "augmentation.mixup must be 0 where masks are learned from: a cell of two mixed "
                f"images has no mask. Received: training.mask_weight={self.training.mask_weight}, "
                f"augmentation.mixup={self.augmentation.mixup}"
            )

        if self.training.kept_views and self.augmentation.mixup:
            raise ConfigError(
                "augmentation.mixup must be 0 where views are kept: two images would always be "
                f"mixed alike. Received: training.kept_views={self.training.kept_views}, "
                f"augmentation.mixup={self.augmentation.mixup}"
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Config":
        """Build a config from nested mappings; what is not named keeps its default.

        Raises:
            ConfigError: for an unknown name or an impossible value.
        """
        return build(cls, values, prefix="")

    @classmethod
    def from_yaml(cls, path: str | Path, *, base: "Config | None" = None) -> "Config":
        """Read a config written by `to_yaml`, or any YAML file that sets some of its names.

        Args:
            path: the file.
            base: what holds for names that the file does not set; None takes the defaults.

        Raises:
            ConfigError: when the file is missing, is not YAML or holds an unknown name.
        """
        try:
            values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(f"The settings file {path} cannot be read: {error}") from error
        if values is not None and not isinstance(values, Mapping):
            raise ConfigError(f"The settings file {path} must hold names and values.")
        return (base or cls()).replace(values or {})

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)

    def override(self, assignments: Iterable[str]) -> "Config":
        """Return a copy with `section.key=value` texts applied; values are read as YAML.

        Raises:
            ConfigError: when a text has no `=`, names an unknown setting or an impossible value.
        """
        changes: dict[str, Any] = {}
        for assignment in assignments:
            key, equals, text = assignment.partition("=")
            if not equals:
                raise ConfigError(
                    "A setting must read section.key=value, such as training.epochs=5. "
                    f"Received: {assignment!r}"
                )
            *sections, name = key.strip().split(".")
            target = changes
            for section in sections:
                target = target.setdefault(section, {})
                if not isinstance(target, dict):
                    raise ConfigError(f"{section} is a value, not a section. Received: {key}")
            try:
                target[name] = yaml.safe_load(text)
            except yaml.YAMLError as error:
                raise ConfigError(
                    f"The value of {key} is not readable. Received: {text!r}"
                ) from error
        return self.replace(changes)

    def replace(self, changes: Mapping[str, Any]) -> "Config":
        """Return a copy with nested values changed, such as `{"training": {"epochs": 5}}`.

        Raises:
            ConfigError: for an unknown name or an impossible value.
        """
        return type(self).from_dict(merged(self.to_dict(), changes))

    def differences(self, other: "Config") -> list[str]:
        """Return one line a setting in which `other` differs, such as `seed: 0 -> 1`."""
        theirs = {key: value for key, _, value in walk(other)}
        return [
            f"{key}: {value} -> {theirs[key]}"
            for key, _, value in walk(self)
            if value != theirs[key]
        ]
