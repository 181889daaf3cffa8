"""Query parameters and filters."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from apiserver.queries import Filters, Query, parse_filters
from store.errors import InvalidParameterError


@pytest.mark.parametrize("text", ["", "0", "no", "false", "none", "No", "FALSE", " none "])
def test_a_flag_is_false_for_the_words_that_dockerd_takes_for_false(text: str) -> None:
    assert Query(f"all={quote(text)}").flag("all") is False


@pytest.mark.parametrize("text", ["1", "true", "yes", "maybe", "-1"])
def test_a_flag_is_true_for_everything_else(text: str) -> None:
    assert Query(f"all={text}").flag("all") is True


def test_an_absent_flag_is_its_default() -> None:
    assert Query("").flag("stdout", True) is True
    assert Query("stdout").flag("stdout", True) is False


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x", 'strconv.Atoi: parsing "x": invalid syntax'),
        ("1.5", 'strconv.Atoi: parsing "1.5": invalid syntax'),
        ("99999999999999999999", 'strconv.Atoi: parsing "99999999999999999999": value out of range'),
        ("9" * 100, f'strconv.Atoi: parsing "{"9" * 100}": value out of range'),
        ("\u0663", 'strconv.Atoi: parsing "\u0663": invalid syntax'),
    ],
)
def test_a_number_that_is_none_is_refused_in_gos_words(text: str, words: str) -> None:
    with pytest.raises(InvalidParameterError) as refused:
        Query(f"n={quote(text)}").integer("n")
    assert str(refused.value) == words


@pytest.mark.parametrize(("text", "number"), [("5", 5), ("-1", -1), ("%2B7", 7), ("", 3)])
def test_a_number_may_have_a_sign_or_be_left_to_its_default(text: str, number: int) -> None:
    assert Query(f"n={text}").integer("n", 3) == number


@pytest.mark.parametrize("raw", ["%zz", "all=%zz", "%z=1", "a=%2"])
def test_a_broken_escape_is_refused(raw: str) -> None:
    with pytest.raises(InvalidParameterError, match="invalid URL escape"):
        Query(raw)


def test_values_are_unescaped_and_repeated_ones_kept_in_order() -> None:
    query = Query("n=a%2Fb+c&n=%C3%A9&other&&x=1=2")
    assert query.many("n") == ["a/b c", "é"]
    assert query.text("n") == "a/b c"
    assert "other" in query
    assert query.text("x") == "1=2"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{bad", "invalid character 'b' looking for beginning of object key string"),
        ("x", "invalid character 'x' looking for beginning of value"),
        ("[]", "json: cannot unmarshal array into Go value of type map[string]map[string]bool"),
        ('""', "json: cannot unmarshal string into Go value of type map[string]map[string]bool"),
        ('{"status":"running"}', "json: cannot unmarshal string into Go value of type map[string]bool"),
        ('{"status":[1]}', "json: cannot unmarshal array into Go value of type map[string]bool"),
        ('{"status":{"running":"x"}}', "json: cannot unmarshal string into Go value of type bool"),
    ],
)
def test_filters_that_cannot_be_are_refused_in_dockerds_words(text: str, words: str) -> None:
    with pytest.raises(InvalidParameterError) as refused:
        parse_filters(text)
    assert str(refused.value) == words


def test_filters_come_as_lists_and_in_the_shape_of_old_clients() -> None:
    assert parse_filters('{"status":["a","b"]}').values("status") == ["a", "b"]
    assert parse_filters('{"status":{"a":true,"b":false}}').values("status") == ["a"]
    assert not parse_filters("null")
    assert not parse_filters("")


def test_a_filter_that_is_not_allowed_is_refused_by_name() -> None:
    given = quote('{"bogus":["x"]}')
    with pytest.raises(InvalidParameterError, match=r"^Invalid filter 'bogus'$"):
        Query(f"filters={given}").filters({"status"})


def test_labels_match_by_key_or_by_key_and_value() -> None:
    labels = {"a": "1", "b": ""}
    assert Filters({"label": ["a", "a=1", "b="]}).labels("label", labels)
    assert not Filters({"label": ["a=2"]}).labels("label", labels)
    assert not Filters({"label": ["c"]}).labels("label", labels)


def test_a_filter_of_truth_takes_dockerds_four_words_only() -> None:
    assert Filters({"dangling": ["1"]}).flag("dangling")
    assert not Filters({"dangling": ["false"]}).flag("dangling", True)
    assert Filters({}).flag("dangling", True)
    with pytest.raises(InvalidParameterError, match=r"^Invalid filter 'dangling=\[x\]'$"):
        Filters({"dangling": ["x"]}).flag("dangling")


def test_a_name_matches_as_text_or_as_an_expression_and_a_broken_one_never() -> None:
    assert Filters({"name": ["^we"]}).match("name", "web")
    assert Filters({"name": ["web"]}).match("name", "web")
    assert not Filters({"name": ["("]}).match("name", "web")
    assert Filters({}).match("name", "web")


def test_an_expression_takes_no_longer_than_its_text() -> None:
    # With any other engine this is not over before the sun is.
    assert not Filters.pattern("(a*)*b", "a" * 50_000)


@pytest.mark.parametrize("pattern", ["(", "a{1001}", "[", "\\", "\ud800"])
def test_an_expression_that_is_none_matches_nothing_and_says_nothing(
    pattern: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert not Filters.pattern(pattern, pattern)
    assert capfd.readouterr().err == ""
