"""YOLO in and out: the layouts in use, what is dropped, what is refused and by which line."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from annoloop.adapters.yolo import YoloReader, YoloWriter
from annoloop.errors import InputError
from annoloop.records import Label, LabeledImage

ROW = "0 0.5 0.5 0.25 0.5\n"
IN_PIXELS = (37.5, 20.0, 25.0, 40.0)


def picture(file, size=(100, 80)):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(file)


def text(file, content=ROW):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)


def ultralytics(root, names="names: [cup, plate]"):
    """Nested folders with the same base name, an empty label file, an image without one."""
    text(root / "data.yaml", f"path: .\ntrain: images\n{names}\n")
    for path in ("a/x.jpg", "b/x.png", "b/empty.jpg", "b/open.jpg"):
        picture(root / "images" / path)
    text(root / "labels" / "a" / "x.txt", ROW)
    text(root / "labels" / "b" / "x.txt", "1 0 0 1 1\n\n0 0.5 0.5 1 1")
    text(root / "labels" / "b" / "empty.txt", "")
    return root


@pytest.mark.parametrize(
    "names",
    ["names: [cup, plate]", "names:\n- cup\n- plate", "names:\n  1: plate\n  0: cup\nnc: 2"],
)
def test_an_empty_file_is_reviewed_and_no_file_is_no_image(tmp_path, names):
    found = YoloReader().read(ultralytics(tmp_path, names))
    assert found.classes == ("cup", "plate")
    assert found.problems == ()
    assert [(i.path, len(i.labels)) for i in found.images] == [
        ("a/x.jpg", 1),
        ("b/empty.jpg", 0),
        ("b/x.png", 2),
    ]
    assert all(i.reviewed and i.split == "train" for i in found.images)
    assert found.images[0].labels == (Label(0, IN_PIXELS),)
    assert (found.images[0].width, found.images[0].height) == (100, 80)
    assert YoloReader().read(tmp_path / "data.yaml") == found


def test_a_crlf_file_with_a_byte_order_mark_is_read(tmp_path):
    ultralytics(tmp_path)
    file = tmp_path / "labels" / "a" / "x.txt"
    file.write_bytes(b"\xef\xbb\xbf" + ROW.strip().encode() + b"\r\n")
    assert YoloReader().read(tmp_path).images[0].labels == (Label(0, IN_PIXELS),)


def test_sizes_are_those_of_the_image_as_it_is_seen(tmp_path):
    ultralytics(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (80, 100)).save(tmp_path / "images" / "a" / "x.jpg", exif=exif)
    assert YoloReader().read(tmp_path).images[0].labels == (Label(0, IN_PIXELS),)


def test_splits_below_one_folder_of_images(tmp_path):
    text(tmp_path / "d.yaml", "train: images/train\nval: images/val\ntest: images/test\nnames: [a]")
    for split in ("train", "val"):
        picture(tmp_path / "images" / split / "x.jpg")
        text(tmp_path / "labels" / split / "x.txt")
    (tmp_path / "images" / "test").mkdir()
    found = YoloReader().read(tmp_path)
    assert [(i.path, i.split) for i in found.images] == [
        ("train/x.jpg", "train"),
        ("val/x.jpg", "val"),
    ]


def test_splits_with_images_and_labels_in_each_and_the_dots_of_roboflow(tmp_path):
    text(tmp_path / "data.yaml", "train: ../train/images\nval: ../valid/images\nnames: ['a']")
    for split in ("train", "valid"):
        picture(tmp_path / split / "images" / "x.jpg")
        text(tmp_path / split / "labels" / "x.txt")
    found = YoloReader().read(tmp_path)
    assert [(i.path, i.split) for i in found.images] == [
        ("train/images/x.jpg", "train"),
        ("valid/images/x.jpg", "val"),
    ]


def test_a_split_may_be_a_list_of_images_or_several_folders(tmp_path):
    text(tmp_path / "data.yaml", "train: [images/p, images/q]\nval: val.txt\nnames: [a]")
    text(tmp_path / "val.txt", "images/v/x.jpg\n./images/v/open.jpg\n")
    for folder in "pqv":
        picture(tmp_path / "images" / folder / "x.jpg")
        text(tmp_path / "labels" / folder / "x.txt")
    found = YoloReader().read(tmp_path)
    assert [(i.path, i.split) for i in found.images] == [
        ("p/x.jpg", "train"),
        ("q/x.jpg", "train"),
        ("v/x.jpg", "val"),
    ]


def test_the_same_folder_for_two_splits_is_read_once(tmp_path):
    ultralytics(tmp_path, "val: images\nnames: [cup, plate]")
    assert {i.split for i in YoloReader().read(tmp_path).images} == {None}


def test_darknet(tmp_path):
    data = "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n"
    text(tmp_path / "obj.data", data)
    text(tmp_path / "obj.names", "cup\nplate\n")
    text(tmp_path / "train.txt", "data/obj_train_data/x.jpg\n")
    text(tmp_path / "obj_train_data" / "x.txt")
    picture(tmp_path / "obj_train_data" / "x.jpg")
    found = YoloReader().read(tmp_path)
    assert found.classes == ("cup", "plate")
    assert [(i.path, len(i.labels)) for i in found.images] == [("obj_train_data/x.jpg", 1)]
    assert YoloReader().read(tmp_path / "obj.data") == found


@pytest.mark.parametrize("names", ["classes.txt", "labels/classes.txt", "../my.names"])
def test_a_folder_with_a_names_file_in_or_above_it(tmp_path, names):
    root = tmp_path / "set"
    text(root / names, "cup\nplate\n\n")
    text(root / "labels" / "a" / "x.txt")
    picture(root / "images" / "a" / "x.jpg")
    found = YoloReader().read(root)
    assert found.classes == ("cup", "plate")
    assert [(i.path, i.labels) for i in found.images] == [("a/x.jpg", (Label(0, IN_PIXELS),))]
    if not names.startswith("."):
        below = YoloReader().read(root / "labels")
        assert below == found


def test_labels_beside_their_images(tmp_path):
    text(tmp_path / "classes.txt", "cup\n")
    picture(tmp_path / "a" / "x.jpg")
    text(tmp_path / "a" / "x.txt")
    assert [i.path for i in YoloReader().read(tmp_path).images] == ["a/x.jpg"]


def test_images_may_lie_elsewhere(tmp_path):
    root, images = tmp_path / "set", tmp_path / "pictures"
    text(root / "classes.txt", "cup\n")
    for name in ("a/x", "b/x", "y"):
        text(root / "labels" / f"{name}.txt")
        picture(images / f"{name}.JPG")
    with pytest.raises(InputError, match=r"labels/a/x\.txt: its image is not at") as caught:
        YoloReader().read(root)
    assert "option `images`" in caught.value.fix
    found = YoloReader(images=str(images)).read(root)
    assert [i.path for i in found.images] == ["a/x.JPG", "b/x.JPG", "y.JPG"]


def test_two_label_files_of_one_image_and_two_images_of_one_label_file(tmp_path):
    text(tmp_path / "set" / "classes.txt", "cup\n")
    for name in ("a/x", "b/x"):
        text(tmp_path / "set" / "labels" / f"{name}.txt")
    picture(tmp_path / "pictures" / "x.jpg")
    reader = YoloReader(images=str(tmp_path / "pictures"))
    with pytest.raises(InputError, match=r"the image x\.jpg is there twice"):
        reader.read(tmp_path / "set")
    picture(tmp_path / "pictures" / "x.png")
    with pytest.raises(InputError, match=r"both x\.jpg and x\.png could be its image"):
        reader.read(tmp_path / "set")


def test_boxes_without_area_or_outside_are_dropped_and_reported(tmp_path):
    ultralytics(tmp_path)
    text(tmp_path / "labels" / "a" / "x.txt", f"{ROW}0 0.5 0.5 0 0.1\n0 1.5 0.5 0.5 0.5\n")
    text(tmp_path / "labels" / "b" / "empty.txt", "0 0.5 0.5 0 0")
    found = YoloReader().read(tmp_path)
    assert [(p.file, p.row, p.action) for p in found.problems] == [
        ("labels/a/x.txt", "line 2", "dropped"),
        ("labels/a/x.txt", "line 3", "dropped"),
        ("labels/b/empty.txt", "line 1", "dropped"),
    ]
    assert [(len(i.labels), i.reviewed) for i in found.images] == [(1, True), (0, False), (2, True)]


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("0 0.5 0.5 0.1", "4 values instead of five"),
        ("0 0.5 0.5 0.1 0.1 0.9", "a prediction with its score"),
        ("0 0.1 0.1 0.2 0.1 0.2 0.2", "segmentation labels are not boxes"),
        ("2 0.5 0.5 0.1 0.1", "class '2' is none of 0 to 1"),
        ("-1 0.5 0.5 0.1 0.1", "class '-1'"),
        ("0.0 0.5 0.5 0.1 0.1", "class '0.0'"),
        ("cup 0.5 0.5 0.1 0.1", "class 'cup'"),
        ("0 0.5 x 0.1 0.1", "not four numbers"),
        ("0 nan 0.5 0.1 0.1", "not finite"),
        ("0 0.5 0.5 inf 0.1", "not finite"),
        ("0 0.5 0.5 -0.1 0.1", "negative"),
        ("0 50 40 25 40", "not relative"),
    ],
)
def test_bad_rows_are_refused_by_file_and_line(tmp_path, row, what):
    ultralytics(tmp_path)
    text(tmp_path / "labels" / "a" / "x.txt", f"{ROW}\n{row}\n")
    with pytest.raises(InputError) as caught:
        YoloReader().read(tmp_path)
    assert f"{tmp_path}/labels/a/x.txt:3: " in caught.value.problem
    assert what in caught.value.problem


@pytest.mark.parametrize(
    ("yaml", "what"),
    [
        ("train: images", "has no `names`"),
        ("names: [a]", "has no `train`, `val` or `test`"),
        ("train: images\nnames: [a, a]", "'a' is there twice"),
        ("train: images\nnames: ['']", "class name 0 is empty"),
        ("train: images\nnames: a", "`names` is no list"),
        ("train: images\nnames:\n  0: a\n  2: b", "`names` is no list, and no mapping"),
        ("train: images\nnc: 3\nnames: [a]", "`nc` is 3, but there are 1 names"),
        ("train: pictures\nnames: [a]", "there is neither a folder"),
        ("train:\n  x: y\nnames: [a]", "`train` is no single text"),
        ("path: [a]\ntrain: images\nnames: [a]", "`path` is no single text"),
        ("train: {}\nnames: [a]", "data.yaml:1: "),
    ],
)
def test_a_bad_yaml_is_refused_by_name(tmp_path, yaml, what):
    ultralytics(tmp_path)
    text(tmp_path / "data.yaml", yaml)
    with pytest.raises(InputError) as caught:
        YoloReader().read(tmp_path)
    assert "data.yaml" in caught.value.problem
    assert what in caught.value.problem


def test_missing_and_other_sources_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        YoloReader().read(tmp_path / "gone")
    with pytest.raises(InputError, match="not a YOLO data set"):
        YoloReader().read(tmp_path)
    text(tmp_path / "train.json", "{}")
    for source in (tmp_path, tmp_path / "train.json"):
        with pytest.raises(InputError, match=r"train\.json looks like coco"):
            YoloReader().read(source)
    text(tmp_path / "x.txt")
    with pytest.raises(InputError, match="no one file with class names"):
        YoloReader().read(tmp_path)
    for name in ("a.yaml", "b.yaml"):
        text(tmp_path / name, "names: [a]")
    with pytest.raises(InputError, match=r"several \.yaml files \(a\.yaml, b\.yaml\)"):
        YoloReader().read(tmp_path)


def test_a_data_set_without_label_files_is_refused(tmp_path):
    text(tmp_path / "data.yaml", "train: images\nnames: [a]")
    picture(tmp_path / "images" / "x.jpg")
    with pytest.raises(InputError, match="there is no label file"):
        YoloReader().read(tmp_path)


def image(folder, path, labels=(), *, reviewed=False, size=(64, 48)):
    file = folder / "source" / path
    picture(file, size)
    return LabeledImage(f"id-{path}", path, str(file), *size, labels, reviewed)


def test_what_is_written_comes_back(tmp_path):
    label = Label(1, (16.0, 12.0, 32.0, 24.0))
    images = [
        image(tmp_path, "b/x.jpg", (label,)),
        image(tmp_path, "a/x.jpg", reviewed=True),
        image(tmp_path, "open.jpg"),
    ]
    out = tmp_path / "out"
    classes = ["cup: red", 'tee "kanne"', "straße #1"]
    written = YoloWriter().write(out, images, classes=classes)
    assert [p.relative_to(out).as_posix() for p in written] == [
        "data.yaml",
        "labels/b/x.txt",
        "labels/a/x.txt",
        "images/b/x.jpg",
        "images/a/x.jpg",
        "images/open.jpg",
    ]
    assert all(p.is_file() for p in written)
    found = YoloReader().read(out)
    assert found.classes == tuple(classes)
    assert [(i.path, i.labels, i.reviewed) for i in found.images] == [
        ("a/x.jpg", (), True),
        ("b/x.jpg", (label,), True),
    ]
    before = [p.read_bytes() for p in written]
    YoloWriter().write(out, images, classes=classes)
    assert [p.read_bytes() for p in written] == before


def test_an_answer_taken_back_leaves_no_label_file(tmp_path):
    out = tmp_path / "out"
    YoloWriter().write(out, [image(tmp_path, "x.jpg", reviewed=True)], classes=["a"])
    YoloWriter().write(out, [image(tmp_path, "x.jpg")], classes=["a"])
    assert not (out / "labels" / "x.txt").exists()


def test_images_that_would_share_a_label_file_are_not_written(tmp_path):
    images = [image(tmp_path, "x.jpg"), image(tmp_path, "x.png")]
    with pytest.raises(InputError, match=r"x\.jpg and x\.png would both be written to x\.txt"):
        YoloWriter().write(tmp_path / "out", images, classes=["a"])


lengths = st.floats(1e-3, 60, allow_subnormal=False)
starts = st.floats(-0.5, 40, allow_subnormal=False)
boxes = st.tuples(starts, starts, lengths, lengths).filter(
    lambda b: min(b[0] + b[2], b[1] + b[3]) > 1e-3
)


@given(st.lists(st.builds(Label, st.integers(0, 2), boxes), max_size=8), st.integers(1, 400))
@settings(max_examples=25, deadline=None)
def test_any_boxes_survive_a_round_trip_to_a_millionth_of_a_pixel(labels, scale):
    size = (41 * scale, 48)
    labels = [Label(o.class_id, (o.box[0] * scale, *o.box[1:])) for o in labels]
    assume(all(o.box[0] + o.box[2] > 1e-3 for o in labels))  # else it lies outside the image
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        one = image(folder, "x.bmp", tuple(labels), reviewed=True, size=size)
        YoloWriter().write(folder / "out", [one], classes=["a", "b", "c"])
        back = YoloReader().read(folder / "out")
    assert back.problems == ()
    assert [o.class_id for o in back.images[0].labels] == [o.class_id for o in labels]
    for read, written in zip(back.images[0].labels, labels, strict=True):
        assert read.box == pytest.approx(written.box, abs=1e-6, rel=0)
