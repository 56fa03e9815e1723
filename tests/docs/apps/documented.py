"""An application as webapp2's documentation has it; docs/migrating.md moves it over."""

import time

import webapp2
from webapp2_extras import auth, sessions


class User:
    """Users as webapp2_extras.auth wants them; Ada is the only one, and her token is known."""

    def get_id(self):
        return 5

    @classmethod
    def get_by_auth_password(cls, auth_id, password):
        if (auth_id, password) != ("ada", "engine"):
            raise auth.InvalidPasswordError()
        return cls()

    @classmethod
    def get_by_auth_token(cls, user_id, token):
        return (cls(), time.time()) if (user_id, token) == (5, "token-of-5") else (None, None)

    @classmethod
    def create_auth_token(cls, user_id):
        return f"token-of-{user_id}"

    @classmethod
    def delete_auth_token(cls, user_id, token):
        pass


class BaseHandler(webapp2.RequestHandler):
    def dispatch(self):
        # Get a session store for this request.
        self.session_store = sessions.get_store(request=self.request)

        try:
            # Dispatch the request.
            webapp2.RequestHandler.dispatch(self)
        finally:
            # Save all sessions.
            self.session_store.save_sessions(self.response)

    @webapp2.cached_property
    def session(self):
        # Returns a session using the default cookie key.
        return self.session_store.get_session()

    @webapp2.cached_property
    def auth(self):
        return auth.get_auth(request=self.request)


class HomeHandler(BaseHandler):
    def get(self):
        user = self.auth.get_user_by_session()
        name = user["user_id"] if user else "nobody"
        flashes = [value for value, level in self.session.get_flashes()]
        self.response.write(f"{name} {flashes}")


class SignInHandler(BaseHandler):
    def post(self):
        self.auth.get_user_by_password("ada", self.request.POST["password"], remember=True)
        self.session.add_flash("Welcome", level="info")
        self.redirect("/")


class SignOutHandler(BaseHandler):
    def post(self):
        self.auth.unset_session()
        self.redirect("/")


class LanguageHandler(BaseHandler):
    def get(self):
        settings = self.session_store.get_session("settings", max_age=3600)
        settings["language"] = self.request.get("to") or settings.get("language", "en")
        self.response.write(settings["language"])


class CartHandler(BaseHandler):
    def get(self):
        cart = self.session_store.get_session("cart", backend="memcache")
        cart["pens"] = cart.get("pens", 0) + 1
        self.response.write(f"{cart['pens']} pens")


class WhichHandler(BaseHandler):
    def get(self):
        self.response.write(type(self.session_store).__module__)


app = webapp2.WSGIApplication(
    [
        ("/", HomeHandler),
        ("/sign-in", SignInHandler),
        ("/sign-out", SignOutHandler),
        ("/language", LanguageHandler),
        ("/cart", CartHandler),
        ("/which", WhichHandler),
    ],
    config={
        "webapp2_extras.sessions": {
            "secret_key": "a long random string that nobody else knows",
            "cookie_args": {"path": "/", "httponly": True},
        },
        "webapp2_extras.auth": {"user_model": User},
    },
)
