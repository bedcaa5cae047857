"""What people read of models: metrics, failures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from annoloop import results_failures, results_metrics, results_models, results_suspects
from annoloop.render_text import SHOWN, cell, table, value

SLICE = ("images", "boxes", "AP", "AP50", "AR100")


def _failures(r: results_failures.FailuresResult) -> list[str]:
    types = ", ".join(
        f"{kind} {n} ({r.prices.get(kind, 0.0):.3f} AP50)" for kind, n in r.by_type.items()
    )
    lines = [
        f"model {r.model}: {len(r.failures)} failures on {r.images} images of mine",
        f"by type   {types or 'none'}",
        f"by class  {value(r.by_class)}",
        *([f"since {r.changes.since}  {_changed(r.changes)}"] if r.changes else []),
        f"most misses        {value(r.high_fn)}",
        f"most false alarms  {value(r.high_fp)}",
    ]
    body: list[tuple[object, ...]]
    if r.groups:
        header = ("group", "cluster", "failures", "images", "price", "for example")
        body = [
            (
                g.text,
                f"{g.cluster} of {g.clusters}",
                g.failures,
                g.images,
                g.price,
                ", ".join(one.path for one in g.examples),
            )
            for g in r.groups
        ]
        lines += ["", *_top(header, body)]
    if r.worst:
        header = ("worst image", "right", "wrong", "missed", "share wrong", "at least")
        body = [(w.path, w.tp, w.fp, w.fn, w.share, w.at_least) for w in r.worst]
        lines += ["", *table(header, body)]
    body = [(v.text, v.path, v.failure.score, v.failure.iou, v.failure.price) for v in r.failures]
    lines += ["", *_top(("failure", "image", "score", "IoU", "price"), body)]
    return [*lines, *(f"note: {note}" for note in r.notes)]


def _top(header: tuple[str, ...], body: list[tuple[object, ...]]) -> list[str]:
    lines = table(header, body[:SHOWN])
    more = len(body) - SHOWN
    return [*lines, f"… and {more} more (all with --json)"] if more > 0 else lines


def _changed(c: results_failures.ChangesView) -> str:
    said = f"{c.fixed} fixed, {c.new} new, {c.still} still there ({c.changed_type} of another type)"
    return f"{said}, {c.unseen} on images not measured then" if c.unseen else said


def _summary(numbers: Mapping[str, Any] | None) -> str:
    if numbers is None:
        return "–"
    return ", ".join(f"{k} {cell(v)}" for k, v in numbers["summary"].items())


def _decide(r: results_models.DecideResult) -> list[str]:
    return [f"{r.iteration}: {r.reason}", f"verdict {r.verdict}; every number with --json"]


def _evaluate(r: results_models.EvaluateResult) -> list[str]:
    sides = (("gauge", r.gauge), ("val", r.val), ("test", r.test))
    lines = [f"model {r.model} on {r.split}"]
    lines += [f"{name:<6} {_summary(numbers)}" for name, numbers in sides if numbers is not None]
    if r.noise is not None and r.noise["sd"] is not None:
        n = r.noise
        lines.append(
            f"{n['metric']} on gauge is {n['value']:.3f}, with 95 % between {n['low']:.3f} and "
            f"{n['high']:.3f} on other images"
        )
    if r.gain is not None and r.gain["sd"] is not None:
        lines.append(_gain(r.gain))
    if r.split == "val":
        lines.append(f"failures of mine at score ≥ {r.min_score:.3g}: {value(r.failures)}")
    if r.details is not None:
        first, *rest = explained(r.details)
        lines += ["", f"on gauge, {first}", *rest, ""]
    if r.slices:
        lines += [*_slices("slice of val", r.slices), ""]
    if r.unseen_classes:
        lines.append(f"never seen in training, yet counted: {value(r.unseen_classes)}")
    return [*lines, *(f"note: {note}" for note in r.notes)]


def _gain(g: Mapping[str, Any]) -> str:
    value, low, high = (100 * g[name] for name in ("value", "low", "high"))
    chance = ", which can be chance" if low <= 0 <= high else ""
    return (
        f"{g['metric']} on gauge: {value:+.1f} points since {g['since']}, with 95 % between "
        f"{low:+.1f} and {high:+.1f} on other images{chance}"
    )


def _metrics(r: results_metrics.MetricsResult) -> list[str]:
    lines = [f"{name:<6} {cell(number)}" for name, number in r.summary.items()]
    lines.append(f"{r.images} images, {r.boxes} boxes, {r.detections} detections")
    for metric, one in (r.intervals or {}).items():
        lines.append(f"{metric:<6} {_sure(one)}")
    for metric, one in (r.gains or {}).items():
        lines.append(f"{metric:<6} gain of the other model {_sure(one)}")
    if r.slices:
        lines += ["", *_slices("slice", r.slices)]
    if r.details is not None:
        lines += ["", *explained(r.details)]
    if r.voc is not None:
        eleven, every = r.voc["mean_eleven_point"], r.voc["mean_every_point"]
        lines += ["", f"VOC AP at IoU 0.5: 11 points {cell(eleven)}, area {cell(every)}"]
    if r.per_image:
        worst = sorted(r.per_image, key=lambda i: -(i.fp + i.fn))[:SHOWN]
        rows = [(i.image, i.tp, i.fp, i.fn) for i in worst if i.fp + i.fn]
        lines += ["", *table(("image", "right", "wrong", "missed"), rows)]
    return lines


def _slices(what: str, slices: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The weakest first; those without a box last."""
    ranked = sorted(slices.items(), key=lambda s: (s[1]["AP50"] is None, s[1]["AP50"] or 0.0))
    rows: list[tuple[object, ...]] = [(name, *(one[c] for c in SLICE)) for name, one in ranked]
    return _top((what, *SLICE), rows)


