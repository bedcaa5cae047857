"""The trainer `ultralytics` on networks of a few layers, trained for real on generated digits."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from annoloop.adapters.ultralytics.trainer import UltralyticsTrainer
from annoloop.errors import InputError, SettingsError, TrainerError
from annoloop.ports import silent
from annoloop.records import Label
from annoloop.testing import CLASSES, labeled_digits, make_digits
from annoloop.testing_kits import TrainerContract

WHERE = "no Ultralytics here: `make test-models`"
torch = pytest.importorskip("torch", reason=WHERE)
pytest.importorskip("ultralytics", reason=WHERE)

TINY = """
nc: 80
backbone:
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, Conv, [32, 3, 2]]
  - [-1, 1, Conv, [48, 3, 2]]
  - [-1, 1, C3k2, [64, False]]
head:
  - [[3], 1, Detect, [nc]]
"""
TINY_RTDETR = """
nc: 80
backbone:
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, Conv, [32, 3, 2]]
  - [-1, 1, Conv, [32, 3, 2]]
  - [-1, 1, Conv, [32, 3, 2]]
head:
  - [[2, 3], 1, RTDETRDecoder, [nc, 32, 60, 4, 4, 1]]
"""
SHARP = {
    "optimizer": "AdamW",
    "lr0": 0.005,
    "lrf": 1.0,
    "warmup_epochs": 0,
    "nbs": 8,
    **dict.fromkeys(("mosaic", "close_mosaic", "fliplr", "scale", "translate"), 0),
    **dict.fromkeys(("hsv_h", "hsv_s", "hsv_v"), 0),
}
"""Without augmentation a tiny network learns a few images by heart, in seconds."""


@pytest.fixture(scope="session")
def room(tmp_path_factory):
    """Architectures, 40 images, and weights that know them: trained from scratch, once."""
    folder = tmp_path_factory.mktemp("ultralytics")
    (folder / "tiny.yaml").write_text(TINY)
    (folder / "tiny-rtdetr.yaml").write_text(TINY_RTDETR)
    images = labeled_digits(make_digits(folder / "digits", images=40, seed=2))
    trainer = UltralyticsTrainer(
        model=str(folder / "tiny.yaml"), epochs=36, side=160, batch=8, holdout=0, arguments=SHARP
    )
    card = fit(trainer, images, folder / "scratch")
    shutil.copy(folder / "scratch/model.pt", folder / "tiny.pt")
    (folder / "card.json").write_text(json.dumps(dict(card.details)))
    return folder


@pytest.fixture
def images(room):
    return labeled_digits(room / "digits")


@pytest.fixture
def make(room):
    def made(model="tiny.pt", **options):
        chosen = {"epochs": 1, "side": 160, "batch": 8, "holdout": 0, "arguments": SHARP} | options
        return UltralyticsTrainer(model=str(room / model), **chosen)

    return made


def fit(trainer, images, folder, *, classes=CLASSES, seed=7, progress=silent):
    return trainer.fit(images, classes=classes, folder=folder, seed=seed, progress=progress)


def predict(trainer, images, folder, classes=CLASSES):
    return list(trainer.predict(folder, images, classes=classes, progress=silent))


def overlap(a, b):
    across = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    down = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    both = max(across, 0) * max(down, 0)
    return both / (a[2] * a[3] + b[2] * b[3] - both)


class TestContract(TrainerContract):
    @pytest.fixture
    def trainer(self, make):
        return make(holdout=0.2)


def test_from_scratch_it_finds_what_it_was_shown(room, images, make):
    found = dict(predict(make(), images, room / "scratch"))
    boxes = [(image.sample_id, label) for image in images for label in image.labels]
    hits = [
        any(
            one.class_id == label.class_id and one.score > 0.2 and overlap(one.box, label.box) > 0.5
            for one in found[key]
        )
        for key, label in boxes
    ]
    assert np.mean(hits) > 0.5
    card = json.loads((room / "card.json").read_text())
    assert card["initial"]["architecture"] == "tiny.yaml"
    assert card["epochs"] == 36
    assert card["images_per_second"] > 1
    assert card["peak_process_mib"] > 100
    assert card["licence"] == "AGPL-3.0"
    assert any("AGPL-3.0" in note for note in card["notes"])


def test_the_folder_holds_the_model_and_what_it_was_made_of(room, images, make, tmp_path):
    heard = []
    fit(make(), images, tmp_path / "m", progress=lambda *one: heard.append(one[2]))
    kept = sorted(file.name for file in (tmp_path / "m").iterdir())
    assert kept == ["log.txt", "manifest.json", "model.pt", "results.csv"]
    assert "AGPL-3.0" in heard[0]
    assert "training epoch 1, batch 5 of 5" in heard
    manifest = json.loads((tmp_path / "m/manifest.json").read_text())
    assert manifest["classes"] == list(CLASSES)
    assert manifest["trained_on"]["images"] == 40
    assert manifest["initial"]["weights"] == "tiny.pt"
    fewer = images[1:]
    fit(make(), fewer, tmp_path / "n")
    other = json.loads((tmp_path / "n/manifest.json").read_text())
    assert other["trained_on"]["blake2b"] != manifest["trained_on"]["blake2b"]
    assert other["initial"] == manifest["initial"], "every iteration starts from the same weights"


def test_it_goes_on_from_the_newest_model_only_where_told(images, make, tmp_path):
    told = make(continue_from="newest")
    first = fit(told, images, tmp_path / "v0")
    assert "continues" not in first.details["initial"]
    second = fit(told, images, tmp_path / "v1")
    assert second.details["initial"]["continues"] == str(tmp_path / "v0/model.pt")
    assert second.details["initial"]["classes"] == list(CLASSES)
    with pytest.raises(TrainerError, match="holds no whole model"):
        fit(make(continue_from=str(tmp_path / "gone")), images, tmp_path / "v2")


def test_it_stops_early_by_images_held_out_of_the_training_set(images, make, tmp_path):
    still = SHARP | {"lr0": 0.0, "weight_decay": 0.0, "momentum": 0.0}
    card = fit(make(epochs=30, patience=2, holdout=0.2, arguments=still), images, tmp_path / "m")
    assert card.details["stopped_early"]
    assert card.details["epochs"] < 30
    assert 0 < card.details["held_out"] < 20
    assert card.details["held_out_ap50"] > 0.3


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from annoloop.adapters.ultralytics.trainer import UltralyticsTrainer
from annoloop.testing import CLASSES, labeled_digits

def progress(done, total, what):
    if done == 2 and "batch 3" in what:
        os.kill(os.getpid(), signal.SIGKILL)

UltralyticsTrainer(**{options!r}).fit(
    labeled_digits(Path({digits!r})), classes=CLASSES, folder=Path({folder!r}), seed=7,
    progress=progress,
)
"""


