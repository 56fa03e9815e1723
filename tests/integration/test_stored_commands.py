"""show, delete and check on real servers."""

from __future__ import annotations

import collections
import datetime
import io
import json
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import entities
from support.entries import Entries, entries_of
from support.modules import modules_in
from support.servers import DatastoreEmulator, Memcached, Redis
from support.visits import Visitor

from webapp2_sessions import StoredSessionFactory
from webapp2_sessions.cli import main
from webapp2_sessions.cli.stored import as_json
from webapp2_sessions.cli.target import load_target
from webapp2_sessions.stored.serializers import dump_pickle

Output = pytest.CaptureFixture[str]

KEY = "0123456789abcdef0123456789abcdef"
BACKENDS = ("memcache", "redis", "datastore")

#: Those whose records know the name of their session, and tell their times.
KEYED = ("memcache", "redis")

DATA = {"user": 5, "when": datetime.date(2024, 5, 6), "pair": (1, 2), 7: "seven"}
SHOWN = {
    "!dict": [
        ["user", 5],
        ["when", {"!date": "2024-05-06"}],
        ["pair", {"!tuple": [1, 2]}],
        [7, "seven"],
    ]
}


class Shop:
    """An application whose sessions are on the servers, as a command finds it."""

    def __init__(self, name: str) -> None:
        #: The application's name for commands.
        self.name = name
        self.app = load_target(name).app

    def visitor(self, backend: str, **data: Any) -> tuple[Visitor, str]:
        """A visitor who has a session, and its id."""
        visitor = Visitor(self.app, backend=backend)
        return visitor, str(visitor.write(data or {"user": 5}))


@pytest.fixture
def make_shop(
    memcached: Memcached,
    redis_server: Redis,
    datastore: DatastoreEmulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., Shop]]:
    """Makes applications of a module each, with a place of their own on the servers.

    That on Redis is configured with `redis=True`.
    """
    monkeypatch.chdir(tmp_path)
    namespace = "ns-" + uuid.uuid4().hex
    config = {
        "secret_key": KEY,
        "session_max_age": 3600,
        "memcache": {"servers": [memcached.address], "key_prefix": f"{namespace}:"},
        "datastore": {"namespace": namespace},
    }
    redis = {"url": redis_server.url, "key_prefix": f"{namespace}:"}
    with modules_in(tmp_path) as write:

        def make(more: str = "", **values: Any) -> Shop:
            section = {**config, **values}
            if section.get("redis") is True:
                section["redis"] = redis
            source = f"CONFIG = {{'webapp2_extras.sessions': {section!r}}}\n{more}"
            app = "import webapp2\napp = webapp2.WSGIApplication(config=CONFIG)\n"
            return Shop(f"{write(source + app)}:app")

        yield make


@pytest.fixture
def shop(make_shop: Callable[..., Shop]) -> Shop:
    """One of them, with all servers."""
    return make_shop(redis=True)


@pytest.fixture
def entries(memcached: Memcached) -> Iterator[Entries]:
    """What memcached holds."""
    with entries_of(memcached) as entries:
        yield entries


EACH_BACKEND = pytest.mark.parametrize("backend", BACKENDS)


def run(*arguments: str, config: str, backend: str | None = None) -> int:
    """The exit code of a command on a configuration."""
    place = [] if backend is None else ["--backend", backend]
    return main([*arguments, "--config", config, *place])


def shown(output: Output) -> dict[str, Any]:
    """What `--json` wrote."""
    return dict(json.loads(output.readouterr().out))


# show


