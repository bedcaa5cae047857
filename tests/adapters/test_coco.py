"""COCO in and out: what is kept, what is dropped, what is refused and by which row."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from annoloop.adapters.coco import CocoReader, CocoWriter
from annoloop.errors import InputError
from annoloop.records import Answer, Label, LabeledImage


def data(**changes):
    """Two images, classes whose ids are sparse and out of order, three boxes."""
    whole = {
        "images": [
            {"id": 7, "file_name": "b.jpg", "width": 100, "height": 80},
            {"id": 3, "file_name": "sub/a.jpg", "width": 60, "height": 40},
        ],
        "categories": [{"id": 90, "name": "plate"}, {"id": 2, "name": "cup"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 90, "bbox": [1, 2, 3.5, 4], "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 2, "bbox": [5, 6, 7, 8], "iscrowd": 1},
            {"id": 3, "image_id": 3, "category_id": 2, "bbox": [0, 0, 60, 40]},
        ],
    }
    return {**whole, **changes}


def read(folder, content):
    file = folder / "labels.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return CocoReader().read(file)


def test_images_boxes_and_classes_in_the_order_of_their_ids(tmp_path):
    found = read(tmp_path, data())
    assert found.classes == ("cup", "plate")
    assert found.problems == ()
    first, second = found.images
    assert (first.path, first.width, first.height) == ("b.jpg", 100, 80)
    assert first.labels == (
        Label(1, (1.0, 2.0, 3.5, 4.0)),
        Label(0, (5.0, 6.0, 7.0, 8.0), crowd=True),
    )
    assert (second.path, second.external_id, second.reviewed) == ("sub/a.jpg", "3", None)


def test_a_folder_with_one_json_is_read_and_with_two_is_not(tmp_path):
    (tmp_path / "one.json").write_text(json.dumps(data()), encoding="utf-8-sig")
    assert len(CocoReader().read(tmp_path).images) == 2
    (tmp_path / "two.json").write_text("{}")
    with pytest.raises(InputError, match=r"2 \.json files \(one\.json, two\.json\)"):
        CocoReader().read(tmp_path)


def test_our_own_keys_are_understood(tmp_path):
    images = [
        {"id": 1, "file_name": "a.jpg", "reviewed": True, "annoloop_id": "0f"},
        {"id": 2, "file_name": "b.jpg", "reviewed": False},
        {"id": 3, "file_name": "c.jpg", "answer": "unusable", "why": "blurred"},
        {"id": "x", "file_name": "d.jpg", "width": 0, "height": None, "reviewed": None},
    ]
    a, b, c, d = read(tmp_path, data(images=images, annotations=[])).images
    assert (a.reviewed, a.sample_id) == (True, "0f")
    assert b.reviewed is False
    assert (c.answer, c.why) == (Answer.UNUSABLE, "blurred")
    assert (d.external_id, d.width, d.height, d.reviewed) == ("x", None, None, None)


def test_boxes_without_area_or_outside_are_dropped_and_reported(tmp_path):
    def box(*values):
        return {"image_id": 7, "category_id": 2, "bbox": list(values)}

    rows = [box(1, 1, 0, 5), box(1, 1, 5, -2), box(100, 0, 9, 9), box(90, 70, 50, 50)]
    found = read(tmp_path, data(annotations=rows))
    assert [p.row for p in found.problems] == [f"annotations[{i}]" for i in range(3)]
    assert {(p.file, p.action) for p in found.problems} == {("labels.json", "dropped")}
    assert found.images[0].labels == (Label(0, (90.0, 70.0, 50.0, 50.0)),)


def test_an_image_whose_only_box_is_dropped_counts_as_not_reviewed(tmp_path):
    rows = [{"image_id": 7, "category_id": 2, "bbox": [1, 1, 0, 0]}]
    assert [i.reviewed for i in read(tmp_path, data(annotations=rows)).images] == [False, None]


def broken(part, number, **changes):
    """The data with some keys of one row changed; None removes the key."""
    whole = data()
    row = whole[part][number]
    row.update(changes)
    for key in [key for key, value in row.items() if value is None]:
        del row[key]
    return whole


def box(*values):
    return broken("annotations", 2, bbox=list(values))


@pytest.mark.parametrize(
    ("content", "row", "what"),
    [
        ("{", "labels.json", "not valid JSON"),
        ("[" * 100_000, "labels.json", "not valid JSON"),
        ("[]", "labels.json", "COCO results"),
        ("3", "labels.json", "holds int"),
        ({"images": [], "annotations": []}, "labels.json", "no list 'categories'"),
        ({"images": [], "categories": []}, "labels.json", "no list 'annotations'"),
        (data(images={}), "labels.json", "'images' is not a list"),
        (data(images=[3]), "images[0]", "is not an object"),
        (broken("images", 1, id=7), "images[1]", "has the id 7 of another image"),
        (broken("images", 1, id=None), "images[1]", "has no 'id'"),
        (broken("images", 1, id=True), "images[1]", "'id' is True"),
        (broken("images", 1, id=1.5), "images[1]", "'id' is 1.5"),
        (broken("images", 1, file_name=5), "images[1]", "'file_name' is 5"),
        (broken("images", 1, file_name="/a.jpg"), "images[1]", "absolute"),
        (broken("images", 1, file_name="a/../../b.jpg"), "images[1]", "leaves its folder"),
        (broken("images", 1, file_name="b.jpg"), "labels.json", "b.jpg is there twice"),
        (broken("images", 1, width=-5), "images[1]", "'width' is -5"),
        (broken("images", 1, height="40"), "images[1]", "'height' is '40'"),
        (broken("images", 1, width=1.5), "images[1]", "'width' is 1.5"),
        (broken("images", 1, reviewed=1), "images[1]", "'reviewed' is 1"),
        (broken("images", 1, answer="done"), "images[1]", "'answer' is 'done'"),
        (broken("images", 1, annoloop_id=4), "images[1]", "'annoloop_id' is 4"),
        (broken("categories", 1, id=90), "categories[1]", "the id 90 of another category"),
        (broken("categories", 1, id="2"), "categories[1]", "'id' is '2'"),
        (broken("categories", 1, name=""), "categories[1]", "is empty"),
        (broken("categories", 1, name="a\u0007"), "categories[1]", "control characters"),
        (broken("categories", 1, name="x" * 201), "categories[1]", "201 characters"),
        (broken("categories", 1, name="plate"), "categories", "'plate' is there twice"),
        (broken("annotations", 2, id=1), "annotations[2]", "has the id 1 of annotations[0]"),
        (broken("annotations", 2, image_id=9), "annotations[2]", "the image id 9"),
        (broken("annotations", 2, image_id="3"), "annotations[2]", "the image id '3'"),
        (broken("annotations", 2, image_id=None), "annotations[2]", "has no 'image_id'"),
        (broken("annotations", 2, category_id=1), "annotations[2]", "the category id 1"),
        (broken("annotations", 2, bbox=None), "annotations[2]", "has no 'bbox'"),
        (broken("annotations", 2, bbox={}), "annotations[2]", "'bbox' is {}"),
        (broken("annotations", 2, iscrowd="no"), "annotations[2]", "'iscrowd' is 'no'"),
        (box(1, 2, 3), "annotations[2]", "not four numbers"),
        (box(1, 2, 3, "4"), "annotations[2]", "not four numbers"),
        (box(1, 2, 3, True), "annotations[2]", "not four numbers"),
        (box(1, 2, 3, None), "annotations[2]", "not four numbers"),
        (box(float("nan"), 2, 3, 4), "annotations[2]", "not finite"),
        (box(1, 2, float("inf"), 4), "annotations[2]", "not finite"),
        (box(1, 2, 3, 10**400), "annotations[2]", "too large"),
    ],
)
def test_what_is_wrong_is_refused_by_file_and_row(tmp_path, content, row, what):
    with pytest.raises(InputError) as caught:
        read(tmp_path, content)
    assert str(tmp_path / "labels.json") in caught.value.problem
    assert row in caught.value.problem
    assert what in caught.value.problem
    assert caught.value.fix


def test_two_images_of_one_sample_are_refused(tmp_path):
    images = [{"id": i, "file_name": f"{i}.jpg", "annoloop_id": "0f"} for i in range(2)]
    with pytest.raises(InputError, match=r"images\[1\]: has the annoloop_id '0f'"):
        read(tmp_path, data(images=images, annotations=[]))


def test_missing_and_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        CocoReader().read(tmp_path / "gone.json")
    with pytest.raises(InputError, match="not a COCO data set"):
        CocoReader().read(tmp_path)
    (tmp_path / "data.yaml").write_text("names: [a]")
    for source in (tmp_path, tmp_path / "data.yaml"):
        with pytest.raises(InputError, match=r"data\.yaml looks like yolo"):
            CocoReader().read(source)
    (tmp_path / "a.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(InputError, match="not valid JSON"):
        CocoReader().read(tmp_path / "a.json")


def image(folder, path, labels=(), *, sample="", reviewed=False):
    file = folder / "source" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 48)).save(file)
    return LabeledImage(sample or f"id-{path}", path, str(file), 64, 48, labels, reviewed)


def test_what_is_written_comes_back_with_our_ids(tmp_path):
    images = [
        image(tmp_path, "b/x.jpg", (Label(1, (1.25, 2.5, 3.0, 4.0), crowd=True),), sample="s1"),
        image(tmp_path, "a/x.jpg", reviewed=True, sample="s2"),
        image(tmp_path, "straße.jpg", (Label(0, (0.1, 0.2, 0.3, 0.4), difficult=True),)),
        image(tmp_path, "open.jpg"),
    ]
    out = tmp_path / "out"
    written = CocoWriter().write(out, images, classes=["cup", "tee kanne"])
    assert written[0] == out / "annotations.json"
    assert [p.relative_to(out / "images").as_posix() for p in written[1:]] == [
        i.path for i in images
    ]
    assert all(p.read_bytes() for p in written)
    found = CocoReader().read(out)
    assert found.classes == ("cup", "tee kanne")
    back = {i.path: i for i in found.images}
    for one in images:
        assert back[one.path].labels == one.labels
        assert back[one.path].sample_id == one.sample_id
        assert back[one.path].reviewed is (True if one.reviewed else None)
        assert (back[one.path].width, back[one.path].height) == (64, 48)
    again = tmp_path / "again"
    CocoWriter().write(again, images, classes=["cup", "tee kanne"])
    assert (again / "annotations.json").read_bytes() == written[0].read_bytes()


def test_the_written_file_is_plain_coco(tmp_path):
    label = Label(1, (1.0, 2.0, 3.0, 4.0))
    CocoWriter().write(tmp_path / "out", [image(tmp_path, "x.jpg", (label,))], classes=["a", "b"])
    whole = json.loads((tmp_path / "out" / "annotations.json").read_text())
    assert whole["categories"] == [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
    assert whole["images"] == [
        {"id": 1, "file_name": "x.jpg", "width": 64, "height": 48, "annoloop_id": "id-x.jpg"}
    ]
    assert whole["annotations"] == [
        {"id": 1, "image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4], "area": 12, "iscrowd": 0}
    ]


def test_unsafe_double_and_missing_images_are_not_written(tmp_path):
    one = image(tmp_path, "x.jpg")
    for images in ([one, one], [LabeledImage("a", "../x.jpg", one.file, 64, 48)]):
        with pytest.raises(InputError, match=r"x\.jpg"):
            CocoWriter().write(tmp_path / "out", images, classes=["a"])
    gone = LabeledImage("a", "gone.jpg", str(tmp_path / "gone.jpg"), 64, 48)
    with pytest.raises(InputError, match=r"gone\.jpg: there is no such file"):
        CocoWriter().write(tmp_path / "out", [gone], classes=["a"])


sizes = st.floats(1e-3, 60, allow_subnormal=False)
starts = st.floats(-0.5, 40, allow_subnormal=False)
labels = st.builds(
    Label,
    st.integers(0, 2),
    st.tuples(starts, starts, sizes, sizes).filter(lambda b: b[0] + b[2] > 0 < b[1] + b[3]),
    crowd=st.booleans(),
    difficult=st.booleans(),
)


@given(st.lists(labels, max_size=8))
@settings(max_examples=25, deadline=None)
def test_any_labels_survive_a_round_trip_exactly(found):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        CocoWriter().write(
            folder / "out", [image(folder, "x.jpg", tuple(found))], classes=["a", "b", "c"]
        )
        back = CocoReader().read(folder / "out")
    assert back.images[0].labels == tuple(found)
    assert back.problems == ()
