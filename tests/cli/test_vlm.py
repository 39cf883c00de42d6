"""`breastus vlm` from end to end, on a tiny checkpoint with random weights."""

import json

import pandas as pd
import pytest
import tiny_llava
from hub_server import HubServer

import breastus
from breastus.cli.main import main
from breastus.errors import ModelError, WeightsError
from breastus.vlm.models import KNOWN, find_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_llava.write_original(tmp_path_factory.mktemp("vlm") / "tiny")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_check_says_what_a_checkpoint_holds(folder, capsys):
    assert main(["vlm", "check", str(folder)]) == 0
    text = capsys.readouterr().out
    assert "original layout" in text
    assert f"{len(tiny_llava.make_tensors())} tensors in 2 shards" in text
    assert "not for clinical use" in text
    assert text.count(" GB, fits") == 2


def test_check_refuses_a_damaged_checkpoint(tmp_path, capsys):
    folder = tiny_llava.write_original(tmp_path / "broken")
    (folder / "model-00001-of-00002.safetensors").unlink()
    assert main(["vlm", "check", str(folder)]) == 2
    assert "model-00001-of-00002.safetensors is missing" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.filterwarnings("always::breastus.errors.DataWarning")
def test_images_are_asked_about(folder, phantoms, elsewhere, capsys):
    (elsewhere / "history.txt").write_text("48 years, palpable lump in the left breast\n" * 200)
    images = [str(file) for file in sorted(phantoms.rglob("*.png"))[:2]]
    options = ["--model", str(folder), "--prompts", "study"]
    assert main(["vlm", *images, *options, "--history", "history.txt"]) == 0
    printed = capsys.readouterr()
    assert "not for clinical use" in printed.err
    assert "The history was cut after" in printed.err
    table = pd.read_csv("predictions.csv")
    assert table["image_id"].tolist() == images
    # The same model in Python, and the same each time.
    vlm = breastus.build_vlm(folder, prompts="study")
    history = (elsewhere / "history.txt").read_text()
    again = vlm.ask(images[0], history=history)
    assert again.probability == pytest.approx(table["probability"][0], abs=1e-6)
    assert again.text == str(table["text"].fillna("")[0])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_controls_never_pass_on_random_weights(folder, phantoms, elsewhere, capsys):
    options = ["--data", str(phantoms), "--model", str(folder), "--prompts", "study"]
    assert main(["vlm", *options, "--controls", "--no-reports"]) == 0
    controls = json.loads((elsewhere / "predictions.controls.json").read_text())
    assert controls["verdict"] in ("blind", "unrelated")
    assert controls["n"] == 40
    assert "image of another patient or scene" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["image.png"], "--model llava-med"),
        (["--model", "llava-med"], "either image files or --data"),
        (["image.png", "--model", "llava-med", "--controls"], "--controls needs --data"),
        (["image.png", "--model", "llava-med", "--probe"], "--probe needs --data"),
        (["image.png", "--model", "llava-med", "--shots", "3"], "--shots needs --probe"),
        (["--data", "x", "--model", "x", "--probe", "--controls"], "--controls has no effect"),
        (["check"], "Name one checkpoint"),
        (["image.png", "--model", "lava-med"], "Did you mean llava-med"),
        (["image.png", "--model", "llava-med", "--prompts", "studdy"], "Did you mean study"),
    ],
)
def test_wrong_usage_has_status_2(arguments, named, capsys):
    assert main(["vlm", *arguments]) == 2
    assert named in capsys.readouterr().err


def test_a_model_out_of_reach_has_size_licence_and_command(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody answers there
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(WeightsError) as error:
        find_checkpoint("llava-med")
    for part in ("15.1 GB", KNOWN["llava-med"].licence, f"hf download {KNOWN['llava-med'].repo}"):
        assert part in str(error.value)


def test_a_model_is_downloaded_once_and_a_broken_download_continued(folder, monkeypatch, tmp_path):
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    server = HubServer(KNOWN["llava-med"].repo, files, kind="models")
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    shard = "model-00002-of-00002.safetensors"
    checkpoint = find_checkpoint("llava-med")
    assert len(checkpoint.tensors) == len(tiny_llava.make_tensors())
    (checkpoint.folder / shard).resolve().unlink()
    (checkpoint.folder / shard).unlink()
    before = len(server.downloads(shard))
    again = find_checkpoint("llava-med")
    assert len(server.downloads(shard)) > before
    asked = len(server.requests)
    server.close()
    assert find_checkpoint("llava-med").tensors.keys() == again.tensors.keys()
    assert len(server.requests) == asked


def test_an_unknown_model_is_refused():
    with pytest.raises(ModelError, match="one of llava-med, or the folder"):
        find_checkpoint("gpt")
