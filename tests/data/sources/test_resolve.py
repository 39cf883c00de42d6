"""What `--data` may name, and what `auto` picks."""

import pytest

from breastus.data.sources import hub
from breastus.data.sources import resolve as module
from breastus.data.sources.resolve import check_sources_exist, read_content, resolve
from breastus.errors import DataError, DataWarning, HubError


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """An empty working folder and cache, no settings, and no hub."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BREASTUS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("BREASTUS_DATA", raising=False)

    def out_of_reach(cache):
        raise HubError("The hub is out of reach.")

    monkeypatch.setattr(hub, "fetch", out_of_reach)
    return tmp_path


def find(where):
    return resolve(where, phantom_images=4, seed=1)


def test_auto_takes_the_first_that_is_there(elsewhere, monkeypatch):
    with pytest.warns(DataWarning, match=r"(?s)PHANTOMS.*nothing about patients.*out of reach"):
        assert find("auto") == elsewhere / "cache" / "phantom-4-1"

    monkeypatch.setattr(hub, "fetch", lambda cache: cache / "fetched")
    assert find("auto") == elsewhere / "cache" / "fetched"

    (elsewhere / "data" / "raw").mkdir(parents=True)
    (elsewhere / "data" / "raw" / ".gitkeep").touch()
    assert find("auto").name == "fetched"
    (elsewhere / "data" / "raw" / "BUSI").mkdir()
    assert find("auto") == module.RAW

    (elsewhere / "mine").mkdir()
    monkeypatch.setenv("BREASTUS_DATA", str(elsewhere / "mine"))
    assert find("auto") == elsewhere / "mine"
    monkeypatch.setenv("BREASTUS_DATA", str(elsewhere / "gone"))
    with pytest.raises(DataError, match=r"\$BREASTUS_DATA must be a directory"):
        find("auto")


def test_hub_by_name_does_not_fall_back():
    with pytest.raises(HubError, match="out of reach"):
        find("hub")


def test_a_directory(elsewhere):
    (elsewhere / "ultrasound").mkdir()
    assert find("ultrasound").name == "ultrasound"
    with pytest.raises(DataError, match=r"Did you mean ultrasound\? Received: ultrasuond"):
        find("ultrasuond")
    with pytest.raises(DataError, match="Did you mean phantom"):
        find("phantoms")
    (elsewhere / "file").touch()
    with pytest.raises(DataError, match="must name a directory"):
        find("file")


def test_a_folder_that_may_not_be_read(elsewhere, monkeypatch):
    (elsewhere / "locked").mkdir()

    def refuse(path, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.stat", refuse)  # root, as in many containers, may read all
    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(DataError, match=r"locked cannot be read: Permission denied"):
        read_content(elsewhere / "locked", known_faults=True)


def test_places_are_looked_for_before_anything_is_fetched(elsewhere, monkeypatch):
    (elsewhere / "a").mkdir()
    (elsewhere / "b.csv").touch()
    check_sources_exist("a;b.csv")
    check_sources_exist(["auto", "hub", "phantom"])  # of which the second is out of reach
    with pytest.raises(DataError, match=r"--data must be .* Received: c, which does not exist"):
        check_sources_exist("a;c")
    monkeypatch.setenv("BREASTUS_DATA", "gone")
    with pytest.raises(DataError, match=r"\$BREASTUS_DATA must be a directory.* Received: gone"):
        check_sources_exist("auto")


@pytest.mark.parametrize("where", ["lump/l\udce9sion.png", "lump \udce9/a.png"])
def test_a_name_that_is_not_utf8_is_refused(elsewhere, class_folders, where):
    root = class_folders(no_lump=2, lump=2)
    bad = root / "benign" / where
    try:
        bad.parent.mkdir(parents=True)
        bad.write_bytes((root / "lump" / "lump 0.png").read_bytes())
    except OSError:
        pytest.skip("this file system has no such names")
    with pytest.raises(DataError, match=r"not UTF-8, of 1 of 5 files\. Rename .*\\xe9"):
        read_content(root, known_faults=True)
