"""The study's CNN: plain and in PARULA, on two ways of splitting, with and without augmentation.

    python experiments/study_cnn.py --data path/to/BUSI

Six variants times three seeds, one after the other, each 20 epochs, into `runs/study_cnn/`; a run
that is finished is skipped, one that was killed is taken up. Afterwards
`python experiments/results.py` writes what came out, with command, hardware and minutes, into
`experiments/RESULTS.md` and README.md.

    group          the known faults of BUSI left out, 60/20/20 by scene: the score to believe
    study          all images, in the sizes of the study's Table I (459 images), still without
                   cutting a scene apart: the nearest to its setting that does not leak
    unaugmented    the same without augmentation, to see what that does
"""

import argparse
from pathlib import Path

from breastus.cli.options import add_data
from breastus.cli.quiet import import_tensorflow
from breastus.config import Config
from breastus.errors import BreastusError

OUT = Path("runs", "study_cnn")
_GROUP = {"data": {"split": "group"}}
_STUDY = {"data": {"split": "study", "known_faults": False, "contradictions": "keep"}}
_PARULA = {"preprocessing": {"color": "parula"}}
_UNAUGMENTED = {"augmentation": {"policy": "none"}}
VARIANTS = {
    "group-plain": _GROUP,
    "group-parula": _GROUP | _PARULA,
    "study-plain": _STUDY,
    "study-parula": _STUDY | _PARULA,
    "group-plain-unaugmented": _GROUP | _UNAUGMENTED,
    "study-plain-unaugmented": _STUDY | _UNAUGMENTED,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data(parser)
    parser.add_argument("--seeds", type=int, default=3, help="how many (default: 3)")
    args = parser.parse_args()
    import_tensorflow()

    from breastus.evaluation.evaluate import sentence
    from breastus.experiment import train
    from breastus.training.run import Run

    for seed in range(args.seeds):
        for name, settings in VARIANTS.items():
            out = OUT / f"{name}-{seed}"
            if Run(out).finished:
                print(f"{out}: finished before")
                continue
            print(f"\n== {out}", flush=True)
            config = Config.from_dict(settings).replace({"seed": seed})
            print(
                sentence(train("cnn", data=args.data, config=config, out=out).metrics), flush=True
            )


if __name__ == "__main__":
    try:
        main()
    except BreastusError as error:
        raise SystemExit(f"error: {error}") from error
