"""A bundle and images in, predictions out; what is wrong with either is named."""

import io
import json
import shutil

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import tensorflow as tf
from dicom_maker import dicom, region

from breastus.data.images import read_image, to_png
from breastus.data.manifest.schema import included, read_manifest
from breastus.deploy.predictor import Predictor
from breastus.errors import BundleError, ImageError


@pytest.fixture(scope="module")
def predictor(tiny_run):
    return Predictor(tiny_run.bundle)


@pytest.fixture
def bundle(tiny_run, tmp_path):
    """A copy that may be damaged."""
    return shutil.copytree(tiny_run.bundle, tmp_path / "bundle")


@pytest.fixture
def scan(tmp_path, speckle):
    path = tmp_path / "скан (1).png"
    path.write_bytes(to_png(speckle(120, 150)))
    return path


def test_an_image(predictor, scan):
    found = predictor(scan)
    assert found.path == str(scan)
    assert 0 <= found.probability <= 1
    assert found.label == ("lump" if found.probability >= found.threshold else "no_lump")
    assert found.threshold == predictor.metadata["threshold"]
    assert found.flags[0] == "trained_on_phantoms"


def test_a_name_that_is_not_utf8_is_escaped(predictor, scan, tmp_path):
    names = [tmp_path / "l\udce9sion.png", tmp_path / "\udce9.png"]
    try:
        names[0].write_bytes(scan.read_bytes())
        names[1].write_bytes(b"no image")
    except OSError:
        pytest.skip("this file system has no such names")
    found, bad = predictor(names)
    assert found.probability == predictor(scan).probability
    assert (found.path, bad.path) == (rf"{tmp_path}/l\xe9sion.png", rf"{tmp_path}/\xe9.png")
    assert r"\xe9.png" in bad.error
    assert json.dumps([found.to_dict(), bad.to_dict()], ensure_ascii=False).encode()


def test_file_bytes_and_pixels_agree(predictor, scan, speckle):
    probability = predictor(scan).probability
    assert predictor(scan.read_bytes()).probability == pytest.approx(probability, abs=1e-7)
    assert predictor(speckle(120, 150)).probability == pytest.approx(probability, abs=1e-7)
    for pixels in (speckle(120, 150)[..., 0], speckle(120, 150)[..., :1]):
        assert predictor(pixels).probability == pytest.approx(probability, abs=1e-7)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK"])
def test_a_pil_image_is_predicted_as_its_file(predictor, speckle, tmp_path, mode):
    image = PIL.Image.fromarray(speckle(120, 150)).convert(mode)
    path = tmp_path / ("scan.jpg" if mode == "CMYK" else "scan.png")
    image.save(path)
    expected = predictor(path).probability
    with PIL.Image.open(path) as opened:
        assert predictor(opened).probability == pytest.approx(expected, abs=1e-3)


def test_a_pil_image_that_is_turned_by_its_exif_is_predicted_upright(predictor, speckle, tmp_path):
    image, exif = PIL.Image.fromarray(speckle(120, 150)), PIL.Image.Exif()
    exif[0x0112] = 6  # Orientation: turn by 90 degrees
    image.save(tmp_path / "scan.png", exif=exif)
    with PIL.Image.open(tmp_path / "scan.png") as opened:
        upright = predictor(np.asarray(PIL.ImageOps.exif_transpose(opened))).probability
        assert predictor(opened).probability == pytest.approx(upright, abs=1e-7)


def test_a_pil_image_has_the_range_of_its_file(predictor, speckle):
    grey = speckle(120, 150)[..., 0]
    expected = predictor(grey).probability
    for values in (grey.astype(np.int32), grey.astype(np.uint16) * 257):
        assert predictor(PIL.Image.fromarray(values)).probability == expected
    with pytest.raises(ImageError, match="The PIL image has values whose scale is unknown"):
        predictor(PIL.Image.fromarray(grey / np.float32(255)))


