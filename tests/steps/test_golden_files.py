"""The golden check on files, as records and through the command line."""

import json
import subprocess
import sys

import numpy as np
import pytest

from annoloop.core.power import Scenario
from annoloop.core.simulated import Habits, annotate, draw_reference
from annoloop.errors import InputError
from annoloop.records import Answer, ForeignDataset, ForeignImage, Label
from annoloop.steps.golden_files import FilePass, check_files, power

NAMES = ("cup", "mug", "jug")


def coco(labels, names=NAMES):
    """A COCO document; category ids are not positions."""
    images = [
        {"id": k, "file_name": name, "width": 1500, "height": 1500}
        for k, name in enumerate(sorted(labels), start=1)
    ]
    rows = [
        {"image_id": image["id"], "category_id": 10 * label.class_id + 7, "bbox": list(label.box),
         "iscrowd": int(label.crowd)}
        for image in images for label in labels[image["file_name"]]
    ]  # fmt: skip
    for number, row in enumerate(rows, start=1):
        row["id"] = number
    categories = [{"id": 10 * k + 7, "name": name} for k, name in enumerate(names)]
    return {"images": images, "annotations": rows, "categories": categories}


def passed(name, labels, classes=NAMES):
    images = tuple(ForeignImage(path, tuple(rows)) for path, rows in sorted(labels.items()))
    return FilePass(name, ForeignDataset(classes, images))


@pytest.fixture(scope="module")
def world():
    rng = np.random.default_rng(3)
    reference = draw_reference(60, 5.0, classes=3, rng=rng)
    good = [annotate(reference, Habits(), classes=3, rng=rng) for _ in range(4)]
    bad = annotate(reference, Habits(miss=0.25), classes=3, rng=rng)
    return reference, good, bad


def judged(world, new, **more):
    reference, good, _ = world
    baselines = [passed(f"P{k}.json", one) for k, one in enumerate(good[:3])]
    return check_files(passed("R.json", reference), new, **{"baselines": baselines, **more})


def test_files_without_drift_pass_and_with_drift_fail(world):
    _, good, bad = world
    calm = judged(world, passed("N.json", good[3]), look=4)
    assert (calm.verdict, calm.action, calm.look, calm.looks) == ("pass", "proceed", 4, 20)
    found = judged(world, passed("N.json", bad))
    assert found.verdict == "fail"
    assert found.errors["missed"]["p_value"] <= found.errors["missed"]["alpha"] == 0.001
    assert found.images[0]["image"].endswith(".jpg")


def test_classes_are_the_same_where_their_names_are(world):
    _, good, _ = world
    turned = {
        name: [Label(2 - label.class_id, label.box) for label in rows]
        for name, rows in good[3].items()
    }
    one = judged(world, passed("N.json", good[3]))
    other = judged(world, passed("N.json", turned, NAMES[::-1]))
    assert (other.verdict, other.errors) == (one.verdict, one.errors)


def test_a_class_that_the_reference_lacks_is_wrong_and_said(world):
    _, good, _ = world
    renamed = passed("N.json", good[3], ("cup", "mug", "vase"))
    found = judged(world, renamed)
    assert found.errors["class"]["failed"]
    assert any("N.json has classes that the reference lacks: vase" in n for n in found.notes)
    with pytest.raises(InputError, match="no class in common"):
        judged(world, passed("N.json", good[3], ("a", "b", "c")))


def test_images_are_matched_by_name(world):
    _, good, _ = world
    fewer = dict(list(good[3].items())[:50])
    found = judged(world, passed("N.json", {**fewer, "other.jpg": []}))
    assert found.images_compared == 50
    assert "10 images of R.json are not answered in N.json" in found.notes
    assert "1 images of N.json are not in R.json" in found.notes
    with pytest.raises(InputError, match=r"N\.json has no image of R\.json"):
        judged(world, passed("N.json", {"other.jpg": []}))


def test_images_that_nobody_looked_at_are_no_empty_answers(world):
    _, good, _ = world
    images = [ForeignImage(path, tuple(rows)) for path, rows in sorted(good[3].items())]
    images[0] = ForeignImage(images[0].path, (), reviewed=False)
    images[1] = ForeignImage(images[1].path, (), answer=Answer.UNSURE)
    found = judged(world, FilePass("N.json", ForeignDataset(NAMES, tuple(images))))
    assert found.images_compared == 58


def test_looks_beyond_the_plan_are_refused(world):
    with pytest.raises(InputError, match="look 21 of 20"):
        judged(world, passed("N.json", world[1][3]), look=21)


def test_power_echoes_what_it_was_asked():
    found = power(Scenario(50, 5.0, 3), usual=0.03, to=0.13, looks=20, repetitions=200)
    assert (found.images, found.boxes, found.passes, found.looks) == (50, 5.0, 3, 20)
    assert found.power > 0.8
    assert found.false_alarm <= 0.05
    assert found.power_se > 0.0


def annoloop(*words):
    command = [sys.executable, "-c", "from annoloop.cli import main; main()", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_line(world, tmp_path):
    reference, good, bad = world
    files = {"R": reference, "P1": good[0], "P2": good[1], "P3": good[2], "good": good[3]}
    for name, labels in {**files, "bad": bad}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(coco(labels)))
    words = ["golden", "check", "--reference", str(tmp_path / "R.json")]
    for name in ("P1", "P2", "P3"):
        words += ["--baseline", str(tmp_path / f"{name}.json")]
    done = annoloop(*words, "--new", str(tmp_path / "bad.json"), "--look", "4", "--json")
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    assert (answer["verdict"], answer["look"], answer["looks"]) == ("fail", 4, 20)
    assert answer["errors"]["missed"]["count"] > 30
    fine = annoloop(*words, "--new", str(tmp_path / "good.json"))
    assert fine.returncode == 0
    assert fine.stdout.startswith("pass: ")
    assert annoloop(*words).returncode == 2


def test_the_power_command():
    done = annoloop(
        "golden", "power", "--images", "50", "--boxes", "5", "--passes", "3",
        "--from", "0.03", "--to", "0.13", "--looks", "20", "--json",
    )  # fmt: skip
    answer = json.loads(done.stdout)
    assert answer["power"] >= 0.85
    assert answer["false_alarm"] <= 0.05
    assert annoloop("golden", "power", "--images", "0").returncode == 1
