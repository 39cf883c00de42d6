"""What an outsider does: export the folds, train on them with something else, and be scored."""

import json
import re
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

import breastus
from breastus.cli.main import main
from breastus.data.manifest.build import load_manifest
from breastus.data.splits import benchmark
from breastus.errors import ConfigError, DataError, RunError
from breastus.evaluation.comparison import baselines

pytestmark = pytest.mark.filterwarnings("ignore")  # few groups leave much undefined
FAST = {"resamples": 100}


@pytest.fixture(scope="module")
def folds(phantoms, tmp_path_factory):
    """The file of an export."""
    file = tmp_path_factory.mktemp("export") / "folds.csv"
    assert main(["splits", "export", "--data", str(phantoms), "--out", str(file)]) == 0
    return file


def root_of(folder, table) -> Path:
    """Return the folder that the files of an export are relative to."""
    (file,) = folder.rglob(table.index[0])
    return file.parents[len(Path(table.index[0]).parts) - 1]


@pytest.fixture(scope="module")
def predictions(folds, phantoms):
    """Out-of-fold predictions of a model that shares no code with breastus but the file."""
    table = pd.read_csv(folds)
    table = table[table["fold"].notna()].astype({"fold": int})
    root = root_of(phantoms, table.set_index("file"))
    pixels = np.stack(
        [
            np.asarray(Image.open(root / file).convert("L").resize((8, 8)), float).ravel() / 255
            for file in table["file"]
        ]
    )
    lump = (table["label"] == "lump").to_numpy()
    probability = np.empty(len(table))
    for fold in range(5):
        tested, val = table["fold"] == fold, table["fold"] == (fold + 1) % 5
        model = LogisticRegression().fit(pixels[~tested & ~val], lump[~tested & ~val])
        probability[tested] = model.predict_proba(pixels[tested])[:, 1]
    return table[["file", "fold"]].assign(probability=probability, lump=lump)


@pytest.fixture(scope="module")
def scored(predictions, folds, phantoms, tmp_path_factory):
    folder = tmp_path_factory.mktemp("score")
    file = folder / "sklearn <1>.csv"
    predictions.drop(columns="lump").to_csv(file, index=False)
    return breastus.score(file, data=phantoms, splits=folds, out=folder / "score.html", **FAST)


def test_predictions_of_another_library_are_scored(scored, predictions):
    metrics = scored.metrics
    truth, probability = predictions["lump"], predictions["probability"]
    assert metrics["roc_auc"]["value"] == pytest.approx(roc_auc_score(truth, probability))
    assert metrics["sensitivity"]["value"] == pytest.approx((probability >= 0.5)[truth].mean())
    assert metrics["roc_auc"]["ci_low"] < metrics["roc_auc"]["value"]
    assert metrics["n"] == len(predictions)
    assert metrics["folds_checked"]
    assert sorted(metrics["by_fold"]) == [0, 1, 2, 3, 4]
    assert sum(part["n"] for part in metrics["by_fold"].values()) == metrics["n"]
    assert metrics["twins"] == {"images": 0}
    assert metrics["baselines"] == {}


def test_the_page_is_one_file_that_says_what_was_checked(scored):
    html = scored.page.read_text()
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", html)).replace("\N{NO-BREAK SPACE}", " ")
    assert not re.findall(r'(?:src|href)="(?!data:|#)', html)
    assert "<script" not in html
    assert "sklearn <1>" not in html  # names are escaped
    assert "sklearn &lt;1&gt;" in html
    for words in (
        "all 40 test images",
        "each prediction states its fold",
        "no test image has a near-duplicate",
        "0.5, because none was given",
        "This is not a named split",
        "not a medical device",
        "simulated (phantoms)",
    ):
        assert words.lower() in text.lower(), words
    assert "undefined" not in scored.summary
    links = set(re.findall(r'<li><a href="#([^"]+)"', html))
    assert links == set(re.findall(r'<h2 id="([^"]+)"', html))


