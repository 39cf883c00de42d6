"""Pretraining and what follows: what is seen, what is refused, what arrives, the same by seed."""

import json
import shutil

import keras
import numpy as np
import pytest

from breastus.config.presets import pretraining_config
from breastus.config.schema import Config
from breastus.data.images import ImageFile, to_png
from breastus.data.manifest.build import load_manifest
from breastus.data.manifest.schema import write_manifest
from breastus.deploy.predictor import Predictor
from breastus.errors import ConfigError, RunError, WeightsError
from breastus.models.registry import build_model
from breastus.models.weights.backbone_folder import (
    WEIGHTS_FILE,
    backbone_of,
    describe,
    read_pretrained,
)
from breastus.phantoms.simulation import simulate_phantom
from breastus.training.pretraining_leakage import (
    PretrainingLeakageWarning,
    check_pretraining_leakage,
)
from breastus.workflows.external_images import exclude_seen
from breastus.workflows.model_artifact import ModelArtifact
from breastus.workflows.prepare import data_fingerprint, prepare_manifest, prepare_splits
from breastus.workflows.pretrain import images_to_learn_from, pretrain
from breastus.workflows.train import train

pytestmark = pytest.mark.filterwarnings("ignore:.*(Undefined|interval):UserWarning")
TINY = {"model": {"image_size": 32}, "training": {"batch_size": 8, "learning_rate": 3e-3}}


def tiny(network: str, on: str, source=None) -> Config:
    config = pretraining_config(network, on).replace(TINY)
    return config if source is None else config.replace({"data": {"source": str(source)}})


@pytest.fixture(scope="module")
def prepared(phantoms, tmp_path_factory):
    """A manifest of 40 phantoms, read and compared once for all tests."""
    path = tmp_path_factory.mktemp("prepared") / "manifest.csv"
    write_manifest(load_manifest(phantoms), path)
    return path


@pytest.fixture(scope="module")
def from_images(prepared, tmp_path_factory):
    """Weights of the study's CNN that learned from the training part of 40 phantoms, and again."""
    folders = [tmp_path_factory.mktemp("weights") / name for name in ("one", "again")]
    for folder in folders:
        config = tiny("cnn", "images", prepared)
        pretrain("cnn", on="images", config=config, patch=8, epochs=6, out=folder)
    return folders


def test_the_loss_on_hidden_patches_falls_and_the_same_seed_gives_the_same(from_images):
    one, again = map(read_pretrained, from_images)
    losses = [row["loss"] for row in one["history"]]
    assert losses[-1] < 0.95 * losses[0]
    assert losses == [row["loss"] for row in again["history"]]
    assert one["weights"]["values_sha256"] == again["weights"]["values_sha256"]
    assert (from_images[0] / WEIGHTS_FILE).stat().st_size > 4 * one["weights"]["parameters"]


def test_it_says_what_was_done_and_what_was_seen(from_images, prepared):
    facts = read_pretrained(from_images[0])
    config = tiny("cnn", "images", prepared)
    manifest = prepare_manifest(config)
    splits = prepare_splits(config, manifest)
    train_ids = splits.loc[splits["split"] == "train", "image_id"]
    rows = manifest[manifest["image_id"].isin(train_ids)]
    assert facts["seen"] == sorted(rows["sha256"])
    assert facts["images"] == len(rows) == len(manifest) - facts["held_out"]
    assert (facts["network"], facts["image_size"], facts["on"]) == ("cnn", 32, "images")
    assert facts["task"] == {"kind": "masked images", "patch": 8, "ratio": 0.6, "fill": "zero"}
    assert facts["seed"] == 0
    assert facts["command"]
    assert facts["simulated"] is True
    # Nothing of an image but its checksum, nor where it lay.
    text = json.dumps({name: value for name, value in facts.items() if name != "command"})
    assert str(prepared.parent) not in text
    assert not any(image_id in text for image_id in manifest["image_id"])


@pytest.mark.slow
def test_weights_that_saw_the_test_are_refused_or_the_run_says_so(
    from_images, tiny_config, prepared, tmp_path, monkeypatch
):
    facts = read_pretrained(from_images[0])
    base = tiny_config.replace({"data": {"source": str(prepared)}})
    own = prepare_manifest(base), prepare_splits(base, prepare_manifest(base))
    assert check_pretraining_leakage(facts, *own, allow=False) == 0
    assert facts["data_fingerprint"] == data_fingerprint(*own)

    settings = {"model": {"weights": str(from_images[0])}, "training": {"epochs": 1}, "seed": 5}
    other_split = base.replace(settings)
    message = r"this run holds out.*of test.*seed 0.*model\.pretraining_leakage=allow"
    with pytest.raises(WeightsError, match=message):
        train("cnn", config=other_split, out=tmp_path / "run")
    assert not (tmp_path / "run" / "splits.csv").exists()  # and the folder can be used

    allowed = other_split.replace({"model": {"pretraining_leakage": "allow"}})
    started = []
    monkeypatch.setattr("breastus.training.trainer.TerminateOnNonFinite", lambda: Remember(started))
    with pytest.warns(PretrainingLeakageWarning, match="OPTIMISTIC"):
        run = train("cnn", config=allowed, out=tmp_path / "run")
    expected = build_model("cnn", image_size=32, weights=from_images[0])
    for weight, wanted in zip(started, backbone_of(expected).get_weights(), strict=False):
        np.testing.assert_array_equal(weight, wanted)

    assert json.loads((run.path / "pretrained.json").read_text()) == facts
    count = run.environment["pretraining"]["held_out_images_seen"]
    assert count > 0
    card = (run.bundle / "MODEL_CARD.md").read_text()
    for text in ((run.path / "report.html").read_text(), card):
        assert f"pretrained on {count} images of the validation or test part" in text
    assert "Started from: weights pretrained on 24 phantoms without their labels (6 epochs" in card
    assert str(from_images[0].parent) not in card
    assert all(map(Predictor(run.bundle).has_seen, facts["seen"]))
    # Nor are they tested on when the run is judged on images from elsewhere.
    manifest = prepare_manifest(base)
    left, _ = exclude_seen(manifest, ModelArtifact.from_run(run))
    out = set(manifest["sha256"]) - set(left.loc[left["excluded"] == "", "sha256"])
    assert set(facts["seen"]) <= out < set(manifest["sha256"])


