"""References as distribution's grammar has them; what dockerd 20.10 answered is in the tables."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from controllers.images import references
from controllers.images.references import Reference, parse
from store.errors import InvalidParameterError

DIGEST = "sha256:" + "a" * 64
UPPER_CASE = "invalid reference format: repository name must be lowercase"
INVALID = "invalid reference format"

component = st.from_regex(r"[a-z0-9]+(?:(?:\.|_|__|-{1,3})[a-z0-9]+){0,2}", fullmatch=True)
registry = st.sampled_from(["docker.io", "localhost", "localhost:5000", "127.0.0.1:5000", "a.b", "A.b:1", "x-y.z"])
tag = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)


@st.composite
def anything(draw: st.DrawFn) -> Reference:
    path = "/".join(draw(st.lists(component, min_size=1, max_size=3)))
    host = draw(registry)
    if host == "docker.io" and "/" not in path:
        path = "library/" + path
    return Reference(host, path, draw(st.just("") | tag), draw(st.sampled_from(["", DIGEST])))


@given(anything())
def test_a_full_reference_is_read_back_as_it_was(reference: Reference) -> None:
    assert parse(reference.full) == reference
    assert references.stored(reference.full) == reference


@given(anything())
def test_a_familiar_reference_means_the_same(reference: Reference) -> None:
    # Docker Hub has no names that look like a registry's: shortened, they would mean that.
    first = reference.path.partition("/")[0]
    assume(reference.registry != "docker.io" or not ("." in first or first == "localhost"))
    assert parse(reference.familiar) == reference


@given(st.text(alphabet="abA0.-_/:@ é", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        reference = parse(text)
    except InvalidParameterError:
        return
    assert parse(reference.full) == reference


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("busybox", "docker.io/library/busybox", "busybox"),
        ("library/busybox:1", "docker.io/library/busybox:1", "busybox:1"),
        ("index.docker.io/busybox", "docker.io/library/busybox", "busybox"),
        ("a/b", "docker.io/a/b", "a/b"),
        ("library/a/b", "docker.io/library/a/b", "library/a/b"),
        ("localhost/x", "localhost/x", "localhost/x"),
        ("localhost:5000/x:y", "localhost:5000/x:y", "localhost:5000/x:y"),
        (f"x@{DIGEST}", f"docker.io/library/x@{DIGEST}", f"x@{DIGEST}"),
        (f"x:y@{DIGEST}", f"docker.io/library/x:y@{DIGEST}", f"x:y@{DIGEST}"),
    ],
)
def test_names_are_completed_and_shortened(text: str, full: str, familiar: str) -> None:
    assert (parse(text).full, parse(text).familiar) == (full, familiar)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", INVALID),
        (":a", INVALID),
        ("a:", INVALID),
        ("a:-x", INVALID),
        ("a..b", INVALID),
        ("a___b", INVALID),
        ("-a", INVALID),
        ("a b", INVALID),
        ("a@", INVALID),
        ("a:" + "t" * 129, INVALID),
        ("A", UPPER_CASE),
        ("UPPER/x", UPPER_CASE),
        (".A", UPPER_CASE),
        ("a@sha256:" + "a" * 33, "invalid checksum digest length"),
        ("a@sha256:" + "A" * 64, "invalid checksum digest format"),
        ("a@md5:" + "0" * 32, "unsupported digest algorithm"),
        ("x.y/" + "a" * 252, "repository name must not be more than 255 characters"),
        ("0" * 64, f"invalid repository name ({'0' * 64}), cannot specify 64-byte hexadecimal strings"),
    ],
)
def test_what_is_no_reference_is_refused_in_dockerds_words(text: str, message: str) -> None:
    with pytest.raises(InvalidParameterError) as refused:
        parse(text)
    assert str(refused.value) == message


def test_a_tag_beside_its_repository_replaces_the_one_inside() -> None:
    assert references.join("a/b:c", "d").familiar == "a/b:d"
    assert references.join("a/b", "").familiar == "a/b:latest"
    assert references.join("a/b", DIGEST).familiar == f"a/b@{DIGEST}"


def test_a_tag_beside_its_repository_has_to_be_one() -> None:
    with pytest.raises(InvalidParameterError, match="invalid tag format"):
        references.join("a", "@")


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("busy*", "busybox:latest", True),
        ("busybox", "busybox:latest", True),
        ("*", "a/b:c", False),
        ("*/b", "a/b:c", True),
        ("a/?:c", "a/b:c", True),
        ("[a-c]usy*", "busybox:1", True),
        ("[^b]usy*", "busybox:1", False),
        (r"busybo\x", "busybox:1", True),
        ("busybox.1", "busybox:1", False),
        ("*b*b*x*", "busybox:1", True),
        ("*y*b*u*", "busybox:1", False),
        ("a*/b*", "ax/bx:1", True),
        ("*x/b*:1", "axx/bx:1", True),
        ("*a" * 100 + "*b", "a" * 200 + ":1", False),
    ],
)
def test_patterns_are_gos(pattern: str, name: str, fits: bool) -> None:
    assert references.matches(pattern, name) is fits


@pytest.mark.parametrize("pattern", ["[a", "a\\", "[]"])
def test_a_broken_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidParameterError, match="syntax error in pattern"):
        references.matches(pattern, "busybox:1")


@given(st.text(alphabet="ab*?[]^-\\/.:(|)&~", max_size=20))
def test_any_pattern_is_tried_or_refused(pattern: str) -> None:
    with contextlib.suppress(InvalidParameterError):
        references.matches(pattern, "a/b:c")
