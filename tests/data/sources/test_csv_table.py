"""A user's own CSV: what it may say, and that what it says wrongly is refused with its row."""

import pytest

from breastus.data.manifest.build import load_manifest
from breastus.data.sources.resolve import read_content
from breastus.errors import DataError, DataWarning


@pytest.fixture
def table(tmp_path, write_image):
    """A function (text, name) that writes a CSV beside four images."""
    for seed, name in enumerate(("a", "b", "c", "d")):
        write_image(tmp_path / "scans" / f"{name}.png", seed)

    def write(text, name="mine.csv"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return write


def content(path):
    return read_content(path, known_faults=True)


def by_name(found):
    return {image.name: image for image in found.images}


def test_a_full_table(table, tmp_path, write_image):
    mask = write_image(tmp_path / "masks" / "a.png", 9)
    path = table(
        "Path,Label,finding,patient_id,mask_paths,flags,source,excluded\n"
        "scans/a.png,lump,malignant,001,masks/a.png,caliper;text,Astana,\n"
        "scans/b.png,no_lump,,001,,,Astana,\n"
        "scans/c.png,,,,,,Almaty,out of focus\n"
        f"{tmp_path}/scans/d.png,Benign,,002,,,Almaty,\n"
    )
    found = content(path)
    assert not found.problems
    images = by_name(found)
    assert sorted(images) == ["scans/a", "scans/b", "scans/c", "scans/d"]
    first = images["scans/a"]
    assert (first.label, first.finding, first.patient_id) == ("lump", "malignant", "001")
    assert (first.mask_paths, first.flags, first.source) == ((mask,), ("caliper", "text"), "Astana")
    assert (images["scans/b"].label, images["scans/b"].finding) == ("no_lump", "normal")
    # Unknown stays unknown.
    assert (images["scans/c"].label, images["scans/c"].finding) == ("", "unknown")
    assert images["scans/c"].excluded == "out of focus"
    assert (images["scans/d"].label, images["scans/d"].finding) == ("lump", "benign")


@pytest.mark.parametrize(
    ("columns", "row", "expected"),
    [
        ("image,finding", "benign", ("lump", "benign")),
        ("file,finding", "Normal", ("no_lump", "normal")),
        ("path,finding", "", ("", "unknown")),
        ("path,finding", "unknown", ("", "unknown")),
        ("path,label", "unknown", ("", "unknown")),
        ("path,label", "lump", ("lump", "unknown")),
        ("path,label", "malignant", ("lump", "malignant")),
        ("path,label,finding", "lump,benign", ("lump", "benign")),
        ("path,label,finding", "lump,unknown", ("lump", "unknown")),
        ("path,label,finding", ",malignant", ("lump", "malignant")),
    ],
)
def test_label_and_finding(table, columns, row, expected):
    (image,) = content(table(f"{columns}\nscans/a.png,{row}\n")).images
    assert (image.label, image.finding) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "path,label\nscans/a.png,lump\nscans/b.png,maybe",
            r"row 3 \(scans/b.png\): label .*'maybe'",
        ),
        ("path,finding\nscans/a.png,cyst", r"row 2 .*: finding must be one of .*'cyst'"),
        (
            "path,label,finding\nscans/a.png,no_lump,benign",
            "contradict each other.*no_lump, benign",
        ),
        ("path,label,finding\nscans/a.png,benign,malignant", "contradict each other"),
        ("path,label,finding\nscans/a.png,lump,normal", "contradict each other"),
        (
            "path,label\nscans/a.png,lump\n./scans/a.png,lump",
            "row 2 .* and row 3 .* same image",
        ),
        ("path,label\n,lump", "row 2: path must not be empty"),
        ("path,label\nscans/z.png,lump", "names no existing image"),
        ("path,label", "names no images"),
        (
            "path,diagnosis\nscans/a.png,lump",
            "must have one column of path, file, filename.*, and label",
        ),
        (
            "path,file,label\na,scans/a.png,lump",
            "must have one column of path, file.* Received: path, file",
        ),
        ("path,label,Label\nscans/a.png,lump,lump", "two columns label"),
        ("path,label,patientid\nscans/a.png,lump,1", "a column patientid.*patient_id"),
        ("path,label,excluded\nscans/a.png,lump,no", "excluded must hold the reason.*'no'"),
        ("path,label,flags\nscans/a.png,lump,Has Text", "flags must be words.*'Has Text'"),
        ("path,label,source\nscans/a.png,lump,a/b", "source must consist of letters.*'a/b'"),
        ("", "cannot be read as a table"),
    ],
)
def test_what_is_not_understood_is_refused(table, text, message):
    path = table(text)
    with pytest.raises(DataError, match=message) as caught:
        content(path)
    assert "mine.csv" in str(caught.value)


def test_missing_files_and_unused_columns_are_named(table):
    found = content(
        table("path,label,age,mask_paths\nscans/a.png,lump,40,m.png\nscans/z.png,lump,41,\n")
    )
    assert list(by_name(found)) == ["scans/a"]
    assert found.images[0].mask_paths == ()
    problems = "\n".join(found.problems)
    assert "the columns age are not used" in problems
    assert "m.png, which does not exist" in problems
    assert "names scans/z.png, which is not in that place" in problems


def test_many_missing_files_are_counted(table):
    rows = "".join(f"scans/x{n}.png,lump\n" for n in range(50))
    (problem,) = content(table(f"path,label\nscans/a.png,lump\n{rows}")).problems
    assert "names 50 files that are not in that place, such as scans/x0.png" in problem


