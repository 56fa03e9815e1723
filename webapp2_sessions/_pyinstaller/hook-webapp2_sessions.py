"""The modules that are imported by their names, which PyInstaller does not find by itself."""

hiddenimports = [
    # backends
    "webapp2_sessions.sessions.encrypted",
    "webapp2_sessions.sessions",
    "webapp2_sessions.sessions_memcache",
    "webapp2_sessions.sessions_redis",
    "webapp2_sessions.sessions_redis.cache",
    "webapp2_sessions.sessions_ndb",
    # what sessions with a 'user_key' need
    "webapp2_sessions.users.following",
    "webapp2_sessions.users.accounts",
    "webapp2_sessions.sessions_redis.users",
    "webapp2_sessions.sessions_ndb.users",
    # what stands for upstream's modules, and the packages in which these are looked for
    "webapp2_sessions.securecookie",
    "webapp2_sessions.users.auth_models",
    "webapp2_extras",
    "webapp2_extras.appengine",
    "webapp2_extras.appengine.auth",
    # names of the package that few applications use
    "webapp2_sessions.dropin",
    "webapp2_sessions.handlers",
    "webapp2_sessions.middleware",
    "webapp2_sessions.stored",
]
