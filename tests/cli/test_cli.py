"""The command line: what it prints, what it leaves behind, its exit status."""

import json

import numpy as np
import pytest

from breastus.cli.images import image_files
from breastus.cli.main import COMMANDS, build_parser, main
from breastus.cli.networks import NETWORKS
from breastus.cli.options import settings
from breastus.config.parsing import describe_settings
from breastus.config.presets import default_config
from breastus.data.images import read_image, to_png
from breastus.models import registry
from breastus.models.registry import list_models

TINY = [
    *("--set", "data.phantom_images=40", "--set", "model.image_size=32"),
    *("--set", "training.epochs=1", "--set", "evaluation.resamples=100"),
]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BREASTUS_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def scan(elsewhere, speckle):
    path = elsewhere / "scan [1].png"
    path.write_bytes(to_png(speckle(120, 150)))
    return path


def run(*arguments) -> int:
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as stop:  # argparse
        return stop.code


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capsys):
    assert run(command, "--help") == 0
    assert "usage: breastus " + command in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["trian"], "Did you mean train"),
        (["data", "prepair"], "Did you mean prepare"),
        (["train"], "NETWORK"),
        (["train", "cnn", "--batchsize", "2"], "Did you mean --batch-size"),
        (["train", "cnn", "--import", "no_such_module"], "no_such_module"),
        (["train", "cnn", "--set", "epochs=2"], "training.epochs"),
        (["train", "cnn", "--epochs", "many"], "training.epochs"),
        (["train", "cnn", "--val-rotations", "2"], "needs --folds"),
        (["train", "cnm", "--data", "phantom"], "Did you mean cnn"),
        (["train", "cnn", "--set", "training.epoch=2"], "Did you mean training.epochs"),
        (["train", "cnn", "--config", "none.yaml"], "none.yaml cannot be read"),
        (["train", "cnn", "--seed", "-1"], "seed must be at least 0"),
        (["pretrain", "cnn"], "--on"),
        (["pretrain", "cnm", "--on", "phantoms"], "Did you mean cnn"),
        (["pretrain", "cnn", "--on", "phantoms", "--data", "phantom"], "go with --on images"),
        (["pretrain", "cnn", "--on", "images", "--patch", "9"], "patch must be"),
        (["predict"], "IMAGE"),
        (["predict", "models/cnn"], "There are no images to predict"),
        (["predict", "models/cnn", "a.png", "--format", "parquet"], "--out predictions.parquet"),
        (["predict", "models/cnn", "a.png", "--out", "a.csv"], "--format json, csv or parquet"),
        (["predict", "models/cnn", "a.png", "--runtime", "onx"], "Did you mean onnx"),
        (["export", "runs/cnn", "--format", "onx"], "Did you mean onnx"),
        (["check", "models/cnn"], "There are no images to check"),
        (["check", "models/cnn", "a.png", "--data", "phantom"], "not both"),
        (["check", "models/cnn", "--count", "0"], "--count must be at least 1"),
        (["data", "show", "--count", "0"], "--count must be at least 1"),
        (["data", "prepare", "--set", "data.split=kfolds"], "Did you mean kfold"),
        (["data", "prepare", "--set", "data.keep_faults=axila"], "Did you mean axilla"),
        (["data", "prepare", "--data", ";"], "data.source must name a directory"),
        (["data"], "ACTION"),
    ],
)
def test_wrong_usage_is_status_2(arguments, message, capsys, elsewhere):
    assert run(*arguments) == 2
    assert message in capsys.readouterr().err
    assert not [path for path in elsewhere.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "cnn", "--data", "nowhere"], "--data must be a directory"),
        (["predict", "nowhere", "a.png"], "nowhere is not a bundle"),
        (["check", "nowhere", "a.png"], "nowhere is not a bundle"),
        (["predict", "nowhere", "."], "holds no image"),
        (["evaluate", "nowhere"], "nowhere is not a run folder"),
        (["export", "nowhere"], "nowhere is not a run folder"),
        (["data", "prepare", "--data", "nowhere"], "--data must be a directory"),
    ],
)
def test_what_fails_is_status_1_and_no_traceback(arguments, message, capsys):
    assert run(*arguments) == 1
    err = capsys.readouterr().err
    assert "breastus: error: " in err
    assert message in err
    assert "Traceback" not in err


