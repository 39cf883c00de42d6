"""The measurement of many files: it writes what it says, and counts what preparing found."""

import shutil

import numpy as np
import pytest

from breastus.data.images import read_image
from breastus.data.near_duplicates.search import SIDE
from breastus.errors import ConfigError
from experiments.benchmarks import many_files


@pytest.fixture
def few_patterns(monkeypatch):
    """Smooth random patterns instead of those like phantoms, which take a minute to simulate."""

    def patterns(count: int, *, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        coarse = rng.uniform(40, 200, (count, 8, 8))
        return np.kron(coarse, np.ones((SIDE // 8, SIDE // 8))).astype(np.uint8)

    monkeypatch.setattr(many_files, "patterns", patterns)


def test_twins_are_written_and_counted(tmp_path, few_patterns):
    facts = many_files.write_files(tmp_path / "files", 200)
    files = sorted((tmp_path / "files").rglob("*.png"))
    assert len(files) == 200
    assert facts["bytes"] == pytest.approx(np.mean([file.stat().st_size for file in files]))
    assert facts["pixels"] == pytest.approx(np.mean([read_image(f)[..., 0].size for f in files]))
    found = many_files.prepare(tmp_path / "files", 200)
    assert (found["images"], found["planted"], found["found"], found["others"]) == (200, 2, 2, 0)
    # A second time, over what the first has written.
    assert many_files.prepare(tmp_path / "files", 100)["found"] == 1


def test_files_that_are_there_are_used_again(tmp_path, few_patterns):
    folder = tmp_path / "files"
    many_files.write_files(folder, 10)
    shutil.rmtree(folder / "000")
    assert many_files.write_files(folder, 10)["images"] == 10
    assert not (folder / "000").exists()


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="must be empty"):
        many_files.write_files(tmp_path, 10)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_growth_is_held_against_n_log_n():
    row = {"seconds": 60.0, "peak_mb": 300.0, "planted": 1, "found": 1, "others": 0}
    rows = [
        {**row, "images": 100, "processor_seconds": 100.0},
        {**row, "images": 10_000, "processor_seconds": 15_000.0},
    ]
    text = many_files.report(rows, {"bytes": 136_000, "pixels": 310_000}, 0.0)[-1]
    assert "150.0 times" in text
    assert "200.0 times" in text
