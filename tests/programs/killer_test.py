"""http_server under a killer: mixed load whose clients reset, are stopped, and are killed at any moment. At the end nothing is
left of them: blocks, connections and descriptors are as they were. On both back ends.

    tests/programs/killer_test.py --seconds 600      so long on each back end (10)
"""

import argparse
import base64
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import time
import unittest
import urllib.request

from example_program import Server, eventually

CLIENTS = 6
SOCKETS_PER_CLIENT = 8
SECONDS = 10.0
STOPPED_S = 5.0  # who was away for so long may find its connections ended; all time limits of the server are longer


# ---- a client: this script again, as a process of its own ----


def receive(peer, count):
    got = bytearray()
    while len(got) < count:
        part = peer.recv(min(count - len(got), 65536))
        if not part:
            raise ConnectionError("ended early")
        got += part
    return bytes(got)


def receive_head(peer):
    head = bytearray()
    while not head.endswith(b"\r\n\r\n"):
        head += receive(peer, 1)
    return bytes(head)


def get(peer, size):
    peer.sendall(b"GET /bytes/%d HTTP/1.1\r\nHost: a\r\n\r\n" % size)
    head = receive_head(peer)
    assert head.startswith(b"HTTP/1.1 200 "), head
    assert receive(peer, size) == b"x" * size, "a wrong byte"


def echo(peer, size):
    body = random.randbytes(size)
    peer.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + body)
    head = receive_head(peer)
    assert head.startswith(b"HTTP/1.1 200 "), head
    assert receive(peer, size) == body, "a wrong byte came back"


def websocket(peer, size):
    key = base64.b64encode(random.randbytes(16))
    peer.sendall(
        b"GET /echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + b"\r\n\r\n"
    )
    head = receive_head(peer)
    assert head.startswith(b"HTTP/1.1 101 "), head
    for _ in range(3):
        body = random.randbytes(size)
        length = b"\xfe" + struct.pack(">H", size) if size < 65536 else b"\xff" + struct.pack(">Q", size)
        peer.sendall(b"\x82" + length + b"\0\0\0\0" + body)  # a mask of zeros is one
        first, second = receive(peer, 2)
        extra = {126: 2, 127: 8}.get(second, 0)
        length = int.from_bytes(receive(peer, extra)) if extra else second
        assert first == 0x82 and length == size, (first, length)
        assert receive(peer, size) == body, "a wrong byte came back"


def abandon(peer):
    """Ends in the middle: unread answers, half a request, a reset or a plain close."""
    peer.sendall(random.choice([b"GET /bytes/3000000 HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HT", b"POST /echo HTTP/1.1\r\n"]))
    if random.random() < 0.5:
        time.sleep(random.random() / 50)
    if random.random() < 0.6:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def act(peers):
    """One exchange on one of the connections. Some of them end with it."""
    peer = random.choice(peers)
    what = random.random()
    if what < 0.4:
        get(peer, random.choice([13, 5000, 70000, 1 << 20]))
    elif what < 0.7:
        echo(peer, random.choice([10, 3000, 200000, 1 << 20]))
    elif what < 0.8:
        peers.remove(peer)
        websocket(peer, random.choice([200, 70000]))
        peer.close()
    else:
        peers.remove(peer)
        abandon(peer)


def client(port):
    peers = []
    while True:
        begun = time.monotonic()
        try:
            while len(peers) < SOCKETS_PER_CLIENT:
                peers.append(socket.create_connection(("127.0.0.1", port), timeout=30))
            act(peers)
        except OSError:
            if time.monotonic() - begun < STOPPED_S:
                raise
        if time.monotonic() - begun >= STOPPED_S:  # it was stopped meanwhile: the server may have given it up
            for peer in peers:
                peer.close()
            peers = []


# ---- the killer ----


def stats(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/stats", timeout=20) as answer:
        return json.load(answer)


def state_of(server):
    """What must be as at the start: open connections, rented blocks, descriptors."""
    told = stats(server.port)
    rented = [c["rented"] for c in told["classes"]]
    return told["connections"], rented, len(os.listdir(f"/proc/{server.process.pid}/fd"))


def at_rest(server):
    """The state once it is the same several times in a row, with the connection that asks as the only one."""
    seen = []

    def still():
        seen.append(state_of(server))
        return len(seen) > 5 and seen[-1][0] == 1 and all(s == seen[-1] for s in seen[-5:])

    eventually(still)
    return seen[-1]


class Killer(unittest.TestCase):
    def start(self, port):
        return subprocess.Popen([sys.executable, __file__, "--client", str(port)], stdin=subprocess.DEVNULL)

    def replace(self, clients, i, port):
        """The client at place i has ended, or is to: a fresh one takes the place."""
        clients[i].send_signal(signal.SIGKILL)
        status = clients[i].wait()
        self.assertEqual(status, -signal.SIGKILL, "a client ended by itself: what it says is above")
        clients[i] = self.start(port)

    def strike(self, clients, stopped, port):
        i = random.randrange(CLIENTS)
        what = random.random()
        if clients[i].poll() is not None or what < 0.4:
            self.replace(clients, i, port)
            stopped.discard(i)
        elif i in stopped:
            clients[i].send_signal(signal.SIGCONT)
            stopped.discard(i)
        elif what < 0.7:
            clients[i].send_signal(signal.SIGSTOP)
            stopped.add(i)

    def run_against(self, io):
        with Server("http_server", "--cores", "2", "--io", io) as server:
            before = at_rest(server)
            clients = [self.start(server.port) for _ in range(CLIENTS)]
            stopped = set()
            try:
                end = time.monotonic() + SECONDS
                while time.monotonic() < end:
                    time.sleep(random.random() / 2)
                    self.strike(clients, stopped, server.port)
            finally:
                for process in clients:
                    process.kill()
                    process.wait()
            told = stats(server.port)
            print(f"{told['io']}: {told['requests']} requests, {told['messages']} messages, {told['bytes_out'] >> 20} MiB out", end=" ")
            self.assertEqual(told["io"], {"uring": "io_uring", "epoll": "epoll"}[io])
            self.assertGreater(told["requests"], 20)
            after = None

            def as_before():
                nonlocal after
                after = state_of(server)
                return after == before

            try:
                eventually(as_before, patience_s=40)
            except AssertionError:
                self.fail(f"(connections, rented blocks by class, descriptors) were {before} and are {after}")

    def test_nothing_is_left_on_io_uring(self):
        self.run_against("uring")

    def test_nothing_is_left_on_epoll(self):
        self.run_against("epoll")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--client", type=int, default=0)
    arguments, rest = parser.parse_known_args()
    SECONDS = arguments.seconds
    if arguments.client:
        client(arguments.client)
    else:
        unittest.main(argv=[sys.argv[0], *rest])