@pytest.mark.slow
def test_the_command_prints_numbers(predictions, folds, phantoms, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    predictions.drop(columns="lump").to_csv("p.csv", index=False)
    command = ["score", "p.csv", "--data", str(phantoms), "--splits", str(folds)]
    command += ["--set", "evaluation.resamples=100"]
    assert main(command) == 0
    text = capsys.readouterr().out
    assert "ROC-AUC" in text
    assert "Page: score.html" in text
    assert main([*command, "--format", "json", "--name", "mine"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["entry"], found["page"], found["n"]) == ("mine", "score-2.html", 40)
    assert found["split"]["name"].startswith("split-")
    assert main([*command, "--out", "score.html"]) == 1
    assert "score.html exists" in capsys.readouterr().err


@pytest.mark.slow
def test_nothing_of_this_needs_tensorflow(predictions, folds, phantoms, tmp_path):
    predictions.drop(columns="lump").to_csv(tmp_path / "p.csv", index=False)
    code = (
        "import sys, breastus\n"
        f"breastus.export_splits({str(phantoms)!r}, out='f.csv')\n"
        f"breastus.score('p.csv', data={str(phantoms)!r}, splits='f.csv', resamples=100)\n"
        "sys.exit(', '.join({'tensorflow', 'keras'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_pytorch_example_reads_the_export(folds, predictions, phantoms, monkeypatch):
    page = (Path(__file__).parents[2] / "docs" / "benchmark.md").read_text()
    (code,) = re.findall(r"```py\n(import pandas.*?)```", page, re.DOTALL)
    torch = types.ModuleType("torch.utils.data")
    torch.Dataset = object
    for name in ("torch", "torch.utils", "torch.utils.data"):
        monkeypatch.setitem(sys.modules, name, torch)
    names = {}
    exec(code, names)
    table = pd.read_csv(folds).set_index("file")
    for fold in range(5):
        seen = set()
        for part, numbers in benchmark.parts_of_fold(fold, list(range(5))).items():
            dataset = names["Fold"](fold, part, root_of(phantoms, table), np.asarray, csv=folds)
            files = dataset.table["file"].tolist()
            assert set(table.loc[files, "fold"]) == set(numbers)
            seen |= set(files)
            image, label = dataset[0]
            assert image.ndim == 3
            assert label == (table.loc[files[0], "label"] == "lump")
            assert len(dataset) == len(files)
        assert len(seen) == len(predictions)


@pytest.mark.slow
def test_a_named_split_needs_no_file_and_has_baselines(
    predictions, folds, phantoms, tmp_path, monkeypatch
):
    table = predictions.drop(columns="lump")
    with pytest.raises(DataError, match=r"give no named split .*--splits FILE.*split-"):
        breastus.score(table, data=phantoms, out=tmp_path / "a.html", **FAST)
    export = breastus.export_splits(phantoms, out=tmp_path / "again.json")
    assert export.split.name == benchmark.name_of(export.split.fingerprint)
    monkeypatch.setitem(benchmark.NAMED_SPLITS, "phantoms-v1", export.split.fingerprint)
    images = export.split.images
    pd.DataFrame(
        {
            "image": images["pixel_sha256"].str[: baselines.DIGITS],
            "frozen_features": 0.5,
            "frozen_features_threshold": 0.6,
        }
    ).sample(frac=1).to_csv(tmp_path / "phantoms-v1.csv", index=False)
    monkeypatch.setattr(baselines, "FOLDER", tmp_path)
    report = breastus.score(table, data=phantoms, out=tmp_path / "b.html", **FAST)
    assert report.metrics["split"]["named"]
    (found,) = report.metrics["baselines"].values()
    assert found["metrics"]["roc_auc"]["value"] == 0.5
    assert found["metrics"]["specificity"]["value"] == 1.0
    difference = report.metrics["roc_auc"]["value"] - 0.5
    assert found["metrics"]["roc_auc"]["difference"]["value"] == pytest.approx(difference)
    assert "Beside the baselines" in report.page.read_text()
    pd.read_csv(tmp_path / "phantoms-v1.csv", dtype=str).iloc[1:].to_csv(
        tmp_path / "phantoms-v1.csv", index=False
    )
    with pytest.raises(DataError, match="does not hold the images of phantoms-v1"):
        breastus.score(table, data=phantoms, out=tmp_path / "c.html", **FAST)


@pytest.mark.slow
def test_several_runs_are_averaged(predictions, folds, phantoms, tmp_path):
    rng = np.random.default_rng(0)
    runs = [
        predictions.drop(columns="lump").assign(
            seed=seed, probability=rng.random(len(predictions)).round(3)
        )
        for seed in range(3)
    ]
    report = breastus.score(
        pd.concat(runs), data=phantoms, splits=folds, out=tmp_path / "s.html", **FAST
    )
    each = [one["roc_auc"] for one in report.metrics["per_run"]]
    assert report.metrics["roc_auc"]["value"] == pytest.approx(np.mean(each))
    html = report.page.read_text()
    assert "Scores by run" in html
    assert "interval for other seeds and other groups" in " ".join(html.split())
    assert "Intervals: they cover another seed and other test images" in report.summary
    assert f"{np.std(each, ddof=1):.3f}" in html


@pytest.mark.slow
def test_a_split_with_twins_is_scored_with_and_without_them(phantoms, tmp_path):
    # Every second image again, saved as another file: near-duplicates across the parts.
    manifest = load_manifest(phantoms)
    rows = []
    for number, row in enumerate(manifest.itertuples()):
        pixels = Image.open(row.path).convert("L")
        folder = tmp_path / "images" / row.label
        folder.mkdir(parents=True, exist_ok=True)
        pixels.save(folder / f"{number}.png")
        rows.append((f"{row.label}/{number}.png", "test"))
        copied = (number // 2) % 2 == 0
        source = pixels if copied else pixels.transpose(Image.Transpose.ROTATE_180)
        source.crop((2, 2, *source.size)).save(folder / f"{number} again.png")
        rows.append((f"{row.label}/{number} again.png", "train" if copied else "val"))
    split = tmp_path / "random.csv"
    table = pd.DataFrame(rows, columns=["path", "split"])
    table.to_csv(split, index=False)
    tested = table[table["split"] == "test"].assign(probability=0.7).drop(columns="split")
    copied = {f"{n}.png" for n in range(len(manifest)) if (n // 2) % 2 == 0}
    with_twin = tested["path"].map(lambda path: Path(path).name in copied)
    lump = tested["path"].str.startswith("lump")
    tested["probability"] = np.where(with_twin, np.where(lump, 0.9, 0.1), 0.9)
    report = breastus.score(
        tested, data=tmp_path / "images", splits=split, out=tmp_path / "t.html", **FAST
    )
    twins = report.metrics["twins"]
    assert twins["images"] == with_twin.sum()
    with_, without = twins["attributes"][1]["subgroups"]
    assert (with_["n"], without["n"]) == (with_twin.sum(), (~with_twin).sum())
    assert (with_["specificity"]["value"], without["specificity"]["value"]) == (1.0, 0.0)
    assert (with_["roc_auc"]["value"], without["roc_auc"]["value"]) == (1.0, 0.5)
    html = report.page.read_text()
    assert "Recall with and without a twin in training" in html
    assert "ROC-AUC is 1.00 on these and 0.50 on the others" in html
    assert "with a twin in training: sensitivity 1.00" in report.summary.lower().replace(
        "twins: ", ""
    )


def test_what_cannot_be_is_refused_before_images_are_read(tmp_path, phantoms):
    table = pd.DataFrame({"image_id": ["x"], "probability": [0.5]})
    with pytest.raises(ConfigError, match=r"data\.groups must be keep"):
        breastus.score(table, data=phantoms, groups="ignore")
    with pytest.raises(ConfigError, match=r"data\.groups must be keep"):
        breastus.export_splits(phantoms, groups="ignore")
    (tmp_path / "there.csv").write_text("")
    with pytest.raises(RunError, match=r"there\.csv exists"):
        breastus.export_splits(phantoms, out=tmp_path / "there.csv")
    with pytest.raises(ConfigError, match=r"csv or json.*Did you mean json.*'jsn'"):
        breastus.export_splits(phantoms, out=tmp_path / "f.jsn")
    with pytest.raises(DataError, match=r"nowhere\.csv"):
        breastus.score(tmp_path / "nowhere.csv", data=tmp_path / "no images")


def test_the_default_name_is_that_of_the_split(phantoms, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = ["splits", "export", "--data", str(phantoms), "--set", "data.folds=3", "--seed", "2"]
    assert main(command) == 0
    name = re.match(r"(split-\w{12}): 40 images .* 3 folds", capsys.readouterr().out)[1]
    assert sorted(pd.read_csv(f"{name}.csv")["fold"].unique()) == [0, 1, 2]
    assert main(command) == 1
    assert "exists" in capsys.readouterr().err
