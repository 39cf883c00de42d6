"""A bundle in ONNX Runtime and LiteRT answers as its SavedModel does; what differs is refused.

A comparison on a network that answers alike for all images would prove nothing, so the networks
here are sharpened until their probabilities spread.
"""

import json
import shutil

import keras
import numpy as np
import pytest

from breastus.cli.main import main
from breastus.data.images import to_png
from breastus.deploy import convert, runtimes
from breastus.deploy.bundle import GRAPHS, Bundle
from breastus.deploy.convert import NamedImage, convert_bundle
from breastus.deploy.predictor import Predictor
from breastus.deploy.runtimes import choose_runtime, load_graph
from breastus.deploy.serving import ServingModule
from breastus.errors import BundleError, ConfigError, ExportError
from breastus.evaluation.calibration.calibrators import Calibrator
from breastus.evaluation.tta import VIEWS
from breastus.models.ensemble import ensemble
from breastus.models.registry import build_model
from breastus.preprocessing.transform import Transform
from breastus.workflows.export import comparison_images, export

PLATT = Calibrator("platt", slope=0.8, intercept=-0.3)
ISOTONIC = Calibrator("isotonic", knots=((0.0, 0.0), (0.3, 0.2), (0.6, 0.8), (1.0, 1.0)))


def sharpened(name, inputs, *, classes=2, seed=0):
    """Return a random network whose probabilities spread over its inputs, [n, S, S, 3]."""
    keras.utils.set_random_seed(seed)
    network = build_model(name, num_classes=classes, image_size=inputs.shape[1])
    last, rng = network.get_layer("probabilities"), np.random.default_rng(seed)
    features = keras.Model(network.input, last.input)(inputs)
    kernel = rng.normal(size=last.kernel.shape)
    logits = np.asarray(features) @ kernel
    last.set_weights([2 * kernel / logits.std(0), -2 * logits.mean(0) / logits.std(0)])
    return network


# network, image size, outputs, number of networks, settings
CASES = {
    "cnn_all_views": ("cnn", 32, 2, 1, {"views": VIEWS["all"]}),
    "findings_parula": ("cnn", 32, 3, 1, {"color": "parula"}),
    "isotonic_keep": ("cnn", 40, 2, 1, {"calibrator": ISOTONIC, "aspect": "keep"}),
    "ensemble": ("cnn", 32, 2, 2, {}),
    "swin_micro": ("swin_micro", 112, 2, 1, {"views": VIEWS["flip"]}),
    "hybrid": ("hybrid", 192, 2, 1, {}),
    "efficientnet_mil": ("efficientnet_mil", 64, 2, 1, {}),
}


