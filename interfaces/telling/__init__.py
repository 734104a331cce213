"""Which fact becomes which message for which partner; one module a group of facts."""
