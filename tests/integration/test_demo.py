"""What the demo answers to requests, those that no page of it offers among them.

What people see and do is in tests/browser/test_demo.py.
"""

from __future__ import annotations

import dataclasses
import html
import json
import re
import sys
from collections.abc import Callable
from contextlib import nullcontext
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from support.demo_pages import levels_in, nowhere, options_of, shelf_in
from support.examples import TIMEOUT, Browser, payload_of, sid_in, signed, token_in
from support.servers import (
    DatastoreEmulator,
    Memcached,
    Redis,
    Server,
    free_port,
    wait_until,
)
from support.visits import SECRET

Open = Callable[[Any], Browser]

#: Each form with what it sends.
FORMS = {
    "/cart": {"do": "add assam"},
    "/sign-in": {"name": "Ada", "password": "demo"},
    "/backends/use": {"place": "encryptedcookie"},
    "/backends/count": {"place": "securecookie"},
    "/inspector/renew": {"place": "securecookie"},
    "/inspector/destroy": {"place": "securecookie"},
    "/account/end": {"handle": "0" * 32},
    "/account/end-all": {"keep": "this"},
    "/account/password": {"present": "demo", "new": "engine"},
    "/leave": {},
    "/sign-out": {},
}
#: An id in the right form that no session has.
SID = "A" * 22
PAGES = ("/", "/sign-in", "/backends", "/inspector", "/account")
#: Servers that the demo is told of by an option, by the place.
KINDS: dict[str, type[Memcached | Redis]] = {"memcache": Memcached, "redis": Redis}


@pytest.fixture
def running(request: pytest.FixtureRequest) -> Callable[[str], Memcached | Redis]:
    """The server of a place, which the whole run shares."""
    fixtures = {"memcache": "memcached", "redis": "redis_server"}
    return lambda place: request.getfixturevalue(fixtures[place])  # type: ignore[no-any-return]


@pytest.fixture
def browser(open_demo: Callable[..., Browser]) -> Browser:
    return open_demo()


def sight_in(page: str, cookie: str) -> str:
    """What the inspector shows of a cookie, without markup; "" if nothing."""
    _, _, rest = page.partition(f'data-cookie="{cookie}"')
    return html.unescape(re.sub(r"<[^>]*>", "", rest.partition("data-cookie=")[0]))


def buttons_in(page: str, place: str) -> int:
    """How many buttons there are for a place."""
    return page.count(f'name="place" value="{place}"')


@pytest.mark.parametrize("page", PAGES)
def test_looking_around_opens_no_session(browser: Browser, page: str) -> None:
    """There is the cookie of the settings, with the token of the forms, and no other."""
    assert browser.get(page).status_code == 200
    assert list(browser.cookies.keys()) == ["settings"]


@pytest.mark.parametrize("path", FORMS)
def test_every_form_is_answered_by_a_redirect(browser: Browser, path: str) -> None:
    """Reloading the page that follows a form sends nothing twice."""
    answer = browser.post(
        path, data={"csrf": token_in(browser.page), **FORMS[path]}, allow_redirects=False
    )
    assert answer.status_code == 303
    assert answer.headers["Location"].removeprefix(browser.site) in PAGES


@pytest.mark.parametrize("token", [None, "", "wrong", "fälscht"])
@pytest.mark.parametrize("path", FORMS)
def test_wrong_csrf_token_changes_nothing(browser: Browser, path: str, token: str | None) -> None:
    """A form without the token of the page is refused, and does nothing."""
    browser.submit("/cart", do="add sencha")
    before = dict(browser.cookies)
    answer = browser.post(path, data={"csrf": token, **FORMS[path]})
    assert answer.status_code == 403
    assert "That form was refused" in answer.text
    assert dict(browser.cookies) == before


def test_csrf_token_needs_its_cookie(browser: Browser) -> None:
    """Without the cookie the token is that of nobody."""
    token = token_in(browser.page)
    browser.cookies.clear()
    assert browser.post("/sign-in", data={"csrf": token}).status_code == 403


