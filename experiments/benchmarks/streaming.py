"""Memory while training on a data set that does not fit

A thousand phantoms are simulated and linked a hundred times each, so that there are 100,000 files
to open, read and decode. The study's CNN trains on them for one epoch at 64 x 64 pixels with no
images kept in memory (`training.cache_mb=0`), while the resident memory is read once a second.

    python -m experiments.benchmarks.streaming        # writes into BENCH.md

Two cores: some minutes (`--images` for fewer).
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
from experiments.pages import BENCH, run_script, table, title_and_text, write_section

DISTINCT, SIZE, BATCH = 1000, 64, 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000, help="default: 100000")
    parser.add_argument("--out", type=Path, default=BENCH, help="page (default: BENCH.md)")
    args = parser.parse_args()
    import_tensorflow()

    from breastus.runs.environment import describe_hardware, hardware

    with tempfile.TemporaryDirectory() as folder:
        seconds, memory = train_streamed(Path(folder), args.images)
    rows = [
        ["images", f"{args.images:,}"],
        ["images a second: read, decoded, augmented, trained on", f"{args.images / seconds:.0f}"],
    ]
    for share in (10, 25, 50, 75, 99):
        size = memory[len(memory) * share // 100]
        rows.append([f"resident memory after {share} % of the time", f"{size:.0f} MiB"])
    lines = [
        *title_and_text(__doc__),
        "",
        f"`python -m experiments.benchmarks.streaming`; {describe_hardware(hardware())}",
        "",
        *table(["", ""], rows),
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

    found = load_manifest(str(write_phantoms(folder / "phantoms", count=DISTINCT, seed=0)))
    rows = []
    for number in range(images):
        row = found.iloc[number % len(found)]
        link = folder / f"{number:06d}{Path(row['path']).suffix}"
        os.link(row["path"], link)
        rows.append({"path": str(link), "label": row["label"]})
    train = pd.DataFrame(rows)
    training = {"epochs": 1, "batch_size": BATCH, "cache_mb": 0}
    config = Config.from_dict({"model": {"image_size": SIZE}, "training": training})
    few = train[:BATCH]
    trainer = Trainer(folder, config, {"train": train, "val": few, "test": few})
    start = time.perf_counter()
    with resident_memory() as sizes:
        trainer.fit()
    return time.perf_counter() - start, sizes


@contextlib.contextmanager
def resident_memory() -> Iterator[list[float]]:
    """Yield a list that grows by the resident MiB of this process once a second."""
    sizes: list[float] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(1.0):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            sizes.append(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield sizes
    finally:
        done.set()
        thread.join()


if __name__ == "__main__":
    run_script(main)
