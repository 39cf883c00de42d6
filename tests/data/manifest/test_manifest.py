"""The manifest: every image once, with what is known of it; damaged tables are refused."""

import hashlib

import pandas as pd
import pytest

from breastus.config.schema import DataConfig
from breastus.data.manifest.build import build_manifest_with_pairs, load_manifest
from breastus.data.manifest.schema import (
    COLUMNS,
    has_phantoms,
    included,
    read_manifest,
    sample_balanced,
    summary,
    write_manifest,
)
from breastus.data.sources.phantom import write_phantoms
from breastus.errors import DataError, DataWarning


def test_a_row_for_each_image(class_folders):
    root = class_folders(no_lump=3, lump=4)
    table = load_manifest(root)
    assert tuple(table.columns) == COLUMNS
    assert len(table) == 7
    row = table.set_index("image_id").loc["folder/lump/lump 0"]
    assert (row["label"], row["width"], row["height"]) == ("lump", 80, 64)
    data = (root / "lump" / "lump 0.png").read_bytes()
    assert row["sha256"] == hashlib.sha256(data).hexdigest()
    assert table["group_id"].nunique() == 7
    assert not has_phantoms(table)


def test_csv_comes_back_as_it_went(class_folders, tmp_path):
    table = load_manifest(class_folders(no_lump=2, lump=2))
    write_manifest(table, tmp_path / "out" / "manifest.csv")
    pd.testing.assert_frame_equal(read_manifest(tmp_path / "out" / "manifest.csv"), table)
    # A prepared folder can be named instead of the images.
    pd.testing.assert_frame_equal(load_manifest(tmp_path / "out"), table)


def test_unreadable_images_are_rows_with_the_reason(class_folders):
    root = class_folders(no_lump=2, lump=2)
    (root / "lump" / "empty.png").touch()
    (root / "lump" / "text.png").write_text("no image")
    with pytest.warns(DataWarning) as caught:
        table = load_manifest(root)
    assert len(caught) == 2
    excluded = table[table["excluded"] != ""]
    assert set(excluded["image_id"]) == {"folder/lump/empty", "folder/lump/text"}
    assert excluded["excluded"].str.startswith("unreadable: ").all()
    assert len(included(table)) == 4
    assert "2 excluded: unreadable" in summary(table)
    assert "without a label" not in summary(table)
    assert "6 without a label, not used" in summary(table.assign(label="", excluded=""))


def test_nothing_readable(tmp_path):
    (tmp_path / "lump").mkdir()
    (tmp_path / "lump" / "a.png").touch()
    with pytest.warns(DataWarning), pytest.raises(DataError, match="no readable image"):
        load_manifest(tmp_path)


def test_copied_phantoms_are_known_as_such(tmp_path, class_folders):
    root = class_folders(no_lump=2, lump=2)
    phantoms = write_phantoms(tmp_path / "phantoms", count=4, seed=0)
    source = next((phantoms / "lump").glob("*benign.png"), None) or next(
        (phantoms / "lump").glob("*malignant.png")
    )
    (root / "lump" / "renamed.png").write_bytes(source.read_bytes())
    table = load_manifest(root)
    assert has_phantoms(table)
    assert table.set_index("image_id").loc["folder/lump/renamed", "flags"] == "simulated"


def test_twins_form_a_group_and_contradictions_are_left_out(class_folders):
    root = class_folders(no_lump=3, lump=3)
    twin = (root / "lump" / "lump 0.png").read_bytes()
    (root / "lump" / "twin.png").write_bytes(twin)
    other = (root / "lump" / "lump 1.png").read_bytes()
    (root / "no_lump" / "contradiction.png").write_bytes(other)
    table = load_manifest(root).set_index("image_id")
    assert table.loc["folder/lump/twin", "group_id"] == "folder/lump/lump 0"
    assert table.loc["folder/no_lump/contradiction", "excluded"].startswith("contradiction: ")
    assert table.loc["folder/lump/lump 1", "excluded"].startswith("contradiction: ")
    kept = load_manifest(root, settings=DataConfig(contradictions="keep"))
    assert (kept["excluded"] == "").all()


def test_a_prepared_manifest_keeps_what_it_says_and_its_twins_are_found(class_folders, tmp_path):
    root = class_folders(no_lump=3, lump=3)
    (root / "lump" / "twin.png").write_bytes((root / "lump" / "lump 0.png").read_bytes())
    found = build_manifest_with_pairs(root)
    table = found.manifest.assign(excluded="", group_id="mine")
    write_manifest(table, tmp_path / "out" / "manifest.csv")
    again = build_manifest_with_pairs(tmp_path / "out")
    pd.testing.assert_frame_equal(again.manifest, table)
    pd.testing.assert_frame_equal(again.near_duplicate_pairs, found.near_duplicate_pairs)
    assert len(again.near_duplicate_pairs) == 1


