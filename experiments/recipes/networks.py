"""All networks on scene-disjoint splits of BUSI, each with its default settings

Images are split by scene with the known faults left out, at 224 pixels, with the augmentation
`study` and the defaults of breastus/config/presets.py. These were set once and not tuned. Batches
with as many lumps as normal images were tried first and dropped on the validation images: the loss
is measured at the data's own prevalence, so it was lowest after the first epoch, before anything
was learned.

ImageNet weights come from packages for the networks named efficientnet_..., and from hubs for the
others; the table of costs says which networks started from random weights instead. Large networks
train for fewer epochs than their defaults, so that two processor cores get through them. The row of
a large network that started from random weights and saw the images a few times shows its cost, not
its potential.

    python -m experiments.recipes.networks --data path/to/BUSI

Two cores without GPU: 1 to 14 minutes a run, 65 runs. Expected ROC-AUC (95 % interval of three
seeds): efficientnet_lite0 0.94 (0.88 to 0.97), efficientnet_mil 0.93 (0.66 to 0.99), compact 0.85
(0.55 to 0.96), cnn 0.66 (0.56 to 0.74).
"""

from experiments.runner import run

_GROUP = {"data": {"split": "group"}}


def _cut_short(epochs: int) -> dict:
    return {**_GROUP, "training": {"epochs": epochs}}


# In order of cost. Fewer epochs where the default number would take hours.
VARIANTS = {
    "cnn": ("cnn", _GROUP),
    "compact": ("compact", _GROUP),
    "swin_micro": ("swin_micro", _GROUP),
    "hybrid": ("hybrid", _GROUP),
    "efficientnet_lite0": ("efficientnet_lite0", _GROUP),
    "efficientnet_mil": ("efficientnet_mil", _GROUP),
    "efficientnet_cells": ("efficientnet_cells", _GROUP),
    "resnet50": ("resnet50", _cut_short(3)),
    "swin": ("swin", _cut_short(4)),
    "hybrid_large": ("hybrid_large", _cut_short(1)),
    "vgg16": ("vgg16", _cut_short(1)),
    "swin_small": ("swin_small", _cut_short(1)),
    "swin_base": ("swin_base", _cut_short(1)),
}

if __name__ == "__main__":
    run(__doc__, "networks", VARIANTS)
