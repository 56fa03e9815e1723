"""Users in Datastore: contexts, transactions, caches, and requests that fail."""

from __future__ import annotations

import contextvars
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from google.api_core import exceptions as api_errors
from google.cloud import ndb
from google.cloud.ndb.global_cache import _InProcessGlobalCache
from support import entities
from support.processes import HOST, free_port
from support.servers import PROJECT, DatastoreEmulator
from webapp2_extras import security

import webapp2_sessions
from webapp2_sessions import BackendError, BackendUnavailable
from webapp2_sessions.config import default_config
from webapp2_sessions.users.auth_models import Unique, User, UserToken

AWAY = "away-" + uuid.uuid4().hex

Configure = Callable[..., None]


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Set values of the ``datastore`` settings, which count as no application is active."""

    def change(**settings: Any) -> None:
        monkeypatch.setitem(default_config, "datastore", settings)

    return change


@pytest.fixture(autouse=True)
def models(configure: Configure) -> Iterator[None]:
    """Entities are loaded as these models, whatever other tests have defined."""
    configure(project=PROJECT)
    with entities.kinds_restored():
        ndb.Model._kind_map.update(User=User, UserToken=UserToken, Unique=Unique)
        yield


@pytest.fixture
def name(datastore: DatastoreEmulator) -> str:
    """An auth id that nobody has."""
    return f"own:{uuid.uuid4().hex}"


def uniques_of(name: str, namespace: str = "") -> set[str]:
    """Which values with a name in them are taken."""
    return {each for each in entities.names_of("Unique", namespace) if name in each}


# Contexts


def test_everything_works_without_a_context(name: str) -> None:
    is_new, user = User.create_user(name, password_raw="engine")
    assert is_new
    user_id = user.get_id()
    assert User.get_by_auth_id(name) == user
    assert User.get_by_id(user_id).auth_ids == [name]
    assert User.get_by_auth_password(name, "engine") == user
    token = User.create_auth_token(user_id)
    assert User.get_by_auth_token(user_id, token)[0] == user
    assert User.get_by_auth_token("somebody", token) == (None, None)
    assert User.validate_auth_token(user_id, token).user == str(user_id)
    assert UserToken.get(subject="auth", token=token) == UserToken.get(user_id, "auth", token)
    User.delete_auth_token(user_id, token)
    assert User.validate_auth_token(user_id, token) is None
    token = User.create_signup_token(user_id)
    assert User.validate_signup_token(user_id, token) is not None
    User.delete_signup_token(user_id, token)
    assert User.validate_signup_token(user_id, token) is None
    user.password = security.generate_password_hash("loom", length=12)
    user.put()
    assert User.get_by_auth_password(name, "loom") == user
    assert user.add_auth_id(f"{name}-2") == (True, user)
    assert User.get_by_auth_id(f"{name}-2") == user
    Unique.delete_multi([f"User.auth_id:{name}"])
    assert Unique.create(f"User.auth_id:{name}")
    assert not Unique.create(f"User.auth_id:{name}")
    assert ndb.get_context(raise_context_error=False) is None


def test_context_is_one_by_the_settings(name: str, configure: Configure) -> None:
    configure(project=PROJECT, namespace=AWAY)
    User.create_user(name)
    assert uniques_of(name) == set()
    assert uniques_of(name, AWAY) == {f"User.auth_id:{name}"}


def test_context_of_the_application_counts(name: str, configure: Configure) -> None:
    """Its namespace and its client; what it has not yet sent stays as it is."""
    configure(project=PROJECT, namespace=AWAY)

    class Note(ndb.Model):
        text = ndb.StringProperty()

    with entities.context() as context:
        Note(id=name, text="first").put()
        pending = Note(id=name, text="second").put_async(timeout=5.0, retries=0)
        assert User.create_user(name)[0]
        assert ndb.get_context() is context
        pending.result()
        assert Note.get_by_id(name, use_cache=False).text == "second"
    assert uniques_of(name) == {f"User.auth_id:{name}"}
    assert User.get_by_auth_id(name) is None


def test_transaction_of_the_application_counts(name: str) -> None:
    """What it rolls back has not happened."""

    def sign_up() -> Any:
        is_new, user = User.create_user(name)
        token = User.create_auth_token(5)
        return is_new, user, token

    def fail() -> None:
        assert sign_up()[0]
        raise LookupError

    with entities.context():
        with pytest.raises(LookupError):
            ndb.transaction(fail)
        assert User.get_by_auth_id(name) is None
        assert uniques_of_here(name) == set()
        is_new, user, token = ndb.transaction(sign_up)
        assert (is_new, User.get_by_auth_id(name)) == (True, user)
        assert User.validate_auth_token(5, token)
        assert ndb.transaction(lambda: User.create_user(name)) == (False, ["auth_id"])


def uniques_of_here(name: str) -> set[str]:
    """The same as above, in a context."""
    keys = ndb.Query(kind="Unique").fetch(keys_only=True)
    return {key.id() for key in keys if name in key.id()}


# Caches


def test_token_that_was_deleted_elsewhere_is_in_no_cache(name: str) -> None:
    """Neither in the context's nor in one that contexts share; other processes know of neither."""
    shared = _InProcessGlobalCache()
    with ndb.Client(project=PROJECT).context(global_cache=shared):
        token = User.create_auth_token(5)
        assert User.validate_auth_token(5, token)
        contextvars.Context().run(lambda: User.delete_auth_token(5, token))
        assert User.validate_auth_token(5, token) is None


