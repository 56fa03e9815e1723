"""JSON of cookies: as :mod:`json` writes it without spaces, in less time."""

from __future__ import annotations

import binascii
import json
import json.encoder
from collections.abc import Callable, Iterable
from typing import Any

from webapp2_sessions.errors import TooDeepValue, UnstorableValue, UnwritableValue

__all__ = ["decode_json", "decode_payload", "encode_json", "encode_payload"]

_TOO_LONG = "it has more digits than Python writes; store it as text"

_ENCODER = json.JSONEncoder(separators=(",", ":"))
_DECODER = json.JSONDecoder()


def _make_chunks_of() -> Callable[[Any, int], Iterable[str]]:
    """Return what encodes, called with a value and 0; raises ``RecursionError`` at a cycle.

    It is what the encoder builds for each value, without its scanner of cycles.
    """
    try:
        # Of CPython's own; where it is not, or is different, the public way is as good.
        chunks_of = json.encoder.c_make_encoder(  # type: ignore[attr-defined]
            None,
            _ENCODER.default,
            json.encoder.encode_basestring_ascii,
            None,
            _ENCODER.key_separator,
            _ENCODER.item_separator,
            False,
            False,
            True,
        )
        sample = {"a": [1, 2.5, None, True, "\xe9\n"], "b": {}}
        if "".join(chunks_of(sample, 0)) == _ENCODER.encode(sample):
            return chunks_of  # type: ignore[no-any-return]
    except Exception:
        pass
    return lambda value, _: [_ENCODER.encode(value)]


_chunks_of = _make_chunks_of()


def encode_json(value: Any) -> str:
    """Return the JSON of a value, ASCII text.

    :raises UnstorableValue: there is no JSON for a value in it. The error is also what
        ``json.dumps()`` raises: a ``TypeError``, ``ValueError`` or ``RecursionError``.
    """
    try:
        return "".join(_chunks_of(value, 0))
    except (TypeError, ValueError, RecursionError):
        return _encode_again(value)


def _encode_again(value: Any) -> str:
    """Encode what could not be encoded, in the way that tells a cycle from a deep value."""
    try:
        return _ENCODER.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise _located(value, error) from error


def _located(value: Any, error: Exception) -> UnstorableValue:
    """The error that says where in a value that is for which the encoder has raised another."""
    from webapp2_sessions.errors import unstorable  # hardly ever needed

    if isinstance(error, RecursionError):
        culprit = unstorable.deepest(value, unstorable.in_json)
        return TooDeepValue(culprit.path, culprit.kind, unstorable.TOO_DEEP)
    culprit = unstorable.find(value, _ENCODER.encode, unstorable.in_json, True)
    if isinstance(error, ValueError):
        problem = unstorable.JSON_CYCLE if culprit.is_cycle else _TOO_LONG
        return UnwritableValue(culprit.path, culprit.kind, problem)
    return UnstorableValue(culprit.path, culprit.kind, unstorable.JSON_UNKNOWN)


def decode_json(text: str) -> Any:
    """Return the value of a JSON text; raises what ``json.loads()`` raises."""
    # Optimization: no search for spaces around the text, of which a cookie has none.
    try:
        value, end = _DECODER.raw_decode(text)
    except ValueError:
        return _DECODER.decode(text)
    return value if end == len(text) else _DECODER.decode(text)


def encode_payload(value: Any) -> bytes:
    """Return a value as signed cookies hold it: JSON in base64; raises as :func:`encode_json`."""
    try:  # as encode_json(), a call of which is one percent of what a cookie of ten keys costs
        text = "".join(_chunks_of(value, 0))
    except (TypeError, ValueError, RecursionError):
        text = _encode_again(value)
    # So that the JSON can stand in a <script> element. One character is found sooner than two.
    if "<" in text and "</" in text:
        text = text.replace("</", "<\\/")
    return binascii.b2a_base64(text.encode("ascii"), newline=False)


def decode_payload(payload: bytes) -> Any:
    """Return the value of a payload; raises a :class:`ValueError` or ``RecursionError``."""
    return decode_json(binascii.a2b_base64(payload).decode("utf-8"))
