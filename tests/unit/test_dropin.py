"""install_as_webapp2_extras() replaces upstream's modules.

Each test is a program of its own in a new process, since imports change a process for good.
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import webapp2_sessions

#: Upstream's module names and ours.
EAGER = {
    "webapp2_extras.sessions": "webapp2_sessions.sessions",
    "webapp2_extras.securecookie": "webapp2_sessions.securecookie",
}
LAZY = {
    "webapp2_extras.appengine.sessions_memcache": "webapp2_sessions.sessions_memcache",
    "webapp2_extras.appengine.sessions_ndb": "webapp2_sessions.sessions_ndb",
    "webapp2_extras.appengine.auth.models": "webapp2_sessions.users.auth_models",
    "webapp2_extras.sessions_memcache": "webapp2_sessions.sessions_memcache",
    "webapp2_extras.sessions_ndb": "webapp2_sessions.sessions_ndb",
}
ALL = pytest.mark.parametrize(("upstream", "ours"), [*EAGER.items(), *LAZY.items()])

#: Where the package is that this process tests.
PLACE = Path(webapp2_sessions.__file__).parents[1]

PRELUDE = """
import importlib, sys
from webapp2_sessions import install_as_webapp2_extras
"""
INSTALL = PRELUDE + "install_as_webapp2_extras()\n"

#: Seconds that a program may take at most.
PATIENCE = 60.0


def run(*parts: str) -> Any:
    """Return the value of `result` at the end of a program."""
    program = "".join(map(textwrap.dedent, parts)) + "\nimport json\nprint(json.dumps(result))"
    finished = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PLACE,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


@ALL
def test_imports_give_our_modules(upstream: str, ours: str) -> None:
    """In each form; the alias leaves no trace in the module that it stands for."""
    package, _, name = upstream.rpartition(".")
    program = f"""
    import {upstream}
    from {package} import {name} as found
    module = importlib.import_module({ours!r})
    result = [
        {upstream} is found is module is sys.modules[{upstream!r}], module.__name__,
        module.__spec__.name, module.__spec__.origin == module.__file__,
        module.__package__ == module.__spec__.parent,
        module.__loader__ is module.__spec__.loader,
    ]
    """
    assert run(INSTALL, program) == [True, ours, ours, True, True, True]


@ALL
def test_a_second_call_changes_nothing(upstream: str, ours: str) -> None:
    """Modules, attributes of packages and finders stay as they are."""
    program = f"""
    import {upstream}
    finders, modules = list(sys.meta_path), dict(sys.modules)
    install_as_webapp2_extras()
    result = [finders == sys.meta_path, modules == dict(sys.modules), {upstream}.__name__]
    """
    assert run(INSTALL, program) == [True, True, ours]


@pytest.mark.parametrize(
    ("upstream", "ours"), [pair for pair in {**EAGER, **LAZY}.items() if "auth" not in pair[0]]
)
def test_modules_that_were_imported_before_are_replaced(upstream: str, ours: str) -> None:
    """Later imports find the replacement, in `sys.modules` and as an attribute of the package."""
    package, _, name = upstream.rpartition(".")
    before = f"""
    import types, {package}
    try:
        importlib.import_module({upstream!r})
    except ImportError:  # upstream's backends need App Engine's SDK
        sys.modules[{upstream!r}] = {package}.{name} = types.ModuleType({upstream!r})
    install_as_webapp2_extras()
    """
    after = f"""
    from {package} import {name}
    result = [{name}.__name__, importlib.import_module({upstream!r}).__name__]
    """
    assert run(PRELUDE, before, after) == [ours, ours]


@pytest.mark.parametrize("has_spec", [True, False])
def test_upstreams_users_stay_where_bundled_ndb_is(has_spec: bool) -> None:
    """It works there, whatever stands in for the SDK, loaded before or after the call."""
    before = f"""
    import types
    from importlib.machinery import ModuleSpec
    for name in ("google.appengine", "google.appengine.ext", "google.appengine.ext.ndb"):
        module = sys.modules[name] = types.ModuleType(name)
        module.__path__ = []
        module.__spec__ = ModuleSpec(name, None) if {has_spec} else None
    model = module.model = types.ModuleType("google.appengine.ext.ndb.model")
    model.Model = model.Expando = object
    model.StringProperty = model.DateTimeProperty = lambda **options: None
    install_as_webapp2_extras()
    from webapp2_extras.appengine.auth import models
    install_as_webapp2_extras()
    from webapp2_extras.appengine.auth import models as again
    result = [models.__name__, models is again]
    """
    assert run(PRELUDE, before) == ["webapp2_extras.appengine.auth.models", True]


def test_an_attribute_that_outlived_its_module_is_replaced() -> None:
    """Tests of applications delete modules from `sys.modules`; the package keeps a reference."""
    program = """
    import webapp2_extras
    webapp2_extras.sessions_ndb = "left over"
    install_as_webapp2_extras()
    from webapp2_extras import sessions_ndb
    result = sessions_ndb.__name__
    """
    assert run(PRELUDE, program) == "webapp2_sessions.sessions_ndb"


@pytest.mark.parametrize("when", ["before", "after"])
def test_auth_uses_our_module(when: str) -> None:
    """Also where it was imported earlier, with upstream's in its namespace."""
    steps = ["import webapp2_extras.auth\n", "install_as_webapp2_extras()\n"]
    steps = steps if when == "before" else steps[::-1]
    result = "result = webapp2_extras.auth.sessions.__name__"
    assert run(PRELUDE, *steps, result) == "webapp2_sessions.sessions"


