"""`ingest`: add the images that are new, and their reference labels; change nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path, PurePosixPath

from annoloop import images
from annoloop.errors import InputError
from annoloop.records import (
    ForeignDataset,
    ForeignImage,
    Problem,
    Reference,
    Sample,
    Split,
    Status,
)
from annoloop.records import sample_id as make_id
from annoloop.results import IngestResult
from annoloop.steps.context import Context
from annoloop.steps.groups import GroupRule
from annoloop.store import db, samples

ADOPT = "adopt"
"""Source of reference labels that enter the pool as annotated batch v0 when splits are made."""

CHUNK = 512
SHOWN = 10


def ingest(
    context: Context,
    labels: ForeignDataset | None = None,
    *,
    classes: Sequence[str] = (),
    adopt: bool = False,
) -> IngestResult:
    """Add new images (and labels). Raises InputError naming every bad file, adding nothing."""
    root, skip_bad = context.images_root, context.settings.images.skip_bad
    if not root.is_dir():
        raise InputError(
            f"there is no folder of images at {root}",
            fix="Correct [images] root in annoloop.toml, or `--images PATH` of init.",
        )
    with context.store.read() as connection:
        known = samples.ids_by_path(connection)
        locked_groups = samples.locked_groups(connection)
    if adopt and locked_groups is not None:
        raise InputError(
            "labels can be adopted only before the splits are made",
            fix="Import them as answers to a batch: `annoloop annotate import`.",
        )
    paths = images.list_images(root)
    new, refused = _probe(context, [p for p in paths if p not in known])
    if refused and not skip_bad:
        raise _refusal(refused)
    found = {**known, **{s.path: s.id for s in new}}
    matched, odd = _match(labels, found) if labels else ({}, [])
    if odd and not skip_bad:
        raise _refusal(odd)
    columns = {path: dict(image.columns) for path, image in matched.items()}
    rule = GroupRule(context.settings.split.group, columns)
    new = [_placed(s, rule.group(s.path), locked_groups) for s in new]
    references = [
        Reference(found[path], image.labels, ADOPT if adopt else "labels")
        for path, image in matched.items()
        if image.labels or image.reviewed is not False
    ]
    with context.store.write() as connection:
        schema = samples.add_classes(connection, [*classes, *(labels.classes if labels else ())])
        order = [schema.index()[name] for name in labels.classes] if labels else []
        samples.add_samples(connection, new, context.now())
        added = samples.add_references(
            connection,
            (_in_schema(one, order) for one in references),
            who=context.who,
            at=context.now(),
        )
        if new or added:
            db.record(
                connection,
                at=context.now(),
                who=context.who,
                what="ingest",
                target=str(root),
                details={"images": len(new), "labeled": added},
            )
    return IngestResult(
        images_added=len(new),
        images_known=len(known),
        images_labeled=added,
        boxes=sum(len(r.labels) for r in references),
        classes=schema.classes,
        refused=tuple(refused),
        problems=(*(labels.problems if labels else ()), *odd),
        notes=tuple(_notes(context, paths, known, labels=labels, labeled=len(references))),
    )


def _probe(context: Context, paths: Sequence[str]) -> tuple[list[Sample], list[Problem]]:
    """Facts of each image, and a problem for each file that is no readable image."""
    root = context.images_root
    good: list[Sample] = []
    bad: list[Problem] = []

    def facts(path: str) -> Sample | Problem:
        uri = str(root / path)
        try:
            one = images.probe(uri)
        except InputError as error:
            return Problem(path, "", error.problem, error.fix)
        return Sample(make_id(path), path, uri, one.width, one.height, one.sha256, bytes=one.bytes)

    with ThreadPoolExecutor() as pool:
        for start in range(0, len(paths), CHUNK):
            for one in pool.map(facts, paths[start : start + CHUNK]):
                if isinstance(one, Sample):
                    good.append(one)
                else:
                    bad.append(one)
            context.progress(min(start + CHUNK, len(paths)), len(paths), "reading images")
    return good, bad


def _refusal(problems: Sequence[Problem]) -> InputError:
    lines = [f"  {p.file} {p.row}: {p.what}".replace(" :", ":") for p in problems[:SHOWN]]
    more = len(problems) - SHOWN
    tail = [f"  … and {more} more"] if more > 0 else []
    return InputError(
        "\n".join([f"{len(problems)} files cannot be used; nothing was added:", *lines, *tail]),
        fix="Mend or remove them, or add `--skip-bad` to leave them out and list them.",
    )


def _match(
    labels: ForeignDataset, found: dict[str, str]
) -> tuple[dict[str, ForeignImage], list[Problem]]:
    """Our path → its labels: by our id, by relative path, or by a base name that is unique."""
    by_id = {key: path for path, key in found.items()}
    by_name: dict[str, list[str]] = {}
    for path in found:
        by_name.setdefault(PurePosixPath(path).name, []).append(path)
    matched: dict[str, ForeignImage] = {}
    problems: list[Problem] = []
    for image in labels.images:
        ours = by_id.get(image.sample_id or "") or _same_path(image.path, found, by_name)
        if ours is None:
            what = "labels for an image that is not in the image folder"
            problems.append(Problem(image.path, "", what, "left out"))
        elif ours in matched:
            what = f"a second set of labels for {ours}"
            problems.append(Problem(image.path, "", what, "left out"))
        else:
            matched[ours] = image
    return matched, problems


def _same_path(path: str, found: dict[str, str], by_name: dict[str, list[str]]) -> str | None:
    if path in found:
        return path
    candidates = by_name.get(PurePosixPath(path).name, [])
    # A longer path that ends the same way is the same file seen from another root.
    ends = [c for c in candidates if path.endswith("/" + c) or c.endswith("/" + path)]
    if len(ends) == 1:
        return ends[0]
    return candidates[0] if len(candidates) == 1 and not ends else None


def _placed(sample: Sample, group: str | None, locked_groups: dict[str, Split] | None) -> Sample:
    """Before the splits are made a sample has none; afterwards whatever is new joins the pool."""
    if locked_groups is None:
        return replace(sample, group=group)
    side = locked_groups.get(group) if group is not None else None
    if side is None:
        return replace(sample, group=group, split=Split.POOL)
    why = f"its group {group} is in {side}: selecting it would leak"
    return replace(sample, group=group, split=Split.POOL, status=Status.SKIPPED, why=why)


def _in_schema(reference: Reference, order: Sequence[int]) -> Reference:
    """The same labels with class ids of our schema."""
    labels = tuple(replace(one, class_id=order[one.class_id]) for one in reference.labels)
    return replace(reference, labels=labels)


def _notes(
    context: Context,
    paths: Sequence[str],
    known: dict[str, str],
    *,
    labels: ForeignDataset | None,
    labeled: int,
) -> Iterable[str]:
    gone = len(set(known) - set(paths))
    if gone:
        yield f"{gone} images of this project are no longer in the folder; they are kept"
    if labels is not None and labeled < len(paths):
        yield f"{len(paths) - labeled} images have no reference labels"
    folders = {str(PurePosixPath(p).parent) for p in paths}
    if len(folders) > 1 and context.settings.split.group == "none":
        yield (
            f"images lie in {len(folders)} folders; if a folder is a scene, set "
            '[split] group = "folder" before `annoloop split`'
        )


def image_folder(path: Path, project: Path) -> str:
    """How annoloop.toml names the image folder: relative when it lies inside the project."""
    full = path.resolve()
    inside = full.is_relative_to(project.resolve())
    return full.relative_to(project.resolve()).as_posix() if inside else full.as_posix()
