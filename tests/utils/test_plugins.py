"""Modules of one's own are imported by name and by file; a failure names the module."""

import sys

import pytest

from breastus.errors import ConfigError
from breastus.utils.plugins import import_modules


def test_a_file_is_imported_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "plugin_by_file.py"
    file.write_text(
        "import breastus\nbreastus.plugin_count = getattr(breastus, 'plugin_count', 0) + 1"
    )
    import breastus

    monkeypatch.setattr(breastus, "plugin_count", 0, raising=False)
    import_modules([file])
    import_modules(["plugin_by_file.py"])
    assert breastus.plugin_count == 1


def test_a_name_is_looked_up_in_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "plugin_by_name.py").write_text("value = 3")
    import_modules(["plugin_by_name"])
    assert sys.modules["plugin_by_name"].value == 3


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("missing.py", None, "no file missing.py"),
        ("no_such_module", None, "no module no_such_module"),
        ("broken.py", "1 / 0", "broken.py failed: ZeroDivisionError"),
        ("needs.py", "import no_such_package", "no module no_such_package"),
    ],
)
def test_a_failure_names_the_module(tmp_path, monkeypatch, name, text, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=message):
        import_modules([name])
