"""Pretraining small networks on phantoms or on images without labels

`compact`, `swin_micro` and `cnn` start from pretrained weights. They are compared with the runs of
the recipe `precision`, which start from random weights and have the same splits and settings,
bfloat16 included.

- `phantoms`: 25 epochs of 400 simulated images that never repeat, small lumps among them. The task
  is lump or no lump and, for networks with a lesion map, where.
- `images`: 100 epochs of masked image modelling (SimMIM) on the training images of the split of the
  same seed. It reads no labels and no validation or test images.

Settings of pretraining and training are the defaults of breastus/config/presets.py; they were set
once and not tuned. The table of costs gives the time of the pretraining, which is not part of the
minutes a run. The pretraining of `swin_micro-images` was paused for other work, and its minutes
include the pause; `cnn-images` shared the machine, so its times are upper bounds.

    python -m experiments.recipes.pretraining --data path/to/BUSI

One or two cores: 8 to 14 minutes for a pretraining (swin_micro-images 83), 2 to 9 minutes for a
training; 30 runs. Fewer than five seeds claim no difference from random weights.
"""

from experiments.runner import run

_GROUP = {"data": {"split": "group"}}
NETWORKS = ("compact", "swin_micro", "cnn")

VARIANTS = {
    f"{network}-{on}": (network, _GROUP, on)
    for network in NETWORKS
    for on in ("phantoms", "images")
}

if __name__ == "__main__":
    run(__doc__, "pretraining", VARIANTS)
