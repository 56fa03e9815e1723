"""The index of users: list the sessions of one, and end them."""

from __future__ import annotations

import contextlib
import datetime
import hmac
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from webapp2_sessions.errors import BackendError, ConfigError
from webapp2_sessions.securecookie.keys import derive_key
from webapp2_sessions.stored.factory import Noted, Stored
from webapp2_sessions.users import stamps
from webapp2_sessions.users.names import name_of, user_key_of, user_of
from webapp2_sessions.users.revocation import moment_of

__all__ = ["UserSession", "check_can_list", "end_listed", "end_oldest", "handle_of", "listed"]

#: How many records are asked for at once.
_PAGE = 100

#: Seconds after which a noted id that leads nowhere is dropped. Before that, a request may still be
#: about to write its record.
_DROPPED_AFTER = 600

#: How often the ids of a user are asked for, at most, to end also the sessions that get new ones
#: meanwhile. Each time, another request must have come in between once more.
_ROUNDS = 20

#: Seconds within which sign-ins are at the same time, with some between the clocks of machines.
_AT_ONCE = 5

#: Hexadecimal digits of a handle: 128 bits.
_HANDLE_LENGTH = 32


class UserSession(NamedTuple):
    """A session of a user, as an account page shows it.

    ``handle`` is what ``end_user_sessions(handle=...)`` takes. ``began``, when the user signed in,
    and ``saved`` are in UTC. ``label`` is what ``session.set_label()`` was given: escape it.
    """

    #: Names the session where one is to be ended; it opens nothing.
    handle: str
    #: When the user signed in, in UTC.
    began: datetime.datetime
    #: When the session was last saved, in UTC.
    saved: datetime.datetime
    #: What ``session.set_label()`` has called it.
    label: str | None
    #: Whether it is the session of this request.
    is_current: bool


def check_can_list(container: Any) -> None:
    """Raise unless a backend knows the sessions of a user.

    :raises ConfigError: it does not.
    """
    if getattr(container, "can_list", False) is not True:
        kind = type(container).__name__
        raise ConfigError(
            "user_index",
            f"needs a backend that can list sessions, as redis and datastore, not {kind} for the "
            f"session {getattr(container, 'name', None)!r}; if nobody signs in to that one, let "
            "'user_key' be a dictionary that names only the others; to sign users out of "
            "sessions elsewhere, configure 'revocation' in its place",
        )


def listed(container: Any, user: Any, limit: int | None) -> list[UserSession]:
    """Return what of a user's sessions can be opened, those first that were saved last.

    :param limit: the most to return, of those that began last; ``None`` for all.
    """
    found = [
        UserSession(
            _handles(container, noted.sid)[0],
            _utc(stored.details["began"]),
            _utc(stored.details["saved"]),
            stored.details["label"],
            noted.sid == container.sid,
        )
        for noted, stored in itertools.islice(_living(container, name_of(user)), limit)
    ]
    return sorted(found, key=lambda each: each.saved, reverse=True)


def end_listed(container: Any, user: Any, handle: str | None, keep: str | None) -> list[str]:
    """End sessions of a user; return the ids of those that were there until now.

    :param handle: of the only one to end, ``None`` for all.
    :param keep: of one that stays.
    :raises BackendError: it is not certain that all have ended; all were tried.
    """
    user = name_of(user)

    def is_meant(noted: Noted) -> bool:
        handles = _handles(container, noted.sid)
        return (handle is None or handle in handles) and keep not in handles

    ended: list[str] = []
    absent: set[str] = set()
    for _ in range(_ROUNDS):
        noted = [each for each in container._noted_of_user(user) if is_meant(each)]
        found = _end(container, user, noted)
        ended += found
        was_absent, absent = absent, {each.sid for each in noted}.difference(found)
        # An id without a record may have got another one meanwhile, which is noted by now. It has
        # not if nothing is different from the last time.
        if not absent or (absent == was_absent and not found):
            break
    return ended