def test_value_that_was_given_back_elsewhere_is_in_no_cache(name: str) -> None:
    with ndb.Client(project=PROJECT).context(global_cache=_InProcessGlobalCache()):
        assert Unique.create(name)
        assert Unique.create_multi([name, f"{name}-2"]) == (False, [name])
        contextvars.Context().run(lambda: Unique.delete_multi([name]))
        contextvars.Context().run(lambda: Unique.create(f"{name}-2"))
        assert Unique.create_multi([name, f"{name}-2"]) == (False, [f"{name}-2"])


def test_password_that_was_changed_elsewhere_counts_in_the_next_request(name: str) -> None:
    shared = _InProcessGlobalCache()
    client = ndb.Client(project=PROJECT)
    with client.context(global_cache=shared):
        _, user = User.create_user(name, password_raw="engine")
        user_id = user.get_id()
        assert User.get_by_id(user_id, use_cache=False).password == user.password
    changed = User.get_by_id(user_id)
    changed.password = security.generate_password_hash("loom", length=12)
    changed.put()
    with client.context(global_cache=shared):
        assert User.get_by_id(user_id).password == changed.password


# Requests that fail


class Faulty:
    """A remote procedure of which some requests fail.

    :param error: what is raised, for each request in turn; ``None`` for none.
    :param is_carried_out: whether the server does it all the same.
    """

    def __init__(self, call: Any, *errors: Exception | None, is_carried_out: bool) -> None:
        self._call, self._errors, self._is_carried_out = call, [*errors], is_carried_out
        self.requests = 0

    def __call__(self, request: Any, **options: Any) -> Any:
        self.requests += 1
        error = self._errors.pop(0) if self._errors else None
        if error is None or self._is_carried_out:
            answer = self._call(request, **options)
        if error is not None:
            raise error
        return answer

    def future(self, request: Any, **options: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(self(request, **options))
        except Exception as error:
            done.set_exception(error)
        return done


Break = Callable[..., Faulty]


@pytest.fixture
def break_commits(configure: Configure, datastore: DatastoreEmulator) -> Break:
    """Use a client of which some commits fail."""

    def break_them(*errors: Exception | None, is_carried_out: bool) -> Faulty:
        client = ndb.Client(project=PROJECT)
        faulty = Faulty(client.stub.commit, *errors, is_carried_out=is_carried_out)
        client.stub = Patched(client.stub, faulty)
        configure(client=client)
        return faulty

    return break_them


class Patched:
    """A stub with another `commit`."""

    def __init__(self, stub: Any, commit: Faulty) -> None:
        self._stub, self.commit = stub, commit

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stub, name)


