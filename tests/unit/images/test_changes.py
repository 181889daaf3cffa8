"""Dockerfile lines on an import; the expected values and words are dockerd 20.10's own."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controllers.images.changes import apply
from store.errors import InvalidParameterError
from store.objects import ContainerConfig


def changed(*lines: str) -> dict[str, Any]:
    config: dict[str, Any] = msgspec.to_builtins(apply(ContainerConfig(), lines))
    return {name: value for name, value in config.items() if value not in (None, "", False)}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('CMD ["sh"]', {"Cmd": ["sh"]}),
        ("CMD", {"Cmd": ["/bin/sh", "-c"]}),
        ("cmd []", {"Cmd": []}),
        ('CMD ["a"] x', {"Cmd": ["a"]}),
        ('CMD echo "a  b" $x', {"Cmd": ["/bin/sh", "-c", 'echo "a  b" $x']}),
        ('ENTRYPOINT ["a","b"]', {"Entrypoint": ["a", "b"]}),
        ("ENTRYPOINT []", {}),
        ("ENV a b c", {"Env": ["a=b c"]}),
        ('ENV a="x y" b=c\\ d', {"Env": ["a=x y", "b=c d"]}),
        ("ENV a='$b'", {"Env": ["a=$b"]}),
        ("ENV x=$HOME y=${x}", {"Env": ["x=", "y="]}),
        ("ENV a=b\\\n c=d", {"Env": ["a=b", "c=d"]}),
        ('LABEL "a b"=c', {"Labels": {"a b": "c"}}),
        ("EXPOSE 80-82/tcp 53/udp", {"ExposedPorts": {"80/tcp": {}, "81/tcp": {}, "82/tcp": {}, "53/udp": {}}}),
        ("USER a b", {"User": "a b"}),
        ("VOLUME /a /b", {"Volumes": {"/a": {}, "/b": {}}}),
        ('VOLUME ["/a"]', {"Volumes": {"/a": {}}}),
        ("WORKDIR rel", {"WorkingDir": "/rel"}),
        ("ONBUILD run a", {"OnBuild": ["run a"]}),
        ("STOPSIGNAL SIGINT", {"StopSignal": "SIGINT"}),
        ("HEALTHCHECK NONE", {"Healthcheck": {"Test": ["NONE"]}}),
        (
            "HEALTHCHECK --interval=1m30s --timeout=1.5s --start-period=2h --retries=3 CMD a b",
            {
                "Healthcheck": {
                    "Test": ["CMD-SHELL", "a b"],
                    "Interval": 90_000_000_000,
                    "Timeout": 1_500_000_000,
                    "StartPeriod": 7_200_000_000_000,
                    "Retries": 3,
                }
            },
        ),
    ],
)
def test_a_line_changes_what_it_says(line: str, expected: dict[str, Any]) -> None:
    assert changed(line) == expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "file with no instructions"),
        ("# x", "file with no instructions"),
        ("FROM x", "from is not a valid change command"),
        ("SHELL []", "shell is not a valid change command"),
        ("ENV", "ENV requires at least one argument"),
        ("ENV a", "ENV must have two arguments"),
        ("ENV =b", "ENV names can not be blank"),
        ("ENV a=b c", 'Syntax error - can\'t find = in "c". Must be of the form: name=value'),
        ("ENV a=${b", "failed to process \"${b\": missing ':' in substitution"),
        (
            'ENV a="b',
            'failed to process "\\"b": unexpected end of statement while looking for matching double-quote',
        ),
        ("LABEL", "LABEL requires at least one argument"),
        ("EXPOSE x", "Invalid containerPort: x"),
        ("EXPOSE 99999", "Invalid containerPort: 99999"),
        ("EXPOSE 80/foo", "Invalid proto: foo"),
        ("USER", "USER requires exactly one argument"),
        ("WORKDIR", "WORKDIR requires exactly one argument"),
        ("VOLUME []", "VOLUME requires at least one argument"),
        ('VOLUME ""', "VOLUME specified can not be an empty string"),
        ("CMD [1]", "when using JSON array syntax, arrays must be comprised of strings only"),
        ("ONBUILD", "ONBUILD requires at least one argument"),
        ("ONBUILD ONBUILD x", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
        ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
        ("HEALTHCHECK", "HEALTHCHECK requires at least one argument"),
        ("HEALTHCHECK x", 'Unknown type "X" in HEALTHCHECK (try CMD)'),
        ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
        ("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"),
        ("HEALTHCHECK --foo=1 CMD x", "Unknown flag: foo"),
        ("HEALTHCHECK --interval=1 CMD x", 'time: missing unit in duration "1"'),
        ("HEALTHCHECK --retries=0 CMD x", "--retries must be at least 1 (not 0)"),
        ("HEALTHCHECK --retries=x CMD x", 'strconv.ParseInt: parsing "x": invalid syntax'),
    ],
)
def test_a_line_that_makes_no_sense_is_refused_in_dockerds_words(line: str, message: str) -> None:
    with pytest.raises(InvalidParameterError) as refused:
        changed(line)
    assert str(refused.value) == message


def test_later_lines_see_earlier_ones() -> None:
    assert changed("ENV a=1", "ENV b=$a a=2", "WORKDIR /x", "WORKDIR $b/y") == {
        "Env": ["a=2", "b=1"],
        "WorkingDir": "/x/1/y",
    }


def test_one_line_that_does_not_belong_spoils_all() -> None:
    with pytest.raises(InvalidParameterError, match="run is not"):
        changed("CMD x", "RUN y")


@given(
    st.lists(
        st.sampled_from(
            "CMD ENV LABEL EXPOSE VOLUME HEALTHCHECK ONBUILD USER [ ] \" ' \\ $ { } = a 1 / - \n".split(" ")
        )
    )
)
def test_any_line_is_applied_or_refused(parts: list[str]) -> None:
    try:
        changed(" ".join(parts))
        changed("".join(parts))
    except InvalidParameterError:
        return
