"""The manifest that locks the splits: written once, checked before every use."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from annoloop import durable
from annoloop.core import splits
from annoloop.errors import LockedSplitError
from annoloop.records import Half, Sample, Split
from annoloop.steps.context import Context
from annoloop.store import samples

MANIFEST = "splits.lock.json"


def write_manifest(context: Context, placed: Sequence[Sample], digest: str) -> None:
    """Which samples are locked where, whole or not at all."""
    manifest = {
        "digest": digest,
        "seed": context.settings.split.seed,
        "splits": _members([(s.id, s.split, s.half) for s in placed]),
    }
    durable.write_text(context.folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")


def check_manifest(context: Context) -> str:
    """The digest of the locked splits. Raises LockedSplitError if file and database differ."""
    file = context.folder / MANIFEST
    with context.store.read() as connection:
        rows = samples.locked(connection)
    digest = digest_of(rows)
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        written, members = document["digest"], document["splits"]
    except FileNotFoundError as error:
        raise LockedSplitError(
            f"the split manifest {MANIFEST} is gone",
            fix="Bring it back from version control or a backup: it proves that nothing moved.",
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError, IsADirectoryError) as error:
        raise LockedSplitError(
            f"{MANIFEST} is not the file that annoloop wrote ({error!r})",
            fix="Bring it back from version control or a backup.",
        ) from error
    if written != digest or members != _members(rows):
        edited = MANIFEST if written != _digest_of_members(members) else "one of the two"
        raise LockedSplitError(
            f"the splits in the database do not match {MANIFEST} "
            f"({digest[:12]}… against {str(written)[:12]}…): {edited} was edited",
            fix="Bring back what it was, from version control or a backup; splits never change.",
        )
    return digest


def _members(
    rows: Sequence[tuple[str, Split | None, Half | None]],
) -> dict[str, list[str]]:
    """Part → ids of its samples, for people who read the manifest."""
    return {
        part: [key for key, side, half in rows if part in (side, half)]
        for part in ("test", "mine", "gauge", "golden")
    }


def _digest_of_members(members: Any) -> str | None:
    """What a manifest's digest should be for the samples that it lists; None if it lists none."""
    try:
        rows = [
            (str(key), Split.VAL if part in list(Half) else Split(part), half)
            for part in ("test", "mine", "gauge", "golden")
            for half in [Half(part) if part in list(Half) else None]
            for key in members[part]
        ]
    except (KeyError, TypeError, ValueError):
        return None
    return digest_of(rows)


def digest_of(rows: Sequence[tuple[str, Split, Half | None]]) -> str:
    return splits.manifest_digest(
        [key for key, _, _ in rows],
        [str(side) for _, side, _ in rows],
        ["" if half is None else str(half) for _, _, half in rows],
    )
