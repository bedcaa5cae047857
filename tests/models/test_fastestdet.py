"""examples/fastestdet: a program that knows nothing of annoloop, run by the trainer `command`.

The network is a small one with FastestDet's tensors, made on the spot; the real one is looked at
where ../shared/data has it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from annoloop.adapters.command import CommandTrainer
from annoloop.core.evaluation import evaluate
from annoloop.ports import silent
from annoloop.project import Project
from annoloop.records import Label, LabeledImage, Source

WHERE = "not installed here: `make test-models`"
onnx = pytest.importorskip("onnx", reason=WHERE)
torch = pytest.importorskip("torch", reason=WHERE)
pytest.importorskip("onnx2torch", reason=WHERE)

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "examples" / "fastestdet" / "train.py"
REAL = ROOT.parent / "shared" / "data" / "fastestdet"
SIDE = 96
CLASSES = ("red", "green")
COLOURS = {0: (40, 40, 220), 1: (60, 200, 60)}


@pytest.fixture(scope="module")
def program():
    """The modules of the example, in this process."""
    sys.path.insert(0, str(PROGRAM.parent))
    try:
        import features
        import head
        import learn
        import train
    finally:
        sys.path.remove(str(PROGRAM.parent))
    yield {"features": features, "head": head, "learn": learn, "train": train}
    for name in ("features", "head", "learn", "train"):
        del sys.modules[name]


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """Random convolutions with FastestDet's tensors, its shuffle of channels for one picture, and
    a fixed batch of 1: what the program has to cut and to free from that."""
    rng = np.random.default_rng(1)
    tensors, nodes = [], []

    def layer(source, target, wide, high, *, kernel=3, step=1):
        tensors.append(
            onnx.numpy_helper.from_array(
                (rng.normal(size=(high, wide, kernel, kernel)) / np.sqrt(wide * kernel**2)).astype(
                    np.float32
                ),
                f"w{len(tensors)}",
            )
        )
        pads = [kernel // 2] * 4
        made = onnx.helper.make_node(
            "Conv", [source, tensors[-1].name], [f"{target}_c"], strides=[step] * 2, pads=pads
        )
        nodes.extend([made, onnx.helper.make_node("Relu", [f"{target}_c"], [target])])

    def reshaped(source, target, shape):
        tensors.append(onnx.numpy_helper.from_array(np.array(shape, np.int64), f"s_{target}"))
        nodes.append(onnx.helper.make_node("Reshape", [source, f"s_{target}"], [target]))

    layer("input.1", "a", 3, 16, kernel=5, step=4)
    grid = SIDE // 8
    layer("a", "onnx::Concat_708", 16, 8, step=2)
    layer("a", "b", 16, 16, step=2)
    reshaped("b", "folded", [8, 2, grid * grid])
    nodes.append(onnx.helper.make_node("Transpose", ["folded"], ["turned"], perm=[1, 0, 2]))
    reshaped("turned", "halves", [2, -1, 8, grid, grid])
    for number in (0, 1):
        tensors.append(onnx.numpy_helper.from_array(np.array(number, np.int64), f"i{number}"))
        nodes.append(
            onnx.helper.make_node("Gather", ["halves", f"i{number}"], [f"half{number}"], axis=0)
        )
    nodes.append(onnx.helper.make_node("Concat", ["half1", "half0"], ["input.376"], axis=1))
    layer("input.376", "input.504", 16, 16, step=2)
    layer("input.376", "onnx::Conv_738", 16, 12)
    layer("onnx::Conv_738", "758", 12, 85, kernel=1)
    float32 = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        nodes,
        "tiny",
        [onnx.helper.make_tensor_value_info("input.1", float32, [1, 3, SIDE, SIDE])],
        [onnx.helper.make_tensor_value_info("758", float32, [1, 85, grid, grid])],
        tensors,
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 11)], ir_version=7
    )
    onnx.checker.check_model(model)
    file = tmp_path_factory.mktemp("network") / "FastestDet.onnx"
    onnx.save(model, file)
    return file


def pictures(folder, count, *, seed=0, empty=()):
    """A red or a green square each on grey noise; those of `empty` hold nothing, and say so."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        pixels = rng.integers(90, 150, (120, 160, 3), dtype=np.uint8)
        kind = number % 2
        side = int(rng.integers(36, 60))
        x, y = int(rng.integers(0, 160 - side)), int(rng.integers(0, 120 - side))
        labels: tuple[Label, ...] = ()
        if number not in empty:
            pixels[y : y + side, x : x + side] = COLOURS[kind]
            labels = (Label(kind, (x, y, side, side)),)
        file = folder / f"picture {number}.png"
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), pixels)
        made.append(LabeledImage(f"id{number}", file.name, str(file), 160, 120, labels, True))
    return made


