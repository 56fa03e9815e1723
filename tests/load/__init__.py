"""A webapp under load, whose servers fail meanwhile: `make load`."""
