"""From numbers to words: the verdict, what changed, and what people should do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from annoloop.core.agreement_scores import AgreementReport
from annoloop.core.annotators import AnnotatorRate
from annoloop.core.control import MIN_PASSES, images_needed
from annoloop.core.cusum import Cusum
from annoloop.core.disputes import Dispute
from annoloop.core.drift import FeatureChange
from annoloop.core.golden_report import ErrorReport
from annoloop.records import GoldenVerdict

MIN_IMAGES = 10
ALARMING = 5
"""Errors from which even too small a check warns, if they exceed the tolerance."""
MIN_BOXES = 30
CALM_BOXES = 250
"""From so many reference boxes on a change of ten points is found nearly always."""

HALF = 0.5
BIAS = 0.02
"""A mean edge offset of 2 % of the side is a convention, not noise."""

WORDS = {
    "missed": "missed boxes",
    "spurious": "spurious boxes",
    "class": "wrong classes",
    "location": "badly placed boxes",
}

PROCEED = "proceed"
LABEL_MORE = "label more golden images"
RETRAIN = "retrain people"
GUIDELINE = "fix the guideline"
ADJUDICATE = "adjudicate the reference"


@dataclass(frozen=True, slots=True)
class Findings:
    """What the tests found; `features`, `cusum` and `annotators` hold only those that alarm.

    `capable` images have a reference box; `passes` is the least number of earlier passes of the
    tested images.
    """

    errors: Mapping[str, ErrorReport]
    features: tuple[FeatureChange, ...]
    cusum: Mapping[str, Cusum]
    annotators: tuple[AnnotatorRate, ...]
    disputes: tuple[Dispute, ...]
    agreement: AgreementReport
    images: int
    boxes: int
    capable: int
    passes: int
    testable: bool
    tolerance: float
    usual_loss: float | None

    def failed(self) -> list[str]:
        return [kind for kind, one in self.errors.items() if one.failed]

    def wrong(self) -> float:
        """Missed, spurious and confused boxes per reference box."""
        return sum(self.errors[k].count for k in ("missed", "spurious", "class")) / max(
            self.boxes, 1
        )


def judge(found: Findings) -> tuple[GoldenVerdict, str]:
    """The verdict and its reason; too little data is an answer of its own."""
    failed = found.failed()
    if failed:
        parts = [_p_sentence(found, kind) for kind in failed]
        return GoldenVerdict.FAIL, "more errors than in the earlier passes: " + "; ".join(parts)
    short = _too_little(found)
    if short is not None:
        errors = round(found.wrong() * found.boxes)
        if found.wrong() > found.tolerance and errors >= ALARMING:
            # No guarantee can be given, but nobody should train on this unwarned either.
            return GoldenVerdict.WARN, (
                f"{errors} errors on {found.boxes} reference boxes ({found.wrong():.1%}), "
                f"tolerance {found.tolerance:.1%}; too few for a test: {short}"
            )
        return GoldenVerdict.INSUFFICIENT, short
    if not found.testable:
        text = (
            f"{found.wrong():.1%} errors per reference box, tolerance {found.tolerance:.1%}; "
            f"there are {found.passes} earlier passes, a test needs {MIN_PASSES}"
        )
        beyond = found.wrong() > found.tolerance
        return (GoldenVerdict.WARN if beyond else GoldenVerdict.PASS), text
    signs = [f"{one.name} changed" for one in found.features]
    signs += [f"{WORDS[kind]} have been rising" for kind in found.cusum]
    if signs:
        return GoldenVerdict.WARN, "no error type fails, but " + "; ".join(signs)
    return GoldenVerdict.PASS, (
        f"no more errors than in the earlier passes: {found.boxes:,} boxes in {found.images:,} "
        f"images, {found.passes} earlier passes or more"
    )


def changes(found: Findings) -> tuple[str, ...]:
    """One sentence for each thing that changed, with its size and interval."""
    said = []
    for kind in found.failed():
        said.append(_p_sentence(found, kind))
    for one in found.features:
        ratio = f", {one.ratio:.2f} × what was usual" if one.ratio is not None else ""
        low, high = one.interval
        said.append(
            f"{one.name}: {one.effect:+.3g} {one.unit} (95 % interval {low:+.3g} to {high:+.3g})"
            f"{ratio}; adjusted p {one.p_adjusted:.2g}"
        )
    for kind, path in found.cusum.items():
        said.append(
            f"{WORDS[kind]}: cumulative sum {path.path[-1]:.2f} since the baseline, limit "
            f"{path.limit:.2f}"
        )
    for who in found.annotators:
        low, high = who.interval
        said.append(
            f"{who.annotator}: {who.errors} errors on {who.boxes} boxes, "
            f"{who.shrunk:.1%} after shrinkage ({low:.1%} to {high:.1%})"
        )
    return tuple(said)


def act(found: Findings, verdict: GoldenVerdict, *, everyone: int) -> tuple[str, str]:
    """What to do and one sentence why. `everyone` is the number of known annotators."""
    if verdict is GoldenVerdict.PASS:
        return PROCEED, "Go on with training." + _queue(found)
    if verdict is GoldenVerdict.INSUFFICIENT:
        advice = "Hide more golden images in the next batches: raise `golden.share`."
        return LABEL_MORE, advice + _queue(found)
    wrong = found.wrong() * found.boxes
    if found.disputes and len(found.disputes) >= HALF * max(wrong, 1.0):
        return ADJUDICATE, (
            f"On {len(found.disputes)} boxes most blind passes agree with each other and not with "
            "the reference; decide these first, then check again."
        )
    if 0 < len(found.annotators) < max(everyone, 2):
        names = ", ".join(one.annotator for one in found.annotators)
        return RETRAIN, f"The errors come from {names}; go through their images with them."
    convention = _convention(found)
    if convention is not None:
        return GUIDELINE, convention + _queue(found)
    return RETRAIN, "Go through the images listed with the people who labelled them." + _queue(
        found
    )


def notes(found: Findings, *, compared: int) -> tuple[str, ...]:
    """What to know when reading the numbers."""
    said = []
    if found.testable and found.images < compared:
        said.append(
            f"{compared - found.images} of {compared} images have fewer than {MIN_PASSES} earlier "
            "passes and were not tested"
        )
    if found.testable and found.boxes < CALM_BOXES:
        said.append(
            f"{found.boxes} reference boxes: below {CALM_BOXES} only large changes are found; "
            "`annoloop golden power` says which"
        )
    if found.agreement.outcomes["duplicate"]:
        said.append(f"{found.agreement.outcomes['duplicate']} of the spurious boxes are duplicates")
    return tuple(said)


def _p_sentence(found: Findings, kind: str) -> str:
    one = found.errors[kind]
    share = f"{one.rate:.1%}" if one.rate is not None else f"{one.count}"
    if one.interval is not None:
        share += f" (95 % interval {one.interval[0]:.1%} to {one.interval[1]:.1%})"
    usual = f", {one.usual:.1%} before" if one.usual is not None else ""
    said = f"{WORDS[kind]} {share}{usual}"
    loss = found.agreement.placement.overlap_loss
    if kind == "location" and loss is not None and found.usual_loss is not None:
        # Boxes can move together without a single one becoming bad; the test sees it.
        said += f", mean 1 − IoU {loss:.3f} instead of {found.usual_loss:.3f}"
    return f"{said}, p {one.p_value:.2g} at level {one.alpha:.2g}"


def _too_little(found: Findings) -> str | None:
    """Why the data cannot answer, with the number of images that could, or None."""
    passes = max(found.passes, MIN_PASSES)
    needed = max(MIN_IMAGES, *(images_needed(passes, one.alpha) for one in found.errors.values()))
    if found.capable < needed:
        least = f"at least {needed} images with reference boxes"
        if found.testable:
            return (
                f"{least} and {MIN_PASSES} earlier passes are needed; of those answered now "
                f"{found.capable} have both"
            )
        return f"{least} are needed, {found.capable} were answered"
    if found.boxes < MIN_BOXES:
        enough = ceil(MIN_BOXES / found.boxes * found.images)
        return (
            f"at least {enough} images of this kind are needed: {found.images} have {found.boxes} "
            f"reference boxes, {MIN_BOXES} is the least"
        )
    for kind, one in found.errors.items():
        worse = (one.rate or 0.0) - (one.usual or 0.0) > found.tolerance
        if not found.testable or not worse or kind == "location":
            continue
        if one.p_value == one.smallest_p and one.changed_images > 0:
            wanted = images_needed(passes, one.alpha) / one.changed_images
            return (
                f"at least {ceil(found.images * wanted)} images are needed: {WORDS[kind]} rose on "
                f"all {one.changed_images} images that differ, too few for p {one.alpha:.2g}"
            )
    return None


def _convention(found: Findings) -> str | None:
    """A systematic cause, shared by everybody: one pair of classes, or one direction."""
    said = found.agreement
    pairs = [c for c in said.confusions if c.reference is not None and c.answer is not None]
    confused = sum(c.count for c in pairs)
    mixed_up = not found.testable and (found.errors["class"].rate or 0.0) > found.tolerance
    counts = any(f.name.startswith("count of") for f in found.features)
    about_class = found.errors["class"].failed or counts or mixed_up
    if about_class and confused and pairs[0].count >= max(HALF * confused, 2):
        return (
            f"{pairs[0].count} of {confused} confusions are {pairs[0].reference} answered as "
            f"{pairs[0].answer}: say in the guideline how to tell them apart."
        )
    biased = [
        edge
        for edge, (low, high) in said.placement.edge_intervals.items()
        if (low > 0.0 or high < 0.0) and abs(said.placement.edges[edge]) >= BIAS
    ]
    about_place = found.errors["location"].failed or any(
        f.name in {"box area", "aspect"} for f in found.features
    )
    if about_place and biased:
        sides = ", ".join(f"{edge} {said.placement.edges[edge]:+.1%}" for edge in biased)
        return (
            f"Boxes are systematically off ({sides} of the side, positive is right and down): say "
            "in the guideline where a box ends."
        )
    return None


def _queue(found: Findings) -> str:
    if not found.disputes:
        return ""
    return f" {len(found.disputes)} boxes of the reference are disputed; adjudicate them."
