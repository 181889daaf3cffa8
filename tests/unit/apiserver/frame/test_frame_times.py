"""Times and durations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver.timestamps import SECOND, parse_duration, parse_moment, parse_rfc3339, parse_unix, rfc3339
from store.errors import InvalidParameterError


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0001-01-01T00:00:00Z"),
        (1_600_000_000 * SECOND, "2020-09-13T12:26:40Z"),
        (1_600_000_000 * SECOND + 120_000_000, "2020-09-13T12:26:40.12Z"),
        (1_600_000_000 * SECOND + 1, "2020-09-13T12:26:40.000000001Z"),
    ],
)
def test_a_time_has_as_many_decimals_as_it_needs(ns: int, text: str) -> None:
    assert rfc3339(ns) == text


@given(st.integers(1, 2**62))
def test_a_time_survives_being_written_and_read(ns: int) -> None:
    assert parse_rfc3339(rfc3339(ns)) == ns


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1h30m", 5400 * SECOND),
        ("-1.5s", -3 * SECOND // 2),
        ("100ms", SECOND // 10),
        ("0", 0),
        ("1us", 1000),
        ("1µs", 1000),
    ],
)
def test_a_duration_is_read_as_go_reads_it(text: str, ns: int) -> None:
    assert parse_duration(text) == ns


@pytest.mark.parametrize("text", ["", "1", "x", "1x", "1s1", "s", ".s", "1h 2m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "part"), [("x", "x"), ("1.x", "x"), ("2020-13-01", "2020-13-01"), ("5m", "5m"), ("1.2.3", "2.3")]
)
def test_a_unix_time_that_is_none_is_refused_in_gos_words(text: str, part: str) -> None:
    with pytest.raises(InvalidParameterError) as refused:
        parse_unix(text)
    assert str(refused.value) == f'strconv.ParseInt: parsing "{part}": invalid syntax'


def test_a_unix_time_may_have_nanoseconds() -> None:
    assert parse_unix("10.5") == 10_500_000_000
    assert parse_unix("10.000000001") == 10_000_000_001


def test_a_moment_may_be_a_duration_back_a_date_or_a_unix_time() -> None:
    assert parse_moment("10m", now=1000 * SECOND) == 400 * SECOND
    assert parse_moment("1970-01-01T00:00:10+00:00") == 10 * SECOND
    assert parse_moment("1970-01-02") == 86400 * SECOND
    assert parse_moment("12.5") == 12_500_000_000
    with pytest.raises(InvalidParameterError, match=r'^failed to parse value as time or duration: "x"$'):
        parse_moment("x")
