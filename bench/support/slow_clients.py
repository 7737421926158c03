"""Crowds of slow clients, for the benchmark of what they cost others and for the test that they cost nothing but time.

A crowd lives in a process of its own. Each of its clients does one small thing a second; when the server ends its connection it
comes back at once, so the crowd stays as big as it was.
"""

import contextlib
import multiprocessing
import os
import resource
import socket
import time

STEP_S = 1.0   # how often a client does something
TICK_S = 0.002  # so often a share of them has its turn, rather than all at once
READ_BYTES = 512

HEAD = b"GET / HTTP/1.1\r\nHost: slow\r\nX-Slow: "
BODY = b"POST /sink HTTP/1.1\r\nHost: slow\r\nContent-Length: 1000000\r\n\r\n"
READER = b"GET /bytes/1048576 HTTP/1.1\r\nHost: slow\r\n\r\n"
BEGINNINGS = {"head": HEAD, "body": BODY, "reader": READER}


class Client:
    """One slow client: a head or body that comes byte by byte, or an answer that is read in small pieces."""

    def __init__(self, kind, port):
        self.kind, self.port, self.connection = kind, port, None
        self.begin()

    def begin(self):
        self.connection = socket.socket()
        if self.kind == "reader":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.connection.settimeout(20)
        self.connection.connect(("127.0.0.1", self.port))
        self.connection.sendall(BEGINNINGS[self.kind])
        self.connection.setblocking(False)

    def step(self):
        """False once the server has ended the connection."""
        try:
            if self.kind != "reader":
                self.connection.send(b"x")
            return self.connection.recv(READ_BYTES) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def end(self):
        self.connection.close()


class Crowd:
    """Context manager: `counts` of each kind of client, {"head": 2000, ...}, all connected once it is entered. Where times are
    measured, they have a core and a low priority: they stand for other machines, and nobody should wait for them here."""

    def __init__(self, port, counts, core=None, niceness=0):
        self.port, self.counts, self.core, self.niceness = port, counts, core, niceness
        shared = multiprocessing.get_context("fork")
        self.ready, self.stop = shared.Event(), shared.Event()
        self.ended = {kind: shared.Value("Q", 0) for kind in counts}
        self.process = shared.Process(target=self.run, daemon=True)

    def __enter__(self):
        self.process.start()
        if not self.ready.wait(120):
            self.end()
            raise RuntimeError(f"{sum(self.counts.values())} slow clients could not be connected to port {self.port} in 120 s")
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        self.stop.set()
        self.process.join(20)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()

    def cut(self, kind):
        """Connections of that kind that the server has ended."""
        return self.ended[kind].value

    def alive(self):
        return self.process.is_alive()

    def run(self):
        resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
        if self.core is not None:
            os.sched_setaffinity(0, {self.core})
        os.nice(self.niceness)
        clients = [Client(kind, self.port) for kind, count in self.counts.items() for _ in range(count)]
        self.ready.set()
        at, began, done = 0, time.monotonic(), 0
        while clients and not self.stop.wait(TICK_S):
            due = int((time.monotonic() - began) / STEP_S * len(clients)) - done
            for _ in range(min(due, len(clients))):
                self.turn(clients[at])
                at = (at + 1) % len(clients)
            done += due
        for client in clients:
            client.end()

    def turn(self, client):
        if client.step():
            return
        client.end()
        with self.ended[client.kind].get_lock():
            self.ended[client.kind].value += 1
        with contextlib.suppress(OSError):
            client.begin()
