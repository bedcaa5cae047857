"""The numbers of a verdict in words for a manager."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from annoloop.core.ambiguity import Shares
from annoloop.core.outlook import HORIZON, Outlook, Price, Range
from annoloop.core.target import TargetLook

if TYPE_CHECKING:
    from annoloop.core.stopping import Rules


def metric(value: float | None, target: float | None, name: str) -> str:
    """The metric beside its target."""
    digits = 3
    # A metric just below its target must not read like the target.
    while value is not None and target is not None and digits < 17:
        if value == target or f"{value:.{digits}f}" != f"{target:.{digits}f}":
            break
        digits += 1
    found = "not measured" if value is None else f"{value:.{digits}f}"
    wanted = "no target set" if target is None else f"target {target:.{digits}f}"
    return f"{name} {found} on gauge, {wanted}"


def gain(ahead: Outlook, name: str, currency: str) -> str:
    """What the next batch should bring, and at what price."""
    if ahead.gain is None or ahead.batch is None:
        return f"no forecast: {ahead.why_not}"
    return (
        f"the next {ahead.batch.images:,.0f} images should add {_points(ahead.gain)} points of "
        f"{name}, {price(ahead.batch, currency)}"
    )


def price(of: Price, currency: str) -> str:
    """Boxes, time and money: `about 900 boxes, 4.2 hours, 310 €`."""
    minutes = of.minutes
    time = f"{minutes / 60:,.1f} hours" if minutes >= 90 else f"{minutes:,.0f} minutes"
    money = "" if of.money is None else f", {of.money:,.0f} {currency}"
    return f"about {of.boxes:,.0f} boxes, {time}{money}"


def needed(ahead: Outlook, currency: str) -> Iterator[str]:
    """How far the target is, where there is one."""
    more = ahead.needed
    if more is None:
        return
    limit = f"{HORIZON:g} times today's labels"
    if more.images.median == 0:
        yield "the curve has reached the target"
    elif more.images.median is None or more.price is None:
        yield f"the target is not in sight within {limit} (probability {more.reach:.0%})"
    else:
        far = "out of sight" if more.images.high is None else f"{more.images.high:,.0f}"
        low = more.images.low or 0
        yield (
            f"the target needs about {more.images.median:,.0f} more images ({low:,.0f} to {far}), "
            f"{price(more.price, currency)}"
        )


def look(made: TargetLook) -> Iterator[str]:
    """What the test of the target found, where it did not stop."""
    counted = f"look {made.look} of {made.looks}"
    if made.level <= 0:
        yield (
            f"all {made.looks} declared looks at gauge are used up: no further one can be certain; "
            "label fresh val images, or open test"
        )
    elif made.value >= made.target and made.low < made.target:
        enough = (
            ""
            if made.needed_images is None
            else f"; about {made.needed_images:,} gauge images would do"
        )
        yield f"above the target, but for certain only {made.low:.3f} ({counted}){enough}"
    else:
        yield f"at least {made.low:.3f} for certain ({counted})"
    short = [one.name for one in made.floors if not one.met]
    if short:
        yield f"not yet certain of their floors: {', '.join(short)}"


def reached(made: TargetLook | None, text: str) -> str:
    """Why the target counts as met."""
    if made is None:
        return f"{text} (a point estimate, not a confidence bound)"
    floors = f", and all {len(made.floors)} classes hold their floors" if made.floors else ""
    return (
        f"{text}; for certain at least {made.low:.3f} (look {made.look} of {made.looks}, "
        f"level {made.level:.2g}){floors}"
    )


def review(found: Shares) -> str:
    """What the failures are, by double blind answers."""
    rows = (
        ("ambiguous", found.ambiguous),
        ("wrong labels", found.label),
        ("model errors", found.model),
    )
    parts = [f"{share.value:.0%} {name} (at least {share.low:.0%})" for name, share in rows]
    return f"of {found.failures} reviewed failures {', '.join(parts)}"


def plateau(ahead: Outlook, rules: Rules) -> str:
    """Why the next batch is not worth it."""
    text = gain(ahead, rules.metric, rules.currency)
    most = 0.0 if ahead.gain_at_most is None else 100 * ahead.gain_at_most
    if ahead.gain_at_most is not None and ahead.gain_at_most < rules.delta:
        asked = f"{100 * rules.delta:.1f} is the least that was asked of a batch"
        return f"{text}; at most {most:.1f} (90 % sure), and {asked}"
    worth, money = ahead.worth or 0.0, (ahead.batch and ahead.batch.money) or 0.0
    return f"{text}; that is worth {worth:,.0f} {rules.currency} and costs {money:,.0f}"


def _points(values: Range) -> str:
    low, median, high = (100 * (one or 0.0) for one in (values.low, values.median, values.high))
    return f"{median:.1f} ({low:.1f} to {high:.1f})"
