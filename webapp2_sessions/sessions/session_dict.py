"""A session as a dictionary that tracks whether it was modified."""

from __future__ import annotations

import datetime
import hmac
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from webapp2_sessions.errors import ConfigError
from webapp2_sessions.sessions import csrf

if TYPE_CHECKING:
    from _typeshed import SupportsKeysAndGetItem

__all__ = ["SessionDict", "is_destroyed"]

Self = TypeVar("Self", bound="SessionDict")
Other = TypeVar("Other")
Found = TypeVar("Found")

#: Characters of a label at most: it may be a browser's own words.
_LONGEST_LABEL = 200

#: Where flash messages are kept unless the caller names another key.
_FLASH = "_flash"


class _KeyFirst(Generic[Found]):
    """A property that returns the session's value instead, if there is a key of its name.

    Templates look up attributes before keys: ``{{ session.changed }}`` of an application that was
    written for ``webapp2_extras``, which has no such attribute, has to show the key.

    :param find: returns the property's value; called with the session.
    """

    def __init__(self, find: Callable[[Any], Found]) -> None:
        self._find = find
        self._name: str = find.__name__
        self.__doc__ = find.__doc__

    @overload
    def __get__(self, session: None, owner: type[Any]) -> _KeyFirst[Found]: ...
    @overload
    def __get__(self, session: object, owner: type[Any] | None = None) -> Found: ...
    def __get__(self, session: Any, owner: type[Any] | None = None) -> Any:
        if session is None:
            return self
        return session[self._name] if self._name in session else self._find(session)