def trainer(network, *words, **options):
    command = [sys.executable, str(PROGRAM), "--network", str(network), *map(str, words)]
    return CommandTrainer(command, **options)


def fit(made, images, folder, *, seed=7):
    return made.fit(images, classes=CLASSES, folder=folder, seed=seed, progress=silent)


def predict(made, images, folder):
    return list(made.predict(folder, images, classes=CLASSES, progress=silent))


def test_it_learns_repeats_itself_and_reads_the_cache(network, tmp_path):
    train, test = pictures(tmp_path / "a", 24, empty=(3, 8)), pictures(tmp_path / "b", 20, seed=9)
    cache = tmp_path / "cache"
    cached = trainer(network, "--images", 4000, "--cache", cache)
    fit(cached, train, tmp_path / "m")
    log = (tmp_path / "m/log.txt").read_text()
    assert "24 images, 4 views each, 22 boxes" in log
    assert "96 of 96 computed" in log
    found = predict(cached, test, tmp_path / "m")
    truth = {one.sample_id: one.labels for one in test}
    assert evaluate(truth, dict(found), classes=CLASSES).summary["AP50"] > 0.8
    damaged = next(cache.glob("*/*.f16"))
    damaged.write_bytes(damaged.read_bytes()[:-2])
    fit(cached, train, tmp_path / "other")
    (tmp_path / "other").rename(tmp_path / "n")
    assert "1 of 1 computed" in (tmp_path / "n/log.txt").read_text(), "all but the damaged one"
    assert predict(cached, test, tmp_path / "n") == found, "the same seed, the same detections"


def test_the_whole_loop_runs_with_it(network, tmp_path):
    images = pictures(tmp_path / "images", 60, empty=(11,))
    document = {
        "images": [
            {"id": n, "file_name": one.path, "width": 160, "height": 120, "reviewed": True}
            for n, one in enumerate(images)
        ],
        "annotations": [
            {"id": n, "image_id": n, "category_id": label.class_id + 1, "bbox": label.box}
            for n, one in enumerate(images)
            for label in one.labels
        ],
        "categories": [{"id": n, "name": name} for n, name in enumerate(CLASSES, start=1)],
    }
    (tmp_path / "labels.json").write_text(json.dumps(document))
    source = Source(str(tmp_path / "images"), str(tmp_path / "labels.json"), "coco")
    Project.init(tmp_path / "project", source)
    words = [sys.executable, str(PROGRAM), "--network", str(network), "--images", "3000"]
    words += ["--cache", str(tmp_path / "cache")]
    quiet = {"split": {"golden": 0, "val": 0.4}, "golden": {"share": 0.0, "minimum": 0}}
    options = {"trainer": "command", "options": {"command": words}}
    project = Project(tmp_path / "project", overrides={"train": options} | quiet)
    project.split()
    project.run(iterations=2, annotator="oracle")
    done = project.status().iterations
    assert len(done) == 2
    assert done[-1].verdict is not None
    assert done[-1].metric is not None
    assert done[-1].metric > 0.5


@pytest.fixture
def asked(network, tmp_path, monkeypatch):
    """The environment of a training of four pictures, for `main` in this process."""
    data = tmp_path / "data"
    images = pictures(data / "images", 4)
    document = {
        "images": [
            {"id": n, "file_name": f"images/{one.path}", "width": 160, "height": 120}
            for n, one in enumerate(images)
        ],
        "annotations": [
            {"image_id": n, "category_id": label.class_id, "bbox": list(label.box), "iscrowd": 0}
            for n, one in enumerate(images)
            for label in one.labels
        ],
    }
    (data / "annotations.json").write_text(json.dumps(document))
    (tmp_path / "model").mkdir()
    rows = [
        {"id": n, "sample_id": one.sample_id, "file": one.file, "width": 160, "height": 120}
        for n, one in enumerate(images)
    ]
    (tmp_path / "images.json").write_text(json.dumps(rows))
    told = {
        "TASK": "fit",
        "DATA": data,
        "MODEL": tmp_path / "model",
        "SEED": "3",
        "CLASSES": json.dumps(CLASSES),
        "IMAGES": tmp_path / "images.json",
        "OUT": tmp_path / "out.json",
    }
    for key, value in told.items():
        monkeypatch.setenv(f"ANNOLOOP_{key}", str(value))
    monkeypatch.setenv("FASTESTDET_THREADS", "1")
    return tmp_path


def run(program, network, *words):
    return program["train"].main(["--network", str(network), "--images", "64", *words])


