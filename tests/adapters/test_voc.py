"""Pascal VOC in and out: what is kept, what is dropped, what is refused and by which object."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from annoloop.adapters.voc import VocReader, VocWriter
from annoloop.errors import InputError
from annoloop.records import Label, LabeledImage

SIZE = "<size><width>100</width><height>80</height><depth>3</depth></size>"


def thing(name="cup", corners=(10, 20, 40, 60), extra=""):
    tags = zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    box = "".join(f"<{tag}>{value}</{tag}>" for tag, value in tags)
    return f"<object><name>{name}</name>{extra}<bndbox>{box}</bndbox></object>"


def xml(file, *objects, filename=None, size=SIZE):
    file.parent.mkdir(parents=True, exist_ok=True)
    name = f"{file.stem}.jpg" if filename is None else filename
    body = f"<filename>{name}</filename>{size}{''.join(objects)}"
    file.write_text(f"<annotation>{body}</annotation>")


def test_boxes_flags_and_alphabetical_classes(tmp_path):
    xml(
        tmp_path / "b.xml",
        thing("plate", (10.5, 20, 40, 60), "<difficult>1</difficult>"),
        thing(" cup "),
    )
    xml(tmp_path / "a" / "b.xml")
    found = VocReader().read(tmp_path)
    assert found.classes == ("cup", "plate")
    assert found.problems == ()
    empty, full = found.images
    assert (empty.path, empty.labels, empty.reviewed) == ("a/b.jpg", (), True)
    assert (full.path, full.width, full.height) == ("b.jpg", 100, 80)
    assert full.labels == (
        Label(1, (10.5, 20.0, 29.5, 40.0), difficult=True),
        Label(0, (10.0, 20.0, 30.0, 40.0)),
    )


def test_corners_counted_from_one(tmp_path):
    xml(tmp_path / "a.xml", thing(corners=(1, 1, 100, 80)), thing(corners=(5, 5, 5, 5)))
    found = VocReader(one_based=True).read(tmp_path)
    boxes = [label.box for label in found.images[0].labels]
    assert boxes == [(0.0, 0.0, 100.0, 80.0), (4.0, 4.0, 1.0, 1.0)]


def test_a_root_with_annotations_and_lists_of_splits(tmp_path):
    for name in ("a", "b", "sub/c", "d"):
        xml(tmp_path / "Annotations" / f"{name}.xml")
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\nsub/c -1\n\n")
    (lists / "val.txt").write_text("b\na\n")
    found = VocReader().read(tmp_path)
    assert [(i.path, i.split) for i in found.images] == [
        ("a.jpg", "train"),
        ("b.jpg", "val"),
        ("d.jpg", None),
        ("sub/c.jpg", "train"),
    ]


def test_classes_may_be_fixed(tmp_path):
    xml(tmp_path / "a.xml", thing("plate"))
    found = VocReader(classes=["plate", "cup"]).read(tmp_path)
    assert found.classes == ("plate", "cup")
    assert found.images[0].labels[0].class_id == 0
    with pytest.raises(InputError, match=r"a\.xml: object\[0\]: has the class 'plate'"):
        VocReader(classes=["cup"]).read(tmp_path)


def test_a_file_name_that_disagrees_is_reported_and_the_xml_file_decides(tmp_path):
    xml(tmp_path / "a.xml", filename="C:\\photos\\other.PNG")
    xml(tmp_path / "b.xml", filename="sub/b.jpg")
    found = VocReader().read(tmp_path)
    assert [i.path for i in found.images] == ["a.PNG", "b.jpg"]
    (problem,) = found.problems
    assert (problem.file, problem.row) == ("a.xml", "filename")
    assert problem.what == "names other.PNG, but the file is a.xml"
    assert problem.action == "taken as a.PNG"


def test_a_file_name_without_suffix_takes_that_of_the_path(tmp_path):
    xml(tmp_path / "a.b.xml", filename="a.b</filename><path>/home/me/a.b.png</path><filename>")
    xml(tmp_path / "c.xml", filename="</filename><path>D:\\c.jpeg</path><filename>")
    found = VocReader().read(tmp_path)
    assert [i.path for i in found.images] == ["a.b.png", "c.jpeg"]
    assert found.problems == ()


@pytest.mark.parametrize("size", ["", "<size/>", SIZE.replace("100", "0").replace("80", "0")])
def test_a_size_may_be_unknown(tmp_path, size):
    xml(tmp_path / "a.xml", thing(corners=(500, 500, 600, 600)), size=size)
    found = VocReader().read(tmp_path)
    assert (found.images[0].width, found.images[0].height) == (None, None)
    assert len(found.images[0].labels) == 1


def test_boxes_without_area_or_outside_are_dropped_and_reported(tmp_path):
    rows = [(5, 5, 5, 9), (9, 9, 5, 5), (100, 0, 110, 9), (90, 70, 150, 90)]
    xml(tmp_path / "s" / "a.xml", *(thing(corners=corners) for corners in rows))
    xml(tmp_path / "b.xml", thing("only", (1, 1, 1, 1)))
    found = VocReader().read(tmp_path)
    assert [(p.file, p.row, p.action) for p in found.problems] == [
        ("b.xml", "object[0]", "dropped"),
        ("s/a.xml", "object[0]", "dropped"),
        ("s/a.xml", "object[1]", "dropped"),
        ("s/a.xml", "object[2]", "dropped"),
    ]
    assert [(len(i.labels), i.reviewed) for i in found.images] == [(0, False), (1, True)]
    assert found.classes == ("cup", "only")


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("<annotation>", "not valid XML"),
        ("", "not valid XML"),
        ("<annotations/>", "its root is <annotations>"),
        ("<annotation/>", "neither `filename` nor `path`"),
        ("<annotation><filename>a.txt</filename></annotation>", "neither `filename` nor `path`"),
        (
            '<!DOCTYPE a [<!ENTITY e "cup">]><annotation><filename>&e;</filename></annotation>',
            "declares entities",
        ),
        ('<?xml version="1.0" encoding="klingon"?><annotation/>', "not valid XML"),
    ],
)
def test_files_that_are_not_voc_are_refused_by_name(tmp_path, body, what):
    (tmp_path / "a.xml").write_text(body)
    with pytest.raises(InputError) as caught:
        VocReader().read(tmp_path)
    assert str(tmp_path / "a.xml") in caught.value.problem
    assert what in caught.value.problem


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        ("<object><name>cup</name></object>", "has no `bndbox`"),
        (thing("", (1, 1, 9, 9)), "class name 0 is empty"),
        (thing("x" * 201), "201 characters"),
        (thing(corners=("one", 1, 9, 9)), "xmin is 'one', not a number"),
        (thing(corners=(1, 1, "", 9)), "xmax is '', not a number"),
        (thing(corners=("nan", 1, 9, 9)), "not finite"),
        (thing(corners=(1, 1, 9, "1e999")), "not finite"),
        (thing(extra="<difficult>yes</difficult>"), "difficult is 'yes'"),
    ],
)
def test_bad_objects_are_refused_by_file_and_number(tmp_path, bad, what):
    xml(tmp_path / "s" / "a.xml", thing(), bad)
    with pytest.raises(InputError) as caught:
        VocReader().read(tmp_path)
    assert f"{tmp_path}/s/a.xml: object[1]: " in caught.value.problem
    assert what in caught.value.problem


def test_a_bad_size_is_refused(tmp_path):
    for width in ("-1", "wide", "1.5", "inf"):
        xml(tmp_path / "a.xml", size=f"<size><width>{width}</width></size>")
        with pytest.raises(InputError, match=rf"a\.xml: size: width is '{width}'"):
            VocReader().read(tmp_path)


def test_missing_and_other_sources_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        VocReader().read(tmp_path / "gone")
    with pytest.raises(InputError, match="not a VOC data set"):
        VocReader().read(tmp_path)
    (tmp_path / "data.yaml").write_text("")
    for source in (tmp_path, tmp_path / "data.yaml"):
        with pytest.raises(InputError, match=r"data\.yaml looks like yolo"):
            VocReader().read(source)


def image(folder, path, labels=(), *, reviewed=False):
    file = folder / "source" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 48)).save(file)
    return LabeledImage(f"id-{path}", path, str(file), 64, 48, labels, reviewed)


def test_what_is_written_comes_back(tmp_path):
    labels = (
        Label(1, (1.25, 2.5, 3.0, 4.0), difficult=True),
        Label(0, (0.0, 0.0, 64.0, 48.0), crowd=True),
    )
    images = [
        image(tmp_path, "b/x.jpg", labels),
        image(tmp_path, "a/x.png", reviewed=True),
        image(tmp_path, "open.jpg"),
    ]
    out, classes = tmp_path / "out", ["cup <red>", "tee & kanne"]
    written = VocWriter().write(out, images, classes=classes)
    assert [p.relative_to(out).as_posix() for p in written] == [
        "Annotations/b/x.xml",
        "Annotations/a/x.xml",
        "images/b/x.jpg",
        "images/a/x.png",
        "images/open.jpg",
    ]
    assert all(p.is_file() for p in written)
    found = VocReader().read(out)
    assert found.problems == ()
    assert found.classes == tuple(classes)
    assert [(i.path, i.labels, i.reviewed) for i in found.images] == [
        ("a/x.png", (), True),
        ("b/x.jpg", labels, True),
    ]
    VocWriter().write(out, [image(tmp_path, "a/x.png")], classes=classes)
    assert not (out / "Annotations" / "a" / "x.xml").exists()


def test_images_that_would_share_a_file_are_not_written(tmp_path):
    images = [image(tmp_path, "x.jpg"), image(tmp_path, "x.png")]
    with pytest.raises(InputError, match=r"both be written to x\.xml"):
        VocWriter().write(tmp_path / "out", images, classes=["a"])


lengths = st.floats(1e-3, 60, allow_subnormal=False)
starts = st.floats(-0.5, 40, allow_subnormal=False)
labels = st.builds(
    Label,
    st.integers(0, 2),
    st.tuples(starts, starts, lengths, lengths).filter(
        lambda b: min(b[0] + b[2], b[1] + b[3]) > 1e-3
    ),
    crowd=st.booleans(),
    difficult=st.booleans(),
)


@given(st.lists(labels, max_size=8))
@settings(max_examples=25, deadline=None)
def test_any_labels_survive_a_round_trip_to_a_millionth_of_a_pixel(found):
    with tempfile.TemporaryDirectory() as name:
        folder, classes = Path(name), ["a", "b", "c"]
        one = image(folder, "x.jpg", tuple(found), reviewed=True)
        VocWriter().write(folder / "out", [one], classes=classes)
        back = VocReader(classes=classes).read(folder / "out")
    assert back.problems == ()
    read = back.images[0].labels
    assert [(o.class_id, o.crowd, o.difficult) for o in read] == [
        (o.class_id, o.crowd, o.difficult) for o in found
    ]
    for one, other in zip(read, found, strict=True):
        assert one.box == pytest.approx(other.box, abs=1e-6, rel=0)
