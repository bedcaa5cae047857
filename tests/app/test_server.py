"""What the server lets in, what it says, and what it keeps to itself."""

from __future__ import annotations

import re
import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
import uvicorn
from PIL import Image

from annoloop.app.guard import Keys
from annoloop.app.pictures import for_browser
from annoloop.app.server import make_app
from annoloop.project import Project
from tests.app.conftest import answers

OURS = "this app"
BOX = [0, 10.0, 20.0, 30.0, 40.0, 0, 0]


@contextmanager
def serving(project: Project, keys: Keys | None = None) -> Iterator[httpx.Client]:
    """The app on a real socket, in a thread, and a client that has its token, if it may."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    app = make_app(project, port=port, keys=keys)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
        if keys is None:
            page = client.get("/label").text
            client.headers["x-annoloop-token"] = page.split('name="token" content="')[1][:43]
        yield client
    server.should_exit = True
    thread.join()
    listening.close()


@pytest.fixture
def client(project: Project) -> Iterator[httpx.Client]:
    with serving(project) as made:
        yield made


def work(who: str = "ann", **more: Any) -> dict[str, Any]:
    return {"who": who, "boxes": [BOX], "seconds": 4.0, "tab": who, "revision": 0} | more


def post(client: httpx.Client, what: str, body: dict[str, Any], batch: str = "v0") -> Any:
    return client.post(f"/api/label/{batch}/{what}", json=body)


def test_pages_forbid_what_they_do_not_need(client: httpx.Client) -> None:
    for address in ("/", "/label", "/label/v0", "/static/app.css", "/nowhere"):
        policy = client.get(address).headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in policy
    page = client.get("/label/v0").text
    assert "style=" not in page
    assert all("src=" in one for one in page.split("<script")[1:])


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"host": "127.0.0.1.evil.example:8420"}, 421),
        ({"x-annoloop-token": ""}, 403),
        ({"x-annoloop-token": "x" * 43}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:9999"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": OURS, "sec-fetch-site": "same-origin"}, 200),
    ],
)
def test_only_our_own_pages_write(
    client: httpx.Client, headers: dict[str, str], status: int
) -> None:
    body = {"who": "ann"}
    if headers.get("origin") == OURS:
        headers = headers | {"origin": str(client.base_url).rstrip("/")}
    assert client.post("/api/label/v0/claim", json=body, headers=headers).status_code == status


def test_a_hidden_origin_counts_by_the_browsers_word_alone(
    client: httpx.Client,
) -> None:
    body = {"who": "ann"}
    hidden = {"origin": "null"}
    at = "/api/label/v0/claim"
    assert client.post(at, json=body, headers=hidden).status_code == 403
    for site, code in (("same-origin", 200), ("cross-site", 403), ("none", 403)):
        found = client.post(at, json=body, headers=hidden | {"sec-fetch-site": site})
        assert found.status_code == code, site


def test_a_token_without_its_cookie_is_worth_nothing(client: httpx.Client) -> None:
    client.cookies.clear()
    assert post(client, "claim", {"who": "ann"}).status_code == 403


def test_a_huge_body_is_refused_unread(client: httpx.Client) -> None:
    body = {"who": "ann", "why": "x" * 5_000_000}
    assert client.post("/api/label/v0/claim", json=body).status_code == 413


KEYS = Keys("correct horse", "battery staple")


def test_beyond_loopback_everything_needs_the_key(project: Project) -> None:
    with serving(project, KEYS) as far:
        far.headers["host"] = "10.0.0.7:8420"
        for address in ("/", "/label/v0", "/label/v0/image/1"):
            found = far.get(address)
            assert (found.status_code, found.headers["location"]) == (303, "/enter")
        assert far.get("/api/label/v0/setup").status_code == 401
        assert far.post("/enter", data={"key": "wrong"}).status_code == 403
        assert far.post("/enter", data={"key": "correct horse"}).status_code == 303
        assert far.get("/api/label/v0/setup").status_code == 200
        assert far.get("/label/v0").status_code == 200
        assert "Golden" in far.get("/").text


def test_those_who_only_label_see_nothing_that_tells_golden_images(project: Project) -> None:
    with serving(project, KEYS) as far:
        far.headers["host"] = "10.0.0.7:8420"
        assert far.post("/enter", data={"key": "battery staple"}).status_code == 303
        page = far.get("/label/v0")
        assert page.status_code == 200
        assert "Golden" not in page.text
        assert "Close the batch" not in page.text
        for address in ("/", "/golden", "/batches/v0", "/history", "/sample/x", "/thumb/x"):
            found = far.get(address)
            assert (found.status_code, found.headers["location"]) == (303, "/label")
        assert far.get("/api/job").status_code == 403
        far.headers["x-annoloop-token"] = page.text.split('name="token" content="')[1][:43]
        assert post(far, "claim", {"who": "ann"}).status_code == 200
        assert post(far, "close", {"who": "ann"}).status_code == 403
        assert far.post("/api/steps/train", json={}).status_code == 403


def test_images_are_served_by_number_only(client: httpx.Client) -> None:
    found = client.get("/label/v0/image/1")
    assert found.headers["content-type"] == "image/png"
    assert not {"last-modified", "etag", "content-disposition"} & set(found.headers)
    outside = ("v0/image/0", "v0/image/99", "v9/image/1", "v0/image/..%2f..%2fannoloop.toml")
    assert {client.get(f"/label/{one}").status_code for one in outside} == {404}
    assert client.get("/static/../server.py").status_code == 404
    assert client.get("/static/%2e%2e/server.py").status_code == 404


def test_a_turned_image_is_sent_the_way_up_that_its_labels_are_in(tmp_path: Any) -> None:
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[:5] = (255, 0, 0)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    data, kind = for_browser(str(tmp_path / "turned.jpg"))
    shown = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert (kind, shown.shape[:2]) == ("image/png", (30, 20))
    assert shown[15, 18, 2] > 200  # red is on the right now


def test_nothing_tells_a_golden_image(client: httpx.Client, project: Project) -> None:
    """Every answer of the API has the same keys and kinds for hidden images as for picks."""
    with closing(sqlite3.connect(project.folder / "annoloop.db")) as connection:
        rows = connection.execute(
            "SELECT sample_id, blind FROM picks ORDER BY sample_id"
        ).fetchall()
        secrets = [
            text
            for row in connection.execute("SELECT path, id, sha256 FROM samples")
            for text in row
        ]
    blind = [bool(hidden) for _, hidden in rows]
    assert 0 < sum(blind) < len(blind)
    shapes: dict[bool, set[str]] = {True: set(), False: set()}
    said = ""
    for number, hidden in enumerate(blind, start=1):
        task = post(client, "claim", {"who": "ann", "number": number})
        image = client.get(f"/label/v0/image/{number}")
        assert task.json()["boxes"] == []
        seen = {k: type(v).__name__ for k, v in task.json().items()}
        seen |= {"answer": task.json()["answer"], "origin": task.json()["origin"]}
        shapes[hidden].add(f"{seen} {sorted(image.headers)} {image.status_code}")
        said += task.text + str(dict(image.headers))
    assert shapes[True] == shapes[False]
    for address in ("/label", "/label/v0", "/api/label/v0/setup"):
        # What stands in the head of all pages says nothing of any image.
        said += re.sub(r"<nav.*?</nav>", "", client.get(address).text, flags=re.DOTALL)
    said += post(client, "queue", {"who": "ann"}).text
    assert not [secret for secret in secrets if secret in said]
    assert not [word for word in ("blind", "golden") if word in said]


def test_the_order_of_tasks_is_that_of_their_ids(client: httpx.Client, project: Project) -> None:
    numbers = []
    for number in range(1, 7):
        image = client.get(f"/label/v0/image/{number}").content
        numbers.append(image)
    with closing(sqlite3.connect(project.folder / "annoloop.db")) as connection:
        rows = connection.execute(
            "SELECT s.uri FROM picks p JOIN samples s ON s.id = p.sample_id ORDER BY s.id"
        ).fetchall()
    root = project.folder / project.settings.images.root
    assert numbers == [(root / uri).read_bytes() for (uri,) in rows]


def test_a_lease_keeps_others_off_and_runs_out(client: httpx.Client, project: Project) -> None:
    assert post(client, "claim", {"who": "ann"}).json()["number"] == 1
    assert post(client, "claim", {"who": "bob"}).json()["number"] == 2
    refused = post(client, "claim", {"who": "bob", "number": 1})
    assert refused.status_code == 409
    assert refused.json()["error"]["type"] == "TakenError"
    assert post(client, "1/draft", work("bob")).status_code == 409
    with closing(sqlite3.connect(project.folder / "annoloop.db")) as connection, connection:
        connection.execute("UPDATE leases SET until = '2020-01-01T00:00:00.000+00:00'")
    assert post(client, "claim", {"who": "bob", "number": 1}).json()["number"] == 1
    assert post(client, "1/answer", work("bob", answer="complete")).status_code == 200
    # What ann drew comes too late; she is told, and bob's answer stands.
    assert post(client, "1/answer", work("ann", answer="complete")).status_code == 409
    assert [one["who"] for (one,) in answers(project).values()] == ["bob"]


def test_two_tabs_of_one_person_do_not_overwrite_each_other(client: httpx.Client) -> None:
    post(client, "claim", {"who": "ann"})
    assert post(client, "1/draft", work(tab="one")).json()["revision"] == 1
    assert post(client, "1/draft", work(tab="two")).status_code == 409
    assert post(client, "1/draft", work(tab="two", revision=1)).json()["revision"] == 2
    # The first tab sent again what it was not told of: its own word counts, another's does not.
    assert post(client, "1/draft", work(tab="one", revision=1)).status_code == 409


def test_an_answer_sent_twice_is_one_answer(client: httpx.Client, project: Project) -> None:
    post(client, "claim", {"who": "ann"})
    for _ in range(2):
        assert post(client, "1/answer", work(answer="complete")).status_code == 200
    ((one,),) = answers(project).values()
    assert one["labels"] == [BOX[:6]]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (work(answer="perfect"), "is no answer"),
        (work(answer="empty"), "called empty"),
        (work(answer="complete", boxes=[]), "no box is drawn"),
        (work(answer="unusable", boxes=[]), "nobody says why"),
        (work(answer="complete", boxes=[[7, 1, 1, 5, 5, 0, 0]]), "is no box"),
        (work(answer="complete", boxes=[[0, 1, 1, 0, 5, 0, 0]]), "is no box"),
        (work(answer="complete", boxes=[[0, 1, 1]]), "boxes"),
        (work(answer="complete", boxes=[[0, 900, 900, 5, 5, 0, 0]]), "outside"),
        (work(answer="complete", seconds=-1), "no time"),
        (work(answer="complete", who=" "), "nobody is named"),
        (work(answer="complete", more=1), "more"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(
    client: httpx.Client, project: Project, body: dict[str, Any], words: str
) -> None:
    post(client, "claim", {"who": "ann"})
    found = post(client, "1/answer", body)
    assert found.status_code == 422
    assert words in found.json()["error"]["problem"]
    assert not answers(project)


def test_a_batch_closes_as_by_the_command_line(client: httpx.Client, project: Project) -> None:
    total = client.get("/api/label/v0/setup").json()["total"]
    for number in range(1, total + 1):
        post(client, "claim", {"who": "ann", "number": number})
        body = work(answer="empty", boxes=[]) if number == 1 else work(answer="complete")
        assert post(client, f"{number}/answer", body).status_code == 200
    assert post(client, "claim", {"who": "ann"}).json() is None
    assert post(client, "close", {"who": "ann"}).json()["pending"] == 0
    assert project.status().pool.annotated == 4
    assert post(client, "close", {"who": "ann"}).status_code == 410
    assert post(client, "1/draft", work()).status_code == 410


def test_a_review_wants_two_people_and_a_pass_everybody(project: Project) -> None:
    project.annotate_oracle("v0")
    project.annotate_close("v0")
    name = project.golden_baseline().batch
    with serving(project) as client:
        for who in ("ann", "bob", "eve"):
            assert post(client, "claim", {"who": who}, batch=name).json()["number"] == 1
            body = work(who, answer="complete")
            assert post(client, "1/answer", body, batch=name).status_code == 200


def test_boxes_of_the_model_come_for_all_images_or_none(project: Project) -> None:
    project.annotate_oracle("v0")
    project.annotate_close("v0")
    project.evaluate()
    project.select(4)
    with serving(project) as client:
        assert not client.get("/api/label/v1/setup").json()["suggests"]  # golden ones have none
        made = project.batch_predict("v1")
        setup = client.get("/api/label/v1/setup").json()
        assert setup["suggests"]
        assert made.images == setup["total"]
        tasks = [
            post(client, "claim", {"who": "ann", "number": n}, batch="v1").json()
            for n in range(1, setup["total"] + 1)
        ]
        first = next(task for task in tasks if task["boxes"])
        said = work(answer="complete", boxes=first["boxes"], tab="ann", revision=first["revision"])
        refused = post(client, f"{first['number']}/answer", said, batch="v1")
        assert "neither accepted nor deleted" in refused.json()["error"]["problem"]
        said["boxes"] = [[*row[:6], 0] for row in first["boxes"]]
        assert post(client, f"{first['number']}/answer", said, batch="v1").status_code == 200
    boxes = [row for task in tasks for row in task["boxes"]]
    assert boxes
    assert {task["origin"] for task in tasks} <= {"model", "nothing"}
    assert all(row[6] == 1 for row in boxes)
