"""The public data sets that come with a table, in their released layout and in damaged ones."""

import builtins
import inspect
import warnings

import pytest

from breastus.data.manifest.build import load_manifest
from breastus.data.sources import bus_bra, registry, tables
from breastus.data.sources.content import SourceContent, SourceImage
from breastus.data.sources.registry import find_source, is_layout, list_sources, register_source
from breastus.data.sources.resolve import read_content
from breastus.errors import DataError


def content(path):
    return read_content(path, known_faults=True)


def by_name(found):
    return {image.name: image for image in found.images}


@pytest.fixture
def bus_bra_folder(tmp_path, write_image):
    root = tmp_path / "BUSBRA" / "BUSBRA"
    lines = ["ID,Case,Histology,Pathology,BIRADS,Device,Width,Height,Side,BBOX"]
    for seed, (name, case, pathology) in enumerate(
        [("0001-l", 1, "benign"), ("0001-r", 1, "benign"), ("0002-l", 2, "malignant")]
    ):
        write_image(root / "Images" / f"bus_{name}.png", seed)
        write_image(root / "Masks" / f"mask_{name}.png", 50 + seed)
        lines.append(f'bus_{name},{case},Fibroadenoma,{pathology},3,GE,80,64,left,"[1,2,3,4]"')
    (root / "bus_data.csv").write_text("\n".join(lines))
    (root / "5-fold-cv.csv").write_text("ID,Pathology,kFold\nbus_0001-l,benign,1\n")
    return root


def test_bus_bra(bus_bra_folder, tmp_path):
    found = content(tmp_path)
    assert found.source == "bus_bra"
    assert not found.problems
    images = by_name(found)
    assert {name: image.patient_id for name, image in images.items()} == {
        "bus_0001-l": "1",
        "bus_0001-r": "1",
        "bus_0002-l": "2",
    }
    assert images["bus_0002-l"].finding == "malignant"
    assert {image.label for image in found.images} == {"lump"}
    assert images["bus_0001-r"].mask_paths == (bus_bra_folder / "Masks" / "mask_0001-r.png",)


def test_bus_bra_names_what_is_out_of_place(bus_bra_folder, write_image):
    (bus_bra_folder / "Images" / "bus_0002-l.png").unlink()
    stranger = write_image(bus_bra_folder / "Images" / "bus_9999-l.png")
    problems = "\n".join(content(bus_bra_folder).problems)
    assert "names bus_0002-l, which is not in Images/" in problems
    assert f"{stranger} has no row in bus_data.csv" in problems
    assert "mask_0002-l.png is a mask without an image" in problems


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ID,Case\nbus_0001-l,1", "lacks the column Pathology. Received: ID, Case"),
        ("ID,Case,Pathology\na,1,benign\nb,2,cyst", r"row 3 \(b\): Pathology .*Received: 'cyst'"),
        ("ID,Case,Pathology\na,1,benign\nb,2,", r"row 3 \(b\): Pathology must be one of .*''$"),
        (
            "ID,Case,Pathology\nb,1,benign\na,1,benign\na,2,benign",
            r"row 3 \(a\) and row 4 \(a\) name the same",
        ),
        ("ID,Case,Pathology\nbus_0001-l,,benign", r"no Case, the first is row 2 \(bus_0001-l\)"),
        ("ID,Case,Pathology\na,1,benign\nb,,benign", "1 of 2 rows have no Case"),
        ("ID,Case,Pathology\na,1,benign", "holds none of the images"),
        ("ID,ID ,Case,Pathology\na,a,1,benign", "two columns ID"),
        ("", "cannot be read as a table"),
        ("\0\udcff", "cannot be read as a table"),
    ],
)
def test_bus_bra_with_a_bad_table(bus_bra_folder, text, message):
    path = bus_bra_folder / "bus_data.csv"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=message) as caught:
        content(bus_bra_folder)
    assert str(bus_bra_folder) in str(caught.value)


BREAST_COLUMNS = "CaseID,Image_filename,Mask_tumor_filename,Mask_other_filename,Pixel_size,Age"
BREAST_ROWS = [
    ("1", "case001.png", "case001_tumor.png", "", "0.01", "57", "benign"),
    ("2", "case002.png", "case002_tumor.png", "case002_other1.png&case002_other2.png", "", "", ""),
    ("45", "case045.png", "", "", "0.01", "not available", "normal"),
]
BREAST_XLSX = "BrEaST-Lesions-USG-clinical-data-Dec-15-2023.xlsx"