def test_backends_are_not_imported() -> None:
    program = """
    unwanted = (
        *("pymemcache", "google.", "grpc"), "webapp2_sessions.sessions_", "webapp2_sessions.users",
    )
    result = [name for name in sys.modules if name.startswith(unwanted)]
    """
    assert run(INSTALL, program) == []


@pytest.mark.parametrize("upstream", LAZY)
def test_a_missing_library_is_named(upstream: str) -> None:
    """Importing a backend under upstream's name says which extra to install."""
    program = f"""
    sys.modules["pymemcache"] = sys.modules["google.cloud"] = None
    try:
        import {upstream}
    except ImportError as error:
        result = [type(error).__name__, {upstream!r} in sys.modules]
    """
    assert run(INSTALL, program) == ["MissingDependency", False]


def test_modules_without_dependencies_are_there_at_once_and_others_stay() -> None:
    program = """
    import webapp2_extras
    result = [webapp2_extras.sessions.__name__, webapp2_extras.securecookie.__name__]
    from webapp2_extras import json, local, security
    result += [json.__name__, local.__name__, security.__name__]
    """
    others = ["webapp2_extras.json", "webapp2_extras.local", "webapp2_extras.security"]
    assert run(INSTALL, program) == [*EAGER.values(), *others]


@pytest.mark.parametrize(("upstream", "ours"), EAGER.items())
def test_reloading_keeps_the_module(upstream: str, ours: str) -> None:
    """`importlib.reload()` of the alias reloads the module itself."""
    program = f"""
    import {upstream}
    before, name = {upstream}, {ours!r}.rpartition(".")[2]
    again = importlib.reload({upstream})
    result = [
        again is before, before is sys.modules[{upstream!r}], before is sys.modules[{ours!r}],
        again.__spec__.name, getattr(sys.modules["webapp2_extras"], name) is before,
    ]
    """
    assert run(INSTALL, program) == [True, True, True, ours, True]


#: A user who logs in, comes back, and logs out, with webapp2_extras.auth.
AUTH = """
import webapp2, webapp2_extras.auth
from webapp2_extras import auth
{imports}

class User:
    @classmethod
    def get_by_auth_token(cls, user_id, token):
        return None, None

    @classmethod
    def create_auth_token(cls, user_id):
        return "token of %s" % user_id

    @classmethod
    def delete_auth_token(cls, user_id, token):
        pass

class Handler(webapp2.RequestHandler):
    def dispatch(self):
        store = sessions.get_store(request=self.request)
        try:
            super().dispatch()
        finally:
            store.save_sessions(self.response)

    def get(self):
        a = auth.get_auth(request=self.request)
        if self.request.path == "/login":
            a.set_session({{"user_id": 7}}, token_ts=now, cache_ts=now, remember=True)
        elif self.request.path == "/logout":
            a.unset_session()
        else:
            user = a.get_user_by_session()
            self.response.write(user["user_id"] if user else "nobody")
        store = type(sessions.get_store(request=self.request))
        self.response.headers["X-Store"] = store.__module__

import time
now = int(time.time())
app = webapp2.WSGIApplication(
    [("/.*", Handler)],
    config={{
        "webapp2_extras.sessions": {{"secret_key": "s"}},
        "webapp2_extras.auth": {{"user_model": User, "cookie_name": "auth"}},
    }},
)

cookie, result = "", []
for path in ("/", "/login", "/", "/logout", "/"):
    response = webapp2.Request.blank(path, headers={{"Cookie": cookie}}).get_response(app)
    set_cookies = response.headers.getall("Set-Cookie")
    if set_cookies:
        cookie = set_cookies[0].partition(";")[0]
    result.append([response.status_int, response.text, len(set_cookies)])
    assert response.headers["X-Store"] == "webapp2_sessions.sessions.store"
"""


@pytest.mark.parametrize(
    ("prelude", "imports"),
    [
        (INSTALL, "from webapp2_extras import sessions"),
        (INSTALL, "from webapp2_sessions import sessions"),
        (PRELUDE, "from webapp2_sessions import sessions"),
        (
            PRELUDE + "import webapp2_extras.auth\n",
            "install_as_webapp2_extras()\nfrom webapp2_extras import sessions",
        ),
    ],
    ids=["installed", "installed and imported", "imported", "installed late"],
)
def test_a_user_logs_in_comes_back_and_logs_out(prelude: str, imports: str) -> None:
    """With and without the installation."""
    assert run(prelude, AUTH.format(imports=imports)) == [
        [200, "nobody", 0],
        [200, "", 1],
        [200, "7", 1],
        [200, "", 1],
        [200, "nobody", 0],
    ]


