"""What each layout's reader makes of its folder, and of folders that are not as they should be."""

import os
from pathlib import Path

import pytest

from breastus.config.schema import DataConfig
from breastus.data.manifest.build import load_manifest
from breastus.data.sources import bus_uclm, class_folders
from breastus.data.sources.busi import AXILLA, DOPPLER, faults_of
from breastus.data.sources.class_names import ClassNames
from breastus.data.sources.content import Fault, SourceContent, SourceImage
from breastus.data.sources.file_tree import files_below
from breastus.data.sources.resolve import read_content
from breastus.errors import DataError
from breastus.labels import FAULTS


def content(path, **options):
    return read_content(path, known_faults=options.pop("known_faults", True))


def by_name(found):
    return {image.name: image for image in found.images}


@pytest.fixture
def busi_folder(tmp_path, write_image):
    root = tmp_path / "Dataset_BUSI_with_GT"
    for seed, (finding, number) in enumerate(
        [
            *(("benign", number) for number in (1, 2, 10, 6)),
            *(("malignant", 1), ("normal", 1), ("normal", 2)),
        ]
    ):
        write_image(root / finding / f"{finding} ({number}).png", seed)
        write_image(root / finding / f"{finding} ({number})_mask.png", 100 + seed)
    write_image(root / "benign" / "benign (2)_mask_1.png", 200)
    return root


def test_busi(busi_folder, tmp_path):
    found = content(tmp_path)  # the release lies one folder below
    assert found.source == "busi"
    assert not found.problems
    images = by_name(found)
    benign = [name for name in images if name.startswith("benign")]
    assert benign == ["benign (1)", "benign (2)", "benign (6)", "benign (10)"]
    assert [path.name for path in images["benign (2)"].mask_paths] == [
        "benign (2)_mask.png",
        "benign (2)_mask_1.png",
    ]
    assert {image.label for name, image in images.items() if "normal" in name} == {"no_lump"}
    assert images["malignant (1)"].label == "lump"
    assert images["malignant (1)"].finding == "malignant"
    assert images["benign (6)"].flags == ("color_doppler",)
    assert "Doppler" in images["benign (6)"].excluded
    assert "axilla" in images["normal (2)"].excluded
    assert by_name(content(tmp_path, known_faults=False))["normal (2)"].excluded == ""


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        ("", set()),
        ("axilla", {"normal (2)"}),
        ("doppler", {"benign (6)"}),
        ("axilla,needle,doppler", {"normal (2)", "benign (6)", "malignant (69)"}),
    ],
)
def test_known_faults_are_kept_kind_by_kind(busi_folder, write_image, keep, kept):
    write_image(busi_folder / "malignant" / "malignant (69).png", 300)  # a needle
    table = load_manifest(busi_folder, settings=DataConfig(keep_faults=keep)).set_index("image_id")
    faulty = {f"busi/{name}" for name in ("normal (2)", "benign (6)", "malignant (69)")}
    reasons = table["excluded"]
    assert set(reasons[reasons == ""].index) & faulty == {f"busi/{name}" for name in kept}
    assert reasons[reasons != ""].str.contains(r"\(Pawlowska et al. 2023\)").all()


def test_an_image_with_two_faults_is_kept_only_with_both(tmp_path, write_image):
    assert {fault.kind for fault in faults_of("benign", 255)} == {"doppler"}
    number = next(iter(AXILLA["benign"] & DOPPLER["benign"]), None)
    assert number is None  # of BUSI none has two; other sources may
    path = write_image(tmp_path / "a.png")
    faults = (Fault("axilla", "one"), Fault("doppler", "two"))
    both = SourceContent([SourceImage(name="a", path=path, faults=faults)])
    for keep, excluded in (
        (FAULTS, ""),
        (("axilla",), "two"),
        (("doppler",), "one"),
        ((), "one"),
    ):
        assert both.exclude_faulty(keep=keep).images[0].excluded == excluded


def test_busi_names_what_is_out_of_place(busi_folder, write_image):
    orphan = write_image(busi_folder / "benign" / "benign (77)_mask.png")
    stranger = write_image(busi_folder / "normal" / "IMG_2001.png")
    problems = "\n".join(content(busi_folder).problems)
    assert f"{orphan} is a mask without an image" in problems
    assert f"{stranger} is not named like an image of BUSI" in problems


