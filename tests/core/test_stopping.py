import pytest

from annoloop.core.stopping import Rules, Standing, decide
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
