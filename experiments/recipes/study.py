"""The published study: CNN and Swin Transformer, plain and in PARULA colours

Both networks of the study are trained with the settings of its Tables II and III, on two kinds of
split:

- `group`: scene-disjoint. Known faults of BUSI are excluded, images are split 60/20/20 by scene,
  and calibration and threshold come from the validation images. Patients are unknown.
- `study`: the protocol of the study. All images, in the sizes of its Table I (459 images), split
  image by image, so that many test images have a near-duplicate in training; threshold 0.5, no
  calibration.

`unaugmented` is the CNN without augmentation. The last rows are the scores that the study published
(its Tables IV to VII); its split is not public, so its images differ from those above.
Swin starts from ImageNet weights if the hub can be reached and from random weights if it cannot;
the table of costs says which. The Swin runs in PARULA and of the study's protocol shared the
machine with other work, so their times are upper bounds.

    python -m experiments.recipes.study --data path/to/BUSI

Two cores without GPU: 2 to 4 minutes for a run of the CNN, 15 to 36 minutes for one of Swin; 50
runs. Expected ROC-AUC (95 % interval of three seeds): CNN, group, plain 0.64 (0.39 to 0.83); CNN,
study, plain 0.61 (0.46 to 0.74). A quick check that it works: `--only cnn-group-plain --seeds 1
--set training.epochs=2`.
"""

from experiments.runner import run

_GROUP = {"data": {"split": "group"}}
_STUDY = {
    "data": {
        "split": "study",
        "groups": "ignore",
        "known_faults": False,
        "contradictions": "keep",
    },
    "evaluation": {"threshold": 0.5, "calibration": "none"},
}
_PARULA = {"preprocessing": {"color": "parula"}}
_UNAUGMENTED = {"augmentation": {"policy": "none"}}
_SPLITS = {
    "group-plain": _GROUP,
    "group-parula": _GROUP | _PARULA,
    "study-plain": _STUDY,
    "study-parula": _STUDY | _PARULA,
}
VARIANTS = {
    **{f"cnn-{name}": ("cnn", settings) for name, settings in _SPLITS.items()},
    "cnn-group-plain-unaugmented": ("cnn", _GROUP | _UNAUGMENTED),
    "cnn-study-plain-unaugmented": ("cnn", _STUDY | _UNAUGMENTED),
    **{f"swin-{name}": ("swin", settings) for name, settings in _SPLITS.items()},
}

if __name__ == "__main__":
    run(__doc__, "study", VARIANTS)