def test_names_stay_apart_and_say_nothing_of_the_machine(table, tmp_path, write_image):
    elsewhere = [write_image(tmp_path / side / "x" / "scan.png", 5) for side in ("left", "right")]
    (tmp_path / "list").mkdir()
    lines = [f"{path},lump" for path in elsewhere]
    path = table("\n".join(["path,label", *lines]), "list/mine.csv")
    assert sorted(by_name(content(path))) == ["left/x/scan", "right/x/scan"]
    (tmp_path / "scans" / "a.jpg").write_bytes((tmp_path / "scans" / "a.png").read_bytes())
    path = table("path,label\nscans/a.png,lump\nscans/a.jpg,lump\nscans/b.png,lump\n")
    assert sorted(by_name(content(path))) == ["scans/a.jpg", "scans/a.png", "scans/b"]


def test_a_folder_that_holds_the_table(table, tmp_path):
    table("path,label\nscans/a.png,lump\n")
    table("age,label\n1,lump\n", "notes.csv")
    assert content(tmp_path).source == "csv"
    table("path,label\nscans/b.png,no_lump\n", "images.csv")  # the one that is meant
    assert list(by_name(content(tmp_path))) == ["scans/b"]
    (tmp_path / "images.csv").rename(tmp_path / "other.csv")
    with pytest.raises(DataError, match="has no known layout"):
        content(tmp_path)  # two tables: which is meant is not guessed


def test_class_folders_beside_a_table_are_asked_about(table, class_folders, tmp_path):
    root = class_folders(no_lump=1, lump=1)
    table("image,label\nlump/lump 0.png,lump\n", "images/train.csv")
    with pytest.raises(DataError, match=r"in two ways: by its class folders, or by train\.csv"):
        content(root)
    assert len(content(root / "train.csv").images) == 1
    (root / "train.csv").rename(root / "images.csv")
    assert content(root).source == "csv"


def test_in_the_manifest(table):
    path = table("path,label,source\nscans/a.png,lump,Astana\nscans/b.png,no_lump,\nx.png,lump,\n")
    with pytest.warns(DataWarning) as caught:
        manifest = load_manifest(path)
    assert "names x.png" in str(caught[0].message)
    assert "2 of 3 rows have no source and count as csv" in str(caught[1].message)
    assert manifest["image_id"].tolist() == ["Astana/scans/a", "csv/scans/b"]
    assert manifest["source"].tolist() == ["Astana", "csv"]
    assert (manifest["width"] == 80).all()


def test_a_manifest_is_not_taken_for_a_users_table(table, tmp_path):
    manifest = load_manifest(table("path,label\nscans/a.png,lump\nscans/b.png,no_lump\n"))
    for name in ("manifest.csv", "renamed.csv"):
        manifest.to_csv(tmp_path / "scans" / name, index=False)
        assert load_manifest(tmp_path / "scans" / name).equals(manifest)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # A spreadsheet that had merged cells.
        (
            "path,label,patient_id\nscans/a.png,lump,P1\nscans/b.png,no_lump,\nscans/c.png,lump,P2",
            r"1 of 3 rows have no patient_id, the first is row 3 \(scans/b.png\). Merged cells\?",
        ),
        ("path,label,Patient ID\nscans/a.png,lump,P1\nscans/b.png,no_lump,n/a", "no patient_id"),
        ("path,label,patient_id\nscans/a.png,lump,P1\nscans/b.png,no_lump,#N/A", "no patient_id"),
        (
            "path,label,source,patient_id\nscans/a.png,lump,A,1\nscans/b.png,lump,B,\n"
            "scans/c.png,lump,A,",
            r"1 of 3 rows have no patient_id, the first is row 4 \(scans/c.png\)",
        ),
        (
            "path,label,source,patient_id\nscans/a.png,lump,A,1\nscans/b.png,lump,,1",
            r"1 of 2 rows have no source, the first is row 3 \(scans/b.png\)",
        ),
    ],
)
def test_patients_and_sources_of_some_rows_only_are_refused(table, text, message):
    with pytest.raises(DataError, match=message):
        content(table(text))


@pytest.mark.parametrize(
    ("text", "patients"),
    [
        (
            "path,label,patient_id\nscans/a.png,lump,unknown\nscans/b.png,no_lump,Unknown",
            ["", ""],
        ),
        # One of two hospitals knows its patients.
        (
            "path,label,source,patient_id\nscans/a.png,lump,A,1\nscans/b.png,lump,B,\n"
            "scans/c.png,lump,A,1",
            ["1", "", "1"],
        ),
        # Images that are not used need no patient.
        (
            "path,label,patient_id,excluded\nscans/a.png,lump,1,\nscans/b.png,,,\n"
            "scans/c.png,lump,,blurred",
            ["1", "", ""],
        ),
    ],
)
def test_patients_may_be_unknown(table, text, patients):
    assert [image.patient_id for image in content(table(text)).images] == patients


@pytest.mark.parametrize(
    ("one", "other"),
    [("1", "1.0"), ("001", "1"), ("P7", "p7"), ("P-7", "P 7"), ("A01", "a1"), ("12,0", "12")],
)
def test_one_patient_in_two_spellings_is_named(table, one, other):
    text = f"path;label;patient_id\nscans/a.png;lump;{one}\nscans/b.png;no_lump;{other}\n"
    with pytest.warns(DataWarning, match=f"1 patients may be written in two.*{one} and {other}"):
        content(table(text))


def test_different_patients_are_not_taken_for_one(table, recwarn):
    text = (
        "path,label,patient_id,source\nscans/a.png,lump,10,A\nscans/b.png,no_lump,1,A\n"
        "scans/c.png,lump,1.1,A\nscans/d.png,lump,01,B\n"
    )
    content(table(text))
    assert not recwarn.list
