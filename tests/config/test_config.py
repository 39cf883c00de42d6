"""Settings: unknown names and impossible values are refused, YAML comes back as it went."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from breastus.config.parsing import describe_settings
from breastus.config.presets import default_config
from breastus.config.schema import Config
from breastus.errors import ConfigError


def test_defaults_are_the_studys():
    config = Config()
    assert (config.training.epochs, config.training.batch_size) == (20, 32)
    assert config.training.learning_rate == 1e-3
    assert config.model.image_size == 224
    assert config.data.known_faults is True


@settings(deadline=None)
@given(
    epochs=st.integers(1, 10_000),
    rate=st.floats(1e-9, 10.0),
    source=st.text(min_size=1).filter(str.isprintable),
    seed=st.integers(0, 2**31 - 1),
)
def test_yaml_comes_back_as_it_went(tmp_path_factory, epochs, rate, source, seed):
    config = Config().replace(
        {
            "training": {"epochs": epochs, "learning_rate": rate},
            "data": {"source": source},
            "seed": seed,
        }
    )
    path = tmp_path_factory.mktemp("config") / "config.yaml"
    path.write_text(config.to_yaml(), encoding="utf-8")
    assert Config.from_yaml(path) == config


def test_overrides():
    config = Config().override(
        ["training.epochs=5", "training.learning_rate=1e-4", "data.known_faults=false", "seed=3"]
    )
    assert config.training.epochs == 5
    assert config.training.learning_rate == 1e-4
    assert config.data.known_faults is False
    assert config.seed == 3
    assert config.training.batch_size == 32
    assert Config().differences(config)[0] == "data.known_faults: True -> False"


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("training.epoch=5", "no setting training.epoch. Did you mean training.epochs"),
        ("trainig.epochs=5", "Did you mean training.epochs?"),
        ("training.epochs", "must read section.key=value"),
        ("training.epochs=0", "training.epochs must be at least 1. Received: 0"),
        ("training.epochs=2.5", "training.epochs must be an integer"),
        ("training.epochs=true", "training.epochs must be an integer"),
        ("training.learning_rate=fast", "training.learning_rate must be a number"),
        ("training.learning_rate=nan", "training.learning_rate must be at least"),
        ("data.split=random", "data.split must be one of auto, group, study, folders"),
        ("data.split=kfolds", "Did you mean kfold? Received: 'kfolds'"),
        ("data.split='source:'", "source:NAME to test on the source of that name"),
        ("data.split=3", "data.split must be one of"),
        ("data.fold=1", "data.split=kfold"),
        ("data.folds=2", "data.folds must be at least 3"),
        ("data.keep_faults=axila", "axilla, needle, doppler. Did you mean axilla?"),
        ("data.keep_faults='axilla,nedle'", "Received: 'nedle'"),
        ("data.known_faults=1", "data.known_faults must be true or false"),
        ("training=5", "training is a section"),
        ("seed.x=1", "no setting seed.x"),
        ("evaluation.threshold=1.5", "at least 0 and at most 1"),
        # choose_threshold would refuse it, at the end of the training.
        ("evaluation.confidence=0.5", "evaluation.confidence must be at least 0.501"),
        ("evaluation.confidence=0.3", "evaluation.confidence must be at least 0.501"),
        ("epochs=2", "Did you mean training.epochs?"),
        ("evaluation.epochs=2", "Did you mean training.epochs?"),
        ("batchsize=2", "Did you mean training.batch_size?"),
        ("xyzzy=2", "no setting xyzzy"),
        ("training.schedule=cosin", "Did you mean cosine?"),
    ],
)
def test_impossible_settings_are_refused(assignment, message):
    with pytest.raises(ConfigError) as caught:
        Config().override([assignment])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "assignments",
    [
        ["data.split=kfold", "data.fold=4"],
        ["data.split=kfold", "data.fold=4", "data.val_rotation=3"],
        ["data.split=kfold", "data.folds=10", "data.fold=9"],
        ["data.split=source:busi"],
        ["data.split=splits/mine.CSV"],
        ["data.keep_faults='axilla, needle'"],
    ],
)
def test_possible_settings_come_back_as_they_went(assignments, tmp_path):
    config = Config().override(assignments)
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    assert Config.from_yaml(tmp_path / "config.yaml") == config
    with pytest.raises(ConfigError, match=r"data\.fold must be below data\.folds"):
        config.override(["data.split=kfold", "data.fold=10"])


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("training.xla", "off", "off"),
        ("training.class_weights", "none", "none"),
        ("data.source", "123", "123"),
        ("data.source", "null", "null"),
        ("data.source", "012", "012"),
        ("data.source", "1_000", "1_000"),
        ("data.source", "2026-11-28", "2026-11-28"),
        ("data.source", "yes", "yes"),
        ("data.source", "[", "["),
        ("data.source", "a=b: c", "a=b: c"),
        ("model.weights", "null", None),
        ("model.weights", "1e5", "1e5"),
        ("model.dropout", "none", None),
        ("evaluation.threshold", "0", 0.0),
        ("training.clip_norm", "1e-3", 0.001),
        ("training.learning_rate", "1e-3", 0.001),
        ("training.learning_rate", "1", 1.0),
        ("training.epochs", "012", 12),
        ("training.devices", "2", 2),
        ("data.known_faults", "No", False),
        ("data.known_faults", "yes", True),
        ("preprocessing.trim", "off", False),
    ],
)
def test_text_is_read_by_the_type_of_its_setting(tmp_path, name, text, value):
    section, _, key = name.partition(".")
    config = Config().override([f"{name}={text}"])
    assert getattr(getattr(config, section), key) == value
    path = tmp_path / "config.yaml"
    path.write_text(config.to_yaml())
    assert Config.from_yaml(path) == config
    if not set(text) & set("[:"):  # else YAML needs quotes
        path.write_text(f"{section}: {{{key}: {text}}}")
        assert Config.from_yaml(path) == config


@pytest.mark.parametrize(
    "text",
    ["on", "off", "yes", "No", "null", "~", "012", "0x10", "1e-3", "1e3", "1:30", "2026-11-28"],
)
def test_yaml_is_read_as_set_is(tmp_path, text):
    path = tmp_path / "config.yaml"
    for name, _, _ in Config().items():
        section, _, key = name.rpartition(".")
        path.write_text(f"{section}: {{{key}: {text}}}" if section else f"{key}: {text}")
        found = []
        for read in (lambda: Config().override([f"{name}={text}"]), lambda: Config.from_yaml(path)):  # noqa: B023
            try:
                found.append(read())
            except ConfigError as error:
                found.append(str(error))
        assert found[0] == found[1], name


@pytest.mark.parametrize(
    "text", ["seed: 1\nseed: 2", "training: {epochs: 1}\ntraining: {batch_size: 2}"]
)
def test_a_name_that_stands_twice_in_a_file_is_refused(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(
        ConfigError, match=r"config\.yaml cannot be read: it names (seed|training) twice"
    ):
        Config.from_yaml(path)


def test_settings_by_their_short_names():
    config = Config().replace_by_name(epochs=2, image_size=64, seed=3, evaluation={"tta": "flip"})
    assert config == Config().override(
        ["training.epochs=2", "model.image_size=64", "seed=3", "evaluation.tta=flip"]
    )
    with pytest.raises(ConfigError, match=r"Did you mean training\.epochs"):
        Config().replace_by_name(epoch=2)
    with pytest.raises(ConfigError, match=r"training\.epochs must be an integer"):
        Config().replace_by_name(epochs="2")
    short = [name.rpartition(".")[2] for name, _, _ in Config().items()]
    assert len(short) == len(set(short))  # or a keyword would be ambiguous


def test_every_setting_is_described():
    described = {each.name: each for each in describe_settings(default_config("swin"))}
    assert set(described) == {name for name, _, _ in Config().items()}
    assert all(len(each.help) > 10 and each.help.endswith(".") for each in described.values())
    assert described["training.learning_rate"].default == 3e-5
    assert described["training.xla"].choices == ("auto", "on", "off")
    assert described["model.weights"].type == "text or null"
    assert described["model.image_size"].low == 16


@pytest.mark.parametrize("text", ["- 1", "a: [", "training: 3", "\x00"])
def test_a_bad_file_is_refused_by_name(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError):
        Config.from_yaml(path)
    with pytest.raises(ConfigError, match=r"missing\.yaml"):
        Config.from_yaml(tmp_path / "missing.yaml")


def test_nothing_is_made_from_yaml_tags(tmp_path):
    path = tmp_path / "evil.yaml"
    path.write_text("seed: !!python/object/apply:os.getpid []")
    with pytest.raises(ConfigError):
        Config.from_yaml(path)
    assert yaml.safe_load(Config().to_yaml())["seed"] == 0
