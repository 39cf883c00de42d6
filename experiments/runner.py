"""What every recipe here does: train its variants over seeds, one run after the other.

    if __name__ == "__main__":
        run(__doc__, "networks", VARIANTS)

A variant is a network and the settings it has besides those of `breastus.default_config`; and,
where its backbone is pretrained first, on what: "phantoms" or "images". That is done anew for each
seed, as the images it may see are those of that seed's training part.

Runs go to `runs/<experiment>/<variant>-<seed>/`; one that is finished, or whose record is kept, is
skipped, one that was killed is taken up. Each run is a process of its own, so that its peak memory
is its own too. With `--jobs 2` two go on at a time, each on half of the cores, as their records
say; what they say of their progress is then in `runs/<experiment>/logs/`. The images are prepared
(read, hashed, compared with each other) once for all runs by

    breastus data prepare --data path/to/BUSI --out busi    # then: --data busi
"""

import argparse
import contextlib
import multiprocessing
import os
import queue
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from breastus.cli.options import add_data
from breastus.cli.quiet import import_tensorflow
from breastus.config import Config
from breastus.errors import BreastusError
from breastus.models.recipes import default_config, pretraining_config
from breastus.training.environment import usable_cores
from breastus.training.run import BUNDLE_FOLDER

RUNS, RECORDS = Path("runs"), Path(__file__).parent / "records"
SEEDS = 3
WEIGHTS = "weights"  # of pretrained backbones, beside the runs that start from them
LOGS = "logs"  # of runs that go on at the same time


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
    parser.add_argument(
        "--jobs",
        type=int,
        default=1,
        help="runs at a time, which share the cores; pays where networks are small (default: 1)",
    )
    args = parser.parse_args()
    if args.seeds < 1:
        parser.error(f"--seeds must be at least 1. Received: {args.seeds}")
    if not 1 <= args.jobs <= usable_cores():
        parser.error(f"--jobs must be from 1 to {usable_cores()}, the cores. Received: {args.jobs}")
    if args.jobs > 1 and not hasattr(os, "sched_setaffinity"):
        parser.error("--jobs needs a system that keeps a process on some cores, such as Linux.")
    todo: queue.SimpleQueue = queue.SimpleQueue()
    for name in args.only or variants:
        for seed in range(args.seeds):
            out = RUNS / experiment / f"{name}-{seed}"
            if (out / BUNDLE_FOLDER).is_dir() or (RECORDS / experiment / out.name).is_dir():
                print(f"{out}: finished before", flush=True)
            else:
                todo.put(_Asked(out, variants[name], seed, args.set, args.data))
    with ThreadPoolExecutor(args.jobs) as threads:
        workers = [threads.submit(_work, todo, share) for share in _shares(args.jobs)]
    try:
        for worker in workers:
            worker.result()
    except BreastusError as error:
        raise SystemExit(f"error: {error}") from error


@dataclass(frozen=True)
class _Asked:
    """A run that is asked for, as `run` takes it.

    Args:
        out: its folder.
        variant: network and settings, and what it is pretrained on, if anything.
        seed: of the run.
        changes: settings as `section.key=value`.
        data: the images.
    """

    out: Path
    variant: tuple
    seed: int
    changes: list[str]
    data: list[str]


def _shares(jobs: int) -> list[set[int] | None]:
    """Return the cores of each job; nothing where one job has all."""
    if jobs == 1:
        return [None]
    cores = sorted(os.sched_getaffinity(0))
    return [set(cores[job::jobs]) for job in range(jobs)]


def _work(todo: queue.SimpleQueue, share: set[int] | None) -> None:
    """Do one run after the other, each in a process of its own, until none is left."""
    processes = ProcessPoolExecutor(
        1, mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=1
    )
    with processes:
        while not todo.empty():
            try:
                asked = todo.get_nowait()
            except queue.Empty:  # another was quicker
                return
            print(f"\n== {asked.out}", flush=True)
            try:
                said = processes.submit(_one, asked, share).result()
            except BaseException:
                while not todo.empty():  # the others end with what they are at
                    todo.get_nowait()
                raise
            print(f"{asked.out}: {said}" if share else said, flush=True)


def _one(asked: _Asked, share: set[int] | None) -> str:
    """Pretrain if need be, train, and return what came out in words.

    Args:
        share: the cores to stay on. What the run says of its progress goes into a file then, as it
            would be mixed up with what others say.
    """
    if share is None:
        return _train(asked)
    os.sched_setaffinity(0, share)  # before TensorFlow counts them
    log = asked.out.parent / LOGS / f"{asked.out.name}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("a", encoding="utf-8") as file,
        contextlib.redirect_stdout(file),
        contextlib.redirect_stderr(file),
    ):
        return _train(asked)


def _train(asked: _Asked) -> str:
    import_tensorflow()
    from breastus.evaluation.evaluate import sentence
    from breastus.experiment import train

    network, settings, *on = asked.variant
    config = default_config(network).replace({**settings, "seed": asked.seed})
    config = config.override(asked.changes)
    if on:
        weights = _pretrain(asked.out.parent, config, *on, asked.data)
        config = config.replace({"model": {"weights": weights}})
    run = train(network, data=asked.data, config=config, out=asked.out)
    return sentence(run.metrics)


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
