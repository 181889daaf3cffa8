"""JSON as Go reads it; the words were taken from dockerd 20.10.24."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver.gojson import MAX_DEPTH, decode, decode_any
from apiserver.wire.containers import CreateRequest
from store.errors import InvalidParameterError


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{bad", "invalid character 'b' looking for beginning of object key string"),
        (b"", "EOF"),
        (b"{", "unexpected EOF"),
        (b"nul", "unexpected EOF"),
        (b'{"a":"\x01"}', "invalid character '\\x01' in string literal"),
        (b'{"a":"b\nc"}', "invalid character '\\n' in string literal"),
        (b'{"Name":"x",}', "invalid character '}' looking for beginning of object key string"),
        (b'{"Name" "x"}', "invalid character '\"' after object key"),
        (b'{"a":1 "b"}', "invalid character '\"' after object key:value pair"),
        (b'{"a":1e}', "invalid character '}' in exponent of numeric literal"),
        (b'{"a":-}', "invalid character '}' in numeric literal"),
        (b'{"a":1.}', "invalid character '}' after decimal point in numeric literal"),
        (b'{"a":"\\q"}', "invalid character 'q' in string escape code"),
        (b'{"a":"\\uz"}', "invalid character 'z' in \\u hexadecimal character escape"),
        (b"{'a'}", "invalid character '\\'' looking for beginning of object key string"),
        (b'["a" 1]', "invalid character '1' after array element"),
        (b"[tru]", "invalid character ']' in literal true (expecting 'e')"),
        (b"x", "invalid character 'x' looking for beginning of value"),
        (b"[" * (MAX_DEPTH + 1), "invalid character '[' exceeded max depth"),
        (b"[" * 20_000, "invalid character '[' exceeded max depth"),
        (b"truex", "json: cannot unmarshal bool into Go value of type runconfig.ContainerConfigWrapper"),
        (b"[]", "json: cannot unmarshal array into Go value of type runconfig.ContainerConfigWrapper"),
        (b'"x"', "json: cannot unmarshal string into Go value of type runconfig.ContainerConfigWrapper"),
        (
            b'{"Image":3}',
            "json: cannot unmarshal number into Go struct field ContainerConfigWrapper.Image of type string",
        ),
        (
            b'{"Labels":[1]}',
            "json: cannot unmarshal array into Go struct field ContainerConfigWrapper.Labels of type map[string]string",
        ),
        (
            b'{"Env":"x"}',
            "json: cannot unmarshal string into Go struct field ContainerConfigWrapper.Env of type []string",
        ),
        (
            b'{"Env":[1]}',
            "json: cannot unmarshal number into Go struct field ContainerConfigWrapper.Env of type string",
        ),
        (
            b'{"Tty":1}',
            "json: cannot unmarshal number into Go struct field ContainerConfigWrapper.Tty of type bool",
        ),
        (
            b'{"StopTimeout":"x"}',
            "json: cannot unmarshal string into Go struct field ContainerConfigWrapper.StopTimeout of type int",
        ),
        (
            b'{"Healthcheck":{"Interval":"1s"}}',
            "json: cannot unmarshal string into Go struct field HealthConfig.Healthcheck.Interval "
            "of type time.Duration",
        ),
        (
            b'{"HostConfig":[]}',
            "json: cannot unmarshal array into Go struct field ContainerConfigWrapper.HostConfig "
            "of type container.HostConfig",
        ),
        (
            b'{"HostConfig":{"Memory":"x"}}',
            "json: cannot unmarshal string into Go struct field HostConfig.HostConfig.Memory of type int64",
        ),
        (
            b'{"HostConfig":{"Memory":1.5}}',
            "json: cannot unmarshal number 1.5 into Go struct field HostConfig.HostConfig.Memory of type int64",
        ),
        (
            b'{"HostConfig":{"Memory":99999999999999999999}}',
            "json: cannot unmarshal number 99999999999999999999 into Go struct field HostConfig.HostConfig.Memory "
            "of type int64",
        ),
        (
            b'{"HostConfig":{"OomScoreAdj":1.0}}',
            "json: cannot unmarshal number 1.0 into Go struct field HostConfig.HostConfig.OomScoreAdj of type int",
        ),
        (
            b'{"HostConfig":{"RestartPolicy":{"Name":3}}}',
            "json: cannot unmarshal number into Go struct field RestartPolicy.HostConfig.RestartPolicy.Name "
            "of type string",
        ),
        (
            b'{"HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":80}]}}}',
            "json: cannot unmarshal number into Go struct field PortBinding.HostConfig.PortBindings.HostPort "
            "of type string",
        ),
        (
            b'{"NetworkingConfig":{"EndpointsConfig":{"x":3}}}',
            "json: cannot unmarshal number into Go struct field NetworkingConfig.NetworkingConfig.EndpointsConfig "
            "of type network.EndpointSettings",
        ),
        (
            b'{"HostConfig":{"Devices":[{"PathOnHost":[]}]}}',
            "json: cannot unmarshal array into Go struct field DeviceMapping.HostConfig.Devices.PathOnHost "
            "of type string",
        ),
    ],
)
def test_a_body_that_cannot_be_is_refused_in_dockerds_words(body: bytes, words: str) -> None:
    with pytest.raises(InvalidParameterError) as refused:
        decode(body, CreateRequest)
    assert str(refused.value) == words


def test_keys_match_whatever_their_case() -> None:
    assert decode(b'{"image":"a","HOSTCONFIG":{"memory":3}}', CreateRequest).host_config.memory == 3  # type: ignore[union-attr]


def test_null_leaves_a_field_as_it_was() -> None:
    request = decode(b'{"Image":null,"Hostname":null,"HostConfig":{"Memory":null}}', CreateRequest)
    assert (request.image, request.hostname) == ("", "")


def test_a_body_of_null_is_an_empty_object() -> None:
    assert decode(b"null", CreateRequest) == CreateRequest()


@pytest.mark.parametrize("rest", [b"{}", b" garbage", b"}"])
def test_what_follows_the_first_value_is_ignored(rest: bytes) -> None:
    assert decode(b'{"Image":"a"}' + rest, CreateRequest).image == "a"


def test_the_last_of_equal_keys_counts_and_unknown_ones_do_not() -> None:
    assert decode(b'{"Image":"a","Bogus":{"x":[1]},"Image":"b"}', CreateRequest).image == "b"


def test_broken_utf8_in_a_string_is_replaced_as_go_does() -> None:
    assert decode(b'{"Image":"a\xff"}', CreateRequest).image == "a\ufffd"


def test_a_command_may_be_one_string() -> None:
    assert decode(b'{"Cmd":"sh"}', CreateRequest).cmd == "sh"


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(json_values, st.binary(max_size=5))
def test_any_value_is_read_whatever_follows_it(value: object, rest: bytes) -> None:
    text = msgspec.json.encode(value)
    # A number could go on in what follows.
    assert decode_any(text + b" " + rest) == msgspec.json.decode(text)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_and_never_crash(body: bytes) -> None:
    with contextlib.suppress(InvalidParameterError):
        decode(body, CreateRequest)