@EACH_BACKEND
def test_show(shop: Shop, capsys: Output, backend: str) -> None:
    """The data with its types, and what the server knows."""
    visitor = Visitor(shop.app, backend=backend)
    sid = str(visitor.write(DATA))
    assert run("show", sid, "--json", config=shop.name, backend=backend) == 0
    found = shown(capsys)
    assert (found["backend"], found["data"], found["problem"]) == (backend, SHOWN, None)
    assert found["size"] > 20
    if backend in KEYED:
        assert 3590 < found["expires_in"] <= 3601
        assert found["idle"] >= 0
        assert found["updated"] is None
    else:
        now = datetime.datetime.now(datetime.timezone.utc).timestamp()
        assert abs(now - found["updated"]) < 60
        assert (found["idle"], found["expires_in"]) == (None, None)


@EACH_BACKEND
def test_show_for_people(shop: Shop, capsys: Output, backend: str) -> None:
    """A table, without the id."""
    _, sid = shop.visitor(backend, text="J\xf6rg")
    assert run("show", sid, config=shop.name, backend=backend) == 0
    out = capsys.readouterr().out
    labels = [line.split()[0] for line in out.splitlines() if line[0] != " "]
    times = ["used", "expires"] if backend in KEYED else ["written"]
    assert labels == ["backend", "size", "format", *times, "data"]
    assert '"text": "J\xf6rg"' in out
    assert sid not in out


@EACH_BACKEND
def test_show_by_its_cookie(
    shop: Shop, capsys: Output, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    """The cookie leads to the session, given as a header or on the standard input."""
    visitor, _ = shop.visitor(backend)
    [header] = visitor.set_cookies
    for text in (f"Set-Cookie: {header}", header, visitor.cookies["session"]):
        assert run("show", text, "--json", config=shop.name, backend=backend) == 0
        assert shown(capsys)["data"] == {"user": 5}
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"{header}\n".encode())))
    assert run("show", "-", "--json", config=shop.name, backend=backend) == 0
    assert shown(capsys)["data"] == {"user": 5}


def test_show_does_not_renew(shop: Shop, capsys: Output, entries: Entries) -> None:
    """Looking at a session leaves it as it is."""
    _, sid = shop.visitor("memcache")
    key = f"{shop.app.config['webapp2_extras.sessions']['memcache']['key_prefix']}{sid}".encode()
    entries.expire(key, 100)
    before = entries.get(key)
    assert run("show", sid, config=shop.name, backend="memcache") == 0
    assert entries.get(key) == before
    left = entries.seconds_left(key)
    assert left is not None
    assert left <= 100


@EACH_BACKEND
def test_show_a_cookie_of_others(shop: Shop, make_shop: Any, capsys: Output, backend: str) -> None:
    """One that the keys did not sign leads nowhere, and is not shown."""
    visitor, sid = make_shop(secret_key="f" * 20 + "0123456789", redis=True).visitor(backend)
    value = visitor.cookies["session"]
    assert run("show", f"session={value}", config=shop.name, backend=backend) == 2
    out, err = capsys.readouterr()
    assert (out, err) == (
        "",
        "error: SID: is a cookie, and its signature fits none of the keys, for a cookie of the "
        "name 'session'\n",
    )
    assert sid not in err


NO_SESSIONS = {
    "abc": "error: SID: is neither a session id nor a cookie that leads to one\n",
    "theme=dark": "error: SID: is neither a session id nor a cookie that leads to one\n",
    " ": "error: SID: is empty\n",
}


@pytest.mark.parametrize(("text", "message"), NO_SESSIONS.items())
def test_show_no_session(shop: Shop, capsys: Output, text: str, message: str) -> None:
    """What is no id is told of, and not shown."""
    assert run("show", text, config=shop.name, backend="memcache") == 2
    assert capsys.readouterr().err == message


def test_show_a_session_in_its_cookie(shop: Shop, capsys: Output) -> None:
    """There is another command for it."""
    visitor = Visitor(shop.app)
    visitor.write({"user": 5})
    cookie = f"session={visitor.cookies['session']}"
    assert run("show", cookie, config=shop.name, backend="memcache") == 2
    assert "use the command decode" in capsys.readouterr().err


