"""The WebSocket handshake of http_server over raw sockets: rows 68, 69, 71-73 and 76 of bad-input.md, whole and byte by byte."""

import base64
import hashlib
import os
import socket
import struct
import unittest

from example_program import Server

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def request(key, method="GET", version="1.1", fields=(), drop=()):
    all_fields = [("Host", "localhost"), ("Upgrade", "websocket"), ("Connection", "keep-alive, Upgrade"),
                  ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", key)]
    changed = dict(fields)
    lines = [f"{name}: {changed.pop(name, value)}" for name, value in all_fields if name not in drop]
    lines += [f"{name}: {value}" for name, value in changed.items()]
    return "\r\n".join([f"{method} /echo HTTP/{version}", *lines, "", ""]).encode()


def frame(first, payload):
    mask = os.urandom(4)
    size = struct.pack("!B", 0x80 | len(payload)) if len(payload) < 126 else struct.pack("!BH", 0x80 | 126, len(payload))
    return bytes([first]) + size + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))


class Peer:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.got = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data, step=None):
        step = step or max(len(data), 1)
        for at in range(0, len(data), step):
            self.socket.sendall(data[at:at + step])

    def read(self, size):
        while len(self.got) < size:
            more = self.socket.recv(65536)
            if not more:
                break
            self.got += more
        taken, self.got = self.got[:size], self.got[size:]
        return taken

    def head(self):
        while b"\r\n\r\n" not in self.got:
            more = self.socket.recv(65536)
            if not more:
                raise AssertionError(f"the connection ended after {self.got!r}")
            self.got += more
        head, self.got = self.got.split(b"\r\n\r\n", 1)
        status, *lines = head.decode().split("\r\n")
        return int(status.split()[1]), {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}

    def frame(self):
        first, size = self.read(2)
        if size == 126:
            size = struct.unpack("!H", self.read(2))[0]
        return first, self.read(size)


class Handshake(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Server("http_server"))

    def setUp(self):
        self.key = base64.b64encode(os.urandom(16)).decode()

    def answer(self, *arguments, **named):
        with Peer(self.server.port) as peer:
            peer.send(request(self.key, *arguments, **named))
            return peer.head()

    def test_good_and_byte_by_byte(self):
        for step in (None, 1, 7):
            with Peer(self.server.port) as peer:
                peer.send(request(self.key), step)
                status, fields = peer.head()
                self.assertEqual(status, 101)
                self.assertEqual(fields["upgrade"], "websocket")
                self.assertEqual(fields["connection"].lower(), "upgrade")
                accept = base64.b64encode(hashlib.sha1(self.key.encode() + GUID).digest()).decode()
                self.assertEqual(fields["sec-websocket-accept"], accept)
                self.assertNotIn("content-length", fields)
                peer.send(frame(0x81, b"hello"), step)
                self.assertEqual(peer.frame(), (0x81, b"hello"))

    def test_row_68_body_or_another_method(self):
        self.assertEqual(self.answer(fields=[("Content-Length", "5")])[0], 400)
        self.assertNotEqual(self.answer(method="PUT")[0], 101)
        self.assertNotEqual(self.answer(method="POST")[0], 101)

    def test_row_69_http_1_0(self):
        status, fields = self.answer(version="1.0")
        self.assertNotEqual(status, 101)
        self.assertNotIn("sec-websocket-accept", fields)

    def test_row_71_version(self):
        for version in ("8", "14", "0", ""):
            status, fields = self.answer(fields=[("Sec-WebSocket-Version", version)])
            self.assertEqual((status, fields["sec-websocket-version"]), (426, "13"))

    def test_row_72_key(self):
        for key in ("", "short", "A" * 24, base64.b64encode(b"x" * 15).decode(), base64.b64encode(b"x" * 17).decode()):
            self.assertEqual(self.answer(fields=[("Sec-WebSocket-Key", key)])[0], 400, key)
        self.assertEqual(self.answer(drop=["Sec-WebSocket-Key"])[0], 400)

    def test_row_73_connection(self):
        for connection in ("Upgrade", "keep-alive, Upgrade", "upgrade,keep-alive"):
            self.assertEqual(self.answer(fields=[("Connection", connection)])[0], 101)
        self.assertEqual(self.answer(fields=[("Connection", "keep-alive")])[0], 426)

    def test_row_76_frames_with_the_handshake(self):
        together = request(self.key) + frame(0x81, b"one") + frame(0x89, b"two") + frame(0x81, b"3" * 300)
        for cut in (len(together), *range(len(request(self.key)) - 2, len(together), 5)):
            with Peer(self.server.port) as peer:
                peer.send(together[:cut])
                peer.send(together[cut:])
                self.assertEqual(peer.head()[0], 101)
                self.assertEqual([peer.frame() for _ in range(3)], [(0x81, b"one"), (0x8a, b"two"), (0x81, b"3" * 300)])

    def test_a_request_before_and_a_plain_one_after_a_refusal(self):
        with Peer(self.server.port) as peer:
            peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + request(self.key, fields=[("Sec-WebSocket-Version", "8")]) +
                      b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + request(self.key))
            self.assertEqual(peer.head()[0], 200)
            self.assertEqual(peer.read(13), b"Hello, World!")
            status, fields = peer.head()
            self.assertEqual(status, 426)
            peer.read(int(fields["content-length"]))
            self.assertEqual(peer.head()[0], 200)
            self.assertEqual(peer.read(13), b"Hello, World!")
            self.assertEqual(peer.head()[0], 101)
            peer.send(frame(0x88, b""))
            self.assertEqual(peer.frame(), (0x88, b""))
            self.assertEqual(peer.read(1), b"")


if __name__ == "__main__":
    unittest.main()
