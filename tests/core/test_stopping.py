import json
from dataclasses import replace

import pytest

from annoloop.core.ambiguity import Share, Shares
from annoloop.core.outlook import Needed, Outlook, Price, Range
from annoloop.core.stopping import Rules, Standing, decide
from annoloop.core.target import Floor, TargetLook
from annoloop.records import GoldenVerdict, StopVerdict

RULES = Rules(
    target=0.6, metric="AP50", budget_images=1_000, budget_boxes=None, budget_minutes=None
)
STANDING = Standing(
    metric=0.412,
    images=310,
    boxes=1_900,
    minutes=95.0,
    pool_left=520,
    golden=GoldenVerdict.PASS,
    golden_accepted=False,
)


def standing(**changes):
    fields = {name: getattr(STANDING, name) for name in STANDING.__slots__}
    return Standing(**fields | changes)


def rules(**changes):
    return Rules(**{name: getattr(RULES, name) for name in RULES.__slots__} | changes)


def test_continue_says_what_is_missing():
    decision = decide(STANDING, RULES)
    assert decision.verdict is StopVerdict.CONTINUE
    assert decision.reason == (
        "continue: AP50 0.412 on gauge, target 0.600; 310 of 1,000 images labelled; 520 in the pool"
    )
    assert decision.numbers["metric"] == 0.412
    assert decision.numbers["golden"] == "pass"


def test_the_target_is_met_by_a_point_estimate_and_says_so():
    decision = decide(standing(metric=0.6), RULES)
    assert decision.verdict is StopVerdict.STOP_TARGET
    assert "AP50 0.600 on gauge, target 0.600" in decision.reason
    assert "point estimate" in decision.reason


def test_a_metric_just_under_its_target_does_not_read_like_it():
    decision = decide(standing(metric=0.59996), RULES)
    assert decision.verdict is StopVerdict.CONTINUE
    assert "AP50 0.59996 on gauge, target 0.60000" in decision.reason


@pytest.mark.parametrize(
    ("budget", "spent", "words"),
    [
        ({"budget_images": 310}, {}, "310 of 310 images labelled"),
        ({"budget_boxes": 1_800}, {}, "1,900 of 1,800 boxes drawn"),
        ({"budget_minutes": 95.0}, {}, "95 of 95 minutes worked"),
        ({"budget_images": 0}, {"images": 0}, "0 of 0 images labelled"),
    ],
)
def test_each_budget_stops(budget, spent, words):
    decision = decide(standing(**spent), rules(**budget))
    assert decision.verdict is StopVerdict.STOP_BUDGET
    assert words in decision.reason
    assert "AP50 0.412 on gauge" in decision.reason


def test_an_empty_pool_stops():
    decision = decide(standing(pool_left=0), RULES)
    assert decision.verdict is StopVerdict.STOP_POOL_EMPTY
    assert "no unlabelled images are left in the pool" in decision.reason


def test_the_order_of_the_verdicts():
    fail = {"golden": GoldenVerdict.FAIL}
    everything = {"metric": 0.9, "images": 2_000, "pool_left": 0}
    assert decide(standing(**everything, **fail), RULES).verdict is StopVerdict.FIX_LABELS
    accepted = standing(**everything, **fail, golden_accepted=True)
    assert decide(accepted, RULES).verdict is StopVerdict.STOP_TARGET
    assert decide(standing(**everything | {"metric": 0.1}), RULES).verdict is (
        StopVerdict.STOP_BUDGET
    )
    poor = standing(pool_left=0, metric=0.1)
    assert decide(poor, RULES).verdict is StopVerdict.STOP_POOL_EMPTY


def test_a_failed_golden_check_asks_for_labels_and_an_accepted_one_is_remembered():
    failed = decide(standing(golden=GoldenVerdict.FAIL), RULES)
    assert "fix the labels first" in failed.reason
    accepted = decide(standing(golden=GoldenVerdict.FAIL, golden_accepted=True), RULES)
    assert accepted.verdict is StopVerdict.CONTINUE
    assert accepted.reason.endswith("a failed golden check was accepted")


