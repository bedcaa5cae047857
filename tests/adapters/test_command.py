import json
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from annoloop.adapters.command import CommandTrainer
from annoloop.errors import DependencyError, InputError, SettingsError, TrainerError
from annoloop.ports import silent
from annoloop.records import Detection, Label, LabeledImage

CLASSES = ("cat", "dög")
CHECK_ENVIRONMENT = """
import json, os, sys, time
from pathlib import Path
task = os.environ["ANNOLOOP_TASK"]
classes = json.loads(os.environ["ANNOLOOP_CLASSES"])
model = Path(os.environ["ANNOLOOP_MODEL"])
"""
WORKS = """
if task == "fit":
    data = Path(os.environ["ANNOLOOP_DATA"])
    coco = json.loads((data / "annotations.json").read_text())
    assert [c["name"] for c in coco["categories"]] == classes
    assert all((data / i["file_name"]).is_file() for i in coco["images"])
    boxes = [a["bbox"] for a in coco["annotations"]]
    (model / "mean.json").write_text(json.dumps([sum(b) / len(b) for b in zip(*boxes)]))
    print("trained with seed", os.environ["ANNOLOOP_SEED"])
else:
    images = json.loads(Path(os.environ["ANNOLOOP_IMAGES"]).read_text())
    assert all(Path(i["file"]).is_file() for i in images)
    box = json.loads((model / "mean.json").read_text())
    rows = [
        {"image_id": i["id"], "category_id": 1, "bbox": box, "score": 0.5} for i in images[:-1]
    ]
    Path(os.environ["ANNOLOOP_OUT"]).write_text(json.dumps(rows))
"""


@pytest.fixture
def images(tmp_path):
    made = []
    for number in range(3):
        file = tmp_path / "in" / f"image {number}.png"
        file.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(file), np.full((30, 40, 3), 50 * number, dtype=np.uint8))
        labels = () if number == 2 else (Label(number, (4, 6, 8, 10)),)
        made.append(LabeledImage(f"id{number}", file.name, str(file), 40, 30, labels, True))
    return made


@pytest.fixture
def trainer(tmp_path):
    """A trainer that runs the Python code given to it."""

    def make(code, **options):
        script = tmp_path / "program.py"
        script.write_text(CHECK_ENVIRONMENT + code, encoding="utf-8")
        return CommandTrainer([sys.executable, str(script)], **options)

    return make


def fit(trainer, images, folder, classes=CLASSES):
    return trainer.fit(images, classes=classes, folder=folder, seed=7, progress=silent)


def predict(trainer, images, folder, classes=CLASSES):
    return list(trainer.predict(folder, images, classes=classes, progress=silent))


def predicting(tmp_path, images, trainer, code):
    """What a program that trains well and then runs `code` to predict comes to."""
    lines = code.splitlines()
    body = "".join(f"    {line}\n" for line in ["out = Path(os.environ['ANNOLOOP_OUT'])", *lines])
    made = trainer("if task == 'fit':\n    (model / 'm').touch()\nelse:\n" + body)
    fit(made, images, tmp_path / "model")
    return predict(made, images, tmp_path / "model")


def test_a_program_trains_and_predicts(tmp_path, images, trainer):
    made = trainer(WORKS)
    heard = []
    card = made.fit(
        images,
        classes=CLASSES,
        folder=tmp_path / "model",
        seed=7,
        progress=lambda *one: heard.append(one),
    )
    assert card.trainer == "command"
    assert card.folder == str(tmp_path / "model")
    assert card.seconds > 0
    assert card.details["images"] == 3
    assert card.details["boxes"] == 2
    assert heard[-1][:2] == (1, 1)
    assert "trained with seed 7" in (tmp_path / "model/log.txt").read_text()
    found = Detection(1, (4, 6, 8, 10), 0.5)
    assert predict(made, images, tmp_path / "model") == [
        ("id0", (found,)),
        ("id1", (found,)),
        ("id2", ()),
    ]
    assert predict(made, [], tmp_path / "model") == []


def test_the_program_in_the_docs_works(tmp_path, images):
    text = (Path(__file__).parents[2] / "docs/trainers.md").read_text(encoding="utf-8")
    script = tmp_path / "train.py"
    script.write_text(text.split("```python\n")[1].split("```")[0], encoding="utf-8")
    made = CommandTrainer(f"{sys.executable} {script}")
    fit(made, images, tmp_path / "model")
    assert "3 images, 2 boxes" in (tmp_path / "model/log.txt").read_text()
    (key, found), *_ = predict(made, images, tmp_path / "model")
    assert key == "id0"
    assert [one.class_id for one in found] == [0, 1]
    assert found[0].score == pytest.approx(1 / 3)
    assert found[0].box == pytest.approx((4, 6, 8, 10))


