"""Session factories load sessions from requests and save them to responses."""

from __future__ import annotations

import string
from unittest import mock

import pytest
from support.stores import (
    DuckStore,
)

from webapp2_sessions import (
    CustomBackendSessionFactory,
)
from webapp2_sessions.sessions import factories

ALPHABET = string.digits + string.ascii_letters


def new_sid() -> str:
    return CustomBackendSessionFactory("s", DuckStore())._get_new_sid()


def test_no_character_is_more_likely() -> None:
    kept = bytes(range(256)).translate(factories._TO_ALPHABET, factories._UNEVEN).decode()
    assert {character: kept.count(character) for character in kept} == dict.fromkeys(ALPHABET, 4)


def test_bytes_that_would_favour_a_character_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [bytes([255] * 44), bytes([248] * 23 + list(range(21))), bytes(44)]
    urandom = mock.Mock(side_effect=answers)
    monkeypatch.setattr("os.urandom", urandom)
    assert new_sid() == "0123456789abcdefghijk" + "0"
    assert urandom.mock_calls == [mock.call(44)] * 3