def test_a_warning_does_not_stop_but_is_said():
    decision = decide(standing(golden=GoldenVerdict.WARN), RULES)
    assert decision.verdict is StopVerdict.CONTINUE
    assert "the golden check warns" in decision.reason
    assert decide(standing(golden=GoldenVerdict.INSUFFICIENT), RULES).verdict is (
        StopVerdict.CONTINUE
    )


def test_without_a_measurement_or_a_target_the_words_say_so():
    assert "AP50 not measured on gauge, target 0.600" in decide(standing(metric=None), RULES).reason
    free = decide(STANDING, rules(target=None, budget_images=None))
    assert free.reason == (
        "continue: AP50 0.412 on gauge, no target set; 310 images labelled; 520 in the pool"
    )
    neither = decide(standing(metric=None), rules(target=None))
    assert "AP50 not measured on gauge, no target set" in neither.reason


def test_all_budgets_are_reported():
    decision = decide(STANDING, rules(budget_boxes=5_000, budget_minutes=600))
    assert (
        "310 of 1,000 images labelled, 1,900 of 5,000 boxes drawn, 95 of 600 minutes worked"
        in decision.reason
    )


LOOK = TargetLook(
    value=0.66, low=0.61, level=0.005, look=3, looks=10, target=0.6, met=True, needed_images=40
)


def share(value, low):
    return Share(value, low)


def reviewed(**changes):
    fields = {
        "ambiguous": share(0.3, 0.2),
        "label": share(0.1, 0.05),
        "model": share(0.6, 0.5),
        "not_model": share(0.4, 0.3),
    }
    return Shares(failures=60, images=48, counts={}, **fields | changes)


def forecast(**changes):
    gain = Range(0.011, 0.004, 0.019)
    fields = {"gain": gain, "gain_at_most": 0.017, "batch": Price(200, 900, 252.0, 310.0)}
    return Outlook(points=6, **fields | changes)


def test_continue_says_what_the_next_batch_brings_and_costs():
    decision = decide(standing(outlook=forecast()), RULES)
    assert decision.verdict is StopVerdict.CONTINUE
    assert decision.reason.startswith(
        "continue: the next 200 images should add 1.1 (0.4 to 1.9) points of AP50, about 900 "
        "boxes, 4.2 hours, 310 €; AP50 0.412 on gauge, target 0.600"
    )
    assert decision.numbers["outlook"]["gain"] == {"median": 0.011, "low": 0.004, "high": 0.019}
    json.dumps(decision.numbers, allow_nan=False)


def test_continue_says_how_far_the_target_is():
    near = Needed(Range(420.0, 300.0, None), 0.9, Price(420, 1890, 531.0, None))
    text = decide(standing(outlook=forecast(needed=near)), RULES).reason
    assert (
        "the target needs about 420 more images (300 to out of sight), about 1,890 boxes, 8.8 hours"
        in text
    )
    far = Needed(Range(None, None, None), 0.04, None)
    assert "not in sight within 3 times today's labels (probability 4%)" in (
        decide(standing(outlook=forecast(needed=far)), RULES).reason
    )
    few = Outlook(points=2, why_not="the learning curve has 2 of the 4 points")
    assert "no forecast: the learning curve has 2 of the 4 points" in (
        decide(standing(outlook=few), RULES).reason
    )


def test_a_target_is_met_only_for_certain():
    sure = decide(standing(metric=0.66, look=LOOK), RULES)
    assert sure.verdict is StopVerdict.STOP_TARGET
    assert "for certain at least 0.610 (look 3 of 10, level 0.005)" in sure.reason
    unsure = replace(LOOK, low=0.57, met=False, needed_images=90)
    again = decide(standing(metric=0.66, look=unsure), RULES)
    assert again.verdict is StopVerdict.CONTINUE
    assert (
        "above the target, but for certain only 0.570 (look 3 of 10); about 90 gauge images would "
        "do" in again.reason
    )
    spent = replace(LOOK, level=0.0, met=False, look=11)
    assert "all 10 declared looks at gauge are used up" in (
        decide(standing(metric=0.66, look=spent), RULES).reason
    )


