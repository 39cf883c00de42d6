"""What preparing a hundred thousand image files takes, from the files to manifest and splits.

    python -m experiments.benchmarks.many_files --folder path/to/empty/folder

It takes about 25 minutes and 20 GB.

The files are PNGs of about BUSI's size, in height, width and bytes: random patterns with the mean
and the covariance of phantoms (as in `experiments/growth.py`), enlarged, under speckle. Every
hundredth is the one before it again, brighter and noisy, half of them mirrored. `breastus data
prepare` is then run on the first 10,000, 30,000 and 100,000 of them (`--sizes`), each time in a
process of its own: reading, hashing, flags, near-duplicates, groups, splits.
"""

import argparse
import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from breastus.errors import ConfigError, RunError
from breastus.runs.environment import (
    describe_hardware,
    hardware,
    peak_memory_mb,
    usable_cores,
)
from breastus.utils.opencv import cv2
from experiments.benchmarks.search_scaling import patterns
from experiments.pages import RESULTS, ROOT, run_script, write_section

SIZES = (10_000, 30_000, 100_000)
TWIN_EVERY = 100
# Standard deviation in grey levels, and size in pixels; with these a file has about as many bytes
# as one of BUSI.
SPECKLE, GRAIN = 5.0, 1.5
TABLE, FACTS = "images.csv", "facts.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="empty, or filled by this")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--prepare", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.prepare is not None:
        print(json.dumps(prepare(args.folder, args.prepare)))
        return
    facts = write_files(args.folder, max(args.sizes))
    load = os.getloadavg()[0]
    rows = [prepared_apart(args.folder, size) for size in sorted(args.sizes)]
    text = "\n".join(report(rows, facts, load))
    write_section(args.out, "many-files", text)
    print(text)


def write_files(folder: Path, count: int) -> dict:
    """Write `count` images in subfolders of 1,000, unless they are there; return their mean size.

    Raises:
        ConfigError: when the folder holds something else.
    """
    facts = folder / FACTS
    if facts.exists():
        known = json.loads(facts.read_text())
        if known["images"] >= count:
            return known
    elif folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"--folder must be empty or not there yet. Received: {folder}")
    starts = range(0, count, 1000)
    made = patterns(count, seed=0)
    jobs = [(folder, start, made[start : start + 1000]) for start in starts]
    with ThreadPoolExecutor(usable_cores()) as pool:  # OpenCV lets go of the interpreter
        done = pool.map(_write_thousand, *zip(*jobs, strict=True))
        sizes = np.array(list(tqdm(done, "writing", len(jobs), unit="thousand", disable=None)))
    mean = sizes.sum(axis=0) / count
    known = {"images": count, "bytes": mean[0], "pixels": mean[1]}
    facts.write_text(json.dumps(known))
    return known


def _write_thousand(folder: Path, start: int, made: np.ndarray) -> tuple[int, int]:
    rng = np.random.default_rng([2, start])
    grain = [_grain(rng) for _ in range(8)]
    place = folder / f"{start // 1000:03d}"
    place.mkdir(parents=True, exist_ok=True)
    total = pixels = 0
    for offset, pattern in enumerate(made):
        number = start + offset
        twin = number % TWIN_EVERY == TWIN_EVERY - 1
        height, width = int(rng.integers(420, 540)), int(rng.integers(540, 760))
        image = made[offset - 1] if twin else pattern
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
        image = image.astype(np.float32) + grain[number % len(grain)][:height, :width]
        if twin:
            image = image * 1.1 + 5
            if number % (2 * TWIN_EVERY) < TWIN_EVERY:
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
    """Prepare the first `count` images; return seconds, peak MiB, and how many twins were found."""
    from breastus.cli.main import main as breastus

    table, out = folder / TABLE, folder / "prepared"
    shutil.rmtree(out, ignore_errors=True)  # of the size before; it would not be overwritten
    names = (f"{i // 1000:03d}/{i:06d}.png,{('no_lump', 'lump')[i % 10 > 2]}" for i in range(count))
    table.write_text("\n".join(["path,label", *names]) + "\n")
    start, used = time.perf_counter(), time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        status = breastus(["data", "prepare", "--data", str(table), "--out", str(out)])
    if status:
        raise RunError(f"breastus data prepare ended with status {status}.")
    seconds, used = time.perf_counter() - start, time.process_time() - used

    from breastus.data.manifest.build import read_manifest

    groups = read_manifest(out / "manifest.csv")["group_id"].to_numpy()
    last = np.arange(TWIN_EVERY - 1, count, TWIN_EVERY)
    found = int((groups[last] == groups[last - 1]).sum())
    return {
        "images": count,
        "seconds": seconds,
        "processor_seconds": used,
        "peak_mb": peak_memory_mb(),
        "planted": len(last),
        "found": found,
        "others": count - len(set(groups)) - found,
    }


def prepared_apart(folder: Path, size: int) -> dict:
    """Return what `prepare` measures in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "experiments.benchmarks.many_files",
        "--folder",
        str(folder.resolve()),
    ]
    command += ["--prepare", str(size)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise RunError(f"{size} images could not be prepared: {done.stderr[-500:]}")
    return json.loads(done.stdout.splitlines()[-1])


def report(rows: list[dict], facts: dict, load: float) -> list[str]:
    """Return the section of RESULTS.md."""
    lines = [
        "## From a hundred thousand files to manifest and splits",
        "",
        "- Command: `python -m experiments.benchmarks.many_files --folder ...`",
        f"- Machine: {describe_hardware(hardware())}",
        f"- Other work on the machine: load average {load:.1f} at the start; a busy machine makes "
        "every time below longer",
        "",
        f"PNG files of {facts['bytes'] / 1000:.0f} kB and {facts['pixels'] / 1e6:.2f} million "
        "pixels on average (BUSI: 136 kB and 0.31 million), one in a hundred there twice. Times "
        "are of `breastus data prepare` with its default settings, everything included.",
        "",
        "| images | minutes | processor minutes | peak memory, MiB | twins found | others joined |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['images']:,} | {row['seconds'] / 60:.1f} | {row['processor_seconds'] / 60:.1f} | "
        f"{row['peak_mb']:.0f} | {row['found']} of {row['planted']} | {row['others']} |"
        for row in rows
    ]
    if len(rows) > 1:
        first, last = rows[0], rows[-1]
        ratio, size = last["processor_seconds"] / first["processor_seconds"], last["images"]
        fair = size * np.log(size) / (first["images"] * np.log(first["images"]))
        lines += [
            "",
            f"From {first['images']:,} to {size:,} images the processor time grows {ratio:.1f} "
            f"times; as n log n it would grow {fair:.1f} times.",
        ]
    return lines


if __name__ == "__main__":
    run_script(main)
