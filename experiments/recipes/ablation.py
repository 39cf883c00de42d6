"""What does each remedy do by itself? Every one against one base, on the same splits and seeds.

    python -m experiments.recipes.ablation --data path/to/BUSI

The base is `compact` for 20 epochs at 128 pixels, otherwise with its own settings, on leak-free
splits of BUSI (60/20/20 by scene, known faults left out): augmentation `study`, temperature and
threshold (Youden) from the validation images. Small and short, so that two processor cores get
through all of it in an evening; what helps there need not help at 224. Every other variant changes
one thing; `cnn-two-blocks` is compared with `cnn`. Into `runs/ablation/`; a run that is finished
there is skipped, with `--missing` also one whose record is kept. Then `python -m
experiments.results`, which also decides anew on the base's predictions: other calibrations and
thresholds need no training. There are about 20 normal test images a seed, so that only large
effects can be told from none: what the intervals of the differences hold is what is known. Settings
were set once; none was chosen by these test images.

    class-weights to label-smoothing    the study's remedies for few images without a lump
    augmentation-none to pixels-224     what is seen
    adam, sgd, ema                      how it is fitted; compact's own is AdamW
    views-flip, views-all               test-time augmentation
"""

from typing import Any

from breastus.cli.quiet import import_tensorflow
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
