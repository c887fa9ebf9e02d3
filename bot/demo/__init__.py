"""The demo: a whole task with the built-in defaults, without a token, in under a minute."""
