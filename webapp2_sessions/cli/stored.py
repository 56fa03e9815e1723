"""The commands ``show`` and ``delete``."""

from __future__ import annotations

import argparse
import datetime
import json
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from webapp2_sessions.cli.inspection import inspect_cookie, read_cookies
from webapp2_sessions.cli.output import (
    confirm,
    echo,
    echo_error,
    echo_json,
    echo_table,
    format_duration,
    format_time,
    is_interactive,
    printable,
    read_secret,
)
from webapp2_sessions.cli.target import Target, importing_from_here, load_target, server_backends
from webapp2_sessions.config import SessionConfig
from webapp2_sessions.errors import (
    ConfigError,
    SessionError,
    UnreadableSession,
    UnstorableValue,
)
from webapp2_sessions.securecookie.cookie_data import SPILLED
from webapp2_sessions.sessions import SessionStore
from webapp2_sessions.stored.factory import StoredSessionFactory
from webapp2_sessions.stored.serializers import undecodable
from webapp2_sessions.stored.tagged_json import MAX_DEPTH, dumps

_NO_SESSION = "is neither a session id nor a cookie that leads to one"


def run_show(options: argparse.Namespace) -> int:
    """Show a stored session, and return the exit code."""
    session = _find_session(options)
    with importing_from_here():  # a pickle may name the application's classes
        record = session.read()
        if record is None:
            return _not_found(session)
        data = None if record.data is None else as_json(record.data)
    if options.json:
        updated = None if record.updated is None else int(record.updated.timestamp())
        echo_json(
            {"backend": session.backend, **record._asdict(), "data": data, "updated": updated}
        )
    else:
        echo_table(_as_rows(session, record, data))
    return 0 if record.problem is None else 1


def run_delete(options: argparse.Namespace) -> int:
    """Delete a stored session, and return the exit code."""
    if not options.yes and not is_interactive():
        raise ConfigError("--yes", "is needed where nobody can be asked: there is no terminal")
    session = _find_session(options)
    with importing_from_here():
        record = session.read(decode=False)
        if record is None:
            return _not_found(session)
        if not options.yes and not confirm(f"Delete {_describe(session, record)}?"):
            echo_error("nothing deleted")
            return 1
        session.delete()
    echo("1 session deleted")
    return 0


def _not_found(session: StoredSession) -> int:
    elsewhere = f"by these keys, at this place, for the name {session.name!r} (see --name)"
    why = "it was ended not long ago" if session.is_revoked() else elsewhere
    echo_error(f"error: no session of that id in {session.backend}: {why}")
    return 1


def _describe(session: StoredSession, record: Record) -> str:
    size = "" if record.size is None else f" of {record.size} bytes"
    text = f"the session{size} in {session.backend}"
    return text if record.updated is None else f"{text}, last written {_ago(record.updated)}"


def _ago(moment: datetime.datetime) -> str:
    seconds = moment.timestamp()
    return f"{format_time(seconds)}, {format_duration(time.time() - seconds)} ago"


def _as_rows(session: StoredSession, record: Record, data: Any) -> list[tuple[str, str]]:
    rows = [("backend", session.backend)]
    if record.size is not None:
        rows.append(("size", f"{record.size} bytes"))
    if record.format is not None:
        rows.append(("format", record.format))
    if record.updated is not None:
        rows.append(("written", _ago(record.updated)))
    if record.idle is not None:
        rows.append(("used", f"{format_duration(record.idle)} ago"))
    if record.expires_in is not None:
        never = record.expires_in < 0
        rows.append(("expires", "never" if never else f"in {format_duration(record.expires_in)}"))
    if record.problem is not None:
        rows.append(("problem", printable(record.problem)))
    else:
        rows.append(("data", printable(data)))
    return rows


def _find_session(options: argparse.Namespace) -> StoredSession:
    """Return the session that ``SID`` leads to, which may not be stored."""
    text = read_secret(options.sid, "SID")
    target = load_target(options.config)
    with importing_from_here():  # for backends of the application
        config = target.checked()
        sid, name, is_spilled = _parse_sid(text, config)
        backend = options.backend
        if backend is None:
            backend = _default_backend(target.given, config, is_spilled)
        factory = _make_factory(target, backend, options.name or name or config["cookie_name"])
        if not factory._is_valid_sid(sid):
            raise ConfigError("SID", _NO_SESSION)
        return StoredSession(factory, backend, sid)