def test_a_nearly_black_image_is_referred(predictor, speckle):
    found = predictor(speckle(120, 150) // 16)
    assert "nearly_black" in found.unsuitable
    assert found.referred


def test_a_list_of_anything_gives_a_list(predictor, scan, speckle, tmp_path):
    found = predictor([scan, str(scan), speckle(120, 150), tmp_path / "none.png", b"no image"])
    assert [bool(one.error) for one in found] == [False, False, False, True, True]
    assert found[0].probability == found[1].probability == found[2].probability
    assert [one.path for one in found[2:]] == ["", str(tmp_path / "none.png"), ""]
    assert predictor([]) == []


def test_a_run_is_loaded_by_its_bundle(tiny_run, predictor, scan):
    for model in (tiny_run, tiny_run.path, str(tiny_run.path)):
        found = Predictor(model)
        assert found.path == tiny_run.bundle
    assert found(scan) == predictor(scan)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3)),
        np.full((4, 4, 3), np.nan),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_pixels_of_another_kind_are_refused(predictor, pixels):
    with pytest.raises(ImageError, match="Pixels must be uint8"):
        predictor(pixels)


def test_what_is_unusual_is_said(predictor):
    found = predictor(np.full((30, 2000, 3), 250, np.uint8))
    assert {"width_high", "height_low", "brightness_high"} <= set(found.flags)
    assert set(found.reasons) - {"undecided"} == set(found.flags)


def _noise(height: int, width: int) -> np.ndarray:
    grey = np.random.default_rng(0).integers(0, 256, (height, width, 1))
    return np.repeat(grey.astype(np.uint8), 3, axis=-1)


def _page_of_text() -> np.ndarray:
    page = _noise(300, 400)
    page[:, :300] = 255
    return page


def _mask() -> np.ndarray:
    mask = np.zeros((300, 400, 3), np.uint8)
    mask[80:240, 100:300] = 255
    return mask


@pytest.mark.parametrize(
    ("pixels", "flag"),
    [
        (np.zeros((300, 400, 3), np.uint8), "blank"),
        (np.full((300, 400, 3), 90, np.uint8), "blank"),
        (_noise(20, 20), "tiny"),
        (_page_of_text(), "not_b_mode"),
        (_mask(), "mask_like"),
        (_noise(300, 400) * np.array([1, 0, 0], np.uint8), "color_mode"),
    ],
)
@pytest.mark.parametrize("sets", [None, {"coverage": 0.5, "lump_from": 0.5, "no_lump_to": 0.5}])
def test_an_absurd_image_is_referred_with_a_reason(bundle, pixels, flag, sets):
    # Also where the conformal sets would not refer it, or are missing.
    metadata = json.loads((bundle / "bundle.json").read_text())
    (bundle / "bundle.json").write_text(json.dumps({**metadata, "conformal": sets}))
    found = Predictor(bundle)(pixels)
    assert found.referred is True
    assert flag in found.unsuitable
    assert found.to_dict()["reasons"][flag]


def test_marks_on_the_image_are_said(predictor, scan):
    pixels = read_image(scan).copy()  # 120 x 150
    assert "caliper" not in predictor(pixels).flags
    for row, column in ((40, 40), (80, 110)):
        pixels[row - 8 : row + 9, column - 1 : column + 1] = 225
        pixels[row - 1 : row + 1, column - 8 : column + 9] = 225
    found = predictor(pixels)
    assert "caliper" in found.flags
    assert "calipers" in found.reasons["caliper"]


def test_a_training_image_is_known_again(predictor, tiny_run):
    manifest = read_manifest(tiny_run.path / "manifest.csv")
    splits = (tiny_run.path / "splits.csv").read_text().splitlines()
    split_of = dict(line.split(",")[:2] for line in splits[1:])
    for row in included(manifest).itertuples():
        seen = "seen_in_training" in predictor(row.path).flags
        assert seen == (split_of[row.image_id] in ("train", "val"))


