"""Random programs of session operations, and an interpreter that runs them on either side."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from typing import Any

import webapp2
from hypothesis import strategies as st

from support.implementations import Clock, Side, cookie_pair, request, set_cookies

NAMES = ("session", "auth", "other")

#: A program is a list of requests, a request a list of operations ``(name, arguments...)``.
Program = list[list[tuple[Any, ...]]]

_keys = st.one_of(
    st.sampled_from(["a", "b", "_flash", "user", "é", "</script>", ""]),
    st.sampled_from([1, 1.5, None, True]),
)
_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**40), 2**40),
    st.floats(),
    st.text(max_size=6),
    st.sampled_from(["</a>", "\u2028", '"quoted"', "\\", "\ud800", "x" * 3000]),
)
_json_values = st.recursive(
    _scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=2).map(tuple),
        st.dictionaries(st.text(max_size=3), inner, max_size=3),
    ),
    max_leaves=4,
)
#: Values that JSON takes, and now and then one that it refuses.
_values = st.one_of(*[_json_values] * 12, st.sampled_from([{1, 2}, b"bytes", 1j, object]))
_names = st.sampled_from([None, "", *NAMES])
_max_ages = st.sampled_from([None, 0, 5, 100.5, -1, 10**9])


def _arguments(*max_ages: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Cookie arguments with one of these ages, or none."""
    return st.fixed_dictionaries(
        {},
        optional={
            "max_age": st.sampled_from([None, *max_ages]),
            "domain": st.sampled_from([None, ".example.com", "a.example.com"]),
            "path": st.sampled_from([None, "/", "/app", "/a%20b/c"]),
            "secure": st.sampled_from([None, False, True]),
            "httponly": st.booleans(),
            "samesite": st.sampled_from([None, "lax", "Strict"]),
            "comment": st.sampled_from([None, "remark"]),
            "overwrite": st.booleans(),
        },
    )


_cookie_args = _arguments(0, 60, "60", 10**7)


_operations = st.one_of(
    st.tuples(st.just("open"), _names),
    st.tuples(st.just("open_max_age"), _names, _max_ages),
    st.tuples(st.just("open_backend"), _names, st.sampled_from(["securecookie", "missing"])),
    st.tuples(st.just("set"), _names, _keys, _values),
    st.tuples(st.just("set"), _names, _keys, _values),
    st.tuples(st.just("delete"), _names, _keys),
    st.tuples(st.just("pop"), _names, _keys),
    st.tuples(st.just("pop"), _names, _keys, _scalars),
    st.tuples(st.just("pop"), _names, _keys, _scalars, _scalars),
    st.tuples(st.just("popitem"), _names),
    st.tuples(st.just("clear"), _names),
    st.tuples(st.just("setdefault"), _names, _keys),
    st.tuples(st.just("setdefault"), _names, _keys, _values),
    st.tuples(st.just("update"), _names, st.dictionaries(_keys, _values, max_size=2)),
    st.tuples(st.just("update_pairs"), _names, st.lists(st.tuples(_keys, _values), max_size=2)),
    st.tuples(st.just("update_wrong"), _names, st.sampled_from([5, None, "text"])),
    st.tuples(st.just("add_flash"), _names, _values, st.sampled_from([None, "info"])),
    st.tuples(st.just("add_flash_to"), _names, _values, _keys),
    st.tuples(st.just("get_flashes"), _names),
    st.tuples(st.just("get_flashes_of"), _names, _keys),
    st.tuples(st.just("look"), _names, _keys),
    st.tuples(st.just("touch"), _names),
    st.tuples(st.just("copy"), _names),
    st.tuples(st.just("reload"), _names),
    st.tuples(st.just("session_args"), _names, _cookie_args),
    st.tuples(
        st.just("set_secure_cookie"),
        st.sampled_from(NAMES),
        st.dictionaries(st.sampled_from("abc"), _json_values, max_size=2),
        _cookie_args,
    ),
    st.tuples(st.just("get_secure_cookie"), st.sampled_from([*NAMES, "absent"])),
    st.tuples(st.just("get_secure_cookie_max_age"), st.sampled_from(NAMES), _max_ages),
    st.tuples(st.just("advance"), st.sampled_from([0.4, 1, 7, 3600])),
    st.tuples(st.just("save")),
)
_damages = st.tuples(
    st.just("damage"), st.sampled_from(NAMES), st.sampled_from(["cut", "flip", "other", "quote"])
)

programs: st.SearchStrategy[Program] = st.lists(
    st.lists(st.one_of(*[_operations] * 15, _damages), max_size=8), min_size=1, max_size=4
)

configs: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "secret_key": st.sampled_from(["s", "schlüssel", b"\xff\x00bytes"]),
        # Ours refuses ages by which no session survives.
        "session_max_age": st.sampled_from([None, 5, 100.5, 10**9]),
        "cookie_name": st.sampled_from(["session", "other", "a.b-c"]),
        "cookie_args": _arguments(60, "60", 10**7),
    },
)


