"""Follow the user of a session: from a new id at sign-in to the end at sign-out."""

from __future__ import annotations

import copy
import json
import logging
import math
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from webapp2_sessions.errors import BackendError
from webapp2_sessions.securecookie.cookie_data import SIGNED_IN, STAMP
from webapp2_sessions.sessions import csrf, events
from webapp2_sessions.stored.factory import Noted
from webapp2_sessions.users import index, stamps
from webapp2_sessions.users.names import name_of, user_of
from webapp2_sessions.users.revocation import moment_of

__all__ = ["Following"]

logger: logging.Logger = logging.getLogger(__name__)

#: What a handler may change inside, and what JSON changes.
_COLLECTIONS = (dict, list, tuple)

#: What stands for a stamp that was not asked for.
_UNKNOWN: Any = object()

#: Seconds after which a session that is saved is noted again: the server may have lost the note.
_NOTED_AGAIN_AFTER = 24 * 3600


class Following:
    """Follows the user of one session of a request.

    :param session: the session as it was opened.
    :param key: as of :func:`~webapp2_sessions.users.names.user_of`.
    :param config: the session configuration.
    :raises ConfigError: ``user_index`` is configured, and the session's backend cannot list users'
        sessions. A session in which nobody signs in may have any backend.
    """

    #: Whether the user was signed out everywhere, and whether so lately that the browser may have
    #: got another cookie since it has sent this one.
    is_revoked: bool = False
    is_under_way: bool = False
    #: Whether the user has signed in by this request, and whether that is not yet saved.
    _has_signed_in = False
    _is_unsaved = False
    #: When the user signed in, in Unix milliseconds; 0 if that is not known.
    _signed_in = 0
    #: When the user signed in, in Unix seconds and finer, so that sign-ins have an order; 0 if not
    #: by this request.
    _began = 0.0
    #: Whether it has to be known when the user signed in, or by which password.
    is_judged: bool = False
    #: Whether the sessions of a user can be listed.
    is_indexed: bool = False
    #: Ids of users that lead nowhere once the session is saved.
    _left: tuple[tuple[str, Noted], ...] = ()
    #: The id of the session as it is noted of its user, when that was last, and for what lifetime.
    _noted: tuple[str, Noted, int, float | None] | None = None
    #: What the function of ``user_stamp`` has returned for the user; ``_UNKNOWN`` before.
    _stamped: Any = _UNKNOWN

    def __init__(self, session: Any, key: Any, config: Mapping[str, Any]) -> None:
        self._key = key
        self._config = config
        self._container = container = session.container
        #: Who is signed in, as far as is stored.
        self.user: Any = user_of(session, key)
        if isinstance(self.user, _COLLECTIONS):
            self.user = _kept(self.user)
        if config.get("user_stamp") is not None or config.get("revocation") is not None:
            self.is_judged = True
        if config.get("user_index"):
            self.is_indexed = self.is_judged = True
        if self.is_indexed and self.user is not None:
            index.check_can_list(container)
            known = self._known_details()
            if known:
                first, last, lifetime = known["noted"]
                self._noted = known["user"], Noted(container.sid, first), last, lifetime

    def catch_up(self, session: Any) -> None:
        """Renew the session's id if its user has signed in, and end its record if she signed out.

        What is left in the session after a sign-out is kept under a new id, but for its token
        against forged requests.
        """
        if session._degraded:
            return  # it is empty because a server failed, and not because she signed out
        before, now = self.user, user_of(session, self._key)
        if now is before and not session._regenerates:
            return  # Optimization: the same object, which nobody changes inside (0.5 us).
        self.user = _kept(now)
        if not _is_same(before, now):
            self._change(session, now)
        elif session._regenerates:
            self._stamped = _UNKNOWN  # the present one counts when it is saved

    def _change(self, session: Any, now: Any) -> None:
        self._stamped = _UNKNOWN
        if now is not None:
            if self.is_indexed:
                index.check_can_list(self._container)
            self._has_signed_in = self._is_unsaved = True
            self._began = time.time()
            self._signed_in = int(self._began * 1000)
        if session._destroyed:
            return  # and gets a new id by that
        if now is not None:
            session.regenerate_id()
        elif getattr(session.container, "can_destroy", False):
            left = dict(session)
            left.pop(csrf.KEY, None)
            session.destroy()
            if left:
                session.update(left)
                session.mark_changed()

    def succeed(self, former: Following) -> None:
        """Take over what the Following of a session that was destroyed has to clean up."""
        self._left += former._left
        if former._noted is not None:
            self._left += (former._noted[:2],)

    def announce(self, session: Any) -> None:
        """Tell the application of a sign-in, once the session is saved."""
        if self._is_unsaved:
            self._is_unsaved = False
            logger.info("A user has signed in to the session %r", self._container.name)
            on_sign_in = self._config.get("on_sign_in")
            if on_sign_in is not None:
                events.call("on_sign_in", "a sign-in", on_sign_in, session, self.user)

    # What the cookie says

    def accepts(self, attributes: Mapping[str, Any], signed_at: int | None) -> bool:
        """Return whether a session still counts, and its user has not ended it meanwhile.

        :param attributes: what its cookie says; from before a key was configured it says nothing.
        :param signed_at: when the cookie was signed, in Unix seconds, if that is known.
        :raises BackendError: the server of revocations failed.
        """
        if self.user is None:
            return True
        self._signed_in = attributes.get(SIGNED_IN, (signed_at or 0) * 1000)
        problem = ""
        self.look_up_stamp()
        stamp = attributes.get(STAMP)
        if self._stamped is not _UNKNOWN and not stamps.fits(self._config, self._stamped, stamp):
            problem = "its user's stamp is another one by now"
        elif self._signed_in <= (moment := self._moment()):
            problem = "its user has been signed out everywhere"
            self.is_revoked, self._noted = True, None  # another cookie may open it
            age = abs(_milliseconds() - moment)
            self.is_under_way = age < 1000 * self._config.get("renewal_grace", 0)
        if problem:
            logger.info("The session %r ends: %s", self._container.name, problem)
        return not problem

    def _moment(self, is_fresh: bool = False) -> int:
        """Return the moment up to which no sign-in of the user counts, -1 for none."""
        if self._config.get("revocation") is None:
            return -1
        return moment_of(self._config, name_of(self.user), is_fresh=is_fresh)

    def add_to(self, attributes: dict[str, Any]) -> None:
        """Add to the attributes of a cookie by what :meth:`accepts` judges it.

        The stamp is what was compared when the session was opened. A password that was changed
        since then ends this session too, which may be a thief's, unless it has got a new id.
        """
        if self.user is None:
            return
        stamp = self._stamp()
        if stamp is not None:
            attributes[STAMP] = stamp
        if self._config.get("revocation") is not None:
            attributes[SIGNED_IN] = self._signed_in

    def stay(self, moment: int) -> None:
        """Let the session stay where its user is signed out everywhere else, under another id.

        It keeps its own age. Its former cookies do not count any more, nor do copies of them.

        :param moment: until which a user must have signed in not to count, in Unix milliseconds.
        """
        session = self._container.session
        self.catch_up(session)  # the user may have signed in by this request
        self._signed_in = max(moment + 1, self._signed_in)
        session._regenerates = True
        session.mark_changed()

    def prepare(self) -> None:
        """Ask for what the save of a sign-in needs, before anything is written."""
        self.look_up_stamp()
        if self._is_unsaved and self.user is not None:
            with suppress(BackendError):  # the next request tells, and the clocks may do
                self._signed_in = max(self._signed_in, self._moment(is_fresh=True) + 1)

    def look_up_stamp(self) -> None:
        """Ask for the user's stamp, unless it is known from when the session was opened."""
        user_stamp = self._config.get("user_stamp")
        if self._stamped is _UNKNOWN and user_stamp is not None and self.user is not None:
            self._stamped = user_stamp(self.user)

    def _stamp(self) -> str | None:
        self.look_up_stamp()
        return None if self._stamped is _UNKNOWN else stamps.seal(self._config, self._stamped)

    # What the record says, and the index of its user

    def details(self) -> dict[str, Any] | None:
        """Return what the record is to say besides its data; ``None`` if nobody is signed in."""
        if self.user is None or self._noted is None:
            return None
        now, container = int(time.time()), self._container
        known = {} if self._has_signed_in else self._known_details()
        # That of a session which was signed in before there was an index is not known.
        began = self._began or known.get("began") or self._signed_in / 1000 or now
        absolute = self._config.get("absolute_max_age")
        ends = None if absolute is None else math.floor((container._began or now) + absolute)
        user, noted, *times = self._noted
        return {
            "name": str(container.name),
            "user": user,
            "noted": [noted.at, *times],
            "began": began,
            "saved": now,
            "label": known.get("label") if container._label is None else container._label or None,
            "stamp": self._stamp(),
            "signed_in": self._signed_in,
            "ends": ends,
        }

    def note(self) -> None:
        """Note the session's id as one of its user's, before its record is written.

        :raises BackendError: it is not certain that it is noted.
        """
        if self.user is None:
            return
        container, user, now = self._container, name_of(self.user), _milliseconds()
        lifetime = container._lifetime()
        seconds = math.inf if lifetime is None else lifetime
        every = min(_NOTED_AGAIN_AFTER, seconds / 2)
        noted = Noted(container.sid, now)
        if self._noted is not None:
            if self._noted[0] != user or self._noted[1].sid != noted.sid:
                self._left += (self._noted[:2],)
            elif 0 <= now - self._noted[2] < every * 1000 and seconds <= (
                self._noted[3] or math.inf
            ):
                return  # it is noted, and for as long as it lives
            else:
                noted = self._noted[1]
        # The record lives for as long from its last write, which may come just before it is noted
        # again.
        container._note_of_user(user, noted, None if lifetime is None else lifetime + every)
        self._noted = user, noted, now, lifetime

    def settle(self) -> None:
        """Follow up what was just written: drop ids that ended, and sessions beyond the limit.

        :raises BackendError: sessions beyond the limit were not ended.
        """
        container, left, self._left = self._container, self._left, ()
        for user, noted in left:
            with suppress(BackendError):  # a list leaves it out, and tries again
                container._drop_of_user(user, [noted])
        limit = self._config.get("max_user_sessions")
        if limit is not None and self._is_unsaved and self._noted is not None:
            index.end_oldest(container, self._noted[0], limit)

    def _known_details(self) -> Mapping[str, Any]:
        """Return what the record said that was read last, if it is one of this user."""
        details = self._container._details
        if self.user is None or not details or details.get("user") != name_of(self.user):
            return {}
        return details  # type: ignore[no-any-return] # of the container, which is of any class


def _milliseconds() -> int:
    return int(time.time() * 1000)


def _kept(user: Any) -> Any:
    """Return what is left as it is when the session changes: a copy of a dictionary or list."""
    if isinstance(user, _COLLECTIONS):
        with suppress(Exception):  # of the application's own classes in it
            return copy.deepcopy(user)
    return user


def _is_same(one: Any, other: Any) -> bool:
    """Return whether two users are the same; those that cannot be compared are not."""
    if one is other:
        return True
    if one is None or other is None:
        return False
    # Of the application's own classes. A new id too many harms nobody.
    with suppress(Exception):
        if one == other:
            return True
    if not (isinstance(one, _COLLECTIONS) and isinstance(other, _COLLECTIONS)):
        return False
    with suppress(Exception):
        if json.dumps(one) == json.dumps(other):
            return True  # a tuple comes back from a cookie as a list
    from webapp2_sessions.sessions.sameness import same_value  # loads pickle: others do without

    return same_value(one, other)  # a copy may equal nothing but itself
