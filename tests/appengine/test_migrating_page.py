"""What docs/migrating.md tells applications on App Engine's bundled services to write works."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import webapp2
from google.appengine.api import namespace_manager
from google.appengine.ext.testbed import Testbed
from support.visits import SECRET

from webapp2_sessions.config import UPSTREAM_MODULES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "migrating.md"
STEPS = PAGE.read_text("utf-8").split("\n### On Python 3 with the bundled services\n")[1]


def block(word: str) -> str:
    """The steps' block of Python in which there is a word."""
    found = re.findall(r"^ *```py\n(.*?)^ *```$", STEPS, re.MULTILINE | re.DOTALL)
    [code] = [textwrap.dedent(code) for code in found if word in code]
    return code


def ask(app: Any, path: str = "/", **headers: str) -> webapp2.Response:
    """Send a request as a server does."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = webapp2.Request.blank(path, headers=named)
    return request.get_response(app)


class Counting(webapp2.RequestHandler):
    """A handler of an application as it was on Python 2."""

    def get(self) -> None:
        """Count in the namespace of the query, which is the current one before, too."""
        from webapp2_extras import sessions

        before = namespace_manager.get_namespace()
        namespace_manager.set_namespace(self.request.get("namespace"))
        store = sessions.get_store(request=self.request)
        assert type(store).__module__ == "webapp2_sessions.sessions.store"
        session = store.get_session(backend="memcache")
        session["visits"] = session.get("visits", 0) + 1
        store.save_sessions(self.response)
        self.response.write(f"{before}{session['visits']}")


@pytest.fixture
def upstream_restored() -> Iterator[None]:
    """Undo install_as_webapp2_extras()."""
    finders = list(sys.meta_path)
    modules = {name: sys.modules.get(name) for name in UPSTREAM_MODULES}
    yield
    sys.meta_path[:] = finders
    for name in modules:
        sys.modules.pop(name, None)
    sys.modules.update({name: module for name, module in modules.items() if module is not None})


@pytest.mark.usefixtures("upstream_restored")
def test_main_keeps_sessions_in_memcache(monkeypatch: pytest.MonkeyPatch) -> None:
    """The application's handlers are as they were, and no namespace reaches the next request."""
    routes: Any = SimpleNamespace(ROUTES=[("/", Counting)])
    settings: Any = SimpleNamespace(SECRET_KEY=SECRET)
    monkeypatch.setitem(sys.modules, "handlers", routes)
    monkeypatch.setitem(sys.modules, "settings", settings)
    main: dict[str, Any] = {}
    exec(block("wrap_wsgi_app"), main)
    testbed = Testbed()  # after the application was wrapped, as the page of the backend tells
    testbed.activate()
    testbed.init_memcache_stub()
    try:
        first = ask(main["app"])
        cookie = first.headers["Set-Cookie"].partition(";")[0]
        paths = ("/", "/?namespace=shop", "/")
        texts = [ask(main["app"], path, Cookie=cookie).text for path in paths]
    finally:
        testbed.deactivate()
    assert [first.text, *texts] == ["1", "2", "1", "3"]


def test_handlers_do_what_app_yaml_did() -> None:
    """Plain HTTP is sent to HTTPS, with the query; others than administrators are refused."""
    from google.appengine.api import wrap_wsgi_app

    code: dict[str, Any] = {}
    exec(block("is_current_user_admin"), code)

    class Page(code["PageHandler"]):  # type: ignore[misc] # made from text
        def get(self) -> None:
            self.response.write("a page")

    class Admin(code["AdminHandler"]):  # type: ignore[misc] # made from text
        def get(self) -> None:
            self.response.write("for administrators")

    config = {"webapp2_extras.sessions": {"secret_key": SECRET}}
    app = wrap_wsgi_app(webapp2.WSGIApplication([("/", Page), ("/admin", Admin)], config=config))
    for path in ("/?next=http://x", "/admin?next=http://x"):
        answer = ask(app, path, Host="shop.example", X_Forwarded_Proto="http")
        assert answer.status_int == 302
        assert answer.headers["Location"] == f"https://shop.example{path}"
    assert ask(app, "/", X_Forwarded_Proto="https").text == "a page"
    assert ask(app, "/admin", X_Forwarded_Proto="https").status_int == 403
    admin = {"X_Forwarded_Proto": "https", "X_Appengine_User_Is_Admin": "1"}
    assert ask(app, "/admin", **admin).text == "for administrators"
