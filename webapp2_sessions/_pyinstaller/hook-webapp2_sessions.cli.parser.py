"""The commands, which are imported when they are run."""

hiddenimports = [
    "webapp2_sessions.cli.check",
    "webapp2_sessions.cli.cookies",
    "webapp2_sessions.cli.purge",
    "webapp2_sessions.cli.stored",
    "webapp2_sessions.cli.users",
]
