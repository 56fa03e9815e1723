"""The recipes of docs/recipes.md do what the page says, and without their lines what it warns of.

Sessions are in memory, which stands in for Redis, and in signed cookies.
"""

from __future__ import annotations

import html
import re
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import requests
from support.recipes import Provider, load_recipe
from support.servers import PROXY_VARIABLES
from support.wsgi import served

from webapp2_sessions.testing import Client, Clock, memory_sessions, session_transaction, travel

#: What only a session on a server can do: it has an id, and a copy of its cookie ends.
ON_A_SERVER = "redis"

Recipe = dict[str, Any]
Load = Callable[..., Recipe]


@pytest.fixture(params=[ON_A_SERVER, "securecookie"])
def load(request: pytest.FixtureRequest) -> Iterator[Load]:
    """Load a recipe, whose sessions are in the process or in cookies."""
    with ExitStack() as at_end:

        def load(heading: str, *changes: tuple[str, str]) -> Recipe:
            recipe = load_recipe(heading, *changes)
            recipe["config"]["webapp2_extras.sessions"]["default_backend"] = request.param
            at_end.enter_context(memory_sessions(recipe["app"]))
            return recipe

        yield load


def copied(client: Client) -> Client:
    """Somebody who has a copy of a visitor's cookies."""
    copy = Client(client.app)
    for cookie in client.cookiejar:
        copy.cookiejar.set_cookie(cookie)
    return copy


def is_on_a_server(recipe: Recipe) -> bool:
    """Whether a copy of a cookie can be made worthless."""
    settings = recipe["config"]["webapp2_extras.sessions"]
    return bool(settings["default_backend"] == ON_A_SERVER)


def data_of(client: Client, recipe: Recipe) -> dict[str, Any]:
    """What a visitor's session holds."""
    backend = recipe["config"]["webapp2_extras.sessions"]["default_backend"]
    with session_transaction(client, backend=backend) as session:
        return dict(session)


# Signing in with a provider

OAUTH = "Signing in with a provider"
CHECK = "if state is None or not hmac.compare_digest(state.encode(), given.encode())"
WITHOUT_STATE = (CHECK, "if False")
WITHOUT_NONE = (CHECK, 'if not hmac.compare_digest((state or "").encode(), given.encode())')
WITH_ANY_PAGE = (r'return url if re.fullmatch(r"/(?!/)[!-\[\]-~]*", url) else "/"', "return url")


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Provider, str]]:
    """A provider of accounts, and its address."""
    for variable in PROXY_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    application = Provider("ada")
    with served(application) as site:
        yield application, site


@pytest.fixture
def load_oauth(load: Load, provider: tuple[Provider, str]) -> Load:
    """Load the recipe, with the address of the provider."""

    def load_with_provider(*changes: tuple[str, str]) -> Recipe:
        recipe = load(OAUTH, *changes)
        application, recipe["PROVIDER"] = provider
        application.client_secret = recipe["CLIENT_SECRET"]
        recipe["CLIENT"]["redirect_uri"] = "http://localhost/callback"
        return recipe

    return load_with_provider


def address_back(client: Client, then: str = "/") -> str:
    """Begin a sign-in; the address of the callback, to which the provider's page leads."""
    begun = client.get(f"/sign-in?{urllib.parse.urlencode({'then': then})}")
    page = requests.get(begun.headers["Location"], timeout=30).text
    [address] = re.findall('href="(.*?)"', page)
    return html.unescape(address)


def test_who_comes_back_is_signed_in_and_goes_on(load_oauth: Load) -> None:
    recipe = load_oauth()
    client = Client(recipe["app"])
    answer = client.get(address_back(client, "/letters?page=2"))
    assert answer.headers["Location"] == "http://localhost/letters?page=2"
    assert data_of(client, recipe) == {"user_id": "ada"}


def test_who_has_planted_the_session_is_not_signed_in(load_oauth: Load) -> None:
    recipe = load_oauth()
    client = Client(recipe["app"])
    address = address_back(client)
    attacker = copied(client)
    client.get(address)
    assert "user_id" not in data_of(attacker, recipe)


