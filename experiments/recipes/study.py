"""The study's four rows, CNN and Swin Transformer, plain and in PARULA, on two ways of splitting.

    python -m experiments.recipes.study --data path/to/BUSI

Ten variants times three seeds, one after the other, into `runs/study/`; a run that is finished
there is skipped (with `--missing` also one whose record is kept), one that was killed is taken up.
Afterwards `python -m experiments.results` writes what came out, with command, hardware and minutes,
into `experiments/RESULTS.md` and README.md, beside what the study published (its Tables IV to VII).

    group          leak-free: the known faults of BUSI left out, 60/20/20 by scene, calibration and
                   threshold from the validation images. The score to believe
    study          the study's own protocol: all images, in the sizes of its Table I (459 of them),
                   drawn image by image, so that many a test image has a near-duplicate in
                   training; called lump from a probability of a half, not calibrated
    unaugmented    the CNN without augmentation, to see what that does

Networks and their training are those of the study's Tables II and III. Swin starts from ImageNet's
weights where the hub can be reached and from random ones where it cannot; the tables say which. On
two processor cores an epoch of it takes a minute or more: `--set training.epochs=2 --seeds 1` with
`--only` shows that it runs, not what it can do, and goes to `runs/tried/study/`.
Its rows in PARULA and of the study's protocol ran beside other work: seconds and minutes are upper
bounds.
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
