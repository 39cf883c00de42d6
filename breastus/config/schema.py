"""Every setting of an experiment, as frozen dataclasses that are written to YAML and read back.

    config = Config.from_yaml("config.yaml").override(["training.epochs=5", "seed=1"])

`breastus.config.parsing` reads and checks them; `breastus.config.presets` holds each network's own
defaults.
"""

from dataclasses import dataclass
from typing import Literal

from breastus.config.parsing import (
    FOLDS,
    Settings,
    check_folds,
    check_split,
    class_labels,
    kept_faults,
    setting,
)
from breastus.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Images, exclusions and splits."""

    source: str = setting(
        "auto",
        "Data set: a directory, a CSV file, hub, phantom or auto; several are joined as A;B.",
    )
    labels: str = setting(
        "",
        "What names of classes in folders and tables mean, such as cancer=lump,healthy=no_lump; "
        "each is lump, no_lump, benign, malignant or normal.",
        check=class_labels,
    )
    known_faults: bool = setting(
        True, "Whether images with a published fault, such as a wrong label, are excluded."
    )
    keep_faults: str = setting(
        "",
        "Kinds of published faults that are not excluded, such as axilla,needle.",
        check=kept_faults,
    )
    contradictions: Literal["exclude", "keep"] = setting(
        "exclude", "What happens to near-duplicates that carry different findings."
    )
    duplicate_threshold: float = setting(
        0.76,
        "Correlation of two registered images from which they count as near-duplicates.",
        0.5,
        1.0,
    )
    groups: Literal["keep", "ignore"] = setting(
        "keep",
        "Whether patients and near-duplicates stay in one split; `ignore` separates them, to "
        "measure how optimistic the scores become.",
    )
    split: str = setting(
        "auto",
        "Split scheme: auto (the folders' if they are split, else group), group (60/20/20), "
        "study (the study's sizes), folders (train/, val/ and test/), kfold, source:NAME (test on "
        "one source), or a CSV file with the columns image_id and split.",
        check=check_split,
    )
    fold: int = setting(0, "Fold that is the test part, counted from 0 (only for `kfold`).", 0)
    folds: int = setting(FOLDS, "Number of folds (only for `kfold`).", 3, 100)
    val_rotation: int = setting(
        0,
        "Which of the other folds is the validation part; 0 is the one after the test fold (only "
        "for `kfold`).",
        0,
    )
    dicom_frames: int = setting(
        1,
        "Number of frames taken from a multi-frame DICOM file, evenly spaced; 1 takes the middle "
        "frame.",
        1,
        10_000,
    )
    phantom_images: int = setting(450, "Number of images that the data set `phantom` simulates.", 2)


@dataclass(frozen=True, kw_only=True)
class PreprocessingConfig:
    """The transform from an image file to the input of a network."""

    annotations: Literal["keep", "remove", "only"] = setting(
        "keep",
        "What happens to burned-in calipers and text: `remove` fills them in; `only` removes all "
        "else, as a shortcut test.",
    )
    trim: bool = setting(True, "Whether black borders are cut off.")
    aspect: Literal["squash", "keep"] = setting(
        "squash",
        "How an image becomes square: `squash` stretches it, as in the study; `keep` pads it with "
        "black.",
    )
    color: Literal["plain", "parula"] = setting(
        "plain", "Colour map: grey levels as they are, or PARULA pseudo-colour."
    )
    scaling: Literal["zscore", "unit", "raw"] = setting(
        "zscore",
        "Values that the network receives: z-scores by ImageNet's mean and standard deviation, 0 "
        "to 1 (`unit`), or 0 to 255 (`raw`).",
    )


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network."""

    name: str = setting("cnn", "Network, a name of `breastus.list_models()`.")
    image_size: int = setting(224, "Side of the square input image in pixels.", 16, 4096)
    weights: str | None = setting(
        None,
        "Initial weights: imagenet, a folder written by `breastus pretrain`, auto (imagenet if it "
        "can be loaded), or null for random weights.",
    )
    pretraining_leakage: Literal["refuse", "allow"] = setting(
        "refuse",
        "What happens if the initial weights were pretrained on images of val or test; `allow` "
        "gives optimistic scores and a notice in the report.",
    )
    dropout: float | None = setting(
        None, "Dropout rate before the head; null takes the network's own.", 0.0, 0.95
    )