def test_who_says_no_goes_on_as_before(load_oauth: Load) -> None:
    recipe = load_oauth()
    client = Client(recipe["app"])
    refused = re.sub("code=[^&]*", "error=access_denied", address_back(client, "/letters"))
    assert client.get(refused).headers["Location"] == "http://localhost/letters"
    assert data_of(client, recipe) == {}


@pytest.mark.parametrize("has_begun", [True, False])
@pytest.mark.parametrize(("changes", "signs_in"), [((), False), ((WITHOUT_STATE,), True)])
def test_nobody_is_signed_in_by_the_address_of_an_attacker(
    load_oauth: Load, changes: Any, signs_in: bool, has_begun: bool
) -> None:
    recipe = load_oauth(*changes)
    attacker, client = Client(recipe["app"]), Client(recipe["app"])
    if has_begun:
        client.get("/sign-in")
    answer = client.get(address_back(attacker))
    assert answer.status_int == (302 if signs_in else 403)
    assert ("user_id" in data_of(client, recipe)) is signs_in


@pytest.mark.parametrize(("changes", "signs_in"), [((), False), ((WITHOUT_NONE,), True)])
@pytest.mark.parametrize("state", ["", "&state="])
def test_no_state_is_not_the_state_of_who_has_begun_nothing(
    load_oauth: Load, changes: Any, signs_in: bool, state: str
) -> None:
    recipe = load_oauth(*changes)
    attacker, client = Client(recipe["app"]), Client(recipe["app"])
    address = re.sub("&state=.*", state, address_back(attacker))
    client.get(address)
    assert ("user_id" in data_of(client, recipe)) is signs_in


def test_a_state_is_good_once(load_oauth: Load) -> None:
    recipe = load_oauth()
    client = Client(recipe["app"])
    address = address_back(client)
    assert client.get(address).status_int == 302
    assert client.get(address).status_int == 403


def test_a_wrong_state_uses_up_the_right_one(load_oauth: Load) -> None:
    recipe = load_oauth()
    client = Client(recipe["app"])
    address = address_back(client)
    assert client.get(f"{address}x").status_int == 403
    assert client.get(address).status_int == 403


@pytest.mark.parametrize("state", ["é", "%00", "x" * 5000])
def test_a_strange_state_is_refused(load_oauth: Load, state: str) -> None:
    client = Client(load_oauth()["app"])
    address_back(client)
    assert client.get(f"/callback?code=1&state={urllib.parse.quote(state)}").status_int == 403


#: What browsers take for another host, or a script, or what no header can hold.
ELSEWHERE = [
    *("//evil.example", "///evil.example", "https://evil.example", "https:evil.example"),
    *("/\\evil.example", "\\\\evil.example", "\\/evil.example", "/\t/evil.example"),
    *("/\n/evil.example", " //evil.example", "\x01//evil.example", "javascript:alert(1)"),
    *("evil.example", "", "/x\r\nSet-Cookie: a=b", "/é", "/ /evil.example", "/\x00"),
]
#: What is of this site, strange as it looks.
HERE = ["/", "/letters?page=2#end", "/a//b", "/@evil.example", "/%2f/x", "/.//evil.example"]


@pytest.mark.parametrize("then", ELSEWHERE)
def test_nobody_is_led_elsewhere(load_oauth: Load, then: str) -> None:
    client = Client(load_oauth()["app"])
    answer = client.get(address_back(client, then))
    assert answer.headers["Location"] == "http://localhost/"


@pytest.mark.parametrize("then", HERE)
def test_each_page_of_this_site_is_gone_on_with(load_oauth: Load, then: str) -> None:
    recipe = load_oauth()
    client = Client(recipe["app"])
    location = client.get(address_back(client, then)).headers["Location"]
    assert recipe["path_here"](then) == then
    assert urllib.parse.urlsplit(location)[:2] == ("http", "localhost")


def test_without_the_check_a_link_leads_elsewhere(load_oauth: Load) -> None:
    client = Client(load_oauth(WITH_ANY_PAGE)["app"])
    answer = client.get(address_back(client, "//evil.example"))
    assert answer.headers["Location"] == "http://evil.example"


