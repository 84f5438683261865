"""A proxy to the session's server that can be shut, to test flows whose server is gone or comes back."""

import contextlib
import socket
import threading

BLOCK = 1 << 16


class Gate:
    """Forwards connections from its own port to a server's port while it is open.

    Args:
        api: the address of the server's API, for example ``http://127.0.0.1:4200/api``.
    """

    def __init__(self, api: str) -> None:
        host, _, port = api.removeprefix("http://").removesuffix("/api").partition(":")
        self._server = host, int(port)
        self._sockets: set[socket.socket] = set()
        self._listener = self._listen(0)
        self._port = int(self._listener.getsockname()[1])
        self.api = f"http://127.0.0.1:{self._port}/api"

    def open(self) -> None:
        self._listener = self._listen(self._port)

    def shut(self) -> None:
        """Refuse new connections and break the open ones."""
        for open_socket in (self._listener, *self._sockets.copy()):
            with contextlib.suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)
            open_socket.close()

    def _listen(self, port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(self._server)
                self._sockets |= {near, far}
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._forward, args=pair, daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(BLOCK):
                sink.sendall(block)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
            self._sockets.discard(end)
