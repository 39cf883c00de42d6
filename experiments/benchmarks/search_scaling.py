"""How the search for near-duplicates scales with the number of images

The patterns are random, with the mean and the covariance of the fingerprints of 1,000 phantoms, so
that unrelated images resemble each other as phantoms do. One in a hundred is repeated, brighter and
noisy, every other one mirrored. Each size runs in its own process.

    python -m experiments.benchmarks.search_scaling --data path/to/BUSI

It records what it measures in `records/growth/`; `python -m experiments.results` writes the table.
Two cores: 10 minutes for 1,000 to 100,000 images.
"""

import argparse
import json
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from breastus.data.annotations.flags import annotation_flags
from breastus.data.images import ImageFile
from breastus.data.near_duplicates.search import SIDE, fingerprint, near_duplicates
from breastus.data.sources import busi
from breastus.data.sources.class_names import ClassNames
from breastus.phantoms.simulation import simulate_phantom
from breastus.runs.environment import peak_memory_mb
from experiments.benchmarks.process import measure_apart
from experiments.pages import fact_list, facts_here, run_script, table, title_and_text
from experiments.records import measurement_facts, write_measurement

EXPERIMENT = "growth"
SIZES = (1000, 10_000, 30_000, 100_000)
PHANTOMS, THRESHOLD, REPEATED = 1000, 0.76, 0.01


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of BUSI, for the steps before the search")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one)))
        return
    if args.data is None:
        parser.error("--data must name the folder of BUSI.")
    facts = facts_here("python -m experiments.benchmarks.search_scaling --data ...")
    steps = milliseconds_an_image(args.data)
    module = "experiments.benchmarks.search_scaling"
    found = [measure_apart(module, "--one", size) for size in SIZES]
    write_measurement(EXPERIMENT, {"facts": facts, "found": found, "steps": steps})


def section(record: dict) -> str:
    """Return the text of the section `growth` of RESULTS.md."""
    steps = record["steps"]
    each = ", ".join(f"{name} {value:.0f}" for name, value in steps.items())
    lines = [
        *title_and_text(__doc__),
        "",
        *fact_list(measurement_facts(EXPERIMENT, record)),
        "",
        *scaling_table(record["found"], unit="seconds", others="other pairs"),
        "",
        f"Before the search, on BUSI, processor milliseconds an image: {each}; together "
        f"{sum(steps.values()):.0f}. `many_files` measures both for a hundred thousand files.",
    ]
    return "\n".join(lines)


def scaling_table(found: list[dict], *, unit: str, others: str) -> list[str]:
    """Return the table of measurements at several sizes.

    Args:
        found: dictionaries as from `measure`.
        unit: "seconds" or "minutes".
        others: heading of the column of images that are no repeats.
    """
    # Not the wall clock, which says little about a machine that is busy with other work.
    divisor, digits = {"seconds": (1, 0), "minutes": (60, 1)}[unit]
    rows = []
    for one in found:
        time_used = f"{one['processor_seconds'] / divisor:.{digits}f}"
        repeats = f"{one['found']} of {one['repeated']}"
        rows.append(
            [f"{one['images']:,}", time_used, f"{one['peak_mb']:.0f}", repeats, one["others"]]
        )
    columns = ["images", f"processor {unit}", "peak memory in MiB", "repeats found", others]
    return table(columns, rows)


def patterns(count: int, *, seed: int) -> np.ndarray:
    """Return uint8 [count, 64, 64], of which no two show the same."""
    # Spawned, not forked: a forked copy of a process with threads can wait for them forever.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        models = np.stack(list(pool.map(_phantom_fingerprint, range(PHANTOMS), chunksize=20)))
    models = models.reshape(PHANTOMS, -1).astype(np.float32)
    mean = models.mean(axis=0)
    models = (models - mean) / PHANTOMS**0.5
    rng = np.random.default_rng(seed)
    made = np.empty((count, SIDE, SIDE), np.uint8)
    for start in range(0, count, 2000):
        part = made[start : start + 2000]
        drawn = rng.standard_normal((len(part), PHANTOMS), dtype=np.float32) @ models
        part[:] = np.clip(mean + drawn, 0, 255).reshape(part.shape)
    return made


def _phantom_fingerprint(index: int) -> np.ndarray:
    return fingerprint(np.repeat(simulate_phantom(7, index).image[..., None], 3, axis=-1))


def repeat_first(made: np.ndarray, *, seed: int) -> np.ndarray:
    """Return the patterns, the last of them replaced by altered copies of the first."""
    count = int(REPEATED * len(made))
    copies = made[:count].astype(np.float32) * 1.1 + 5
    copies += np.random.default_rng(seed).normal(scale=6, size=copies.shape)
    copies[::2] = copies[::2, :, ::-1]
    made[len(made) - count :] = np.clip(copies, 0, 255)
    return made


def measure(count: int) -> dict:
    """Search `count` patterns; return the processor time, peak MiB and the repeats found."""
    made = repeat_first(patterns(count, seed=0), seed=1)
    used = time.process_time()
    pairs = near_duplicates(made, threshold=THRESHOLD)
    used = time.process_time() - used
    repeated = int(REPEATED * count)
    is_repeat = pairs.second - pairs.first == count - repeated
    found = int((is_repeat & (pairs.first < repeated)).sum())
    return {
        "images": count,
        "processor_seconds": used,
        "peak_mb": peak_memory_mb(),
        "repeated": repeated,
        "found": found,
        "others": len(pairs.first) - found,
    }


def milliseconds_an_image(folder: Path) -> dict[str, float]:
    """Return the processor time of reading, fingerprint and flags of an image of BUSI."""
    paths = [image.path for image in busi.read(folder, ClassNames()).images]
    spent = dict.fromkeys(("reading and hashing", "fingerprint", "flags"), 0.0)
    for path in paths:
        times = [time.process_time()]
        pixels = ImageFile.read(path).pixels
        times.append(time.process_time())
        fingerprint(pixels)
        times.append(time.process_time())
        annotation_flags(pixels)
        times.append(time.process_time())
        for name, seconds in zip(spent, np.diff(times), strict=True):
            spent[name] += 1000 * seconds / len(paths)
    return spent


if __name__ == "__main__":
    run_script(main)
