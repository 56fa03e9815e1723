"""Signing and verifying a cookie's value, without a request."""

from __future__ import annotations

from typing import Any

from benchmarks.bench import Bench
from benchmarks.data import session_data
from benchmarks.measure import Contender
from benchmarks.peers import Codec
from benchmarks.results import Table, table_of
from benchmarks.sites import WrongAnswer

__all__ = ["SIZES", "column", "run"]

#: Numbers of keys.
SIZES = (1, 10, 50)


def run(bench: Bench) -> Table:
    """One serialization and one deserialization."""
    codecs = bench.peers.codecs()
    columns = {
        column(keys): bench.measure([_contender(codec, session_data(keys)) for codec in codecs])
        for keys in SIZES
    }
    title = "Making the cookie's value from a session and the session from the value, nothing else"
    return table_of("codec", title, columns)


def column(keys: int) -> str:
    """The name of the column for so many keys."""
    return "1 key" if keys == 1 else f"{keys} keys"


def _contender(codec: Codec, data: dict[str, Any]) -> Contender:
    serialize, deserialize = codec.serialize, codec.deserialize
    received = _as_received(serialize(data))

    def there_and_back() -> None:
        serialize(data)
        deserialize(received)

    if deserialize(received) != data:
        raise WrongAnswer(f"{codec.name}: the data does not come back.")
    return Contender(codec.name, there_and_back)


def _as_received(value: Any) -> Any:
    """A value as it comes out of a Cookie header: text."""
    return value.decode("ascii") if isinstance(value, bytes) else value
