"""The speed of the package beside webapp2_extras and other libraries: `make bench`."""