def test_what_is_wrong_is_named(program, network, asked, monkeypatch, capsys):
    def refused(said, **variables):
        with monkeypatch.context() as other:
            for key, value in variables.items():
                other.setenv(key, value)
            assert run(program, network) == 1
        assert said in capsys.readouterr().err

    assert run(program, asked / "nothing.onnx") == 1
    assert "Name FastestDet.onnx by --network" in capsys.readouterr().err
    (asked / "noise.onnx").write_bytes(b"no network")
    assert run(program, asked / "noise.onnx") == 1
    assert "no ONNX file" in capsys.readouterr().err
    other = onnx.load(network)
    other.graph.node[-1].output[0] = "else"
    for node in other.graph.node:
        for names in (node.input, node.output):
            for n, name in enumerate(names):
                names[n] = name.replace("input.504", "input.505")
    onnx.save(other, asked / "other.onnx")
    assert run(program, asked / "other.onnx") == 1
    assert "has no tensor input.504" in capsys.readouterr().err
    refused("ANNOLOOP_TASK is not set", ANNOLOOP_TASK="")
    refused("neither fit nor predict", ANNOLOOP_TASK="sing")
    refused("no number of threads", FASTESTDET_THREADS="many")
    refused("annotations.json cannot be read", ANNOLOOP_DATA=str(asked / "nowhere"))
    refused("head.pt is no model", ANNOLOOP_TASK="predict")
    assert run(program, network) == 0
    refused(
        "was trained for the classes ['red', 'green']",
        ANNOLOOP_TASK="predict",
        ANNOLOOP_CLASSES='["green", "red"]',
    )
    (asked / "data/images/picture 2.png").write_bytes(b"no picture")
    refused("picture 2.png cannot be decoded")
    refused("picture 2.png cannot be decoded", ANNOLOOP_TASK="predict")
    cv2.imwrite(str(asked / "data/images/picture 2.png"), np.zeros((50, 50, 3), np.uint8))
    refused("is 50 × 50 pixels, not 160 × 120")


def test_the_seed_decides_and_the_cache_does_not(program, network, asked, monkeypatch):
    def weights(*words, seed="3"):
        monkeypatch.setenv("ANNOLOOP_SEED", seed)
        assert run(program, network, *words) == 0
        return torch.load(asked / "model/head.pt", weights_only=True)["head"]

    def same(one, other):
        return all(torch.equal(one[key], other[key]) for key in one)

    first, cache = weights(), ("--cache", str(asked / "cache"))
    assert same(first, weights(*cache)), "features kept in memory or on disk"
    assert same(first, weights(*cache)), "computed or read"
    assert not same(first, weights(seed="4"))


def test_labels_that_are_to_be_ignored_are_not_learnt(program, network, asked, capsys):
    file = asked / "data/annotations.json"
    document = json.loads(file.read_text())
    document["annotations"][0]["iscrowd"] = 1
    document["annotations"][1]["difficult"] = True
    document["annotations"][2]["bbox"] = [10, 10, float("nan"), 5]
    file.write_text(json.dumps(document))
    assert run(program, network) == 0
    assert "4 images, 4 views each, 1 boxes" in capsys.readouterr().out
    for one in document["annotations"]:
        one["iscrowd"] = 1
    file.write_text(json.dumps(document))
    assert run(program, network) == 1
    assert "holds no box" in capsys.readouterr().err


def test_a_loss_that_is_not_finite_ends_it(program, network, asked, monkeypatch, capsys):
    monkeypatch.setattr(program["learn"], "RATE", float("inf"))
    assert program["train"].main(["--network", str(network), "--images", "2000"]) == 1
    assert "the loss was not finite in 20 steps" in capsys.readouterr().err
    assert not (asked / "model/head.pt").exists()


def test_too_little_memory_halves_the_batch(program, capsys):
    """By the errors that PyTorch and NumPy really raise."""
    for failing in (lambda: torch.empty(10**16), lambda: np.empty(10**16)):
        with pytest.raises((RuntimeError, MemoryError)) as caught:
            failing()
        assert program["features"].smaller(8, caught.value) == 4
    assert "not enough memory for 8 images at once: going on with 4" in capsys.readouterr().out
    with pytest.raises(RuntimeError, match="size") as other:
        torch.empty(2) @ torch.empty(3)
    with pytest.raises(RuntimeError, match="size"):
        program["features"].smaller(8, other.value)


def test_objectness_of_single_cells_is_that_of_all(program):
    """What is trained on rows is what runs as convolutions."""
    rng = np.random.default_rng(0)
    shapes = [(6, 8, 3), (6, 8, 4), (3, 4, 5), (6, 8, 7)]
    head = program["head"].Head(shapes, 2)
    maps = [[rng.normal(size=s).astype(np.float16) for s in shapes] for _ in range(2)]
    cells = program["head"].Cells(maps)
    every = head.everywhere(*cells.dense())
    at = np.stack([one.ravel() for one in np.indices((2, 6, 8))], axis=1)
    rows = head.objects(cells.slim(at))
    torch.testing.assert_close(rows.reshape(2, 6, 8), every, atol=1e-4, rtol=1e-4)


