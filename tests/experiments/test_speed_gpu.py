"""The benchmark on a GPU: what comes first, what the page says, and what is cut off."""

import sys

import pytest

from experiments.benchmarks.speed import gpu
from experiments.benchmarks.speed.figures import Figures

WHERE = {"machine": "16 cores, one GPU", "versions": {"keras": "3"}, "driver": "580", "card": "X"}


@pytest.fixture
def figures(tmp_path):
    """breastus trains the CNN at 100, 200, ... images a second, PyTorch at half of that."""
    figures = Figures(tmp_path / "speed_gpu.json", WHERE)
    cnn = [variant for variant in gpu.gpu_variants() if variant.part == "cnn"]
    for number, variant in enumerate(cnn, 2):
        rate = 100 * (number // 2) / (1 if variant.role == "ours" else 2)
        found = {name: {"count": rate, "seconds": [1.0]} for name in ("train", "predict", "fit")}
        figures.add(variant.key, {"measurements": found, "memory_mb": 1234, "first_calls": 5.5})
    return figures


def test_what_may_take_too_long_comes_last():
    variants = gpu.gpu_variants()
    assert len({variant.key for variant in variants}) == len(variants) == 16
    compiled = [bool(v.job.get("xla") or v.job.get("compiled")) for v in variants]
    assert compiled == [False] * 8 + [True] * 8
    # The comparison that matters most stands after two measurements.
    assert [(v.part, v.role) for v in variants[:2]] == [("cnn", "ours"), ("cnn", "rival")]


def test_the_page_compares_the_best_and_says_where(figures):
    text = gpu.page(figures, "the command")
    row = "| training the study's CNN | 400 (breastus, XLA, float16) "
    assert row + "| 200 (PyTorch, compiled, float16) | 2.00 times |" in text
    assert "| training Swin-T | not measured | not measured | |" in text
    assert "driver 580, card X; keras 3" in text
    assert "| breastus | bfloat16 | 100 | 100 | 100 | 1234 | 5.5 |" in text
    assert "20 epochs of 275 images, by arithmetic from `fit`: the study's CNN 13.8 s" in text


def test_what_failed_says_why(figures):
    variant = gpu.gpu_variants()[0]
    figures.forget(variant.key)
    figures.add(variant.key, {"error": "not done after 100 s | killed"})
    text = gpu.page(figures, "the command")
    assert "| breastus | bfloat16 | not done after 100 s / killed | | | | |" in text


def test_what_there_is_no_time_for_is_a_row(tmp_path, monkeypatch):
    asked = []

    def ask(self, worker, job, limit=None):
        asked.append((job["what"], limit))
        clock[0] += 40.0
        return {"measurements": {}} if job["what"] == "network" else {}

    clock = [0.0]
    monkeypatch.setattr(gpu.Workers, "ask", ask)
    monkeypatch.setattr(gpu.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(gpu, "machine_and_versions", lambda workers: dict(WHERE))
    monkeypatch.setattr(gpu, "driver", dict)
    out = tmp_path / "BENCH.md"
    command = ["gpu", "--out", str(out), "--figures", str(tmp_path / "f.json"), "--budget", "125"]
    monkeypatch.setattr(sys, "argv", command)
    gpu.main()
    assert asked == [("card", None), ("network", 85.0), ("network", 45.0)]
    assert out.read_text().count("not begun within 125 s") == 14


@pytest.mark.slow
def test_steps_in_a_row_are_measured(monkeypatch):
    variant = gpu.gpu_variants(quick=True)[0]
    result = gpu.Workers(sys.executable).ask(variant.worker, {**variant.job, "seconds": 0.1})
    assert set(result["measurements"]) == {"train", "predict", "fit"}
    for one in result["measurements"].values():
        assert one["count"] == 2
        assert min(one["seconds"]) > 0
