"""Users in Datastore: the names of ``webapp2_extras.appengine.auth.models``, on google-cloud-ndb.

Kinds, keys and properties are upstream's: each library reads what the other has written. The
models' methods, ``put()`` and ``get_by_id()`` of users included, work in the ndb context and
transaction of the application, or enter a context by the ``datastore`` settings of sessions.
"""

from __future__ import annotations

import calendar
import functools
import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from webapp2_extras import auth, security

from webapp2_sessions.config import datastore_settings
from webapp2_sessions.config.loading import active_config
from webapp2_sessions.errors import BackendError, BackendUnavailable
from webapp2_sessions.sessions_ndb.client import REFUSALS, Datastore, Place, ndb, service_address
from webapp2_sessions.sessions_ndb.records import UtcNowProperty
from webapp2_sessions.sessions_ndb.stub import inserting

# After the module that says how to install them.
from google.api_core import exceptions as api_errors  # isort: skip

if TYPE_CHECKING:
    _Expando = ndb.Model
else:
    _Expando = ndb.Expando

__all__ = ["Unique", "User", "UserToken"]

Params = ParamSpec("Params")
Result = TypeVar("Result")

#: Longest pauses, in seconds, before values are created again that the server was too busy for.
_PAUSES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)

#: After these a request may have been carried out all the same.
_UNCERTAIN = (api_errors.ServiceUnavailable, api_errors.InternalServerError)


def _datastore() -> Datastore:
    return Datastore(datastore_settings(active_config()))


def _options() -> dict[str, Any]:
    """Return options of an ndb call: a deadline, no retries. In a transaction it takes none."""
    return {} if ndb.in_transaction() else _datastore().options


def _in_context(method: Callable[Params, Result]) -> Callable[Params, Result]:
    """Have a method enter an ndb context where there is none, with our errors and one retry."""

    @functools.wraps(method)
    def entering(*args: Params.args, **kwargs: Params.kwargs) -> Result:
        context = ndb.get_context(raise_context_error=False)
        if context is not None and context.in_transaction():
            return method(*args, **kwargs)  # whose errors and retries are the application's
        return _datastore().run(functools.partial(method, *args, **kwargs))

    return entering


def _once(operation: Callable[[], Result]) -> Result:
    """Call an operation such that nobody repeats it if it may have been carried out."""
    try:
        return operation()
    except _UNCERTAIN as error:
        problem = f"it failed ({type(error).__name__})"
        raise BackendUnavailable("datastore", service_address(), problem) from error


class Unique(ndb.Model):
    """Reserves a value, its key's name, e.g. ``"User.auth_id:own:ada"``."""

    # What another process has deleted must not come from a cache.
    _use_cache = False
    _use_global_cache = False

    @classmethod
    def create(cls, value: str) -> bool:
        """Reserve a value; return whether it was free."""
        return cls._reserve([value])[0]

    @classmethod
    def create_multi(cls, values: Iterable[str]) -> tuple[bool, list[str]]:
        """Reserve all values or none; return whether they were free, and those that were not."""
        return cls._reserve(values)

    @classmethod
    @_in_context
    def delete_multi(cls, values: Iterable[str]) -> list[None]:
        """Give values back."""
        return list(ndb.delete_multi([ndb.Key(cls, value) for value in values], **_options()))

    @classmethod
    @_in_context
    def _reserve(cls, values: Iterable[str]) -> tuple[bool, list[str]]:
        keys = [ndb.Key(cls, value) for value in values]
        if None in [key.id() for key in keys]:  # an id would be made, and each time another one
            raise AssertionError("A unique value must not be None.")
        is_distinct = len({*keys}) == len(keys)
        put = functools.partial(ndb.put_multi, [cls(key=key) for key in keys])
        if ndb.in_transaction() or not is_distinct:
            existing = cls._existing(keys)
            if is_distinct and not existing:
                put()
            return is_distinct and not existing, existing
        context, datastore = ndb.get_context(), _datastore()
        # In a context of its own: what the application has not yet sent is not to be changed. One
        # that reads first would lock what it reads: twenty sign-ups of one name take 20 s on
        # Firestore then, and 0.1 s so.
        place = Place(inserting(context.client), context.get_namespace() or "")
        for pause in _PAUSES:
            try:
                datastore.run(_once, functools.partial(put, **datastore.options), place=place)
            except BackendError as error:
                if isinstance(error.__cause__, api_errors.AlreadyExists):
                    existing = cls._existing(keys)
                    if existing:
                        return False, existing
                elif not isinstance(error.__cause__, api_errors.Aborted) or pause == _PAUSES[-1]:
                    raise
            else:
                return True, []
            time.sleep(random.uniform(0, pause))
        return False, []  # others have had them each time, and given them back

    @classmethod
    def _existing(cls, keys: Sequence[Any]) -> list[str]:
        found = ndb.get_multi(keys, **_options())
        return [key.id() for key, entity in zip(keys, found, strict=True) if entity]