@pytest.fixture
def breast_rows():
    rows = [list(row) for row in BREAST_ROWS]
    rows[1][-1] = "malignant"
    return [[*BREAST_COLUMNS.split(","), "Classification"], *rows]


@pytest.fixture
def breast_folder(tmp_path, write_image, breast_rows):
    root = tmp_path / "BrEaST"
    inner = root / "BrEaST-Lesions_USG-images_and_masks"
    for seed, row in enumerate(breast_rows[1:]):
        for number, name in enumerate(row[1:4]):
            for part in name.split("&") if name else ():
                write_image(inner / part, 10 * seed + number)
    return root


def _write_xlsx(path, rows):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append([int(cell) if cell.isdigit() else cell or None for cell in row])
    book.save(path)


def _assert_is_breast(found):
    assert found.source == "breast_usg"
    assert not found.problems
    images = by_name(found)
    assert [image.finding for image in found.images] == ["benign", "malignant", "normal"]
    assert [image.label for image in found.images] == ["lump", "lump", "no_lump"]
    assert [image.patient_id for image in found.images] == ["1", "2", "45"]
    # Masks of other findings are neither images nor masks of lesions.
    assert [path.name for path in images["case002"].mask_paths] == ["case002_tumor.png"]
    assert images["case045"].mask_paths == ()


def test_breast_from_excel(breast_folder, breast_rows):
    _write_xlsx(breast_folder / BREAST_XLSX, breast_rows)
    (breast_folder / f"~${BREAST_XLSX}").write_bytes(b"a lock of the office suite")
    _assert_is_breast(content(breast_folder))


@pytest.mark.parametrize("separator", [",", ";"])
def test_breast_from_csv(breast_folder, breast_rows, separator):
    (breast_folder / BREAST_XLSX).write_bytes(b"not looked at")
    lines = [separator.join(row) for row in breast_rows]
    (breast_folder / "clinical.csv").write_text("\n".join(lines), encoding="utf-8-sig")
    _assert_is_breast(content(breast_folder))


def test_breast_without_openpyxl_says_two_ways_out(breast_folder, monkeypatch):
    (breast_folder / BREAST_XLSX).write_bytes(b"")
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "openpyxl":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DataError, match=r"pip install 'breastus\[xlsx\]'.*save it as CSV"):
        content(breast_folder)


def test_breast_with_a_damaged_excel_file(breast_folder):
    pytest.importorskip("openpyxl")
    (breast_folder / BREAST_XLSX).write_bytes(b"PK\3\4 and nothing else")
    with pytest.raises(DataError, match="cannot be read as an Excel file"):
        content(breast_folder)


def test_breast_names_what_is_out_of_place(breast_folder, breast_rows, write_image):
    inner = breast_folder / "BrEaST-Lesions_USG-images_and_masks"
    breast_rows[3][-1] = "Normal"  # case does not matter
    (breast_folder / "clinical.csv").write_text("\n".join(map(",".join, breast_rows)))
    (inner / "case001.png").unlink()
    (inner / "case002_tumor.png").unlink()
    write_image(inner / "case300.png")
    write_image(inner / "case300_tumor.png")
    found = content(breast_folder)
    assert sorted(by_name(found)) == ["case002", "case045"]
    problems = "\n".join(found.problems)
    assert "names case001.png, which is not in" in problems
    assert "names case002_tumor.png, which is not in" in problems
    assert "case300.png has no row in clinical.csv" in problems
    assert "case300_tumor.png is a mask without an image" in problems


@pytest.fixture
def udiat_folder(tmp_path, write_image):
    root = tmp_path / "BUS"
    for number in (1, 2, 3):
        write_image(root / "original" / f"{number:06d}.png", number)
        write_image(root / "GT" / f"{number:06d}.png", 50 + number)
    return root


UDIAT_ROWS = [["Image", "Type", ""], ["1", "Benign", "CYST"], ["2", "Malignant", "DCI"]]


def _assert_is_udiat(found):
    assert found.source == "udiat"
    images = by_name(found)
    assert {name: image.finding for name, image in images.items()} == {
        "000001": "benign",
        "000002": "malignant",
    }
    assert images["000002"].label == "lump"
    (mask,) = images["000001"].mask_paths
    assert "GT" in mask.parts


