"""Coverage-guided fuzzing of one importer: `python -m tests.fuzz.fuzz coco --seconds 600`.

Needs atheris (`make fuzz` installs it). What breaks is written below tests/fuzz/found/, and from
then on is a test.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["annoloop", "defusedxml", "json"]):
    from tests.fuzz import targets

FOUND = Path(__file__).parent / "found"
WORDS = (
    *('"images"', '"annotations"', '"categories"', '"bbox"', '"id"', '"image_id"', '"name"'),
    *('"category_id"', '"file_name"', '"answer"', '"why"', '"reviewed"', '"annoloop_id"'),
    *('"iscrowd"', '"difficult"', '"width"', '"height"', "NaN", "Infinity", "1e999", "-0.0"),
    *("null", "true", "[[[[", "{}", '"\\\\ud800"', '"../a"', "names:", "path:", "train:", "nc:"),
    *(
        "<object>",
        "</object>",
        "<bndbox>",
        "<!ENTITY",
        "<![CDATA[",
        "&#x0;",
        "&amp;",
        "\\x0a---\\x0a",
    ),
)


ODD = (
    *(None, True, False, 0, -1, 1, 2, 10**30, 0.5, -0.0, 1e-200, 1e308, float("nan"), float("inf")),
    *("", "a", "../a", "/a", "\ud800", "\0", "x" * 300, "00.png", "complete", "empty", "unsure"),
    *([], {}, [1, 2, 3, 4], [1, 2, 1e-200, 1e-200], [[]], {"id": 1}),
)
"""Values to put in the place of any other: bytes alone rarely stay a JSON document."""


def mutated(data: bytes, max_size: int, seed: int) -> bytes:
    """One value of a JSON document replaced, copied, moved or removed; else any bytes."""
    rng = random.Random(seed)
    try:
        document = json.loads(data)
        places = list(_places(document))
    except (ValueError, RecursionError):
        places = []
    if not places or rng.random() < 0.2:
        return bytes(atheris.Mutate(data, max_size))
    holder, key = rng.choice(places)
    kind = rng.random()
    if kind < 0.5:
        holder[key] = rng.choice(ODD)
    elif kind < 0.8:
        other, theirs = rng.choice(places)
        holder[key] = other[theirs]
    elif isinstance(holder, list):
        holder.append(holder[key])
    else:
        del holder[key]
    try:
        return json.dumps(document).encode()[:max_size]
    except (ValueError, RecursionError):  # a document that now holds itself
        return data


def _places(node: object) -> Iterator[tuple[Any, Any]]:
    keys = (
        list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    )
    for key in keys:
        yield node, key
        yield from _places(node[key])  # type: ignore[index]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=targets.TARGETS)
    parser.add_argument("--seconds", type=int, default=600)
    asked = parser.parse_args()
    # In memory where there is such a place: the importers read files, thousands a second.
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as home:
        _fuzz(asked.target, Path(home), asked.seconds)


def _fuzz(name: str, home: Path, seconds: int) -> None:
    corpus, words = home / "corpus", home / "words"
    corpus.mkdir()
    words.write_text("".join(f'"{w}"\n' if '"' not in w else _quoted(w) for w in WORDS))
    for seed in targets.seeds(home)[name]:
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    target = targets.TARGETS[name]

    def one(data: bytes) -> None:
        try:
            target(data, home)
        except Exception:
            FOUND.mkdir(exist_ok=True)
            digest = hashlib.sha256(data).hexdigest()[:12]
            (FOUND / f"{name}-{digest}").write_bytes(data)
            raise

    options = [f"-max_total_time={seconds}", "-max_len=4096", "-timeout=20", "-rss_limit_mb=3000"]
    asked = [sys.argv[0], *options, f"-dict={words}", "-print_final_stats=1", str(corpus)]
    how = {"custom_mutator": mutated} if name in ("coco", "answers") else {}
    atheris.Setup(asked, one, **how)
    atheris.Fuzz()


def _quoted(word: str) -> str:
    return '"' + word.replace('"', '\\"') + '"\n'


if __name__ == "__main__":
    main()
