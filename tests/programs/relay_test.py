#!/usr/bin/python3
"""relay as a user runs it: SHA-256 through stalling readers, half-close, resets, and thousands of pairs."""

import ctypes
import hashlib
import os
import platform
import random
import resource
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import unittest
from pathlib import Path

PROGRAM = Path(os.environ["CATENET_BUILD"]) / "examples" / "relay"
RUNS = [(mode, backend) for mode in ("auto", "splice", "copy") for backend in ("uring", "epoll")]


class Sink:
    """A server that counts and hashes what it gets, each connection in a thread; answers with the digest at the end."""

    def __init__(self, stall=0.0):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.stall = stall
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        digest, reads = hashlib.sha256(), 0
        with connection:
            try:
                while data := connection.recv(1 << 17):
                    digest.update(data)
                    reads += 1
                    if self.stall and reads % 20 == 1:
                        time.sleep(self.stall)
                connection.sendall(digest.hexdigest().encode())
            except OSError:
                pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def forbid_splice():
    """A seccomp filter for this process: splice (275 on x86-64) fails with EPERM, all else is allowed."""
    steps = ((0x20, 0, 0, 0), (0x15, 0, 1, 275), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7FFF0000))
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(steps), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in ((38, 1, 0, 0, 0), (22, 2, ctypes.addressof(program), 0, 0)):  # no new privileges; the filter
        if libc.prctl(*(ctypes.c_ulong(a) for a in arguments)) != 0:
            raise OSError(ctypes.get_errno(), "prctl")


class Relay:
    def __init__(self, port, *options, before=None):
        self.process = subprocess.Popen([PROGRAM, "--listen", "127.0.0.1:0", "--to", f"127.0.0.1:{port}", *options],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=before)
        line = self.process.stdout.readline()
        assert line.startswith("catenet: listening on "), line
        self.port = int(line.rsplit(":", 1)[1])

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        _, err = self.process.communicate(timeout=20)
        return self.process.returncode, err


def receive(from_socket, size):
    """So many bytes, or fewer where it ended before."""
    got = bytearray()
    while len(got) < size and (part := from_socket.recv(size - len(got))):
        got += part
    return bytes(got)


