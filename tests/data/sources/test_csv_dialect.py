"""CSV files are read as spreadsheet programs save them, or refused with a way out."""

import contextlib
import warnings

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from breastus.data.sources.resolve import read_content
from breastus.data.sources.tables import columns_of, read_table
from breastus.data.splits.split_csv import match_images, read_split_csv
from breastus.errors import DataError, DataWarning

PLAIN = "path,label\nscans/0.png,lump\nscans/1.png,no_lump\n"
DIALECTS = {
    "commas": PLAIN.encode(),
    "semicolons": PLAIN.replace(",", ";").encode(),
    "tabs": PLAIN.replace(",", "\t").encode(),
    "bars": PLAIN.replace(",", "|").encode(),
    "lines of Windows": PLAIN.replace("\n", "\r\n").encode(),
    "mark of UTF-8": PLAIN.encode("utf-8-sig"),
    "Excel's Unicode text": PLAIN.replace(",", "\t").replace("\n", "\r\n").encode("utf-16"),
    "UTF-16, big end first": b"\xfe\xff" + PLAIN.encode("utf-16-be"),
    "UTF-16 without a mark": PLAIN.encode("utf-16-le"),
    "Excel's first line": b"sep=;\r\n" + PLAIN.replace(",", ";").encode(),
    "Excel's first line with a mark": "sep=\t\n".encode("utf-8-sig")
    + PLAIN.replace(",", "\t").encode(),
    "lines of an old Mac": b"sep=;\r\r" + PLAIN.replace(",", ";").replace("\n", "\r").encode(),
    "blanks before quotes": b'path, label, "note, free"\n'
    b'scans/0.png, lump, "x, y"\nscans/1.png , no_lump ,\n',
    "folders of Windows": PLAIN.replace("/", "\\").encode(),
    "blank lines above": b"\n\r\n" + PLAIN.encode(),
    "separators below": PLAIN.encode() + b",\n,\n",
    "commas in a quoted name": b'path;label;"note, free, text"\n'
    b"scans/0.png;lump;x\nscans/1.png;no_lump;x\n",
    "commas in an unquoted name": b"path;label;note, free\n"
    b"scans/0.png;lump;1,5\nscans/1.png;no_lump;2,5\n",
    "semicolons in cells": b"path,label,mask_paths\nscans/0.png,lump,m;n;o\nscans/1.png,no_lump,\n",
    "quoted cells": b'"path","label"\n"scans/0.png","lump"\n"scans/1.png","no_lump"\n',
    "a column of numbers": b",path,label\n0,scans/0.png,lump\n1,scans/1.png,no_lump\n",
    "a name with blanks": PLAIN.replace("path", "File Name").encode(),
    "another name": PLAIN.replace("path", "filename").encode(),
}


@pytest.fixture
def write(tmp_path, write_image):
    """A function (bytes) that writes a CSV beside two images."""
    for number in range(2):
        write_image(tmp_path / "scans" / f"{number}.png", number)

    def write(data: bytes):
        (tmp_path / "mine.csv").write_bytes(data)
        return tmp_path / "mine.csv"

    return write


@pytest.mark.parametrize("data", DIALECTS.values(), ids=DIALECTS)
def test_tables_of_images_and_splits_are_read_alike(write, data):
    found = read_content(write(data), known_faults=True)
    assert {image.name: image.label for image in found.images} == {
        "scans/0": "lump",
        "scans/1": "no_lump",
    }
    for label, split in (("no_lump", "test"), ("lump", "train"), ("label", "split")):
        # The same table as a split; letters of every encoding above.
        for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
            data = data.replace(label.encode(encoding), split.encode(encoding))
    path = write(data)
    listed = read_split_csv(path)
    assert listed["split"].tolist() == ["train", "test"]
    manifest = pd.DataFrame(
        {
            "image_id": ["csv/scans/0", "csv/scans/1"],
            "path": [str(path.parent / "scans" / f"{number}.png") for number in range(2)],
        }
    )
    assert match_images(listed["image"], manifest, path) == ["csv/scans/0", "csv/scans/1"]