def test_busi_with_an_emptied_class(busi_folder):
    for file in (busi_folder / "normal").iterdir():
        file.unlink()
    with pytest.raises(DataError, match="normal holds no images"):
        content(busi_folder)


@pytest.fixture
def uclm_folder(tmp_path, write_image):
    root = tmp_path / "BUS-UCLM"
    rows = [
        ("ALWI_000", "Benign", "no", "yes", "no"),
        ("ALWI_001", "Normal", "Y", "n", "No"),
        ("FEMA_000", "Malignant", "no", "no", "yes"),
    ]
    lines = ["Image;Label;Doppler;Marks;Combined"]
    for seed, (name, *values) in enumerate(rows):
        write_image(root / "images" / f"{name}.png", seed)
        write_image(root / "masks" / f"{name}.png", 50 + seed)
        lines.append(";".join([f"{name}.png", *values]))
    (root / "INFO.csv").write_text("\n".join(lines), encoding="utf-8-sig")
    return root


def test_bus_uclm(uclm_folder):
    found = content(uclm_folder)
    assert found.source == "bus_uclm"
    images = by_name(found)
    assert {i.patient_id for i in images.values()} == {"ALWI", "FEMA"}
    assert images["ALWI_000"].flags == ("caliper",)
    assert images["ALWI_001"].flags == ("color_doppler",)
    assert images["FEMA_000"].flags == ("dual_view",)
    assert [i.label for i in images.values()] == ["lump", "no_lump", "lump"]
    assert images["FEMA_000"].mask_paths[0].name == "FEMA_000.png"


def test_bus_uclm_names_what_is_out_of_place(uclm_folder, write_image):
    (uclm_folder / "images" / "FEMA_000.png").unlink()
    write_image(uclm_folder / "images" / "NEWS_000.png")
    problems = "\n".join(content(uclm_folder).problems)
    assert "names FEMA_000.png, which is not in images/" in problems
    assert "NEWS_000.png has no row" in problems
    assert "FEMA_000.png is a mask without an image" in problems


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Image;Label\nALWI_000.png;Benign", "lacks the column Doppler, Marks, Combined"),
        ("Image;Label;Doppler;Marks;Combined\nA_0.png;Odd;no;no;no", "Received: 'Odd'"),
        (
            "Image;Label;Doppler;Marks;Combined\nA_0.png;Benign;no;maybe;no",
            r"row 2 \(A_0.png\): Marks must be one of yes, y, no, n. Received: 'maybe'",
        ),
        (
            "Image;Label;Doppler;Marks;Combined\nA_0.png;Benign;no;;no",
            "Marks must be one of yes, y, no, n. Received: ''",
        ),
        (
            "Image;Label;Doppler;Marks;Combined\n" + 2 * "A_0.png;Benign;no;no;no\n",
            r"row 2 \(A_0.png\) and row 3 \(A_0.png\) name the same image",
        ),
        ("", "cannot be read as a table"),
    ],
)
def test_bus_uclm_with_a_bad_table(uclm_folder, text, message):
    (uclm_folder / "INFO.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        content(uclm_folder)


def test_class_folders(tmp_path, write_image):
    write_image(tmp_path / "lump" / "a.png", 1)
    write_image(tmp_path / "lump" / "a_mask.png", 2)
    write_image(tmp_path / "lump" / "b malignant.JPG.png", 3)
    write_image(tmp_path / "no_lump" / "снимок [1].png", 4)
    write_image(tmp_path / "no_lump" / ".hidden.png", 5)
    stray = write_image(tmp_path / "c.png", 6)
    images = by_name(found := content(tmp_path))
    assert found.source == "folder"
    assert sorted(images) == ["lump/a", "lump/b malignant.JPG", "no_lump/снимок [1]"]
    assert images["lump/a"].mask_paths == (tmp_path / "lump" / "a_mask.png",)
    assert images["lump/a"].finding == "unknown"
    assert images["lump/b malignant.JPG"].finding == "malignant"
    assert images["no_lump/снимок [1]"].finding == "normal"
    assert found.problems == [f"{stray} is in no class folder and is ignored."]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("train/Benign/x.png", ("train/Benign/x", "lump")),
        ("Validation/no lump/x.png", ("val/no lump/x", "no_lump")),
        ("malignant/TEST/x.png", ("test/malignant/x", "lump")),
        ("data/nolump/x.png", ("data/nolump/x", "no_lump")),
    ],
)
def test_class_folders_within_others(tmp_path, write_image, name, expected):
    write_image(tmp_path / name)
    (image,) = class_folders.read(tmp_path, ClassNames()).images
    assert (image.name, image.label) == expected


