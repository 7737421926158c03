"""examples/reverse_proxy as a user would run it: before nginx and before servers played by hand, with curl, wrk and sockets."""

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import unittest
from pathlib import Path

from example_program import Server, eventually

MIB = 1 << 20
LIMIT_S = 30


def rss_bytes(pid):
    with open(f"/proc/{pid}/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def read_head(connection):
    """The head of a message, and what of its body came with it."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part:
            return data, b""
        data += part
    head, rest = data.split(b"\r\n\r\n", 1)
    return head + b"\r\n\r\n", rest


def read_all(connection, data=b""):
    """Until the end; a reset counts as one."""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            data += part
    return data


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def curl(*arguments, **options):
    return subprocess.run(["curl", "--silent", "--max-time", str(LIMIT_S), *arguments], stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=2 * LIMIT_S, **options)


class HandPlayed:
    """An upstream whose connections the test accepts itself."""

    def __init__(self, receive_buffer=0):
        self.listener = socket.socket()
        if receive_buffer:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(100)
        self.listener.settimeout(LIMIT_S)
        self.to = f"127.0.0.1:{self.listener.getsockname()[1]}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()

    def accept(self):
        connection, _ = self.listener.accept()
        connection.settimeout(LIMIT_S)
        return connection


def connect(port, receive_buffer=0):
    connection = socket.socket()
    connection.settimeout(LIMIT_S)
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.connect(("127.0.0.1", port))
    return connection


class Upstream(unittest.TestCase):
    """One exchange at a time, with both ends in hand."""

    def exchange(self, proxy, upstream, request, answer):
        """Sends the request, has the upstream answer, returns what the upstream got and what came back."""
        with connect(proxy.port) as client:
            client.sendall(request)
            with upstream.accept() as server:
                head, _ = read_head(server)
                server.sendall(answer)
                back, rest = read_head(client)
                return head, back + rest

    def test_hop_by_hop_fields_stay_and_forwarding_fields_are_added(self):
        with HandPlayed() as upstream, Server("reverse_proxy", "--to", upstream.to) as proxy:
            request = (b"GET /a%20b?c=d HTTP/1.1\r\nHost: example.org\r\nConnection: close, X-Secret\r\nX-Secret: 1\r\n"
                       b"Keep-Alive: timeout=5\r\nTE: trailers\r\nUpgrade: h2c\r\nProxy-Connection: keep-alive\r\n"
                       b"X-Forwarded-For: 10.0.0.1\r\nForwarded: for=10.0.0.1\r\nAccept: */*\r\n\r\n")
            answer = (b"HTTP/1.1 200 OK\r\nConnection: X-Internal, close\r\nX-Internal: 1\r\nKeep-Alive: timeout=1\r\n"
                      b"X-Kept: yes\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 2\r\n\r\nok")
            head, back = self.exchange(proxy, upstream, request, answer)
            lines = head.decode().split("\r\n")
            self.assertEqual(lines[0], "GET /a%20b?c=d HTTP/1.1")
            for wanted in ("Host: example.org", "Accept: */*", "X-Forwarded-For: 10.0.0.1, 127.0.0.1", "Via: 1.1 catenet",
                           "X-Forwarded-Proto: http", "X-Forwarded-Host: example.org",
                           'Forwarded: for=10.0.0.1, for=127.0.0.1;proto=http;host="example.org"'):
                self.assertIn(wanted, lines)
            names = [line.split(":")[0].lower() for line in lines[1:]]
            for name in ("connection", "x-secret", "keep-alive", "te", "upgrade", "proxy-connection", "transfer-encoding"):
                self.assertNotIn(name, names)
            self.assertTrue(back.startswith(b"HTTP/1.1 200 OK\r\n"), back)
            self.assertTrue(back.endswith(b"\r\n\r\nok"), back)
            for wanted in (b"\r\nX-Kept: yes\r\n", b"\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n", b"\r\nVia: 1.1 catenet\r\n"):
                self.assertIn(wanted, back)
            for gone in (b"X-Internal", b"Keep-Alive"):
                self.assertNotIn(gone, back)

    def test_via_tells_the_version_that_was_received(self):
        with HandPlayed() as upstream, Server("reverse_proxy", "--to", upstream.to) as proxy:
            head, back = self.exchange(proxy, upstream, b"GET / HTTP/1.0\r\nHost: x\r\nVia: 1.1 a\r\n\r\n",
                                       b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            self.assertIn(b"\r\nVia: 1.1 a, 1.0 catenet\r\n", head)
            self.assertIn(b"\r\nVia: 1.1 catenet\r\n", back)
            head, back = self.exchange(proxy, upstream, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                                       b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            self.assertIn(b"\r\nVia: 1.1 catenet\r\n", head)
            self.assertIn(b"\r\nVia: 1.0 catenet\r\n", back)

    def test_an_answer_of_two_types_is_the_upstreams_fault(self):
        with HandPlayed() as upstream, Server("reverse_proxy", "--to", upstream.to) as proxy:
            answer = b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: 2\r\nContent-Type: c/d\r\n\r\nok"
            _, back = self.exchange(proxy, upstream, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", answer)
            self.assertTrue(back.startswith(b"HTTP/1.1 502 "), back)
            self.assertIn(b"two fields Content-Type", back)

    def test_trailers_are_announced_only_to_who_gets_them(self):
        answer = (b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n"
                  b"2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n")
        for version, announced in ((b"1.0", False), (b"1.1", True)):
            with HandPlayed() as upstream, Server("reverse_proxy", "--to", upstream.to) as proxy:
                request = b"GET / HTTP/" + version + b"\r\nHost: x\r\n\r\n"
                _, back = self.exchange(proxy, upstream, request, answer)
                self.assertTrue(back.startswith(b"HTTP/1.1 200 "), back)
                self.assertEqual(b"\r\nTrailer: X-Sum\r\n" in back, announced, version)

    def test_no_client_hides_what_the_proxy_adds(self):
        ours = 'for=127.0.0.1;proto=http;host="x"'
        rows = [('for="a', ours), ('for="a\\"', ours), ('for="a\\\\"', f'for="a\\\\", {ours}'), ('for="(a"', ours),
                ('for=(")', ours), ('for=a;by="b"', f'for=a;by="b", {ours}'), ('for=b\r\nForwarded: for="c', f"for=b, {ours}")]
        vias = [("1.0 x (comm", "1.1 catenet"), ("1.0 x (a (b)", "1.1 catenet"), ("1.0 x (a\\)", "1.1 catenet"),
                ("1.0 x (a (b))", "1.0 x (a (b)), 1.1 catenet"), ("1.0 x", "1.0 x, 1.1 catenet")]
        answer = b"HTTP/1.1 200 OK\r\nVia: 1.1 y (comm\r\nContent-Length: 0\r\n\r\n"
        with HandPlayed() as upstream, Server("reverse_proxy", "--to", upstream.to) as proxy:
            for name, sent, wanted in [("Forwarded", *row) for row in rows] + [("Via", *row) for row in vias]:
                with self.subTest(sent=sent):
                    request = f"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{name}: {sent}\r\n\r\n"
                    head, back = self.exchange(proxy, upstream, request.encode(), answer)
                    lines = head.decode().split("\r\n")
                    self.assertEqual([line for line in lines if line.startswith(name + ":")], [f"{name}: {wanted}"])
                    self.assertIn(b"\r\nVia: 1.1 catenet\r\n", back)

    def test_options_goes_as_far_as_it_may(self):
        with HandPlayed() as upstream, Server("reverse_proxy", "--to", upstream.to) as proxy:
            with connect(proxy.port) as client:
                client.sendall(b"OPTIONS /a HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n")
                head, _ = read_head(client)
                self.assertTrue(head.startswith(b"HTTP/1.1 204 "), head)
                self.assertIn(b"\r\nAllow: ", head)
            answer = b"HTTP/1.1 204 No Content\r\n\r\n"
            for method, sent, wanted in [("OPTIONS", "1", "0"), ("OPTIONS", "010", "9"), ("OPTIONS", "x", "x"),
                                         ("OPTIONS", "99999999999999999999", "4294967294"), ("GET", "0", "0")]:
                with self.subTest(method=method, sent=sent):
                    request = f"{method} /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nMax-Forwards: {sent}\r\n\r\n"
                    head, _ = self.exchange(proxy, upstream, request.encode(), answer)
                    self.assertIn(f"\r\nMax-Forwards: {wanted}\r\n", head.decode())

    def test_answers_of_every_framing(self):
        rows = [
            (b"GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"Content-Length: 0\r\n"),
            (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", b"Content-Length: 1234\r\n"),
            (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 204 No Content\r\n"),
            (b"GET", b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n", b'ETag: "x"\r\n'),
            (b"GET", b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 404 "),
        ]
        with HandPlayed() as upstream, Server("reverse_proxy", "--to", upstream.to) as proxy:
            for method, answer, wanted in rows:
                with self.subTest(answer=answer):
                    request = method + b" / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
                    with connect(proxy.port) as client:
                        client.sendall(request)
                        with upstream.accept() as server:
                            read_head(server)
                            server.sendall(answer)
                            back = read_all(client)
                    self.assertIn(wanted, back)
                    self.assertTrue(back.endswith(b"\r\n\r\n"), back)

    def test_trailers_and_chunks_go_through(self):
        with HandPlayed() as upstream, Server("reverse_proxy", "--to", upstream.to) as proxy:
            with connect(proxy.port) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                with upstream.accept() as server:
                    read_head(server)
                    server.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nDigest: x\r\n\r\n")
                    back = read_all(client)
            self.assertTrue(back.endswith(b"5\r\nhello\r\n0\r\nDigest: x\r\n\r\n"), back)

    def test_trailers_of_a_request_go_through(self):
        with HandPlayed() as upstream, Server("reverse_proxy", "--to", upstream.to) as proxy, connect(proxy.port) as client:
            client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n"
                           b"5\r\nhello\r\n0\r\nX-T: 1\r\nContent-Length: 7\r\nX-U: 2\r\n\r\n")
            with upstream.accept() as server:
                head, body = read_head(server)
                while not body.endswith(b"\r\n\r\n"):
                    body += server.recv(65536)
                server.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
                self.assertTrue(read_head(client)[0].startswith(b"HTTP/1.1 204 "))
            self.assertIn(b"\r\nTrailer: X-T\r\n", head)
            self.assertEqual(body, b"5\r\nhello\r\n0\r\nX-T: 1\r\nX-U: 2\r\n\r\n")

    def test_informational_answers_go_through(self):
        answer = (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: X-B\r\nX-B: 1\r\n\r\n"
                  b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        with HandPlayed() as upstream, Server("reverse_proxy", "--to", upstream.to) as proxy:
            for version, hints in [(b"1.1", b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 102 Informational\r\n\r\n"),
                                   (b"1.0", b"")]:
                with self.subTest(version=version), connect(proxy.port) as client:
                    client.sendall(b"GET / HTTP/" + version + b"\r\nHost: a\r\nConnection: close\r\n\r\n")
                    with upstream.accept() as server:
                        read_head(server)
                        server.sendall(answer)
                        back = read_all(client)
                    self.assertTrue(back.startswith(hints + b"HTTP/1.1 200 OK\r\n"), back)
                    self.assertEqual(back.count(b"HTTP/1.1 "), hints.count(b"HTTP/1.1 ") + 1, back)

    def test_upstream_absent_slow_or_bad(self):
        nobody = free_port()
        with Server("reverse_proxy", "--to", f"127.0.0.1:{nobody}") as proxy:
            self.assertEqual(self.status_of(proxy), 502)
        answers = {b"": 502, b"HTTP/1.1 2": 502, b"garbage\r\n\r\n": 502,
                   b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n": 502}
        with HandPlayed() as upstream, Server("reverse_proxy", "--to", upstream.to, "--head-ms", "200") as proxy:
            for answer, status in answers.items():
                with self.subTest(answer=answer):
                    self.assertEqual(self.status_of(proxy, upstream, answer), status)
            with self.subTest("silent"):
                self.assertEqual(self.status_of(proxy, upstream, None), 504)
            with self.subTest("reset"):
                self.assertEqual(self.status_of(proxy, upstream, reset), 502)

    def status_of(self, proxy, upstream=None, answer=b""):
        """Of one GET; the upstream says `answer` and ends, None: nothing."""
        with connect(proxy.port) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            if upstream is not None:
                with upstream.accept() as server:
                    read_head(server)
                    if answer is reset:
                        reset(server)
                    elif answer is not None:
                        server.sendall(answer)
                        with contextlib.suppress(OSError):  # what it could not take it has reset already
                            server.shutdown(socket.SHUT_WR)
                    return int(read_head(client)[0].split()[1])
            return int(read_head(client)[0].split()[1])

    def test_half_an_answer_does_not_look_whole(self):
        heads = [b"Content-Length: 1000\r\n", b"Transfer-Encoding: chunked\r\n"]
        with HandPlayed() as upstream, Server("reverse_proxy", "--to", upstream.to) as proxy:
            for framing in heads:
                with self.subTest(framing=framing), connect(proxy.port) as client:
                    client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                    with upstream.accept() as server:
                        read_head(server)
                        server.sendall(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n5\r\nhello\r\n")
                        time.sleep(0.05)
                        reset(server)
                    back = read_all(client)
                    self.assertIn(b"hello", back)
                    self.assertNotIn(b"0\r\n\r\n", back.split(b"\r\n\r\n", 1)[1])

    def test_a_client_that_goes_ends_the_upstream(self):
        with HandPlayed() as upstream, Server("reverse_proxy", "--to", upstream.to) as proxy:
            with self.subTest("waits for the answer"):
                client = connect(proxy.port)
                client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                with upstream.accept() as server:
                    read_head(server)
                    reset(client)
                    self.assertEqual(read_all(server), b"")
            with self.subTest("in the middle of its body"):
                client = connect(proxy.port)
                client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhalf")
                with upstream.accept() as server:
                    head, rest = read_head(server)
                    reset(client)
                    self.assertEqual(read_all(server, rest), b"half")
            with self.subTest("in the middle of the answer"):
                client = connect(proxy.port)
                client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                with upstream.accept() as server:
                    read_head(server)
                    server.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
                    read_head(client)
                    client.close()
                    with self.assertRaises(OSError):
                        for _ in range(1000):
                            server.sendall(bytes(MIB))

    def test_a_slow_client_and_a_slow_upstream_are_bounded(self):
        with HandPlayed(receive_buffer=65536) as upstream, Server("reverse_proxy", "--to", upstream.to) as proxy:
            before = rss_bytes(proxy.process.pid)
            total = 256 * MIB
            with connect(proxy.port, receive_buffer=65536) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                with upstream.accept() as server:
                    read_head(server)
                    server.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
                    server.settimeout(0.5)
                    self.assertLess(self.fill(server, total), 32 * MIB)
            with connect(proxy.port) as client:
                client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % total)
                with upstream.accept() as server:
                    client.settimeout(0.5)
                    self.assertLess(self.fill(client, total), 32 * MIB)
            self.assertLess(rss_bytes(proxy.process.pid) - before, 32 * MIB)

    @staticmethod
    def fill(connection, total):
        """Sends until nobody takes more; returns how much was taken."""
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < total:
                sent += connection.send(bytes(65536))
        return sent


@unittest.skipUnless(shutil.which("nginx"), "nginx is not installed")
class Nginx(unittest.TestCase):
    """Before nginx, which serves files and takes uploads."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        root = Path(cls.folder.name)
        os.chmod(root, 0o755)
        (root / "www").mkdir()
        (root / "tmp").mkdir()
        cls.body = os.urandom(MIB) * 64
        (root / "www/big").write_bytes(cls.body)
        (root / "www/small").write_text("hello from nginx\n")
        cls.port = free_port()
        (root / "nginx.conf").write_text(f"""
daemon off; master_process off; worker_processes 1; pid {root}/pid; error_log {root}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_max_body_size 0; keepalive_requests 1000000;
  client_body_temp_path {root}/tmp; proxy_temp_path {root}/tmp; fastcgi_temp_path {root}/tmp;
  uwsgi_temp_path {root}/tmp; scgi_temp_path {root}/tmp;
  server {{
    listen 127.0.0.1:{cls.port};
    location / {{ root {root}/www; }}
    location /connection {{ return 200 "$connection $http_x_forwarded_for\\n"; }}
  }}
}}
""")
        cls.nginx = subprocess.Popen(["nginx", "-c", str(root / "nginx.conf"), "-p", str(root), "-e", str(root / "error.log")],
                                     stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        cls.addClassCleanup(cls.stop)
        eventually(lambda: socket.create_connection(("127.0.0.1", cls.port)).close() is None)

    @classmethod
    def stop(cls):
        cls.nginx.send_signal(signal.SIGTERM)
        cls.nginx.wait(LIMIT_S)
        cls.folder.cleanup()

    def proxy(self, *arguments):
        return Server("reverse_proxy", "--to", f"http://127.0.0.1:{self.port}", *arguments)

    def test_files_ranges_and_errors(self):
        with self.proxy() as proxy:
            base = f"http://127.0.0.1:{proxy.port}"
            self.assertEqual(curl(f"{base}/small").stdout, b"hello from nginx\n")
            self.assertEqual(curl("--range", "6-9", f"{base}/small").stdout, b"from")
            self.assertEqual(curl("--output", os.devnull, "--write-out", "%{http_code}", f"{base}/none").stdout, b"404")
            head = curl("--head", f"{base}/big").stdout
            self.assertIn(b"Content-Length: %d\r\n" % len(self.body), head)

    def test_connections_are_kept(self):
        with self.proxy() as proxy:
            base = f"http://127.0.0.1:{proxy.port}/connection"
            seen = {curl(base).stdout.split()[0] for _ in range(10)}
            self.assertEqual(len(seen), 1, "ten requests went over more than one connection")
            self.assertEqual(curl(base).stdout.split()[1], b"127.0.0.1")

    def test_a_big_body_arrives_whole_and_takes_little_memory(self):
        with self.proxy() as proxy:
            before = rss_bytes(proxy.process.pid)
            wanted = hashlib.sha256(self.body).hexdigest()
            got = curl(f"http://127.0.0.1:{proxy.port}/big").stdout
            self.assertEqual(hashlib.sha256(got).hexdigest(), wanted)
            slow = curl("--limit-rate", "40M", f"http://127.0.0.1:{proxy.port}/big").stdout
            self.assertEqual(hashlib.sha256(slow).hexdigest(), wanted)
            self.assertLess(rss_bytes(proxy.process.pid) - before, 32 * MIB)

    @unittest.skipUnless(shutil.which("wrk"), "wrk is not installed")
    def test_under_load(self):
        with self.proxy() as proxy:
            said = subprocess.run(["wrk", "-t2", "-c32", "-d3s", f"http://127.0.0.1:{proxy.port}/small"],
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60).stdout
            print(said)
            self.assertIn("Requests/sec", said)
            self.assertNotIn("Non-2xx", said)
            self.assertNotIn("Socket errors", said)


class OwnServer(unittest.TestCase):
    """Before examples/http_server: uploads, in both framings, and the echo of them."""

    def test_bodies_both_ways(self):
        body = os.urandom(MIB) * 32
        wanted = hashlib.sha256(body).hexdigest()
        with tempfile.NamedTemporaryFile() as file, Server("http_server") as server:
            file.write(body)
            file.flush()
            with Server("reverse_proxy", "--to", f"127.0.0.1:{server.port}") as proxy:
                base = f"http://127.0.0.1:{proxy.port}"
                for framing in ([], ["--header", "Transfer-Encoding: chunked"]):
                    with self.subTest(framing=framing):
                        upload = ["--data-binary", f"@{file.name}", "--header", "Content-Type: x/y", *framing]
                        self.assertEqual(curl(*upload, f"{base}/sink").stdout.strip(), str(len(body)).encode())
                        got = curl(*upload, f"{base}/echo").stdout
                        self.assertEqual(hashlib.sha256(got).hexdigest(), wanted)

    def test_many_clients_at_once(self):
        with Server("http_server") as server, Server("reverse_proxy", "--to", f"127.0.0.1:{server.port}",
                                                     "--connections", "4") as proxy:
            failures = []

            def ask(number):
                got = curl(f"http://127.0.0.1:{proxy.port}/hello/{number}").stdout
                if got != b"hello %d" % number:
                    failures.append((number, got))

            threads = [threading.Thread(target=ask, args=(i,)) for i in range(40)]
            for one in threads:
                one.start()
            for one in threads:
                one.join()
            self.assertEqual(failures, [])


if __name__ == "__main__":
    unittest.main()
