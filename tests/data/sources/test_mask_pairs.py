"""Lesion masks and cut-outs in data sets of any naming: never images, and always said."""

import numpy as np
import pytest
from PIL import Image

from breastus.data.images import to_png
from breastus.data.masks import is_cutout, looks_like_mask
from breastus.data.sources.resolve import read_content

NUMBERS = (1, 3, 4, 5, 10)  # no published faults of BUSI


@pytest.fixture
def write_mask(speckle):
    """A function (path, seed, empty) that writes the mask of a lesion; returns the path."""

    def write(path, seed=0, *, empty=False, levels=(0, 255)):
        pixels = np.full((64, 80, 3), levels[0], np.uint8)
        if not empty:
            row = 10 + seed % 20
            pixels[row : row + 20, 20:50] = levels[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(to_png(pixels))
        return path

    return write


@pytest.fixture
def data_set(tmp_path, write_image, write_mask):
    """A function (image, mask) of names such as "images/{finding}/{n}.png" that writes both."""

    def write(image, mask):
        for index, finding in enumerate(("benign", "malignant", "normal")):
            for n in NUMBERS:
                names = {"finding": finding, "n": n}
                write_image(tmp_path / image.format(**names), 100 * index + n)
                write_mask(tmp_path / mask.format(**names), n, empty=finding == "normal")
        return tmp_path

    return write


def content(path):
    return read_content(path, known_faults=True)


BUSI_IMAGE = "images/{finding}/{finding} ({n}).png"


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        (BUSI_IMAGE, "GT/{finding}/{finding} ({n}).png"),
        (BUSI_IMAGE, "Masks/{finding}/{finding} ({n}).png"),
        (BUSI_IMAGE, "annotations/{finding}/{finding} ({n}).png"),
        (BUSI_IMAGE, "ground_truth/{finding}/{finding} ({n})_mask.png"),
        (BUSI_IMAGE, "ground_truth/{finding}/{finding} ({n})_seg.png"),
        ("{finding}/img/{finding} ({n}).png", "{finding}/a/{finding} ({n}).png"),
        ("{finding}/{finding} ({n}).png", "annotations/{finding}/{finding} ({n}).png"),
        ("train/im/{finding}/{finding} ({n}).png", "train/ann/{finding}/{finding} ({n}).png"),
        ("{finding}/{finding}_{n}.png", "{finding}/{finding}_{n}_segmentation.png"),
        ("{finding}/{finding}_{n}.png", "{finding}/{finding}_{n}_GT.png"),
        ("{finding}/{finding}{n}.png", "{finding}/mask_{finding}{n}.png"),
        ("{finding}/{n} Image.bmp.png", "{finding}/{n} Lesion Outline.tif.png"),
        ("{finding}/bus_{n:04d}-l.png", "{finding}/gt_{n:04d}-l.png"),
        ("scans/{finding}/{finding}{n}.png", "контур/{finding}{n}.png"),
        ("{finding}/patient{n}/1.png", "{finding}/patient{n}/1_roi.png"),
        ("{finding}/patient{n}/image.png", "{finding}/patient{n}/mask.png"),
        ("{finding}/{n}/us.png", "{finding}/{n}/lesion label.png"),
    ],
)
def test_a_file_of_few_levels_is_the_mask_of_the_image_of_similar_name(data_set, image, mask):
    found = content(data_set(image, mask))
    assert len(found.images) == 15
    for row in found.images:
        (paired,) = row.mask_paths
        values = {"finding": row.finding, "n": next(n for n in NUMBERS if _named(row, image, n))}
        assert row.path.as_posix().endswith(image.format(**values))
        assert paired.as_posix().endswith(mask.format(**values))


def _named(row, image, n):
    return row.path.as_posix().endswith(image.format(finding=row.finding, n=n))


def test_masks_that_are_found_by_content_are_counted_and_named(data_set):
    found = content(data_set(BUSI_IMAGE, "ground_truth/{finding}/{finding} ({n})_seg.png"))
    assert found.source == "busi"
    (problem,) = found.problems
    assert "ground_truth (5 in benign, 5 in malignant, 5 in normal)" in problem
    assert "are used as lesion masks, not as images" in problem


@pytest.mark.parametrize("levels", [(0, 1), (0, 128), (255, 0), (7, 250)])
def test_any_few_levels_make_a_mask(tmp_path, write_image, write_mask, levels):
    write_image(tmp_path / "lump" / "a.png")
    mask = write_mask(tmp_path / "lump" / "a_x.png", levels=levels)
    (image,) = content(tmp_path).images
    assert image.mask_paths == (mask,)


def test_a_jpeg_mask_and_several_lesions(tmp_path, write_image, write_mask):
    write_image(tmp_path / "lump" / "a 1.png")
    for number in (1, 2):
        mask = write_mask(tmp_path / "lump" / f"a 1 seg {number}.png", 5 * number)
        Image.open(mask).save(mask.with_suffix(".jpg"), quality=70)
        mask.unlink()
    (image,) = content(tmp_path).images
    assert [path.name for path in image.mask_paths] == ["a 1 seg 1.jpg", "a 1 seg 2.jpg"]


