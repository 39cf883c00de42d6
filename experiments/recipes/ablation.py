"""Ablation: each remedy against one base, on the same splits and seeds

The base is `compact` for 20 epochs at 128 pixels, on scene-disjoint splits of BUSI (60/20/20, known
faults left out), with the augmentation `study` and temperature and threshold (Youden) from the
validation images. It is small and short, so that two processor cores get through all runs in an
evening; a remedy that helps here need not help at 224 pixels. Every other variant changes one
setting; `cnn-two-blocks` is compared with `cnn`.

- `class-weights` to `label-smoothing`: the remedies for few images without a lump that the study
  recommends.
- `augmentation-none` to `pixels-224`: the input.
- `adam`, `sgd`, `ema`: the optimizer (the base uses AdamW).
- `views-flip`, `views-all`: test-time augmentation.

Each seed has about 20 test images without a lump, and seeds differ by more than most remedies do.
Five seeds can therefore show a large difference only; fewer claim none.
Settings were set once; none was chosen on these test images.

    python -m experiments.recipes.ablation --data path/to/BUSI

One core: 0.2 to 1.6 minutes a run, 110 runs. Expected ROC-AUC (95 % interval of three seeds): base
0.83 (0.68 to 0.92), oversampling 0.89 (0.73 to 0.96), no augmentation 0.57 (0.35 to 0.76).
"""

from typing import Any

from breastus.utils.quiet import import_tensorflow
from experiments.runner import run

import_tensorflow()

from keras import Input, Model, layers  # noqa: E402

from breastus.models.layers.head import head  # noqa: E402
from breastus.models.registry import register_model  # noqa: E402

_BASE = {"data": {"split": "group"}, "model": {"image_size": 128}, "training": {"epochs": 20}}
_CHANGES: dict[str, dict[str, Any]] = {
    "base": {},
    "class-weights": {"training": {"class_weights": "balanced"}},
    "focal": {"training": {"focal_gamma": 2.0}},
    "balanced-batches": {"training": {"sampling": "balanced"}},
    "oversampling": {"training": {"sampling": "oversample"}},
    "label-smoothing": {"training": {"label_smoothing": 0.1}},
    "augmentation-none": {"augmentation": {"policy": "none"}},
    "augmentation-ultrasound": {"augmentation": {"policy": "ultrasound"}},
    "mixup": {"augmentation": {"mixup": 0.2}},
    "erasing": {"augmentation": {"erasing": 0.5}},
    "parula": {"preprocessing": {"color": "parula"}},
    "aspect-kept": {"preprocessing": {"aspect": "keep"}},
    "marks-removed": {"preprocessing": {"annotations": "remove"}},
    "pixels-64": {"model": {"image_size": 64}},
    "pixels-224": {"model": {"image_size": 224}},
    "adam": {"training": {"optimizer": "adam"}},
    "sgd": {"training": {"optimizer": "sgd", "learning_rate": 0.05, "weight_decay": 5e-4}},
    "ema": {"training": {"ema": 0.99}},
    "views-flip": {"evaluation": {"tta": "flip"}},
    "views-all": {"evaluation": {"tta": "all"}},
}
VARIANTS = {
    **{
        name: (
            "compact",
            {part: _BASE.get(part, {}) | change.get(part, {}) for part in {**_BASE, **change}},
        )
        for name, change in _CHANGES.items()
    },
    "cnn": ("cnn", _BASE),
    "cnn-two-blocks": ("cnn_two_blocks", _BASE),
}


@register_model("cnn_two_blocks")
def cnn_two_blocks(*, num_classes: int, image_size: int, dropout: float = 0.2) -> Model:
    """Build the study's CNN without its third block."""
    x = image = Input((image_size, image_size, 3), name="image")
    for filters in (32, 64):
        x = layers.Conv2D(filters, 3, activation="relu")(x)
        x = layers.MaxPooling2D(2)(x)
    x = layers.Flatten(name="features")(x)
    x = head(x, num_classes=num_classes, dropout=dropout)
    return Model(image, x, name="cnn_two_blocks")


if __name__ == "__main__":
    run(__doc__, "ablation", VARIANTS)
