"""``google.cloud.ndb`` with the types that it lacks; for type checkers, which load nothing else."""

from __future__ import annotations

from typing import Any, TypeAlias

__all__ = [
    "BlobProperty",
    "DateTimeProperty",
    "IntegerProperty",
    "JsonProperty",
    "Model",
    "Property",
    "StringProperty",
]


class _ModelType(type):
    def __getattr__(cls, name: str) -> Any: ...


class Model(metaclass=_ModelType):
    """An entity; its properties and methods may be anything."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __getattr__(self, name: str) -> Any: ...


class _Property:
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __getattr__(self, name: str) -> Any: ...

    def _to_datastore(self, *args: Any, **kwargs: Any) -> Any: ...


BlobProperty: TypeAlias = _Property
DateTimeProperty: TypeAlias = _Property
IntegerProperty: TypeAlias = _Property
JsonProperty: TypeAlias = _Property
Property: TypeAlias = _Property
StringProperty: TypeAlias = _Property


def __getattr__(name: str) -> Any: ...
