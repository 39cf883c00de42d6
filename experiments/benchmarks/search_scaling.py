"""How the search for near-duplicates grows: patterns like phantoms in, seconds and memory out.

    python -m experiments.benchmarks.search_scaling 100000   # prints JSON, for data_checks.py

The patterns are random, with the mean and the covariance of 1,000 phantoms' fingerprints, so that
strangers look as much like each other as those of phantoms do; one in a hundred is planted a
second time, brighter and noisy, every other one mirrored.
"""

import argparse
import json
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from breastus.data.near_duplicates.search import SIDE, fingerprint, near_duplicates
from breastus.runs.environment import peak_memory_mb
from experiments.drawing import phantom_scan

MODELS, THRESHOLD, TWINS = 1000, 0.76, 0.01
FEWEST = 100


def patterns(count: int, *, seed: int) -> np.ndarray:
    """Return uint8 [count, 64, 64], none of which shows what another shows."""
    # Not forked: a copy of a process with threads, such as OpenCV's, can wait for them forever.
    apart = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=apart) as pool:
        models = np.stack(list(pool.map(_model, range(MODELS), chunksize=20)))
    models = models.reshape(MODELS, -1).astype(np.float32)
    mean = models.mean(axis=0)
    models = (models - mean) / MODELS**0.5
    rng = np.random.default_rng(seed)
    made = np.empty((count, SIDE, SIDE), np.uint8)
    for start in range(0, count, 2000):
        part = made[start : start + 2000]
        drawn = rng.standard_normal((len(part), MODELS), dtype=np.float32) @ models
        part[:] = np.clip(mean + drawn, 0, 255).reshape(part.shape)
    return made


def plant(made: np.ndarray, *, seed: int) -> np.ndarray:
    """Return the patterns, the last of them replaced by twins of the first."""
    count = int(TWINS * len(made))
    twins = made[:count].astype(np.float32) * 1.1 + 5
    twins += np.random.default_rng(seed).normal(scale=6, size=twins.shape)
    twins[::2] = twins[::2, :, ::-1]
    made[len(made) - count :] = np.clip(twins, 0, 255)
    return made


def measure(count: int) -> dict:
    """Search `count` patterns; return seconds, peak MiB, and what share of the twins was found."""
    made = plant(patterns(count, seed=0), seed=1)
    before = peak_memory_mb()
    start, used = time.perf_counter(), time.process_time()
    pairs = near_duplicates(made, threshold=THRESHOLD)
    seconds, used = time.perf_counter() - start, time.process_time() - used
    planted = int(TWINS * count)
    shift = pairs.second - pairs.first == count - planted
    found = int((shift & (pairs.first < planted)).sum())
    return {
        "images": count,
        "seconds": seconds,
        "processor_seconds": used,
        "before_mb": before,
        "peak_mb": peak_memory_mb(),
        "planted": planted,
        "found": found,
        "others": len(pairs.first) - found,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("count", type=int, help=f"how many patterns, at least {FEWEST}")
    args = parser.parse_args()
    if args.count < FEWEST:
        parser.error(
            f"count must be at least {FEWEST}, of which one is a twin. Received: {args.count}"
        )
    print(json.dumps(measure(args.count)))


def _model(index: int) -> np.ndarray:
    return fingerprint(phantom_scan(7, index))


if __name__ == "__main__":
    main()