def test_floors_are_named_where_they_do_not_hold():
    weak = Floor("cup", 0.4, 0.5, 0.8, False)
    look = replace(LOOK, met=False, floors=(weak, Floor("mug", 0.9, 0.5, 0.0001, True)))
    assert "not yet certain of their floors: cup" in decide(standing(look=look), RULES).reason
    both = replace(LOOK, floors=(Floor("mug", 0.9, 0.5, 0.0001, True),))
    assert "all 1 classes hold their floors" in decide(standing(look=both), RULES).reason


def test_a_review_stops_for_ambiguity_or_asks_for_labels():
    vague = decide(standing(review=reviewed(ambiguous=share(0.7, 0.58))), RULES)
    assert vague.verdict is StopVerdict.STOP_AMBIGUITY
    assert "of 60 reviewed failures 70% ambiguous (at least 58%)" in vague.reason
    wrong = decide(standing(review=reviewed(label=share(0.35, 0.24))), RULES)
    assert wrong.verdict is StopVerdict.FIX_LABELS
    assert "35% wrong labels (at least 24%)" in wrong.reason
    neither = decide(standing(review=reviewed()), RULES)
    assert neither.verdict is StopVerdict.CONTINUE
    assert "60 reviewed failures" in neither.reason


def test_a_plateau_stops_only_when_it_comes_twice():
    flat = forecast(gain=Range(0.001, 0.0, 0.004), gain_at_most=0.003, flat=True)
    once = decide(standing(outlook=flat), RULES)
    assert once.verdict is StopVerdict.CONTINUE
    assert "(not worth it: once more, and the loop stops); AP50 0.412" in once.reason
    twice = decide(standing(outlook=flat, flat_before=True), RULES)
    assert twice.verdict is StopVerdict.STOP_PLATEAU
    assert "at most 0.3 (90 % sure), and 0.5 is the least that was asked" in twice.reason
    poor = forecast(gain_at_most=0.02, worth=120.0, pays=0.2, flat=True)
    unpaid = decide(standing(outlook=poor, flat_before=True), RULES)
    assert unpaid.verdict is StopVerdict.STOP_PLATEAU
    assert "that is worth 120 € and costs 310" in unpaid.reason
    assert decide(standing(outlook=forecast(), flat_before=True), RULES).verdict is (
        StopVerdict.CONTINUE
    )


def test_the_whole_order_of_the_verdicts():
    flat = forecast(gain_at_most=0.001, flat=True)
    state = standing(
        metric=0.66,
        look=LOOK,
        review=reviewed(ambiguous=share(0.8, 0.7), label=share(0.4, 0.3)),
        outlook=flat,
        flat_before=True,
        images=2_000,
        pool_left=0,
        golden=GoldenVerdict.FAIL,
    )
    found = []
    for relief in (
        {"golden": GoldenVerdict.PASS},
        {"review": reviewed(ambiguous=share(0.8, 0.7))},
        {"look": None, "metric": 0.4},
        {"review": None},
        {"flat_before": False},
        {"images": 100},
        {"pool_left": 9},
    ):
        found.append(decide(state, RULES).verdict)
        state = replace(state, **relief)
    assert found == [
        StopVerdict.FIX_LABELS,
        StopVerdict.FIX_LABELS,
        StopVerdict.STOP_TARGET,
        StopVerdict.STOP_AMBIGUITY,
        StopVerdict.STOP_PLATEAU,
        StopVerdict.STOP_BUDGET,
        StopVerdict.STOP_POOL_EMPTY,
    ]
    assert decide(state, RULES).verdict is StopVerdict.CONTINUE


def test_money_is_a_budget_like_any_other():
    rule = rules(budget_images=None, budget_money=500.0)
    assert decide(standing(money=499.0), rule).verdict is StopVerdict.CONTINUE
    stop = decide(standing(money=510.0), rule)
    assert stop.verdict is StopVerdict.STOP_BUDGET
    assert "510 of 500 € spent" in stop.reason
    assert decide(standing(money=None), rule).verdict is StopVerdict.CONTINUE