def killed(room, folder, **options):
    """A training of another process, killed in the third epoch."""
    chosen = {"model": str(room / "tiny.pt"), "side": 160, "batch": 8, "holdout": 0} | options
    chosen["arguments"] = SHARP
    code = KILLED.format(
        tests=str(Path(__file__).parents[2]),
        options=chosen,
        digits=str(room / "digits"),
        folder=str(folder),
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return UltralyticsTrainer(**chosen)


def test_a_killed_training_goes_on_where_it_was(room, images, tmp_path):
    trainer = killed(room, tmp_path / "m", epochs=4)
    card = fit(trainer, images, tmp_path / "m")
    assert card.details["resumed_at_epoch"] == 2
    assert card.details["epochs"] == 4
    rows = (tmp_path / "m/results.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == ["1", "2", "3", "4"]
    assert sorted(file.name for file in (tmp_path / "m").iterdir())[-1] == "results.csv"


def test_another_training_set_or_half_a_checkpoint_begins_anew(room, images, tmp_path):
    trainer = killed(room, tmp_path / "m", epochs=3)
    shutil.copytree(tmp_path / "m", tmp_path / "n")
    assert "resumed_at_epoch" not in fit(trainer, images[1:], tmp_path / "m").details
    last = tmp_path / "n/run/weights/last.pt"
    last.write_bytes(last.read_bytes()[:1000])
    assert "resumed_at_epoch" not in fit(trainer, images, tmp_path / "n").details


def test_a_project_resumes_a_killed_training(room, tmp_path):
    from annoloop.project import Project
    from annoloop.records import Source

    source = Source(str(room / "digits/images"), str(room / "digits/labels.json"))
    Project.init(tmp_path / "p", source)
    toml = tmp_path / "p/annoloop.toml"
    text = toml.read_text().replace('trainer = "classical" ', 'trainer = "ultralytics" ')
    text += f'\n[train.options]\nmodel = "{room / "tiny.pt"}"\nepochs = 3\nside = 160\nbatch = 4\n'
    text += "holdout = 0\n[train.options.arguments]\n"
    toml.write_text(text + "".join(f"{key} = {json.dumps(v)}\n" for key, v in SHARP.items()))
    project = Project(tmp_path / "p")
    project.split()
    batch = project.select(size=10).batch
    project.annotate_oracle(batch)
    project.annotate_close(batch)

    class Killed(BaseException):
        pass

    def stop(done, total, what):
        if done == 1 and "training epoch 2" in what:
            raise Killed

    with pytest.raises(Killed):
        Project(tmp_path / "p", progress=stop).train()
    trained = Project(tmp_path / "p").train()
    assert trained.details["resumed_at_epoch"] == 1
    assert any("AGPL-3.0" in note for note in trained.notes)
    assert Project(tmp_path / "p").evaluate()


OFFLINE = """
import sys
from pathlib import Path
heard = []
def hook(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "urllib.Request", "subprocess.Popen"):
        local = event == "socket.connect" and not isinstance(args[1], tuple)
        if not local and "ldconfig" not in str(args[0]):
            heard.append((event, str(args[:2])))
sys.addaudithook(hook)
from annoloop.adapters.ultralytics.trainer import UltralyticsTrainer
from annoloop.testing import CLASSES, labeled_digits
silent = lambda *_: None
images = labeled_digits(Path({digits!r}))[:12]
names = ("Ω",) + CLASSES[1:]
for model in {models!r}:
    trainer = UltralyticsTrainer(model=model, epochs=1, side=64, batch=4)
    trainer.fit(images, classes=names, folder=Path({folder!r}), seed=1, progress=silent)
    list(trainer.predict(Path({folder!r}), images, classes=names, progress=silent))
print(heard)
"""


def test_nothing_is_fetched_sent_or_installed(room, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    code = OFFLINE.format(
        digits=str(room / "digits"),
        models=[str(room / "tiny.pt"), str(room / "tiny.yaml")],
        folder=str(tmp_path / "m"),
    )
    gone = ("YOLO_CONFIG_DIR", "YOLO_OFFLINE", "XDG_CONFIG_HOME", "PYTEST_CURRENT_TEST")
    environ = {key: value for key, value in os.environ.items() if key not in gone}
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env=environ | {"HOME": str(home)},
        cwd=tmp_path,
    )
    assert done.stdout.strip() == "[]"
    written = [file.name for file in home.rglob("*") if file.is_file() and "numba" not in str(file)]
    assert not [name for name in written if "ltralytics" in name or name == "settings.json"]
    assert {one.name for one in tmp_path.iterdir()} == {"home", "m"}


def test_the_process_is_afterwards_as_it_was(images, make, tmp_path):
    random.seed(3)
    torch.manual_seed(3)
    before = os.environ.copy(), random.getstate(), torch.get_rng_state(), cv2.getNumThreads()
    fit(make(), images[:8], tmp_path / "m")
    predict(make(), images[:8], tmp_path / "m")
    assert os.environ.copy() == before[0]
    assert random.getstate() == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])
    assert cv2.getNumThreads() == before[3]
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(
    ("model", "target"),
    [
        ("yolo11n.pt", "yolo11n.pt"),
        ("yolo26s", "yolo26s.pt"),
        ("https://example.com/weights/mine.pt", "mine.pt"),
    ],
)
def test_weights_that_are_not_there_say_what_to_fetch_and_where_to_put_it(
    images, tmp_path, monkeypatch, model, target
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match="downloads nothing") as caught:
        fit(UltralyticsTrainer(model=model), images, tmp_path / "m")
    assert str(tmp_path / target) in caught.value.problem
    assert f"Fetch {target}" in caught.value.fix
    assert f'model = "{Path(target).stem}.yaml"' in caught.value.fix
    assert not (tmp_path / target).exists()


