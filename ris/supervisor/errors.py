class CannotStart(Exception):
    """A start that cannot succeed; the message is the one sentence an operator reads."""