def test_a_box_is_found_again_by_its_cells(program):
    """The cells that stand for a box can say it: the loss has its minimum where they do."""
    learn, head = program["learn"], program["head"]
    label = np.array([[1, 0.52, 0.31, 0.3, 0.2]])
    at, rows = learn._with_object(label, 0, (22, 22))
    assert len(at) == 4
    terms = torch.zeros(4, 4, requires_grad=True)
    optimizer = torch.optim.Adam([terms], lr=0.05)
    wanted = torch.from_numpy(rows[:, 1:])
    for _ in range(300):
        overlap, apart = learn.fit(head.boxes(terms, at, (22, 22)), wanted)
        optimizer.zero_grad()
        apart.mean().backward()
        optimizer.step()
    assert overlap.min() > 0.98


def test_killed_at_work_it_begins_anew(network, tmp_path):
    """No half of a model is left that could pass for one, and the cache stays readable."""
    data = tmp_path / "data"
    images = pictures(data / "images", 30)
    document = {
        "images": [
            {"id": n, "file_name": f"images/{one.path}", "width": 160, "height": 120}
            for n, one in enumerate(images)
        ],
        "annotations": [
            {"image_id": n, "category_id": label.class_id, "bbox": list(label.box)}
            for n, one in enumerate(images)
            for label in one.labels
        ],
    }
    (data / "annotations.json").write_text(json.dumps(document))
    (tmp_path / "model").mkdir()
    told = {"TASK": "fit", "DATA": data, "MODEL": tmp_path / "model", "SEED": "0"}
    told["CLASSES"] = json.dumps(CLASSES)
    environment = os.environ | {f"ANNOLOOP_{key}": str(value) for key, value in told.items()}
    words = [sys.executable, str(PROGRAM), "--network", str(network)]
    words += ["--cache", str(tmp_path / "cache"), "--images", "320"]
    with subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not list((tmp_path / "cache").glob("*/*.f16")) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert list((tmp_path / "cache").glob("*/*.f16")), "it was killed at work"
    assert not (tmp_path / "model/head.pt").exists()
    again = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "model/head.pt").exists()


needs_real = pytest.mark.skipif(
    not (REAL / "FastestDet.onnx").is_file(),
    reason=f"no FastestDet.onnx in {REAL}",
)


@needs_real
def test_the_real_network_is_cut_where_it_says(program):
    """Features of two pictures at once are those that onnxruntime finds, one by one."""
    runtime = pytest.importorskip("onnxruntime", reason=WHERE)
    features = program["features"]
    body = features.Body(REAL / "FastestDet.onnx")
    image = cv2.imread(str(REAL / "3.jpg"))
    small = cv2.resize(image, (body.side, body.side))
    both = [small, np.ascontiguousarray(small[::-1])]
    model = onnx.load(REAL / "FastestDet.onnx")
    for name in features.MAPS:
        model.graph.output.append(onnx.ValueInfoProto(name=name))
    session = runtime.InferenceSession(model.SerializeToString())
    for picture, row in zip(both, body.rows(both), strict=True):
        fed = picture.transpose(2, 0, 1)[None].astype(np.float32) / 255
        for mine, theirs in zip(
            body.maps(row), session.run(list(features.MAPS), {"input.1": fed}), strict=True
        ):
            np.testing.assert_allclose(mine, theirs[0].transpose(1, 2, 0), atol=2e-2, rtol=2e-3)


@needs_real
def test_boxes_are_read_as_the_real_network_says_them(program):
    """FastestDet's own output on its own picture, by the example's way to read boxes and scores."""
    runtime = pytest.importorskip("onnxruntime", reason=WHERE)
    head = program["head"]
    names = (REAL / "coco.names").read_text().split("\n")
    image = cv2.resize(cv2.imread(str(REAL / "3.jpg")), (352, 352))
    session = runtime.InferenceSession(str(REAL / "FastestDet.onnx"))
    fed = image.transpose(2, 0, 1)[None].astype(np.float32) / 255
    (out,) = session.run(None, {"input.1": fed})
    rows = torch.from_numpy(out[0].reshape(85, -1).T.copy())
    at = np.stack([one.ravel() for one in np.indices((1, 22, 22))], axis=1)
    every = head.corners(head.boxes(rows[:, 1:5], at, (22, 22)))
    shares = head.scores(rows[:, 0], rows[:, 5:])
    found = [one for one in head.kept(every, shares, 0) if one.score > 0.65]
    assert {names[one.kind] for one in found} == {"person"}
    assert len(found) == 4
    person = found[0]
    assert person.score == pytest.approx(0.90, abs=0.01)
    assert [one * 352 for one in person.box[:2]] == pytest.approx((28, 56), abs=12)