LOST = api_errors.ServiceUnavailable("the answer was lost")
BUSY = api_errors.Aborted("too much contention")


def test_values_of_which_the_answer_was_lost_are_not_written_again(
    name: str, break_commits: Break
) -> None:
    """The second answer would be that they are taken, by whoever asked first."""
    commit = break_commits(LOST, is_carried_out=True)
    with pytest.raises(BackendUnavailable):
        User.create_user(name)
    assert commit.requests == 1
    assert User.get_by_auth_id(name) is None


def test_user_of_whom_the_answer_was_lost_is_not_written_again(
    name: str, break_commits: Break
) -> None:
    """It would be another user, with an id of its own. The name stays taken."""
    commit = break_commits(None, LOST, is_carried_out=True)
    with pytest.raises(BackendUnavailable):
        User.create_user(name)
    assert commit.requests == 2
    with entities.context():
        assert len(User.query(User.auth_ids == name).fetch()) == 1
    assert User.create_user(name) == (False, ["auth_id"])


def test_what_can_be_written_twice_is_retried(name: str, break_commits: Break) -> None:
    _, user = User.create_user(name)
    commit = break_commits(LOST, None, LOST, None, LOST, None, is_carried_out=True)
    user.password = "changed"
    user.put()
    token = User.create_auth_token(user.get_id())
    assert User.validate_auth_token(user.get_id(), token)
    User.delete_auth_token(user.get_id(), token)
    assert commit.requests == 6
    assert User.get_by_id(user.get_id()).password == "changed"


@pytest.mark.parametrize("times", [1, 5, 11])
def test_values_are_created_again_where_the_server_is_busy(
    name: str, break_commits: Break, times: int
) -> None:
    commit = break_commits(*[BUSY] * times, is_carried_out=False)
    assert User.create_user(name)[0]
    assert commit.requests == times + 2


def test_server_that_stays_busy(name: str, break_commits: Break) -> None:
    break_commits(*[BUSY] * 12, is_carried_out=False)
    with pytest.raises(BackendError, match="refused"):
        User.create_user(name)
    assert User.create_user(name)[0]


def test_values_that_are_given_back_meanwhile_are_taken(name: str, break_commits: Break) -> None:
    """Somebody else had them, and could not sign up."""
    break_commits(api_errors.AlreadyExists("a value"), is_carried_out=False)
    assert User.create_user(name)[0]


class Author(User):
    """Somebody with a name."""

    full_name = ndb.StringProperty(required=True)
    books = ndb.JsonProperty()

    def _pre_put_hook(self) -> None:
        """Refuse who has no first name."""
        if self.full_name == "Lovelace":
            raise LookupError("no first name")

    def _post_put_hook(self, future: Any) -> None:
        """Fail after the author was written."""
        if self.full_name == "Byron":
            raise LookupError("no such author")


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"full_name": "Ada", "biography": "x" * 2000}, BackendError),
        ({}, ndb.exceptions.BadValueError),
        ({"full_name": "Lovelace"}, LookupError),
        ({"full_name": "Ada", "books": object()}, TypeError),
        ({"full_name": "Ada", "age": 2**70}, ValueError),
        ({"full_name": "Ada", "biography": "x" * 2000, "id": uuid.uuid4().hex}, BackendError),
    ],
    ids=["too long", "missing", "hook", "no JSON", "too large a number", "id of one's own"],
)
def test_user_who_cannot_be_written_leaves_nothing(
    name: str, values: dict[str, Any], error: type[Exception]
) -> None:
    """With upstream nobody would ever get that name."""
    with pytest.raises(error):
        Author.create_user(name, **values)
    assert uniques_of(name) == set()
    assert Author.create_user(name, full_name="Ada")[0]