@EACH_BACKEND
@pytest.mark.parametrize("kind", ["securecookie", "encryptedcookie"])
@pytest.mark.parametrize("arguments", [["show"], ["delete", "--yes"]])
def test_id_that_an_application_has_put_into_a_cookie(
    shop: Shop, capsys: Output, backend: str, kind: str, arguments: list[str]
) -> None:
    """As for the backends it is data, and leads to no session."""
    victim, sid = shop.visitor(backend, user="victim")
    attacker = Visitor(shop.app, backend=kind)
    attacker.write({"_sid": sid})
    cookie = f"session={attacker.cookies['session']}"
    assert run(*arguments, cookie, config=shop.name, backend=backend) == 2
    assert capsys.readouterr() == (
        "",
        "error: SID: holds the whole session itself; use the command decode\n",
    )
    assert victim.read() == {"user": "victim"}


@EACH_BACKEND
@pytest.mark.parametrize("arguments", [["show"], ["delete", "--yes"]])
def test_not_found(shop: Shop, capsys: Output, backend: str, arguments: list[str]) -> None:
    """A message without the id, and exit code 1."""
    sid = "n" * 22
    assert run(*arguments, sid, config=shop.name, backend=backend) == 1
    assert capsys.readouterr() == (
        "",
        f"error: no session of that id in {backend}: by these keys, at this place, "
        "for the name 'session' (see --name)\n",
    )


@EACH_BACKEND
@pytest.mark.parametrize("end", ["destroy", "regenerate_id"])
def test_ended_by_the_application(shop: Shop, capsys: Output, backend: str, end: str) -> None:
    """Why it is not there is told, if the server knows; Redis knows nothing of a destroyed one."""
    visitor, sid = shop.visitor(backend)
    with visitor.visit() as session:
        getattr(session, end)()
    assert run("show", sid, config=shop.name, backend=backend) == 1
    is_known = (backend, end) != ("redis", "destroy")
    assert ("it was ended not long ago" in capsys.readouterr().err) is is_known


def test_show_an_old_one(shop: Shop, capsys: Output) -> None:
    """It is there until it is purged, although no cookie leads to it any more."""
    namespace = shop.app.config["webapp2_extras.sessions"]["datastore"]["namespace"]
    then = datetime.datetime(2020, 1, 2, 3, 4, 5)
    sid = "o" * 22
    entities.put_aged({sid: then}, namespace=namespace, data=dump_pickle({"user": 5}))
    assert run("show", sid, config=shop.name, backend="datastore") == 0
    assert "2020-01-02T03:04:05Z" in capsys.readouterr().out


def test_show_what_cannot_be_decoded(shop: Shop, capsys: Output) -> None:
    """What is known is shown, with exit code 1."""
    namespace = shop.app.config["webapp2_extras.sessions"]["datastore"]["namespace"]
    then = datetime.datetime(2020, 1, 2, 3, 4, 5)
    sid = "b" * 22
    entities.put_aged({sid: then}, namespace=namespace, data=b"broken")
    assert run("show", sid, "--json", config=shop.name, backend="datastore") == 1
    found = shown(capsys)
    assert (found["data"], found["size"], found["updated"]) == (None, 6, 1577934245)
    assert found["problem"].startswith("a stored session cannot be decoded")


def vanishing(make_shop: Any, backend: str, **values: Any) -> tuple[Shop, Visitor, str]:
    """A shop in which a session's class was renamed, a visitor with such a session, and its id."""
    shop = make_shop("class Cart:\n    pass\n", **{"redis": True, **values})
    module = sys.modules[shop.name.partition(":")[0]]
    visitor, sid = shop.visitor(backend, cart=module.Cart())
    del module.Cart
    return shop, visitor, sid


