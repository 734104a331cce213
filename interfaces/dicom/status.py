"""DIMSE status codes we answer with (PS3.7 annex C, PS3.4 K.4.1.1.4 and F.7.2), and the refusal with one."""

SUCCESS = 0x0000
#: Warning of an N-GET: some requested attributes are not known (PS3.4 F.8.2.1.3).
OPTIONAL_NOT_SUPPORTED = 0x0001
PENDING = 0xFF00
#: Matches continue, but an optional key was not supported for existence or matching.
PENDING_KEY_UNSUPPORTED = 0xFF01
CANCEL = 0xFE00

OUT_OF_RESOURCES = 0xA700
IDENTIFIER_DOES_NOT_MATCH = 0xA900
UNABLE_TO_PROCESS = 0xC001

NO_SUCH_ATTRIBUTE = 0x0105
INVALID_ATTRIBUTE_VALUE = 0x0106
PROCESSING_FAILURE = 0x0110
DUPLICATE_INSTANCE = 0x0111
NO_SUCH_INSTANCE = 0x0112
INVALID_OBJECT_INSTANCE = 0x0117
MISSING_ATTRIBUTE = 0x0120
MISSING_ATTRIBUTE_VALUE = 0x0121
SOP_CLASS_NOT_SUPPORTED = 0x0122
UNRECOGNIZED_OPERATION = 0x0211
RESOURCE_LIMITATION = 0x0213

#: Error ID (0000,0903) beside 0110: the step is final (PS3.4 table F.7.2-2).
MAY_NO_LONGER_BE_UPDATED = 0xA710


class Refused(Exception):
    """An operation that ends in a failure status; `comment` says what to do and holds no patient data."""

    def __init__(self, status: int, comment: str, *, error_id: int = 0, tags: tuple[int, ...] = ()) -> None:
        super().__init__(comment)
        self.status = status
        self.comment = comment
        self.error_id = error_id
        #: Attributes at fault, for the Attribute Identifier List (0000,1005).
        self.tags = tags