# Asking for the password again

SUDO = "Asking for the password again"
RIGHT, WRONG = {"password": "engine"}, {"password": "loom"}


@pytest.fixture
def clock() -> Iterator[Clock]:
    """A clock for sessions."""
    with travel() as clock:
        yield clock


@pytest.fixture
def load_sudo(load: Load, clock: Clock) -> Load:
    """Load the recipe, by that clock."""

    def load_with_clock(*changes: tuple[str, str]) -> Recipe:
        recipe = load(SUDO, *changes)
        recipe["time"] = clock
        return recipe

    return load_with_clock


def member_of(recipe: Recipe) -> Client:
    """Somebody who has just signed in."""
    client = Client(recipe["app"])
    client.post("/sign-in", {"user_id": "7", **RIGHT})
    return client


def is_asked(client: Client, method: str = "GET") -> bool:
    """Whether the page of the address wants the password."""
    answer = client.get_response("/address", method=method)
    assert answer.status_int in (200, 303)
    return answer.headers.get("Location") == "http://localhost/password"


def test_nobody_is_asked_at_once(load_sudo: Load, clock: Clock) -> None:
    client = member_of(load_sudo())
    clock.advance(599)
    assert not is_asked(client)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_after_the_time_the_password_is_asked_for(
    load_sudo: Load, clock: Clock, method: str
) -> None:
    client = member_of(load_sudo())
    clock.advance(600)
    assert is_asked(client, method)
    assert 'name="password"' in client.get("/password").text
    answer = client.post("/password", RIGHT)
    assert answer.headers["Location"] == "http://localhost/address"
    assert not is_asked(client, method)
    clock.advance(600)
    assert is_asked(client, method)


def test_a_wrong_password_changes_nothing(load_sudo: Load, clock: Clock) -> None:
    client = member_of(load_sudo())
    clock.advance(600)
    assert client.post("/password", WRONG).status_int == 403
    assert is_asked(client)


def test_a_stranger_is_asked_and_cannot_answer(load_sudo: Load) -> None:
    client = Client(load_sudo()["app"])
    assert is_asked(client)
    assert client.post("/password", RIGHT).status_int == 403


NEW_ID = "        self.session.regenerate_id()  # the user is the same, so that user_key does not\n"


@pytest.mark.parametrize(("changes", "comes_along"), [((), False), (((NEW_ID, ""),), True)])
def test_a_thief_does_not_come_along(
    load_sudo: Load, clock: Clock, changes: Any, comes_along: bool
) -> None:
    recipe = load_sudo(*changes)
    client = member_of(recipe)
    thief = copied(client)
    clock.advance(600)
    client.post("/password", RIGHT)
    may_pass = comes_along and is_on_a_server(recipe)  # an old cookie has the old time
    assert is_asked(thief) != may_pass


WITHOUT_USER = ('user_id != self.session.get("user_id") or ', "")


@pytest.mark.parametrize(("changes", "asked"), [((), True), ((WITHOUT_USER,), False)])
def test_what_a_sign_out_leaves_does_not_count_for_the_next_user(
    load_sudo: Load, changes: Any, asked: bool
) -> None:
    recipe = load_sudo(*changes)
    client = member_of(recipe)
    backend = recipe["config"]["webapp2_extras.sessions"]["default_backend"]
    with session_transaction(client, backend=backend) as session:
        del session["user_id"]
    with session_transaction(client, backend=backend) as session:
        session["user_id"] = 8
    assert is_asked(client) is asked


# Taking the cart along

CART = "Taking the cart along"


def fill(client: Client, *teas: str) -> None:
    """Put teas into a visitor's cart."""
    for tea in teas:
        client.post("/cart", {"tea": tea})


def sign_in(client: Client, user_id: int) -> None:
    """Sign a visitor in."""
    client.post("/sign-in", {"user_id": str(user_id)})


def put(client: Client, recipe: Recipe, **values: Any) -> None:
    """Have other pages put something into a visitor's session."""
    backend = recipe["config"]["webapp2_extras.sessions"]["default_backend"]
    with session_transaction(client, backend=backend) as session:
        session.update(values)


