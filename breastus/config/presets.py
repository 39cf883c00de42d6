"""Default settings of each network: the name of a network in, a `Config` out.

The networks of the study have its settings (its Tables II and III). The settings of the others were
chosen once, on the validation images of BUSI, and not tuned.
"""

from typing import Any

from breastus.config.schema import Config
from breastus.errors import ConfigError

# The study's Table III. Its learning rate is for ImageNet weights; random ones learn little at this
# rate, so `auto` warns if the weights cannot be loaded.
_STUDY_SWIN = {
    "model": {"weights": "auto"},
    "training": {
        "optimizer": "adamw",
        "learning_rate": 3e-5,
        "weight_decay": 0.2,
        "batch_size": 16,
        "epochs": 15,
    },
}
_SCRATCH = {
    "training": {
        "epochs": 30,
        "learning_rate": 1e-3,
        "weight_decay": 0.05,
        "decay_all": False,
        "schedule": "cosine",
        "warmup_epochs": 1.0,
    },
}
_FINE_TUNING = {
    "model": {"weights": "auto"},
    "training": {**_SCRATCH["training"], "epochs": 12, "learning_rate": 3e-4, "batch_size": 16},
}
# Images without a mask train the labels only.
_MULTIPLE_INSTANCE = {**_FINE_TUNING, "training": {**_FINE_TUNING["training"], "mask_weight": 1.0}}
# The backbone stays frozen, so that features are computed once. Hospitals differ in the depth of
# their images: `ultrasound` makes lesions up to half as large, and padding keeps their shape.
_CELLS_EPOCHS = 12
_CELLS = {
    "preprocessing": {"aspect": "keep"},
    "model": {"weights": "auto", "image_size": 384},
    "augmentation": {"policy": "ultrasound"},
    "training": {
        "epochs": _CELLS_EPOCHS,
        "head_epochs": _CELLS_EPOCHS,
        "cached_views": 2,
        "learning_rate": 2e-2,
        "weight_decay": 0.02,
        "decay_all": False,
        "schedule": "cosine",
        "warmup_epochs": 1.0,
        "class_weights": "balanced",
        "mask_weight": 3.0,
    },
    # The threshold is the prevalence, without a search: a fold has about twenty images without a
    # lump. Platt scaling moves the logits too, which few epochs leave too high or too low.
    "evaluation": {"calibration": "platt", "threshold_rule": "likelihood"},
}
_RECIPES: dict[str, dict[str, Any]] = {
    "cnn": {},  # the study's Table II, which is what Config holds
    "compact": _SCRATCH,
    "efficientnet_cells": _CELLS,
    "efficientnet_lite0": _FINE_TUNING,
    "efficientnet_mil": _MULTIPLE_INSTANCE,
    "hybrid": _SCRATCH,
    "hybrid_large": _STUDY_SWIN,
    # Without batch norms, random weights do not learn at a higher rate.
    "vgg16": {**_FINE_TUNING, "training": {**_FINE_TUNING["training"], "learning_rate": 1e-4}},
    "resnet50": _FINE_TUNING,
    "swin": _STUDY_SWIN,
    "swin_base": _STUDY_SWIN,
    "swin_micro": _SCRATCH,
    "swin_small": _STUDY_SWIN,
}

# Chosen once, not tuned. Optimizer and epochs on images follow SimMIM's ablations (Xie et al., CVPR
# 2022). Masked autoencoders gain nothing from augmentation beyond crops and flips (He et al., CVPR
# 2022, table 1).
_PRETRAINING = {
    "model": {"weights": None},
    "training": {
        "optimizer": "adamw",
        "learning_rate": 1e-3,
        "weight_decay": 0.05,
        "decay_all": False,
        "schedule": "cosine",
    },
}
_PRETRAINING_ON: dict[str, dict[str, Any]] = {
    # Networks with a feature map also learn where the lump is.
    "phantoms": {"training": {"epochs": 25, "warmup_epochs": 1.0, "mask_weight": 1.0}},
    "images": {
        "augmentation": {"policy": "geometry"},
        "training": {"epochs": 100, "warmup_epochs": 5.0, "mask_weight": 0.0},
    },
}


def pretraining_config(model: str, on: str) -> Config:
    """Return the default settings for the pretraining of a network's backbone.

    Args:
        model: name of a network, from `breastus.list_models()`.
        on: "phantoms" or "images".

    Raises:
        ConfigError: if `on` is neither.

    Examples:
        >>> pretraining_config("compact", "images").training.epochs
        100
    """
    if on not in _PRETRAINING_ON:
        raise ConfigError(f"on must be one of {', '.join(_PRETRAINING_ON)}. Received: {on!r}")
    return default_config(model).replace(_PRETRAINING).replace(_PRETRAINING_ON[on])


def default_config(model: str = "cnn") -> Config:
    """Return the default settings for the training of a network.

    Args:
        model: name of a network, from `breastus.list_models()`. A registered network of one's own
            has the settings of `cnn`.

    Examples:
        >>> default_config("swin").training.learning_rate
        3e-05
    """
    return Config.from_dict(_RECIPES.get(model, {})).replace({"model": {"name": model}})
