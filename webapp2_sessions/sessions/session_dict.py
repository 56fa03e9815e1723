"""The session as handlers see it: a dictionary that knows when it was modified."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from webapp2_sessions.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import SupportsKeysAndGetItem

__all__ = ["SessionDict", "is_destroyed"]

Self = TypeVar("Self", bound="SessionDict")
Other = TypeVar("Other")
Found = TypeVar("Found")

#: Where flash messages are kept unless the caller names another key.
_FLASH = "_flash"


class _KeyFirst(Generic[Found]):
    """A name that ``webapp2_extras`` has not: the session's key of that name is found before it.

    In a template ``{{ session.changed }}`` asks for an attribute first, and has to show the key.

    :param find: called with the session, returns what the name means where there is no such key.
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

    A change through any method of :class:`dict` sets :attr:`modified`. A change inside a value
    (``session["cart"].append(1)``) cannot be seen: assign the value again, or call
    :meth:`mark_changed`.

    :param container: the factory that made the session, usually a
        :class:`~webapp2_sessions.sessions.BaseSessionFactory`.
    :param data: initial data, anything that ``dict()`` takes.
    :param new: whether no valid session came with the request.
    """

    # Attributes of any name and weak references are possible with upstream's sessions too.
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
    #: Whether the session gets a new id when it is saved.
    _regenerates: bool = False
    #: Whether the session is written even if its data is what was loaded.
    _forced: bool = False
    #: Keys of flash messages that this request used, besides the usual one.
    _flash_keys: frozenset[str] = frozenset()
    #: Keys that this request has set or removed, if somebody wants to know.
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
        """Update as :meth:`dict.update`; what a failing update has set is saved as well."""
        self._apply(dict.update, *args, **kwargs)

    def __ior__(  # type: ignore[misc] # one signature in place of two
        self: Self, other: SupportsKeysAndGetItem[Any, Any] | Iterable[tuple[Any, Any]]
    ) -> Self:
        return self._apply(dict.__ior__, other)  # type: ignore[no-any-return]

    def _apply(self, merge: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run ``merge``, which may change some items before it fails."""
        # A dict is merged whole; anything else is consumed item by item and may fail midway.
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

        The session is then empty, or not up to date in the store, and is not written.
        """
        return self._degraded

    @_KeyFirst
    def destroyed(self) -> bool:
        """Whether :meth:`destroy` was called, until the session is saved."""
        return self._destroyed

    @_KeyFirst
    def changed(self) -> Callable[[], None]:
        """:meth:`mark_changed`, unless the session has a key of this name."""
        return self.mark_changed

    def mark_changed(self) -> None:
        """Have the session written, for instance after a change inside a value.

        Unlike ``modified = True`` it is written with ``change_detection='content'`` as well, and
        its cookie is signed again, whether or not its data is what was loaded.
        """
        self.modified = self._forced = True

    def regenerate_id(self) -> None:
        """Give the session a new id; the data stays, and the old id leads nowhere any more.

        Call it when the visitor signs in or out: an id that somebody else may have planted or
        seen before is of no use to them then (session fixation). A session that is kept in a
        cookie alone has no id; it is only signed again.

        An age that :meth:`set_max_age` gave the session in an earlier request does not outlive
        its former id. Call it again for a visitor who is to be remembered.
        """
        self._regenerates = True
        forget_inherited_age = getattr(self.container, "forget_inherited_age", None)
        if forget_inherited_age is not None:
            forget_inherited_age()
        self.mark_changed()

    def set_max_age(self, seconds: float | None) -> None:
        """Let this session live longer or shorter than others, e.g. "remember me".

        It is kept with the session and counts from each write: the browser keeps the cookie for
        so long, and ``session_max_age`` and the ``max_age`` of ``get_session()`` do not apply.

        :param seconds: whole seconds are kept; ``None`` makes it a session like others again.
        :raises ConfigError: it is neither a positive number nor ``None``.
        """
        if seconds is not None and not _is_positive(seconds):
            raise ConfigError(
                "set_max_age()",
                f"must be a positive number of seconds or None, not {type(seconds).__name__}",
            )
        self.container.own_max_age = None if seconds is None else max(1, int(seconds))
        self.container.sets_max_age = True
        self.mark_changed()

    def destroy(self) -> None:
        """Empty the session and end it: nothing of it is left where it is stored.

        ``save_sessions()`` deletes the stored record and lets the cookie expire. What is set
        afterwards in the same request begins a new session, with a new id. A session that is
        kept in a cookie alone cannot be ended on other devices: who copied the cookie has it.

        A backend that was written against upstream's interface cannot delete; there the session
        is saved empty.
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

    def get_flashes(self, key: str = _FLASH, *, level: str | None = None) -> list[Any]:
        """Return and remove the flash messages.

        :param key: where they are kept in the session.
        :param level: only the messages of this level; the others stay.
        :returns: a list of ``(value, level)``, as tuples from server-side backends and as lists
            from cookies; empty where there are none, and then nothing is modified.
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
        """Return the flash messages and leave them where they are; arguments are as above."""
        messages = self.get(key, ())
        return [message for message in messages if level is None or message[1] == level]

    def add_flash(self, value: Any, level: str | None = None, key: str = _FLASH) -> None:
        """Add a message that is shown once, by the next :meth:`get_flashes`.

        With ``max_flashes`` in the configuration the oldest messages that nobody has read go.

        :param value: the message; for cookie sessions anything that JSON can represent.
        :param level: a category of the application's own, e.g. ``"error"``.
        :param key: where the messages are kept in the session.
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
    """Whether ``destroy()`` was called for a session, and has not been saved yet."""
    return getattr(session, "_destroyed", False) is True


def _is_positive(seconds: object) -> bool:
    is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    return is_number and 0 < seconds < 2**31  # type: ignore[operator] # what browsers take


def _other_items(before: dict[Any, Any], after: dict[Any, Any]) -> list[Any]:
    """Return the keys with other objects; never compares values, whose ``==`` may be anything."""
    return [key for key, value in after.items() if key not in before or before[key] is not value]
