"""The commands, which are imported when they are run."""

hiddenimports = [
    "webapp2_sessions.cli_configs",
    "webapp2_sessions.cli_cookies",
    "webapp2_sessions.cli_purge",
    "webapp2_sessions.cli_stored",
]
