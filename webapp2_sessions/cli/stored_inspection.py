"""One stored session: found by its id or its cookie, shown, and ended."""

from __future__ import annotations

import datetime
import json
import sys
import time
from typing import Any, NamedTuple

import webapp2

from webapp2_sessions.cli.advice import server_backends
from webapp2_sessions.cli.cookie_inspection import Inspection, inspect_cookie
from webapp2_sessions.cli.cookie_texts import read_cookies
from webapp2_sessions.cli.target import Target
from webapp2_sessions.errors import (
    BackendError,
    ConfigError,
    SessionError,
    UnreadableSession,
    UnstorableValue,
)
from webapp2_sessions.securecookie.cookie_data import SPILLED
from webapp2_sessions.sessions import SessionStore
from webapp2_sessions.stored.factory import StoredSessionFactory
from webapp2_sessions.stored.serializers import format_of, undecodable
from webapp2_sessions.stored.tagged_json import MAX_DEPTH, dumps

__all__ = ["Found", "StoredSession", "as_json", "stored_session"]


class Found(NamedTuple):
    """What is stored of a session, and what the backend knows about it."""

    #: The data; ``None`` if it could not be decoded, or was not to be.
    data: dict[Any, Any] | None = None
    #: Why it could not be decoded.
    problem: str | None = None
    #: Bytes as they are stored; ``None`` if that is not known.
    size: int | None = None
    #: ``"pickle"`` or ``"json"``; ``None`` if that is not known.
    format: str | None = None
    #: When it was last written, in UTC; ``None`` if that is not known.
    updated: datetime.datetime | None = None
    #: Seconds since it was last asked for; ``None`` if that is not known.
    idle: int | None = None
    #: Seconds until the server drops it, -1 for never; ``None`` if that is not known.
    expires_in: int | None = None


class StoredSession:
    """A session of a backend, which may be there or not.

    :param factory: the backend's factory, for a request of nobody's.
    :param keyword: the backend's keyword.
    :param sid: the session's id.
    """

    def __init__(self, factory: StoredSessionFactory, keyword: str, sid: str) -> None:
        #: The backend's keyword.
        self.keyword = keyword
        #: The session's name.
        self.name: str = factory.name
        self._factory = factory
        self._sid = sid

    def look_up(self, decode: bool = True) -> Found | None:
        """Return what is stored, ``None`` if nothing is.

        :param decode: whether the data is needed; without it no code of the application runs,
            where the backend is one of ours.
        :raises BackendError: the server failed.
        """
        facts = self._facts()
        if facts and not decode:
            return Found(**facts)
        try:
            data = self._factory._read(self._sid)
        except UnreadableSession as error:
            return Found(None, error.args[2], **facts)
        except SessionError:
            raise
        except Exception as error:  # of a backend of the application's own
            return Found(None, undecodable(error), **facts)
        return None if data is None else Found(data, None, **facts)

    def is_ended(self) -> bool:
        """Whether the session is known to have been ended by the application or :meth:`end`.

        :raises BackendError: the server failed.
        """
        if _is_a(self._factory, "sessions_memcache", "MemcacheSessionFactory"):
            factory: Any = self._factory
            return bool(factory._memcached().is_revoked(factory._key(self._sid)))
        if _is_a(self._factory, "sessions_ndb", "DatastoreSessionFactory"):
            return bool(self._factory._records(None).is_ended(self._sid))  # type: ignore[attr-defined]
        return False

    def end(self) -> None:
        """Delete the session as ``session.destroy()`` does: no running request brings it back.

        :raises BackendError: it is not certain that it is gone.
        """
        self._factory._is_stored, self._factory.sid = True, self._sid
        self._factory.discard()

    def _facts(self) -> dict[str, Any]:
        """What is known of the record without decoding it; nothing if there is none of ours."""
        if _is_a(self._factory, "sessions_memcache", "MemcacheSessionFactory"):
            return _memcached_facts(self._factory, self._sid)
        if _is_a(self._factory, "sessions_ndb", "DatastoreSessionFactory"):
            return _datastore_facts(self._factory, self._sid)
        return {}


def stored_session(
    target: Target, text: str, backend: str | None = None, name: str | None = None
) -> StoredSession:
    """Return the session of an id, or of a cookie that leads to it.

    :param target: the application's configuration, whose keys must have signed the cookie.
    :param text: the id, or a cookie as :func:`.cookie_texts.read_cookies` takes it.
    :param backend: the backend's keyword; ``None`` where the configuration leaves no choice.
    :param name: the session's name; by default that of the cookie, or ``cookie_name``.
    :raises ConfigError: an argument is wrong, or the configuration.
    :raises MissingDependency: the library that the backend needs is not installed.
    """
    config = target.checked()
    seen, cookie_name = _leading_to_a_session(text, target)
    if backend is None:
        spilled = seen is not None and SPILLED in seen.attributes
        backend = config["on_oversize"] if spilled else _only_backend(target)
    factory = _factory_of(target, backend, name or cookie_name or config["cookie_name"])
    sid = text.strip() if seen is None else str(seen.session_id)
    if not factory._is_valid_sid(sid):
        raise ConfigError("SID", "is neither a session id nor a cookie that leads to one")
    return StoredSession(factory, backend, sid)


