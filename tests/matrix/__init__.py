"""The tests on every Python, with the newest and the lowest libraries: `make test-all`."""