@dataclass(frozen=True, kw_only=True)
class AugmentationConfig:
    """Random changes to training images."""

    policy: str = setting(
        "study", "Augmentation policy, a name of `breastus.augmentation.list_policies()`."
    )
    erasing: float = setting(
        0.0, "Probability that a random rectangle of an image is erased.", 0.0, 1.0
    )
    mixup: float = setting(
        0.0, "Parameter alpha of mixup's Beta distribution; 0 turns mixup off.", 0.0, 10.0
    )


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """The optimisation; the defaults are the study's (Table II)."""

    epochs: int = setting(20, "Number of passes over the training images.", 1)
    batch_size: int = setting(32, "Number of images for one update of the weights.", 1)
    optimizer: Literal["adamw", "adam", "sgd"] = setting(
        "adamw", "Optimizer; `sgd` uses Nesterov momentum."
    )
    learning_rate: float = setting(1e-3, "Peak learning rate.", 1e-9, 10.0)
    momentum: float = setting(0.9, "Momentum (only for `sgd`).", 0.0, 0.9999)
    weight_decay: float = setting(
        0.004, "Decoupled weight decay (only for `adamw`); the default is Keras's.", 0.0, 10.0
    )
    decay_all: bool = setting(
        True, "Whether weight decay applies to biases and normalisation layers too."
    )
    schedule: Literal["constant", "cosine", "one_cycle"] = setting(
        "constant", "Learning rate schedule over the whole training."
    )
    warmup_epochs: float = setting(
        0.0, "Number of epochs of linear warm-up; `one_cycle` has its own.", 0.0
    )
    clip_norm: float | None = setting(
        None, "Largest global norm of the gradients; null does not clip.", 1e-6
    )
    accumulation_steps: int | None = setting(
        None,
        "Number of parts a batch is split into at first; gradients are averaged over them. It "
        "grows if memory is exhausted. null starts with whole batches on a GPU, and with what fits "
        "by estimate on a processor.",
        1,
    )
    ema: float = setting(
        0.0, "Decay of the exponential moving average of the weights; 0 for none.", 0.0, 0.99999
    )
    head_epochs: int = setting(
        0,
        "Number of initial epochs in which only the head is trained; equal to `epochs`, the "
        "backbone stays frozen.",
        0,
    )
    cached_views: int = setting(
        0,
        "Number of augmented views per image whose backbone features are cached; 0 augments in "
        "each epoch (only for a backbone that stays frozen).",
        0,
        10_000,
    )
    layer_decay: float = setting(
        1.0,
        "Factor on the learning rate from one twelfth of the layers to the twelfth before it.",
        0.1,
        1.0,
    )
    target: Literal["label", "finding"] = setting(
        "label",
        "Outputs of the network: `label` has two (no_lump, lump); `finding` has three (normal, "
        "benign, malignant), and P(lump) is the sum of benign and malignant.",
    )
    checkpoint: Literal["loss", "accuracy", "last"] = setting(
        "loss",
        "Epoch that is kept: the lowest validation loss, the highest validation accuracy (the "
        "first of equals), or the last epoch.",
    )
    loss: str = setting("cross_entropy", "Loss: cross_entropy, or a registered loss of one's own.")
    class_weights: Literal["none", "balanced"] = setting(
        "none",
        "Class weights in the loss; `balanced` gives every class of `training.target` the same "
        "total weight.",
    )
    focal_gamma: float = setting(
        0.0, "Focusing parameter gamma of the focal loss; 0 is cross-entropy.", 0.0, 10.0
    )
    label_smoothing: float = setting(
        0.0, "Share of the target that is spread over all classes.", 0.0, 0.9
    )
    mask_weight: float = setting(
        0.0, "Weight of the lesion-mask loss; 0 trains without masks.", 0.0, 100.0
    )
    sampling: Literal["all", "oversample", "balanced"] = setting(
        "all",
        "How training images are drawn: `all` once an epoch; `oversample` repeats the rarer "
        "classes of `training.target`; `balanced` also gives every batch equal shares.",
    )
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = setting(
        "auto",
        "Precision of the training; auto lets the hardware profile decide. Exported networks are "
        "float32.",
    )
    profile: Literal["auto", "cpu", "rtx2060", "t4"] = setting(
        "auto",
        "Hardware profile, which sets precision and XLA; auto detects the hardware. `rtx2060` and "
        "`t4` by name also limit the memory of a larger GPU to that card's.",
    )
    xla: Literal["auto", "on", "off"] = setting(
        "auto",
        "Whether XLA compiles the training step; auto does so on one GPU unless "
        "`training.deterministic` is true. A step that XLA cannot compile is trained without it.",
    )
    deterministic: bool = setting(
        False,
        "Whether TensorFlow uses deterministic operations only, in the whole process; slower. On a "
        "processor a seed gives the same numbers without it.",
    )
    devices: int | None = setting(
        None, "Number of GPUs (or processors) that share each batch; null takes all.", 1
    )
    cache_mb: int = setting(1024, "Memory for decoded images in MiB.", 0)
    callbacks: str = setting("", "Registered callbacks of one's own, such as stop_early,notify.")


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """Predictions, calibration, decision threshold and intervals."""

    tta: Literal["none", "flip", "flip_zoom", "flip_shift", "flip_gain", "all"] = setting(
        "none",
        "Test-time augmentation: views whose predictions are averaged, in the exported bundle too.",
    )
    calibration: Literal["auto", "none", "temperature", "platt", "isotonic"] = setting(
        "temperature",
        "Calibration method, fitted on the validation images; auto takes the simplest one that is "
        "not clearly worse than the best.",
    )
    threshold: float | None = setting(
        None, "Decision threshold on P(lump); null chooses it by `threshold_rule`.", 0, 1
    )
    threshold_rule: Literal["youden", "likelihood", "sensitivity", "cost"] = setting(
        "youden", "Rule by which the validation images choose the threshold."
    )
    target_sensitivity: float = setting(
        0.9,
        "Sensitivity that its lower confidence bound must reach (only for "
        "`threshold_rule=sensitivity`).",
        0.01,
        0.999,
    )
    cost_ratio: float = setting(
        9.0,
        "Number of false alarms that cost as much as one missed lump (only for "
        "`threshold_rule=cost`).",
        1e-3,
        1e6,
    )
    prevalence: float = setting(
        0.1,
        "Prevalence of lumps for which PPV, NPV, the decision curve and cost are reported.",
        1e-6,
        0.999999,
    )
    coverage: float = setting(
        0.9,
        "Coverage of the conformal prediction sets in each class; images without a single label in "
        "their set are referred to a reader.",
        0.5,
        0.999,
    )
    resamples: int = setting(2000, "Number of bootstrap resamples for an interval.", 100)
    # Above 0.5: the one-sided bound of a sensitivity is the end of an interval of level 2c - 1.
    confidence: float = setting(0.95, "Confidence level of the intervals.", 0.501, 0.999)


@dataclass(frozen=True, kw_only=True)
class Config(Settings):
    """All settings of one experiment."""

    data: DataConfig = DataConfig()
    preprocessing: PreprocessingConfig = PreprocessingConfig()
    model: ModelConfig = ModelConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    seed: int = setting(
        0,
        "Seed of every random choice: splits, initial weights, order, augmentation and dropout.",
        0,
        2**31 - 1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_folds(self.data.split, self.data.fold, self.data.folds, self.data.val_rotation)
        if not self.augmentation.mixup:
            return
        for name, reason in (
            ("mask_weight", "mixed images have no lesion mask"),
            ("cached_views", "the same two images would be mixed in every epoch"),
        ):
            if value := getattr(self.training, name):
                raise ConfigError(
                    f"augmentation.mixup must be 0 with training.{name}: {reason}. Received: "
                    f"augmentation.mixup={self.augmentation.mixup}, training.{name}={value}"
                )
