"""A user's own split is read whatever it calls its images; what cannot be meant is refused."""

import pandas as pd
import pytest

from breastus.data.splits.folders import splits_of_folders
from breastus.data.splits.split_csv import match_images, read_split_csv
from breastus.errors import SplitError


@pytest.fixture
def manifest():
    names = ["benign/a", "normal/a", "benign/b.1", "normal/c"]
    return pd.DataFrame(
        {
            "image_id": [f"busi/{name}" for name in names],
            "path": [f"/data/busi/{name}.png" for name in names],
            "excluded": "",
        }
    )


@pytest.fixture
def write(tmp_path):
    def write(text: str):
        (tmp_path / "mine.csv").write_text(text)
        return tmp_path / "mine.csv"

    return write


@pytest.mark.parametrize(
    "text",
    [
        "image_id,split\nbusi/benign/a,train\nbusi/normal/c,test\n",
        "path,split,fold\n/data/busi/benign/a.png,train,1\n/data/busi/normal/c.png,test,2\n",
        "split,File\ntraining,benign/a.png\ntesting,c.png\n",
        "\ufefffilename,split\n.\\benign\\a.png, Train\nnormal/c,TEST\n",
        "name,split\nbusi/benign/a.png,train\nc,test\nc.png,test\n",
        "Image ID;Split\nbusi/benign/a;train\nbusi/normal/c;test\n",
        "image_id,path,split\nbusi/benign/a,/elsewhere/a.png,train\nbusi/normal/c,,test\n",
    ],
)
def test_images_may_be_named_in_many_ways(manifest, write, text):
    path = write(text)
    listed = read_split_csv(path)
    found = dict(zip(match_images(listed["image"], manifest, path), listed["split"], strict=True))
    assert found == {"busi/benign/a": "train", "busi/normal/c": "test"}


def test_an_image_may_stand_in_two_splits(manifest, write):
    path = write("image_id,split\nbusi/normal/c,train\nbusi/normal/c,test\n")
    listed = read_split_csv(path)
    assert match_images(listed["image"], manifest, path) == ["busi/normal/c"] * 2
    assert listed["split"].tolist() == ["train", "test"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read"),
        ("image_id,split\n", "names no images"),
        ("image_id,part\nbusi/a,train\n", "must have a column split .* Received: image_id, part"),
        ("id,split\nbusi/a,train\n", "one of image_id, path"),
        ('image_id,split\n"busi/a,train\n', "cannot be read"),
        (
            "image_id,split\nbusi/a,train\nbusi/b,dev\nbusi/c,\n",
            r"row 3 \(busi/b\).*Received: 'dev'",
        ),
        ("path,split,fold\na,train,1\nb,test,x\n", r"row 3 \(b\): fold must be a whole.*'x'"),
        ("path,file,split\na,b,train\n", "must have one column of path, file"),
    ],
)
def test_damaged_files_are_refused(write, text, message):
    path = write(text)
    with pytest.raises(SplitError, match=message) as caught:
        read_split_csv(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(SplitError, match=r"none\.csv cannot be read"):
        read_split_csv(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([*"uvwxyz", "busi/normal/c"], "Received: u, v, w, x, y and 1 others"),
        (["other/normal/c.png"], "Received: other/normal/c.png"),
        ([""], "Received: "),
        (["a.png"], "fits several images: busi/benign/a, busi/normal/a"),
    ],
)
def test_names_that_fit_no_image_or_several_are_refused(manifest, names, message):
    with pytest.raises(SplitError, match=message):
        match_images(pd.Series(names), manifest, "mine.csv")


def test_what_folders_say():
    table = pd.DataFrame(
        {
            "image_id": ["f/train/lump/a", "f/test/lump/b", "f/test/lump/c", "f/lump/d"],
            "excluded": ["", "known fault: x", "unreadable: y", ""],
        }
    )
    assert splits_of_folders(table).to_numpy().tolist() == [
        ["f/train/lump/a", "train"],
        ["f/test/lump/b", "test"],
    ]
    assert splits_of_folders(table.iloc[[0, 3]]) is None
    assert splits_of_folders(table.iloc[[1, 3]]) is None