def test_the_cart_is_taken_along(load: Load) -> None:
    client = Client(load(CART)["app"])
    fill(client, "assam", "assam")
    sign_in(client, 7)
    assert client.get("/cart").text == "2 assam"


def test_the_cart_and_the_stored_one_become_one(load: Load) -> None:
    recipe = load(CART)
    recipe["CARTS"][7] = {"assam": 3, "sencha": 1}
    client = Client(recipe["app"])
    fill(client, "assam", "oolong")
    sign_in(client, 7)
    assert client.get("/cart").text == "3 assam, 1 oolong, 1 sencha"


def test_who_signs_in_again_has_not_bought_twice(load: Load) -> None:
    client = Client(load(CART)["app"])
    fill(client, "assam")
    late = copied(client)  # whose answer never came
    for each in (client, late, client):
        sign_in(each, 7)
    assert client.get("/cart").text == "1 assam"


def test_another_browser_of_the_user_has_the_same_cart(load: Load) -> None:
    client, telephone = (Client(app) for app in [load(CART)["app"]] * 2)
    for each in (client, telephone):
        sign_in(each, 7)
    fill(client, "assam")
    assert telephone.get("/cart").text == "1 assam"


def test_who_has_planted_the_cart_sees_nothing_of_the_user(load: Load) -> None:
    recipe = load(CART)
    recipe["CARTS"][7] = {"sencha": 1}
    client = Client(recipe["app"])
    fill(client, "assam")
    attacker = copied(client)
    sign_in(client, 7)
    assert "sencha" not in attacker.get("/cart").text


OF_THE_USER = {"address": "12 St James's Square"}
WAYS_OUT = {
    "signs out": lambda client: client.post("/sign-out"),
    "is displaced": lambda client: sign_in(client, 8),
}
ONLY_THE_USER = {
    "signs out": (
        "    def post(self):\n        self.drop_all_but(KEPT)\n",
        '    def post(self):\n        del self.session["user_id"]\n',
    ),
    "is displaced": ("not in (None, user_id)", "is NotImplemented"),
}


@pytest.mark.parametrize("way", WAYS_OUT)
@pytest.mark.parametrize("is_page", [True, False])
def test_the_next_user_finds_nothing_of_the_former(load: Load, way: str, is_page: bool) -> None:
    recipe = load(CART, *([] if is_page else [ONLY_THE_USER[way]]))
    client = Client(recipe["app"])
    sign_in(client, 7)
    put(client, recipe, language="fr", **OF_THE_USER)
    WAYS_OUT[way](client)
    sign_in(client, 8)
    left = {} if is_page else OF_THE_USER
    assert data_of(client, recipe) == {"user_id": 8, "language": "fr", **left}


def test_the_next_user_does_not_get_the_cart(load: Load) -> None:
    client = Client(load(CART)["app"])
    fill(client, "assam")
    sign_in(client, 7)
    client.post("/sign-out")
    assert client.get("/cart").text == ""
    sign_in(client, 8)
    assert client.get("/cart").text == ""


def test_a_cart_that_stays_in_the_session_comes_to_the_next_user(load: Load) -> None:
    """Where it is not popped, and the sign-out takes only the user out."""
    not_popped = ('self.session.pop("cart", {})', 'self.session.get("cart", {})')
    client = Client(load(CART, not_popped, ONLY_THE_USER["signs out"])["app"])
    fill(client, "assam")
    sign_in(client, 7)
    client.post("/sign-out")
    sign_in(client, 8)
    assert client.get("/cart").text == "1 assam"


def test_a_sign_out_ends_the_record_and_keeps_the_language(load: Load) -> None:
    recipe = load(CART)
    client = Client(recipe["app"])
    sign_in(client, 7)
    put(client, recipe, language="fr")
    former = copied(client)
    client.post("/sign-out")
    assert data_of(client, recipe) == {"language": "fr"}
    if is_on_a_server(recipe):
        assert data_of(former, recipe) == {}