def test_csrf_token_of_another_visitor_is_refused(
    browser: Browser, open_demo: Callable[..., Browser]
) -> None:
    """A token belongs to one browser."""
    token = token_in(open_demo().page)
    assert browser.post("/sign-out", data={"csrf": token}).status_code == 403


def test_csrf_token_changes_with_who_one_is(browser: Browser) -> None:
    """Forms from before signing in or out are void."""
    tokens = [token_in(browser.page)]
    for path in ("/sign-in", "/sign-out"):
        browser.submit(path, **FORMS[path])
        tokens.append(token_in(browser.page))
        assert browser.post("/sign-out", data={"csrf": tokens[-2]}).status_code == 403
        browser.get("/")
    assert len(set(tokens)) == 3


def test_file_is_no_text(browser: Browser) -> None:
    """A field that comes as a file counts as empty, the token too."""
    answer = browser.post("/sign-out", files={"csrf": ("a.txt", token_in(browser.page))})
    assert answer.status_code == 403


@pytest.mark.parametrize("path", [path for path in FORMS if path not in PAGES])
def test_state_changes_need_post(browser: Browser, path: str) -> None:
    """Following a link changes nothing."""
    assert browser.get(path).status_code == 405


@pytest.mark.parametrize(
    ("name", "password"), [("Ada", "wrong"), ("Ada", "ä"), ("Ada", ""), ("  ", "demo")]
)
def test_sign_in_refused(browser: Browser, name: str, password: str) -> None:
    """Without the demo's password and a name nobody is signed in."""
    browser.submit("/sign-in", name=name, password=password)
    assert levels_in(browser.page) == ["error"]
    assert "Sign out" not in browser.page


def test_name_is_escaped(browser: Browser) -> None:
    """Markup in the name stays text in all places that show it."""
    browser.submit("/sign-in", name="<i>Ada</i>", password="demo")
    browser.page += "".join(browser.get(path).text for path in PAGES)
    assert "<i>" not in browser.page
    assert browser.page.count("&lt;i&gt;Ada") >= 6


@pytest.mark.parametrize("character", ["a", "ä", "\u20ac", "\U0001f36a"])
def test_longest_session_fits_in_the_cookie(browser: Browser, character: str) -> None:
    """Whatever is typed, and with a full cart, browsers keep the cookie."""
    browser.submit("/sign-in", name=character * 99, password="demo", remember="yes")
    for tea in ("assam", "sencha", "oolong", "rooibos"):
        for _ in range(10):
            browser.submit("/cart", do=f"add {tea}")
    assert levels_in(browser.page) == ["warning"]
    assert max(len(each.name) + 1 + len(each.value or "") for each in browser.cookies) <= 4093
    assert character * 30 in browser.page


@pytest.mark.parametrize("do", ["", "add", "add coffee", "steal assam"])
def test_cart_takes_what_there_is(browser: Browser, do: str) -> None:
    """What no button sends is a bad request, and leaves no session."""
    assert browser.submit("/cart", do=do).status_code == 400
    assert "session_securecookie" not in browser.cookies


def test_less_than_nothing_is_nothing(browser: Browser) -> None:
    """A tea that is not in the cart cannot be taken out of it."""
    browser.submit("/cart", do="less assam")
    assert payload_of(browser.cookies["session_securecookie"]) == {"cart": {}}


def test_messages_wait_and_are_bounded(browser: Browser) -> None:
    """Of more than five that nobody has come to read the newest are shown."""
    token = token_in(browser.page)
    for tea in ("assam", "sencha", "oolong", "rooibos"):
        for step in ("add", "remove"):
            fields = {"csrf": token, "do": f"{step} {tea}"}
            browser.post("/cart", data=fields, allow_redirects=False)
    assert levels_in(browser.get("/").text) == ["info", "success", "info", "success", "info"]
    assert levels_in(browser.get("/").text) == []