def test_user_who_may_have_been_written_keeps_the_name(name: str, break_commits: Break) -> None:
    """At the first of two tries, of which the answer was lost."""
    break_commits(None, LOST, BUSY, is_carried_out=True)
    with pytest.raises(BackendError, match="refused"):
        User.create_user(name, id=name)
    assert User.get_by_id(name) is not None
    assert uniques_of(name) == {f"User.auth_id:{name}"}


def test_user_who_was_written_keeps_the_name(name: str) -> None:
    """Though a hook fails afterwards."""
    with pytest.raises(LookupError):
        Author.create_user(name, full_name="Byron")
    assert len(uniques_of(name)) == 1
    assert Author.create_user(name, full_name="Ada") == (False, ["auth_id"])


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"biography": "x" * 2000}, BackendError),
        ({"full_name": None}, ndb.exceptions.BadValueError),
    ],
    ids=["too long", "missing"],
)
def test_auth_id_that_cannot_be_added_is_free(
    name: str, values: dict[str, Any], error: type[Exception]
) -> None:
    _, user = Author.create_user(name, full_name="Ada")
    user.populate(**values)
    with pytest.raises(error):
        user.add_auth_id(f"{name}-2")
    assert uniques_of(f"{name}-2") == set()
    assert user.auth_ids == [name]


def test_none_is_no_unique_value(name: str) -> None:
    """It would be free each time: a key without a name gets one."""
    for values in ([None], [name, None]):
        with pytest.raises(AssertionError):
            Unique.create_multi(values)  # type: ignore[arg-type]
    assert uniques_of(name) == set()


def test_auth_ids_may_be_named_as_unique(name: str) -> None:
    """As with upstream; their text is that of the list."""
    assert User.create_user(name, ["auth_ids"])[0]
    assert uniques_of(name) == {f"User.auth_id:{name}", f"User.auth_ids:['{name}']"}


def test_property_of_another_class_is_refused(name: str) -> None:
    """Before anything is written."""
    with pytest.raises(ndb.exceptions.BadValueError):
        Author.create_user(name, full_name=5)
    assert uniques_of(name) == set()


def test_no_server(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", f"{HOST}:{free_port()}")
    for action in (
        lambda: User.create_user(name),
        lambda: User.get_by_auth_id(name),
    ):
        with pytest.raises(BackendUnavailable, match="datastore backend at"):
            action()


def test_silent_server(name: str, configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request ends at its deadline."""
    with closing(socket.create_server((HOST, 0))) as server:
        monkeypatch.setenv("DATASTORE_EMULATOR_HOST", f"{HOST}:{server.getsockname()[1]}")
        configure(project=PROJECT, timeout=0.3)
        for action in (lambda: User.create_user(name), lambda: User.get_by_auth_id(name)):
            with pytest.raises(BackendUnavailable, match=r"did not answer within 0\.3 s"):
                action()


# In place of upstream's


def test_default_model_of_an_unchanged_application(datastore: DatastoreEmulator) -> None:
    """`webapp2_extras.auth` finds the model by its default name."""
    program = """
import uuid, webapp2, webapp2_sessions
webapp2_sessions.install_as_webapp2_extras()
from webapp2_extras import auth
app = webapp2.WSGIApplication(config={"webapp2_extras.sessions": {"secret_key": uuid.uuid4().hex}})
app.set_globals(app=app, request=None)
store, name = auth.get_store(app=app), uuid.uuid4().hex
print(store.user_model.create_user(name, password_raw="engine")[0])
print(list(store.get_user_by_auth_password(name, "engine")))
print(store.user_model.__module__)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=Path(webapp2_sessions.__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=60,
    )
    expected = ["True", "['user_id']", "webapp2_sessions.users.auth_models"]
    assert (done.stdout.splitlines(), done.stderr) == (expected, "")