def test_from_training_to_a_check(elsewhere, scan, phantoms, capsys):
    assert run("train", "cnn", "--data", "phantom", "--publish", "models/cnn", *TINY) == 0
    printed = capsys.readouterr().out
    assert "test images" in printed
    assert (elsewhere / "runs" / "cnn" / "report.html").is_file()
    assert (elsewhere / "models" / "cnn" / "bundle.json").is_file()

    assert run("evaluate", "runs/cnn") == 0
    assert "test images" in capsys.readouterr().out

    (elsewhere / "bad.png").touch()
    assert run("predict", "models/cnn", scan, "bad.png", "--format", "json") == 1
    captured = capsys.readouterr()
    good, bad = json.loads(captured.out)
    assert set(good) == {
        *("path", "label", "probability", "threshold"),
        *("flags", "error", "referred", "reasons", "findings"),
    }
    assert good["path"] == str(scan)
    assert good["label"] in ("lump", "no_lump")
    assert good["error"] is None
    assert "trained_on_phantoms" in good["flags"]
    assert bad["probability"] is None
    assert "bad.png is empty" in bad["error"]
    assert "never seen a patient" in captured.err

    assert run("predict", "models/cnn", scan, "--format", "csv", "--out", "found.csv") == 0
    assert str(scan) in (elsewhere / "found.csv").read_text()

    assert run("check", "models/cnn", scan) == 0
    assert run("check", "models/cnn", "--data", phantoms, "--count", "2") == 0
    assert run("check", "models/cnn", scan, "bad.png", "--out", "bad.html") == 1
    printed = capsys.readouterr().out
    assert "Page: check.html" in printed
    assert "Page: check-2.html" in printed
    assert run("check", "models/cnn", scan, "--out", "check.html") == 1
    assert "check.html exists. Choose another --out" in capsys.readouterr().err

    assert run("export", "runs/cnn") == 1
    assert "models/cnn exists" in capsys.readouterr().err
    assert run("export", "runs/cnn", "--out", "models/copy") == 0

    assert run("train", "cnn", "--data", "phantom", "--out", "runs/cnn", *TINY) == 1
    assert "holds a finished run" in capsys.readouterr().err
    # Eight validation images are too few for sets that leave any image out.
    assert run("predict", "models/cnn", scan) == 0
    assert ", refer to a reader  (trained_on_phantoms" in capsys.readouterr().out


def test_data_prepare_and_show(elsewhere, class_folders, capsys):
    root = class_folders()
    assert run("data", "prepare", "--data", root, "--out", "prepared") == 0
    printed = capsys.readouterr().out
    assert "24 images from folder" in printed
    assert (elsewhere / "prepared" / "manifest.csv").is_file()
    assert (elsewhere / "prepared" / "splits.csv").is_file()
    assert run("data", "prepare", "--data", root, "--out", "prepared") == 1
    assert "exists and is not empty" in capsys.readouterr().err

    assert run("data", "show", "--data", "prepared", "--augment", "--count", "2") == 0
    assert (elsewhere / "sheet.png").read_bytes().startswith(b"\x89PNG")
    assert run("data", "show", "--data", root, "--out", "sheet.png") == 1


def test_preparing_reports_unreadable_images_and_goes_on(class_folders, capsys):
    root = class_folders()
    (root / "lump" / "bad.png").write_bytes(b"no image")
    assert run("data", "prepare", "--data", root, "--out", "prepared") == 1
    captured = capsys.readouterr()
    assert "bad.png is not a PNG" in captured.err
    assert "1 excluded: unreadable" in captured.out


def test_preparing_several_data_sets(elsewhere, class_folders, write_image, capsys):
    root = class_folders()
    for number in range(8):
        label = ("lump", "no_lump")[number % 2]
        write_image(elsewhere / "more" / label / f"{number}.png", 100 + number)
    assert run("data", "prepare", "--data", root, "--data", "more", "--out", "prepared") == 0
    printed = capsys.readouterr().out
    assert "32 images from folder, folder-2" in printed
    assert "folder-2: 8 images, 8 used (4 no_lump, 4 lump)" in printed

    # The result is merged with a CSV; one of the three sources is the test part.
    write_image(elsewhere / "own" / "a.png", 200)
    (elsewhere / "own" / "images.csv").write_text("path,label\na.png,lump\n")
    arguments = ["data", "prepare", "--data", "prepared", "--data", "own", "--out", "again"]
    assert run(*arguments, "--set", "data.split=source:folder-2") == 0
    printed = capsys.readouterr().out
    assert "csv: 1 images, 1 used" in printed
    assert "test  4 no_lump, 4 lump" in printed

    # What it wrote can be named as a split, and a cross-validation runs on it.
    arguments = ["data", "prepare", "--data", "again", "--out"]
    assert run(*arguments, "third", "--set", "data.split=again/splits.csv") == 0
    again = (elsewhere / "again" / "splits.csv").read_text()
    assert (elsewhere / "third" / "splits.csv").read_text() == again
    fold = ["--set", "data.split=kfold", "--set", "data.fold=2"]
    assert run(*arguments, "fourth", *fold) == 0
    assert run(*arguments, "fifth", "--set", "data.split=source:busi") == 1
    assert "must name a source with included images" in capsys.readouterr().err


def test_help_gives_examples_and_defaults():
    for command in COMMANDS:
        parser = build_parser([command])
        (commands,) = [a for a in parser._actions if isinstance(a.choices, dict)]
        pages = [commands.choices[command]]
        for action in pages[0]._actions:
            if isinstance(action.choices, dict):  # the actions of `data`
                pages += action.choices.values()
        for page in pages:
            assert "example" in page.format_help()
            for option in page._actions:
                if option.option_strings and option.nargs != 0 and not option.required:
                    assert "(default: " in option.help, (page.prog, option.option_strings)