def test_the_folder_may_be_moved_after_training(tmp_path, images, trainer):
    made = trainer(WORKS)
    fit(made, images, tmp_path / "part")
    (tmp_path / "part").rename(tmp_path / "final")
    assert len(predict(made, images, tmp_path / "final")) == 3


def test_both_layouts_hold_every_image(tmp_path, images, trainer):
    fit(trainer(WORKS), images, tmp_path / "model")
    data = tmp_path / "model/data"
    names = sorted(f.name for f in (data / "images").iterdir())
    assert names == ["id0.png", "id1.png", "id2.png"]
    assert (data / "images/id1.png").read_bytes() == Path(images[1].file).read_bytes()
    assert (data / "labels/id1.txt").read_text() == "1 0.2 0.36666667 0.2 0.33333333\n"
    assert (data / "labels/id2.txt").read_text() == ""
    assert 'names: ["cat", "d\\u00f6g"]' in (data / "data.yaml").read_text()
    coco = json.loads((data / "annotations.json").read_text())
    assert len(coco["images"]) == 3
    assert len(coco["annotations"]) == 2


def test_training_again_starts_from_nothing(tmp_path, images, trainer):
    fit(trainer(WORKS), images, tmp_path / "model")
    fit(
        trainer("assert not list(model.iterdir()); (model / 'new').touch()"),
        images[:1],
        tmp_path / "model",
    )
    assert [f.name for f in (tmp_path / "model/model").iterdir()] == ["new"]
    assert [f.name for f in (tmp_path / "model/data/labels").iterdir()] == ["id0.txt"]


def test_an_exit_code_shows_the_end_of_the_log(tmp_path, images, trainer):
    code = "for i in range(40): print('line', i)\nsys.exit('cuda is out of memory')"
    with pytest.raises(TrainerError, match="exit code 1") as caught:
        fit(trainer(code), images, tmp_path / "model")
    assert "cuda is out of memory" in caught.value.problem
    assert "line 39" in caught.value.problem
    assert "line 3\n" not in caught.value.problem
    assert str(tmp_path / "model/log.txt") in caught.value.fix
    with pytest.raises(TrainerError, match="no model of the trainer 'command'"):
        predict(trainer(WORKS), images, tmp_path / "model")


def test_a_signal_is_named(tmp_path, images, trainer):
    with pytest.raises(TrainerError, match="killed by signal 9"):
        fit(trainer("import signal; os.kill(os.getpid(), signal.SIGKILL)"), images, tmp_path / "m")


def test_a_program_that_is_not_there(tmp_path, images):
    with pytest.raises(DependencyError, match="cannot be started"):
        fit(CommandTrainer("no-such-program-here --train"), images, tmp_path / "model")
    with pytest.raises(DependencyError, match="cannot be started"):
        fit(CommandTrainer([sys.executable], cwd=str(tmp_path / "no")), images, tmp_path / "model")


def test_the_time_limit_ends_the_whole_group(tmp_path, images, trainer):
    beat = tmp_path / "beat"
    child = f"import time\\nwhile True: open({str(beat)!r}, 'w').write('x'); time.sleep(0.05)"
    code = f"""
import subprocess
subprocess.Popen([sys.executable, "-c", "{child}"])
print("waiting for nothing", flush=True)
time.sleep(60)
"""
    started = time.monotonic()
    with pytest.raises(TrainerError, match=r"still running after 1\.5 seconds") as caught:
        fit(trainer(code, timeout=1.5), images, tmp_path / "model")
    assert time.monotonic() - started < 10
    assert "waiting for nothing" in caught.value.problem
    assert beat.exists()
    beat.unlink()
    time.sleep(0.3)
    assert not beat.exists()


def test_an_interrupted_run_leaves_no_program_behind(tmp_path, images, trainer):
    beat = tmp_path / "beat"
    code = f"while True: Path({str(beat)!r}).touch(); time.sleep(0.05)"

    def interrupt(done, total, what):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer(code).fit(
            images, classes=CLASSES, folder=tmp_path / "m", seed=0, progress=interrupt
        )
    beat.unlink()
    time.sleep(0.3)
    assert not beat.exists()


