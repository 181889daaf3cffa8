"""Making decoded JSON fit a struct type as Go would: keys in any case, null as absent, and Go's words."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec
from msgspec import inspect

from store.errors import InvalidParameterError

_INT64 = (-(2**63), 2**63)
# Bounds of Go's narrower types; what is unsigned in dockerd and beyond 63 bits has no use here.
_BOUNDS = {"uint16": (0, 2**16), "uint": (0, 2**32), "uint64": (0, 2**63), "fs.FileMode": (0, 2**32)}

GO_NAMES: dict[str, str] = {
    "UpdateRequest": "container.UpdateConfig",
    "CreateRequest": "runconfig.ContainerConfigWrapper",
    "ContainerConfig": "container.Config",
    "HostConfig": "container.HostConfig",
    "HealthConfig": "container.HealthConfig",
    "ExecCreateRequest": "types.ExecConfig",
    "ExecStartRequest": "types.ExecStartCheck",
    "NetworkConnectRequest": "types.NetworkConnect",
    "NetworkDisconnectRequest": "types.NetworkDisconnect",
    "NetworkingConfig": "network.NetworkingConfig",
    "EndpointRequest": "network.EndpointSettings",
    "EndpointIPAMConfig": "network.EndpointIPAMConfig",
    "PortBinding": "nat.PortBinding",
    "RestartPolicy": "container.RestartPolicy",
    "LogConfig": "container.LogConfig",
    "Ulimit": "units.Ulimit",
    "DeviceMapping": "container.DeviceMapping",
    "DeviceRequest": "container.DeviceRequest",
    "ThrottleDevice": "blkiodev.ThrottleDevice",
    "WeightDevice": "blkiodev.WeightDevice",
    "Mount": "mount.Mount",
    "BindOptions": "mount.BindOptions",
    "VolumeOptions": "mount.VolumeOptions",
    "TmpfsOptions": "mount.TmpfsOptions",
    "DriverConfig": "mount.Driver",
}
"""What dockerd calls our types; a struct class may also say it itself as ``go_name`` (``package.Type``)."""

_FIELD_TYPES: dict[tuple[str, str], str] = {
    # A list, or else a text, whose complaint is the last.
    ("ContainerConfigWrapper", "Cmd"): "string",
    ("ContainerConfigWrapper", "Entrypoint"): "string",
    ("ContainerConfigWrapper", "ExposedPorts"): "nat.PortSet",
    ("ContainerConfigWrapper", "StopTimeout"): "int",
    ("ContainerConfigWrapper", "Volumes"): "map[string]struct {}",
    ("HealthConfig", "Interval"): "time.Duration",
    ("HealthConfig", "Timeout"): "time.Duration",
    ("HealthConfig", "StartPeriod"): "time.Duration",
    ("HealthConfig", "Retries"): "int",
    ("HostConfig", "PortBindings"): "nat.PortMap",
    ("HostConfig", "OomScoreAdj"): "int",
    ("HostConfig", "BlkioWeight"): "uint16",
    ("HostConfig", "ConsoleSize"): "uint",
    ("HostConfig", "IOMaximumIOps"): "uint64",
    ("HostConfig", "IOMaximumBandwidth"): "uint64",
    ("UpdateConfig", "BlkioWeight"): "uint16",
    ("WeightDevice", "Weight"): "uint16",
    ("ThrottleDevice", "Rate"): "uint64",
    ("TmpfsOptions", "Mode"): "fs.FileMode",
    ("RestartPolicy", "MaximumRetryCount"): "int",
}


def kind_of(value: Any) -> str:
    """What Go's decoder calls a value in its complaints."""
    match value:
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case dict():
            return "object"
        case _:
            return "null"


@cache
def _shape(kind: type) -> inspect.Type:
    return inspect.type_info(kind)


@cache
def _fields(struct: type[msgspec.Struct]) -> Mapping[str, inspect.Field]:
    info = _shape(struct)
    assert isinstance(info, inspect.StructType)
    return {field.encode_name: field for field in info.fields}


@cache
def _folded(struct: type[msgspec.Struct]) -> Mapping[str, str]:
    return {name.lower(): name for name in _fields(struct)}


def _go_name(struct: type) -> str:
    return getattr(struct, "go_name", None) or GO_NAMES.get(struct.__name__, f"types.{struct.__name__}")


class _Place:
    """Where in the body a value stands: the innermost struct, and the names from the outermost down."""

    __slots__ = ("path", "struct")

    def __init__(self, struct: str = "", path: tuple[str, ...] = ()) -> None:
        self.struct = struct
        self.path = path

    def refuse(self, value: Any, go_type: str) -> InvalidParameterError:
        kind = kind_of(value)
        if kind == "number" and go_type.startswith(("int", "uint", "time.", "fs.")):
            kind = f"number {value}"
        if not self.path:
            return InvalidParameterError(f"json: cannot unmarshal {kind} into Go value of type {go_type}")
        field = ".".join((self.struct, *self.path))
        return InvalidParameterError(f"json: cannot unmarshal {kind} into Go struct field {field} of type {go_type}")