def _sure(one: results_metrics.Interval) -> str:
    return f"{one.value:.3f} ({one.low:.3f} to {one.high:.3f} with 95 %)"


def explained(d: Mapping[str, Any]) -> list[str]:
    """Classes at the operating point, what is taken for what, calibration, TIDE's gains."""
    header = ("class", "boxes", "AP", "AP50", "precision", "recall", "right", "wrong", "missed")
    keys = ("name", "boxes", "ap", "ap50", "precision", "recall", "tp", "fp", "fn")
    rows = [tuple(one[key] for key in keys) for one in d["classes"]]
    lines = [f"counts with detections from score {d['min_score']:.3g}", *table(header, rows)]
    names, matrix = d["confusion"]["classes"], d["confusion"]["matrix"]
    mixed = [
        (number, true, said)
        for true, row in zip(names, matrix, strict=False)
        for said, number in zip(names, row, strict=False)
        if number and true != said
    ]
    taken = [f"{true} for {said} {number}" for number, true, said in sorted(mixed, reverse=True)]
    lines += ["", f"taken  {', '.join(taken[:SHOWN]) or 'no class for another'}"]
    lines.append(
        f"scores are {d['calibration']['ece']:.3f} off the share that is right, at worst "
        f"{d['calibration']['mce']:.3f}"
    )
    gains = sorted(d["tide"]["gains"].items(), key=lambda one: -one[1])
    said = ", ".join(f"{kind} {gain:.3f} ({d['tide']['counts'][kind]})" for kind, gain in gains)
    return [*lines, f"AP50 {d['tide']['ap50']:.3f} would gain, all scores: {said}"]


def _suspects(r: results_suspects.SuspectsResult) -> list[str]:
    lines = [
        f"model {r.model}: {len(r.suspects)} suspects among {r.labels} labels of {r.images} images",
        f"by kind  {value(r.by_kind)}",
        "",
    ]
    body: list[tuple[object, ...]] = [(s.text, s.path, s.score, s.suspicion) for s in r.suspects]
    lines += _top(("suspect", "image", "score", "suspicion"), body)
    body = [(w.path, w.suspects, w.suspicion) for w in r.worst]
    lines += ["", *_top(("image", "suspects", "suspicion"), body)]
    lines += ["", "next: annoloop suspects relabel --size 30"] if r.suspects else []
    return [*lines, *(f"note: {note}" for note in r.notes)]


def _folds(r: results_suspects.FoldsResult) -> list[str]:
    sizes = ", ".join(map(str, r.sizes))
    kept = f", {r.kept} of them by an earlier run" if r.kept else ""
    return [
        f"{r.images} images with {r.boxes} boxes in {r.folds} folds ({sizes}), each predicted by a "
        f"model of the others{kept}",
        f"stored as {r.model}: {r.detections} detections, trainer {r.trainer}, seed {r.seed}, "
        f"{r.seconds:.1f} s",
        *(f"note: {note}" for note in r.notes),
        "next: annoloop suspects",
    ]


PAGES: dict[type, Callable[[Any], list[str]]] = {
    results_failures.FailuresResult: _failures,
    results_models.EvaluateResult: _evaluate,
    results_models.DecideResult: _decide,
    results_metrics.MetricsResult: _metrics,
    results_suspects.FoldsResult: _folds,
    results_suspects.SuspectsResult: _suspects,
}
