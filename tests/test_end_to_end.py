"""On real images, once from the folder to the page: short, so what it scores says nothing."""

import json
import re

import pandas as pd
import pytest

from breastus.cli.main import main

SHORT = [
    *("--set", "training.epochs=2", "--set", "model.image_size=64"),
    *("--set", "evaluation.resamples=200"),
]


@pytest.mark.data
def test_busi_in_and_an_outside_hospital_checked(real_data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    busi = str(real_data / "busi")
    assert main(["train", "cnn", "--data", busi, "--publish", "models/cnn", *SHORT]) == 0
    run = tmp_path / "runs" / "cnn"

    manifest = pd.read_csv(run / "manifest.csv", keep_default_na=False)
    splits = pd.read_csv(run / "splits.csv").merge(manifest, on="image_id")
    assert len(manifest) == 780
    sizes = manifest["group_id"].value_counts()
    assert (sizes > 1).sum() == 153  # as many as Pawlowska et al. found by eye
    assert sizes[sizes > 1].sum() == 346
    assert (splits["excluded"] == "").all()
    assert (splits.groupby("group_id")["split"].nunique() == 1).all()
    test = pd.read_csv(run / "predictions_test.csv")
    assert set(test["image_id"]) == set(splits.loc[splits["split"] == "test", "image_id"])
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["test"]["n"] == len(test)
    assert metrics["published_baseline"]["confusion_matrix"] == [[21, 5], [14, 52]]
    assert "never seen a patient" not in (run / "report.html").read_text()

    images = sorted((real_data / "bus_uclm_sample" / "BUS-UCLM" / "images").glob("*.png"))[:3]
    capsys.readouterr()
    assert main(["predict", "models/cnn", *map(str, images)]) == 0
    text = capsys.readouterr().out.splitlines()
    assert len(text) == len(images)
    for line, path in zip(text, images, strict=True):
        assert re.match(rf"{re.escape(str(path))}: (no_)?lump, P\(lump\) = [01]\.\d{{3,}}, ", line)
        assert "trained_on_phantoms" not in line

    outside = str(real_data / "bus_uclm_sample")
    assert main(["check", "models/cnn", "--data", outside, "--count", "4"]) == 0
    page = (tmp_path / "check.html").read_text()
    assert page.count("data:image/png;base64,") == 4
    assert "Known finding: normal" in page
