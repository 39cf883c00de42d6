"""Near-duplicates are found through what scanners and people do to a picture, strangers are not."""

import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from breastus.data.curation import THUMBNAIL, components, curate, near_duplicate_pairs, thumbnail
from breastus.data.images import read_image
from breastus.data.simulation import simulate_phantom


@pytest.fixture(scope="module")
def scan():
    return np.repeat(simulate_phantom(0, 1).image[..., None], 3, axis=-1)


def _jpeg(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=40)
    return read_image(buffer.getvalue())


CHANGES = {
    "brighter": lambda x: np.clip(x.astype(int) + 25, 0, 255).astype(np.uint8),
    "more contrast": lambda x: np.clip(x * 1.3, 0, 255).astype(np.uint8),
    "re-encoded": _jpeg,
    "half the size": lambda x: np.asarray(Image.fromarray(x).resize((x.shape[1] // 2, 250))),
    "black border": lambda x: np.pad(x, ((30, 10), (0, 50), (0, 0))),
    "calipers": lambda x: _with_marks(x),
}


def _with_marks(pixels):
    pixels = pixels.copy()
    for row, column in ((200, 150), (260, 300)):
        pixels[row - 6 : row + 7, column] = pixels[row, column - 6 : column + 7] = 255
    return pixels


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_copy_is_found(scan, name):
    both = np.stack([thumbnail(scan), thumbnail(CHANGES[name](scan))])
    assert len(near_duplicate_pairs(both, threshold=0.7)[0]) == 1


def test_other_scans_are_not():
    scans = [simulate_phantom(1, index).image for index in range(24)]
    small = np.stack([thumbnail(np.repeat(s[..., None], 3, axis=-1)) for s in scans])
    assert len(near_duplicate_pairs(small, threshold=0.7)[0]) == 0


def test_flat_images_are_like_nothing():
    flat = np.stack([thumbnail(np.full((50, 60, 3), level, np.uint8)) for level in (0, 0, 90)])
    assert not flat.any()
    assert len(near_duplicate_pairs(flat, threshold=0.7)[0]) == 0


@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_pairs_equal_the_plain_double_loop(seed, count):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = {
        (i, j) for i in range(count) for j in range(i + 1, count) if vectors[i] @ vectors[j] >= 0.7
    }
    first, second, _ = near_duplicate_pairs(vectors, threshold=0.7)
    assert set(zip(first.tolist(), second.tolist(), strict=True)) == expected


def test_pairs_across_blocks(monkeypatch):
    monkeypatch.setattr("breastus.data.curation._CHUNK", 3)
    vectors = np.eye(8)[[0, 1, 2, 3, 0, 5, 1, 0]]
    first, second, _ = near_duplicate_pairs(vectors, threshold=0.7)
    assert sorted(zip(first.tolist(), second.tolist(), strict=True)) == [
        (0, 4),
        (0, 7),
        (1, 6),
        (4, 7),
    ]


def test_components_join_chains():
    assert components(5, [0, 1], [1, 3]).tolist() == [0, 0, 1, 0, 2]


def _table(findings, patients=None):
    count = len(findings)
    labels = {"normal": "no_lump", "no_lump": "no_lump", "unknown": ""}
    return pd.DataFrame(
        {
            "image_id": [f"x/{i}" for i in range(count)],
            "patient_id": patients or [""] * count,
            "sha256": [f"sha{i}" for i in range(count)],
            "finding": findings,
            "label": [labels.get(f, "lump") for f in findings],
            "excluded": "",
        }
    )


def _same_scene(count, others=0):
    rng = np.random.default_rng(0)
    small = rng.normal(size=(1 + others, THUMBNAIL**2))
    small /= np.linalg.norm(small, axis=1, keepdims=True)
    return np.concatenate([np.repeat(small[:1], count, axis=0), small[1:]])


def _curate(table, small, **options):
    return curate(table, small, threshold=0.7, **{"exclude_contradictions": True, **options})[0]


def test_groups_are_named_after_their_first_image():
    table = _curate(_table(["benign"] * 4), _same_scene(2, others=2))
    assert table["group_id"].tolist() == ["x/0", "x/0", "x/2", "x/3"]
    assert (table["excluded"] == "").all()


def test_patients_and_equal_files_join():
    frame = _table(["benign"] * 5, ["", "p", "", "p", ""])
    frame.loc[4, "sha256"] = "sha0"
    table = _curate(frame, _same_scene(1, others=4))
    assert table["group_id"].tolist() == ["x/0", "x/1", "x/2", "x/1", "x/0"]


@pytest.mark.parametrize(
    ("findings", "contradict"),
    [
        (["benign", "normal"], True),
        (["benign", "malignant"], True),
        (["benign", "benign"], False),
        (["unknown", "normal"], False),
    ],
)
def test_contradictions_are_excluded_with_the_reason(findings, contradict):
    table = _curate(_table(findings), _same_scene(2))
    if contradict:
        assert "near-duplicate of x/1" in table["excluded"][0]
        assert f"which is {findings[0]} and not {findings[1]}" in table["excluded"][1]
    else:
        assert (table["excluded"] == "").all()


def test_contradictions_can_be_kept():
    table = _curate(_table(["benign", "normal"]), _same_scene(2), exclude_contradictions=False)
    assert (table["excluded"] == "").all()
    assert table["group_id"].nunique() == 1


def test_frames_of_one_patients_sweep_do_not_contradict_each_other():
    table = _curate(_table(["benign", "normal"], ["p", "p"]), _same_scene(2))
    assert (table["excluded"] == "").all()
    table = _curate(_table(["benign", "normal"], ["p", "q"]), _same_scene(2))
    assert (table["excluded"] != "").all()
    assert table["group_id"].nunique() == 1