@pytest.mark.parametrize("path", ["/backends/use", "/backends/count"])
@pytest.mark.parametrize("place", ["memcache", "redis", "datastore"])
def test_place_that_is_missing_is_refused(browser: Browser, path: str, place: str) -> None:
    """A form that the page does not offer says what is missing."""
    assert buttons_in(browser.get("/backends").text, place) == 0
    browser.submit(path, place=place)
    assert levels_in(browser.page) == ["error"]
    assert "used by the shop" in shelf_in(browser.get("/backends").text, "securecookie")


@pytest.mark.parametrize("path", ["/backends/use", "/inspector/renew", "/inspector/destroy"])
def test_unknown_place_is_a_bad_request(browser: Browser, path: str) -> None:
    """There are five."""
    assert browser.submit(path, place="floppy").status_code == 400


def test_missing_servers_are_shown_with_commands(browser: Browser) -> None:
    """What to type stands beside what is missing."""
    page = browser.get("/backends").text
    for place, name, command in (
        ("memcache", "memcached", "memcached -l 127.0.0.1 -p {}"),
        ("redis", "Redis", "redis-server --bind 127.0.0.1 --port {} --save ''"),
    ):
        shelf = shelf_in(page, place)
        address = re.search(rf"No {name} answers at 127\.0\.0\.1:(\d+)\.", shelf)
        assert address, shelf
        assert command.format(address[1]) in shelf
    datastore = shelf_in(page, "datastore")
    assert "Neither DATASTORE_EMULATOR_HOST nor GOOGLE_CLOUD_PROJECT is set." in datastore
    assert "gcloud beta emulators datastore start" in datastore
    assert "DATASTORE_EMULATOR_HOST=127.0.0.1:8081 make demo" in datastore