@pytest.mark.parametrize("content", [b"", b"no weights", None])
def test_corrupt_weights_are_named(room, images, tmp_path, content):
    bad = tmp_path / "bad.pt"
    bad.write_bytes((room / "tiny.pt").read_bytes()[:5000] if content is None else content)
    with pytest.raises(TrainerError, match=r"bad\.pt cannot be read as weights") as caught:
        fit(UltralyticsTrainer(model=str(bad)), images, tmp_path / "m")
    assert "Fetch the file again" in caught.value.fix


def test_weights_that_would_run_code_are_refused(images, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "owned"),)

    torch.save({"model": Evil(), "ema": None}, tmp_path / "evil.pt")
    with pytest.raises(TrainerError, match=r"evil\.pt cannot be read"):
        fit(UltralyticsTrainer(model=str(tmp_path / "evil.pt")), images, tmp_path / "m")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("yolo11n-seg.yaml", "is a model for 'segment'"),
        ("yolo11q9.yaml", r"is no architecture"),
        ("other.onnx", "neither weights"),
    ],
)
def test_a_model_of_another_kind_is_refused(images, tmp_path, model, said):
    if model == "other.onnx":
        model = str(tmp_path / model)
        Path(model).write_bytes(b"x")
    with pytest.raises(SettingsError, match=said) as caught:
        fit(UltralyticsTrainer(model=model), images, tmp_path / "m")
    assert caught.value.fix