class SessionDict(dict[Any, Any]):
    """The data of one session.

    Every method of :class:`dict` that changes it sets :attr:`modified`. A change inside a value
    (``session["cart"].append(1)``) is not noticed: assign the value again, or call
    :meth:`mark_changed`.

    :param container: the factory that made the session, usually a
        :class:`~webapp2_sessions.sessions.BaseSessionFactory`.
    :param data: initial data, anything that ``dict()`` takes.
    :param new: whether the request came without a valid session.
    """

    # With __dict__ and __weakref__, because upstream's sessions allow both.
    __slots__ = ("__dict__", "__weakref__", "container", "modified", "new")

    #: The factory that made this session.
    container: Any
    #: True where the visitor came without a valid session.
    new: bool
    #: True where the session will be written by ``save_sessions()``.
    modified: bool
    # Underscores, because in a template an attribute is found before a key of its name.
    _degraded: bool = False
    _destroyed: bool = False
    #: Whether the next save gives the session a new id.
    _regenerates: bool = False
    #: Whether the session is written even if its data is unchanged.
    _forced: bool = False
    #: Keys of flash messages that this request used, besides the default.
    _flash_keys: frozenset[str] = frozenset()
    #: Keys that this request has set or removed; ``None`` if they are not tracked.
    _assigned: set[Any] | None = None

    def __init__(
        self,
        container: Any,
        data: SupportsKeysAndGetItem[Any, Any] | Iterable[tuple[Any, Any]] | None = None,
        new: bool = False,
    ) -> None:
        self.container = container
        self.new = new
        self.modified = False
        dict.update(self, data or ())

    def on_update(self) -> None:
        """Mark the session as modified; a subclass may set it to ``None`` to switch that off."""
        self.modified = True

    def _changed(self) -> None:
        if self.on_update is not None:
            self.on_update()

    def _note_assigned(self, keys: Iterable[Any]) -> None:
        if self._assigned is not None:
            self._assigned.update(keys)

    def __setitem__(self, key: Any, value: Any) -> None:
        dict.__setitem__(self, key, value)
        if self._assigned is not None:
            self._assigned.add(key)
        if self.on_update is not None:
            self.on_update()

    def __delitem__(self, key: Any) -> None:
        dict.__delitem__(self, key)
        self._note_assigned((key,))
        self._changed()

    def clear(self) -> None:
        """Remove all items."""
        self._note_assigned(self)
        dict.clear(self)
        self._changed()

    @overload
    def pop(self, key: Any) -> Any: ...
    @overload
    def pop(self, key: Any, default: Other, /) -> Any | Other: ...
    def pop(self, key: Any, *args: Any) -> Any:
        """Remove ``key`` and return its value; a missing key modifies nothing.

        :param args: at most one default, positional only, as in upstream.
        :raises KeyError: the key is missing and no default is given.
        """
        if key in self:
            value = dict.pop(self, key, *args)
            self._note_assigned((key,))
            self._changed()
            return value
        if args:
            return args[0]
        raise KeyError(key)

    def popitem(self) -> tuple[Any, Any]:
        """Remove and return the last item; :class:`KeyError` if there is none."""
        item = dict.popitem(self)
        self._note_assigned(item[:1])
        self._changed()
        return item

    @overload
    def setdefault(self, key: Any, default: None = None, /) -> Any | None: ...
    @overload
    def setdefault(self, key: Any, default: Any, /) -> Any: ...
    def setdefault(self, key: Any, *args: Any) -> Any:
        """Return the value of ``key``, setting it first if it is missing; always modifies."""
        if key not in self:
            self._note_assigned((key,))
        value = dict.setdefault(self, key, *args)
        self._changed()
        return value

    @overload
    def update(
        self,
        __items: SupportsKeysAndGetItem[Any, Any] | Iterable[tuple[Any, Any]],
        **kwargs: Any,
    ) -> None: ...
    @overload
    def update(self, **kwargs: Any) -> None: ...
    def update(self, *args: Any, **kwargs: Any) -> None:
        """Update as :meth:`dict.update`; a partial update that fails is saved as well."""
        self._apply(dict.update, *args, **kwargs)

    def __ior__(  # type: ignore[misc] # one signature in place of two
        self: Self, other: SupportsKeysAndGetItem[Any, Any] | Iterable[tuple[Any, Any]]
    ) -> Self:
        return self._apply(dict.__ior__, other)  # type: ignore[no-any-return]

    def _apply(self, merge: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call ``merge``, and note which keys it set, even if it fails midway."""
        # Only a dict is merged as a whole.
        before = dict(self) if args and type(args[0]) is not dict else None
        try:
            result = merge(self, *args, **kwargs)
        except BaseException:
            if before is not None and (others := _other_items(before, self)):
                self._note_assigned(others)
                self._changed()
            raise
        if self._assigned is not None:
            given = args[0] if before is None and args else _other_items(before or {}, self)
            self._note_assigned([*given, *kwargs])
        self._changed()
        return result

    @_KeyFirst
    def degraded(self) -> bool:
        """Whether the server failed and the configuration has ``on_backend_error='degrade'``.

        Then the session is empty, or its last changes are not stored, and it is not written.
        """
        return self._degraded

    @_KeyFirst
    def destroyed(self) -> bool:
        """Whether :meth:`destroy` was called since the last save."""
        return self._destroyed

    @_KeyFirst
    def changed(self) -> Callable[[], None]:
        """:meth:`mark_changed`, unless the session has a key of this name."""
        return self.mark_changed

    def mark_changed(self) -> None:
        """Mark the session as modified, for instance after a change inside a value.

        Unlike ``modified = True``, this writes the session and signs its cookie again even if
        ``change_detection='content'`` finds its data unchanged.
        """
        self.modified = self._forced = True

    def regenerate_id(self) -> None:
        """Give the session a new id and keep its data; the old id becomes invalid.

        Call it when the visitor signs in or out, so that an id that somebody else has planted or
        seen is useless (session fixation). A session that is stored in the cookie has no id; it is
        only signed again.

        An age that :meth:`set_max_age` gave the session in an earlier request is forgotten. Call it
        again for a visitor who should be remembered. Its :meth:`get_csrf_token` is another one.
        """
        self._regenerates = True
        if csrf.KEY in self:
            csrf.new_token(self)
        forget_inherited_age = getattr(self.container, "forget_inherited_age", None)
        if forget_inherited_age is not None:
            forget_inherited_age()
        self.mark_changed()

    def set_max_age(self, seconds: float | None) -> None:
        """Set the maximum age of this session, e.g. for "remember me".

        The age is stored with the session and counts from each write. The browser keeps the cookie
        for this time; ``session_max_age`` and the ``max_age`` of ``get_session()`` do not apply.

        :param seconds: rounded down to whole seconds; ``None`` restores the default.
        :raises ConfigError: ``seconds`` is neither a positive number nor ``None``.
        """
        if seconds is not None and not _is_positive(seconds):
            raise ConfigError(
                "set_max_age()",
                f"must be a positive number of seconds or None, not {type(seconds).__name__}",
            )
        self.container.own_max_age = None if seconds is None else max(1, int(seconds))
        self.container.sets_max_age = True
        self.mark_changed()

    def set_label(self, label: str | None) -> None:
        """Set what the session is called in the list of its user's sessions.

        That is kept where ``user_index`` is configured, and lost at the next sign-in.

        :param label: such as ``"Firefox on Linux"``; of long ones 200 characters are kept.
        :raises ConfigError: ``label`` is neither text nor ``None``.
        """
        if label is not None and not isinstance(label, str):
            raise ConfigError("set_label()", f"must be text or None, not {type(label).__name__}")
        # Plain text, because the class of escaped text cannot be stored everywhere.
        self.container._label = "" if label is None else str.__str__(label)[:_LONGEST_LABEL]
        self.mark_changed()

    def get_expiry_date(self) -> datetime.datetime | None:
        """Return the last second, in UTC, in which the next request opens this session.

        It is the earliest of all limits: ``session_max_age`` or the ``max_age`` of
        ``get_session()``, and ``cookie_args['max_age']`` after which browsers drop the cookie, or
        in place of these the age of :meth:`set_max_age`, from when the cookie was signed; and
        ``absolute_max_age`` from when the session began. The next request is supposed to open it by
        the same arguments, and no other to save it meanwhile.

        A session that was only read ends as its cookie came. One that was changed, or is due for a
        refresh by ``refresh_after``, ends as if it were saved now, and once it was saved, as that
        cookie; what is changed later does not count. A backend with upstream's interface does not
        tell that it has saved: then it is as if it were saved now.

        :returns: ``None`` without a limit, if it is not known when the cookie was signed, and where
            there is nothing to open: in a session that is new and unchanged, was destroyed or
            superseded, or is :attr:`degraded`.
        """
        at = self._expires_at()
        return None if at is None else datetime.datetime.fromtimestamp(at, datetime.timezone.utc)

    def get_expiry_age(self) -> int | None:
        """Return the whole seconds until :meth:`get_expiry_date`, or ``None`` as that does."""
        at = self._expires_at()
        return None if at is None else max(0, int(at - time.time()))

    def _expires_at(self) -> int | None:
        self._follow_user()
        # A mock has any attribute, its class has not.
        find = getattr(type(self.container), "_expires_at", None)
        return None if find is None else find(self.container, self)

    def destroy(self) -> None:
        """Empty the session, and delete it with the next save.

        ``save_sessions()`` deletes the stored record and expires the cookie. Data that is set
        afterwards in the same request begins a new session, with a new id. A session that is
        stored in the cookie has no record: a copy of the cookie remains valid, unless
        ``store.end_user_sessions()`` revokes it.

        A backend that was written for upstream's interface cannot delete; its session is saved
        empty.
        """
        self._note_assigned(self)
        dict.clear(self)
        can_destroy = getattr(self.container, "can_destroy", False)
        self.modified = not can_destroy
        self.new = can_destroy
        self._destroyed = True
        self._regenerates = self._forced = False
        if can_destroy:
            self.container.reset()

    def get_csrf_token(self) -> str:
        """Return the token that this session's forms send back, so that nobody can forge them.

        It is made on first use and kept in the session, under ``_csrft``. That of a session which
        is on a server already is derived from its id instead, and nothing is saved for it.
        """
        self._follow_user()
        return next(iter(csrf.tokens_of(self)), None) or csrf.new_token(self)

    def new_csrf_token(self) -> str:
        """Give the session another token, and return it; forms from before are void.

        :meth:`regenerate_id` and :meth:`destroy` do so as well.
        """
        self._follow_user()
        return csrf.new_token(self)

    def check_csrf_token(self, value: object) -> bool:
        """Return whether a value that a request has brought is the session's token.

        :returns: ``False`` also for what is no text, and where the session has no token.
        """
        self._follow_user()
        given = str.encode(value, "utf-8", "surrogatepass") if isinstance(value, str) else b""
        return any(hmac.compare_digest(given, each.encode()) for each in csrf.tokens_of(self))

    def _follow_user(self) -> None:
        """Do what the save will do where the user has changed: token and age change with the id."""
        catch_up = getattr(type(self.container), "_catch_up", None)
        if catch_up is not None:
            catch_up(self.container, self)

    def get_flashes(self, key: str = _FLASH, *, level: str | None = None) -> list[Any]:
        """Return and remove the flash messages.

        :param key: their key in the session.
        :param level: only return and remove the messages of this level.
        :returns: a list of ``(value, level)``, which are tuples in server-side backends and lists
            in cookies. If there are none, it is empty and the session is not modified.
        """
        self._use_flash_key(key)
        if level is None:
            return self.pop(key, [])
        found = self.peek_flashes(key, level=level)
        if found:
            left = [message for message in self[key] if message[1] != level]
            if left:
                self[key] = left
            else:
                del self[key]
        return found

    def peek_flashes(self, key: str = _FLASH, *, level: str | None = None) -> list[Any]:
        """Return the flash messages without removing them.

        :param key: their key in the session.
        :param level: only return the messages of this level.
        """
        messages = self.get(key, ())
        return [message for message in messages if level is None or message[1] == level]

    def add_flash(self, value: Any, level: str | None = None, key: str = _FLASH) -> None:
        """Add a message that the next :meth:`get_flashes` returns and removes.

        If there are more than ``max_flashes`` of the configuration, the oldest are dropped.

        :param value: the message; in cookie sessions anything that JSON can represent.
        :param level: a category, e.g. ``"error"``.
        :param key: the key of the messages in the session.
        """
        self._use_flash_key(key)
        messages = self.setdefault(key, [])
        messages.append((value, level))
        limit = getattr(self.container, "max_flashes", None)
        if type(limit) is int and type(messages) is list and len(messages) > limit:
            del messages[:-limit]

    def _use_flash_key(self, key: str) -> None:
        if key != _FLASH and key not in self._flash_keys:
            self._flash_keys = self._flash_keys | {key}


def is_destroyed(session: object) -> bool:
    """Return whether ``destroy()`` was called for a session since its last save."""
    return getattr(session, "_destroyed", False) is True


def _is_positive(seconds: object) -> bool:
    is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    return is_number and 0 < seconds < 2**31  # type: ignore[operator] # what browsers take


def _other_items(before: dict[Any, Any], after: dict[Any, Any]) -> list[Any]:
    """Return the keys whose values are other objects; ``==`` of values is not called."""
    return [key for key, value in after.items() if key not in before or before[key] is not value]
