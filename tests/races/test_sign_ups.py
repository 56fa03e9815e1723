"""Sign-ups of one name at once: one succeeds, and the others leave nothing."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator

import pytest
from google.cloud import ndb
from support import entities
from support.servers import PROJECT, Emulator
from support.sign_ups import PROCESSES, THREADS, SignUps

from webapp2_sessions.users.auth_models import Unique, User

ROUNDS = 5


@pytest.fixture(scope="module")
def processes() -> Iterator[SignUps]:
    """Processes that sign users up."""
    with SignUps.started() as started:
        yield started


@pytest.fixture(params=["datastore", "firestore"])
def sign_ups(request: pytest.FixtureRequest, processes: SignUps) -> Iterator[SignUps]:
    """The processes, on each emulator."""
    emulator: Emulator = request.getfixturevalue(request.param)
    processes.environment = {
        "DATASTORE_EMULATOR_HOST": emulator.address,
        "GOOGLE_CLOUD_PROJECT": PROJECT,
    }
    with entities.kinds_restored():
        ndb.Model._kind_map.update(User=User, Unique=Unique)
        yield processes


@pytest.mark.parametrize("shared", ["auth_id", "email", "both"])
def test_one_of_twenty_gets_the_name(sign_ups: SignUps, shared: str) -> None:
    """Whichever of two unique values they have in common."""
    for _ in range(ROUNDS):
        name = uuid.uuid4().hex
        calls = [
            {
                "auth_id": name if shared != "email" else f"{name}-{number}",
                "unique_properties": ["email"],
                "email": name if shared != "auth_id" else f"{name}-{number}",
            }
            for number in range(PROCESSES * THREADS)
        ]
        answers = sign_ups.run(calls)
        taken = ["auth_id", "email"] if shared == "both" else [shared]
        [winner] = [number for number, (is_new, _) in enumerate(answers) if is_new]
        refusals = Counter(str(found) for is_new, found in answers if not is_new)
        assert refusals == {str(taken): PROCESSES * THREADS - 1}
        with entities.context():
            found = User.query().fetch()
        users = [user for user in found if name in str(getattr(user, "email", None))]
        assert [user.get_id() for user in users] == [answers[winner][1]]
        assert users[0].auth_ids == [calls[winner]["auth_id"]]
        left = {each for each in entities.names_of("Unique") if name in each}
        expected = calls[winner]
        assert left == {f"User.auth_id:{expected['auth_id']}", f"User.email:{expected['email']}"}


def test_values_are_taken_all_or_none(sign_ups: SignUps) -> None:
    """In a circle, where each wants a value of its neighbour's as well."""
    count = PROCESSES * THREADS
    for _ in range(ROUNDS):
        name = uuid.uuid4().hex
        values = [f"{name}-{number}" for number in range(count)]
        calls = [[values[number], values[(number + 1) % count]] for number in range(count)]
        answers = sign_ups.run(calls)
        taken = [
            each for call, (won, _) in zip(calls, answers, strict=True) if won for each in call
        ]
        assert Counter(taken).most_common(1)[0][1] == 1
        assert {each for each in entities.names_of("Unique") if name in each} == {*taken}
        for call, (won, existing) in zip(calls, answers, strict=True):
            assert won == (not existing)
            assert {*existing} <= {*call} & {*taken}