def _leading_to_a_session(text: str, target: Target) -> tuple[Inspection | None, str | None]:
    """What was seen of the cookie in a text, and its name; ``None`` if the text is an id.

    A cookie that is too old will do: its session may be stored all the same.
    """
    config = target.checked()
    refused = None
    for cookie in read_cookies(text):
        seen = inspect_cookie(cookie, config, time.time())
        if seen.kind in ("id", "unknown") and cookie.name is None:
            return None, None
        if seen.session_id is None and seen.key is not None:
            refused = "holds the whole session itself; use the command decode"
        elif seen.session_id is not None and seen.key is None:
            refused = f"is a cookie, and {seen.refused}"
        elif seen.session_id is not None:
            return seen, cookie.name
    raise ConfigError("SID", refused or "is neither a session id nor a cookie that leads to one")


def _only_backend(target: Target) -> str:
    default: str = target.checked()["default_backend"]
    if default not in ("securecookie", "encryptedcookie"):
        return default
    configured = server_backends(target.given)
    # Datastore with a cache says something about memcached too.
    if len(configured) == 1 or ("datastore" in configured and _is_cached(target)):
        return configured[-1]
    raise ConfigError("--backend", "is needed: the configuration does not tell where sessions are")


def _is_cached(target: Target) -> bool:
    return (target.given.get("datastore") or {}).get("cache") is not None


def _factory_of(target: Target, backend: str, name: str) -> StoredSessionFactory:
    request = webapp2.Request.blank("/")
    request.app = target.app
    store = SessionStore(request)
    made = store.get_backend(backend)(name, store)
    if not isinstance(made, StoredSessionFactory):
        raise ConfigError("--backend", f"{backend!r} keeps no sessions on a server of its own")
    made._max_age = None  # whatever is stored is shown
    return made


def _is_a(factory: StoredSessionFactory, module: str, name: str) -> bool:
    # Not imported: it needs a library, and whose factory this is has imported it.
    loaded = sys.modules.get(f"webapp2_sessions.{module}")
    return loaded is not None and isinstance(factory, getattr(loaded, name))


def _memcached_facts(factory: Any, sid: str) -> dict[str, Any]:
    memcached = factory._memcached()
    key = factory._key(sid)
    times = _times(memcached, key)  # first, because asking for it is a use
    stored = memcached.call("get", key)
    data = None if stored is None else memcached.opened(key, factory._owner(), stored)
    return {} if data is None else {"size": len(stored), "format": format_of(data), **times}


def _times(memcached: Any, key: bytes) -> dict[str, int]:
    """What memcached from 1.6 on, through pymemcache's own clients, tells about an entry."""
    try:
        node = memcached._nodes.node_of(key)
        answer = node.call("raw_command", b"mg " + key + b" t l").split()
        if answer[:1] == [b"HD"]:
            flags = {each[:1]: int(each[1:]) for each in answer[1:]}
            return {"expires_in": flags[b"t"], "idle": flags[b"l"]}
    except (AttributeError, BackendError, KeyError, TypeError, ValueError):
        pass
    return {}


def _datastore_facts(factory: Any, sid: str) -> dict[str, Any]:
    records = factory._records(None)
    entity, _ = records.look_up(factory.session_model, sid)
    if entity is None:
        return {}
    updated = entity.updated
    facts = {} if updated is None else {"updated": updated.replace(tzinfo=datetime.timezone.utc)}
    try:
        # Before it is decoded, which happens when it is used.
        [stored] = type(entity).data._get_base_value_unwrapped_as_list(entity)
        return {"size": len(stored), "format": format_of(stored), **facts}
    except (AttributeError, TypeError, ValueError):  # a model that keeps it in a way of its own
        return {"size": None, **facts}


def as_json(value: Any, inside: frozenset[int] = frozenset()) -> Any:
    """Return a value as JSON has it, with the names of types that JSON lacks.

    What :mod:`webapp2_sessions.stored.tagged_json` knows is written as there, e.g.
    ``{"!tuple": [1]}``; anything else as ``{"!module.Type": "its repr()"}``.

    :param inside: the containers in which the value is, by their ``id()``.
    """
    try:
        return json.loads(dumps(value))
    except UnstorableValue:
        kind = type(value)
    if len(inside) < MAX_DEPTH and id(value) not in inside:
        inside |= {id(value)}
        if kind is dict and all(type(key) is str for key in value):
            return {key: as_json(item, inside) for key, item in value.items()}
        if kind is list:
            return [as_json(item, inside) for item in value]
        if kind in (tuple, set, frozenset):
            return {f"!{kind.__name__}": [as_json(item, inside) for item in value]}
    try:
        shown = repr(value)
    except Exception as error:  # of the application's own class
        shown = f"repr() failed ({type(error).__name__})"
    return {f"!{kind.__module__}.{kind.__qualname__}": shown}
