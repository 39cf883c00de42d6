"""What `[MODEL] IMAGE...` names: a model and images, or images for the model that ships."""

from pathlib import Path

import pytest

from breastus.cli.images import model_and_images
from breastus.deploy import bundle
from breastus.errors import BundleError


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A bundle, a damaged one, a run, an image and a folder of images; `ours` ships."""
    monkeypatch.chdir(tmp_path)
    for name in ("ours/bundle.json", "cnn/bundle.json", "damaged/saved_model/x", "run/config.yaml"):
        Path(name).parent.mkdir(parents=True)
        Path(name).touch()
    Path("scans").mkdir()
    for name in ("a.png", "scans/b.png"):
        Path(name).write_bytes(b"\x89PNG\r\n\x1a\n")
    monkeypatch.setattr(bundle, "_SHIPPED", Path("ours"))


@pytest.mark.parametrize(
    ("arguments", "model", "images"),
    [
        (["cnn", "a.png"], "cnn", ["a.png"]),
        (["run", "a.png", "a.png"], "run", ["a.png", "a.png"]),
        (["damaged", "a.png"], "damaged", ["a.png"]),
        (["no_such_model", "a.png"], "no_such_model", ["a.png"]),
        (["cnn"], "cnn", []),
        (["a.png"], "ours", ["a.png"]),
        (["scans"], "ours", ["scans/b.png"]),
        (["scans", "a.png"], "ours", ["scans/b.png", "a.png"]),
        (["*.png"], "ours", ["a.png"]),
        (["missing.png", "a.png"], "ours", ["missing.png", "a.png"]),
    ],
)
def test_the_first_argument_is_the_model_if_it_is_one(places, arguments, model, images):
    assert model_and_images(arguments) == (Path(model), [Path(image) for image in images])


def test_without_a_model_that_ships_one_must_be_named(monkeypatch):
    monkeypatch.setattr(bundle, "_SHIPPED", Path("nowhere"))
    with pytest.raises(BundleError, match="Name a bundle or a finished run"):
        model_and_images(["a.png"])
