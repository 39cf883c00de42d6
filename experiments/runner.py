"""What every recipe here does: train its variants over seeds, one run after the other.

    if __name__ == "__main__":
        run(__doc__, "networks", VARIANTS)

A variant is a network and the settings it has besides those of `breastus.default_config`; and,
where its backbone is pretrained first, on what: "phantoms" or "images". That is done anew for each
seed, as the images it may see are those of that seed's training part.

Runs go to `runs/<experiment>/<variant>-<seed>/`; one that is finished, or whose record is kept, is
skipped, one that was killed is taken up. Each run is a process of its own, so that its peak memory
is its own too. The images are prepared (read, hashed, compared with each other) once for all runs
by

    breastus data prepare --data path/to/BUSI --out busi    # then: --data busi
"""

import argparse
import multiprocessing
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from breastus.cli.options import add_data
from breastus.cli.quiet import import_tensorflow
from breastus.config import Config
from breastus.errors import BreastusError
from breastus.models.recipes import default_config, pretraining_config
from breastus.training.run import BUNDLE_FOLDER

RUNS, RECORDS = Path("runs"), Path(__file__).parent / "records"
SEEDS = 3
WEIGHTS = "weights"  # of pretrained backbones, beside the runs that start from them


def run(
    doc: str,
    experiment: str,
    variants: Mapping[str, tuple[str, dict[str, Any]] | tuple[str, dict[str, Any], str]],
) -> None:
    """Parse the command line of a recipe and train what it asks for.

    Args:
        doc: the recipe's docstring; its first line is the help's.
        experiment: the recipe's name, and that of its folder of runs.
        variants: name to (network, settings), or to (network, settings, what it is pretrained on).
    """
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    add_data(parser)
    parser.add_argument(
        "--only", nargs="+", choices=list(variants), metavar="VARIANT", help="default: all"
    )
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"how many (default: {SEEDS})")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="change a setting of all these runs, such as training.epochs=2",
    )
    args = parser.parse_args()
    if args.seeds < 1:
        parser.error(f"--seeds must be at least 1. Received: {args.seeds}")
    runs = [
        (RUNS / experiment / f"{name}-{seed}", variants[name], seed)
        for name in args.only or variants
        for seed in range(args.seeds)
    ]
    processes = ProcessPoolExecutor(
        1, mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=1
    )
    with processes:
        for out, variant, seed in runs:
            if (out / BUNDLE_FOLDER).is_dir() or (RECORDS / experiment / out.name).is_dir():
                print(f"{out}: finished before", flush=True)
                continue
            print(f"\n== {out}", flush=True)
            network, settings, *on = variant
            try:
                config = default_config(network).replace({**settings, "seed": seed})
                config = config.override(args.set)
                if on:
                    weights = processes.submit(
                        _pretrain, out.parent, config, *on, args.data
                    ).result()
                    config = config.replace({"model": {"weights": weights}})
                processes.submit(_train, out, config, args.data).result()
            except BreastusError as error:
                raise SystemExit(f"error: {error}") from error


def _pretrain(folder: Path, config: Config, on: str, data: list[str]) -> str:
    """Return the folder of weights for a seed, made unless it is there.

    Of the settings those of data, preprocessing and image size hold for the pretraining as well, so
    that it splits the images as the training does.
    """
    network, settings = config.model.name, config.to_dict()
    out = folder / WEIGHTS / f"{network}-{on}-{config.seed}"
    if out.is_dir():  # written as a whole; of what it was made, the training's own check sees
        print(f"{out}: pretrained before", flush=True)
        return str(out)
    import_tensorflow()
    from breastus.pretraining import pretrain

    shared = {name: settings[name] for name in ("data", "preprocessing", "seed")}
    shared["model"] = {"image_size": config.model.image_size}
    config = pretraining_config(network, on).replace(shared)
    images = {"data": data} if on == "images" else {}
    return str(pretrain(network, on=on, config=config, out=out, **images))


def _train(out: Path, config: Config, data: list[str]) -> None:
    import_tensorflow()
    from breastus.evaluation.evaluate import sentence
    from breastus.experiment import train

    run = train(config.model.name, data=data, config=config, out=out)
    print(sentence(run.metrics), flush=True)
