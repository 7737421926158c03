"""A server that is restarted at once, under load, gets its port back every time: its listening sockets are gone when it is.
(The teardown of an io_uring goes on after its process has ended, and could hold them.)"""

import socket
import threading
import unittest

from example_program import Server, eventually

ROUNDS = 6
CLIENTS = 4
REQUEST = b"GET /bytes/100000 HTTP/1.1\r\nHost: a\r\n\r\n"


class Load:
    """Threads that ask again and again, whatever becomes of their connections."""

    def __init__(self, port):
        self.port, self.over, self.answers = port, False, 0
        self.threads = [threading.Thread(target=self.run) for _ in range(CLIENTS)]

    def run(self):
        while not self.over:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=5) as peer:
                    for _ in range(5):
                        peer.sendall(REQUEST)
                        if peer.recv(65536):
                            self.answers += 1
            except OSError:
                continue  # between two servers

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over = True
        for thread in self.threads:
            thread.join()


class Restart(unittest.TestCase):
    def restart(self, io):
        with Server("http_server", "--cores", "2", "--io", io) as first:
            port = first.port
        with Load(port) as load:
            for number in range(ROUNDS):
                before = load.answers
                # Being ready means that it was bound: otherwise this raises, with what the server said.
                with Server("http_server", "--cores", "2", "--io", io, port=port) as server:
                    self.assertEqual(server.port, port)
                    eventually(lambda: load.answers > before + 20 * number)

    def test_on_io_uring(self):
        self.restart("uring")

    def test_on_epoll(self):
        self.restart("epoll")


if __name__ == "__main__":
    unittest.main()