def end_oldest(container: Any, user: str, limit: int) -> None:
    """End the sessions of a user that began first, if there are too many after a sign-in.

    Of several sign-ins at once the last stays, also where that is not this request's: else each
    would end the others.
    """
    living = {
        each.sid: (stored.details["began"], each) for each, stored in _living(container, user)
    }
    mine = living.get(container.sid)
    if mine is None:
        return  # it has ended already

    def order(other: tuple[float, Noted]) -> tuple[int, tuple[float, Noted]]:
        # What seems to have begun much later has done so by another clock.
        is_at_once = mine < other and other[0] - mine[0] <= _AT_ONCE
        return (2 if is_at_once else 1 if other == mine else 0), other

    oldest = sorted(living.values(), key=order)[: max(0, len(living) - limit)]
    _end(container, user, [noted for _, noted in oldest])


def handle_of(container: Any) -> str:
    """Return the handle of the session that is open."""
    return _handles(container, str(container.sid))[0]


def _handles(container: Any, sid: str) -> list[str]:
    """Return the handles of a session, by the present secret key and by older ones."""
    config = container.session_store.config
    keys = config["secret_key"], *config.get("secret_key_fallbacks", ())
    message = f"{container.name} {sid}".encode("utf-8", "surrogatepass")
    digests = (hmac.digest(derive_key(key, "session handle"), message, "sha256") for key in keys)
    return [digest.hex()[:_HANDLE_LENGTH] for digest in digests]


def _living(container: Any, user: str) -> Iterator[tuple[Noted, Stored]]:
    """Yield what of a user's sessions can be opened, and drop ids that lead nowhere."""
    config = container.session_store.config
    judge, noted = _Judge(config, container.name, user), iter(container._noted_of_user(user))
    while page := [*itertools.islice(noted, _PAGE)]:
        records = container._look_up([each.sid for each in page])
        lost = []
        for each, stored in zip(page, records, strict=True):
            if stored is None or stored.details.get("user") != user:
                lost.append(each)
            elif each.sid == container.sid or judge.opens(stored):  # this one is open
                yield each, stored
        is_late = (time.time() - _DROPPED_AFTER) * 1000
        with contextlib.suppress(BackendError):  # another list tries again
            container._drop_of_user(user, [each for each in lost if each.at < is_late])


class _Judge:
    """Tells which records of a user can be opened by their cookies.

    :param config: the session configuration.
    :param name: the name of the sessions.
    :param user: the user, as the index names him.
    """

    def __init__(self, config: Mapping[str, Any], name: str, user: str) -> None:
        self._config = config
        self._key = user_key_of(config, name)
        self._user = user
        self._moment = moment_of(config, user)
        #: What ``user_stamp`` returns, once it was asked.
        self._stamped: list[Any] = []

    def opens(self, stored: Stored) -> bool:
        """Return whether a session with a record can be opened."""
        user, details = user_of(stored.data, self._key), stored.details
        if user is None or name_of(user) != self._user or details["signed_in"] <= self._moment:
            return False
        if details["ends"] is not None and time.time() >= details["ends"]:
            return False
        user_stamp = self._config.get("user_stamp")
        if user_stamp is None:
            return True
        if not self._stamped:
            self._stamped.append(user_stamp(user))
        return stamps.fits(self._config, self._stamped[0], details["stamp"])


def _end(container: Any, user: str, noted: Sequence[Noted]) -> list[str]:
    """End sessions, the others as well if one fails; return the ids of those that were there."""
    ended, failure = [], None
    for each in noted:
        try:
            if container._end(each.sid):
                ended.append(each)
        except BackendError as error:
            failure = failure or error
    with contextlib.suppress(BackendError):  # a list leaves them out
        # Of another one the record may be about to be written.
        container._drop_of_user(user, ended)
    if failure is not None:
        raise failure
    return [each.sid for each in ended]


def _utc(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
