"""The users of webapp2_extras.auth: upstream's names, entities and passwords, on every backend.

Upstream's own tests of them are in test_upstream_suite.py. Here are both in one process, upstream's
on the stand-in for App Engine; tests/appengine compares entities with those of bundled ndb.
"""

from __future__ import annotations

import inspect
import time
import uuid
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import webapp2
from google.cloud import ndb
from support import appengine, entities
from support.contract import Backend
from support.handlers import DocumentedHandler
from support.servers import DatastoreEmulator
from webapp2_extras import auth

from webapp2_sessions.testing import Client
from webapp2_sessions.users import auth_models as ours

MODELS = ("Unique", "User", "UserToken")

#: Passwords and their hashes, made by webapp2 2.5.2 on Python 2.7.
OLD_PASSWORDS: dict[str, tuple[str | bytes, str]] = {
    "text": ("correct horse", "e7dcb3cc438b31075a9d7137c33419ba8143057a$sha1$JSlvlPjYyeVp"),
    "unicode": ("pässwörd ☃", "d0b608e1a42c784c51480801d8e10f93a7af015c$sha1$Ys1TW4FNaYWd"),
    "bytes": (
        "päss bytes".encode(),
        "6a0e3fa7c65e0690e5c32d13f8e245a13cdd483c$sha1$ZwjhDfRCrZO3",
    ),
    "md5": ("engine", "1ca3f9148669c3db951c1a412e184577$md5$MJgnFZrpR1P4"),
    "plain": ("plain text", "plain text$plain$"),
    "sha256": (
        "engine",
        "417dd4b9a52f25d8fa0843e4c98edf3695023785b0ec52ae183c457213e9ac2c$sha256$jpjWeYiZjk80",
    ),
}


@pytest.fixture(autouse=True)
def kinds(datastore: DatastoreEmulator) -> Iterator[None]:
    """Whoever uses a model says whose it is; other tests have models of these kinds."""
    with entities.kinds_restored():
        take(ours)
        yield


def upstreams() -> ModuleType:
    """Upstream's models."""
    return appengine.upstream_backend("auth.models")


@pytest.fixture(params=["upstream", "ours"])
def models(request: pytest.FixtureRequest) -> Any:
    """Those of each side."""
    found = ours if request.param == "ours" else upstreams()
    take(found)
    return found


def take(models: ModuleType) -> None:
    """Let ndb load entities as the models of a module."""
    ndb.Model._kind_map.update({name: getattr(models, name) for name in MODELS})


@pytest.fixture
def name() -> str:
    """An auth id that nobody has."""
    return f"own:{uuid.uuid4().hex}"


def methods_of(models: ModuleType) -> dict[str, Any]:
    """The parameters of all methods that upstream's models have."""
    return {
        f"{model}.{method}": [
            (each.name, each.kind, each.default)
            for each in inspect.signature(
                getattr(getattr(models, model), method)
            ).parameters.values()
        ]
        for model in MODELS
        for method in vars(getattr(upstreams(), model))
        if inspect.isroutine(getattr(getattr(upstreams(), model), method)) and method[0] != "_"
    }


def test_names_and_signatures_are_upstreams() -> None:
    expected = methods_of(upstreams())
    assert len(expected) == 19
    assert methods_of(ours) == expected
    assert [ours.User.unique_model, ours.User.token_model] == [ours.Unique, ours.UserToken]


def written_by(models: ModuleType, auth_id: str) -> dict[str, Any]:
    """Keys and properties of all entities that a user leaves."""
    take(models)
    with entities.context():
        is_new, user = models.User.create_user(
            auth_id, ["email"], password_raw="engine", email=f"{auth_id}@a.org", age=36, tags=["x"]
        )
        assert is_new
        user_id = user.get_id()
        token = models.User.create_auth_token(user_id)
        assert user.add_auth_id(f"{auth_id}-2")[0]
        found = {
            "user": ndb.Key("User", user_id),
            "token": ndb.Key("UserToken", f"{user_id}.auth.{token}"),
            **{
                each: ndb.Key("Unique", f"User.{each}")
                for each in (
                    f"auth_id:{auth_id}",
                    f"auth_id:{auth_id}-2",
                    f"email:{auth_id}@a.org",
                )
            },
        }
        return {what: shape(key) for what, key in found.items()}


def shape(key: Any) -> dict[str, Any]:
    """The properties of a stored entity: type of the value, whether it is indexed, its meaning."""
    class_ = ndb.Model._kind_map[key.kind()]
    assert type(key.get(use_cache=False)) is class_
    client = ndb.get_context().client
    request = {"project_id": client.project, "keys": [key._key.to_protobuf()]}
    answer = client.stub.lookup(request, timeout=10)
    [found] = answer.found
    return {
        name: [
            (each._pb.WhichOneof("value_type"), each.exclude_from_indexes, each.meaning)
            for each in (value.array_value.values or [value])
        ]
        for name, value in found.entity.properties.items()
    }


def test_entities_are_upstreams(name: str) -> None:
    """Kinds, names of keys, properties, their types, and what is indexed."""
    found = written_by(ours, name)
    assert found == {
        each.replace("-other", ""): properties
        for each, properties in written_by(upstreams(), f"{name}-other").items()
    }
    assert {each for each, *_ in found["user"]["auth_ids"]} == {"string_value"}


