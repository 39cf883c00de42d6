"""Does training in bfloat16 reach the scores of float32?

    python experiments/precision.py --data path/to/BUSI

The study's CNN and `compact`, each in float32 and in mixed bfloat16, over five seeds that are the
same for both, into `runs/precision/`; a run that is finished or recorded is skipped. Then
`python experiments/results.py`. Splits and settings as in networks.py. What is judged is a float32
network in either case, as that is what is exported.
"""

import argparse
from pathlib import Path

from breastus.cli.options import add_data
from breastus.cli.quiet import import_tensorflow
from breastus.errors import BreastusError

OUT, RECORDS = Path("runs", "precision"), Path(__file__).parent / "records" / "precision"
NETWORKS = ("compact", "cnn")
PRECISIONS = ("float32", "mixed_bfloat16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_data(parser)
    parser.add_argument("--seeds", type=int, default=5, help="how many (default: 5)")
    args = parser.parse_args()
    import_tensorflow()

    from breastus.evaluation.evaluate import sentence
    from breastus.experiment import train
    from breastus.models.recipes import default_config
    from breastus.training.run import Run

    for name in NETWORKS:
        for seed in range(args.seeds):
            for precision in PRECISIONS:
                out = OUT / f"{name}-{precision}-{seed}"
                if Run(out).finished or (RECORDS / out.name).is_dir():
                    print(f"{out}: finished before")
                    continue
                print(f"\n== {out}", flush=True)
                changes = {
                    "data": {"split": "group"},
                    "training": {"precision": precision},
                    "seed": seed,
                }
                config = default_config(name).replace(changes)
                run = train(name, data=args.data, config=config, out=out)
                print(sentence(run.metrics), flush=True)


if __name__ == "__main__":
    try:
        main()
    except BreastusError as error:
        raise SystemExit(f"error: {error}") from error