@pytest.fixture
def images(speckle):
    """Return grey, coloured, bordered, large and tiny images."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (9, 12, 3)).astype(np.uint8).repeat(17, 0).repeat(13, 1)
    bordered = np.pad(speckle(90, 100, 1), ((5, 9), (20, 1), (0, 0)))
    return [speckle(187, 211, 2), bordered, colours, speckle(700, 300, 3), colours[:8, :9]]


# The random weights of its deep backbone enlarge rounding to 0.007 there; export would refuse it.
# Trained ones differ by 3e-6.
ENLARGED = pytest.mark.xfail(raises=ExportError, reason="random weights enlarge rounding")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "runtime"),
    [
        pytest.param(
            case,
            runtime,
            marks=[ENLARGED] if (case, runtime) == ("efficientnet_mil", "litert") else [],
        )
        for case in CASES
        for runtime in ("onnx", "litert")
    ],
)
def test_a_converted_graph_answers_as_the_saved_model(case, runtime, images, tmp_path):
    name, size, classes, count, settings = CASES[case]
    options = dict(settings)
    views, calibrator = options.pop("views", VIEWS["none"]), options.pop("calibrator", PLATT)
    transform = Transform(image_size=size, **options)
    inputs = np.stack(
        [transform.normalize(transform.crop_and_resize(image)).numpy() for image in images]
    )
    members = [sharpened(name, inputs, classes=classes, seed=seed) for seed in range(count)]
    network = ensemble(members) if count > 1 else members[0]
    ServingModule(network, transform, [calibrator], views).save(tmp_path / GRAPHS["tensorflow"])
    bundle = Bundle(tmp_path, {})
    convert._CONVERT[runtime](tmp_path / GRAPHS["tensorflow"], tmp_path / GRAPHS[runtime])
    named = [NamedImage(str(number), image) for number, image in enumerate(images)]
    found = convert.compare(bundle, runtime, named)
    assert found["highest"] - found["lowest"] > 0.02
    expected, graph = load_graph(bundle, "tensorflow"), load_graph(bundle, runtime)
    batch = np.stack([images[0], images[0][::-1], images[0][:, ::-1]])
    for name, value in expected(batch).items():
        np.testing.assert_allclose(graph(batch)[name], value, atol=1e-4)


@pytest.fixture(scope="module")
def everywhere(tiny_run, tmp_path_factory):
    """A bundle with all graphs."""
    out = tmp_path_factory.mktemp("models") / "cnn"
    arguments = [str(tiny_run.path), "--out", str(out), "--format", "saved_model,onnx,litert"]
    assert main(["export", *arguments]) == 0
    return out


@pytest.mark.slow
def test_predictions_are_the_same_in_every_runtime(everywhere, tiny_run, images, tmp_path):
    scan, bad = tmp_path / "scan.png", tmp_path / "bad.png"
    scan.write_bytes(to_png(images[0]))
    bad.write_bytes(b"no image")
    trained_on = tiny_run.read_images().query("split == 'train'")["path"].iloc[0]
    mask = np.zeros((300, 400, 3), np.uint8)
    mask[80:240, 100:300] = 255
    asked = [scan, bad, trained_on, mask, *images]
    expected = Predictor(everywhere)(asked)
    assert {"mask_like", "seen_in_training"} <= {flag for one in expected for flag in one.flags}
    for runtime in ("onnx", "litert"):
        predictor = Predictor(everywhere, runtime=runtime)
        assert predictor.runtime == runtime
        for found, wanted in zip(predictor(asked), expected, strict=True):
            assert found.probability == pytest.approx(wanted.probability, abs=1e-5, nan_ok=True)
            without = {"probability": None}
            assert found.to_dict() | without == wanted.to_dict() | without


@pytest.mark.slow
def test_bundle_json_says_how_each_runtime_compares(everywhere):
    info = json.loads((everywhere / "bundle.json").read_text())
    assert set(info["runtimes"]) == {"onnx", "litert"}
    for runtime, found in info["runtimes"].items():
        assert found["file"] == GRAPHS[runtime]
        assert found["file"] in info["files"]
        assert found["largest_difference"] <= 1e-4
        assert found["images"] == 10
    assert Bundle.load(everywhere).runtimes == ("tensorflow", "onnx", "litert")


@pytest.mark.slow
def test_onnx_alone_is_a_bundle(tiny_run, tmp_path, images, monkeypatch):
    out = export([tiny_run.path], out=tmp_path / "light", formats=["onnx"])
    assert {path.name for path in out.iterdir()} == {
        "model.onnx", "bundle.json", "MODEL_CARD.md", "seen_images.txt", "training_features.npz"
    }  # fmt: skip
    assert Predictor(out).runtime == "onnx"
    assert Predictor(out)(images[0]).probability == pytest.approx(
        Predictor(tiny_run)(images[0]).probability, abs=1e-5
    )
    with pytest.raises(BundleError, match="holds no graph for tensorflow, but for onnx"):
        Predictor(out, runtime="tensorflow")
    file = out / "model.onnx"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(BundleError, match=r"model\.onnx do not match their checksum"):
        Predictor(out)


def _writes(graph):
    """Replace the conversion to ONNX, and what is loaded from its file."""

    def replace(monkeypatch):
        real = load_graph
        monkeypatch.setitem(convert._CONVERT, "onnx", lambda model, file: file.write_bytes(b"?"))
        monkeypatch.setattr(
            convert,
            "load_graph",
            lambda bundle, name: graph if name == "onnx" else real(bundle, name),
        )

    return replace


def _off_by(difference):
    return lambda pixels: {
        "lump": np.full(1, difference, np.float32),
        "probabilities": np.full((1, 2), difference, np.float32),
    }


def _fail(pixels):
    raise RuntimeError("no such operation")


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (_off_by(0.9), r"onnx differs from the SavedModel on .*png.* is 0\.900000 instead of"),
        (_off_by(np.nan), r"onnx differs from the SavedModel on .*png.* is nan instead of"),
        (_fail, r"onnx fails on .*png: no such operation"),
    ],
)
def test_a_graph_that_answers_otherwise_is_deleted(tiny_run, tmp_path, monkeypatch, graph, message):
    _writes(graph)(monkeypatch)
    with pytest.raises(ExportError, match=message):
        export([tiny_run.path], out=tmp_path / "models" / "cnn", formats=["saved_model", "onnx"])
    assert not list((tmp_path / "models").iterdir())


def test_a_conversion_that_is_impossible_is_named(tiny_run, tmp_path, monkeypatch):
    def refuse(model, file):
        raise ValueError("\nop Weird is not supported\nmore")

    monkeypatch.setitem(convert._CONVERT, "litert", refuse)
    with pytest.raises(ExportError, match="for litert: op Weird is not supported"):
        convert_bundle(tiny_run.bundle, tmp_path / "out", ["litert"], [])
    assert not list(tmp_path.iterdir())


def test_a_file_that_its_runtime_cannot_load_is_deleted(tiny_run, tmp_path, monkeypatch):
    monkeypatch.setitem(convert._CONVERT, "onnx", lambda model, file: file.write_bytes(b"?"))
    with pytest.raises(ExportError, match=r"no graph: .*model\.onnx cannot be used in onnx"):
        convert_bundle(tiny_run.bundle, tmp_path / "out", ["onnx"], [])
    assert not list(tmp_path.iterdir())


def test_what_no_converter_can_do_is_said_before_it_is_tried(tiny_run, tmp_path):
    shutil.copytree(tiny_run.bundle, tmp_path / "bundle")
    info = json.loads((tmp_path / "bundle" / "bundle.json").read_text())
    info["preprocessing"]["annotations"] = "remove"
    (tmp_path / "bundle" / "bundle.json").write_text(json.dumps(info))
    with pytest.raises(ExportError, match=r"annotations=remove cannot be converted for onnx"):
        convert_bundle(tmp_path / "bundle", tmp_path / "out", ["saved_model", "onnx"], [])


def test_without_images_nothing_is_compared(tiny_run, tmp_path):
    lost = tiny_run.read_predictions("val").assign(path=str(tmp_path / "gone.png"))
    with pytest.raises(ExportError, match=r"none can be read: .*gone\.png"):
        comparison_images(lost)


def test_keras_alone_has_no_graph(tiny_run, tmp_path):
    out = export([tiny_run.path], out=tmp_path / "cnn", formats=["keras"])
    assert Bundle.load(out).network.is_file()
    with pytest.raises(BundleError, match=r"holds no graph\. Export the run again"):
        Predictor(out)


def test_formats_and_runtimes_that_do_not_exist_are_refused(tiny_run, tmp_path):
    with pytest.raises(ConfigError, match=r"Did you mean onnx\? Received: 'onx'"):
        export([tiny_run.path], out=tmp_path / "cnn", formats=["onx"])
    with pytest.raises(ConfigError, match="runtime must be one of tensorflow, onnx, litert"):
        Predictor(tiny_run, runtime="torch")
    with pytest.raises(BundleError, match=r"no graph for onnx, but for tensorflow.*--format onnx"):
        Predictor(tiny_run, runtime="onnx")


@pytest.mark.parametrize(
    ("installed", "expected"),
    [
        (("tensorflow", "onnxruntime", "ai_edge_litert"), "tensorflow"),
        (("onnxruntime", "ai_edge_litert"), "onnx"),
        (("ai_edge_litert",), "litert"),
    ],
)
def test_the_first_installed_runtime_is_taken(tmp_path, monkeypatch, installed, expected):
    files = ("model.tflite", "saved_model/saved_model.pb", "model.onnx", "MODEL_CARD.md")
    bundle = Bundle(tmp_path, {"files": dict.fromkeys(files, "")})
    monkeypatch.setattr(
        runtimes.importlib.util, "find_spec", lambda name: name if name in installed else None
    )
    assert choose_runtime(bundle) == expected
    only_onnx = Bundle(tmp_path, {"files": {"model.onnx": ""}})
    if expected == "litert":
        with pytest.raises(BundleError, match="onnx, which is not installed: pip install onnx"):
            choose_runtime(only_onnx)


def test_a_file_that_is_no_graph_is_named(tmp_path):
    for runtime in ("onnx", "litert"):
        (tmp_path / GRAPHS[runtime]).write_bytes(b"no graph")
        with pytest.raises(BundleError, match=f"{GRAPHS[runtime]} cannot be used in {runtime}"):
            load_graph(Bundle(tmp_path, {}), runtime)