# Too late

#: Modules of an application, by what they hold, and a list to which the log goes.
LATE = (
    PRELUDE
    + """
import logging, types

logged = []

class Keep(logging.Handler):
    def emit(self, record):
        logged.append([record.levelname, record.name, record.getMessage()])

logging.getLogger().addHandler(Keep())

def module(name, source):
    made = sys.modules[name] = types.ModuleType(name)
    exec(source, vars(made))

"""
)
HOLDERS = {
    "the module": "from webapp2_extras import sessions",
    "another module": "from webapp2_extras import securecookie",
    "a class": "from webapp2_extras.sessions import SessionStore",
    "a function": "from webapp2_extras.sessions import get_store",
    "a subclass": """
import webapp2_extras.sessions
class Mine(webapp2_extras.sessions.SessionDict): pass
""",
    "an object": """
import webapp2_extras.securecookie
serializer = webapp2_extras.securecookie.SecureCookieSerializer("s")
""",
}


@pytest.mark.parametrize("source", HOLDERS.values(), ids=HOLDERS)
def test_a_late_call_names_who_holds_upstreams_names(source: str) -> None:
    program = f"""
    module("shop.handlers", {source!r})
    module("shop.models", "import webapp2_extras.sessions")
    install_as_webapp2_extras()
    install_as_webapp2_extras()
    result = logged
    """
    [[level, name, message]] = run(LATE, program)
    assert (level, name) == ("WARNING", "webapp2_sessions.dropin")
    assert "go on using them: shop.handlers. Call it before they are imported" in message


@pytest.mark.parametrize(
    "source",
    [
        "",
        "import webapp2_extras.auth",
        "import webapp2_extras.sessions, webapp2_extras.json, webapp2_extras.auth",
        "from webapp2_sessions import sessions, SessionStore, get_store",
    ],
)
def test_a_call_in_time_logs_nothing(source: str) -> None:
    """Modules that look names up later get the replacement."""
    program = f"""
    module("shop.handlers", {source!r})
    install_as_webapp2_extras()
    module("shop.views", "from webapp2_extras import sessions, auth")
    install_as_webapp2_extras()
    result = logged
    """
    assert run(LATE, program) == []


def test_no_attribute_of_an_object_is_read() -> None:
    """A proxy may raise or load something."""
    program = """
    import webapp2_extras.sessions

    class Proxy:
        def __getattribute__(self, name):
            raise RuntimeError(name)

    class Odd:
        __module__ = []

    module("shop.state", "")
    vars(sys.modules["shop.state"]).update(proxy=Proxy(), odd=Odd, made=Odd())
    sys.modules["shop.nothing"] = None
    del webapp2_extras, Proxy, Odd
    install_as_webapp2_extras()
    result = logged
    """
    assert run(LATE, program) == []


# webapp2_extras.auth is first

UPSTREAMS_STORE = (
    LATE
    + """
import webapp2
from webapp2_extras import auth, sessions as upstream
import webapp2_sessions

app = webapp2.WSGIApplication(config={
    "webapp2_extras.sessions": {"secret_key": "".join(map(chr, range(200, 250, 3)))},
})

class Mine(upstream.SessionStore):
    pass

def request():
    made = webapp2.Request.blank("/")
    made.app, made.registry = app, {}
    return made

"""
)


@pytest.mark.parametrize(
    "first",
    [
        "auth.get_auth(request=each).store.get_session(each)",
        "upstream.get_store(request=each)",
        "webapp2_sessions.set_store(Mine(each), request=each)",
    ],
    ids=["auth", "unchanged import", "subclass"],
)
def test_upstreams_store_is_returned_and_logged_once(first: str) -> None:
    """As upstream does; the log says how to use this package instead."""
    program = f"""
    result = []
    for _ in range(3):
        each = request()
        {first}
        for _ in range(2):
            store = webapp2_sessions.get_store(request=each)
            result.append(isinstance(store, upstream.SessionStore))
    result = [result, logged]
    """
    stores, [[level, name, message]] = run(UPSTREAMS_STORE, program)
    assert (stores, level, name) == ([True] * 6, "WARNING", "webapp2_sessions.config.loading")
    assert "install_as_webapp2_extras() before the application is imported" in message
    assert "get_store() before anything else asks for the store" in message


def test_other_stores_are_not_logged() -> None:
    program = """
    Own = type("Own", (webapp2_sessions.SessionStore,), {})
    for factory in (webapp2_sessions.SessionStore, Own, lambda request: object()):
        each = request()
        for _ in range(2):
            webapp2_sessions.get_store(factory, request=each)
    result = logged
    """
    assert run(UPSTREAMS_STORE, program) == []
