"""What the numbers of a replay say, in plain words, and what to take over."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from annoloop.core import replay_stats as stats
from annoloop.replay.plan import ArmPlan, Plan
from annoloop.results_replay import ArmAnswer, Comparison, Recommendation
from annoloop.settings import SelectSettings

POINT = 0.01
"""One point of the metric, which people read in percent."""


def points(value: float) -> str:
    return f"{100 * value:+.1f}"


def judge(one: Comparison, metric: str) -> tuple[bool | None, str]:
    """Better, worse or not to be told apart (None), and the sentence that says so."""
    arm, against, p = one.arm, one.against, one.p if one.p_adjusted is None else one.p_adjusted
    if one.seeds < 2 or one.low is None or one.high is None:
        return None, f"{arm} against {against}: one seed says nothing about chance"
    numbers = (
        f"{points(one.mean)} {metric} points on average over the run, 95 % interval "
        f"{points(one.low)} to {points(one.high)}, p {p:.3g}"
    )
    seeds = f"with {one.seeds} seeds"
    if p <= stats.ALPHA:
        better = one.mean > 0
        said = f"{arm} is {'better' if better else 'worse'} than {against} {seeds}: {numbers}"
        return better, said
    needed = one.seeds_for_one_point
    more = ""
    if needed is not None and needed > one.seeds:
        more = f"; {needed:,} seeds would be needed for 1 point"
    elif needed is not None:
        more = "; a difference of 1 point would most likely have been seen"
    if one.least_p > stats.ALPHA:
        more += f"; {one.seeds} seeds cannot give a p below {one.least_p:.3g}"
        more += f": {one.fewest_seeds} is the least that can reach {stats.ALPHA}"
    return (
        None,
        f"{arm} is not distinguishable from {against} {seeds}: {numbers}{more}",
    )


def recommend(
    plan: Plan, arms: Sequence[ArmAnswer], against: Mapping[str, Comparison]
) -> Recommendation:
    """The mix and batch size to take over; the default stays unless an arm beats it surely.

    `against` compares every arm with the incumbent: the arm with the default mix, or the baseline.
    """
    held = incumbent(plan, arms)
    ahead = sorted(
        (
            one
            for one in against.values()
            if one.mean > 0 and (one.p_adjusted or one.p) <= stats.ALPHA
        ),
        key=lambda one: -one.mean,
    )
    by_name = {arm.name: arm for arm in arms}
    best = max(arms, key=lambda arm: arm.area)
    if ahead:
        chosen, sure = by_name[ahead[0].arm], True
        reason = judge(ahead[0], plan.metric)[1]
    else:
        chosen, sure = held, False
        reason = f"no arm is better than {held.name} beyond chance, so {held.name} stays"
        if best is not held:
            reason += f"; {judge(against[best.name], plan.metric)[1]}"
    return Recommendation(chosen.name, sure, reason, _toml(plan, chosen, reason))


def incumbent(plan: Plan, arms: Sequence[ArmAnswer]) -> ArmAnswer:
    default = SelectSettings().mix
    same = [arm for arm in arms if dict(arm.mix) == default]
    return next(iter(same), None) or next(arm for arm in arms if arm.name == plan.baseline)


def _toml(plan: Plan, arm: ArmAnswer, reason: str) -> str:
    mix = ", ".join(f"{json.dumps(name)} = {share:g}" for name, share in arm.mix.items())
    lines = [
        f"# From the replay {json.dumps(plan.name)}: {reason}",
        "[select]",
        f"mix = {{ {mix} }}",
        f"first_size = {plan.first}",
        f"minimum = {arm.batch}    # the batch of {arm.name}",
        "share = 0.01    # so that it stays the batch in larger pools too",
    ]
    extra = next(
        (one for one in plan.arms if one.name == arm.name), ArmPlan(name="-", mix={"-": 1})
    )
    embed = {**plan.settings.get("embed", {}), **extra.settings.get("embed", {})}
    if "embedder" in embed:
        lines += ["", "[embed]", f"embedder = {json.dumps(embed['embedder'])}"]
    return "\n".join(lines) + "\n"


def headline(arms: Sequence[ArmAnswer], baseline: str, seeds: int) -> str:
    """The whole replay in one sentence."""
    others = [arm for arm in arms if arm.name != baseline]
    if not others:
        return f"only {baseline} was run; there is nothing to compare"
    better = [arm.name for arm in others if arm.better]
    worse = [arm.name for arm in others if arm.better is False]
    same = [arm.name for arm in others if arm.better is None]
    parts = []
    if better:
        parts.append(f"{_and(better)} {_is(better)} better than {baseline}")
    if worse:
        parts.append(f"{_and(worse)} {_is(worse)} worse than {baseline}")
    if same:
        parts.append(f"{_and(same)} {_is(same)} not distinguishable from {baseline}")
    return f"{'; '.join(parts)}, with {seeds} paired seeds"


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _is(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"
