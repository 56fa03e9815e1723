"""The entities of users are those that upstream's model writes by App Engine's bundled ndb."""

from __future__ import annotations

import datetime
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from google.cloud import ndb
from google.cloud.datastore import helpers
from google.cloud.ndb import model as ndb_model
from webapp2_extras.appengine.auth import models as upstream

from webapp2_sessions.users import auth_models as ours

NOW = datetime.datetime(2026, 11, 30, 12, 0)
HASH = "e7dcb3cc438b31075a9d7137c33419ba8143057a$sha1$JSlvlPjYyeVp"

#: The entities of one user. A text that is longer than 1,500 bytes cannot be indexed.
ENTITIES: dict[str, Callable[[ModuleType], Any]] = {
    "user": lambda models: models.User(
        id=5,
        created=NOW,
        auth_ids=["own:ada", "google:ada"],
        password=HASH,
        email="ada@example.org",
        name="Ádá",
        age=36,
        height=1.65,
        admin=True,
        born=datetime.datetime(1815, 12, 10),
        nothing=None,
    ),
    "user without anything": lambda models: models.User(id="ada"),
    "token": lambda models: models.UserToken(
        key=models.UserToken.get_key(5, "auth", "t" * 22),
        created=NOW,
        user="5",
        subject="auth",
        token="t" * 22,
    ),
    "unique": lambda models: models.Unique(id="User.auth_id:own:ada"),
}


@pytest.fixture(autouse=True)
def context(testbed: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A context of Cloud NDB, which is asked nothing."""
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", "127.0.0.1:1")
    testbed.init_datastore_v3_stub()
    with ndb.Client(project="test").context():
        yield


def of_bundled(entity: Any) -> tuple[list[Any], dict[str, Any]]:
    """The path of an entity's key, and its properties: values, and whether each is indexed."""
    message = entity._to_pb()
    indexed = [(each, True) for each in message.property]
    found: dict[str, Any] = {}
    for each, is_indexed in [*indexed, *((each, False) for each in message.raw_property)]:
        value = each.value
        kind = next((field.name for field, _ in value.ListFields()), None)
        plain = getattr(value, kind) if kind else None
        if each.meaning == type(each).GD_WHEN:
            plain = datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=plain)
        if isinstance(plain, bytes):
            plain = plain.decode("utf-8")
        values, _ = found.setdefault(each.name, ([], is_indexed))
        values.append(plain)
    return [*entity.key.flat()], found


def of_cloud(entity: Any) -> tuple[list[Any], dict[str, Any]]:
    """The same, of Cloud NDB."""
    message = helpers.entity_to_protobuf(ndb_model._entity_to_ds_entity(entity))
    found: dict[str, Any] = {}
    for name, value in message.properties.items():
        each = [*value.array_value.values] if "array_value" in value else [value]
        plain = [helpers._get_value_from_value_pb(one._pb) for one in each]
        plain = [
            one.replace(tzinfo=None) if isinstance(one, datetime.datetime) else one for one in plain
        ]
        if plain:
            found[name] = (plain, not each[0].exclude_from_indexes)
    return [*entity.key.flat()], found


@pytest.mark.parametrize("which", ENTITIES)
def test_entities_are_those_of_app_engine(which: str) -> None:
    """Kind, key, names and values of properties, and what is indexed."""
    theirs, mine = (ENTITIES[which](models) for models in (upstream, ours))
    for entity in (theirs, mine):
        entity._prepare_for_put()
        for moment in ("created", "updated"):
            if hasattr(entity, moment):
                setattr(entity, moment, NOW)
    assert of_cloud(mine) == of_bundled(theirs)


def test_what_app_engine_stores_is_there(testbed: Any) -> None:
    """The comparison above is not one of nothing with nothing."""
    _, properties = of_bundled(ENTITIES["user"](upstream))
    assert properties["auth_ids"] == (["own:ada", "google:ada"], True)
    _, properties = of_bundled(ENTITIES["token"](upstream))
    assert properties["user"] == (["5"], False)


def test_with_bundled_ndb_upstreams_model_stays() -> None:
    """It works there, and an application's properties of bundled ndb with it."""
    program = (
        "import webapp2_sessions; webapp2_sessions.install_as_webapp2_extras();"
        "from webapp2_extras.appengine.auth import models; from google.appengine.ext import ndb;"
        "print(models.__name__, issubclass(models.User, ndb.Model))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=Path(ours.__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.split() == ["webapp2_extras.appengine.auth.models", "True"], done.stderr
