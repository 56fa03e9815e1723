"""The world as a model: what is under test runs in every order, with every fault."""
