"""Every setting of an experiment, as frozen dataclasses that go to YAML and come back.

    config = Config.from_yaml("config.yaml").override(["training.epochs=5", "seed=1"])

Unknown names raise and name the nearest known one; values are checked for type and range, so that a
misspelt or impossible setting ends a run before it starts.
"""

import dataclasses
import difflib
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from breastus.errors import ConfigError
from breastus.setting_texts import FOLDS, check_folds, check_split, kept_faults


def _setting(
    default: Any,
    help: str,
    low: float | None = None,
    high: float | None = None,
    *,
    check: Callable[[str], Any] | None = None,
) -> Any:
    """Describe a setting: its range, or for a text the function that refuses an impossible one."""
    metadata = {"help": help, "low": low, "high": high, "check": check}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which images, what is left out, and how they are split."""

    source: str = _setting("auto", "a directory, CSV file, hub, phantom or auto; several: A;B")
    known_faults: bool = _setting(True, "leave out the published faults of a data set")
    keep_faults: str = _setting(
        "", "kinds of them that stay in all the same, such as axilla,needle", check=kept_faults
    )
    contradictions: Literal["exclude", "keep"] = _setting(
        "exclude", "near-duplicates that carry different findings"
    )
    duplicate_threshold: float = _setting(
        0.76, "correlation from which two registered images are near-duplicates", 0.5, 1.0
    )
    groups: Literal["keep", "ignore"] = _setting(
        "keep", "ignore: twins and patients may be split apart, to see how much that flatters"
    )
    split: str = _setting(
        "auto",
        "auto: given by the folders if they are split already, else group; study: Table I's sizes; "
        "kfold; source:NAME tests on one source; a .csv with image_id and split",
        check=check_split,
    )
    fold: int = _setting(0, "of split=kfold: the test part; the next one is val", 0)
    folds: int = _setting(FOLDS, "of split=kfold: how many", 3, 100)
    dicom_frames: int = _setting(
        1, "frames of a DICOM file with several, evenly spread; 1: the middle one", 1, 10_000
    )
    phantom_images: int = _setting(450, "how many phantoms `phantom` simulates", 2)


@dataclass(frozen=True, kw_only=True)
class PreprocessingConfig:
    """The one transform from a file to the tensor a model takes."""

    marks: Literal["keep", "remove", "only"] = _setting(
        "keep", "what is drawn on an image: remove fills it, only leaves nothing else, as a test"
    )
    trim: bool = _setting(True, "cut black borders")
    aspect: Literal["squash", "keep"] = _setting(
        "squash", "fill the square, as the study did, or keep the ratio of the sides, with black"
    )
    color: Literal["plain", "parula"] = _setting("plain", "grey levels as they are, or PARULA")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network."""

    name: str = _setting("cnn", "a name of breastus.list_models()")
    image_size: int = _setting(224, "side of the square input in pixels", 16, 4096)
    weights: str | None = _setting(
        None,
        "pretrained weights, such as imagenet; auto: imagenet's where they can be had; "
        "null for random",
    )
    dropout: float | None = _setting(
        None, "share of features dropped before the head; null for the network's own", 0.0, 0.95
    )


@dataclass(frozen=True, kw_only=True)
class AugmentationConfig:
    """What happens to a training image on the fly."""

    policy: str = _setting("study", "a name of breastus.augmentation.list_policies()")
    erasing: float = _setting(0.0, "share of the images in which a rectangle is erased", 0.0, 1.0)
    mixup: float = _setting(0.0, "alpha of mixup's Beta distribution; 0 mixes nothing", 0.0, 10.0)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """The optimisation; the defaults are the study's Table II."""

    epochs: int = _setting(20, "passes over the training images", 1)
    batch_size: int = _setting(32, "images an update of the weights", 1)
    optimizer: Literal["adamw", "adam", "sgd"] = _setting("adamw", "sgd: with Nesterov momentum")
    learning_rate: float = _setting(1e-3, "of the optimizer; a schedule's largest", 1e-9, 10.0)
    momentum: float = _setting(0.9, "of sgd", 0.0, 0.9999)
    weight_decay: float = _setting(0.004, "of AdamW, decoupled (Keras' default)", 0.0, 10.0)
    decay_all: bool = _setting(True, "false: weight decay skips norms and biases")
    schedule: Literal["constant", "cosine", "one_cycle"] = _setting(
        "constant", "of the learning rate, over the whole training"
    )
    warmup_epochs: float = _setting(0.0, "of a linear rise; one_cycle has its own", 0.0)
    clip_norm: float | None = _setting(None, "largest norm of all gradients; null for any", 1e-6)
    accumulation: int | None = _setting(
        None, "parts a batch is cut into to fit memory; null: as the hardware profile says", 1
    )
    ema: float = _setting(0.0, "decay of the weights' moving average; 0 for none", 0.0, 0.99999)
    head_epochs: int = _setting(0, "of the epochs, how many train the head alone, first", 0)
    layer_decay: float = _setting(
        1.0, "factor on the learning rate from a twelfth of the layers to the one before", 0.1, 1.0
    )
    class_weights: Literal["none", "balanced"] = _setting(
        "none", "balanced: both classes count alike in the loss"
    )
    focal_gamma: float = _setting(0.0, "of the focal loss; 0 is cross-entropy", 0.0, 10.0)
    label_smoothing: float = _setting(0.0, "share of the target spread over classes", 0.0, 0.9)
    mask_weight: float = _setting(
        0.0, "of the lesion masks' loss beside that of the labels; 0: no masks", 0.0, 100.0
    )
    sampling: Literal["all", "oversample", "balanced"] = _setting(
        "all", "oversample: the rarer class comes again; balanced: and every batch is even"
    )
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = _setting(
        "auto", "of the training; auto: as the hardware profile says. What is exported is float32"
    )
    profile: Literal["auto", "cpu", "rtx2060", "t4"] = _setting(
        "auto", "of the hardware: precision, accumulation, memory, XLA; auto: what is there"
    )
    xla: Literal["auto", "on", "off"] = _setting("auto", "auto: as the hardware profile says")
    devices: int | None = _setting(
        None, "GPUs (or processors) that share each batch; null for all there are", 1
    )
    cache_mb: int = _setting(1024, "decoded images are kept in memory up to this size", 0)


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """How the trained model is judged."""

    threshold: float = _setting(0.5, "probability of lump from which an image is called lump", 0, 1)
    resamples: int = _setting(2000, "bootstrap resamples of an interval", 100)
    confidence: float = _setting(0.95, "level of the intervals", 0.5, 0.999)


