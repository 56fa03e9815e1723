"""The commands ``show`` and ``delete``."""

from __future__ import annotations

import argparse
import datetime
import json
import time
from collections.abc import Iterator, Mapping
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
from webapp2_sessions.errors import ConfigError, SessionError, UnreadableSession, UnstorableValue
from webapp2_sessions.securecookie.cookie_data import SPILLED
from webapp2_sessions.sessions import SessionStore
from webapp2_sessions.stored.factory import StoredSessionFactory
from webapp2_sessions.stored.serializers import undecodable
from webapp2_sessions.stored.tagged_json import MAX_DEPTH, dumps

_NO_SESSION = "is neither a session id nor a cookie that leads to one"


def run_show(options: argparse.Namespace) -> int:
    """Show a stored session, and return the exit code."""
    factory, backend, sid = _find_session(options)
    with importing_from_here():  # a pickle may name the application's classes
        record = _read(factory, sid)
        if record is None:
            return _not_found(factory, backend, sid)
        data = None if record.data is None else as_json(record.data)
    if options.json:
        updated = None if record.updated is None else int(record.updated.timestamp())
        echo_json({"backend": backend, **record._asdict(), "data": data, "updated": updated})
    else:
        echo_table([("backend", backend), *_as_rows(record, data)])
    return 0 if record.problem is None else 1


def run_delete(options: argparse.Namespace) -> int:
    """Delete a stored session, and return the exit code."""
    if not options.yes and not is_interactive():
        raise ConfigError("--yes", "is needed where nobody can be asked: there is no terminal")
    factory, backend, sid = _find_session(options)
    with importing_from_here():
        record = _read(factory, sid, decode=False)
        if record is None:
            return _not_found(factory, backend, sid)
        if not options.yes and not confirm(f"Delete {_describe(record, backend)}?"):
            echo_error("nothing deleted")
            return 1
        # As session.destroy() does: no running request brings it back.
        factory._is_stored, factory.sid = True, sid
        factory.discard()
    echo("1 session deleted")
    return 0


def _not_found(factory: StoredSessionFactory, backend: str, sid: str) -> int:
    elsewhere = f"by these keys, at this place, for the name {factory.name!r} (see --name)"
    why = "it was ended not long ago" if factory._is_revoked(sid) else elsewhere
    echo_error(f"error: no session of that id in {backend}: {why}")
    return 1


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


def _read(factory: StoredSessionFactory, sid: str, decode: bool = True) -> Record | None:
    """Return what is stored of a session, ``None`` if nothing is.

    :param decode: whether the data is needed; without it the package's own backends run no code
        of the application.
    :raises BackendError: the server failed.
    """
    metadata = factory._describe(sid)
    if metadata and not decode:
        return Record(**metadata)
    try:
        data = factory._read(sid)
    except UnreadableSession as error:
        return Record(None, error.args[2], **metadata)
    except SessionError:
        raise
    except Exception as error:  # of a backend of the application's own
        return Record(None, undecodable(error), **metadata)
    return None if data is None else Record(data, None, **metadata)


def _describe(record: Record, backend: str) -> str:
    size = "" if record.size is None else f" of {record.size} bytes"
    text = f"the session{size} in {backend}"
    return text if record.updated is None else f"{text}, last written {_ago(record.updated)}"


def _ago(moment: datetime.datetime) -> str:
    seconds = moment.timestamp()
    return f"{format_time(seconds)}, {format_duration(time.time() - seconds)} ago"


def _as_rows(record: Record, data: Any) -> Iterator[tuple[str, str]]:
    if record.size is not None:
        yield "size", f"{record.size} bytes"
    if record.format is not None:
        yield "format", record.format
    if record.updated is not None:
        yield "written", _ago(record.updated)
    if record.idle is not None:
        yield "used", f"{format_duration(record.idle)} ago"
    if record.expires_in is not None:
        is_last = record.expires_in < 0
        yield "expires", "never" if is_last else f"in {format_duration(record.expires_in)}"
    if record.problem is not None:
        yield "problem", printable(record.problem)
    else:
        yield "data", printable(data)


def _find_session(options: argparse.Namespace) -> tuple[StoredSessionFactory, str, str]:
    """Return where ``SID`` leads to: factory, the backend's keyword, and id.

    The factory is for an empty request. The session may not be stored.
    """
    text = read_secret(options.sid, "SID")
    target = load_target(options.config)
    with importing_from_here():  # for backends of the application
        config = target.checked()
        sid, name, is_spilled = _parse_sid(text, config)
        backend = options.backend
        if backend is None:
            backend = default_backend(target.given, config, is_spilled)
        factory = _make_factory(target, backend, options.name or name or config["cookie_name"])
        if not factory._is_valid_sid(sid):
            raise ConfigError("SID", _NO_SESSION)
        return factory, backend, sid


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


def default_backend(
    given: Mapping[str, Any], config: SessionConfig, is_spilled: bool = False
) -> str:
    """Return the backend where an application keeps its sessions, by its configuration.

    :param given: the session configuration as the application has it.
    :param is_spilled: whether it is about a session that was too large for its cookie.
    :raises ConfigError: the configuration does not tell.
    """
    if is_spilled and config["on_oversize"] in config["backends"]:
        return str(config["on_oversize"])
    default: str = config["default_backend"]
    if default not in ("securecookie", "encryptedcookie"):
        return default
    mentioned = server_backends(given)
    # Datastore with a cache mentions that too.
    cache = (given.get("datastore") or {}).get("cache")
    if len(mentioned) == 1 or mentioned == (cache, "datastore"):
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