def test_weights_with_other_classes_are_transferred_and_it_is_said(images, make, tmp_path):
    names = ("zero", "one", "ghost")
    few = [
        replace(image, labels=tuple(label for label in image.labels if label.class_id < 2))
        for image in images
    ]
    card = fit(make(epochs=2), few, tmp_path / "m", classes=names)
    said = "tiny.pt knows 10 classes, 2 of the 3 here by name"
    assert any(said in note for note in card.details["notes"])
    assert card.details["boxes_by_class"]["ghost"] == 0
    found = predict(make(), few, tmp_path / "m", names)
    assert {one.class_id for _, rows in found for one in rows} <= {0, 1, 2}
    with pytest.raises(TrainerError, match="was trained for the classes"):
        predict(make(), few, tmp_path / "m", ("one", "zero", "ghost"))


@pytest.mark.parametrize(
    ("count", "batch", "nominal"),
    [(3, 4, 4), (40, 5, 5), (114, 14, 14), (300, 16, 37), (9999, 16, 64)],
)
def test_small_training_sets_get_small_batches(count, batch, nominal):
    """Else the first labels of a project would be less than one step of the optimizer an epoch."""
    from annoloop.adapters.ultralytics.training import Training
    from annoloop.networks import NetworkOptions

    def task(**options):
        chosen = NetworkOptions("yolo11n.yaml", **options)
        return Training(None, "", Path(), Path(), count, 0, 0, chosen)

    assert (task().batch, task().nominal) == (batch, nominal)
    assert task(batch=32).batch == 32


def test_one_class_only(images, make, tmp_path):
    one = [
        replace(image, labels=tuple(replace(label, class_id=0) for label in image.labels))
        for image in images
    ]
    card = fit(make("tiny.yaml", epochs=2), one, tmp_path / "m", classes=("digit",))
    assert card.details["boxes_by_class"] == {"digit": sum(len(i.labels) for i in images)}
    predict(make(), one, tmp_path / "m", ("digit",))