def test_train_help_lists_every_network(capsys):
    assert run("train", "--help") == 0
    page = capsys.readouterr().out
    assert set(NETWORKS) == set(list_models())
    for name, line in NETWORKS.items():
        assert f"  {name:<27}{line}" in page


def test_shortcuts_are_settings():
    parser = build_parser(["train"])
    args = parser.parse_args(
        [
            "train",
            "cnn",
            "--epochs",
            "3",
            "--set",
            "seed=4",
            "--learning-rate",
            "1e-4",
            "--epochs",
            "5",
            "--image-size",
            "64",
        ]
    )
    config = settings(args)
    assert config.training.epochs == 5
    assert config.training.learning_rate == 1e-4
    assert config.model.image_size == 64
    assert config.seed == 4


def test_settings_explains_every_setting(capsys):
    assert run("settings", "efficientnet_lite0") == 0
    page = capsys.readouterr().out
    config = default_config("efficientnet_lite0")
    for info in describe_settings(config):
        assert f"\n{info.name} = " in page
    assert "training.epochs = 12 " in page
    assert run("settings", "training.epochs", "seed") == 0
    page = capsys.readouterr().out
    assert page.count(" = ") == 2
    assert "training.epochs = 20  (an integer, at least 1)" in page
    assert run("settings", "evaluation") == 0
    assert "data." not in capsys.readouterr().out
    assert run("settings", "epoch") == 2
    assert "Did you mean epochs?" in capsys.readouterr().err


def test_a_network_of_ones_own_is_imported(elsewhere, capsys, monkeypatch):
    list_models()  # so that what is removed afterwards is the network of this test alone
    monkeypatch.setattr(registry, "_BUILDERS", dict(registry._BUILDERS))
    (elsewhere / "my_network.py").write_text(
        "import keras\n"
        "import breastus\n"
        "@breastus.register_model('mine')\n"
        "def mine(*, num_classes=2, image_size=224):\n"
        "    inputs = keras.Input((image_size, image_size, 3))\n"
        "    x = keras.layers.GlobalAveragePooling2D(name='features')(inputs)\n"
        "    x = keras.layers.Dropout(0.0, name='dropout')(x)\n"
        "    outputs = keras.layers.Dense(num_classes, 'softmax', name='probabilities')(x)\n"
        "    return keras.Model(inputs, outputs)\n"
    )
    arguments = ("train", "mine", "--data", "nowhere")
    assert run(*arguments) == 2
    assert "mine" in capsys.readouterr().err
    assert run(*arguments, "--import", "my_network") == 1
    assert "--data must be a directory" in capsys.readouterr().err


def test_image_files_takes_folders_and_patterns(elsewhere, scan):
    for name in ("b10.png", "b2.png", "b2_mask.png", "notes.txt"):
        path = elsewhere / "folder" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(scan.read_bytes())
    names = [path.name for path in image_files(["folder", "folder/*10.png", "no.png", scan.name])]
    assert names == ["b2.png", "b10.png", "b10.png", "no.png", "scan [1].png"]
    assert [path.name for path in image_files(["none*.png"])] == ["none*.png"]


def test_a_folder_to_predict_says_what_it_leaves_out(tmp_path, write_image, capsys):
    for number in range(4):
        image = read_image(write_image(tmp_path / f"scan_{number}.png", number))
        mask = np.zeros_like(image)
        mask[20:50, 25:60] = 255
        (tmp_path / f"GT_{number}.png").write_bytes(to_png(mask))
    (tmp_path / "report.pdf").write_bytes(b"%PDF-1.7")
    assert [path.stem for path in image_files([str(tmp_path)])] == [f"scan_{n}" for n in range(4)]
    printed = capsys.readouterr().err
    assert "4 left out as lesion masks" in printed
    assert "1 left out as no images, such as report.pdf" in printed


def test_doctor_shows_what_there_is(capsys):
    assert run("doctor") == 0
    page = capsys.readouterr().out
    for word in ("tensorflow", "usable cores", "GB free now", "GPU", "data/raw", "auto takes"):
        assert word in page


def test_doctor_as_json(capsys):
    assert run("doctor", "--format", "json") == 0
    page = json.loads(capsys.readouterr().out)
    assert page["profile"]["name"] == "cpu"
    assert page["problems"] == []


def test_doctor_says_when_a_profile_does_not_fit(capsys):
    assert run("doctor", "--profile", "t4") == 1
    printed = capsys.readouterr().out
    assert "Problem: training.profile=t4 needs a GPU" in printed


@pytest.mark.slow
def test_a_setting_file_and_its_overrides(elsewhere, capsys):
    (elsewhere / "mine.yaml").write_text(
        "training: {epochs: 1}\nmodel: {image_size: 32}\nseed: 5\n"
    )
    arguments = ["train", "cnn", "--data", "phantom", "--config", "mine.yaml", *TINY[:2], *TINY[6:]]
    assert run(*arguments, "--out", "run", "--set", "evaluation.confidence=0.9") == 0
    settings = (elsewhere / "run" / "config.yaml").read_text()
    assert "seed: 5" in settings
    assert "confidence: 0.9" in settings