class UserToken(ndb.Model):
    """A token of a user; the key's name is ``USER.SUBJECT.TOKEN``."""

    # A token that another process has deleted is not valid, whatever a cache says.
    _use_cache = False
    _use_global_cache = False

    created: Any = UtcNowProperty(auto_now_add=True)
    updated: Any = UtcNowProperty(auto_now=True)
    user: Any = ndb.TextProperty(required=True)
    subject: Any = ndb.StringProperty(required=True)
    token: Any = ndb.StringProperty(required=True)

    @classmethod
    @_in_context
    def get_key(cls, user: int | str, subject: str, token: str) -> Any:
        """Return the key of a token."""
        return ndb.Key(cls, f"{user}.{subject}.{token}")

    @classmethod
    @_in_context
    def create(cls, user: int | str, subject: str, token: str | None = None) -> UserToken:
        """Store a token for a user, by default a random one.

        :param subject: what it is for, e.g. ``"auth"`` or ``"signup"``.
        """
        token = token or security.generate_random_string(entropy=128)
        key = cls.get_key(user, subject, token)
        entity = cls(key=key, user=str(user), subject=subject, token=token)
        entity.put(**_options())
        return entity

    @classmethod
    @_in_context
    def get(
        cls, user: int | str | None = None, subject: str | None = None, token: str | None = None
    ) -> UserToken | None:
        """Return a token, also without knowing the user; ``None`` if there is none."""
        if not (subject and token):
            raise AssertionError("subject and token must be provided to UserToken.get().")
        query = cls.query(cls.subject == subject, cls.token == token)
        source: Any = cls.get_key(user, subject, token) if user else query
        return cast("UserToken | None", source.get(**_options()))


