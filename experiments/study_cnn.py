"""The study's CNN: plain and in PARULA, on scenes kept together and on splits of the study's sizes.

    python experiments/study_cnn.py --data path/to/BUSI

Twelve runs (two colours, two ways of splitting, three seeds) of 20 epochs, one after the other,
into `runs/study_cnn/`; a run that is finished is skipped, one that was killed is taken up.
Afterwards `python experiments/results.py` writes what came out, with command, hardware and minutes,
into `experiments/RESULTS.md` and README.md.

    group   the known faults of BUSI left out, 60/20/20 by scene: the score to believe
    study   all images, the sizes of the study's Table I (459 images), still without cutting a scene
            apart, which the study did not look at: the nearest to its setting that does not leak
"""

import argparse
from itertools import product
from pathlib import Path

from breastus.cli.options import add_data
from breastus.config import Config
from breastus.errors import BreastusError
from breastus.evaluation.evaluate import sentence
from breastus.experiment import train
from breastus.training.run import Run

OUT = Path("runs", "study_cnn")
SPLITS = {
    "group": {"split": "group"},
    "study": {"split": "study", "known_faults": False, "contradictions": "keep"},
}
COLORS = ("plain", "parula")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data(parser)
    parser.add_argument("--seeds", type=int, default=3, help="how many (default: 3)")
    args = parser.parse_args()
    for seed, split, color in product(range(args.seeds), SPLITS, COLORS):
        out = OUT / f"{split}-{color}-{seed}"
        config = Config.from_dict(
            {
                "data": {"source": args.data or "auto", **SPLITS[split]},
                "preprocessing": {"color": color},
                "seed": seed,
            }
        )
        if Run(out).finished:
            print(f"{out}: finished before")
            continue
        print(f"\n== {out}", flush=True)
        print(sentence(train("cnn", config=config, out=out).metrics), flush=True)


if __name__ == "__main__":
    try:
        main()
    except BreastusError as error:
        raise SystemExit(f"error: {error}") from error
