"""Damaged image and DICOM files give an `ImageError` or an image, fast and in little memory."""

import json
import subprocess
import sys
from pathlib import Path

import fuzzing
import numpy as np
import pytest

from breastus.data.images import read_image

HERE = Path(__file__).parents[1] / "helpers"


def fuzz(first: int, count: int, folder: Path, *mode: str) -> dict:
    """Read damaged files in a process of its own, which a crash ends instead of this one."""
    done = subprocess.run(
        [sys.executable, HERE / "fuzzing.py", str(first), str(count), str(folder), *mode],
        capture_output=True,
        text=True,
        timeout=60 + count,  # a second a file; the process itself ends when one takes too long
        check=False,
    )
    where = (folder / "at").read_text() if (folder / "at").exists() else "the start"
    assert done.returncode == 0, f"ended at {where}: {done.returncode}\n{done.stderr[-3000:]}"
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["failures"] == []
    assert found["slowest"][0] < fuzzing.SECONDS, found["slowest"]
    limit = fuzzing.GRAPH_MEGABYTES if mode else fuzzing.MEGABYTES
    assert found["peak_mb"] < limit, found["peak_mb"]
    assert fuzzing.MARKER not in done.stdout + done.stderr
    return found


def test_whole_files_are_read(tmp_path):
    for name, data in fuzzing.whole_files().items():
        path = tmp_path / name
        path.write_bytes(data)
        several = name == "jpeg.dcm" or "frames" in name
        assert read_image(f"{path}#frame=1" if several else path).shape[2] == 3


def test_a_file_is_the_same_by_its_number():
    made = [fuzzing.damaged(number) for number in range(60)]
    assert made == [fuzzing.damaged(number) for number in range(60)]
    kinds = {name.rpartition(".")[2] for name, _ in made}
    assert kinds == {"png", "jpg", "bmp", "tif", "webp", "dcm"}
    changed = [data != fuzzing.whole_files()[name] for name, data in made]
    assert np.mean(changed) > 0.9


def test_some_damaged_files(tmp_path):
    found = fuzz(0, 500, tmp_path)
    # Were nearly all of them refused, or none, the damage would be too crude, or no damage.
    assert found["read"] > 50
    assert found["refused"] > 150


def test_some_damaged_files_look_alike_in_the_graph(tmp_path):
    graph, numbers = fuzzing.Graph(), range(500, 700)
    for number in numbers:
        name, data = fuzzing.damaged(number)
        path = tmp_path / name
        path.write_bytes(data)
        fuzzing.read(path, graph)
    assert graph.found["decoded"] > 2


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_ten_thousand_damaged_files(tmp_path, part):
    found = fuzz(1000 + 2500 * part, 2500, tmp_path, "graph")
    assert found["decoded"] > 50