def test_missing_library_is_named(
    open_demo: Callable[..., Browser], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the command that installs it."""
    for module in ("pymemcache", "redis", "google.cloud.ndb", "cryptography"):
        monkeypatch.setitem(sys.modules, module, None)
    page = open_demo().get("/backends").text
    for place, library, extra in (
        ("memcache", "pymemcache", "memcache"),
        ("redis", "redis", "redis"),
        ("datastore", "google-cloud-ndb", "datastore"),
        ("encryptedcookie", "cryptography", "encryption"),
    ):
        shelf = shelf_in(page, place)
        assert f"The library {library} is not installed." in shelf
        assert f"pip install 'webapp2_sessions[{extra}]'" in shelf


def test_inspector_shows_what_was_sent(browser: Browser) -> None:
    """Payload, size and the ends of the signature are those of the cookie."""
    browser.submit("/sign-in", name="Ada", password="demo")
    value = browser.cookies["session_securecookie"].strip('"')
    page = browser.get("/inspector").text
    sight = sight_in(page, "session_securecookie")
    payload, timestamp, signature = value.split("|")
    assert f"{payload}|{timestamp}|{signature[:6]}…{signature[-4:]}" in sight
    assert json.dumps({"name": "Ada"}, indent=2) in sight
    assert f"{len('session_securecookie=' + value)} of 4096 bytes" in sight
    assert signature not in page


def test_inspector_hides_the_token_of_the_forms(browser: Browser) -> None:
    """It is in the forms, and of those there is none yet."""
    token = token_in(browser.page)
    assert token not in browser.get("/inspector").text
    assert f"{token[:4]}…{token[-4:]}" in sight_in(browser.page, "settings")


@pytest.mark.parametrize("place", KINDS)
def test_inspector_hides_the_id_of_who_is_remembered(
    open_demo: Callable[..., Browser], running: Callable[[str], Memcached | Redis], place: str
) -> None:
    """It stands deeper in the cookie, which has the lifetime beside it."""
    browser = open_demo(**options_of(running(place)))
    browser.submit("/backends/use", place=place)
    browser.submit("/sign-in", name="Ada", password="demo", remember="yes")
    value = browser.cookies[f"session_{place}"]
    [data, attributes] = payload_of(value)
    assert attributes["max_age"] == 30 * 24 * 3600
    sight = sight_in(browser.get("/inspector").text, f"session_{place}")
    assert f'"_sid": "{data["_sid"][:4]}…{data["_sid"][-4:]}"' in sight
    assert data["_sid"] not in browser.page
    assert value.strip('"').partition("|")[0] not in browser.page


def test_inspector_believes_no_forged_cookie(browser: Browser) -> None:
    """A cookie that another key has signed is taken apart, and opens nothing."""
    forged = "eyJuYW1lIjoiRXZlIn0=|1700000000|" + "0" * 40
    header = {"Cookie": f"session_securecookie={forged}"}
    browser.cookies.clear()
    sight = sight_in(browser.get("/inspector", headers=header).text, "session_securecookie")
    assert "It is not accepted" in sight
    assert "Nothing that this cookie opens." in sight
    assert "Signed in as" not in browser.page


def test_inspector_shows_little_of_foreign_cookies(browser: Browser) -> None:
    """Other applications on other ports of this machine have cookies, too."""
    header = {"Cookie": 'other=their-secret-of-some-length; broken; "=; x=\xff'}
    page = browser.get("/inspector", headers=header).text
    assert "It is not ours" in sight_in(page, "other")
    assert "secret" not in sight_in(page, "other")


@pytest.mark.parametrize("place", KINDS)
def test_inspector_tells_an_ended_session(
    open_demo: Callable[..., Browser], running: Callable[[str], Memcached | Redis], place: str
) -> None:
    """A cookie with the right signature, and an id that leads nowhere."""
    browser = open_demo(**options_of(running(place)))
    header = signed(f"session_{place}", {"_sid": SID})
    sight = sight_in(browser.get("/inspector", headers=header).text, f"session_{place}")
    assert "opens nothing: its session has ended" in sight


def test_renewing_needs_a_session(browser: Browser) -> None:
    """Otherwise it would make one."""
    browser.submit("/inspector/renew", place="securecookie")
    assert levels_in(browser.page) == ["warning"]
    assert "session_securecookie" not in browser.cookies


def test_encrypted_cookie(browser: Browser) -> None:
    """The inspector shows its time, what handlers get of it, and no way to copy it."""
    browser.submit("/backends/use", place="encryptedcookie")
    browser.submit("/cart", do="add assam")
    token = browser.cookies["session_encryptedcookie"]
    sight = sight_in(browser.get("/inspector").text, "session_encryptedcookie")
    assert token[:24] + "…" + token[-4:] in sight
    assert "encrypted: without the server" in sight
    assert '"assam": 1' in sight
    assert token not in browser.page
    assert re.search(r"Signed\s*(just now|\d+ seconds? ago)", sight)


@pytest.mark.parametrize(("place", "limit"), [("memcache", "1 MB"), ("redis", "512 MB")])
def test_record_under_a_key(
    open_demo: Callable[..., Browser],
    running: Callable[[str], Memcached | Redis],
    place: str,
    limit: str,
) -> None:
    """With a real memcached and a real Redis the whole story works there."""
    browser = open_demo(**options_of(running(place)))
    sight = check_server_side(browser, place)
    assert f"bytes of {limit}" in sight
    assert re.search(r"Ends\s*in [78] hours", sight)


def test_redis_record_is_what_is_stored(
    open_demo: Callable[..., Browser], redis_server: Redis
) -> None:
    """Key, size, signature and expiry are those that Redis itself tells."""
    browser = open_demo(redis_url=redis_server.url)
    browser.submit("/backends/count", place="redis")
    sid = sid_in(browser.cookies["session_redis"])
    value = redis_server.ask("GET", f"session:{sid}")
    sight = sight_in(browser.get("/inspector").text, "session_redis")
    assert f"session:{sid[:4]}…{sid[-4:]}" in sight
    assert f"{len(value)} bytes" in sight
    signature = value[1:33].hex()
    assert f"{signature[:6]}…{signature[-4:]}" in sight
    assert signature not in browser.page

    redis_server.ask("EXPIRE", f"session:{sid}", 119)
    assert "in 1 minute," in sight_in(browser.get("/inspector").text, "session_redis")
    redis_server.ask("PERSIST", f"session:{sid}")
    assert "Ends" not in sight_in(browser.get("/inspector").text, "session_redis")


def test_datastore(
    open_demo: Callable[..., Browser],
    datastore: DatastoreEmulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a real Datastore emulator the whole story works there."""
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", datastore.address)
    sight = check_server_side(open_demo(project="test"), "datastore")
    assert 'Key("Session", "' in sight


def check_server_side(browser: Browser, place: str) -> str:
    """Go to a place with a server, sign in and out there; what the inspector showed."""
    cookie = f"session_{place}"
    browser.submit("/backends/use", place=place)
    assert levels_in(browser.page) == ["success"]
    browser.submit("/cart", do="add assam")
    before = sid_in(browser.cookies[cookie])
    browser.submit("/sign-in", name="Ada", password="demo")
    sid, value = sid_in(browser.cookies[cookie]), browser.cookies[cookie]
    assert sid != before

    page = browser.get("/inspector").text
    sight = sight_in(page, cookie)
    assert json.dumps({"cart": {"assam": 1}, "name": "Ada"}, indent=2) in sight
    assert f"{sid[:4]}…{sid[-4:]}" in sight
    assert sid not in page
    size = re.search(r"(\d+) bytes of \d+ MB", sight)
    assert size
    assert 20 < int(size[1]) < 400

    browser.submit("/sign-out")
    assert cookie not in browser.cookies
    header = {"Cookie": f"{cookie}={value}; settings={browser.cookies['settings']}"}
    browser.cookies.clear()
    answer = browser.get("/inspector", headers=header).text
    assert "has ended" in sight_in(answer, cookie)
    assert "Ada" not in answer
    return sight


@pytest.mark.parametrize("place", KINDS)
def test_killed_server(
    open_demo: Callable[..., Browser], launch: Callable[[Server], Server], place: str
) -> None:
    """Without its server the page is a tidy 503 with a way back to cookies."""
    server = KINDS[place]()
    launch(server)
    check_killed(open_demo(**options_of(server)), place, server)


def test_killed_datastore(
    open_demo: Callable[..., Browser],
    launch: Callable[[Server], Server],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same when the Datastore emulator is killed."""
    server = launch(DatastoreEmulator())
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", server.address)
    check_killed(open_demo(project="killed"), "datastore", server)


def check_killed(browser: Browser, place: str, server: Server) -> None:
    """Lose the server with the session, and go on with a cookie."""
    browser.submit("/backends/use", place=place)
    browser.submit("/sign-in", name="Ada", password="demo")
    server.kill()

    for path in PAGES:
        assert browser.get(path).status_code == 503
        assert "Your session cannot be reached" in browser.page
    assert [buttons_in(browser.page, each) for each in (place, "securecookie")] == [0, 1]
    assert str(server.port) in browser.page  # in the command that starts one there
    assert browser.submit("/cart", do="add assam").status_code == 503

    assert browser.submit("/backends/use", place="securecookie").status_code == 200
    assert "used by the shop" in shelf_in(browser.page, "securecookie")
    assert "not available" in shelf_in(browser.page, place)
    assert "A server that is needed to open its session does not answer." in sight_in(
        browser.get("/inspector").text, f"session_{place}"
    )


def test_form_of_the_503_page_works(open_demo: Callable[..., Browser]) -> None:
    """Its token is sent with it, also to a visitor who had none."""
    browser = open_demo()
    browser.cookies.clear()
    cookies = [signed("settings", {"place": "memcache"}), signed("session_memcache", {"_sid": SID})]
    header = {"Cookie": "; ".join(each["Cookie"] for each in cookies)}
    assert browser.get("/", headers=header).status_code == 503
    assert browser.submit("/backends/use", place="securecookie").status_code == 200
    assert levels_in(browser.page) == ["success"]


def test_server_that_goes_while_it_is_used(example: ModuleType, browse: Open) -> None:
    """A new session that cannot be saved gives the 503 page and no redirect."""
    app = example.make_app(SECRET, probe_seconds=0, **nowhere())
    browser = browse(app)
    browser.get("/")
    usable = example.places.probes.Answer(True, "It answered a moment ago.")
    places = app.registry["places"]
    real = places["memcache"]
    places["memcache"] = dataclasses.replace(real, probe=lambda: usable)
    answer = browser.submit("/backends/count", place="memcache")
    assert answer.status_code == 503
    assert "Location" not in answer.headers
    assert browser.submit("/backends/use", place="securecookie").status_code == 200


@pytest.mark.parametrize("place", KINDS)
def test_session_is_there_again_with_its_server(
    open_demo: Callable[..., Browser], launch: Callable[[Server], Server], place: str
) -> None:
    """A server that hung and goes on has the session that it had; meanwhile it is missing."""
    server = KINDS[place]()
    launch(server)
    browser = open_demo(**options_of(server))
    browser.submit("/backends/use", place=place)
    browser.submit("/cart", do="add assam")
    server.freeze()
    assert browser.get("/").status_code == 503
    server.thaw()
    assert wait_until(lambda: browser.get("/").status_code == 200, TIMEOUT)
    assert '<li data-tea="assam">' in browser.page


@pytest.mark.parametrize("place", KINDS)
def test_frozen_server_is_missing(
    open_demo: Callable[..., Browser], launch: Callable[[Server], Server], place: str
) -> None:
    """A server that accepts connections and says nothing is like one that is gone."""
    server = KINDS[place]()
    launch(server)
    browser = open_demo(**options_of(server))
    assert buttons_in(browser.get("/backends").text, place) == 2
    server.freeze()
    assert buttons_in(browser.get("/backends").text, place) == 0


def test_probe_knows_another_server(
    open_demo: Callable[..., Browser], memcached: Memcached, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What answers at the emulator's address has to be an emulator."""
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", memcached.address)
    shelf = shelf_in(open_demo().get("/backends").text, "datastore")
    assert f"What answers at {memcached.address} is no Datastore emulator." in shelf


def test_probe_knows_what_is_no_redis(
    open_demo: Callable[..., Browser], memcached: Memcached
) -> None:
    """What answers at the address has to be a Redis."""
    url = f"redis://{memcached.address}/0"
    shelf = shelf_in(open_demo(redis_url=url).get("/backends").text, "redis")
    assert f"What answers at {memcached.address} cannot be used (InvalidResponse)." in shelf


def test_valkey_is_called_by_its_name(example: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """It tells a version of Redis as well, that of the last one that it is like."""
    told = {"redis_version": "7.2.4", "server_name": "valkey", "valkey_version": "8.0.1"}
    probes, client = example.places.probes, SimpleNamespace(info=lambda _section: told)
    monkeypatch.setattr(probes, "redis_client", lambda _url: nullcontext(client))
    answer = probes.redis("redis://127.0.0.1:6379/0")
    assert answer == probes.Answer(True, "Valkey 8.0.1 answers at 127.0.0.1:6379.")


def test_probe_of_redis_keeps_the_password(
    open_demo: Callable[..., Browser], launch: Callable[[Redis], Redis], redis_server: Redis
) -> None:
    """Whether it is right or wrong, no page shows it."""
    redis_server.ask("ACL", "SETUSER", "tea", "on", ">hushhush", "~session:*", "+get", "+set")
    try:
        for url, told in (
            (f"redis://tea:hushhush@{redis_server.address}", "of a version that it does not tell"),
            (f"redis://tea:hushhushhush@{redis_server.address}", "used (AuthenticationError)."),
            (f"redis://tea:hushhush@127.0.0.1:{free_port()}", "No Redis answers at 127.0.0.1:"),
        ):
            browser = open_demo(redis_url=url)
            assert told in shelf_in(browser.get("/backends").text, "redis")
            assert "hush" not in browser.page
    finally:
        redis_server.ask("ACL", "DELUSER", "tea")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://127.0.0.1:6380/1", "127.0.0.1:6380"),
        ("rediss://ada:secret@localhost", "localhost:6379"),
        ("unix://ada:secret@/run/redis.sock?db=1", "/run/redis.sock"),
        ("redis://:sec#ret@127.0.0.1:6379", ""),
        ("redis://:sec/ret@127.0.0.1:6379", ""),
        ("redis://[", ""),
    ],
)
def test_url_is_shown_without_user_and_password(
    example: ModuleType, url: str, address: str
) -> None:
    """Also if it is none."""
    assert example.places.probes.address_in(url) == address


@pytest.mark.parametrize("url", ["", "nonsense", "redis://127.0.0.1:99999", "redis://["])
def test_probe_survives_a_wrong_url(example: ModuleType, url: str) -> None:
    """A URL of another form is one where nothing answers."""
    answer = example.places.probes.redis(url)
    assert (answer.usable, answer.commands) == (False, ())
    assert answer.reason.startswith("No Redis answers at ")


@pytest.mark.parametrize("address", ["", "nonsense", "127.0.0.1:", "127.0.0.1:99999"])
def test_probe_survives_a_wrong_address(example: ModuleType, address: str) -> None:
    """An address of another form is one where nothing answers."""
    answer = example.places.probes.memcached(address)
    assert (answer.usable, answer.reason) == (False, f"No memcached answers at {address}.")


@pytest.mark.parametrize(("seconds", "expected"), [(1000.0, "first"), (0.0, "second")])
def test_probe_is_remembered(example: ModuleType, seconds: float, expected: str) -> None:
    """Within its time an answer is used again, and no longer."""
    answers = iter(["first", "second"])
    probe = example.places.probes.Remembered(lambda: next(answers), seconds)
    assert [probe(), probe()] == ["first", expected]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "just now"),
        (0.9, "just now"),
        (1, "1 second ago"),
        (59, "59 seconds ago"),
        (60, "1 minute ago"),
        (7199, "1 hour ago"),
        (200000, "2 days ago"),
    ],
)
def test_age_is_in_words(example: ModuleType, seconds: float, words: str) -> None:
    """The largest unit that fits."""
    assert example.inspector.ago(seconds) == words


