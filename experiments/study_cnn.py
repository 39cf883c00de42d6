"""The study's CNN: plain and in PARULA, on two ways of splitting, with and without augmentation.

    python experiments/study_cnn.py --data path/to/BUSI

Six variants times three seeds, one after the other, each 20 epochs, into `runs/study_cnn/`; a run
that is finished or recorded is skipped, one that was killed is taken up. Afterwards
`python experiments/results.py` writes what came out, with command, hardware and minutes, into
`experiments/RESULTS.md` and README.md.

    group          the known faults of BUSI left out, 60/20/20 by scene: the score to believe
    study          all images, in the sizes of the study's Table I (459 images), still without
                   cutting a scene apart: the nearest to its setting that does not leak
    unaugmented    the same without augmentation, to see what that does
"""

from runner import run

_GROUP = {"data": {"split": "group"}}
_STUDY = {"data": {"split": "study", "known_faults": False, "contradictions": "keep"}}
_PARULA = {"preprocessing": {"color": "parula"}}
_UNAUGMENTED = {"augmentation": {"policy": "none"}}
VARIANTS = {
    "group-plain": ("cnn", _GROUP),
    "group-parula": ("cnn", _GROUP | _PARULA),
    "study-plain": ("cnn", _STUDY),
    "study-parula": ("cnn", _STUDY | _PARULA),
    "group-plain-unaugmented": ("cnn", _GROUP | _UNAUGMENTED),
    "study-plain-unaugmented": ("cnn", _STUDY | _UNAUGMENTED),
}

if __name__ == "__main__":
    run(__doc__, "study_cnn", VARIANTS)
