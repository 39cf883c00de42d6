"""Which files below a folder are read, and what is said of the others."""

import io

import pytest
from PIL import Image

from breastus.data.sources.file_tree import files_below, walk
from breastus.data.sources.resolve import read_content
from breastus.errors import DataError


@pytest.fixture
def data(tmp_path, write_image):
    """Class folders with two images each."""
    for seed, name in enumerate(("lump/a", "lump/b", "no_lump/c", "no_lump/d")):
        write_image(tmp_path / "data" / f"{name}.png", seed)
    return tmp_path / "data"


def content(path):
    return read_content(path, known_faults=True)


def test_files_of_other_kinds_are_counted_and_named(data):
    for name in ("lump/x.heic", "lump/y.HEIC", "no_lump/z.gif", "report.pdf"):
        (data / name).write_bytes(b"?")
    for name in ("README.md", "table.csv", "LICENSE", ".DS_Store", "lump/Thumbs.db"):
        (data / name).write_text("path,comment\n")
    found = content(data)
    assert len(found.images) == 4
    (problem,) = found.problems
    assert ".heic (2), .gif (1), .pdf (1), such as " in problem
    assert "Convert them to PNG" in problem


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".JPEG", ".webp"])
def test_files_of_rarer_suffixes_are_read(data, suffix):
    buffer = io.BytesIO()
    form = "WEBP" if suffix == ".webp" else "JPEG"
    Image.open(data / "lump" / "b.png").save(buffer, form)
    (data / "lump" / f"x{suffix}").write_bytes(buffer.getvalue())
    assert [image.name for image in content(data).images][:3] == ["lump/a", "lump/b", "lump/x"]


def test_an_image_without_a_suffix_is_read(data):
    (data / "lump" / "a.png").rename(data / "lump" / "IM_0001")
    assert [image.name for image in content(data).images][:2] == ["lump/b", "lump/IM_0001"]


@pytest.mark.parametrize("form", ["BMP", "WEBP", "TIFF", "JPEG"])
def test_an_image_of_any_format_without_a_suffix_is_read(data, form):
    Image.open(data / "lump" / "a.png").save(data / "lump" / "IM_0001", form)
    assert "lump/IM_0001" in [image.name for image in content(data).images]


def test_binary_files_without_a_suffix_are_named(data):
    for name in ("IM_0001", "1.2.840.7"):
        Image.open(data / "lump" / "a.png").save(data / "lump" / name, "GIF")
    (data / "LICENSE").write_text("Anyone may use these images.")
    (data / "DICOMDIR").write_bytes(bytes(200))
    (problem,) = content(data).problems
    assert "no suffix (2), such as" in problem


def test_links_to_folders_and_files_are_followed(data, tmp_path, write_image):
    store = tmp_path / "store"
    write_image(store / "x.png", 10)
    write_image(store / "deeper" / "y.png", 11)
    (data / "lump" / "more").symlink_to(store, target_is_directory=True)
    (data / "no_lump" / "z.png").symlink_to(write_image(tmp_path / "elsewhere.png", 12))
    found = content(data)
    assert [image.name for image in found.images] == [
        *("lump/a", "lump/b", "lump/more/deeper/y", "lump/more/x"),
        *("no_lump/c", "no_lump/d", "no_lump/z"),
    ]
    assert not found.problems


def test_class_folders_that_are_links(data, tmp_path):
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "data set").symlink_to(data, target_is_directory=True)
    assert len(content(linked).images) == 4
    for name in ("lump", "no_lump"):
        (tmp_path / "classes").mkdir(exist_ok=True)
        (tmp_path / "classes" / name).symlink_to(data / name, target_is_directory=True)
    assert len(content(tmp_path / "classes").images) == 4


def test_loops_of_links_end_and_nothing_is_read_twice(data):
    for name, target in (("lump/up", ".."), ("lump/self", "."), ("lump/aside", "../no_lump")):
        (data / name).symlink_to(target, target_is_directory=True)
    found = content(data)
    assert len(found.images) == 4
    assert len(found.problems) == 3
    assert all("it is not followed" in problem for problem in found.problems)
    assert [path.name for path in walk(data).unfollowed] == ["aside", "self", "up"]


def test_a_link_to_a_folder_above_is_not_followed(data, tmp_path):
    (data / "lump" / "all").symlink_to(tmp_path.parent, target_is_directory=True)
    assert len(files_below(data)) == 4


def test_broken_links_are_named(data):
    (data / "lump" / "gone").symlink_to(data / "nowhere", target_is_directory=True)
    (data / "no_lump" / "more").write_text("../lump")  # git without links writes this
    (data / "no_lump" / "notes").write_text("see ../lump")
    (problem,) = content(data).problems
    assert "broken links (2), such as" in problem


def test_a_class_of_unread_files_alone_says_so(data):
    for file in (data / "no_lump").iterdir():
        file.rename(file.with_suffix(".heic"))
    with pytest.raises(DataError, match=r"no_lump holds no images\. 2 files there are no images"):
        content(data)


def test_a_folder_beside_a_released_data_set_is_named(tmp_path, write_image):
    root = tmp_path / "BUS-UCLM"
    write_image(root / "images" / "ALWI_000.png")
    write_image(root / "masks" / "ALWI_000.png")
    (root / "INFO.csv").write_text("Image;Label;Doppler;Marks;Combined\nALWI_000;Benign;n;n;n\n")
    for number in range(5):
        write_image(root / "more" / f"{number}.png", number + 1)
    (problem,) = content(tmp_path).problems
    assert problem.startswith(f"5 files in {root / 'more'} are images, but no part of the data")


def test_images_beside_dicom_files_are_counted(tmp_path, write_image, speckle):
    from dicom_maker import dicom

    (tmp_path / "a.dcm").write_bytes(dicom(speckle(64, 80)[..., 0]))
    for number in range(5):
        write_image(tmp_path / "png" / f"{number}.png", number)
    found = content(tmp_path)
    assert len(found.images) == 1
    (problem,) = found.problems
    assert problem.startswith(f"5 files in {tmp_path / 'png'} are not DICOM files and are ignored")


def test_images_without_a_row_in_a_table_are_counted(data):
    (data / "images.csv").write_text("path,label\nlump/a.png,lump\nno_lump/c.png,no_lump\n")
    found = content(data)
    assert len(found.images) == 2
    assert len(found.problems) == 2
    assert all(
        "no part of the data set that was recognised" in problem for problem in found.problems
    )
    assert not content(data / "images.csv").problems
