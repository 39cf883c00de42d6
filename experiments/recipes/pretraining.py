"""Does pretraining on phantoms, or on images without their labels, help small networks?

    python -m experiments.recipes.pretraining --data path/to/BUSI

`compact`, `swin_micro` and `cnn` over three seeds, each from weights that found lumps in phantoms
and from weights that reconstructed hidden patches of images, into `runs/pretraining/`; a run that
is finished is skipped, one that was killed is taken up. Then `python -m experiments.results`, which
compares them with the runs of precision.py, that started from random weights and are otherwise the
same, bfloat16 included. All split by scene with the known faults
left out, as `group` of study.py, with the settings of breastus/models/recipes.py for pretraining
and training, which were set once and not tuned.

    phantoms    25 epochs of 400 phantoms that never come twice, small lumps among them; lump or
                not, and for networks with a map where
    images      100 epochs of masked image modelling (SimMIM) on the training images of the same
                seed's split, and on no other: labels are not read, nothing of val or test is seen

The pretrained weights stay in `runs/pretraining/weights/`. What pretraining took stands in the
table of costs, and is not in the minutes of a run. That of `swin_micro-images` was halted for other
work in between, whose time its minutes hold too; `cnn-images` ran beside other work, so that its
times are upper bounds.
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
