"""Check a client of the application's own: it must not decode what is stored."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from webapp2_sessions.errors import ConfigError, MissingDependency

try:
    from pymemcache.serde import LegacyWrappingSerde
except ImportError as _error:
    raise MissingDependency("pymemcache", "memcache") from _error

logger: logging.Logger = logging.getLogger(__name__)

_KEY = "memcache['client']"

#: How deep clients are nested at most: a wrapper around RetryingClient around HashClient's own.
_MAX_DEPTH = 8


def check_client(client: Any) -> None:
    """Refuse a client that decodes what is stored before its signature is checked.

    Includes the clients that it is made of. Warns of one that hides failures.

    :param client: an object with the methods of pymemcache's clients.
    :raises ConfigError: it has a serializer.
    """
    parts = list(_clients_in(client, _MAX_DEPTH, set()))
    if not all(map(_returns_bytes, parts)):
        raise ConfigError(
            _KEY,
            "must be a client without serde, serializer and deserializer: it would decode what is "
            "stored, and with pickle_serde run it, before the signature is checked",
        )
    if any(_attribute(part, "ignore_exc") for part in parts):
        logger.warning(
            "The client in config['memcache']['client'] has ignore_exc=True: where a server fails "
            "it finds no session, and a new one takes the place of the stored one"
        )


def _clients_in(client: Any, depth: int, seen: set[int]) -> Iterator[Any]:
    """Yield a client, and those in its attributes, or in lists and dictionaries there."""
    if id(client) in seen or depth == 0:
        return
    seen.add(id(client))
    yield client
    for value in _values(client):
        kept = value.values() if isinstance(value, dict) else value
        for each in list(kept) if isinstance(value, (dict, list, tuple)) else [value]:
            if _is_client(each):
                yield from _clients_in(each, depth - 1, seen)


def _values(client: Any) -> Iterator[Any]:
    yield from list(_attribute(client, "__dict__", {}).values())
    for kind in type(client).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            yield _attribute(client, slot)


def _is_client(thing: Any) -> bool:
    """Whether a thing may be a client; get() alone is what dictionaries have as well."""
    kind = type(thing)
    return kind.__module__.startswith("pymemcache.") or (
        hasattr(kind, "get") and hasattr(kind, "set")
    )


def _returns_bytes(client: Any) -> bool:
    # HashClient makes further clients when it needs them.
    arguments = _attribute(client, "default_kwargs", {})
    if any(arguments.get(name) is not None for name in ("serializer", "deserializer")):
        return False
    return all(map(_is_default, (_attribute(client, "serde"), arguments.get("serde"))))


def _is_default(serde: Any) -> bool:
    """Whether a serde leaves bytes as they are, like pymemcache's default."""
    if serde is None:
        return True
    default = LegacyWrappingSerde(None, None)
    return type(serde) is LegacyWrappingSerde and all(
        getattr(getattr(serde, name), "__func__", None) is getattr(default, name).__func__
        for name in ("serialize", "deserialize")
    )


def _attribute(client: Any, name: str, default: Any = None) -> Any:
    """Return an attribute that exists, and not one that ``__getattr__`` makes up as a mock does."""
    try:
        return object.__getattribute__(client, name)
    except AttributeError:
        return default
