"""Applications under test: a configuration, the ways to end a request, and what the model knows."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import webapp2
from support.servers import PROJECT

from webapp2_sessions import BackendError, SessionHandler, SessionMiddleware, get_store
from webapp2_sessions.users.index import handle_of
from world import renamed
from world.model import Rules
from world.script import WHO

__all__ = ["ENDS", "FRONTS", "NAMES", "Application", "Boom", "secret"]

#: Names of sessions, each with the key of a configuration that says in which backend it is.
NAMES = {"session": "first", "cart": "second"}

#: How the method of a handler ends, and how that is told.
ENDS = {
    "ok": "",
    "abort": ", then calls abort()",
    "fail": ", then fails",
    "other": ", then returns another response",
    "shared": ", then returns a response that all requests share",
    "stream": ", then changes the session while the body is sent",
}

#: Settings that are to meet other things, and how they are told.
_FEATURES = {
    "former_keys": "keys are rotated",
    "former_digests": "digests are rotated",
    "former_paths": "the path was changed",
    "domain": "cookies of a domain",
    "session_max_age": "session_max_age",
    "refresh_after": "refresh_after",
    "absolute_max_age": "absolute_max_age",
    "expires_damaged": "damaged cookies expire",
    "merges": "on_conflict: merge",
    "degrades": "on_backend_error: degrade",
    "by_content": "change_detection: content",
    "begins_again": "on_unreadable: new",
    "namespace": "a fixed namespace",
}

#: The same for how users are followed.
_OF_USERS = {
    "stamps": "user_stamp",
    "revocation": "revocation",
    "index": "user_index",
    "limit": "max_user_sessions",
}

#: Sent to several visitors. Nothing of a visitor may ever be in it.
SHARED = webapp2.Response("shared")

#: Key of a request's environ: what runs in the handler.
_JOB = "world.job"
#: Key of a request's environ: the errors that reached the application.
ERRORS = "world.errors"


class Boom(Exception):
    """The error of a handler that fails."""


class _Documented(webapp2.RequestHandler):
    """The base handler of webapp2's documentation."""

    def dispatch(self) -> Any:
        self.session_store = get_store(request=self.request)
        try:
            super().dispatch()
        finally:
            self.session_store.save_sessions(self.response)

    def get(self) -> Any:
        return self.request.environ[_JOB](self, self.session_store.get_session)


class _WithSessionHandler(SessionHandler):
    def get(self) -> Any:
        return self.request.environ[_JOB](self, self.get_session)


#: Ways to use sessions: the handler, and whether the middleware is around the application.
FRONTS: dict[str, tuple[type[webapp2.RequestHandler], bool]] = {
    "documented": (_Documented, False),
    "SessionHandler": (_WithSessionHandler, False),
    "middleware": (_Documented, True),
}


def secret(number: int) -> str:
    """Return a secret key."""
    return hashlib.sha256(f"world {number}".encode("ascii")).hexdigest()


