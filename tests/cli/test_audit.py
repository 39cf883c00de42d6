"""`breastus data audit`: the page is whole, says what is so, and tells nothing it should not."""

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from breastus.cli.main import main
from breastus.data.images import read_image, to_png
from breastus.data.manifest.build import load_manifest
from breastus.data.manifest.schema import write_manifest

_VOID = {"meta", "img", "br"}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BREASTUS_CACHE", str(tmp_path / "cache"))
    return tmp_path


def run(*arguments) -> int:
    try:
        return main(["data", "audit", *map(str, arguments)])
    except SystemExit as stop:  # argparse
        return stop.code


class Page(HTMLParser):
    """A page taken apart: its texts, tables, pictures, and cards of pictures by heading."""

    def __init__(self, html: str):
        super().__init__()
        self.open, self.text, self.tables, self.pictures, self.cards = [], "", [], [], {}
        self.attributes, self._heading = [], ""
        self.feed(html)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.attributes += attrs
        if tag not in _VOID:
            self.open.append(tag)
        if tag in ("h2", "h3"):
            self._heading = ""
        elif tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag == "article":
            self.cards.setdefault(self._heading, []).append([])
        elif tag == "img":
            self.pictures.append(dict(attrs))
            if "article" in self.open:
                self.cards[self._heading][-1].append(dict(attrs)["alt"].rpartition(", ")[0])

    def handle_startendtag(self, tag, attrs):
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            return
        data = data.replace("\N{NO-BREAK SPACE}", " ")
        self.text += data
        if self.open and self.open[-1] in ("h2", "h3"):
            self._heading += data
        elif self.open and self.open[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += data

    def table(self, corner: str) -> dict[str, list[str]]:
        """Return the rows of the table whose first header is `corner`, by their first cell."""
        found = next(table for table in self.tables if table[0][0] == corner)
        return {row[0]: row[1:] for row in found[1:]}


def brighter(path, copy):
    """Write a near-duplicate of an image."""
    pixels = read_image(path).astype(int) + 6
    copy.write_bytes(to_png(np.clip(pixels, 0, 255).astype(np.uint8)))
    return copy


@pytest.fixture
def leaky(class_folders, write_image):
    """A folder with near-duplicates, the pairs of them, and a split that separates some."""
    root = class_folders(no_lump=10, lump=10)
    brighter(root / "lump" / "lump 0.png", root / "lump" / "copy 0.png")
    brighter(root / "lump" / "lump 1.png", root / "lump" / "copy 1.png")
    brighter(root / "lump" / "lump 2.png", root / "no_lump" / "other 2.png")
    (root / "no_lump" / "equal.png").write_bytes((root / "no_lump" / "no_lump 0.png").read_bytes())
    duplicates = [
        ("folder/lump/lump 0", "folder/lump/copy 0"),
        ("folder/lump/lump 1", "folder/lump/copy 1"),
        ("folder/lump/lump 2", "folder/no_lump/other 2"),
        ("folder/no_lump/no_lump 0", "folder/no_lump/equal"),
    ]
    ids = load_manifest(root)["image_id"]
    rng = np.random.default_rng(1)
    split = pd.Series(rng.choice(["train", "val", "test"], len(ids), p=[0.6, 0.2, 0.2]), index=ids)
    split[[first for first, _ in duplicates]] = ["test", "train", "val", "test"]
    split[[second for _, second in duplicates]] = ["train", "test", "train", "test"]
    split.rename("split").to_csv("mine.csv", index_label="image_id")
    return root, duplicates, split


def test_leaks_on_the_page_are_the_leaks_there_are(leaky, elsewhere, capsys):
    root, duplicates, split = leaky
    assert run("--data", root, "--splits", "mine.csv") == 0
    page = Page((elsewhere / "audit.html").read_text())

    leaking = {"test": set(), "val": set()}
    for first, second in duplicates:
        for held, other in ((first, second), (second, first)):
            if split[held] != "train" and split[other] == "train":
                leaking[split[held]].add(frozenset({held, other}))
    assert [len(pairs) for pairs in leaking.values()] == [2, 1]

    table = page.table("split")
    for part, pairs in leaking.items():
        total = (split == part).sum()
        assert table[f"the split mine.csv: {part}"] == [
            str(total),
            str((split == "train").sum()),
            str(len(pairs)),
            f"{100 * len(pairs) / total:.0f} %",
        ]
        heading = f"the split mine.csv: {part} images (left) and their matches in training"
        shown = page.cards[heading]
        assert {frozenset(card) for card in shown} == pairs
        assert all(split[held] == part and split[other] == "train" for held, other in shown)
        assert f"{len(pairs)} of {total} {part} images" in page.text
    assert table["breastus’ own split: test"][-2:] == ["0", "0 %"]

    printed = capsys.readouterr().out
    assert "Alarming  The split mine.csv leaks: 2 of" in printed
    assert "Page: audit.html" in printed

    # The same images, by name.
    assert "with a twin in training: audit_twins.csv" in printed
    assert "audit_twins.csv" in page.text
    listed = pd.read_csv("audit_twins.csv")
    for part, pairs in leaking.items():
        rows = listed[listed["split"] == part]
        assert set(map(frozenset, zip(rows["image_id"], rows["twin_id"], strict=True))) == pairs


def test_a_split_without_twins_lists_none(class_folders, elsewhere, capsys):
    root = class_folders(no_lump=6, lump=6)
    ids = load_manifest(root)["image_id"]
    part = ["train", "test"] * 6
    pd.DataFrame({"image_id": ids, "split": part}).to_csv("mine.csv", index=False)
    assert run("--data", root, "--splits", "mine.csv") == 0
    assert not (elsewhere / "audit_twins.csv").exists()
    assert "twin" not in capsys.readouterr().out


@pytest.mark.parametrize("form", ["csv", "json"])
def test_folds_are_audited_as_the_score_reads_them(leaky, elsewhere, form):
    root, duplicates, _ = leaky
    ids = load_manifest(root)["image_id"].tolist()
    fold = {image: number % 3 for number, image in enumerate(ids)}
    for first, second in duplicates[:2]:
        fold[first], fold[second] = 0, 1
    for first, second in duplicates[2:]:
        fold[first] = fold[second] = 2
    rows = pd.DataFrame({"image_id": ids, "fold": [fold[image] for image in ids]})
    rows.to_csv("mine.csv", index=False)
    if form == "json":
        images = rows.assign(label="lump", pixel_sha256="").to_dict("records")
        content = {"name": "x", "fingerprint": "y", "tested_by": "fold", "images": images}
        (elsewhere / "mine.json").write_text(json.dumps(content))
    assert run("--data", root, "--splits", f"mine.{form}") == 0
    page = Page((elsewhere / "audit.html").read_text())
    row = page.table("split")[f"the split mine.{form}: test"]
    assert row == [str(len(ids)), "all other folds", "4", f"{400 / len(ids):.0f} %"]
    twins = pd.read_csv("audit_twins.csv")
    crossing = {image for pair in duplicates[:2] for image in pair}
    assert set(twins["image_id"]) == crossing
    assert set(twins["split"]) == {"test"}
    listed = pd.read_csv("audit_near_duplicates.csv")
    crossing = listed[listed["split"] != listed["duplicate_split"]]
    assert set(crossing["split"]) | set(crossing["duplicate_split"]) == {"fold 0", "fold 1"}
    assert len(crossing) == 2


def test_near_duplicates_are_shown_side_by_side_and_listed(leaky, elsewhere):
    root, duplicates, split = leaky
    assert run("--data", root, "--splits", "mine.csv") == 0
    page = Page((elsewhere / "audit.html").read_text())
    cards = page.cards["Near-duplicates"]
    assert {frozenset(card) for card in cards} == {frozenset(pair) for pair in duplicates}
    assert set(cards[0]) == set(duplicates[2])  # the contradiction comes first
    assert "lump against normal" in page.text

    listed = pd.read_csv("audit_near_duplicates.csv", keep_default_na=False)
    pairs = [
        frozenset(pair) for pair in zip(listed["image_id"], listed["duplicate_id"], strict=True)
    ]
    assert dict(zip(pairs, listed["kind"], strict=True)) == {
        frozenset(pair): "same file" if "equal" in pair[1] else "near-duplicate"
        for pair in duplicates
    }
    assert (listed["split"] == listed["image_id"].map(split)).all()
    assert (listed["duplicate_split"] == listed["duplicate_id"].map(split)).all()


def test_the_page_is_whole_and_asks_for_nothing(leaky, elsewhere):
    assert run("--data", leaky[0], "--splits", "mine.csv") == 0
    html = (elsewhere / "audit.html").read_text()
    page = Page(html)
    assert "<script" not in html
    assert not re.search(r"https?:|//[a-z]|url\((?!#)|@import", re.sub(r'"data:[^"]*"', "", html))
    links = re.findall(r'<a href="([^"]+)"', html)
    ids = set(re.findall(r'<h2 id="([^"]+)"', html))
    assert {link.removeprefix("#") for link in links} == ids
    assert page.pictures
    for picture in page.pictures:
        assert picture["alt"]
        kind, data = picture["src"].split(";base64,")
        assert kind == "data:image/jpeg"
        assert max(Image.open(io.BytesIO(base64.b64decode(data))).size) <= 240
    assert "holds images of patients" in page.text


def test_counts_are_those_of_the_manifest(leaky, elsewhere):
    assert run("--data", leaky[0]) == 0
    page = Page((elsewhere / "audit.html").read_text())
    assert page.table("source")["folder"] == ["24", "11", "11", "2", "0", "unknown", "19"]
    assert page.table("finding") == {"normal": ["12", "11"], "unknown": ["12", "11"]}
    assert page.table("reason") == {"contradiction": ["2"]}


def test_patients_are_counted_and_never_named(class_folders, elsewhere, capsys):
    table = load_manifest(class_folders(no_lump=6, lump=6))
    table["patient_id"] = [f"JANE-DOE-{i // 2}" for i in range(12)]
    # As the manifest of a source with patients would have it.
    table["group_id"] = table.groupby("patient_id")["image_id"].transform("first")
    write_manifest(table, "prepared/manifest.csv")
    table.assign(split=["train", "test"] * 6)[["image_id", "split"]].to_csv(
        "prepared/splits.csv", index=False
    )
    assert run("--data", "prepared", "--out", "page.html") == 0
    page = Page((elsewhere / "page.html").read_text())
    assert page.table("split")["the split splits.csv: test"] == ["6", "6", "0", "6", "6", "100 %"]
    assert page.table("source")["folder"][5] == "6"
    written = (elsewhere / "page.html").read_text() + (
        elsewhere / "page_near_duplicates.csv"
    ).read_text()
    assert "JANE" not in written + "".join(capsys.readouterr())
    assert str(elsewhere) not in written


def test_near_duplicates_of_a_prepared_manifest_are_found(leaky, elsewhere):
    root, duplicates, _ = leaky
    write_manifest(load_manifest(root), "prepared/manifest.csv")
    assert run("--data", "prepared") == 0
    assert run("--data", "prepared/manifest.csv") == 0  # and the next free name
    first, second = ((elsewhere / f"audit{n}.html").read_text() for n in ("", "-2"))
    assert first.replace("audit_near_duplicates", "audit-2_near_duplicates") == second
    assert len(Page(first).cards["Near-duplicates"]) == len(duplicates)


def test_folders_that_are_split_already_are_judged_as_they_are(class_folders, elsewhere):
    for below, seed in (("train", 0), ("test", 100)):
        root = class_folders(no_lump=8, lump=8, below=below, first_seed=seed)
    brighter(root / "train" / "lump" / "lump 3.png", root / "test" / "lump" / "seen.png")
    assert run("--data", root) == 0
    page = Page((elsewhere / "audit.html").read_text())
    assert page.table("split")["the split of the folders: test"] == ["17", "16", "1", "6 %"]
    assert page.table("split")["breastus’ own split: test"][-1] == "0 %"


def test_unreadable_images_are_listed_and_the_rest_goes_on(class_folders, elsewhere, capsys):
    root = class_folders()
    (root / "lump" / "bad.png").write_bytes(b"no image")
    assert run("--data", root) == 1
    html = (elsewhere / "audit.html").read_text()
    assert "folder/lump/bad" in Page(html).text
    assert "bad.png is not a PNG" in html
    assert str(root) not in html
    assert "Alarming  1 image cannot be read" in capsys.readouterr().out


def test_one_class_only(class_folders, elsewhere, capsys):
    assert run("--data", class_folders(no_lump=0, lump=5)) == 0
    assert "no images of no lump to use" in capsys.readouterr().out
    page = Page((elsewhere / "audit.html").read_text())
    assert set(page.table("number")) >= {"width in pixels"}
    assert all(row[0] == "undefined" for row in page.table("number").values())
    assert "cannot split these images itself" in page.text


def test_nothing_to_use(class_folders, elsewhere, capsys):
    table = load_manifest(class_folders(no_lump=2, lump=3)).assign(excluded="known fault: blurred")
    table.loc[0, ["label", "finding", "excluded"]] = "", "unknown", ""
    write_manifest(table, "prepared/manifest.csv")
    table.assign(split="train").to_csv("mine.csv", index=False)
    assert run("--data", "prepared", "--splits", "mine.csv") == 0
    printed = capsys.readouterr().out
    assert "0 can be used" in printed
    assert "holds no images of val or test" in printed
    assert "1 image without a label" in printed
    assert "known fault: blurred" in Page((elsewhere / "audit.html").read_text()).text


def test_names_are_texts_and_never_markup(class_folders, elsewhere):
    root = class_folders(no_lump=3, lump=3)
    name = '<img src=x onerror=y> "&.png'
    brighter(root / "lump" / "lump 0.png", root / "lump" / name)
    (root / "lump" / "<script>.png").touch()
    assert run("--data", root) == 1
    page = Page((elsewhere / "audit.html").read_text())
    assert "script" not in page.open
    assert "onerror" not in {name for name, _ in page.attributes}
    assert "folder/lump/<script>" in page.text
    shown = {f"folder/lump/{name.removesuffix('.png')}", "folder/lump/lump 0"}
    assert set(page.cards["Near-duplicates"][0]) == shown


def test_masks_that_are_wrong_are_named(class_folders, elsewhere):
    root = class_folders(no_lump=4, lump=4)
    marked = np.zeros((64, 80), np.uint8)
    empty = to_png(marked)
    marked[9:20, 9:20] = 255
    for name, mask in {
        "lump/lump 0": to_png(marked),
        "lump/lump 1": empty,
        "lump/lump 2": to_png(marked[:, :40]),
        "no_lump/no_lump 0": to_png(marked),
        "no_lump/no_lump 1": empty,
    }.items():
        (root / f"{name}_mask.png").write_bytes(mask)
    assert run("--data", root) == 0
    rows = Page((elsewhere / "audit.html").read_text()).table("problem")
    assert rows == {
        "lump without a mask": ["1", "folder/lump/lump 3"],
        "lump whose mask is empty": ["1", "folder/lump/lump 1"],
        "no lump, and a mask that is not empty": ["1", "folder/no_lump/no_lump 0"],
        "mask of another size than its image": ["1", "folder/lump/lump 2"],
    }


def test_masks_found_by_content_and_images_like_masks_are_listed(
    class_folders, elsewhere, write_image, capsys
):
    root = class_folders(no_lump=6, lump=6)
    marked = np.zeros((64, 80), np.uint8)
    marked[9:20, 9:20] = 255
    for number in range(6):
        (root / "lump" / f"lump {number} GT.png").write_bytes(to_png(marked))
    (root / "no_lump" / "outline.png").write_bytes(to_png(marked))
    write_image(root / "lump" / "lump 5_mask.png", 100)  # named like a mask, with grey levels
    assert run("--data", root) == 0
    said = " ".join(capsys.readouterr())
    assert "are used as lesion masks, not as images" in said
    assert "few grey levels, as lesion masks and blank images have: 1 of 13 (folder/no_lu" in said
    assert "Alarming  1 image with few grey levels" in said
    page = Page((elsewhere / "audit.html").read_text())
    listed = page.table("image")
    assert listed["folder/lump/lump 0"] == ["lump/lump 0 GT.png"]
    assert len(listed) == 6
    assert page.table("problem")["mask with many grey levels, which may be an image"] == [
        *("1", "folder/lump/lump 5")
    ]
    assert "with few grey levels" in page.text
    assert "folder/no_lump/outline" in page.text


def test_marks_that_tell_the_class(class_folders, elsewhere, capsys):
    table = load_manifest(class_folders(no_lump=20, lump=20))
    lump = table["label"] == "lump"
    table.loc[table[lump].index[:15], "flags"] = "caliper"
    table.loc[table[~lump].index[:1], "flags"] = "caliper;text"
    write_manifest(table, "prepared/manifest.csv")
    assert run("--data", "prepared") == 0
    assert "caliper is on 75 % of the lump images and on 5 % of" in capsys.readouterr().out
    tables = Page((elsewhere / "audit.html").read_text()).tables
    compared = next(table for table in tables if table[0][1] == "on images of lump")
    row = next(row for row in compared if row[0] == "caliper")
    assert row[1:3] == ["15 of 20 (75 %)", "1 of 20 (5 %)"]
    assert row[3].startswith("+70 (+")


def test_marks_are_judged_source_by_source(class_folders, elsewhere, capsys):
    table = load_manifest(class_folders(no_lump=20, lump=40))
    lump = table["label"] == "lump"
    # Half of the lumps are of a source where marks were not looked for.
    table.loc[table[lump].index[:20], "source"] = "other"
    table.loc[table[lump].index[20:], "flags"] = "caliper"
    write_manifest(table, "prepared/manifest.csv")
    assert run("--data", "prepared") == 0
    printed = capsys.readouterr().out
    assert "in folder: caliper is on 100 % of the lump images and on 0 %" in printed
    assert printed.count("caliper") == 1
    assert "share of lump is 100 % in other and 50 % in folder" in printed
    compared = Page((elsewhere / "audit.html").read_text()).table("source")
    assert {"all sources", "folder", "other"} <= set(compared)


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ("image_id,split\nfolder/lump/x,train\n", "folder/lump/x"),
        (
            "image_id,split\nfolder/lump/lump 0,mine\n",
            "(folder/lump/lump 0): split must be one of train, val, test, or empty",
        ),
        ("a,b\n1,2\n", "must have a column of images"),
        ("image_id,fold\nfolder/lump/lump 0,one\n", "fold must be a whole number"),
        ("image_id,fold\nfolder/lump/lump 0,\n", "mine.csv puts no image into a fold or split"),
    ],
)
def test_damaged_splits_are_refused(class_folders, elsewhere, capsys, splits, message):
    (elsewhere / "mine.csv").write_text(splits)
    assert run("--data", class_folders(no_lump=2, lump=2), "--splits", "mine.csv") == 1
    assert message in capsys.readouterr().err
    assert not (elsewhere / "audit.html").exists()