def test_the_time_limit_ends_a_prediction_that_hangs(tmp_path, images, trainer):
    fit(trainer(WORKS), images, tmp_path / "model")
    hangs = trainer("if task == 'predict':\n    time.sleep(60)", timeout=1)
    started = time.monotonic()
    with pytest.raises(TrainerError, match=r"predict: .* still running after 1 seconds"):
        predict(hangs, images, tmp_path / "model")
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    "code",
    [
        "print('done')",
        "model.rmdir()",
        "model.rmdir(); model.write_text('a file')",
        "(model.parent / 'log.txt').unlink()",
    ],
)
def test_an_empty_model_folder_is_no_model(tmp_path, images, trainer, code):
    with pytest.raises(TrainerError, match="left nothing in"):
        fit(trainer(code), images, tmp_path / "model")


def test_every_kind_of_nonsense_is_refused_by_row(tmp_path, images, trainer):
    good = {"image_id": "id0", "category_id": 0, "bbox": [1, 2, 3, 4], "score": 0.5}
    for wrong, said in (
        ({"image_id": "stranger"}, "row 2: image_id 'stranger' was not asked for"),
        ({"category_id": 2}, "row 2: category_id 2 is none of 0 to 1"),
        ({"score": 1.5}, "row 2: score 1.5"),
        ({"bbox": [400, 2, 3, 4]}, "row 2: bbox .* lies outside"),
        ({"bbox": [1, 2, 0, 4]}, "row 2: bbox .* has no area"),
        ({"bbox": [1, 2, 3]}, "row 2: bbox .* is not four finite numbers"),
    ):
        code = f"out.write_text(json.dumps({[good, good | wrong]!r}))"
        with pytest.raises(TrainerError, match=said):
            predicting(tmp_path, images, trainer, code)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("pass", "wrote no detections"),
        ("out.write_text('[{]')", "is not JSON"),
        ("out.write_bytes(bytes([255, 254, 1]))", "is not JSON"),
        ("out.mkdir()", "cannot be read"),
        ("out.write_text('{}')", "holds a JSON dict, not a list"),
        ("out.write_text('[3]')", "row 1: 3 is no object"),
        (
            'out.write_text(\'[{"image_id": 1, "category_id": 0, "bbox": [1, 2, NaN, 4], '
            '"score": 0.5}]\')',
            "row 1: bbox",
        ),
        ("sys.exit(3)", "predict: .* ended with exit code 3"),
    ],
)
def test_wrong_predictions_are_refused(tmp_path, images, trainer, code, said):
    with pytest.raises(TrainerError, match=said) as caught:
        predicting(tmp_path, images, trainer, code)
    assert caught.value.fix


def test_old_predictions_are_not_taken_for_new_ones(tmp_path, images, trainer):
    made = trainer(WORKS)
    fit(made, images, tmp_path / "model")
    predict(made, images, tmp_path / "model")
    with pytest.raises(TrainerError, match="wrote no detections"):
        predict(trainer("pass"), images, tmp_path / "model")


def test_a_model_serves_its_own_classes_only(tmp_path, images, trainer):
    made = trainer(WORKS)
    fit(made, images, tmp_path / "model")
    with pytest.raises(TrainerError, match="was trained for the classes"):
        predict(made, images, tmp_path / "model", classes=("cat",))


def test_images_that_are_gone_are_named(tmp_path, images, trainer):
    made = trainer(WORKS)
    fit(made, images, tmp_path / "model")
    Path(images[0].file).unlink()
    with pytest.raises(InputError, match=r"image 0\.png"):
        predict(made, images, tmp_path / "model")
    with pytest.raises(InputError, match=r"image 0\.png"):
        fit(made, images, tmp_path / "model")


def test_nothing_to_learn_is_said_before_anything_runs(tmp_path, images, trainer):
    for some in ([], images[2:]):
        with pytest.raises(TrainerError, match="holds a box"):
            fit(trainer(WORKS), some, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_remote_images_are_fetched(tmp_path, images, trainer):
    import fsspec

    remote = []
    for image in images:
        url = f"memory://bucket/{image.sample_id}.png"
        with fsspec.open(url, "wb") as stream:
            stream.write(Path(image.file).read_bytes())
        remote.append(
            LabeledImage(image.sample_id, image.path, url, 40, 30, image.labels, reviewed=True)
        )
    made = trainer(WORKS)
    fit(made, remote, tmp_path / "model")
    assert len(predict(made, remote, tmp_path / "model")) == 3


@pytest.mark.parametrize("command", ["", [], ["python", ""], "python 'half", [1]])
def test_a_command_that_names_no_program_is_refused(command):
    with pytest.raises(SettingsError, match="trainer 'command'"):
        CommandTrainer(command)


def test_a_time_limit_must_be_positive():
    with pytest.raises(SettingsError, match="timeout"):
        CommandTrainer("python", timeout=0)