def _parse_sid(text: str, config: SessionConfig) -> tuple[str, str | None, bool]:
    """Return an id; if it is that of a cookie, also its name, and whether the session spilled.

    The cookie may have expired: its session may be stored all the same.
    """
    problem = _NO_SESSION
    for cookie in read_cookies(text):
        seen = inspect_cookie(cookie, config, time.time())
        if seen.kind in ("id", "unknown") and cookie.name is None:
            return text.strip(), None, False
        if seen.session_id is None and seen.key is not None:
            problem = "holds the whole session itself; use the command decode"
        elif seen.session_id is not None and seen.key is None:
            problem = f"is a cookie, and {seen.refused}"
        elif seen.session_id is not None:
            return seen.session_id, cookie.name, SPILLED in seen.attributes
    raise ConfigError("SID", problem)


def _default_backend(given: Mapping[str, Any], config: SessionConfig, is_spilled: bool) -> str:
    if is_spilled and config["on_oversize"] in config["backends"]:
        return str(config["on_oversize"])
    default: str = config["default_backend"]
    if default not in ("securecookie", "encryptedcookie"):
        return default
    mentioned = server_backends(given)
    # Datastore with a cache mentions memcached too.
    is_cached = (given.get("datastore") or {}).get("cache") is not None
    if len(mentioned) == 1 or (mentioned == ("memcache", "datastore") and is_cached):
        return mentioned[-1]
    raise ConfigError("--backend", "is needed: the configuration does not tell where sessions are")


def _make_factory(target: Target, backend: str, name: str) -> StoredSessionFactory:
    import webapp2

    request = webapp2.Request.blank("/")
    request.app = target.app
    store = SessionStore(request)
    factory = store.get_backend(backend)(name, store)
    if not isinstance(factory, StoredSessionFactory):
        raise ConfigError("--backend", f"{backend!r} keeps no sessions on a server of its own")
    factory._max_age = None  # whatever is stored is shown
    return factory


class Record(NamedTuple):
    """What is stored of a session; ``None`` stands for what is not known."""

    #: The data, if it was decoded.
    data: dict[Any, Any] | None = None
    #: Why it could not be decoded.
    problem: str | None = None
    #: Stored bytes.
    size: int | None = None
    #: ``"pickle"`` or ``"json"``.
    format: str | None = None
    #: When the record was last written, in UTC.
    updated: datetime.datetime | None = None
    #: Seconds since it was last read.
    idle: int | None = None
    #: Seconds until the server drops it, -1 for never.
    expires_in: int | None = None


class StoredSession:
    """A session id in a backend.

    :param factory: the backend's factory, for an empty request.
    :param backend: the backend's keyword.
    """

    def __init__(self, factory: StoredSessionFactory, backend: str, sid: str) -> None:
        #: The backend's keyword.
        self.backend = backend
        #: The session's name.
        self.name: str = factory.name
        self._factory = factory
        self._sid = sid

    def read(self, decode: bool = True) -> Record | None:
        """Return what is stored, ``None`` if nothing is.

        :param decode: whether the data is needed; without it the package's own backends run no
            code of the application.
        :raises BackendError: the server failed.
        """
        metadata = self._factory._describe(self._sid)
        if metadata and not decode:
            return Record(**metadata)
        try:
            data = self._factory._read(self._sid)
        except UnreadableSession as error:
            return Record(None, error.args[2], **metadata)
        except SessionError:
            raise
        except Exception as error:  # of a backend of the application's own
            return Record(None, undecodable(error), **metadata)
        return None if data is None else Record(data, None, **metadata)

    def delete(self) -> None:
        """Revoke the session as ``session.destroy()`` does: no running request brings it back.

        :raises BackendError: it is not certain that it is gone.
        """
        self._factory._is_stored, self._factory.sid = True, self._sid
        self._factory.discard()

    def is_revoked(self) -> bool:
        """Whether the server still knows that the session was ended.

        :raises BackendError: the server failed.
        """
        return self._factory._is_revoked(self._sid)


def as_json(value: Any, parents: frozenset[int] = frozenset()) -> Any:
    """Return a value as JSON has it, tagged with the names of types that JSON lacks.

    What :mod:`webapp2_sessions.stored.tagged_json` knows is written as there, e.g.
    ``{"!tuple": [1]}``; anything else as ``{"!module.Type": "its repr()"}``.

    :param parents: the containers of the value, by their ``id()``.
    """
    try:
        return json.loads(dumps(value))
    except UnstorableValue:
        kind = type(value)
    if len(parents) < MAX_DEPTH and id(value) not in parents:
        parents |= {id(value)}
        if kind is dict and all(type(key) is str for key in value):
            return {key: as_json(item, parents) for key, item in value.items()}
        if kind is list:
            return [as_json(item, parents) for item in value]
        if kind in (tuple, set, frozenset):
            return {f"!{kind.__name__}": [as_json(item, parents) for item in value]}
    try:
        shown = repr(value)
    except Exception as error:  # of the application's own class
        shown = f"repr() failed ({type(error).__name__})"
    return {f"!{kind.__module__}.{kind.__qualname__}": shown}