@dataclass
class Run:
    """Runs a program on one side; :attr:`trace` tells all that a caller or a browser can see.

    :param backend: the backend of sessions that are opened without naming one.
    """

    side: Side
    config: dict[str, Any]
    clock: Clock
    backend: str = "securecookie"
    jar: dict[str, str] = field(default_factory=dict)
    trace: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._app = self.side.app(**self.config)

    def run(self, program: Program) -> list[Any]:
        """Run all requests and return the trace."""
        for operations in program:
            self._request(operations)
        return self.trace

    def _request(self, operations: list[tuple[Any, ...]]) -> None:
        header = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        self._store = self.side.sessions.SessionStore(request(self._app, header or None))
        self._response = webapp2.Response()
        for name, *args in operations:
            self._note(name, getattr(self, f"do_{name}"), *args)
        self._note("end", self.do_save)
        headers = set_cookies(self._response)
        self.trace.append(headers)
        for header in headers:
            name, _, value = cookie_pair(header).partition("=")
            self.jar[name] = value

    def _note(self, name: str, call: Any, *args: Any) -> None:
        # Copied, so that the implementations share no lists; shown by repr(), because NaN does not
        # equal itself.
        args = copy.deepcopy(args) if name != "open" else args
        try:
            seen = repr(call(*args))
        except Exception as error:
            # Ours may raise a subclass of upstream's, with a text of its own.
            seen = f"{_upstream_name(error)}"
        self.trace.append((name, seen))

    def _session(self, name: str | None) -> Any:
        return self._store.get_session(name, backend=self.backend)

    def do_open(self, name: str | None) -> Any:
        session = self._session(name)
        return (session, session.new, session.modified, type(session).__name__)

    def do_open_max_age(self, name: str | None, max_age: float | None) -> Any:
        return self._store.get_session(name, max_age=max_age, backend=self.backend)

    def do_open_backend(self, name: str | None, backend: str) -> Any:
        return self._store.get_session(name, backend=backend)

    def do_set(self, name: str | None, key: Any, value: Any) -> None:
        self._session(name)[key] = value

    def do_delete(self, name: str | None, key: Any) -> None:
        del self._session(name)[key]

    def do_pop(self, name: str | None, *args: Any) -> Any:
        return self._session(name).pop(*args)

    def do_popitem(self, name: str | None) -> Any:
        return self._session(name).popitem()

    def do_clear(self, name: str | None) -> None:
        self._session(name).clear()

    def do_setdefault(self, name: str | None, *args: Any) -> Any:
        return self._session(name).setdefault(*args)

    def do_update(self, name: str | None, data: dict[Any, Any]) -> None:
        self._session(name).update(data)

    def do_update_pairs(self, name: str | None, pairs: list[Any]) -> None:
        self._session(name).update(pairs)

    def do_update_wrong(self, name: str | None, value: Any) -> None:
        self._session(name).update(value)

    def do_add_flash(self, name: str | None, value: Any, level: str | None) -> None:
        self._session(name).add_flash(value, level)

    def do_add_flash_to(self, name: str | None, value: Any, key: Any) -> None:
        self._session(name).add_flash(value, key=key)

    def do_get_flashes(self, name: str | None) -> Any:
        return self._session(name).get_flashes()

    def do_get_flashes_of(self, name: str | None, key: Any) -> Any:
        return self._session(name).get_flashes(key)

    def do_look(self, name: str | None, key: Any) -> Any:
        session = self._session(name)
        return (key in session, session.get(key), len(session), bool(session), session == {key: 1})

    def do_touch(self, name: str | None) -> None:
        self._session(name).modified = True

    def do_copy(self, name: str | None) -> Any:
        session = self._session(name)
        duplicate = copy.copy(session)
        kinds = [type(value).__name__ for value in (duplicate, session.copy(), session | {})]
        return (kinds, duplicate, duplicate.modified, duplicate.container is session.container)

    def do_reload(self, name: str | None) -> Any:
        container = self._session(name).container
        container.session = None
        return self._session(name)

    def do_session_args(self, name: str | None, args: dict[str, Any]) -> Any:
        container = self._session(name).container
        container.session_args.update(args)
        return (container.name, container.session_args, container is self._store.sessions.get(name))

    def do_set_secure_cookie(self, name: str, value: Any, args: dict[str, Any]) -> None:
        self._store.set_secure_cookie(name, value, **args)

    def do_get_secure_cookie(self, name: str) -> Any:
        return self._store.get_secure_cookie(name)

    def do_get_secure_cookie_max_age(self, name: str, max_age: float | None) -> Any:
        return self._store.get_secure_cookie(name, max_age=max_age)

    def do_advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def do_save(self) -> Any:
        self._store.save_sessions(self._response)
        return {
            name: (container.session.modified, container.session.new)
            for name, container in self._store.sessions.items()
        }

    def do_damage(self, name: str, how: str) -> None:
        """Change what the browser will send; takes effect in the next request."""
        value = self.jar.get(name, "")
        if how == "cut":
            self.jar[name] = value[:-3]
        elif how == "flip" and value:
            self.jar[name] = value[:5].swapcase() + value[5:]
        elif how == "other":
            self.jar[name] = self.jar.get("auth", json.dumps({}))
        elif how == "quote":
            self.jar[name] = f'"{value}"'


def _upstream_name(error: Exception) -> str:
    """Name an exception as upstream's counterpart is named: an error of ours by its last base."""
    cls: type = type(error)
    while cls.__module__.startswith("webapp2_sessions."):
        cls = cls.__bases__[-1]
    return cls.__name__