class Application:
    """One version of an application, in one process.

    :param number: tells processes apart.
    :param settings: what was drawn, see :mod:`world.configurations`.
    :param address: of its memcached or Redis.
    :param place: which it is, "memcache" or "redis".
    :param user_stamp: returns what changes with a user's password.
    """

    def __init__(
        self,
        number: int,
        settings: Mapping[str, Any],
        address: str,
        place: str,
        user_stamp: Callable[[str], str],
    ) -> None:
        self.number = number
        self.settings = settings
        self.place = place
        self._users = self._of_users()
        self.config = _config(number, settings, address, place)
        self.config.update(_config_of_users(self._users, user_stamp))
        self._fronts = {}
        for front, (handler, is_wrapped) in FRONTS.items():
            app = webapp2.WSGIApplication(
                [("/.*", handler)], config={"webapp2_extras.sessions": self.config}
            )
            app.error_handlers[500] = _answer
            self._fronts[front] = SessionMiddleware(app) if is_wrapped else app

    def _of_users(self) -> dict[str, Any]:
        """Return how users are followed: what was drawn, as far as these backends can do it."""
        users = dict(self.settings.get("users") or {"followed": ()})
        lists = all(self.backend(name) in ("redis", "datastore") for name in users["followed"])
        if not (lists and users.get("index")):
            users.update(index=False, limit=None)
        return users

    @property
    def follows(self) -> bool:
        """Whether it follows users."""
        return bool(self._users["followed"])

    def can(self, name: str, deed: str) -> bool:
        """Return whether it can do a deed of `DEEDS` with the sessions of a name."""
        if name not in self._users["followed"]:
            return False
        if deed in ("list", "end_one"):
            return bool(self._users["index"])
        return deed == "password" or bool(self._users["index"] or self._users["revocation"])

    def handle(self, name: str, sid: str) -> str:
        """Return what names a session in the list of its user's."""
        store = SimpleNamespace(config=self.config)
        return handle_of(SimpleNamespace(session_store=store, name=name, sid=sid))

    def rename(self) -> None:
        """Lose the name of stored values, or get it back, as by another version."""
        self.settings = {**self.settings, "lacks_name": not self.settings["lacks_name"]}

    def backend(self, name: str) -> str:
        """Return the keyword of the backend of a session."""
        return str(self.settings[NAMES[name]])

    def rules(self, name: str, namespace: str = "") -> Rules:
        """Return what the model has to know for a session of that name.

        :param namespace: the current one.
        """
        settings, backend = self.settings, self.backend(name)
        is_cookie = backend in ("securecookie", "encryptedcookie")
        keys = [settings["key"], *settings["former_keys"]]
        digests = [settings["digest"], *settings["former_digests"]]
        if backend == "encryptedcookie":
            digests = ["-"]
        return Rules(
            place=settings["spill"] if is_cookie else backend,
            is_cookie=is_cookie,
            signer=(str(keys[0]), digests[0]),
            accepted=frozenset((str(key), digest) for key in keys for digest in digests),
            keys=frozenset(map(str, keys)),
            is_encrypted=backend == "encryptedcookie",
            merges=settings["merges"],
            by_content=settings["by_content"],
            session_max_age=settings["session_max_age"],
            refresh_after=settings["refresh_after"],
            absolute_max_age=settings["absolute_max_age"],
            renewal_grace=settings["renewal_grace"],
            expires_damaged=settings["expires_damaged"],
            namespace=settings["namespace"] or namespace,
            pickles=settings["serializer"] == "pickle" and not is_cookie,
            lacks_name=settings["lacks_name"],
            begins_again=settings["begins_again"],
            **self._rules_of_users(name),
        )

    def _rules_of_users(self, name: str) -> dict[str, Any]:
        users = self._users
        if name not in users["followed"]:
            return {}
        return {
            "follows": True,
            "stamps": users["stamps"],
            "revokes": users["revocation"],
            "is_indexed": users["index"],
            "most_sessions": users["limit"],
        }

    def uses(self, *places: str) -> bool:
        """Return whether it keeps sessions there, or a cache of them."""
        rules = [self.rules(name) for name in NAMES]
        is_cached = self.settings["cached"] and any(each.place == "datastore" for each in rules)
        places_used = {each.place for each in rules} | ({self.place} if is_cached else set())
        return not places_used.isdisjoint(places)

    def features(self) -> list[str]:
        """Return what of its configuration is to meet other things, in words."""
        settings = self.settings
        backends = {self.backend(name) for name in NAMES}
        if settings["cached"] and "datastore" in backends:
            backends.add("cached datastore")
        found = [f"backend: {backend}" for backend in sorted(backends)]
        if settings["spill"] and any(self.rules(name).is_cookie for name in NAMES):
            found.append(f"spills to {settings['spill']}")
        found += [text for key, text in _FEATURES.items() if settings[key]]
        found += [text for key, text in _OF_USERS.items() if self._users.get(key)]
        found += ["user_key"] if self._users["followed"] else []
        return found

    def answer(
        self, front: str, environ: dict[str, Any], job: Callable[[Any, Any], Any]
    ) -> list[tuple[str, str]]:
        """Answer a request; return the headers.

        :param job: called by the handler with itself and its ``get_session()``.
        """
        environ[_JOB] = job
        started: list[Any] = []
        token = renamed.is_missing.set(self.settings["lacks_name"])
        try:
            b"".join(self._fronts[front](environ, lambda *args: started.append(args)))
        finally:
            renamed.is_missing.reset(token)
        return list(started[-1][1])


def _answer(request: Any, response: Any, error: Exception) -> None:
    """Answer an error of an application, and keep it for the world."""
    request.environ.setdefault(ERRORS, []).append(error)
    if not isinstance(error, (Boom, BackendError)):
        logging.getLogger("world").exception("the application failed")
    response.set_status(500)


def _config_of_users(users: Mapping[str, Any], user_stamp: Callable[[str], str]) -> dict[str, Any]:
    if not users["followed"]:
        return {}
    return {
        "user_key": dict.fromkeys(users["followed"], WHO),
        "user_stamp": user_stamp if users["stamps"] else None,
        "revocation": users["revocation"],
        "user_index": users["index"],
        "max_user_sessions": users["limit"],
    }


def _config(number: int, settings: Mapping[str, Any], address: str, place: str) -> dict[str, Any]:
    # Differs, so that each application has connections of its own, as processes have.
    kept = {"timeout": 0.1 + number / 1000, "namespace": settings["namespace"]}
    args = {"path": settings["path"], "secure": True, "httponly": True}
    if settings["domain"]:
        args["domain"] = settings["domain"]
    return {
        "secret_key": secret(settings["key"]),
        "secret_key_fallbacks": [secret(key) for key in settings["former_keys"]],
        "digest": settings["digest"],
        "digest_fallbacks": settings["former_digests"],
        "cookie_args": args,
        "former_cookie_args": [{"path": path, "secure": True} for path in settings["former_paths"]],
        "session_max_age": settings["session_max_age"],
        "refresh_after": settings["refresh_after"],
        "absolute_max_age": settings["absolute_max_age"],
        "renewal_grace": settings["renewal_grace"],
        "on_oversize": settings["spill"] or "warn",
        "on_damaged_cookie": "expire" if settings["expires_damaged"] else "ignore",
        "on_conflict": "merge" if settings["merges"] else "overwrite",
        "on_unreadable": "new" if settings["begins_again"] else "raise",
        "on_backend_error": "degrade" if settings["degrades"] else "raise",
        "change_detection": "content" if settings["by_content"] else "flag",
        "serializer": settings["serializer"],
        "serializer_fallbacks": ["json" if settings["serializer"] == "pickle" else "pickle"],
        "memcache": {"servers": [address], **kept},
        "redis": {"url": f"redis://{address}", **kept},
        "datastore": {
            "project": f"{PROJECT}{os.getpid()}",  # processes share the emulator
            "namespace": settings["namespace"],
            "timeout": 0.8 + number / 1000,
            **({"cache": place} if settings["cached"] else {}),
        },
    }
