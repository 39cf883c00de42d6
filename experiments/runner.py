"""Train the variants of a recipe over several seeds and record each finished run.

    if __name__ == "__main__":
        run(__doc__, "networks", VARIANTS)

A variant is a network, the settings in which it differs from `breastus.default_config`, and, if its
backbone is pretrained first, the kind of pretraining: "phantoms" or "images". The pretraining is
repeated for each seed, because it may only see the training images of that seed's split.

Runs go to `runs/<experiment>/<variant>-<seed>/` and into `experiments/records/<experiment>/`. A
finished run is skipped and an interrupted one continues; `--missing` also skips runs that have only
a record. With `--set` the runs go to `runs/tried/<experiment>/` and are not recorded.

Each run has its own process, so that its peak memory is its own. With `--jobs 2` two runs share the
cores; their progress is then written to `runs/<experiment>/logs/`. To read, hash and compare the
images once for all runs, prepare them first:

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
from breastus.config.parsing import join_sources
from breastus.config.presets import default_config, pretraining_config
from breastus.config.schema import Config
from breastus.errors import BreastusError, RunError
from breastus.runs.config_diff import PRECISION, config_diff
from breastus.runs.run import Run
from breastus.utils.quiet import import_tensorflow
from breastus.utils.threads import usable_cores
from experiments.records import record_run, recorded_runs

RUNS = Path("runs")
SEEDS = 5  # fewer claim no difference, see breastus.evaluation.intervals.recipe
WEIGHTS = "weights"  # subfolder with the pretrained backbones
LOGS = "logs"  # subfolder with the progress of runs that share the cores
TRIED = "tried"  # folder of runs with --set; no experiment has this name

Variant = tuple[str, dict[str, Any]] | tuple[str, dict[str, Any], str]


def run(doc: str, experiment: str, variants: Mapping[str, Variant], *, seeds: int = SEEDS) -> None:
    """Parse the command line of a recipe, and train and record its runs.

    Args:
        doc: docstring of the recipe; the help shows its first line.
        experiment: name of the recipe, of its folder of runs and of its records.
        variants: name to (network, settings) or (network, settings, kind of pretraining).
        seeds: number of seeds of each variant, unless `--seeds` is given.
    """
    args = _arguments(doc, variants, seeds)
    try:
        _train_all(_unfinished(args, experiment, variants), args.jobs)
    except BreastusError as error:
        raise SystemExit(f"error: {error}") from error


@dataclass(frozen=True)
class _Job:
    """A run to be trained.

    Attributes:
        out: run folder.
        config: all settings, with data and seed.
        pretraining: "phantoms", "images", or "" without pretraining.
        experiment: name under which the run is recorded, or "" if it is not.
    """

    out: Path
    config: Config
    pretraining: str
    experiment: str


def _arguments(doc: str, variants: Mapping[str, Variant], seeds: int) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    add_data(parser)
    parser.add_argument(
        "--only", nargs="+", choices=list(variants), metavar="VARIANT", help="default: all"
    )
    parser.add_argument("--seeds", type=int, default=seeds, help=f"number (default: {seeds})")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="change a setting of all runs, for example training.epochs=2; these runs go to "
        f"{RUNS / TRIED} and are not recorded",
    )
    parser.add_argument("--missing", action="store_true", help="also skip runs that are recorded")
    parser.add_argument(
        "--jobs",
        type=int,
        default=1,
        help="number of runs that share the cores; useful for small networks (default: 1)",
    )
    args = parser.parse_args()
    if args.seeds < 1:
        parser.error(f"--seeds must be at least 1. Received: {args.seeds}")
    if args.missing and args.set:
        parser.error(
            "--missing does not go with --set, because records hold runs with the recipe's own "
            "settings. Remove one of them."
        )
    if not 1 <= args.jobs <= usable_cores():
        parser.error(
            f"--jobs must be from 1 to {usable_cores()}, the number of cores. Received: {args.jobs}"
        )
    if args.jobs > 1 and not hasattr(os, "sched_setaffinity"):
        parser.error("--jobs needs a system that can bind a process to cores, such as Linux.")
    return args


def _unfinished(
    args: argparse.Namespace, experiment: str, variants: Mapping[str, Variant]
) -> list[_Job]:
    """Return the runs that still have to be trained.

    Raises:
        BreastusError: before any training, if the data does not exist, a setting is invalid, or a
            finished run has other data or settings.
    """
    folder = RUNS / TRIED / experiment if args.set else RUNS / experiment
    recorded = recorded_runs(experiment)
    jobs = []
    for name in args.only or variants:
        for seed in range(args.seeds):
            out = folder / f"{name}-{seed}"
            job = _job(out, variants[name], seed, args, "" if args.set else experiment)
            if _is_finished(job):
                print(f"{out}: already finished", flush=True)
                if job.experiment and out.name not in recorded:
                    record_run(job.experiment, Run(out))
            elif args.missing and out.name in recorded:
                print(f"{out}: already recorded", flush=True)
            else:
                jobs.append(job)
    if jobs:
        from breastus.data.sources.resolve import check_sources_exist

        check_sources_exist(jobs[0].config.data.source)  # before weights are downloaded or made
    return jobs


def _job(out: Path, variant: Variant, seed: int, args: argparse.Namespace, experiment: str) -> _Job:
    network, settings, *pretraining = variant
    config = default_config(network).replace({**settings, "seed": seed}).override(args.set)
    if args.data is not None:
        config = config.replace({"data": {"source": join_sources(args.data)}})
    if pretraining:
        weights = out.parent / WEIGHTS / f"{network}-{pretraining[0]}-{seed}"
        config = config.replace({"model": {"weights": str(weights)}})
    return _Job(out, config, *(pretraining or [""]), experiment)


def _is_finished(job: _Job) -> bool:
    """Return whether a run is finished.

    Raises:
        RunError: when it is finished, with other data or settings.
    """
    if not (finished := Run(job.out)).finished:
        return False
    # The run holds the precision that the machine chose; the job may leave it open.
    ignore = {PRECISION} if job.config.training.precision == "auto" else ()
    if changed := config_diff(finished.config, job.config, ignore=ignore):
        raise RunError(
            f"{job.out} holds a finished run of other data or settings: {'; '.join(changed)}. "
            f"Move {job.out.parent} elsewhere, or delete that run, to train it again."
        )
    return True


def _train_all(jobs: list[_Job], parallel: int) -> None:
    """Train all runs, `parallel` at a time."""
    todo: queue.SimpleQueue = queue.SimpleQueue()
    for job in jobs:
        todo.put(job)
    cores: list[set[int] | None] = [None]
    if parallel > 1:
        usable = sorted(os.sched_getaffinity(0))
        cores = [set(usable[first::parallel]) for first in range(parallel)]
    with ThreadPoolExecutor(parallel) as threads:
        workers = [threads.submit(_work, todo, share) for share in cores]
    for worker in workers:
        worker.result()


def _work(todo: queue.SimpleQueue, cores: set[int] | None) -> None:
    """Train one run after the other, each in its own process, until the queue is empty."""
    processes = ProcessPoolExecutor(
        1, mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=1
    )
    with processes:
        while not todo.empty():
            try:
                job = todo.get_nowait()
            except queue.Empty:  # another worker took it
                return
            print(f"\n== {job.out}", flush=True)
            try:
                result = processes.submit(_run_job, job, cores).result()
            except BaseException:
                while not todo.empty():  # the other workers stop after their current run
                    todo.get_nowait()
                raise
            print(f"{job.out}: {result}" if cores else result, flush=True)
            if job.experiment:
                record_run(job.experiment, Run(job.out))


def _run_job(job: _Job, cores: set[int] | None) -> str:
    """Pretrain if asked for, train, and return the result as a sentence.

    Args:
        job: run to be trained.
        cores: cores to stay on; the progress then goes to a file, apart from the progress of
            other runs. None uses all cores.
    """
    if cores is None:
        return _train(job)
    os.sched_setaffinity(0, cores)  # before TensorFlow counts them
    log = job.out.parent / LOGS / f"{job.out.name}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("a", encoding="utf-8") as file,
        contextlib.redirect_stdout(file),
        contextlib.redirect_stderr(file),
    ):
        return _train(job)


def _train(job: _Job) -> str:
    import_tensorflow()
    from breastus.reporting.texts import verdict
    from breastus.workflows.train import train

    config = job.config
    if job.pretraining:
        _pretrain(config, job.pretraining)
    return verdict(train(config.model.name, config=config, out=job.out).metrics)


def _pretrain(config: Config, on: str) -> None:
    """Make the weights that a training starts from, unless they exist.

    The pretraining takes data, preprocessing, seed and image size from the training, so that it
    splits the images in the same way.
    """
    network, settings, out = config.model.name, config.to_dict(), Path(config.model.weights)
    if out.is_dir():  # written atomically; the training checks its origin
        print(f"{out}: already pretrained", flush=True)
        return
    import_tensorflow()
    from breastus.workflows.pretrain import pretrain

    shared = {name: settings[name] for name in ("data", "preprocessing", "seed")}
    shared["model"] = {"image_size": config.model.image_size}
    pretrain(network, on=on, config=pretraining_config(network, on).replace(shared), out=out)
