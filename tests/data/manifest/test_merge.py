"""Several data sets in one manifest: nothing is joined that is not one, nothing is used twice."""

import pandas as pd
import pytest

from breastus.config.parsing import join_sources
from breastus.config.schema import DataConfig
from breastus.data.manifest.build import build_manifest_with_pairs, load_manifest
from breastus.data.manifest.schema import included, summary, write_manifest
from breastus.errors import ConfigError, DataError, DataWarning


@pytest.fixture
def hospital(tmp_path, write_image):
    """A function (name, {image: (label, patient, seed)}) that writes images with a CSV."""

    def write(name, images, source=""):
        lines = ["path,label,patient_id,source"]
        for image, (label, patient, seed) in images.items():
            write_image(tmp_path / name / f"{image}.png", seed)
            lines.append(f"{image}.png,{label},{patient},{source}")
        (tmp_path / name / "images.csv").write_text("\n".join(lines))
        return tmp_path / name

    return write


@pytest.fixture
def two_folders(tmp_path, write_image):
    """Two folders of class folders with images of their own."""
    for seed, (side, label) in enumerate(
        (side, label) for side in ("one", "two") for label in ("lump", "no_lump")
    ):
        write_image(tmp_path / side / label / "x.png", seed)
    return tmp_path / "one", tmp_path / "two"


def test_sources_of_one_name_are_numbered(two_folders):
    table = load_manifest(two_folders)
    assert table["image_id"].tolist() == [
        *("folder/lump/x", "folder/no_lump/x", "folder-2/lump/x", "folder-2/no_lump/x")
    ]
    assert table["source"].tolist() == ["folder", "folder", "folder-2", "folder-2"]
    assert table["group_id"].tolist() == table["image_id"].tolist()
    as_text = load_manifest(";".join(map(str, two_folders)))
    pd.testing.assert_frame_equal(as_text, table)
    text = summary(table)
    assert "4 images from folder, folder-2" in text
    assert "folder-2: 2 images, 2 used (1 no_lump, 1 lump)" in text


def test_a_path_with_a_semicolon_is_one_data_set(two_folders, tmp_path):
    (tmp_path / "one").rename(tmp_path / "my;images")
    assert len(load_manifest(tmp_path / "my;images")) == 2


@pytest.mark.parametrize("where", ["", " ; ", []])
def test_no_data_set_is_refused(where):
    with pytest.raises(ConfigError, match=r"data\.source must name"):
        load_manifest(where)


def test_one_data_set_twice_is_refused(two_folders):
    with pytest.raises(DataError, match=r"named once\. Received: .*one twice"):
        load_manifest([two_folders[0], two_folders[0].parent / "two" / ".." / "one"])


def test_patients_of_two_hospitals_are_two_people(hospital):
    first = hospital("a", {"1": ("lump", "001", 1), "2": ("lump", "001", 2)})
    second = hospital("b", {"1": ("no_lump", "001", 3), "2": ("lump", "002", 4)})
    table = load_manifest([first, second])
    assert table["patient_id"].tolist() == ["001", "001", "001", "002"]
    assert table["group_id"].tolist() == ["csv/1", "csv/1", "csv-2/1", "csv-2/2"]


def test_a_hospital_that_comes_in_two_parts_has_the_same_patients(hospital):
    first = hospital("a", {"1": ("lump", "001", 1)}, source="Astana")
    second = hospital("b", {"2": ("lump", "001", 2)}, source="Astana")
    third = hospital("c", {"3": ("lump", "001", 3)}, source="Almaty")
    table = load_manifest([first, second, third])
    assert table["source"].tolist() == ["Astana", "Astana-2", "Almaty"]
    assert table["group_id"].tolist() == ["Astana/1", "Astana/1", "Almaty/3"]
    # A name that ends in a number may be another hospital's own.
    fourth = hospital("d", {"4": ("lump", "001", 4)}, source="Almaty-2")
    assert load_manifest([third, fourth])["group_id"].nunique() == 2


def test_the_same_file_in_two_sources_is_used_once(hospital):
    first = hospital("a", {"1": ("lump", "", 1), "2": ("no_lump", "", 2)})
    second = hospital("b", {"copy": ("lump", "", 1), "own": ("lump", "", 3)})
    table = load_manifest([first, second]).set_index("image_id")
    assert table.loc["csv-2/copy", "excluded"] == "duplicate: the same file as csv/1"
    assert table.loc["csv-2/copy", "group_id"] == "csv/1"
    assert len(included(table)) == 3
    assert "1 excluded: duplicate" in summary(table.reset_index())


def test_a_copy_is_used_where_the_first_has_no_label(hospital):
    first = hospital("a", {"1": ("", "", 1)})
    second = hospital("b", {"copy": ("lump", "", 1)})
    table = load_manifest([first, second]).set_index("image_id")
    assert table["excluded"].to_dict() == {
        "csv/1": "duplicate: the same file as csv-2/copy",
        "csv-2/copy": "",
    }


def test_a_file_with_contradicting_labels_is_not_used_at_all(hospital):
    first = hospital("a", {"1": ("lump", "001", 1)})
    second = hospital("b", {"copy": ("no_lump", "001", 1)})
    table = load_manifest([first, second])
    assert table["excluded"].str.startswith("contradiction: near-duplicate of ").all()
    assert "csv-2/copy" in table["excluded"][0]
    kept = load_manifest([first, second], settings=DataConfig(contradictions="keep"))
    assert kept["excluded"].tolist() == ["", "duplicate: the same file as csv/1"]


