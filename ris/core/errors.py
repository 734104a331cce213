"""Refusals of the verbs. The message is fit to show; each door translates the class once."""


class RisError(Exception):
    """A verb's refusal: what happened and what to do, in one or two sentences."""

    code = "refused"

    def __init__(self, message: str, *, location: str = "") -> None:
        super().__init__(message)
        self.message = message
        #: The field the sender named (HL7 "PID-7", a form field's name), when one is at fault.
        self.location = location


class IllegalTransition(RisError):
    """The record's status does not allow the step."""

    code = "illegal_transition"


class NotAllowed(RisError):
    """The user's roles do not hold the right."""

    code = "not_allowed"


class NotFound(RisError):
    """No such record, or none this user may know of."""

    code = "not_found"


class Conflict(RisError):
    """Somebody or something else got there first."""

    code = "conflict"


class Duplicate(Conflict):
    """The key identifier is already in use (HL7 table 0357, 205)."""

    code = "duplicate"


class MissingData(RisError):
    """A required value is absent (HL7 table 0357, 101)."""

    code = "missing_data"


class BadValue(RisError):
    """A value that cannot be (HL7 table 0357, 102 or 103)."""

    code = "bad_value"
