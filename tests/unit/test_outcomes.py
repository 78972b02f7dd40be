"""How pictures of several readings come out."""

import pytest

from fun.judging.outcomes import outcomes
from fun.judging.scores import wilson_interval

T, F = True, False


def values(metrics):
    return {metric["name"]: (round(metric["value"] * metric["n"]), metric["n"]) for metric in metrics}


def test_two_readings_both_only_one_or_neither():
    six, nine = [T, T, T, F, F, None], [T, T, F, T, F, T]
    metrics = outcomes(["“six” under identity", "“nine” under rotate_180"], [six, nine], ["“six”", "“nine”"])
    assert values(metrics) == {
        "“six” under identity": (3, 5),
        "“nine” under rotate_180": (4, 6),
        "all readings at once": (2, 5),
        "only “six”": (1, 5),
        "only “nine”": (1, 5),
        "no reading": (1, 5),
    }
    at_top = [metric for metric in metrics if "outcome" in metric]
    assert [metric["outcome"] for metric in at_top] == ["both", "only “six”", "only “nine”", "neither"]
    assert sum(metric["value"] for metric in at_top) == pytest.approx(1)
    assert (at_top[0]["low"], at_top[0]["high"]) == wilson_interval(2, 5)


def test_more_readings_all_some_or_none():
    metrics = outcomes("abc", [[T, T, F, F], [T, F, T, F], [T, F, F, F]])
    assert [(metric["outcome"], metric["value"]) for metric in metrics] == [
        ("a", 0.5),
        ("b", 0.5),
        ("c", 0.25),
        ("all", 0.25),
        ("some, not all", 0.5),
        ("none", 0.25),
    ]


def test_readings_of_one_short_name_keep_their_long_one():
    names = [metric["name"] for metric in outcomes(["a upright", "a turned"], [[T], [T]], ["a", "a"])]
    assert {"only a upright", "only a turned"} <= set(names)


def test_what_cannot_be_judged_has_no_outcome():
    assert values(outcomes("ab", [[None, None], [T, F]])) == {"b": (1, 2)}
    assert outcomes("ab", [[None], [None]]) == []
