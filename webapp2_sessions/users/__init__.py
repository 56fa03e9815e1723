"""Who is signed in: the models of users for ``webapp2_extras.auth``."""