def test_what_is_there_is_not_overwritten(class_folders, elsewhere, capsys):
    root = class_folders(no_lump=3, lump=3)
    (elsewhere / "page_near_duplicates.csv").touch()
    assert run("--data", root, "--out", "page.html") == 1
    assert "page_near_duplicates.csv exists" in capsys.readouterr().err
    (elsewhere / "audit_near_duplicates.csv").write_text("mine")
    assert run("--data", root) == 0
    assert (elsewhere / "audit-2.html").is_file()
    assert (elsewhere / "audit_near_duplicates.csv").read_text() == "mine"


def test_an_empty_manifest_is_an_error(class_folders, elsewhere, capsys):
    write_manifest(load_manifest(class_folders(no_lump=1, lump=1)).head(0), "prepared/manifest.csv")
    assert run("--data", "prepared") == 1
    assert "contains no readable image" in capsys.readouterr().err


def test_phantoms_are_called_phantoms(elsewhere):
    assert run("--data", "phantom", "--set", "data.phantom_images=12") == 0
    text = Page((elsewhere / "audit.html").read_text()).text
    assert "simulated (phantoms)" in text
    assert "holds images of patients" not in text


def test_an_audit_does_not_ignore_groups(class_folders, capsys):
    assert (
        main(["data", "audit", "--data", str(class_folders()), "--set", "data.groups=ignore"]) == 2
    )
    assert "data.groups must be keep" in capsys.readouterr().err
