"""A base class of request handlers that saves sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import webapp2

from webapp2_sessions.config import _default_value
from webapp2_sessions.cookies.copying import AddedCookies
from webapp2_sessions.sessions import SessionStore, get_store
from webapp2_sessions.sessions.session_dict import SessionDict
from webapp2_sessions.sessions.sign_outs import delete_destroyed

if TYPE_CHECKING:
    from webapp2_sessions.sessions.interfaces import RequestHandler, SessionFactory
else:
    RequestHandler = webapp2.RequestHandler

__all__ = ["SessionHandler"]


class SessionHandler(RequestHandler):
    """A request handler with :attr:`session`, which is saved after the handler's method.

    Cookies are set on the response that is sent: ``self.response``, another one that the method
    returns, or the answer to ``abort()``, ``redirect(abort=True)`` and any other
    ``HTTPException``. After any other exception only the sessions that were destroyed are deleted,
    and nothing else is saved. An exception that the handler's own ``handle_exception()`` answers
    does not count.
    """

    #: Name of :attr:`session` and its cookie; ``None`` means ``cookie_name`` of the configuration.
    session_name: str | None = None
    #: Keyword of the default backend in ``config["backends"]``; ``None`` means ``default_backend``
    #: of the configuration.
    session_backend: str | None = None
    #: Whether sessions are saved, and cookies sent, after any exception.
    save_on_error: bool = False

    _session: SessionDict | None = None
    #: The response that ``initialize()`` was called with.
    _given_response: Any = None

    @property
    def session_store(self) -> SessionStore:
        """The session store of the request, the same that ``get_store()`` returns."""
        return get_store(request=self.request)

    # Not a cached_property: webapp2's, and that of functools before Python 3.12, would hold one
    # lock for all requests while the session is loaded from a server.
    @property
    def session(self) -> SessionDict:
        """The visitor's session, of :attr:`session_name` and :attr:`session_backend`."""
        if self._session is None:
            self._session = self.get_session()
        return self._session

    def get_session(
        self,
        name: str | None = None,
        max_age: float | None = _default_value,
        factory: SessionFactory | None = None,
        backend: str | None = None,
    ) -> SessionDict:
        """Return a session of the store; within a request always the same object for a name.

        :param name: name of the session and its cookie; by default :attr:`session_name`.
        :param max_age: age of the cookie in seconds above which the session counts as expired,
            ``None`` for no limit; by default ``session_max_age``.
        :param factory: the session factory; takes precedence over ``backend``.
        :param backend: keyword of the backend; by default :attr:`session_backend`.
        :raises ConfigError: the name cannot be sent as a cookie, or ``max_age`` is no number.
        :raises BackendError: the backend's server failed.
        """
        backend = backend or self.session_backend
        session: SessionDict = self.session_store.get_session(
            name=name or self.session_name,
            max_age=max_age,
            factory=factory,
            **({} if backend is None else {"backend": backend}),
        )
        return session

    def initialize(self, request: Any, response: Any) -> None:
        """Take the request and its response."""
        self._given_response = response  # kept, because a subclass may replace self.response
        super().initialize(request, response)

    def dispatch(self) -> Any:
        """Call the method of the route, then save the sessions of the request.

        :raises BackendError: it is not certain that a session was stored.
        """
        response, is_raised = self._get_own_response(), False
        try:
            try:
                sent = super().dispatch()
            except Exception as error:
                is_http = isinstance(error, webapp2.HTTPException)
                if not (is_http or self.save_on_error):
                    raise
                is_raised = is_http and self._is_sent_unchanged(error)
                sent = error if is_raised else self._answer(error, response)
            # Outside of any except block, because SessionMiddleware saves nothing in one.
            with AddedCookies(response) as added:
                self.session_store.save_sessions(response)
            sent = self._copy_cookies_to(sent, added)
        except BaseException as error:
            deleted = self._delete_destroyed(response)
            if deleted is None or not isinstance(error, Exception):
                raise
            return self._copy_cookies_to(self._answer(error, response), deleted)
        if not is_raised:
            return sent
        context = sent.__context__
        try:
            raise sent
        finally:
            sent.__context__ = context
            del sent  # its traceback refers to this frame

    def _get_own_response(self) -> Any:
        """Return the response that is sent if the method returns ``None``.

        No other request has it.
        """
        given = self._given_response
        if given is None:  # a subclass has another initialize()
            given = getattr(self.request, "response", None)
        return self.response if given is None else given

    def _is_sent_unchanged(self, error: Exception) -> bool:
        """Return whether webapp2 sends an HTTPException itself, without any error handler."""
        app, code = self.request.app, getattr(error, "code", None)
        is_default = type(app).handle_exception is webapp2.WSGIApplication.handle_exception
        return is_default and code is not None and not app.error_handlers.get(code)

    def _answer(self, error: Exception, response: Any) -> Any:
        """Return the application's answer to an exception, ``None`` for ``response``.

        ``webapp2.WSGIApplication`` would do the same later, too late for cookies.
        """
        app = self.request.app
        try:
            return app.handle_exception(self.request, response, error)
        except webapp2.HTTPException as other:
            return other
        except Exception as other:
            return app._internal_error(other)

    def _delete_destroyed(self, response: Any) -> AddedCookies | None:
        """Delete the sessions that were destroyed; return ``None`` if there are none."""
        try:
            store = self.session_store
        except Exception:  # without a store there are no sessions; the original error is reported
            return None
        with AddedCookies(response) as added:
            is_any = delete_destroyed(store, response)
        return added if is_any else None

    def _copy_cookies_to(self, sent: Any, added: AddedCookies) -> Any:
        """Return what is sent with the added cookies; it may outlive the request itself."""
        copy = added.copy_cookies_to(sent)
        if copy is not sent and self.response is sent:
            self.response = copy  # for the dispatch() of a subclass
        return copy