def test_images_are_seen_upright_and_left_as_they_are(room, images, make, tmp_path):
    """EXIF, a JPEG without its end, transparency, 16 bit: each trains, none is written to."""
    from annoloop.adapters.ultralytics.prepare import write_data

    rgb = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    picture = Image.fromarray(rgb)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.jpg", exif=exif)
    picture.save(tmp_path / "cut.jpg")
    cut = (tmp_path / "cut.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(cut + b"\0\0")
    picture.convert("RGBA").save(tmp_path / "alpha.png")
    cv2.imwrite(str(tmp_path / "deep.png"), rgb[..., 0].astype(np.uint16) * 256)
    picture.save(tmp_path / "plain.png")
    names = ("turned.jpg", "cut.jpg", "alpha.png", "deep.png", "plain.png")
    odd = [
        replace(
            images[0],
            sample_id=name.split(".")[0],
            path=name,
            file=str(tmp_path / name),
            width=40 if name == "turned.jpg" else 60,
            height=60 if name == "turned.jpg" else 40,
            labels=(Label(1, (5, 6, 20, 22)),) if number else (),
        )
        for number, name in enumerate(names)
    ]
    before = {name: (tmp_path / name).read_bytes() for name in names}
    write_data(tmp_path / "data", odd, [], classes=CLASSES)
    files = {file.stem: file for file in (tmp_path / "data/images/train").iterdir()}
    assert files["turned"].suffix == ".png"
    assert cv2.imread(str(files["turned"])).shape == (60, 40, 3)
    assert files["plain"].samefile(tmp_path / "plain.png")
    assert (tmp_path / "data/labels/train/turned.txt").read_text() == ""
    card = fit(make(), [*odd, *images[:8]], tmp_path / "m")
    assert card.details["images"] == 13, "the reviewed-empty image is trained on, too"
    assert {name: (tmp_path / name).read_bytes() for name in names} == before


def test_a_broken_or_changed_image_is_named(images, make, tmp_path):
    bad = tmp_path / "broken.jpg"
    bad.write_bytes(b"no image")
    with pytest.raises(InputError, match=r"broken\.jpg"):
        fit(make(), [replace(images[0], file=str(bad)), *images[1:9]], tmp_path / "m")
    wrong = replace(images[0], width=images[0].width + 1)
    with pytest.raises(TrainerError, match="were recorded"):
        fit(make(), [wrong, *images[1:9]], tmp_path / "m")
    fit(make(), images[:9], tmp_path / "m")
    with pytest.raises(TrainerError, match="were recorded"):
        predict(make(), [wrong], tmp_path / "m")


def test_a_model_that_was_changed_is_refused(images, make, tmp_path):
    fit(make(), images[:9], tmp_path / "m")
    (tmp_path / "m/model.pt").write_bytes(b"other")
    with pytest.raises(TrainerError, match="is not what was trained"):
        predict(make(), images, tmp_path / "m")


@pytest.mark.parametrize(
    "options",
    [
        {"epochs": 0},
        {"epochs": 1.5},
        {"batch": "many"},
        {"side": 8},
        {"holdout": 0.9},
        {"arguments": {"seed": 3}},
        {"arguments": 3},
        {"device": ""},
    ],
)
def test_options_out_of_range_are_refused(make, options):
    with pytest.raises(SettingsError, match="trainer 'ultralytics'"):
        make(**options)


def test_an_argument_that_ultralytics_does_not_know_is_named(images, make, tmp_path):
    with pytest.raises(SettingsError, match="mosiac"):
        fit(make(arguments={"mosiac": 0.5}), images, tmp_path / "m")
    with pytest.raises(SettingsError, match="device = 'gpu' is unknown"):
        fit(make(device="gpu"), images, tmp_path / "m")


def test_out_of_memory_takes_fewer_images_at_once_and_says_so(images, make, tmp_path, monkeypatch):
    """PyTorch's allocator is asked for more than any machine has, by a batch of more than two.

    A limit of the process (RLIMIT_AS, RLIMIT_DATA) would also hit stacks of threads and oneDNN's
    own code, at which C libraries crash, one time in ten.
    """
    torch = pytest.importorskip("torch")
    base = pytest.importorskip("ultralytics.nn.tasks").BaseModel
    forward, asked = base.forward, []

    def greedy(self, x, *args, **kwargs):
        at_once = len(x["img"]) if isinstance(x, dict) else 0
        asked.append(at_once)
        if at_once > 2:
            torch.empty(at_once << 50)
        return forward(self, x, *args, **kwargs)

    monkeypatch.setattr(base, "forward", greedy)
    card = fit(make(batch=8, epochs=1, holdout=0), images[:8], tmp_path / "m")
    assert card.details["batch"] == 2
    assert [n for n in asked if n] == [8, 4, 2, 2, 2, 2]
    notes = [note for note in card.details["notes"] if "at once" in note]
    assert [note.split(" (")[0] for note in notes] == [
        f"out of memory with {batch} images at once" for batch in (8, 4)
    ]


def test_rtdetr_from_scratch(images, make, tmp_path):
    arguments = {"optimizer": "AdamW", "lr0": 0.001, "amp": False, "mosaic": 0}
    trainer = make("tiny-rtdetr.yaml", side=96, arguments=arguments)
    card = fit(trainer, images[:16], tmp_path / "m")
    assert card.details["initial"]["architecture"] == "tiny-rtdetr.yaml"
    found = predict(trainer, images[:3], tmp_path / "m")
    assert [key for key, _ in found] == [image.sample_id for image in images[:3]]
    assert all(len(rows) <= 100 for _, rows in found)
