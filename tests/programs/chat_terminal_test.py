"""`chat --join` against servers played by hand, and what the chat server makes of strange and slow clients, and of files."""

import base64
import hashlib
import json
import os
import re
import socket
import struct
import subprocess
import tempfile
import threading
import time
import unittest

from example_program import BUILD, PATIENCE_S, Server

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def read_head(peer):
    got = b""
    while b"\r\n\r\n" not in got:
        more = peer.recv(1)
        if not more:
            break
        got += more
    return got


def accepting(head):
    key = re.search(rb"Sec-WebSocket-Key: (\S+)", head)[1]
    accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
    return (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept +
            b"\r\n\r\n")


def exactly(peer, size):
    got = b""
    while len(got) < size:
        more = peer.recv(size - len(got))
        if not more:
            raise EOFError
        got += more
    return got


def masked_frame(peer):
    first, size = exactly(peer, 2)
    size &= 0x7F
    if size == 126:
        size = struct.unpack("!H", exactly(peer, 2))[0]
    mask = exactly(peer, 4)
    return first, bytes(b ^ mask[i % 4] for i, b in enumerate(exactly(peer, size)))


def plain_frame(peer):
    first, size = exactly(peer, 2)
    if size == 126:
        size = struct.unpack("!H", exactly(peer, 2))[0]
    elif size == 127:
        size = struct.unpack("!Q", exactly(peer, 8))[0]
    return first, exactly(peer, size)


def said_until_close(peer):
    """The frames before the client's Close, which is answered."""
    frames = []
    while True:
        first, payload = masked_frame(peer)
        if first == 0x88:
            peer.sendall(bytes([0x88, len(payload)]) + payload)
            return frames
        frames.append((first, payload))


class HandServer:
    """Accepts one connection, and lets `play` do with it what it will; what that returns is the result."""

    def __init__(self, play):
        self.play, self.result = play, None
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(PATIENCE_S)
        self.url = f"ws://127.0.0.1:{self.listener.getsockname()[1]}/"
        self.thread = threading.Thread(target=self.serve)

    def serve(self):
        peer, _ = self.listener.accept()
        with peer:
            peer.settimeout(PATIENCE_S)
            self.result = self.play(peer)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.thread.join()
        self.listener.close()