def test_a_fault_is_of_every_copy(tmp_path, write_image, hospital):
    write_image(tmp_path / "busi" / "normal" / "normal (2).png", 1)  # shows the axilla
    write_image(tmp_path / "busi" / "benign" / "benign (1).png", 2)
    mine = hospital("mine", {"copy": ("no_lump", "", 1)})
    table = load_manifest([tmp_path / "busi", mine]).set_index("image_id")
    assert table.loc["busi/normal (2)", "excluded"].startswith("known fault")
    assert table.loc["csv/copy", "excluded"] == "duplicate: the same file as busi/normal (2)"


def test_near_duplicates_are_found_across_sources(tmp_path, hospital):
    from PIL import Image

    first = hospital("a", {"1": ("lump", "", 1)})
    second = hospital("b", {"2": ("lump", "", 2)})
    with Image.open(first / "1.png") as image:
        image.resize((160, 128)).save(second / "2.png")
    found = build_manifest_with_pairs([first, second])
    assert found.manifest["group_id"].tolist() == ["csv/1", "csv/1"]
    assert (found.manifest["excluded"] == "").all()
    assert found.near_duplicate_pairs[["image_id", "duplicate_id"]].to_numpy().tolist() == [
        ["csv/1", "csv-2/2"]
    ]


def _prepare(table, folder, **changes):
    write_manifest(table.assign(**changes), folder / "manifest.csv")
    return folder


def test_a_prepared_manifest_keeps_what_it_says(two_folders, tmp_path, hospital):
    one = load_manifest(two_folders[0])
    prepared = _prepare(
        one, tmp_path / "prepared", excluded=["blurred", ""], group_id="by hand", flags="text"
    )
    more = hospital("more", {"1": ("lump", "001", 7)})
    table = load_manifest([prepared, two_folders[1], more])
    assert table["source"].tolist() == ["folder", "folder", "folder-2", "folder-2", "csv"]
    assert table["excluded"].tolist() == ["blurred", "", "", "", ""]
    assert table["flags"].tolist() == ["text", "text", "", "", ""]
    assert table["group_id"].tolist()[:2] == ["folder/lump/x"] * 2
    assert table["group_id"].nunique() == 4


def test_groups_of_two_prepared_manifests_are_not_mixed_up(two_folders, tmp_path):
    prepared = [
        _prepare(load_manifest(folder), tmp_path / f"prepared-{folder.name}", group_id="g1")
        for folder in two_folders
    ]
    table = load_manifest(prepared)
    assert table["image_id"].is_unique
    assert table["group_id"].tolist() == [
        *("folder/lump/x", "folder/lump/x", "folder-2/lump/x", "folder-2/lump/x")
    ]


def test_a_prepared_manifest_and_its_images_are_the_same_files(two_folders, tmp_path):
    prepared = _prepare(load_manifest(two_folders[0]), tmp_path / "prepared")
    table = load_manifest([prepared, two_folders[0]])
    assert len(included(table)) == 2
    assert (table["excluded"].str.startswith("duplicate")).tolist() == [False, False, True, True]


def test_a_file_that_changed_since_it_was_prepared_is_named(two_folders, tmp_path, write_image):
    prepared = _prepare(load_manifest(two_folders[0]), tmp_path / "prepared")
    write_image(two_folders[0] / "lump" / "x.png", 99)
    with pytest.warns(DataWarning, match=r"x.png has changed since"):
        load_manifest([prepared, two_folders[1]])
    (two_folders[0] / "lump" / "x.png").unlink()
    with pytest.warns(DataWarning):
        table = load_manifest([prepared, two_folders[1]])
    assert table["excluded"][0].startswith("unreadable: ")


def test_surveying_a_prepared_manifest_leaves_it_as_it_is(two_folders, tmp_path, write_image):
    write_image(two_folders[0] / "lump" / "twin.png", 0)
    prepared = _prepare(load_manifest(two_folders[0]), tmp_path / "prepared", flags="text")
    found = build_manifest_with_pairs(prepared)
    pd.testing.assert_frame_equal(found.manifest, load_manifest(prepared))
    assert len(found.near_duplicate_pairs) == 1


def test_a_prepared_folder_may_be_what_auto_takes(two_folders, tmp_path, monkeypatch):
    prepared = _prepare(load_manifest(two_folders[0]), tmp_path / "prepared")
    monkeypatch.setenv("BREASTUS_DATA", str(prepared))
    assert len(load_manifest()) == 2


def test_a_folder_with_a_semicolon_is_read_unless_it_holds_masks(tmp_path, write_image):
    folder = tmp_path / "my;images"
    write_image(folder / "lump" / "a.png", 1)
    write_image(folder / "no_lump" / "b.png", 2)
    assert len(load_manifest(folder)) == 2
    assert len(load_manifest(str(folder))) == 2
    write_image(folder / "lump" / "a_mask.png", 3)
    with pytest.raises(DataError, match=r"mask must not contain a semicolon.*Rename.*my;images"):
        load_manifest(folder)


def test_a_folder_with_a_semicolon_cannot_be_one_of_several(tmp_path):
    (tmp_path / "my;images").mkdir()
    assert join_sources([tmp_path / "my;images"]) == str(tmp_path / "my;images")
    with pytest.raises(ConfigError, match=r"cannot be one of several data sets.*my;images"):
        join_sources([tmp_path / "my;images", "phantom"])
    assert join_sources(["a", "b;c"]) == "a;b;c"