class Remember(keras.callbacks.Callback):
    """Keeps the weights that a training starts with."""

    def __init__(self, weights):
        super().__init__()
        self.weights = weights

    def on_train_begin(self, logs=None):
        self.weights.extend(self.model.get_weights())


def test_a_pretraining_goes_on_from_one_that_saw_nothing_held_out(from_images, prepared, tmp_path):
    config = tiny("cnn", "images", prepared).replace({"model": {"weights": str(from_images[0])}})
    config = config.replace({"training": {"accumulation_steps": 2}})  # accumulated, as memory asks
    arguments = {"on": "images", "patch": 8, "epochs": 1}
    with pytest.raises(WeightsError, match="this run holds out"):
        pretrain("cnn", config=config, seed=5, out=tmp_path / "other", **arguments)
    folder = pretrain("cnn", config=config, out=tmp_path / "more", **arguments)
    facts = read_pretrained(folder)
    assert facts["initial_weights"].startswith("weights pretrained on 24 phantoms")
    assert describe(facts).count("weights pretrained on 24 phantoms") == 2
    assert facts["history"][0]["loss"] < read_pretrained(from_images[0])["history"][0]["loss"]
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.slow
def test_phantoms_teach_labels_and_where_a_lump_is(tmp_path):
    folder = pretrain(
        "compact", on="phantoms", config=tiny("compact", "phantoms"), epochs=2, phantoms=8,
        out=tmp_path / "weights",
    )  # fmt: skip
    facts = read_pretrained(folder)
    assert facts["task"]["kind"] == "lump or not, and where"
    assert facts["images"] == 16
    assert facts["seen"] == []
    assert {"lesion_logits_loss", "probabilities_loss", "seconds"} <= set(facts["history"][0])
    keras.utils.set_random_seed(3)
    fresh = build_model("compact", image_size=32)
    model = build_model("compact", image_size=32, weights=folder)
    assert not np.array_equal(
        fresh.get_layer("stem_conv").get_weights()[0], model.get_layer("stem_conv").get_weights()[0]
    )
    # Batch norms have seen phantoms.
    assert model.get_layer("stem_norm").get_weights()[2].any()


def test_an_interrupted_pretraining_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(self, epoch, logs=None):
        raise KeyboardInterrupt

    monkeypatch.setattr("breastus.workflows.pretrain.ProgressBar.on_epoch_end", interrupt)
    config = tiny("cnn", "phantoms")
    with pytest.raises(KeyboardInterrupt):
        pretrain("cnn", on="phantoms", config=config, phantoms=2, out=tmp_path / "weights")
    assert not list(tmp_path.iterdir())


def test_images_without_a_label_are_seen_but_for_twins_of_held_out_ones(prepared, tmp_path):
    config = tiny("cnn", "images", prepared)
    rows, manifest, splits = images_to_learn_from(config)
    table = manifest.merge(splits, on="image_id")
    test = table[table["split"] == "test"].iloc[0]
    folder = tmp_path / "more"
    folder.mkdir()
    # A twin of a test image under another name and with other bytes, and an image of its own.
    pixels = ImageFile.read(test["path"]).pixels
    (folder / "twin.png").write_bytes(to_png(np.clip(pixels + np.uint8(1), 1, 255)))
    shutil.copy(test["path"], folder / "copy.png")
    (folder / "own.png").write_bytes(to_png(simulate_phantom(99, 0).image))
    (folder / "images.csv").write_text("path,label\ntwin.png,\ncopy.png,\nown.png,\n")
    more, _, _ = images_to_learn_from(config, unlabelled=folder)
    assert set(more["sha256"]) - set(rows["sha256"]) == {ImageFile.read(folder / "own.png").sha256}
    assert set(rows["sha256"]) <= set(more["sha256"])

    # A data set in which nobody knows a label holds nothing out.
    alone, _, splits = images_to_learn_from(tiny("cnn", "images", folder))
    assert len(alone) == 3
    assert splits.empty


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"on": "scans", "config": Config()},
            ConfigError,
            "on must be one of phantoms, images. Received: 'scans'",
        ),
        ({"on": "phantoms", "data": "x"}, ConfigError, "go with --on images"),
        ({"on": "phantoms", "phantoms": 1}, ConfigError, "phantoms must be at least 2"),
        ({"on": "images", "patch": 5}, ConfigError, "patch must be .* divides"),
        ({"on": "images", "mask_ratio": 1.0}, ConfigError, "mask_ratio must be"),
        ({"on": "images", "out": "."}, RunError, "exists. Choose another --out"),
        ({"on": "images", "epochs": 0}, ConfigError, "training.epochs must be at least 1"),
    ],
)
def test_what_is_impossible_is_said_before_any_work(arguments, error, message):
    with pytest.raises(error, match=message):
        pretrain("cnn", **arguments)
