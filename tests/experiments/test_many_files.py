"""The benchmark of many files: files with repeats, and how many of these are found."""

import shutil

import numpy as np
import pytest

from breastus.data.images import read_image
from breastus.data.near_duplicates.search import SIDE
from breastus.errors import ConfigError
from experiments.benchmarks import many_files


@pytest.fixture
def few_patterns(monkeypatch):
    """Smooth random patterns instead of simulated ones, which take a minute."""

    def patterns(count: int, *, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        coarse = rng.uniform(40, 200, (count, 8, 8))
        return np.kron(coarse, np.ones((SIDE // 8, SIDE // 8))).astype(np.uint8)

    monkeypatch.setattr(many_files, "patterns", patterns)


@pytest.mark.slow
def test_repeats_are_written_and_counted(tmp_path, few_patterns):
    facts = many_files.write_files(tmp_path / "files", 200)
    files = sorted((tmp_path / "files").rglob("*.png"))
    assert len(files) == 200
    assert facts["bytes"] == pytest.approx(np.mean([file.stat().st_size for file in files]))
    assert facts["pixels"] == pytest.approx(np.mean([read_image(f)[..., 0].size for f in files]))
    found = many_files.prepare(tmp_path / "files", 200)
    assert (found["images"], found["repeated"], found["found"], found["others"]) == (200, 2, 2, 0)
    # A second time, over the output of the first.
    assert many_files.prepare(tmp_path / "files", 100)["found"] == 1


def test_existing_files_are_used_again(tmp_path, few_patterns):
    folder = tmp_path / "files"
    many_files.write_files(folder, 10)
    shutil.rmtree(folder / "000")
    assert many_files.write_files(folder, 10)["images"] == 10
    assert not (folder / "000").exists()


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="--folder"):
        many_files.write_files(tmp_path, 10)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_growth_is_compared_with_n_log_n():
    row = {"peak_mb": 300.0, "repeated": 1, "found": 1, "others": 0}
    rows = [
        {**row, "images": 100, "processor_seconds": 100.0},
        {**row, "images": 10_000, "processor_seconds": 15_000.0},
    ]
    text = many_files.report(rows, {"bytes": 136_000, "pixels": 310_000})[-1]
    assert "factor of 150.0" in text
    assert "factor of 200.0" in text
