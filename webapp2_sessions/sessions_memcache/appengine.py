"""App Engine's bundled memcache, on Python 3, by the SDK that is ``google.appengine`` there."""

from __future__ import annotations

from typing import Any, NoReturn

from webapp2_sessions.errors import BackendError, MissingDependency, SessionTooLarge
from webapp2_sessions.sessions_memcache.servers import TAKEN, Node

try:
    from google.appengine.api import memcache
    from google.appengine.runtime import apiproxy_errors
except ImportError as _error:
    library = "appengine-python-standard"
    raise MissingDependency(library, "appengine", "memcache") from _error

#: The largest value that the service takes, in bytes.
_LARGEST_VALUE = 10**6

#: Each try fails only if another request has just written the value.
_TRIES = 20

#: Namespaces are part of our keys. The service's own one would depend on when it is asked.
_NO_NAMESPACE = ""


def _refuse(_: Any) -> NoReturn:
    """Take the place of pickle's decoder: we store no pickles by the SDK."""
    raise BackendError("memcache", AppEngineMemcache.address, "a stored value is no session")


class AppEngineMemcache(Node):
    """The memcache of the application that runs on App Engine.

    The SDK's plain methods turn a failure of the service into a miss. Here its calls are checked.

    :param timeout: seconds for each call.
    """

    address = "App Engine"

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout

    def call(self, operation: str, *args: Any) -> Any:
        """Call a method of this class, with a bounded wait.

        :raises BackendUnavailable: the service failed, or there is none.
        :raises BackendError: it answered with an error.
        :raises AttributeError: it has no such command, as it has no statistics of one item.
        """
        return getattr(self, f"_{operation}")(*args)

    def set_noreply(self, key: bytes, value: bytes, seconds: int) -> None:
        """Store a value; the service has no way not to wait."""
        self._set(key, value, seconds)

    def largest_value(self) -> int:
        """Return the size in bytes of the largest value that the service takes."""
        return _LARGEST_VALUE

    # Commands, with the results of pymemcache's clients

    def _get(self, key: bytes) -> bytes | None:
        return self._gets(key)[0]

    def _gets(self, key: bytes) -> tuple[bytes | None, Any]:
        """Return a value and its token: the client that has read it, which must not read on."""
        client = memcache.Client(unpickler=_refuse)
        found = self._result(
            client.get_multi_async,
            [key],
            namespace=_NO_NAMESPACE,
            for_cas=True,
        )
        value = found.get(key)
        if value is not None and type(value) is not bytes:
            raise BackendError("memcache", self.address, "a stored value is no session")
        return value, None if value is None else client

    def _set(self, key: bytes, value: bytes, seconds: int) -> bool:
        return self._store("set_multi_async", key, value, seconds)

    def _add(self, key: bytes, value: bytes, seconds: int) -> bool:
        return self._store("add_multi_async", key, value, seconds)

    _fill = _add

    def _replace(self, key: bytes, value: bytes, seconds: int) -> bool:
        """Store a value where there is one that has not been taken away."""
        for _ in range(_TRIES):
            stored, token = self._gets(key)
            if stored in (None, TAKEN):
                return False
            if self._cas(key, value, token, seconds):
                return True
        raise self.unavailable("others have written the session at each try")

    def _cas(self, key: bytes, value: bytes, token: Any, seconds: int) -> bool:
        seconds = 1 if seconds < 0 else seconds  # the service takes none that has passed
        return self._store("cas_multi_async", key, value, seconds, token)

    def _touch(self, key: bytes, seconds: int) -> bool:
        """Store a value once more as it is: the service has no command for its expiry."""
        value, token = self._gets(key)
        if value in (None, TAKEN):
            return False
        # If not, another request has just written it, or ended it.
        return self._cas(key, value, token, seconds) or self._get(key) is not None

    def _delete(self, key: bytes) -> bool:
        client = memcache.Client()
        deleted = self._result(client.delete_multi_async, [key], namespace=_NO_NAMESPACE)
        return bool(deleted == [memcache.DELETE_SUCCESSFUL])

    def _store(
        self, method: str, key: bytes, value: bytes, seconds: int, client: Any = None
    ) -> bool:
        if len(value) > _LARGEST_VALUE:
            raise SessionTooLarge("memcache", self.address, len(value), _LARGEST_VALUE)
        storing = getattr(client or memcache.Client(), method)
        status = self._result(storing, {key: value}, time=seconds, namespace=_NO_NAMESPACE)[key]
        if status == memcache.ERROR:
            raise self.unavailable("the service did not store the session")
        return bool(status == memcache.STORED)

    def _result(self, method: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a method of the SDK's that returns an RPC, and return its result."""
        try:
            rpc = memcache.create_rpc(self._timeout)
            method(*args, rpc=rpc, **kwargs)
            rpc.check_success()
            is_readable, result = _result_of(rpc)
        except apiproxy_errors.Error as error:
            raise self.unavailable(f"the service failed ({type(error).__name__})") from error
        except AssertionError as error:  # the SDK finds no service
            text = "there is none here: wrap the application by google.appengine.api.wrap_wsgi_app"
            raise self.unavailable(text) from error
        if not is_readable:
            raise BackendError("memcache", self.address, "a stored value is no session")
        if result is None:
            raise self.unavailable("the service failed")
        return result


def _result_of(rpc: Any) -> tuple[bool, Any]:
    """Return the result of an RPC that has succeeded, and whether the SDK could decode it.

    What others have stored may be marked as a number that is none, or as of an unknown type. The
    error for it shows the value.
    """
    try:
        return True, rpc.get_result()
    except (AssertionError, ValueError):
        return False, None