@dataclass(frozen=True, kw_only=True)
class Config:
    """All settings of one experiment. `seed` decides every random choice in it."""

    data: DataConfig = DataConfig()
    preprocessing: PreprocessingConfig = PreprocessingConfig()
    model: ModelConfig = ModelConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    seed: int = _setting(
        0, "decides splits, weights, order, augmentation and dropout", 0, 2**31 - 1
    )

    def __post_init__(self) -> None:
        for key, spec, value in _walk(self):
            _check(key, spec, value)
        check_folds(self.data.split, self.data.fold, self.data.folds)
        if self.training.mask_weight and self.augmentation.mixup:
            raise ConfigError(
                "augmentation.mixup must be 0 where masks are learned from: a cell of two mixed "
                f"images has no mask. Received: training.mask_weight={self.training.mask_weight}, "
                f"augmentation.mixup={self.augmentation.mixup}"
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Config":
        """Build a config from nested mappings; what is not named keeps its default.

        Raises:
            ConfigError: for an unknown name or an impossible value.
        """
        return _build(cls, values, prefix="")

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
        return type(self).from_dict(_merged(self.to_dict(), changes))

    def differences(self, other: "Config") -> list[str]:
        """Return one line a setting in which `other` differs, such as `seed: 0 -> 1`."""
        theirs = {key: value for key, _, value in _walk(other)}
        return [
            f"{key}: {value} -> {theirs[key]}"
            for key, _, value in _walk(self)
            if value != theirs[key]
        ]


def _merged(values: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for name, change in changes.items():
        both = isinstance(change, Mapping) and isinstance(values.get(name), dict)
        merged[name] = _merged(values[name], change) if both else change
    return merged


def _walk(config: Any, prefix: str = "") -> Iterable[tuple[str, dataclasses.Field, Any]]:
    for spec in dataclasses.fields(config):
        value = getattr(config, spec.name)
        if dataclasses.is_dataclass(value):
            yield from _walk(value, f"{prefix}{spec.name}.")
        else:
            yield prefix + spec.name, spec, value


def _build(cls: type, values: Mapping[str, Any], prefix: str) -> Any:
    if not isinstance(values, Mapping):
        raise ConfigError(
            f"{prefix.rstrip('.')} is a section: it holds names and values. Received: {values!r}"
        )
    specs = {spec.name: spec for spec in dataclasses.fields(cls)}
    arguments = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        if name not in specs:
            near = difflib.get_close_matches(str(name), specs, n=1)
            hint = f"Did you mean {prefix}{near[0]}? " if near else ""
            raise ConfigError(
                f"There is no setting {key}. {hint}"
                f"Known here: {', '.join(prefix + known for known in specs)}"
            )
        kind = typing.get_type_hints(cls)[name]
        if dataclasses.is_dataclass(kind):
            arguments[name] = _build(kind, value, f"{key}.")
        else:
            arguments[name] = _coerce(kind, value)
    return cls(**arguments)


def _coerce(kind: Any, value: Any) -> Any:
    if float in _types(kind):
        if isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if isinstance(value, str):  # YAML reads 1e-3 as text: its floats need a dot
            try:
                return float(value)
            except ValueError:
                return value
    return value


def _check(key: str, spec: dataclasses.Field, value: Any) -> None:
    kind = spec.type
    if typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        if value not in choices:
            raise ConfigError(f"{key} must be one of {', '.join(choices)}. Received: {value!r}")
        return
    if type(value) not in _types(kind):
        names = " or ".join("null" if t is types.NoneType else t.__name__ for t in _types(kind))
        raise ConfigError(f"{key} must be of type {names}. Received: {value!r}")
    if value is None:
        return
    low, high = spec.metadata.get("low"), spec.metadata.get("high")
    # Written so that NaN, which compares false with everything, is refused as well.
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        upper = "" if high is None else f" and at most {high}"
        raise ConfigError(f"{key} must be at least {low}{upper}. Received: {value}")
    if check := spec.metadata.get("check"):
        check(value)


def _types(kind: Any) -> tuple[type, ...]:
    return typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