def test_udiat_from_excel(udiat_folder, tmp_path):
    _write_xlsx(udiat_folder / "DatasetB.xlsx", UDIAT_ROWS)
    found = content(tmp_path)
    _assert_is_udiat(found)
    (problem,) = found.problems
    assert "000003.png has no row in DatasetB.xlsx" in problem


def test_udiat_from_csv(udiat_folder):
    (udiat_folder / "original" / "000003.png").rename(udiat_folder / "GT" / "000009.png")
    (udiat_folder / "DatasetB.csv").write_text("Image,Type\n000001,Benign\n2,malignant\n7,Benign\n")
    found = content(udiat_folder)
    _assert_is_udiat(found)
    problems = "\n".join(found.problems)
    assert "names 000007, which is not in original/" in problems
    assert "000009.png is a mask without an image" in problems


@pytest.mark.parametrize("layout", ["{kind}/{finding}/{name}", "{finding}/{kind}/{name}"])
def test_udiat_with_classes_as_folders(tmp_path, write_image, layout):
    for number, finding in ((1, "Benign"), (2, "Malignant")):
        for kind in ("original", "GT"):
            place = layout.format(kind=kind, finding=finding, name=f"{number:06d}.png")
            write_image(tmp_path / place, number)
    found = content(tmp_path)
    assert not found.problems
    _assert_is_udiat(found)


def test_other_images_in_such_folders_are_not_udiats(tmp_path, write_image):
    for finding in ("benign", "malignant"):
        write_image(tmp_path / finding / "original" / "mine.png")
        write_image(tmp_path / finding / "GT" / "mine.png")
    found = content(tmp_path)
    assert found.source == "folder"
    assert [len(image.mask_paths) for image in found.images] == [1, 1]


def test_several_data_sets_in_one_folder_are_not_passed_over(bus_bra_folder, udiat_folder):
    (udiat_folder / "DatasetB.csv").write_text("Image,Type\n1,Benign\n")
    with pytest.raises(DataError, match="holds several data sets: bus_bra, udiat"):
        content(bus_bra_folder.parents[1])


@pytest.mark.parametrize("name", [name for name in list_sources() if not is_layout(name)])
def test_every_public_source_states_its_provenance(name):
    text = " ".join(inspect.getmodule(find_source(name).read).__doc__.split())
    for word in ("images", "benign", "malignant", "Origin:", "Known faults:", "Reference:"):
        assert word in text
    assert any(licence in text for licence in ("CC BY 4.0", "CC0", "No open licence"))


def test_a_row_keeps_its_number_below_blank_lines(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("ID,Pathology\na,benign\n\n,\nb,odd\n")
    table = tables.read_table(path)
    assert table["ID"].tolist() == ["a", "b"]
    with pytest.raises(DataError, match=r"row 5 \(b\)"):
        tables.check_values(table, "Pathology", ("benign",), path)


def test_reading_tables_is_silent(bus_bra_folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bus_bra.read(bus_bra_folder)


@pytest.fixture
def own_source(monkeypatch):
    """A source from outside the package, which is forgotten after the test."""
    monkeypatch.setattr(registry, "_SOURCES", dict(registry._SOURCES))

    @register_source("astana", recognises=lambda folder: (folder / "astana.txt").is_file())
    def read(folder):
        names = (folder / "astana.txt").read_text().split()
        return SourceContent(
            [SourceImage(name=n, path=folder / n, finding="benign", patient_id="1") for n in names]
        )

    return "astana"


def test_a_source_from_outside_the_package_is_read_like_the_others(
    own_source, tmp_path, write_image
):
    for part in ("a", "b"):
        write_image(tmp_path / part / "lump" / "x.png", seed=ord(part))
        (tmp_path / part / "astana.txt").write_text("lump/x.png")
    assert own_source in list_sources()
    table = load_manifest([tmp_path / "a", tmp_path / "b"])
    assert table["image_id"].tolist() == ["astana/lump/x.png", "astana-2/lump/x.png"]
    assert set(table["label"]) == {"lump"}
    assert table["group_id"].nunique() == 1  # one hospital's patient 1 is the same in both parts


def test_a_source_cannot_take_the_name_of_another(own_source):
    with pytest.raises(DataError, match="astana is registered already"):
        register_source("astana", recognises=lambda folder: True)(lambda folder: None)