class User(_Expando):
    """A user; keywords of :meth:`create_user` become properties."""

    # Others' changes of passwords count at once. The cache of a context is a request's own.
    _use_global_cache = False

    #: The model that keeps values unique.
    unique_model: type[Any] = Unique
    #: The model of tokens.
    token_model: type[Any] = UserToken

    created: Any = UtcNowProperty(auto_now_add=True)
    updated: Any = UtcNowProperty(auto_now=True)
    #: Unique ids with which the user signs in, e.g. ``"own:ada"`` or ``"google:ada"``.
    auth_ids: Any = ndb.StringProperty(repeated=True)
    #: A hash by :mod:`webapp2_extras.security`, ``None`` for a user without a password.
    password: Any = ndb.StringProperty()

    def get_id(self) -> int | str:
        """Return the user's id."""
        return cast("int | str", self._key.id())

    @_in_context
    def _put(self, **options: Any) -> Any:
        """Write the user and return its key."""
        put = functools.partial(ndb.Model._put, self, **{**_options(), **options})
        # A new user has no id until it is written. Written again it would be another user.
        return put() if self._has_complete_key() else _once(put)

    put = _put

    def _put_having(self, values: Sequence[str]) -> None:
        """Write the user, or give back the unique values if certainly nothing was written.

        The last auth id is one of them.
        """
        had_id = self._has_complete_key()
        try:
            self.put()
        except Exception as error:
            if isinstance(error, BackendError):
                # Who has an id is written twice if need be, and the answer to the first was lost.
                certain = api_errors.BadRequest if had_id else REFUSALS
                is_unwritten = isinstance(error.__cause__, certain)
            elif isinstance(error, ndb.exceptions.BadValueError):
                is_unwritten = True
            else:  # of a hook, or of a value that cannot be encoded; who has got an id was written
                is_unwritten = not (had_id or self._has_complete_key())
            if is_unwritten:
                self.unique_model.delete_multi(values)
                del self.auth_ids[-1:]  # or the next put() would take what is free again
            raise

    @classmethod
    @_in_context
    def get_by_id(cls, id: int | str, *args: Any, **options: Any) -> Any:  # noqa: A002
        """Return the user of this id, ``None`` if there is none."""
        model: Any = super()
        return model.get_by_id(id, *args, **{**_options(), **options})

    def add_auth_id(self, auth_id: str) -> tuple[bool, Any]:
        """Give the user a further auth id; return the user, or ``['auth_id']`` if it is taken."""
        unique = f"{type(self).__name__}.auth_id:{auth_id}"
        if not self.unique_model.create(unique):
            return False, ["auth_id"]
        self.auth_ids.append(auth_id)
        self._put_having([unique])
        return True, self

    @classmethod
    @_in_context
    def get_by_auth_id(cls, auth_id: str) -> Any:
        """Return the user who signs in with an id, ``None`` if there is none."""
        return cls.query(cls.auth_ids == auth_id).get(**_options())

    @classmethod
    @_in_context
    def get_by_auth_token(cls, user_id: int | str, token: str) -> tuple[Any, int | None]:
        """Return a user and when the token was created, in Unix seconds; or twice ``None``."""
        keys = [cls.token_model.get_key(user_id, "auth", token), ndb.Key(cls, user_id)]
        valid_token, user = ndb.get_multi(keys, **_options())
        if not (valid_token and user):
            return None, None
        return user, calendar.timegm(valid_token.created.timetuple())

    @classmethod
    def get_by_auth_password(cls, auth_id: str, password: str) -> Any:
        """Return the user who signs in with an id and a password.

        :raises webapp2_extras.auth.InvalidAuthIdError: there is no such user.
        :raises webapp2_extras.auth.InvalidPasswordError: the password is another one, or none.
        """
        user = cls.get_by_auth_id(auth_id)
        if not user:
            raise auth.InvalidAuthIdError()
        if not (user.password and security.check_password_hash(password, user.password)):
            raise auth.InvalidPasswordError()
        return user

    @classmethod
    def validate_token(cls, user_id: int | str, subject: str, token: str) -> Any:
        """Return a token of a user, ``None`` if there is none."""
        return cls.token_model.get(user=user_id, subject=subject, token=token)

    @classmethod
    def create_auth_token(cls, user_id: int | str) -> str:
        """Store a token that signs a user in, and return it."""
        return str(cls.token_model.create(user_id, "auth").token)

    @classmethod
    def validate_auth_token(cls, user_id: int | str, token: str) -> Any:
        """Return a token that signs a user in, ``None`` if there is none."""
        return cls.validate_token(user_id, "auth", token)

    @classmethod
    @_in_context
    def delete_auth_token(cls, user_id: int | str, token: str) -> None:
        """Delete a token that signs a user in."""
        cls.token_model.get_key(user_id, "auth", token).delete(**_options())

    @classmethod
    def create_signup_token(cls, user_id: int | str) -> str:
        """Store a token for the end of a sign-up, and return it."""
        return str(cls.token_model.create(user_id, "signup").token)

    @classmethod
    def validate_signup_token(cls, user_id: int | str, token: str) -> Any:
        """Return a token for the end of a sign-up, ``None`` if there is none."""
        return cls.validate_token(user_id, "signup", token)

    @classmethod
    @_in_context
    def delete_signup_token(cls, user_id: int | str, token: str) -> None:
        """Delete a token for the end of a sign-up."""
        cls.token_model.get_key(user_id, "signup", token).delete(**_options())

    @classmethod
    @_in_context
    def create_user(
        cls, auth_id: str, unique_properties: Sequence[str] | None = None, **user_values: Any
    ) -> tuple[bool, Any]:
        """Create a user; of several at once with one auth id one succeeds.

        :param unique_properties: names of properties whose values must be unique as well.
        :param user_values: properties; ``password_raw`` is hashed and becomes ``password``.
        :returns: ``True`` and the user; ``False`` and a list of what is not unique.
        """
        if user_values.get("password") is not None:
            raise AssertionError("Use password_raw instead of password to create new users.")
        if isinstance(auth_id, list):
            raise AssertionError("Creating a user with multiple auth_ids is not allowed.")
        if "password_raw" in user_values:
            password = user_values.pop("password_raw")
            user_values["password"] = security.generate_password_hash(password, length=12)
        user_values["auth_ids"] = [auth_id]
        user = cls(**user_values)
        properties = {f"{cls.__name__}.auth_id:{auth_id}": "auth_id"}
        for name in unique_properties or ():
            properties[f"{cls.__name__}.{name}:{user_values[name]}"] = name
        is_new, existing = cls.unique_model.create_multi([*properties])
        if not is_new:
            return False, [name for value, name in properties.items() if value in existing]
        user._put_having([*properties])
        return True, user