@EACH_BACKEND
def test_show_which_class_is_missing(make_shop: Any, capsys: Output, backend: str) -> None:
    """And all that is known without it."""
    shop, _, sid = vanishing(make_shop, backend)
    missing = f"{shop.name.partition(':')[0]}.Cart"
    assert run("show", sid, "--json", config=shop.name, backend=backend) == 1
    found = shown(capsys)
    assert (found["data"], found["format"], missing in found["problem"]) == (None, "pickle", True)
    assert found["size"] > 20
    assert run("show", sid, config=shop.name, backend=backend) == 1
    labels = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line[0] != " "]
    times = ["used", "expires"] if backend in KEYED else ["written"]
    assert labels == ["backend", "size", "format", *times, "problem"]


@EACH_BACKEND
@pytest.mark.parametrize("cache", [None, "memcache"])
def test_delete_what_cannot_be_decoded(
    make_shop: Any, capsys: Output, backend: str, cache: str | None
) -> None:
    """Its end needs no class of the application."""
    place = {"namespace": f"ns-{uuid.uuid4().hex}", "cache": cache}
    shop, visitor, sid = vanishing(make_shop, backend, datastore=place)
    assert run("delete", sid, "--yes", config=shop.name, backend=backend) == 0
    assert capsys.readouterr().out == "1 session deleted\n"
    assert visitor.read() == {}


@EACH_BACKEND
def test_delete_runs_no_code_of_the_session(make_shop: Any, backend: str) -> None:
    """A class that does something when it is loaded does not do it."""
    source = "class Cart:\n    def __setstate__(self, state):\n        raise SystemExit(5)\n"
    shop = make_shop(source, redis=True)
    cart = sys.modules[shop.name.partition(":")[0]].Cart()
    cart.items = []
    _, sid = shop.visitor(backend, cart=cart)
    assert run("delete", sid, "--yes", config=shop.name, backend=backend) == 0


@EACH_BACKEND
@pytest.mark.parametrize("serializer", ["pickle", "json"])
def test_show_the_format(make_shop: Any, capsys: Output, backend: str, serializer: str) -> None:
    """Also where it is not accepted any more."""
    shop = make_shop(serializer=serializer, redis=True)
    _, sid = shop.visitor(backend)
    assert run("show", sid, "--json", config=shop.name, backend=backend) == 0
    assert shown(capsys)["format"] == serializer


def test_show_and_delete_in_a_backend_that_fails_in_its_own_way(
    make_shop: Any, capsys: Output
) -> None:
    """A broken record of an application's own backend has no traceback, and can be ended."""
    shop = make_shop(
        "from webapp2_sessions import StoredSessionFactory\n"
        "class Own(StoredSessionFactory):\n"
        "    records = {'r' * 22: None}\n"
        "    def _read(self, sid):\n"
        "        raise ValueError('a secret')\n"
        "    def _delete(self, sid):\n"
        "        del self.records[sid]\n"
        "CONFIG['webapp2_extras.sessions']['backends'] = {'own': Own}\n"
    )
    assert run("show", "r" * 22, config=shop.name, backend="own") == 1
    out, err = capsys.readouterr()
    assert "a stored session cannot be decoded (ValueError)" in out
    assert "secret" not in out + err
    assert run("delete", "r" * 22, "--yes", config=shop.name, backend="own") == 0
    assert sys.modules[shop.name.partition(":")[0]].Own.records == {}


def test_show_what_others_wrote(shop: Shop, capsys: Output, entries: Entries) -> None:
    """In memcached nothing is unpickled that the keys did not sign."""
    prefix = shop.app.config["webapp2_extras.sessions"]["memcache"]["key_prefix"]
    sid = "w" * 22
    entries.put(f"{prefix}{sid}".encode(), dump_pickle({"user": 5}))
    assert run("show", sid, config=shop.name, backend="memcache") == 1
    assert capsys.readouterr().out == ""