@pytest.mark.parametrize("image", ["{n}", "case{n:03d}"])
def test_numbers_of_lesions_are_not_taken_for_numbers_of_images(
    tmp_path, write_image, write_mask, image
):
    for n in range(1, 11):
        write_image(tmp_path / "lump" / f"{image.format(n=n)}.png", n)
        for lesion in (1, 2):
            write_mask(tmp_path / "lump" / f"{image.format(n=n)}_lesion{lesion}.png", n + lesion)
    found = content(tmp_path)
    assert [row.name for row in found.images] == [f"lump/{image.format(n=n)}" for n in range(1, 11)]
    for row in found.images:
        assert [mask.stem for mask in row.mask_paths] == [
            f"{row.path.stem}_lesion{lesion}" for lesion in (1, 2)
        ]


def test_cutouts_of_lesions_are_set_aside(tmp_path, write_image, write_mask):
    for n in NUMBERS:
        path = write_image(tmp_path / "benign" / f"{n} Benign Image.png", n)
        mask = write_mask(tmp_path / "benign" / f"{n} Benign Mask.png", n)
        pixels = np.asarray(Image.open(path)) * (np.asarray(Image.open(mask)) > 0)
        (tmp_path / "benign" / f"{n} Benign Lesion.png").write_bytes(to_png(pixels))
    found = content(tmp_path)
    assert [len(image.mask_paths) for image in found.images] == [1] * 5
    assert all(image.path.stem.endswith("Image") for image in found.images)
    assert any(
        problem.startswith("5 files") and "parts of other images on black" in problem
        for problem in found.problems
    )


def test_a_small_cutout_is_no_mask(tmp_path, write_image):
    path = write_image(tmp_path / "lump" / "a.png", height=256, width=320)
    pixels = np.asarray(Image.open(path)).copy()
    pixels[20:] = 0
    pixels[:, 60:] = 0
    cut = tmp_path / "lump" / "a lesion.png"
    cut.write_bytes(to_png(pixels))
    found = content(tmp_path)
    assert [(image.path, image.mask_paths) for image in found.images] == [(path, ())]
    assert f"{cut} is ignored, because it shows a part of another image on black." in found.problems


def test_the_class_in_a_name_counts(tmp_path, write_image, write_mask):
    write_image(tmp_path / "images" / "benign" / "9.png")
    mask = write_mask(tmp_path / "segs" / "normal9.png")
    found = content(tmp_path)
    assert [image.mask_paths for image in found.images] == [()]
    assert f"{mask} is in no class folder" in found.problems[0]


def test_images_of_similar_names_stay_images(tmp_path, write_image):
    names = ["a left", "a right", "a left 2", "GT a", "1 Image", "1 Image copy"]
    for seed, name in enumerate(names):
        write_image(tmp_path / "lump" / f"{name}.png", seed)
    found = content(tmp_path)
    assert sorted(image.path.stem for image in found.images) == sorted(names)
    assert not found.problems


def test_masks_of_another_class_or_split_are_not_paired(tmp_path, write_image, write_mask):
    write_image(tmp_path / "train" / "lump" / "a.png")
    for name in ("train/no_lump/a.png", "test/lump/a.png"):
        write_mask(tmp_path / name)
    found = content(tmp_path)
    assert len(found.images) == 3
    assert not any(image.mask_paths for image in found.images)


def test_a_mask_that_fits_several_images_is_set_aside(tmp_path, write_image, write_mask):
    for seed, name in enumerate(("lump/a.png", "no_lump/a.png")):
        write_image(tmp_path / name, seed)
    mask = write_mask(tmp_path / "annotations" / "a.png")
    found = content(tmp_path)
    assert len(found.images) == 2
    assert f"{mask} is ignored as a lesion mask" in found.problems[0]


@pytest.mark.parametrize("scale", [1.0, 0.4, 0.15])
def test_an_image_does_not_look_like_a_mask(speckle, scale):
    image = (speckle(96, 120) * scale).astype(np.uint8)
    assert not looks_like_mask(image)
    on_black = np.zeros((288, 360, 3), np.uint8)
    on_black[:96, :120] = image
    assert not looks_like_mask(on_black)
    assert looks_like_mask(np.where(image > image.mean(), 200, 0).astype(np.uint8))
    assert looks_like_mask(np.zeros_like(image))


def test_a_cutout_is_a_part_of_its_own_image_only(speckle):
    image, other = speckle(64, 80, 1), speckle(64, 80, 2)
    part = np.zeros_like(image)
    part[10:30, 20:40] = image[10:30, 20:40]
    assert is_cutout(part, image)
    assert not is_cutout(part, other)
    assert not is_cutout(part, image[:, :70])
    assert not is_cutout(image, image)
    assert not is_cutout(np.zeros_like(image), image)


@pytest.mark.data
def test_no_image_of_busi_or_bus_uclm_looks_like_a_mask(real_data):
    from breastus.data.images import read_image

    files = sorted(real_data.rglob("*.png"))[::9]
    for file in files:
        is_mask = "_mask" in file.stem or "masks" in file.parts
        assert looks_like_mask(read_image(file)) == is_mask, file