class RelayTest(unittest.TestCase):
    def test_digests_through_stalling_readers(self):
        for mode, backend in RUNS:
            with self.subTest(mode=mode, backend=backend):
                sink = Sink(stall=0.02)
                relay = Relay(sink.port, "--mode", mode, "--io", backend)
                before = relay.descriptors()

                def send(seed, failures):
                    data = random.Random(seed).randbytes(3_000_000 + seed)
                    with relay.connect() as c:
                        c.sendall(data)
                        c.shutdown(socket.SHUT_WR)
                        answer = b""
                        while part := c.recv(100):
                            answer += part
                    if answer.decode() != hashlib.sha256(data).hexdigest():
                        failures.append(seed)
                failures = []
                threads = [threading.Thread(target=send, args=(seed, failures)) for seed in range(6)]
                for t in threads:
                    t.start()
                for t in threads:
                    t.join()
                self.assertEqual(failures, [])
                deadline = time.time() + 5
                while relay.descriptors() > before + 2 * 64 and time.time() < deadline:
                    time.sleep(0.01)
                self.assertLessEqual(relay.descriptors(), before + 2 * 64, "only idle pipes may stay open")
                status, err = relay.stop()
                self.assertEqual(status, 0, err)
                self.assertIn("open 0", err)
                sink.close()

    def test_resets_in_the_middle(self):
        for mode, backend in RUNS:
            with self.subTest(mode=mode, backend=backend):
                sink = Sink()
                relay = Relay(sink.port, "--mode", mode, "--io", backend)
                for i in range(20):
                    c = relay.connect()
                    c.sendall(b"x" * (i * 50_000 + 1))
                    c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    c.close()
                data = b"y" * 1_000_000
                with relay.connect() as c:  # it still works
                    c.sendall(data)
                    c.shutdown(socket.SHUT_WR)
                    self.assertEqual(c.recv(100).decode(), hashlib.sha256(data).hexdigest())
                status, err = relay.stop()
                self.assertEqual(status, 0, err)
                sink.close()

    def open_pairs(self, relay, listener):
        """As many pairs through the relay as descriptors allow, up to 5,000: clients and servers, in one order."""
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        clients, servers = [], []
        for _ in range(min(5000, (hard - 1000) // 3)):
            clients.append(relay.connect())
            clients[-1].sendall(b"hello")
            servers.append(listener.accept()[0])
            servers[-1].settimeout(60)
        for s in servers:
            self.assertEqual(s.recv(10), b"hello")
        return clients, servers

    def expect_little_held(self, relay, pairs, kilobytes):
        memory = next(line for line in Path(f"/proc/{relay.process.pid}/status").read_text().splitlines()
                      if line.startswith("VmHWM"))
        self.assertLess(int(memory.split()[1]), kilobytes, memory)
        self.assertLess(relay.descriptors(), 2 * pairs + 2 * 64 + 50)

    def test_thousands_of_pairs_at_rest_hold_nothing(self):
        listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        relay = Relay(listener.getsockname()[1], "--idle-ms", "0", "--drain-ms", "200")
        clients, servers = self.open_pairs(relay, listener)
        self.expect_little_held(relay, len(clients), 40_000)
        status, err = relay.stop()
        self.assertEqual(status, 0, err)
        for one in (*clients, *servers, listener):
            one.close()

    def test_thousands_of_pairs_move_bytes_at_once(self):
        """Nobody reads until all have sent: 40 KB through each pair, one way and then back, other bytes for each."""
        blob = random.Random(5000).randbytes(1 << 20)

        def part(of, way):
            return memoryview(blob)[(begin := (of * 197 + way * 500_009) % 1_000_000):begin + 40_000]

        for backend in ("uring", "epoll"):
            with self.subTest(backend=backend):
                listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
                relay = Relay(listener.getsockname()[1], "--idle-ms", "0", "--io", backend)
                clients, servers = self.open_pairs(relay, listener)
                for way, (sending, receiving) in enumerate(((clients, servers), (servers, clients))):
                    for i, s in enumerate(sending):
                        s.sendall(part(i, way))
                    for i, r in enumerate(receiving):
                        self.assertEqual(receive(r, 40_000), part(i, way), f"pair {i}")
                self.expect_little_held(relay, len(clients), 40_000)
                for c in clients:
                    c.close()
                for s in servers:
                    self.assertEqual(s.recv(1), b"")
                    s.close()
                listener.close()
                status, err = relay.stop()
                self.assertEqual(status, 0, err)
                self.assertIn(f"accepted {len(clients)}, open 0, connect failed 0, resets 0", err)

    def test_clients_wait_while_descriptors_are_short(self):
        for backend in ("uring", "epoll"):
            with self.subTest(backend=backend):
                sink = Sink()
                relay = Relay(sink.port, "--cores", "1", "--io", backend,
                              before=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (30, 30)))
                clients = [relay.connect() for _ in range(40)]
                for c in clients:
                    c.sendall(b"z")
                want = hashlib.sha256(b"z").hexdigest()
                for c in clients:
                    c.shutdown(socket.SHUT_WR)
                    self.assertEqual(c.recv(100).decode(), want)
                    c.close()
                status, err = relay.stop()
                self.assertEqual(status, 0, err)
                self.assertIn("accepted 40, open 0, connect failed 0, resets 0", err)
                sink.close()

    @unittest.skipUnless(platform.machine() == "x86_64", "the number of splice is this machine's")
    def test_where_splice_is_forbidden_bytes_are_copied(self):
        sink = Sink()
        relay = Relay(sink.port, "--mode", "splice", before=forbid_splice)
        data = b"s" * 1_000_000
        for _ in range(2):
            with relay.connect() as c:
                c.sendall(data)
                c.shutdown(socket.SHUT_WR)
                self.assertEqual(c.recv(100).decode(), hashlib.sha256(data).hexdigest())
        status, err = relay.stop()
        self.assertEqual(status, 0, err)
        self.assertEqual(err.count("EPERM"), 1, err)
        self.assertIn("resets 0", err)
        sink.close()

    def test_a_server_that_is_down_is_told(self):
        with socket.create_server(("127.0.0.1", 0)) as nobody:
            port = nobody.getsockname()[1]
        relay = Relay(port)
        for _ in range(20):
            with self.assertRaises(ConnectionResetError), relay.connect() as c:
                c.recv(1)
        _, err = relay.stop()
        lines = [line for line in err.splitlines() if "ECONNREFUSED" in line]
        self.assertIn(f"127.0.0.1:{port}", lines[0])
        self.assertLess(len(lines), 20, "told once a second, not each time")

    def test_a_socket_file_is_removed_at_the_end(self):
        with tempfile.TemporaryDirectory() as folder:
            where = os.path.join(folder, "s")
            process = subprocess.Popen([PROGRAM, "--listen", f"unix:{where}", "--to", "127.0.0.1:1"],
                                       stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            process.stdout.readline()
            self.assertTrue(os.path.exists(where))
            process.terminate()
            process.communicate(timeout=20)
            self.assertEqual(process.returncode, 0)
            self.assertFalse(os.path.exists(where))

    def test_bad_arguments_are_told(self):
        done = subprocess.run([PROGRAM, "--listen", "127.0.0.1:0", "--to", "nowhere"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("no port", done.stderr)
        done = subprocess.run([PROGRAM, "--to", "127.0.0.1:1", "--mode", "bogus"], capture_output=True, text=True)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("bogus not in {auto,copy,splice}", done.stderr)
        done = subprocess.run([PROGRAM, "--help"], capture_output=True, text=True)
        self.assertIn("{auto,copy,splice}", done.stdout)
        self.assertIn("{auto,epoll,uring}", done.stdout)


if __name__ == "__main__":
    unittest.main()
