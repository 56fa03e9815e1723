"""The check of a Redis server: that what is stored can be read, changed and deleted."""

from __future__ import annotations

from typing import Any

import pytest
from redis import exceptions

from webapp2_sessions.sessions_redis import RedisSessionFactory


class Server:
    """A client of a Redis that has one value, and answers some commands in its own way."""

    def __init__(self, **odd: Any) -> None:
        self.odd = odd
        self.commands: list[tuple[Any, ...]] = []
        self.value: bytes | None = None

    def execute_command(self, name: str, *args: Any) -> Any:
        """Do it; an error is raised."""
        self.commands.append((name, *args))
        if name in self.odd:
            if isinstance(self.odd[name], Exception):
                raise self.odd[name]
            return self.odd[name]
        if name == "SET":
            self.value = args[1]
            return True
        if name == "EVALSHA":
            self.value = args[5]
            return 1
        return self.value if name == "GET" else 1


def problems(server: Server) -> list[str]:
    """What a check finds."""
    return list(RedisSessionFactory._ping({"redis": {"client": server, "key_prefix": "mine:"}}))


def test_nothing_is_wrong_and_nothing_is_left() -> None:
    server = Server()
    assert problems(server) == []
    keys = {command[3] if command[0] == "EVALSHA" else command[1] for command in server.commands}
    [key] = keys
    assert key.startswith(b"mine:webapp2-sessions-check:")
    assert server.commands[0] == ("SET", key, b"a", "PX", 60_000)
    assert server.commands[-1] == ("DEL", key)


def test_each_check_has_a_key_of_its_own() -> None:
    # Several may run at once.
    server = Server()
    problems(server)
    problems(server)
    assert len({command[1] for command in server.commands if command[0] == "SET"}) == 2


@pytest.mark.parametrize(
    ("odd", "problem"),
    [
        ({"GET": None}, "a value did not come back"),
        ({"GET": b"a"}, "a value did not come back"),
        ({"EVALSHA": 0}, "a value did not come back"),
        ({"EVALSHA": 0, "GET": b"b"}, "a value did not come back"),
        ({"EVALSHA": exceptions.NoPermissionError("")}, "may not do this"),
        ({"SET": exceptions.ConnectionError("")}, "closed the connection"),
    ],
)
def test_what_is_wrong_is_told_and_the_value_is_deleted(odd: dict[str, Any], problem: str) -> None:
    server = Server(**odd)
    [found] = problems(server)
    assert found.startswith("redis backend at config['redis']['client']: ")
    assert problem in found
    assert server.commands[-1][0] == "DEL"


def test_deletion_that_fails_is_a_problem() -> None:
    # So does a sign-out then.
    [found] = problems(Server(DEL=exceptions.NoPermissionError("")))
    assert "may not do this" in found


def test_client_that_cannot_be_used_is_told() -> None:
    [found] = list(RedisSessionFactory._ping({"redis": {"client": dict}}))
    assert found.startswith("redis['client']: must have execute_command()")
