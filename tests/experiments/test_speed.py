"""The speed benchmark: ratios, kept figures, and variants that fail."""

import json
import re
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import breastus

ROOT = Path(__file__).parents[2]
SPEED = ROOT / "experiments" / "benchmarks" / "speed"


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)


@pytest.fixture
def results(tmp_path):
    """Results in which the CNN trains twice as fast as PyTorch's best, at half the peak."""
    from experiments.benchmarks.speed.figures import Figures
    from experiments.benchmarks.speed.report import GFLOPS
    from experiments.benchmarks.speed.variants import variants

    results = Figures(tmp_path / "BENCH.json", {"machine": "a machine", "versions": {"keras": "3"}})
    image = 1e9 * 3 * GFLOPS["cnn"]
    for variant in variants(("peak", "cnn", "augmentation")):
        if variant.part == "peak":
            measurements = {"product": {"count": 100 * image, "seconds": [1.0, 2.0, 0.5]}}
        elif variant.job.get("compiled"):
            results.add(variant.key, {"error": "no compiler | found"})
            continue
        elif variant.part == "cnn":
            rate = 50 if variant.role == "ours" else 25
            measurements = {
                "train": {"count": rate, "seconds": [1.0, 1.0, 2.0]},
                "predict": {"error": "RuntimeError: no"},
            }
        else:
            measurements = {"images": {"count": 128, "seconds": [1.0]}}
        for _ in range(2):
            results.add(variant.key, {"measurements": measurements})
    return results


def test_ratios_and_shares_follow_from_the_medians(results):
    from experiments.benchmarks.speed.report import page

    text = page(results, "the command")
    assert re.search(r"training the CNN \| 50.0 .* \| 25.0 .* 2.00 times \| 3 times \| not", text)
    assert re.search(r"training the CNN, of the peak .* 50% \| 75% \| not met", text)
    assert "augmentation, per core | 128 " in text
    assert "prediction of the CNN" not in text, "no figures, no ratio"
    assert "Swin" not in text, "not measured, not mentioned"
    assert "| breastus | float32 | 50.0 (25.0 to 50.0) | 50% | could not run: RuntimeError" in text
    assert text.count("could not run: no compiler / found") == 8, "bars would break the table"


def test_a_new_run_keeps_what_it_does_not_measure(results, tmp_path):
    from experiments.benchmarks.speed.figures import Figures

    again = Figures(results.path, results.where)
    assert again.rounds == results.rounds
    again.forget("cnn | breastus | float32")
    again.add("cnn | breastus | float32", {"error": "stopped"})
    assert json.loads(results.path.read_text())["rounds"] == again.rounds
    elsewhere = Figures(results.path, {**results.where, "machine": "another"})
    assert not elsewhere.rounds, "figures of two machines are not compared"


def test_operations_of_the_networks():
    from experiments.benchmarks.speed.report import GFLOPS

    model = breastus.build_model("cnn", num_classes=2, image_size=224)
    macs = 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
            places = np.prod(layer.output.shape[1:-1], initial=1.0)
            macs += places * np.prod(layer.kernel.shape)
    assert GFLOPS["cnn"] == pytest.approx(2e-9 * macs)
    # Liu et al., ICCV 2021, table 1: 4.5 G multiply-adds.
    assert GFLOPS["swin"] / 2 == pytest.approx(4.5, abs=0.05)


def test_a_variant_that_fails_gives_the_reason(tmp_path):
    from experiments.benchmarks.speed.__main__ import Workers

    workers = Workers(tmp_path / "nowhere")
    assert "make bench" in workers.ask("rivals", {"what": "versions"})["error"]
    assert "KeyError: 'unknown'" in workers.ask("ours", {"what": "unknown"})["error"]
    hanging = Workers(tmp_path, launcher=f"{sys.executable} -S -c 'import time; time.sleep(9)'")
    assert "not done" in Workers(tmp_path, hanging.launcher, limit=0.2).ask("ours", {})["error"]


def test_warm_up_and_failures_do_not_count():
    from experiments.benchmarks.speed.timing import measured

    calls = []
    result = measured(7, lambda: calls.append(0), seconds=0.0)
    assert result["count"] == 7
    assert len(result["seconds"]) == 3 == len(calls) - 3

    def fails():
        raise MemoryError("\n  out of it\n")

    assert measured(1, fails, seconds=0.0) == {"error": "MemoryError: out of it"}


def test_every_variant_has_a_key_of_its_own_and_a_worker():
    from experiments.benchmarks.speed.variants import variants

    keys = [variant.key for variant in variants()]
    assert len(set(keys)) == len(keys)
    workers = {variant.worker for variant in variants()}
    assert all((SPEED / f"{name}.py").exists() for name in workers)