@EACH_BACKEND
def test_show_classes_of_the_application(make_shop: Any, capsys: Output, backend: str) -> None:
    """They are found as the application finds them, and shown by their names."""
    shop = make_shop("class Cart(dict):\n    pass\n", redis=True)
    module = sys.modules[shop.name.partition(":")[0]]
    _, sid = shop.visitor(backend, cart=module.Cart(a=1), items=[module.Cart(), 1])
    assert run("show", sid, "--json", config=shop.name, backend=backend) == 0
    name = f"!{module.__name__}.Cart"
    assert shown(capsys)["data"] == {"cart": {name: "{'a': 1}"}, "items": [{name: "{}"}, 1]}


# Which backend


CHOICES: list[tuple[dict[str, Any], str | None]] = [
    ({"datastore": {}}, "memcache"),
    ({"memcache": {}}, "datastore"),
    ({}, None),
    ({"memcache": {}, "datastore": {}}, None),
]


@pytest.mark.parametrize(("values", "backend"), CHOICES)
def test_default_backend(
    make_shop: Any, capsys: Output, values: dict[str, Any], backend: str | None
) -> None:
    """The one that is configured, if it is one."""
    shop = make_shop(**values)
    code = run("show", "n" * 22, config=shop.name)
    err = capsys.readouterr().err
    if backend is None:
        assert code == 2
        assert err.startswith("error: --backend: is needed")
    else:
        assert code == 1
        assert f" in {backend}: " in err


@pytest.mark.parametrize("backend", ["securecookie", "nothing"])
def test_wrong_backend(shop: Shop, capsys: Output, backend: str) -> None:
    """One without a server, and one that is not there."""
    assert run("show", "n" * 22, config=shop.name, backend=backend) == 2
    assert repr(backend) in capsys.readouterr().err


def test_spilled_session(make_shop: Any, capsys: Output) -> None:
    """A session that was too large for its cookie is found by it, where it went."""
    for backend in ("securecookie", "encryptedcookie"):
        shop = make_shop(on_oversize="datastore")
        visitor = Visitor(shop.app, backend=backend)
        visitor.write({"text": "x" * 5000})
        cookie = f"session={visitor.cookies['session']}"
        assert run("show", cookie, "--json", config=shop.name) == 0
        found = shown(capsys)
        assert (found["backend"], found["data"]) == ("datastore", {"text": "x" * 5000})


def test_spilled_session_of_a_former_configuration(make_shop: Any, capsys: Output) -> None:
    """Where ``on_oversize`` names no backend any more, the backend has to be given."""
    visitor = Visitor(make_shop(on_oversize="datastore").app)
    visitor.write({"text": "x" * 5000})
    cookie = f"session={visitor.cookies['session']}"
    shop = make_shop()
    assert run("show", cookie, config=shop.name) == 2
    assert capsys.readouterr().err.startswith("error: --backend: is needed")
    assert run("show", cookie, "--json", config=shop.name, backend="datastore") == 0
    assert shown(capsys)["data"] == {"text": "x" * 5000}


class InMemory(StoredSessionFactory):
    """A backend of an application's own."""

    records: dict[str, dict[Any, Any]] = {}  # noqa: RUF012 # all of them share it

    def _read(self, sid: str) -> dict[Any, Any] | None:
        return self.records.get(sid)

    def _delete(self, sid: str) -> None:
        self.records.pop(sid, None)


def test_own_backend(make_shop: Any, capsys: Output) -> None:
    """It is shown and deleted by what it can do."""
    InMemory.records = {"i" * 22: {"user": 5}}
    more = (
        "import sys\n"
        f"own = sys.modules[{__name__!r}].InMemory\n"
        "CONFIG['webapp2_extras.sessions']['backends'] = {'own': own}\n"
    )
    shop = make_shop(more)
    assert run("show", "i" * 22, "--json", config=shop.name, backend="own") == 0
    found = shown(capsys)
    assert (found["data"], found["size"]) == ({"user": 5}, None)
    assert run("delete", "--yes", "i" * 22, config=shop.name, backend="own") == 0
    assert InMemory.records == {}


