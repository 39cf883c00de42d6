"""What every recipe here does: train its variants over seeds, one run after the other.

    if __name__ == "__main__":
        run(__doc__, "networks", VARIANTS)

A variant is a network and the settings it has besides those of `breastus.default_config`; and,
where its backbone is pretrained first, on what: "phantoms" or "images". That is done anew for each
seed, as the images it may see are those of that seed's training part.

Runs go to `runs/<experiment>/<variant>-<seed>/`; one that is finished there is skipped, one that
was killed is taken up. `--missing` skips those whose record is kept in `experiments/records/` as
well, to go on where these were made in another sitting. Runs with `--set` are not the experiment's
own: they go to `runs/tried/<experiment>/`, of which no records are kept and no tables made.

Each run is a process of its own, so that its peak memory is its own too. With `--jobs 2` two go on
at a time, each on half of the cores, as their records say; what they say of their progress is then
in `runs/<experiment>/logs/`. The images are prepared (read, hashed, compared with each other) once
for all runs by

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
from breastus.config.parsing import join_sources
from breastus.config.presets import default_config, pretraining_config
from breastus.config.schema import Config
from breastus.errors import BreastusError, RunError
from breastus.runs.config_diff import PRECISION, changed_settings
from breastus.runs.environment import usable_cores
from breastus.runs.run import Run

RUNS, RECORDS = Path("runs"), Path(__file__).parent / "records"
SEEDS = 3
WEIGHTS = "weights"  # of pretrained backbones, beside the runs that start from them
LOGS = "logs"  # of runs that go on at the same time
TRIED = "tried"  # beside the experiments' folders; no experiment has this name


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
    args = _arguments(doc, variants)
    try:
        _work_off(_wanted(args, experiment, variants), args.jobs)
    except BreastusError as error:
        raise SystemExit(f"error: {error}") from error


@dataclass(frozen=True)
class _Asked:
    """A run that is asked for.

    Args:
        out: its folder.
        config: all settings, data and seed among them.
        pretrained_on: "phantoms" or "images", or "" for nothing.
    """

    out: Path
    config: Config
    pretrained_on: str


def _arguments(doc: str, variants: Mapping[str, tuple]) -> argparse.Namespace:
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
        help="change a setting of all these runs, such as training.epochs=2; they go to "
        f"{RUNS / TRIED}",
    )
    parser.add_argument(
        "--missing", action="store_true", help="skip runs whose record is kept as well"
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
    if args.missing and args.set:
        parser.error(
            "--missing does not go with --set: records are of runs with the experiment's own "
            "settings. Leave out one of them."
        )
    if not 1 <= args.jobs <= usable_cores():
        parser.error(f"--jobs must be from 1 to {usable_cores()}, the cores. Received: {args.jobs}")
    if args.jobs > 1 and not hasattr(os, "sched_setaffinity"):
        parser.error("--jobs needs a system that keeps a process on some cores, such as Linux.")
    return args


def _wanted(args: argparse.Namespace, experiment: str, variants: Mapping[str, tuple]) -> list:
    """Return the runs that are asked for and not there yet.

    Raises:
        BreastusError: before anything is trained, when the data is not there, a setting is
            impossible, or a finished run is of other data or settings.
    """
    folder = RUNS / TRIED / experiment if args.set else RUNS / experiment
    wanted = []
    for name in args.only or variants:
        for seed in range(args.seeds):
            asked = _asked(folder / f"{name}-{seed}", variants[name], seed, args)
            if _finished(asked):
                print(f"{asked.out}: finished before", flush=True)
            elif args.missing and (RECORDS / experiment / asked.out.name).is_dir():
                print(f"{asked.out}: recorded before", flush=True)
            else:
                wanted.append(asked)
    if wanted:
        from breastus.data.sources.resolve import check_places

        check_places(wanted[0].config.data.source)  # before weights are fetched or made
    return wanted


def _asked(out: Path, variant: tuple, seed: int, args: argparse.Namespace) -> _Asked:
    network, settings, *on = variant
    config = default_config(network).replace({**settings, "seed": seed}).override(args.set)
    if args.data is not None:
        config = config.replace({"data": {"source": join_sources(args.data)}})
    if on:
        weights = out.parent / WEIGHTS / f"{network}-{on[0]}-{seed}"
        config = config.replace({"model": {"weights": str(weights)}})
    return _Asked(out, config, *(on or [""]))


def _finished(asked: _Asked) -> bool:
    """Whether a run is finished.

    Raises:
        RunError: when it is, with other data or settings.
    """
    if not (run := Run(asked.out)).finished:
        return False
    # What the machine decides stands in the run, not in what is asked for.
    but = {PRECISION} if asked.config.training.precision == "auto" else ()
    if changed := changed_settings(run.config, asked.config, but=but):
        raise RunError(
            f"{asked.out} holds a finished run of other data or settings: {'; '.join(changed)}. "
            f"Move {asked.out.parent} elsewhere, or delete that run, to train it anew."
        )
    return True


def _work_off(wanted: list[_Asked], jobs: int) -> None:
    """Do the runs, so many at a time."""
    todo: queue.SimpleQueue = queue.SimpleQueue()
    for asked in wanted:
        todo.put(asked)
    with ThreadPoolExecutor(jobs) as threads:
        workers = [threads.submit(_work, todo, share) for share in _shares(jobs)]
    for worker in workers:
        worker.result()


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
    from breastus.reporting.texts import verdict
    from breastus.workflows.train import train

    config = asked.config
    if asked.pretrained_on:
        _pretrain(config, asked.pretrained_on)
    return verdict(train(config.model.name, config=config, out=asked.out).metrics)


def _pretrain(config: Config, on: str) -> None:
    """Make the weights that a training starts from, unless they are there.

    Of the training's settings those of data, preprocessing and image size hold for the pretraining
    as well, so that it splits the images as the training does.
    """
    network, settings, out = config.model.name, config.to_dict(), Path(config.model.weights)
    if out.is_dir():  # written as a whole; of what it was made, the training's own check sees
        print(f"{out}: pretrained before", flush=True)
        return
    import_tensorflow()
    from breastus.workflows.pretrain import pretrain

    shared = {name: settings[name] for name in ("data", "preprocessing", "seed")}
    shared["model"] = {"image_size": config.model.image_size}
    pretrain(network, on=on, config=pretraining_config(network, on).replace(shared), out=out)
