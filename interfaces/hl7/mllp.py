"""MLLP framing (HL7 2.5.1 appendix C of the implementation guide): 0x0B, message, 0x1C 0x0D. No sockets here."""

from dataclasses import dataclass

START = b"\x0b"
END = b"\x1c\r"
MAX_MESSAGE = 25 * 1024 * 1024
#: What is kept of a message over the limit, enough to name it in the refusal.
KEPT_OF_OVERSIZE = 64 * 1024


def frame(message: bytes) -> bytes:
    return START + message + END


@dataclass(frozen=True, slots=True)
class Frame:
    """The bytes between the blocks; only their beginning when the message was over the limit."""

    message: bytes
    oversize: bool = False


class Deframer:
    """Turns whatever a peer's TCP stream brings into whole frames.

    Bytes outside a frame are dropped. A second start block inside a frame means that the sender gave up
    the first one (a half frame): it restarts the frame. Only 0x1C 0x0D ends one, so a stray 0x1C cannot
    make a short message of a long one.
    """

    def __init__(self, limit: int = MAX_MESSAGE) -> None:
        self._limit = limit
        self._buffer = bytearray()
        #: Where the search for the end goes on: bytes before it hold none.
        self._searched = 0
        self._open = False
        self._skipping = False

    @property
    def buffered(self) -> int:
        return len(self._buffer)

    @property
    def in_frame(self) -> bool:
        return self._open

    def feed(self, data: bytes) -> list[Frame]:
        frames: list[Frame] = []
        self._buffer += data
        while self._take(frames):
            pass
        return frames

    def _take(self, frames: list[Frame]) -> bool:
        """Move on by one block; False when more bytes are needed."""
        buffer = self._buffer
        if not self._open:
            start = buffer.find(START)
            if start < 0:
                buffer.clear()
                return False
            del buffer[: start + 1]
            self._open, self._skipping, self._searched = True, False, 0
        end = buffer.find(END, max(self._searched - 1, 0))
        if self._skipping:
            if end < 0:
                # Keep the head, and the last byte in case it is half of an end block.
                del buffer[KEPT_OF_OVERSIZE:-1]
                self._searched = len(buffer) - 1
                return False
            frames.append(Frame(bytes(buffer[:KEPT_OF_OVERSIZE]), oversize=True))
            del buffer[: end + 2]
            self._open = False
            return bool(buffer)
        again = buffer.rfind(START, self._searched, end if end >= 0 else len(buffer))
        if again >= 0:
            del buffer[: again + 1]
            self._searched = 0
            return True
        if end < 0:
            if len(buffer) > self._limit:
                self._skipping = True
                self._searched = len(buffer) - 1
                return True
            self._searched = len(buffer)
            return False
        if end > self._limit:
            frames.append(Frame(bytes(buffer[:KEPT_OF_OVERSIZE]), oversize=True))
        else:
            frames.append(Frame(bytes(buffer[:end])))
        del buffer[: end + 2]
        self._open = False
        return bool(buffer)
