"""Names of classes of a user's own: in folders, in tables, on the command line and in Python."""

import pytest

import breastus
from breastus.cli.main import main
from breastus.config.parsing import class_labels, join_labels
from breastus.config.schema import Config, DataConfig
from breastus.data.manifest.build import load_manifest
from breastus.data.sources.class_names import ClassNames, suggestion
from breastus.data.sources.resolve import read_content
from breastus.errors import ConfigError, DataError, DataWarning

LABELS = {"cancer": "lump", "healthy": "no_lump"}


@pytest.fixture
def folders(tmp_path, write_image):
    """A function that writes twelve images into each of some folders."""

    def write(*names):
        for index, name in enumerate(names):
            for number in range(12):
                write_image(tmp_path / "data" / name / f"{number}.png", 100 * index + number)
        return tmp_path / "data"

    return write


def test_unknown_names_are_listed_with_the_option_that_explains_them(folders):
    with pytest.raises(DataError, match="has no known layout") as error:
        read_content(folders("cancer", "healthy"), known_faults=True)
    assert "cancer (12 images), healthy (12 images)" in str(error.value)
    assert "--labels cancer=lump healthy=no_lump" in str(error.value)


def test_one_unknown_name_beside_known_ones_is_explained_too(folders):
    found = read_content(folders("benign", "healthy"), known_faults=True)
    (problem,) = found.problems
    assert "12 files in " in problem
    assert "--labels healthy=no_lump" in problem


@pytest.mark.parametrize(
    "labels",
    [
        {"Опухоль": "malignant", "здоровая грудь": "normal"},
        {"krebs": "lump", "gesund": "no_lump"},
        {"cafe\u0301": "lump", "no": "no_lump"},
        {"1": "lump", "0": "no_lump"},
        {"normal": "lump", "b": "no_lump"},  # a user's own meaning has priority
    ],
)
def test_names_of_ones_own(folders, labels):
    first, second = labels
    folder = folders(f"train/{first.upper()}", f"test/{second}")
    table = load_manifest(folder, labels=labels)
    assert table["label"].tolist() == ["no_lump"] * 12 + ["lump"] * 12
    assert table["image_id"].str.startswith("folder/test/").sum() == 12


def test_accents_are_compared_as_they_are_read(folders):
    table = load_manifest(folders("tumeur b\u00e9nigne", "sain"), labels={
        "tumeur be\u0301nigne": "benign", "sain": "normal",
    })  # fmt: skip
    assert set(table["finding"]) == {"benign", "normal"}


def test_labels_of_a_table(tmp_path, write_image):
    for number in range(3):
        write_image(tmp_path / f"{number}.png", number)
    path = tmp_path / "t.csv"
    path.write_text("path,label\n0.png,Cancer\n1.png,healthy\n2.png,benign\n")
    with pytest.raises(DataError, match=r"row 2 .*--labels Cancer=lump\. Received: 'Cancer'"):
        load_manifest(path)
    table = load_manifest(path, settings=DataConfig(labels="cancer=malignant,healthy=no_lump"))
    assert table["finding"].tolist() == ["malignant", "normal", "benign"]


def test_a_name_that_nothing_has_is_said(folders):
    folder = folders("cancer", "healthy")
    with pytest.warns(DataWarning, match="explains krebs, but no folder or label is called so"):
        load_manifest(folder, labels={**LABELS, "krebs": "lump"})


def test_the_option_and_the_setting(folders, tmp_path, capsys):
    folder, out = folders("cancer", "healthy"), tmp_path / "out"
    options = ["--labels", "cancer=lump", "healthy=no_lump", "--data", str(folder)]
    assert main(["data", "prepare", *options, "--out", str(out)]) == 0
    assert "lump: 12 images" in capsys.readouterr().out
    manifest, _ = breastus.prepare(folder, out=tmp_path / "again", labels=LABELS)
    assert manifest["label"].value_counts().to_dict() == {"lump": 12, "no_lump": 12}
    config = Config().override(["data.labels=cancer=lump,healthy=no_lump"])
    assert Config.from_dict(config.to_dict()).data.labels == join_labels(LABELS)
    assert main(["data", "prepare", "--data", str(folder), "--labels", "cancer"]) == 2
    assert "must read NAME=LABEL" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cancer", "must read NAME=LABEL.*'cancer'"),
        ("=lump", "must read NAME=LABEL"),
        ("cancer=lmup", r"must give cancer one of lump, .*Did you mean lump\? Received: 'lmup'"),
        ("a=lump,a=normal", "must give a one label. Received: lump, normal"),
    ],
)
def test_labels_that_are_not_allowed(text, message):
    with pytest.raises(ConfigError, match=message):
        class_labels(text)
    with pytest.raises(ConfigError, match=message):
        Config().replace({"data": {"labels": text}})


def test_labels_as_text_and_back():
    assert class_labels(" a = lump , b b=no_lump,") == {"a": "lump", "b b": "no_lump"}
    assert class_labels("") == {}
    assert class_labels(join_labels(LABELS)) == LABELS
    assert join_labels(["cancer=lump", "healthy=no_lump"]) == join_labels(LABELS)


def test_what_is_suggested():
    assert suggestion(["test_no_lump", "nonCancer"]) == (
        "--labels test_no_lump=no_lump nonCancer=no_lump"
    )
    names = ["Tumor", "no cancer", "abnormal", "unhealthy", "gesund", "x", "Normal tissue"]
    assert suggestion(names) == (
        '--labels Tumor=lump "no cancer=no_lump" abnormal=lump unhealthy=LABEL gesund=no_lump '
        'x=LABEL "Normal tissue=no_lump"'
    )


def test_the_usual_names():
    names = ClassNames()
    assert names.parse("No lump") == ("normal", "no_lump")
    assert names.parse("BENIGN") == ("benign", "lump")
    assert names.parse("cancer") is None
