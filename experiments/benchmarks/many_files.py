"""Preparing a hundred thousand image files: from the files to manifest and splits

The files are PNGs with about the height, width and bytes of BUSI: random patterns with the mean and
the covariance of phantoms, enlarged, under speckle. Every hundredth repeats the one before it,
brighter and noisy, half of them mirrored. `breastus data prepare` with its default settings
(reading, hashing, flags, near-duplicates, groups, splits) runs on the first 10,000, 30,000 and
100,000 files, each time in its own process.

The table was measured with an approximate search for near-duplicates. The exact search that has
replaced it takes longer for a hundred thousand images: the section above shows both its time and
what it finds.

    python -m experiments.benchmarks.many_files --folder path/to/empty/folder

It records what it measures in `records/many-files/`; `python -m experiments.results` writes the
table. Two cores: about 25 minutes and 20 GB of disk.
"""

import argparse
import contextlib
import io
import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from breastus.errors import ConfigError, RunError
from breastus.runs.environment import peak_memory_mb, usable_cores
from breastus.utils.opencv import cv2
from experiments.benchmarks.process import measure_apart
from experiments.benchmarks.search_scaling import patterns, scaling_table
from experiments.pages import fact_list, facts_here, run_script, title_and_text
from experiments.records import measurement_facts, write_measurement

EXPERIMENT = "many-files"
SIZES = (10_000, 30_000, 100_000)
REPEAT_EVERY = 100
# Standard deviation in grey levels, and size in pixels; with these a file has about as many bytes
# as one of BUSI.
SPECKLE, GRAIN = 5.0, 1.5
TABLE, FACTS = "images.csv", "facts.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="empty, or filled by this")
    parser.add_argument("--prepare", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.prepare is not None:
        print(json.dumps(prepare(args.folder, args.prepare)))
        return
    files = write_files(args.folder, max(SIZES))
    facts = facts_here("python -m experiments.benchmarks.many_files --folder ...")
    module, folder = "experiments.benchmarks.many_files", args.folder.resolve()
    found = [measure_apart(module, "--folder", folder, "--prepare", size) for size in SIZES]
    write_measurement(EXPERIMENT, {"facts": facts, "found": found, "files": files})


def section(record: dict) -> str:
    """Return the text of the section `many-files` of RESULTS.md."""
    facts = fact_list(measurement_facts(EXPERIMENT, record))
    lines = report(record["found"], record["files"])
    return "\n".join([*title_and_text(__doc__), "", *facts, "", *lines])


def write_files(folder: Path, count: int) -> dict:
    """Write `count` images in subfolders of 1,000, unless they exist; return their mean size.

    Raises:
        ConfigError: when the folder holds something else.
    """
    path = folder / FACTS
    if path.exists():
        known = json.loads(path.read_text())
        if known["images"] >= count:
            return known
    elif folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"--folder must be empty or new. Received: {folder}")
    made = patterns(count, seed=0)
    jobs = [(folder, start, made[start : start + 1000]) for start in range(0, count, 1000)]
    with ThreadPoolExecutor(usable_cores()) as pool:  # OpenCV releases the interpreter lock
        done = pool.map(_write_thousand, *zip(*jobs, strict=True))
        sizes = np.array(list(tqdm(done, "writing", len(jobs), unit="thousand", disable=None)))
    mean = sizes.sum(axis=0) / count
    known = {"images": count, "bytes": mean[0], "pixels": mean[1]}
    path.write_text(json.dumps(known))
    return known


def _write_thousand(folder: Path, start: int, made: np.ndarray) -> tuple[int, int]:
    rng = np.random.default_rng([2, start])
    grain = [_grain(rng) for _ in range(8)]
    place = folder / f"{start // 1000:03d}"
    place.mkdir(parents=True, exist_ok=True)
    total = pixels = 0
    for offset, pattern in enumerate(made):
        number = start + offset
        repeat = number % REPEAT_EVERY == REPEAT_EVERY - 1
        height, width = int(rng.integers(420, 540)), int(rng.integers(540, 760))
        image = made[offset - 1] if repeat else pattern
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
        image = image.astype(np.float32) + grain[number % len(grain)][:height, :width]
        if repeat:
            image = image * 1.1 + 5
            if number % (2 * REPEAT_EVERY) < REPEAT_EVERY:
                image = image[:, ::-1]
        image = np.clip(image, 0, 255).astype(np.uint8)
        encoded = cv2.imencode(".png", image)[1].tobytes()
        (place / f"{number:06d}.png").write_bytes(encoded)
        total, pixels = total + len(encoded), pixels + image.size
    return total, pixels


def _grain(rng: np.random.Generator) -> np.ndarray:
    noise = cv2.GaussianBlur(rng.standard_normal((640, 800), np.float32), (0, 0), GRAIN)
    return noise * (SPECKLE / noise.std())


def prepare(folder: Path, count: int) -> dict:
    """Prepare the first `count` images; return processor time, peak MiB and repeats found."""
    from breastus.cli.main import main as breastus
    from breastus.data.manifest.schema import read_manifest

    listing, out = folder / TABLE, folder / "prepared"
    shutil.rmtree(out, ignore_errors=True)  # of the size before; it would not be overwritten
    names = (f"{i // 1000:03d}/{i:06d}.png,{('no_lump', 'lump')[i % 10 > 2]}" for i in range(count))
    listing.write_text("\n".join(["path,label", *names]) + "\n")
    used = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        status = breastus(["data", "prepare", "--data", str(listing), "--out", str(out)])
    if status:
        raise RunError(f"breastus data prepare ended with status {status}.")
    used = time.process_time() - used
    groups = read_manifest(out / "manifest.csv")["group_id"].to_numpy()
    last = np.arange(REPEAT_EVERY - 1, count, REPEAT_EVERY)
    found = int((groups[last] == groups[last - 1]).sum())
    return {
        "images": count,
        "processor_seconds": used,
        "peak_mb": peak_memory_mb(),
        "repeated": len(last),
        "found": found,
        "others": count - len(set(groups)) - found,
    }


def report(found: list[dict], files: dict) -> list[str]:
    """Return the lines of the section: sizes of the files, a table, and the growth.

    Args:
        found: one dictionary a size, as from `prepare`, sorted by size.
        files: mean bytes and pixels, as from `write_files`.
    """
    lines = [
        f"The PNG files have {files['bytes'] / 1000:.0f} kB and {files['pixels'] / 1e6:.2f} "
        "million pixels on average (BUSI: 136 kB and 0.31 million).",
        "",
        *scaling_table(found, unit="minutes", others="others joined"),
    ]
    first, last = found[0], found[-1]
    if last is not first:
        ratio, size = last["processor_seconds"] / first["processor_seconds"], last["images"]
        expected = size * np.log(size) / (first["images"] * np.log(first["images"]))
        lines += [
            "",
            f"From {first['images']:,} to {size:,} images the processor time grows by a factor of "
            f"{ratio:.1f}; growth as n log n would be a factor of {expected:.1f}.",
        ]
    return lines


if __name__ == "__main__":
    run_script(main)