def test_masks_in_folders_of_their_own(tmp_path, write_image):
    for name in ("images/lump/a.png", "masks/lump/a.png", "images/no_lump/n.png"):
        write_image(tmp_path / name)
    orphan = write_image(tmp_path / "masks" / "lump" / "z.png")
    found = content(tmp_path)
    assert [(i.name, len(i.mask_paths)) for i in found.images] == [
        ("images/lump/a", 1),
        ("images/no_lump/n", 0),
    ]
    assert found.problems == [f"{orphan} is a mask without an image. Add its image or remove it."]


def test_names_that_differ_by_suffix_alone_stay_apart(tmp_path, write_image):
    write_image(tmp_path / "lump" / "a.png")
    (tmp_path / "lump" / "a.jpg").write_bytes((tmp_path / "lump" / "a.png").read_bytes())
    assert sorted(by_name(content(tmp_path))) == ["lump/a.jpg", "lump/a.png"]


def test_a_class_folder_without_images(tmp_path, write_image):
    write_image(tmp_path / "lump" / "a.png")
    (tmp_path / "no_lump").mkdir()
    with pytest.raises(DataError, match="no_lump holds no images"):
        content(tmp_path)


def test_a_split_busi_keeps_its_split(tmp_path, write_image):
    write_image(tmp_path / "train" / "benign" / "benign (1).png")
    write_image(tmp_path / "test" / "normal" / "normal (1).png")
    assert sorted(by_name(content(tmp_path))) == [
        "test/normal/normal (1)",
        "train/benign/benign (1)",
    ]


def test_an_unknown_layout_says_what_is_known(tmp_path, write_image):
    write_image(tmp_path / "x.png")
    with pytest.raises(DataError, match=r"has no known layout.*lump/ and no_lump/"):
        content(tmp_path)


@pytest.mark.parametrize("name", ["BUSI.zip", "data/train-00000-of-00001.parquet", "us.tar.gz"])
def test_an_archive_is_named_where_no_images_are(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"?")
    with pytest.raises(DataError, match=rf"known layout\. It holds {Path(name).name}: unpack"):
        content(tmp_path)


def test_images_without_class_folders_are_counted(tmp_path, write_image):
    for seed in range(2):
        write_image(tmp_path / f"{seed}.png", seed)
    with pytest.raises(DataError, match=r"no known layout\. 2 images lie in it without a class"):
        content(tmp_path)


def test_an_unreadable_folder_is_named(tmp_path, write_image, monkeypatch):
    write_image(tmp_path / "lump" / "a.png")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("lump"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # root, as in many containers, may read all
    with pytest.raises(DataError, match="lump cannot be read: Permission denied"):
        files_below(tmp_path)


@pytest.mark.data
def test_the_real_busi(real_data):
    found = content(real_data / "busi")
    assert len(found.images) == 780
    assert sum(len(image.mask_paths) for image in found.images) == 798
    findings = [image.finding for image in found.images]
    counts = [findings.count(finding) for finding in ("benign", "malignant", "normal")]
    assert counts == [437, 210, 133]
    assert not found.problems
    # 70 show the axilla, 7 a needle, 11 are Doppler images; none is two of these.
    reasons = [image.excluded for image in found.images]
    assert sum("axilla" in reason for reason in reasons) == 70
    assert sum("needle" in reason for reason in reasons) == 7
    assert sum("Doppler" in reason for reason in reasons) == 11


@pytest.mark.data
def test_the_real_bus_uclm(real_data):
    found = bus_uclm.read(real_data / "bus_uclm_sample")
    findings = [image.finding for image in found.images]
    counts = [findings.count(finding) for finding in ("normal", "benign", "malignant")]
    assert counts == [71, 53, 26]
    assert len({image.patient_id for image in found.images}) == 10
    flags = [flag for image in found.images for flag in image.flags]
    assert (flags.count("color_doppler"), flags.count("caliper")) == (13, 53)
    assert not found.problems