def test_images_that_changed_since_they_were_prepared_are_named(
    class_folders, write_image, tmp_path
):
    root = class_folders(no_lump=2, lump=2)
    write_manifest(load_manifest(root), tmp_path / "manifest.csv")
    write_image(root / "lump" / "lump 0.png", seed=99)
    (root / "lump" / "lump 1.png").unlink()
    with pytest.warns(DataWarning) as caught:
        build_manifest_with_pairs(tmp_path / "manifest.csv")
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == 2
    assert "lump 0.png has changed since" in messages[0]
    assert "lump 1.png cannot be opened" in messages[1]


def test_a_prepared_manifest_without_images(class_folders, tmp_path):
    write_manifest(load_manifest(class_folders(no_lump=1, lump=1)).head(0), tmp_path / "m.csv")
    with pytest.raises(DataError, match=r"m\.csv contains no readable image"):
        build_manifest_with_pairs(tmp_path / "m.csv")


def test_groups_can_be_ignored_to_see_what_leaks_flatter(class_folders, tmp_path):
    root = class_folders(no_lump=3, lump=3)
    (root / "lump" / "twin.png").write_bytes((root / "lump" / "lump 0.png").read_bytes())
    kept, ignored = (load_manifest(root, settings=DataConfig(groups=g)) for g in ("keep", "ignore"))
    assert kept["group_id"].nunique() == 6
    assert (ignored["group_id"] == ignored["image_id"]).all()
    pd.testing.assert_frame_equal(ignored.drop(columns="group_id"), kept.drop(columns="group_id"))
    write_manifest(kept, tmp_path / "out" / "manifest.csv")
    again = load_manifest(tmp_path / "out", settings=DataConfig(groups="ignore"))
    assert again["group_id"].nunique() == 7


def test_a_balanced_sample_takes_findings_in_turn(class_folders):
    table = load_manifest(class_folders(no_lump=2, lump=9))
    assert sorted(sample_balanced(table, 4, seed=0)["label"]) == [
        "lump",
        "lump",
        "no_lump",
        "no_lump",
    ]
    assert len(sample_balanced(table, 100, seed=0)) == 11
    assert sample_balanced(table, 4, seed=0).equals(sample_balanced(table, 4, seed=0))


def _damaged(change):
    def write(table, path):
        change(table).to_csv(path, index=False)

    return write


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_damaged(lambda t: t.drop(columns="sha256")), "Missing: sha256"),
        (_damaged(lambda t: t.assign(age="40")), "Unknown: age"),
        (_damaged(lambda t: pd.concat([t, t.head(1)])), "each image_id must be unique"),
        (_damaged(lambda t: t.assign(label="maybe")), "label of .* must be one of"),
        (_damaged(lambda t: t.assign(finding="cyst")), "finding of .* Received: 'cyst'"),
        (_damaged(lambda t: t.assign(width="wide")), "width must hold whole numbers"),
        (lambda table, path: path.write_text(""), "cannot be read"),
        (lambda table, path: path.write_bytes(b"\xff\xfe\x00"), "cannot be read"),
    ],
)
def test_damaged_tables_are_refused(class_folders, tmp_path, damage, message):
    path = tmp_path / "manifest.csv"
    damage(load_manifest(class_folders(no_lump=1, lump=1)), path)
    with pytest.raises(DataError, match=message) as caught:
        read_manifest(path)
    assert str(path) in str(caught.value)


def test_a_manifest_that_a_spreadsheet_saved_is_read(class_folders, tmp_path):
    root = class_folders(no_lump=1, lump=1)
    (root / "lump" / "lump 0.png").rename(root / "lump" / " é .png")  # blanks of its own stay
    table = load_manifest(root)
    path = tmp_path / "manifest.csv"
    table.to_csv(path, index=False, sep=";", encoding="utf-8-sig", lineterminator="\r\n")
    pd.testing.assert_frame_equal(read_manifest(path), table)


@pytest.mark.slow
@pytest.mark.data
def test_the_real_busi_has_the_duplicates_that_are_known(real_data):
    table = load_manifest(real_data / "busi", settings=DataConfig(known_faults=False))
    sizes = table["group_id"].value_counts()
    # As many as Pawlowska et al. found by eye.
    assert (sizes > 1).sum() == 153
    assert sizes[sizes > 1].sum() == 346
    reasons = table[table["excluded"].str.startswith("contradiction")]
    pairs = set(reasons["image_id"])
    # The letter's two contradictions of lump against normal.
    assert {
        "busi/benign (269)",
        "busi/normal (1)",
        "busi/benign (437)",
        "busi/normal (34)",
    } <= pairs
    assert reasons["group_id"].nunique() == 8