def join(url, *arguments, typed=b"", stdin=subprocess.PIPE):
    """Its status, output and complaints."""
    with subprocess.Popen([BUILD / "examples/chat", "--join", url, *arguments], stdin=stdin, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as process:
        try:
            out, err = process.communicate(typed if stdin == subprocess.PIPE else None, timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return process.returncode, out, err


def nobody():
    """A URL at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        return f"ws://127.0.0.1:{gone.getsockname()[1]}/"


def listens(peer):
    peer.sendall(accepting(read_head(peer)))
    return said_until_close(peer)


class Terminal(unittest.TestCase):
    def test_a_last_line_without_its_end_is_said(self):
        with HandServer(listens) as server:
            self.assertEqual(join(server.url, typed=b"one\n\ntwo")[0], 0)
        self.assertEqual(server.result, [(0x81, b"one"), (0x81, b""), (0x81, b"two")])

    def test_told_to_stop_it_says_that_it_goes_and_not_that_the_server_does(self):
        def sees_it_go(peer):
            peer.sendall(accepting(read_head(peer)))
            peer.sendall(b"\x81\x02hi")
            first, payload = masked_frame(peer)
            peer.sendall(bytes([0x88, len(payload)]) + payload)
            return first, payload

        with HandServer(sees_it_go) as server, \
                subprocess.Popen([BUILD / "examples/chat", "--join", server.url], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            self.assertEqual(process.stdout.readline(), b"hi\n")
            process.terminate()
            process.wait(timeout=PATIENCE_S)  # its input stays open: the end of that would close, too
        self.assertEqual(server.result, (0x88, struct.pack("!H", 1001)))

    def test_lines_that_are_not_utf8_are_left_out(self):
        with HandServer(listens) as server:
            status, _, err = join(server.url, typed="grüß\n".encode() + b"\xff\xfe\nlast \xc3")
        self.assertEqual((status, server.result), (0, [(0x81, "grüß".encode())]))
        self.assertEqual(err, b"chat: standard input: a line that is not UTF-8 is left out: \\xff\\xfe\n"
                              b"chat: standard input: a line that is not UTF-8 is left out: last \\xc3\n")

    def test_row_66_what_comes_cannot_command_the_terminal(self):
        def commands(peer):
            peer.sendall(accepting(read_head(peer)))
            text = "\x1b[2Jä\x7f\u009b31m\r\n\tz"
            reason = b"\x1b]0;taken\x07"
            for first, payload in ((0x81, text.encode()), (0x82, b"\x9b\xff"), (0x88, b"\x03\xf3" + reason)):
                peer.sendall(bytes([first, len(payload)]) + payload)
            peer.recv(65536)

        with HandServer(commands) as server:
            reader, writer = os.pipe()
            status, out, err = join(server.url, stdin=reader)
            os.close(reader)
            os.close(writer)
        self.assertEqual(status, 1)
        self.assertEqual(out.decode(), "\\x1b[2Jä\\x7f\\xc2\\x9b31m\\x0d\\x0a\tz\n\\x9b\\xff\n")
        self.assertEqual(err.decode(), "chat: closed with 1011 \\x1b]0;taken\\x07\n")

    def test_a_reset_during_the_handshake_ends_it(self):
        def resets(peer):
            read_head(peer)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        reader, writer = os.pipe()
        with HandServer(resets) as server:
            status, _, err = join(server.url, stdin=reader)
        os.close(reader)
        os.close(writer)
        self.assertEqual((status, err.decode()), (1, f"chat: {server.url}: the connection broke before the server answered\n"))

    def test_an_empty_url_is_none(self):
        status, out, err = join("")
        self.assertEqual((status, out), (1, b""))
        self.assertIn(b"ws://", err)

    def test_it_does_not_come_again_for_ever_with_nothing_to_say(self):
        for typed in (b"", b"a line\n"):
            status, _, err = join(nobody(), "--reconnect", typed=typed)
            self.assertEqual(status, 1)
            self.assertIn(b"ECONNREFUSED", err)

    def test_standard_input_that_cannot_be_watched_is_all_it_complains_of(self):
        status, _, err = join(nobody(), stdin=subprocess.DEVNULL)
        self.assertEqual((status, err.count(b"\n")), (1, 1), err)
        self.assertIn(b"standard input", err)


class ChatServer(unittest.TestCase):
    def setUp(self):
        self.log = self.enterContext(tempfile.TemporaryFile())

    def ask(self, port, *fields, path="/chat", receive_buffer=0):
        peer = self.enterContext(socket.socket())
        peer.settimeout(PATIENCE_S)
        if receive_buffer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        peer.connect(("127.0.0.1", port))
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Upgrade: websocket", "Connection: Upgrade",
                 "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}", *fields, "", ""]
        peer.sendall("\r\n".join(lines).encode())
        return peer, int(read_head(peer).split()[1])

    def test_figures_come_at_once_and_again_each_second(self):
        with Server("chat", "--cores", "2") as server:
            for count in (1, 3):  # the second time after everybody has left
                watching = [self.ask(server.port, path="/figures")[0] for _ in range(count)]
                for _ in range(3):
                    for peer in watching:
                        first, payload = plain_frame(peer)
                        self.assertEqual(first, 0x81)
                        self.assertEqual(json.loads(payload)["cores"], 2)
                for peer in watching:
                    peer.close()
            last, _ = self.ask(server.port, path="/figures")  # is there when the server ends
            plain_frame(last)
            last.sendall(b"\x81\x80" + bytes(4))
            while (frame := plain_frame(last))[0] == 0x81:
                pass
            self.assertEqual(frame, (0x88, b"\x03\xf0only listening"))
            self.assertEqual(self.ask(server.port, "Origin: http://elsewhere.example", path="/figures")[1], 403)
            self.ask(server.port, path="/figures")

    def test_a_file_is_passed_on_while_it_comes(self):
        file = os.urandom(1 << 20)
        with Server("chat", "--cores", "2") as server:
            readers = [self.ask(server.port, path="/download/plan")[0] for _ in range(2)]
            other = self.ask(server.port, path="/download/other")[0]
            writer = self.ask(server.port, path="/upload/plan")[0]
            for _ in range(2):  # one file after the other
                writer.sendall(b"\x82\xff" + struct.pack("!Q", len(file)) + bytes(4) + file[:700_000])
                got = [b"", b""]
                for i, peer in enumerate(readers):  # half of it has come, and is there
                    while len(got[i]) < 700_000:
                        got[i] += self.piece(peer)
                writer.sendall(file[700_000:])
                for i, peer in enumerate(readers):
                    while (frame := plain_frame(peer))[0] == 0x82:
                        got[i] += frame[1]
                    self.assertEqual((frame, got[i] == file), ((0x81, b"1048576"), True))
                self.assertEqual(plain_frame(writer), (0x81, b"1048576"))
            writer.sendall(b"\x81\x81" + bytes(4) + b"x")
            self.assertEqual(plain_frame(writer), (0x88, b"\x03\xebfiles are binary"))
            other.sendall(b"\x81\x80" + bytes(4))
            self.assertEqual(plain_frame(other), (0x88, b"\x03\xf0only listening"))  # and nothing of the file
            self.assertEqual(self.ask(server.port, "Origin: http://elsewhere.example", path="/upload/plan")[1], 403)

    def piece(self, peer):
        first, payload = plain_frame(peer)
        self.assertEqual(first, 0x82)
        return payload

    def test_pages_of_elsewhere_are_refused(self):
        with Server("chat") as server:
            here, there = f"Origin: http://127.0.0.1:{server.port}", "Origin: http://elsewhere.example"
            for fields, wanted in (([], 101), ([here], 101), ([there], 403), ([here, there], 403), ([here, here], 403)):
                self.assertEqual(self.ask(server.port, *fields)[1], wanted, fields)

    def test_who_is_slow_does_not_flood_the_log(self):
        begin = time.monotonic()
        with Server("chat", "--cores", "1", stderr=self.log) as server:
            slow = [self.ask(server.port, receive_buffer=4096)[0] for _ in range(4)]
            payload = b"x" * 16_000
            message = b"\x82\xfe" + struct.pack("!H", len(payload)) + bytes(4) + payload
            for _ in range(4):  # each may say 500 a second
                talker, _ = self.ask(server.port)
                reader = threading.Thread(target=self.read_all, args=(talker,))
                reader.start()
                for _ in range(450):
                    talker.sendall(message)
                talker.shutdown(socket.SHUT_WR)
                reader.join()
            for peer in slow:
                peer.close()
        self.log.seek(0)
        lines = [line for line in self.log if b"is slow" in line]
        self.assertGreater(len(lines), 0)
        self.assertLessEqual(len(lines), 1 + time.monotonic() - begin)

    @staticmethod
    def read_all(peer):
        while peer.recv(1 << 16):
            pass


if __name__ == "__main__":
    unittest.main()
