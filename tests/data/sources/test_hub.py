"""The hub's data set, from a local server: whatever it holds, whatever goes wrong on the way."""

import io
import json
import time
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_server import HubServer

from breastus.data.images import to_png
from breastus.data.sources import hub
from breastus.data.sources.resolve import read_content, resolve
from breastus.data.sources.unpack import unpack
from breastus.errors import DataWarning, HubError

REPO = "someone/scans"


def png(seed: int) -> bytes:
    return to_png(np.random.default_rng(seed).integers(0, 255, (40, 50, 3), np.uint8))


FOLDERS = {
    "README.md": b"# scans",
    "scripts/run.py": b"print('no')",
    "train/benign/benign (1).png": png(1),
    "train/benign/benign (1)_mask.png": png(2),
    "train/normal/normal (1).png": png(3),
    "test/malignant/malignant (1).png": png(4),
    "test/normal/normal (2).png": png(5),
}


@pytest.fixture
def serve(monkeypatch, tmp_path):
    """A function (files) -> HubServer, which `fetch` then talks to."""
    servers = []
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for name in ("HF_HUB_CACHE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)

    def start(files):
        server = HubServer(REPO, files)
        servers.append(server)
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        return server

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def labels(folder):
    found = read_content(folder, known_faults=True)
    return {image.name: image.label for image in found.images}


def test_folders(serve, cache):
    server = serve(FOLDERS)
    folder = hub.fetch(cache, REPO)
    assert labels(folder) == {
        "train/benign/benign (1)": "lump",
        "train/normal/normal (1)": "no_lump",
        "test/malignant/malignant (1)": "lump",
        "test/normal/normal (2)": "no_lump",
    }
    assert not server.downloads("run.py")  # nothing is fetched that is not looked at

    before = len(server.requests)
    assert hub.fetch(cache, REPO) == folder
    asked = [path for method, path, _ in server.requests[before:] if method == "GET"]
    assert not [path for path in asked if "resolve" in path]  # nothing is fetched twice


def parquet(rows, names=None, label="label", text=True) -> bytes:
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {
        "image": pa.array([{"bytes": data, "path": name} for data, name, _ in rows], image),
        "mask": pa.array([{"bytes": png(0), "path": None} for _ in rows], image),
        label: pa.array([value for *_, value in rows]),
    }
    table = pa.table(columns)
    if names:
        feature = {"info": {"features": {label: {"names": names, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({b"huggingface": json.dumps(feature).encode()})
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def test_parquet_with_splits_class_names_and_masks_among_the_images(serve, cache):
    names = ["benign", "malignant", "normal"]
    train = [(png(1), "benign (1).png", 0), (png(2), "benign (1)_mask.png", 0), (png(3), None, 2)]
    test = [(png(4), "malignant (3).png", 1), (png(5), "normal (4).png", 2)]
    serve(
        {
            "data/train-00000-of-00001.parquet": parquet(train, names),
            "data/test-00000-of-00001.parquet": parquet(test, names),
        }
    )
    folder = hub.fetch(cache, REPO)
    assert labels(folder) == {
        "train/benign/00000 benign (1)": "lump",
        "train/normal/00002 train-00000-of-00001": "no_lump",
        "test/malignant/00000 malignant (3)": "lump",
        "test/normal/00001 normal (4)": "no_lump",
    }


@pytest.mark.parametrize("name", [None, "scan_seg.png"])
def test_parquet_has_its_masks_known_by_their_pixels(serve, cache, name):
    mask = np.zeros((40, 50, 3), np.uint8)
    empty = to_png(mask.copy())
    mask[10:20, 10:30] = 255
    rows = [(png(1), None, "benign"), (to_png(mask), name, "benign")]
    rows += [(png(2), None, "normal"), (empty, name, "normal"), (b"torn", None, "normal")]
    serve({"a.parquet": parquet(rows)})
    with pytest.warns(DataWarning, match=r"2 of 5 rows of .*a\.parquet hold lesion masks"):
        folder = hub.fetch(cache, REPO)
    assert sorted(labels(folder)) == [
        "benign/00000 a",
        "normal/00002 a",
        "normal/00004 a",
    ]


def test_names_in_capitals_are_fetched(serve, cache):
    serve({"LUMP/IMG 1.PNG": png(1), "NO_LUMP/IMG 2.Png": png(2)})
    assert set(labels(hub.fetch(cache, REPO)).values()) == {"lump", "no_lump"}


def test_a_mirror_without_checksums(serve, cache, monkeypatch):
    server = serve(FOLDERS)
    tree, bare = server.tree(), [{"rfilename": name} for name in FOLDERS]
    monkeypatch.setattr(server, "tree", lambda: tree)
    monkeypatch.setattr(server, "siblings", lambda: bare)
    assert len(labels(hub.fetch(cache, REPO))) == 4


def test_parquet_of_one_part_is_no_split(serve, cache):
    rows = [(png(1), "a.png", "lump"), (png(2), "b.png", "no_lump")]
    serve({"data/train-00000-of-00001.parquet": parquet(rows)})
    assert set(labels(hub.fetch(cache, REPO))) == {"lump/00000 a", "no_lump/00001 b"}


def test_parquet_whose_class_names_stand_in_the_card(serve, cache):
    card = """---
dataset_info:
  features:
  - name: image
    dtype: image
  - name: label
    dtype:
      class_label:
        names:
          '0': normal
          '1': benign
---
"""
    rows = [(png(1), "a.png", 1), (png(2), "b.png", 0)]
    serve({"README.md": card.encode(), "data/train.parquet": parquet(rows)})
    assert set(labels(hub.fetch(cache, REPO)).values()) == {"lump", "no_lump"}


def zipped(entries) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def test_zip(serve, cache):
    serve({"busi.zip": zipped({f"BUSI/{name}": data for name, data in FOLDERS.items()})})
    assert len(labels(hub.fetch(cache, REPO))) == 4


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"README.md": b"# nothing"}, "neither images nor Parquet"),
        (
            {"a.parquet": parquet([(png(1), "a.png", 0)])},
            "unknown class.*Received: 0",
        ),
        ({"a.parquet": parquet([(png(1), "a.png", "cat")])}, "Received: 'cat'"),
        (
            {"a.parquet": parquet([(png(1), "a.png", 0)], label="age")},
            "must have a column of images",
        ),
        ({"a.parquet": b"PAR1 not really"}, "cannot be read as Parquet"),
        ({"a.zip": zipped({"../../evil.png": png(1)})}, "unsafe"),
        ({"a.zip": b"PK not really"}, "cannot be unpacked"),
    ],
)
def test_content_that_cannot_be_used_is_named(serve, cache, files, message):
    serve(files)
    with pytest.raises(HubError, match=message):
        hub.fetch(cache, REPO)
    assert not list(cache.rglob("*.png"))  # nothing incomplete remains


def test_a_download_that_breaks_off_goes_on_where_it_was(serve, cache, monkeypatch):
    # Downloads are written, and so resumed, in pieces of this size; the real one is 10 MB.
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    big = png(9) + bytes(40_000)
    server = serve({**FOLDERS, "train/benign/big.png": big})
    server.cut = {"train/benign/big.png"}
    folder = hub.fetch(cache, REPO)
    assert (folder / "train" / "benign" / "big.png").read_bytes() == big
    ranges = server.downloads("big.png")
    assert len(ranges) == 2
    assert ranges[1].startswith("bytes=")
    assert int(ranges[1].removeprefix("bytes=").split("-")[0]) > 0


@pytest.mark.parametrize("name", ["README.md", "train/benign/benign (1).png"])
def test_a_damaged_file_is_fetched_again(serve, cache, name):
    server = serve(FOLDERS)
    server.damage = {name: 1}
    folder = hub.fetch(cache, REPO)
    assert (folder / name).read_bytes() == FOLDERS[name]


def test_a_file_that_stays_damaged_is_an_error(serve, cache):
    server = serve(FOLDERS)
    server.damage = {"train/benign/benign (1).png": 99}
    with pytest.raises(HubError, match=r"benign \(1\).png .* differ from the hub's checksum"):
        hub.fetch(cache, REPO)


def test_no_such_data_set(serve, cache):
    serve(FOLDERS)
    with pytest.raises(HubError, match="has no dataset someone/else"):
        hub.fetch(cache, "someone/else")


def test_with_the_hub_gone_what_was_fetched_is_used(serve, cache):
    server = serve(FOLDERS)
    folder = hub.fetch(cache, REPO)
    server.close()
    assert hub.fetch(cache, REPO) == folder
    with pytest.raises(HubError, match=r"cannot be reached.*--data FOLDER.*phantom"):
        hub.fetch(cache, "someone/else")


@pytest.fixture
def snapshot(serve, tmp_path):
    """A data set in the cache of huggingface_hub, as another program leaves it; no network."""
    serve({}).close()

    def write(files, repo_id=REPO):
        folder = tmp_path / "hf" / "hub" / f"datasets--{repo_id.replace('/', '--')}"
        for name, data in files.items():
            path = folder / "snapshots" / ("0" * 40) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text("0" * 40)

    return write


def test_without_a_network_the_cached_snapshot_is_used(snapshot, cache, tmp_path, monkeypatch):
    snapshot(FOLDERS)
    with pytest.warns(DataWarning, match=r"cannot be reached.*without a comparison with the hub"):
        assert len(labels(hub.fetch(cache, REPO))) == 4
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BREASTUS_DATA", raising=False)
    monkeypatch.setenv("BREASTUS_CACHE", str(tmp_path / "cache"))
    snapshot(FOLDERS, hub.DATASET)
    with pytest.warns(DataWarning, match="without a comparison"):
        assert len(labels(resolve("auto", phantom_images=2, seed=0))) == 4  # and no phantoms


@pytest.mark.parametrize("lost", ["link", "content"])
def test_an_incomplete_snapshot_is_not_used(serve, cache, lost):
    server = serve(FOLDERS)
    link = hub.fetch(cache, REPO) / "train" / "normal" / "normal (1).png"
    (link if lost == "link" else link.resolve()).unlink()
    server.close()
    with pytest.raises(HubError, match="cannot be reached"):
        hub.fetch(cache / "other", REPO)


def test_files_of_several_shards_keep_apart(tmp_path):
    names = ["benign", "normal"]
    for shard in range(2):
        rows = [(png(10 * shard + n), "scan.png", n % 2) for n in range(4)]
        path = tmp_path / "data" / f"train-{shard:05d}-of-00002.parquet"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(parquet(rows, names))
    out = unpack(tmp_path, tmp_path / "out")
    files = sorted(file.relative_to(out).as_posix() for file in out.rglob("*.png"))
    assert files == [f"{names[n % 2]}/{n:05d} scan.png" for n in (0, 2, 4, 6, 1, 3, 5, 7)]
    assert len({(out / file).read_bytes() for file in files}) == 8


def test_a_split_within_the_name_of_a_parquet_file_is_kept(tmp_path):
    for seed, name in enumerate(("busi_train-00000-of-00001", "busi_test")):
        rows = [(png(2 * seed), "a.png", "lump"), (png(2 * seed + 1), "b.png", "normal")]
        (tmp_path / f"{name}.parquet").write_bytes(parquet(rows))
    assert set(labels(unpack(tmp_path, tmp_path / "out"))) == {
        *("train/lump/00000 a", "train/normal/00001 b"),
        *("test/lump/00000 a", "test/normal/00001 b"),
    }


def test_files_of_several_archives_keep_apart(tmp_path):
    for seed, name in enumerate(("train", "test")):
        entries = {"lump/1.png": png(2 * seed), "no_lump/1.png": png(2 * seed + 1)}
        (tmp_path / f"{name}.zip").write_bytes(zipped(entries))
    assert labels(unpack(tmp_path, tmp_path / "out")) == {
        f"{split}/{label}/1": label for split in ("train", "test") for label in ("lump", "no_lump")
    }


def test_what_is_not_unpacked_is_said(tmp_path):
    rows = [(png(1), "a.png", "lump"), (png(2), "b.png", "normal"), (None, "c.png", "normal")]
    (tmp_path / "a.parquet").write_bytes(parquet(rows))
    (tmp_path / "a.zip").write_bytes(zipped({"lump/a.png": png(1)}))
    with pytest.warns(DataWarning) as caught:
        unpack(tmp_path, tmp_path / "out")
    assert [str(warning.message).replace(f"{tmp_path}/", "") for warning in caught] == [
        "1 files beside a.parquet are not used, such as a.zip.",
        "1 of 3 rows of a.parquet hold no image.",
    ]


def test_a_silent_network_is_given_up_within_ten_seconds(serve, cache, monkeypatch):
    monkeypatch.setattr("breastus.utils.hub.TIMEOUT", 0.5)  # the real one is 8
    serve(FOLDERS).silent = True
    start = time.perf_counter()
    with pytest.raises(HubError, match="cannot be reached"):
        hub.fetch(cache, REPO)
    assert time.perf_counter() - start < 2.5


def test_auto_goes_on_with_phantoms_when_the_hub_fails(serve, tmp_path, monkeypatch):
    serve({"README.md": b"# nothing"})
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BREASTUS_DATA", raising=False)
    monkeypatch.setenv("BREASTUS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hub, "DATASET", REPO)
    with pytest.warns(DataWarning, match="NO REAL DATA"):
        assert resolve("auto", phantom_images=2, seed=0).name == "phantom-2-0"


def test_unpacking_is_done_once(tmp_path):
    (tmp_path / "in").mkdir()
    archive = zipped({"lump/a.png": png(1), "no_lump/b.png": png(2)})
    (tmp_path / "in" / "a.zip").write_bytes(archive)
    out = unpack(tmp_path / "in", tmp_path / "out")
    marker = out / "lump" / "a.png"
    before = marker.stat().st_mtime_ns
    assert unpack(tmp_path / "in", tmp_path / "out") == out
    assert marker.stat().st_mtime_ns == before
