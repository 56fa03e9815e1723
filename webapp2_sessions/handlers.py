"""The base handler that an application with sessions needs, ready to be derived from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import webapp2

from webapp2_sessions.config import _default_value
from webapp2_sessions.sessions import SessionStore, get_store
from webapp2_sessions.sessions.endings import Additions
from webapp2_sessions.sessions.session_dict import SessionDict
from webapp2_sessions.sessions.sign_outs import end_destroyed

if TYPE_CHECKING:
    from webapp2_sessions.sessions.interfaces import RequestHandler, SessionFactory
else:
    RequestHandler = webapp2.RequestHandler

__all__ = ["SessionHandler"]


class SessionHandler(RequestHandler):
    """A request handler with :attr:`session`, saved however the handler ends.

    Cookies reach the response that is sent: ``self.response``, another one that the handler
    returns, and the one that answers ``abort()``, ``redirect(abort=True)`` and every other
    ``HTTPException``, whoever makes it. On any other exception nothing is saved, and only sessions
    that were destroyed are ended; one that the handler's own ``handle_exception()`` answers is
    dealt with, and counts as none.
    """

    #: Name of :attr:`session` and its cookie; ``None`` means ``cookie_name`` of the configuration.
    session_name: str | None = None
    #: Keyword of the backend, in ``config["backends"]``, of sessions for which none is given; by
    #: default ``default_backend`` of the configuration.
    session_backend: str | None = None
    #: Whether sessions are saved, and cookies sent, when the handler fails by any exception.
    save_on_error: bool = False

    _session: SessionDict | None = None
    #: What ``initialize()`` was given.
    _given_response: Any = None

    @property
    def session_store(self) -> SessionStore:
        """The session store of the request, the same for all who ask ``get_store()``."""
        return get_store(request=self.request)

    # Not webapp2.cached_property, nor functools' before Python 3.12: these hold one lock for all
    # requests while a server is asked for the session.
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
        """Take the request, and the response that is sent if no other one is returned."""
        self._given_response = response  # also if a subclass sets another one
        super().initialize(request, response)

    def dispatch(self) -> Any:
        """Run the handler's method, then save the sessions that it used.

        :raises BackendError: it is not certain that a session was stored.
        """
        response = self._response_of_request()
        try:
            sent, is_raised = self._run(response)
            # While no exception is handled: SessionMiddleware saves nothing then.
            sent = self._save(response, sent)
        except BaseException as error:
            ended = self._end_destroyed(response)
            if ended is None or not isinstance(error, Exception):
                raise
            return self._given_to(self._answer_to(error, response), ended)
        if not is_raised:
            return sent
        context = sent.__context__
        try:
            raise sent
        finally:
            sent.__context__ = context
            del sent  # its traceback has this frame

    def _run(self, response: Any) -> tuple[Any, bool]:
        """Return the end of the handler's method: what is sent, and whether that is raised."""
        try:
            return super().dispatch(), False
        except Exception as error:
            is_answer = isinstance(error, webapp2.HTTPException)
            if is_answer and self._is_sent_as_it_is(error):
                return error, True
            if not (is_answer or self.save_on_error):
                raise
            return self._answer_to(error, response), False

    def _response_of_request(self) -> Any:
        """Return the response that is sent if no other one is returned; no other request has it."""
        given = self._given_response
        if given is None:  # a subclass initializes itself
            given = getattr(self.request, "response", None)
        return self.response if given is None else given

    def _is_sent_as_it_is(self, error: Exception) -> bool:
        """Whether webapp2 will send an HTTPException itself, and ask nobody for a response."""
        app, code = self.request.app, getattr(error, "code", None)
        is_webapp2s = type(app).handle_exception is webapp2.WSGIApplication.handle_exception
        return is_webapp2s and code is not None and not app.error_handlers.get(code)

    def _answer_to(self, error: Exception, response: Any) -> Any:
        """Return the response to an exception that is being handled, ``None`` for the handler's.

        As ``webapp2.WSGIApplication`` makes it when the exception comes to it. There it would be
        too late for cookies.
        """
        app = self.request.app
        try:
            return app.handle_exception(self.request, response, error)
        except webapp2.HTTPException as other:
            return other
        except Exception as other:
            return app._internal_error(other)

    def _save(self, response: Any, sent: Any) -> Any:
        """Save the sessions; returns what is sent, with their cookies.

        :param response: the handler's response, which is sent if ``sent`` is ``None``.
        :param sent: what is sent. It may outlive the request.
        """
        with Additions(response) as additions:
            self.session_store.save_sessions(response)
        return self._given_to(sent, additions)

    def _end_destroyed(self, response: Any) -> Additions | None:
        """End the sessions that were destroyed; ``None`` if there are none."""
        try:
            store = self.session_store
        except Exception:  # it cannot be made, and so has no sessions; the handler's error counts
            return None
        with Additions(response) as additions:
            is_any = end_destroyed(store, response)
        return additions if is_any else None

    def _given_to(self, sent: Any, additions: Additions) -> Any:
        made = additions.given_to(sent)
        if made is not sent and self.response is sent:
            self.response = made  # for a dispatch() around this one
        return made