# delete


@EACH_BACKEND
def test_delete(shop: Shop, capsys: Output, backend: str) -> None:
    """The session is gone, and its visitor has a new one."""
    visitor, sid = shop.visitor(backend)
    assert run("delete", "--yes", sid, config=shop.name, backend=backend) == 0
    assert capsys.readouterr() == ("1 session deleted\n", "")
    assert visitor.read() == {}


@EACH_BACKEND
def test_session_of_another_name(
    shop: Shop, capsys: Output, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    """Its cookie tells the name; for an id it has to be given, where records know their name."""
    visitor = Visitor(shop.app, backend=backend, name="auth")
    sid = str(visitor.write({"user": 7}))
    [header] = visitor.set_cookies
    for command in (("show", header, "--json"), ("show", sid, "--name", "auth", "--json")):
        assert run(*command, config=shop.name, backend=backend) == 0
        assert shown(capsys)["data"] == {"user": 7}
    assert run("show", sid, config=shop.name, backend=backend) == (backend in KEYED)
    assert ("see --name" in capsys.readouterr().err) is (backend in KEYED)
    assert run("delete", "--yes", sid, "--name", "auth", config=shop.name, backend=backend) == 0
    assert visitor.read() == {}


@EACH_BACKEND
def test_delete_while_a_request_runs(shop: Shop, backend: str) -> None:
    """The request does not bring the session back."""
    visitor, sid = shop.visitor(backend)
    with visitor.visit() as session:
        assert run("delete", "--yes", sid, config=shop.name, backend=backend) == 0
        session["late"] = 1
    assert visitor.read() == {}


def test_delete_with_a_cache(make_shop: Any, memcached: Memcached) -> None:
    """It is gone from the cache as well."""
    namespace = "ns-" + uuid.uuid4().hex
    shop = make_shop(
        datastore={"namespace": namespace, "cache": "memcache"},
        memcache={"servers": [memcached.address]},
    )
    visitor, sid = shop.visitor("datastore")
    assert visitor.read() == {"user": 5}
    assert run("delete", "--yes", sid, config=shop.name) == 0
    assert entities.names_of(namespace=namespace) == set()
    assert visitor.read() == {}


@pytest.mark.parametrize(
    ("answer", "code", "left"),
    [("y\n", 0, {}), ("Yes\n", 0, {}), ("n\n", 1, {"user": 5}), ("", 1, {"user": 5})],
)
def test_delete_asks(
    shop: Shop,
    capsys: Output,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    code: int,
    left: dict[str, Any],
) -> None:
    """On a terminal it is asked for; anything but yes means no."""
    visitor, sid = shop.visitor("datastore")
    terminal = io.StringIO(answer)
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stdin", terminal)
    assert run("delete", sid, config=shop.name, backend="datastore") == code
    out, err = capsys.readouterr()
    assert err.startswith("Delete the session of 20 bytes in datastore, last written ")
    assert sid not in out + err
    assert visitor.read() == left


def test_delete_where_nobody_can_be_asked(
    shop: Shop, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is deleted then."""
    visitor, sid = shop.visitor("datastore")
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert run("delete", sid, config=shop.name, backend="datastore") == 2
    assert capsys.readouterr().err.startswith("error: --yes: is needed")
    assert visitor.read() == {"user": 5}


# Servers that fail


@pytest.mark.parametrize("arguments", [["show"], ["delete", "--yes"]])
def test_server_that_is_not_there(make_shop: Any, capsys: Output, arguments: list[str]) -> None:
    """One line, and exit code 1."""
    shop = make_shop(memcache={"servers": ["127.0.0.1:1"], "timeout": 0.5}, datastore={})
    assert run(*arguments, "n" * 22, config=shop.name) == 1
    assert capsys.readouterr() == (
        "",
        "error: memcache backend at 127.0.0.1:1: the server refused the connection\n",
    )


@pytest.mark.parametrize("arguments", [["show"], ["delete", "--yes"]])
def test_redis_that_is_not_there(make_shop: Any, capsys: Output, arguments: list[str]) -> None:
    """The same, without the password of its URL."""
    shop = make_shop(redis={"url": "redis://:sesame@127.0.0.1:1/0", "timeout": 0.5})
    assert run(*arguments, "n" * 22, config=shop.name, backend="redis") == 1
    assert capsys.readouterr() == (
        "",
        "error: redis backend at 127.0.0.1:1: the server refused the connection\n",
    )


def test_check_of_redis(make_shop: Any, capsys: Output, redis_server: Redis) -> None:
    """One that does not answer is named; of one that does, nothing is left."""
    shop = make_shop(redis={"url": "redis://:sesame@127.0.0.1:1/0", "timeout": 0.5})
    assert main(["check", shop.name]) == 1
    out = capsys.readouterr().out
    [line] = [line for line in out.splitlines() if line.startswith("error")]
    expected = "redis: redis backend at 127.0.0.1:1: the server refused the connection"
    assert line == f"error: {expected}"
    assert "sesame" not in out
    shop = make_shop(redis=True)
    main(["check", shop.name])
    assert "error" not in capsys.readouterr().out
    prefix = shop.app.config["webapp2_extras.sessions"]["redis"]["key_prefix"]
    assert redis_server.ask("KEYS", f"{prefix}*") == []


def test_check_of_servers_that_answer(shop: Shop, capsys: Output) -> None:
    """There is nothing to say about them."""
    main(["check", shop.name])
    assert "error" not in capsys.readouterr().out


def test_check_of_each_server(make_shop: Any, memcached: Memcached, capsys: Output) -> None:
    """Those that do not answer are named, and the others not."""
    dead = ["127.0.0.1:1", "127.0.0.1:2"]
    shop = make_shop(memcache={"servers": [memcached.address, *dead], "timeout": 0.5})
    assert main(["check", shop.name]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("error")]
    assert lines == [
        f"error: memcache: memcache backend at {server}: the server refused the connection"
        for server in dead
    ]


def test_check_of_a_datastore_that_is_not_there(
    make_shop: Any, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with memcached; and only where it is configured or asked for."""
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", "127.0.0.1:1")
    shop = make_shop(datastore={"timeout": 1})
    assert main(["check", shop.name]) == 1
    assert "error: datastore: datastore backend at 127.0.0.1:1" in capsys.readouterr().out
    main(["check", shop.name, "--backend", "memcache"])
    assert "error" not in capsys.readouterr().out
    other = make_shop(datastore={})
    main(["check", other.name])
    assert "error" not in capsys.readouterr().out
    assert main(["check", other.name, "--backend", "datastore"]) == 1
    assert "error: datastore: " in capsys.readouterr().out


# Data as JSON


class Broken:
    """A value that cannot even be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_as_json() -> None:
    """What JSON lacks has its type's name; nothing raises."""
    cycle: list[Any] = []
    cycle += [cycle, cycle]
    assert as_json({"a": (1, {2}), "b": [b"x", None]}) == {
        "a": {"!tuple": [1, {"!set": [2]}]},
        "b": [{"!bytes": "eA=="}, None],
    }
    assert as_json({"a": Broken()})["a"] == {f"!{__name__}.Broken": "repr() failed (RuntimeError)"}
    ordered = collections.OrderedDict(a=1)
    assert as_json((ordered, 1)) == {"!tuple": [{"!collections.OrderedDict": repr(ordered)}, 1]}
    assert as_json(cycle) == [{"!builtins.list": "[[...], [...]]"}] * 2
    assert json.dumps(as_json({"c": cycle, "f": float("nan")}))
    assert as_json({1: Broken}) == {"!builtins.dict": repr({1: Broken})}