def test_files_that_tensorflow_cannot_decode_are_predicted(predictor, speckle):
    whole = to_png(speckle(120, 150))
    wrong_checksum = bytearray(whole)
    wrong_checksum[-13] ^= 1  # the last byte before IEND, of the checksum of the pixels
    webp = io.BytesIO()
    PIL.Image.fromarray(speckle(120, 150)).save(webp, "WEBP", lossless=True)
    expected = predictor(whole).probability
    for data in (whole[:-12], bytes(wrong_checksum), webp.getvalue()):
        assert predictor(data).probability == expected


def test_an_image_that_exhausts_the_graph_does_not_stop_the_others(predictor, scan, monkeypatch):
    def fail(pixels):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating\nmore")

    monkeypatch.setattr(predictor, "_graph", fail)
    (found,) = predictor([scan])
    assert found.error == f"{scan} cannot be predicted: OOM when allocating"


def test_a_bad_image_does_not_stop_the_others(predictor, scan, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    first, second, third = predictor.predict_each([bad, scan, tmp_path / "none.png"])
    assert first.error == f"{bad} is not a PNG, JPEG, BMP, TIFF, WebP or DICOM image."
    assert np.isnan(first.probability)
    assert second.label
    assert not second.error
    assert "No such file" in third.error
    assert first.to_dict() == {
        "path": str(bad),
        "label": None,
        "probability": None,
        "threshold": first.threshold,
        "flags": [],
        "error": first.error,
        "referred": None,
        "reasons": {},
        "findings": None,
    }


def _remove(name):
    return lambda bundle: (bundle / name).unlink()


def _write(name, text):
    return lambda bundle: (bundle / name).write_text(text)


def _truncate(bundle):
    (file,) = (bundle / "saved_model" / "variables").glob("*.data*")
    file.write_bytes(file.read_bytes()[:1000])


def _change(**changes):
    def change(bundle):
        info = json.loads((bundle / "bundle.json").read_text()) | changes
        info = {name: value for name, value in info.items() if value is not None}
        (bundle / "bundle.json").write_text(json.dumps(info))

    return change


def _format(number):
    return _change(format=number)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_remove("bundle.json"), "is not a bundle: bundle.json cannot be read"),
        (_write("bundle.json", "{"), "is not a bundle: bundle.json cannot be read"),
        (_write("bundle.json", "[]"), "format that this version of breastus does not read"),
        (_change(labels=None), "lacks labels"),
        (_format(99), "must be 2.*Update.*Received: format=99"),
        (_format(1), "must be 2.*Train the network again.*Received: format=1"),
        (_truncate, "is damaged or was changed: saved_model/variables"),
        (_write("seen_images.txt", "x"), "seen_images.txt do not match"),
        (_remove("saved_model/saved_model.pb"), "saved_model.pb do not match"),
    ],
)
def test_a_damaged_bundle_is_named(bundle, damage, message):
    damage(bundle)
    with pytest.raises(BundleError, match=message) as caught:
        Predictor(bundle)
    assert str(bundle) in str(caught.value)


def test_no_bundle_is_named(tmp_path):
    with pytest.raises(BundleError, match="Name a bundle such as models/cnn"):
        Predictor(tmp_path / "nothing")


def test_flags_of_a_dicom_header_are_said(predictor, speckle):
    grey = np.ascontiguousarray(speckle(120, 150)[..., 0])
    found = predictor(dicom(grey, SequenceOfUltrasoundRegions=[region(0, 0, 0, 0)]))
    assert found.probability == predictor(grey).probability  # of the whole frame
    assert "impossible_region" in found.flags
    assert "impossible B-mode region" in found.reasons["impossible_region"]
    flow = dicom(grey, SequenceOfUltrasoundRegions=[region(0, 0, 9, 9, RegionDataType=2)])
    assert "color_doppler" in predictor(flow).unsuitable
