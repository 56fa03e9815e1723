"""The session as handlers see it: a dictionary that knows when it was modified."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["SessionDict"]

#: Where flash messages are kept unless the caller names another key.
_FLASH = "_flash"


class SessionDict(dict[Any, Any]):
    """The data of one session.

    A change through any method of :class:`dict` sets :attr:`modified`. A change inside a value
    (``session["cart"].append(1)``) cannot be seen: assign the value again, or set
    ``session.modified = True``.

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
    #: True where the server failed and the configuration has ``on_backend_error='degrade'``: the
    #: session is empty, or not up to date in the store, and is not written.
    degraded = False
    #: True after :meth:`destroy`.
    destroyed = False

    #: Keys of flash messages that this request used, besides the usual one.
    flash_keys: frozenset[str] = frozenset()

    def __init__(self, container: Any, data: Any = None, new: bool = False) -> None:
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

    def __setitem__(self, key: Any, value: Any) -> None:
        dict.__setitem__(self, key, value)
        self._changed()

    def __delitem__(self, key: Any) -> None:
        dict.__delitem__(self, key)
        self._changed()

    def clear(self) -> None:
        """Remove all items."""
        dict.clear(self)
        self._changed()

    def pop(self, key: Any, *args: Any) -> Any:
        """Remove ``key`` and return its value; a missing key modifies nothing.

        :param args: at most one default, positional only, as in upstream.
        :raises KeyError: the key is missing and no default is given.
        """
        if key in self:
            value = dict.pop(self, key, *args)
            self._changed()
            return value
        if args:
            return args[0]
        raise KeyError(key)

    def popitem(self) -> tuple[Any, Any]:
        """Remove and return the last item; :class:`KeyError` if there is none."""
        item = dict.popitem(self)
        self._changed()
        return item

    def setdefault(self, key: Any, *args: Any) -> Any:
        """Return the value of ``key``, setting it first if it is missing; always modifies."""
        value = dict.setdefault(self, key, *args)
        self._changed()
        return value

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Update as :meth:`dict.update`; what a failing update has set is saved as well."""
        self._apply(dict.update, *args, **kwargs)

    def __ior__(self, other: Any) -> SessionDict:  # type: ignore[misc]
        return self._apply(dict.__ior__, other)  # type: ignore[no-any-return]

    def _apply(self, merge: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run ``merge``, which may change some items before it fails."""
        # A dict is merged whole; anything else is consumed item by item and may fail midway.
        before = dict(self) if args and type(args[0]) is not dict else None
        try:
            result = merge(self, *args, **kwargs)
        except BaseException:
            if before is not None and not _same_items(before, self):
                self._changed()
            raise
        self._changed()
        return result

    def destroy(self) -> None:
        """Empty the session and end it: nothing of it is left where it is stored.

        ``save_sessions()`` deletes the stored record and lets the cookie expire. What is set
        afterwards in the same request begins a new session, with a new id. A session that is
        kept in a cookie alone cannot be ended on other devices: who copied the cookie has it.

        A backend that was written against upstream's interface cannot delete; there the session
        is saved empty.
        """
        dict.clear(self)
        self.modified = not getattr(self.container, "can_destroy", False)
        self.new = not self.modified
        self.destroyed = True

    def get_flashes(self, key: str = _FLASH) -> list[Any]:
        """Return and remove the flash messages.

        :param key: where they are kept in the session.
        :returns: a list of ``(value, level)``, as tuples from server-side backends and as lists
            from cookies; empty where there are none, and then nothing is modified.
        """
        self._use_flash_key(key)
        return self.pop(key, [])  # type: ignore[no-any-return]

    def add_flash(self, value: Any, level: str | None = None, key: str = _FLASH) -> None:
        """Add a message that is shown once, by the next :meth:`get_flashes`.

        :param value: the message; for cookie sessions anything that JSON can represent.
        :param level: a category of the application's own, e.g. ``"error"``.
        :param key: where the messages are kept in the session.
        """
        self._use_flash_key(key)
        self.setdefault(key, []).append((value, level))

    def _use_flash_key(self, key: str) -> None:
        if key != _FLASH and key not in self.flash_keys:
            self.flash_keys = self.flash_keys | {key}


def _same_items(before: dict[Any, Any], after: dict[Any, Any]) -> bool:
    """Whether both hold the same objects; never compares values, whose ``==`` may be anything."""
    return before.keys() == after.keys() and all(before[key] is after[key] for key in before)