@pytest.mark.parametrize("secret", ["", "short", "x" * 15])
def test_short_secrets_are_hidden_whole(example: ModuleType, secret: str) -> None:
    """Of a short one the ends would be most of it."""
    assert example.inspector.hide_middle(secret) == "…"


@pytest.mark.parametrize(
    "value", ["", "a|b", "!|1|c", "e30=|x|c", "e30=|1|c|d", "/w==|1|c", "gA=="]
)
def test_cookie_of_another_form_is_unknown(example: ModuleType, value: str) -> None:
    """What is neither signed nor encrypted is not taken apart."""
    assert example.inspector.cookie_view.view("session", value).form == "unknown"


@pytest.mark.parametrize("page", PAGES)
def test_pages_load_nothing_from_elsewhere(browser: Browser, page: str) -> None:
    """Style comes from the application; the policy forbids scripts, and other sites all."""
    answer = browser.get(page)
    assert re.findall(r'(?:src|href|action)="(?![/#])([^"]*)"', answer.text) == []
    assert not re.search(r"<script|\son\w+=|\sstyle=", answer.text)
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'")
    assert "unsafe" not in policy
    assert "script-src" not in policy
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(("name", "kind"), [("style.css", "text/css"), ("icon.svg", "image/svg")])
def test_files_are_cached(browser: Browser, name: str, kind: str) -> None:
    """They set no cookie, and are not sent again while they stay the same."""
    browser.cookies.clear()
    first = browser.get(f"/{name}")
    assert first.headers["Content-Type"].startswith(kind)
    assert not first.cookies
    again = browser.get(f"/{name}", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.text) == (304, "")


@pytest.mark.parametrize("name", ["app.py", "style.css/../app.py", "static/style.css"])
def test_other_files_are_not_there(browser: Browser, name: str) -> None:
    """Only those two have an address."""
    assert browser.get(f"/{name}").status_code == 404
