"""Options: reading, bounds, layers."""

from dataclasses import dataclass
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microdeconv.errors import UsageError
from microdeconv.options import (
    Auto,
    Sourced,
    build,
    convert,
    expected,
    for_channel,
    layered,
    option,
    options_of,
    per_channel,
    settled_for,
)
from microdeconv.request import all_options


@dataclass(frozen=True)
class Sample:
    count: int | Auto = option("auto", "A count.", panel="P", low=1, high=10)
    size: float = option(1.5, "A size.", panel="P", flag="the-size", low=0.0)
    kind: Literal["fine", "coarse"] = option("fine", "A kind.", panel="P")
    on: bool = option(False, "A switch.", panel="P")
    each: tuple[float, ...] | Auto = option("auto", "One a channel.", panel="P", parse=per_channel(float), high=100)


COUNT, SIZE, KIND, ON, EACH = options_of(Sample)


@pytest.mark.parametrize(
    ("one", "raw", "value"),
    [(COUNT, "3", 3), (COUNT, "auto", "auto"), (COUNT, 1e1, 10), (SIZE, "0", 0.0), (KIND, "coarse", "coarse"),
     (ON, "yes", True), (ON, False, False), (EACH, "1,auto, 3", (1.0, "auto", 3.0)), (EACH, [2, 3], (2.0, 3.0)), (EACH, "7", 7.0), (EACH, ["auto"] * 2, "auto"),
     (EACH, "auto", "auto")],
)  # fmt: skip
def test_values_are_read(one, raw, value):
    assert convert(one, raw) == value


@pytest.mark.parametrize(
    ("one", "raw", "words"),
    [(COUNT, "0", "below 1"), (COUNT, "11", "above 10"), (COUNT, "2.5", "not a whole number"), (COUNT, "abc", "number"),
     (COUNT, "nan", "finite"), (SIZE, "inf", "finite"), (SIZE, True, "not a number"), (KIND, "corse", "did you mean coarse"),
     (ON, "perhaps", "not understood"), (EACH, "1,x", "not a number"), (EACH, "5,200", "above 100"), (EACH, [], "empty")],
)  # fmt: skip
def test_nonsense_is_refused_with_the_reason(one, raw, words):
    with pytest.raises(UsageError, match=words) as caught:
        convert(one, raw)
    assert f"--{one.flag}" in str(caught.value)


def test_names_and_expectations():
    assert SIZE.flag == "the-size"
    assert SIZE.key == "the_size"
    assert expected(COUNT) == "a whole number from 1 to 10 or auto"
    assert KIND.choices == ("fine", "coarse")
    assert COUNT.choices == ()


def test_later_layers_win_and_say_so():
    found = layered(options_of(Sample), [("file", {"count": 2, "kind": None}), ("line", {"count": 3})])
    assert found["count"] == Sourced(3, "line")
    assert found["kind"] == Sourced("fine", "default")
    assert build(Sample, found) == Sample(count=3)


layer = st.dictionaries(st.sampled_from(["count", "the_size", "on"]), st.integers(1, 9), max_size=3)


@given(layer, layer, layer)
def test_merging_is_associative(a, b, c):
    options = options_of(Sample)
    joined = layered(options, [("x", {**a, **b}), ("x", c)])
    assert joined == layered(options, [("x", a), ("x", {**b, **c})])


def test_a_group_is_settled_for_a_channel():
    assert settled_for(Sample(each=(1.0, "auto")), 1) == Sample(each="auto")
    assert settled_for(Sample(each=3.0, count=2), 1) == Sample(each=3.0, count=2)


def test_the_last_value_serves_all_later_channels():
    assert [for_channel((1, 2), c) for c in range(4)] == [1, 2, 2, 2]
    assert for_channel("auto", 3) == "auto"


@given(st.sampled_from(all_options()), st.text(max_size=12) | st.floats() | st.integers())
def test_no_option_ever_fails_in_another_way(one, raw):
    try:
        convert(one, raw)
    except UsageError as refused:
        assert refused.exit_code == 2