def conform(value: Any, kind: type) -> Any:
    """The value with keys spelled as ``kind`` has them and nulls that Go would ignore left out.

    Raises InvalidParameterError, in the words of Go's decoder, where a value cannot fit.
    """
    return _fit({} if value is None else value, _shape(kind), _Place())


def _fit(value: Any, shape: inspect.Type, place: _Place) -> Any:
    match shape:
        case inspect.StructType():
            return _fit_struct(value, shape.cls, place)
        case inspect.UnionType():
            return _fit_union(value, shape, place)
        case inspect.ListType():
            if not isinstance(value, list):
                raise place.refuse(value, _go_type(shape, place))
            return [_fit_element(item, shape.item_type, place) for item in value]
        case inspect.TupleType():
            if not isinstance(value, list):
                raise place.refuse(value, _go_type(shape, place))
            length = len(shape.item_types)
            padded = value[:length] + [None] * (length - len(value))
            return [_fit_element(item, kind, place) for item, kind in zip(padded, shape.item_types, strict=True)]
        case inspect.DictType():
            if not isinstance(value, dict):
                raise place.refuse(value, _go_type(shape, place))
            return {key: _fit_element(item, shape.value_type, place) for key, item in value.items()}
        case inspect.AnyType() | inspect.RawType() | inspect.LiteralType() | inspect.EnumType():
            return value
        case inspect.IntType():
            go_type = _go_type(shape, place)
            low, high = _BOUNDS.get(go_type, _INT64)
            if type(value) is not int or not low <= value < high:
                raise place.refuse(value, go_type)
            return value
        case inspect.FloatType():
            if type(value) not in (int, float):
                raise place.refuse(value, "float64")
            return value
        case inspect.StrType():
            if type(value) is not str:
                raise place.refuse(value, "string")
            return value
        case inspect.BoolType():
            if type(value) is not bool:
                raise place.refuse(value, "bool")
            return value
        case _:
            return value


def _fit_struct(value: Any, struct: type[msgspec.Struct], place: _Place) -> dict[str, Any]:
    name = _go_name(struct)
    if not isinstance(value, dict):
        raise place.refuse(value, name)
    fields, folded, short = _fields(struct), _folded(struct), name.rpartition(".")[2]
    fitted: dict[str, Any] = {}
    for key, item in value.items():
        known = key if key in fields else folded.get(key.lower())
        if known is None:
            continue
        field = fields[known]
        if item is None and not _nullable(field.type):
            continue
        fitted[known] = _fit(item, field.type, _Place(short, (*place.path, known)))
    for known, field in fields.items():
        if field.required and known not in fitted:
            fitted[known] = _zero(field.type)
    return fitted


def _fit_union(value: Any, shape: inspect.UnionType, place: _Place) -> Any:
    if value is None and _nullable(shape):
        return None
    choices = [choice for choice in shape.types if not isinstance(choice, inspect.NoneType)]
    if len(choices) > 1:
        if isinstance(value, str) and any(isinstance(choice, inspect.StrType) for choice in choices):
            return value
        choices = [choice for choice in choices if not isinstance(choice, inspect.StrType)] or choices
    return _fit(value, choices[0], place)


def _fit_element(value: Any, shape: inspect.Type, place: _Place) -> Any:
    if value is None and not _nullable(shape):
        return _zero(shape)
    return _fit(value, shape, place)


def _nullable(shape: inspect.Type) -> bool:
    if isinstance(shape, inspect.UnionType):
        return any(isinstance(choice, inspect.NoneType) for choice in shape.types)
    return isinstance(shape, inspect.AnyType | inspect.NoneType | inspect.RawType)


def _zero(shape: inspect.Type) -> Any:
    match shape:
        case inspect.StructType():
            return _fit_struct({}, shape.cls, _Place())
        case inspect.StrType():
            return ""
        case inspect.IntType() | inspect.FloatType():
            return 0
        case inspect.BoolType():
            return False
        case inspect.ListType() | inspect.VarTupleType():
            return []
        case inspect.DictType():
            return {}
        case _:
            return None


def _go_type(shape: inspect.Type, place: _Place) -> str:
    if place.path and not isinstance(shape, inspect.TupleType):
        known = _FIELD_TYPES.get((place.struct, place.path[-1]))
        if known is not None:
            return known
    match shape:
        case inspect.StrType():
            return "string"
        case inspect.IntType():
            return "int64"
        case inspect.BoolType():
            return "bool"
        case inspect.FloatType():
            return "float64"
        case inspect.StructType():
            return _go_name(shape.cls)
        case inspect.ListType():
            return "[]" + _go_type(shape.item_type, _Place())
        case inspect.TupleType():
            return f"[{len(shape.item_types)}]" + _go_type(shape.item_types[0], _Place())
        case inspect.DictType():
            return "map[string]" + _go_type(shape.value_type, _Place())
        case inspect.UnionType():
            return _go_type(next(kind for kind in shape.types if not isinstance(kind, inspect.NoneType)), _Place())
        case _:
            return "interface {}"
