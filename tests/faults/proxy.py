"""A TCP proxy that misbehaves on order, for the road between us and a partner."""

import socket
import struct
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self


class Proxy:
    """`proxy.mode` is one of

    ok; refuse (a reset at once); blackhole (takes all, passes nothing on); halfopen (the partner is gone, our side is
    not told); slow (a quarter second before every answer); split (a byte at a time); reset N (a reset after N
    bytes of the message); lose (the message arrives, a reset comes before its answer).
    """

    def __init__(self, upstream: str, mode: str = "ok") -> None:
        host, _, port = upstream.rpartition(":")
        self._upstream = (host, int(port))
        self.mode = mode
        #: Connections that met a fault.
        self.hits = 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.cut()

    def cut(self) -> None:
        """End what is open, so that a new mode meets new connections."""
        with self._lock:
            doomed, self._open = self._open, set()
        for one in doomed:
            _reset(one)

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self._server.accept()
            except OSError:
                return
            with self._lock:
                self._open.add(line)
            threading.Thread(target=self._serve, args=(line, self.mode), daemon=True).start()

    def _serve(self, line: socket.socket, mode: str) -> None:
        self.hits += mode != "ok"
        word, _, argument = mode.partition(" ")
        try:
            if word == "refuse":
                return _reset(line)
            if word == "blackhole":
                while line.recv(65536):
                    pass
                return line.close()
            upstream = socket.create_connection(self._upstream, timeout=10)
            upstream.settimeout(None)
            with self._lock:
                self._open.add(upstream)
            if word == "halfopen":
                upstream.close()
                while line.recv(65536):
                    pass
                return line.close()
            back = threading.Thread(target=self._pump, args=(upstream, line, word, 0), daemon=True)
            back.start()
            self._pump(line, upstream, word, int(argument or 0))
        except OSError:
            _reset(line)
        return None

    def _pump(self, source: socket.socket, target: socket.socket, mode: str, limit: int) -> None:
        """Pass bytes on. `limit` says that they are the message's, not the answer's, when not 0."""
        passed = 0
        try:
            while data := source.recv(65536):
                if mode == "lose" and not limit and source.getpeername() == self._upstream:
                    _reset(source)
                    return _reset(target)
                if mode == "slow":
                    time.sleep(0.25)
                if limit and passed + len(data) > limit:
                    target.sendall(data[: max(limit - passed, 0)])
                    _reset(source)
                    return _reset(target)
                if mode == "split":
                    for number in range(len(data)):
                        target.sendall(data[number : number + 1])
                else:
                    target.sendall(data)
                passed += len(data)
        except OSError:
            pass
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        return None


def _reset(line: socket.socket) -> None:
    """Close with RST: what is on its way is lost."""
    with suppress(OSError):
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with suppress(OSError):
        line.shutdown(socket.SHUT_RD)
    line.close()
