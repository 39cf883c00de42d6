"""Does memory stay flat when a data set does not fit? Written into BENCH.md.

    python -m experiments.benchmarks.streaming                   # 100,000 images, some minutes

Simulates a thousand phantoms and links each a hundred times, so that there are 100,000 files to
open, read and decode; trains the study's CNN on them for one epoch with nothing kept in memory
(training.cache_mb=0), and reads off this process' resident memory as the images go by. The images
are 64 x 64 pixels for the network; the files are of full size.
"""

import argparse
import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from breastus.cli.quiet import import_tensorflow
from experiments.pages import BENCH, run_script, write_section

DISTINCT, SIZE, BATCH = 1000, 64, 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000, help="default: 100000")
    parser.add_argument("--out", type=Path, default=BENCH)
    args = parser.parse_args()
    import_tensorflow()

    with tempfile.TemporaryDirectory() as folder:
        seconds, memory = train_streamed(Path(folder), args.images)

    from breastus.runs.environment import describe_hardware, hardware

    rows = [
        ("images", f"{args.images:,}"),
        ("images a second, read, decoded, augmented and learned", f"{args.images / seconds:.0f}"),
        *(
            (f"resident memory after {share} % of the time", f"{size:.0f} MiB")
            for share in (10, 25, 50, 75, 99)
            for size in [memory[len(memory) * share // 100]]
        ),
    ]
    lines = [
        "## A data set that does not fit",
        "",
        f"`python -m experiments.benchmarks.streaming`; {describe_hardware(hardware())}",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in rows),
    ]
    write_section(args.out, "streaming", "\n".join(lines))
    print("\n".join(lines))


def train_streamed(folder: Path, images: int) -> tuple[float, list[float]]:
    """Train for an epoch; return its seconds, and the resident MiB in each of them."""
    import pandas as pd

    from breastus.config.schema import Config
    from breastus.data.manifest.build import load_manifest
    from breastus.data.sources.phantom import write_phantoms
    from breastus.training.trainer import Trainer

    root = write_phantoms(folder / "phantoms", count=DISTINCT, seed=0)
    found = load_manifest(str(root))
    paths, labels = [], []
    for number in range(images):
        row = found.iloc[number % len(found)]
        link = folder / f"{number:06d}{Path(row['path']).suffix}"
        os.link(row["path"], link)
        paths.append(str(link))
        labels.append(row["label"])
    table = pd.DataFrame({"path": paths, "label": labels})

    config = Config.from_dict(
        {
            "model": {"image_size": SIZE},
            "training": {"epochs": 1, "batch_size": BATCH, "cache_mb": 0},
        }
    )
    few = table[:BATCH]
    trainer = Trainer(folder, config, {"train": table, "val": few, "test": few})
    start = time.perf_counter()
    with resident_memory() as sizes:
        trainer.fit()
    return time.perf_counter() - start, sizes


@contextlib.contextmanager
def resident_memory() -> Iterator[list[float]]:
    """Yield a list to which this process' resident MiB are added, once a second."""
    sizes: list[float] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(1.0):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            sizes.append(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield sizes
    finally:
        over.set()
        thread.join()


if __name__ == "__main__":
    run_script(main)