def test_each_reads_what_the_other_wrote(name: str, models: Any) -> None:
    """Passwords, tokens and values that are taken."""
    writer: Any = models
    reader: Any = upstreams() if models is ours else ours
    with entities.context():
        take(writer)
        _, user = writer.User.create_user(name, password_raw="engine", email="a@b.org")
        token = writer.User.create_auth_token(user.get_id())
    with entities.context():
        take(reader)
        found = reader.User.get_by_auth_password(name, "engine")
        assert (found.get_id(), found.email) == (user.get_id(), "a@b.org")
        by_token, created = reader.User.get_by_auth_token(user.get_id(), token)
        assert by_token.get_id() == user.get_id()
        assert abs(created - time.time()) < 60
        assert reader.User.create_user(name) == (False, ["auth_id"])
        reader.User.delete_auth_token(user.get_id(), token)
    with entities.context():
        take(writer)
        assert writer.User.get_by_auth_token(user.get_id(), token) == (None, None)


@pytest.mark.parametrize("which", OLD_PASSWORDS)
def test_old_passwords_are_accepted(name: str, models: Any, which: str) -> None:
    """Of users whom webapp2 2.5.2 has stored."""
    password, hashed = OLD_PASSWORDS[which]
    with entities.context():
        models.User(auth_ids=[name], password=hashed).put()
        assert models.User.get_by_auth_password(name, password).auth_ids == [name]
        with pytest.raises(auth.InvalidPasswordError):
            models.User.get_by_auth_password(name, "another")


def test_answers_of_create_user(name: str, models: Any) -> None:
    """In the order in which the properties were named, without the values that were free."""
    with entities.context():
        values = {"email": f"{name}@a.org", "phone": f"{name}-1"}
        is_new, user = models.User.create_user(name, ["email", "phone"], **values)
        assert (is_new, user.auth_ids, user.password) == (True, [name], None)
        values["email"] += "x"
        other = models.User.create_user(f"{name}-2", ["email", "phone"], **values)
        assert other == (False, ["phone"])
        assert models.Unique.create(f"User.email:{values['email']}")  # was given back
        assert models.Unique.create_multi(["free" + name, "free" + name]) == (False, [])
        with pytest.raises(KeyError):
            models.User.create_user(f"{name}-3", ["nickname"])
        with pytest.raises(AssertionError):
            models.User.create_user(f"{name}-3", password="engine")
        with pytest.raises(AssertionError):
            models.User.create_user([f"{name}-3"])
        with pytest.raises(AssertionError):
            models.UserToken.get(user=5)


# Differences


def test_user_without_a_password(name: str, models: Any) -> None:
    """Upstream raises what a handler does not expect."""
    with entities.context():
        models.User.create_user(name)
        error = AttributeError if models is not ours else auth.InvalidPasswordError
        with pytest.raises(error):
            models.User.get_by_auth_password(name, "engine")


def test_auth_id_of_somebody_else(name: str, models: Any) -> None:
    """Upstream leaves it in the entity, so that the next put() steals it."""
    with entities.context():
        models.User.create_user(name)
        _, user = models.User.create_user(f"{name}-2")
        assert user.add_auth_id(name) == (False, ["auth_id"])
        assert user.auth_ids == [f"{name}-2", *([name] if models is not ours else [])]


def test_age_of_a_token_east_of_greenwich(
    name: str, models: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Upstream takes UTC for the time of the server's zone."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        with entities.context():
            _, user = models.User.create_user(name)
            token = models.User.create_auth_token(user.get_id())
            _, created = models.User.get_by_auth_token(user.get_id(), token)
    finally:
        monkeypatch.undo()
        time.tzset()
    hours = round((time.time() - created) / 3600)
    assert hours == (9 if models is not ours else 0)


# With webapp2_extras.auth


class AccountHandler(DocumentedHandler):
    """Sign-up, sign-in, sign-out, and who it is."""

    def post(self) -> None:
        current = auth.get_auth(request=self.request)
        given = [self.request.POST.get("name"), self.request.POST.get("password")]
        if self.request.path == "/sign-up":
            is_new, _ = current.store.user_model.create_user(given[0], password_raw=given[1])
            self.response.write(str(is_new))
        elif self.request.path == "/sign-in":
            self.response.write(str(bool(current.get_user_by_password(*given, silent=True))))
        else:
            current.unset_session()

    def get(self) -> None:
        user = auth.get_auth(request=self.request).get_user_by_session()
        self.response.write(str(user and user["email"]))


@pytest.fixture
def client(backend: Backend) -> Client:
    """A browser; sessions are in a backend, tokens are looked up in each request."""

    class User(ours.User):
        email = ndb.StringProperty(default="none")

    app: webapp2.WSGIApplication = backend.app()
    app.router.add(("/.*", AccountHandler))
    app.config["webapp2_extras.auth"] = {
        "user_model": User,
        "session_backend": backend.keyword,
        "token_cache_age": 0,
        "user_attributes": ["email"],
    }
    return Client(app)


def test_life_of_an_account(client: Client, name: str) -> None:
    """An ndb context is entered where it is needed; a token that was deleted opens nothing."""
    account = {"name": name, "password": "engine"}
    assert client.post("/sign-up", account).text == "True"
    assert client.post("/sign-up", account).text == "False"
    assert client.get("/").text == "None"
    assert client.post("/sign-in", {**account, "password": "other"}).text == "False"
    assert client.post("/sign-in", account).text == "True"
    assert [client.get("/").text, client.get("/").text] == ["none", "none"]
    stolen = "; ".join(f"{key}={value}" for key, value in client.cookies.items())
    thief = Client(client.app)
    assert thief.get("/", headers={"Cookie": stolen}).text == "none"
    client.post("/sign-out")
    assert client.get("/").text == "None"
    assert thief.get("/", headers={"Cookie": stolen}).text == "None"