def test_windows_1252_is_read_and_said(write, tmp_path, write_image):
    write_image(tmp_path / "scans" / "Läsion.png", 3)
    path = write(PLAIN.encode() + "scans/Läsion.png,lump\n".encode("cp1252"))
    with pytest.warns(DataWarning, match=r"not UTF-8 \(row 4\).*Windows-1252.*CSV UTF-8"):
        found = read_content(path, known_faults=True)
    assert [image.path.name for image in found.images] == ["0.png", "1.png", "Läsion.png"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (PLAIN.encode() + b"\x81\x8d", r"encoding is unknown \(row 4\).*CSV UTF-8"),
        (PLAIN.encode() + b"\0\0\0", "does not hold text"),
        (b"PK\x03\x04\0\0", "is an Excel file with the name of a CSV file.*CSV UTF-8"),
        (PLAIN.encode() + b'"scans/2.png,lump\n', "Check its quotation marks"),
        (PLAIN.encode() + b'"scans/2.png" x,lump\n', "Check its quotation marks"),
        (b'path,label,note\nscans/0.png,lump,"big" lump\n', "Check its quotation marks"),
        (
            PLAIN.encode() + b"scans/2.png,lump,large, round\n",
            r"row 4 has 4 cells for 2 columns.*',' in quotation marks",
        ),
        (b"path,path,label\nscans/0.png,scans/1.png,lump\n", "two columns path"),
        (b"C:\\scans\\0.png;x\n", "must have one column of path"),
        (b"path;label\nC:\\scans\\0.png;lump\n", r"relative to .* Received: C:.scans.0.png"),
    ],
)
def test_other_files_are_refused_with_a_way_out(write, data, message):
    path = write(data)
    with pytest.raises(DataError, match=message) as caught:
        read_content(path, known_faults=True)
    assert "mine.csv" in str(caught.value)


@pytest.mark.parametrize("above", ["", "\n", "sep=,\n"])
def test_rows_are_numbered_as_in_the_file(write, above):
    path = write(f"{above}path,label\nscans/0.png,lump\n\nscans/1.png,maybe\n".encode())
    row = 4 + bool(above)
    with pytest.raises(DataError, match=rf"row {row} \(scans/1.png\)"):
        read_content(path, known_faults=True)


def test_columns_without_a_name_are_kept_if_they_hold_something(write):
    table = read_table(write(b",path,,label,\n0,a,,lump,\n1,b,,no_lump,\n"))
    assert table.columns.tolist() == ["column 1", "path", "label"]
    assert table.to_numpy().tolist() == [["0", "a", "lump"], ["1", "b", "no_lump"]]


def test_a_name_with_a_backslash_of_its_own_is_kept(write, tmp_path, write_image):
    write_image(tmp_path / "a\\b.png", 3)
    found = read_content(write(b"path,label\na\\b.png,lump\n"), known_faults=True)
    assert found.images[0].path.name == "a\\b.png"


def test_a_very_large_file_is_refused(tmp_path):
    path = tmp_path / "mine.csv"
    with path.open("wb") as file:
        file.truncate(200 * 2**20)
    with pytest.raises(DataError, match="must be below 100 MiB"):
        read_table(path)


@settings(max_examples=30, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=60),
        st.text("pathlbe,;\t|\"'\r\n \\\0é=", max_size=60).map(str.encode),
        st.text('path,;"\n é', max_size=40).map(lambda text: text.encode("utf-16")),
    )
)
def test_any_bytes_are_a_table_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(data)
    with warnings.catch_warnings(), contextlib.suppress(DataError):
        warnings.simplefilter("ignore", DataWarning)
        table = read_table(path)
        assert (table.index >= 0).all()
        assert columns_of(path)
