"""http_server as others rely on it: its routes, its answers to what is wrong, --root, UNIX sockets, several cores, stopping."""

import hashlib
import http.client
import json
import os
import socket
import subprocess
import tempfile
import unittest
from pathlib import Path

from example_program import BUILD, Server


def ask(port, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, dict((k.lower(), v) for k, v in answer.getheaders()), answer.read()
    finally:
        connection.close()


class Routes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Server("http_server", "--cores", "2"))
        cls.port = cls.server.port

    def test_hello_world_has_13_bytes_of_plain_text(self):
        status, headers, body = ask(self.port, "GET", "/")
        self.assertEqual((status, headers["content-type"], body), (200, "text/plain", b"Hello, World!"))

    def test_bytes_are_as_many_as_asked(self):
        for n in (0, 1, 511, 4097, 65536, 1048576, 5000000):
            status, headers, body = ask(self.port, "GET", f"/bytes/{n}")
            self.assertEqual((status, len(body), body.strip(b"x")), (200, n, b""))

    def test_a_name_is_greeted(self):
        self.assertEqual(ask(self.port, "GET", "/hello/a%20b")[2], b"hello a b")

    def test_echo_and_sink(self):
        data = os.urandom(3 << 20)
        self.assertEqual(hashlib.sha256(ask(self.port, "POST", "/echo", data)[2]).digest(), hashlib.sha256(data).digest())
        self.assertEqual(ask(self.port, "POST", "/sink", data)[2], b"3145728")

    def test_slow_answers_by_a_timer(self):
        self.assertEqual(ask(self.port, "GET", "/slow/30")[0], 200)

    def test_stats_have_the_keys_that_are_relied_on(self):
        told = json.loads(ask(self.port, "GET", "/stats")[2])
        for key in ("connections", "requests", "bytes_in", "bytes_out", "enters", "completions", "user_bytes_per_connection", "classes"):
            self.assertIn(key, told)
        for one in told["classes"]:
            self.assertLessEqual({"size", "total", "rented", "cached", "lent"}, one.keys())
            self.assertEqual(one["total"], one["rented"] + one["cached"] + one["lent"])
        self.assertEqual(told["bytes_out"], sum(way["bytes"] for way in told["tiers"].values()))
        self.assertIn(told["zero_copy"]["last_downgrade"], ("none", "the route copies"))

    def test_what_is_not_there_or_not_allowed(self):
        self.assertEqual(ask(self.port, "GET", "/nowhere")[0], 404)
        status, headers, _ = ask(self.port, "DELETE", "/hello/x")
        self.assertEqual((status, headers["allow"]), (405, "GET, HEAD, OPTIONS"))
        self.assertEqual(ask(self.port, "BREW", "/")[0], 501)
        self.assertEqual(ask(self.port, "OPTIONS", "*")[0], 204)


class Root(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        top = Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="catenet-root-")))
        cls.root = top / "public"
        (cls.root / "sub").mkdir(parents=True)
        cls.big = os.urandom(3 << 20)
        (cls.root / "big.bin").write_bytes(cls.big)
        (cls.root / "a b.txt").write_text("spaced")
        (cls.root / "empty.css").write_text("")
        (cls.root / "sub" / "index.html").write_text("<p>index</p>")
        (top / "secret").write_text("secret")
        (cls.root / "way-out").symlink_to("../secret")
        os.mkfifo(cls.root / "fifo")
        cls.server = cls.enterClassContext(Server("http_server", "--root", str(cls.root)))
        cls.port = cls.server.port

    def test_files_are_whole_and_named_by_their_type(self):
        status, headers, body = ask(self.port, "GET", "/big.bin")
        self.assertEqual((status, headers["content-length"], body == self.big), (200, str(len(self.big)), True))
        self.assertEqual(ask(self.port, "GET", "/a%20b.txt")[1]["content-type"], "text/plain; charset=utf-8")
        self.assertEqual(ask(self.port, "GET", "/sub/")[2], b"<p>index</p>")
        status, headers, _ = ask(self.port, "GET", "/sub")
        self.assertEqual((status, headers["location"], headers["content-type"]), (301, "/sub/", "text/plain; charset=utf-8"))
        status, headers, body = ask(self.port, "GET", "/empty.css")
        self.assertEqual((status, headers["content-length"], body), (200, "0", b""))

    def test_head_has_no_body(self):
        status, headers, body = ask(self.port, "HEAD", "/big.bin")
        self.assertEqual((status, headers["content-length"], body), (200, str(len(self.big)), b""))

    def test_a_known_tag_is_not_sent_again(self):
        tag = ask(self.port, "GET", "/big.bin")[1]["etag"]
        status, _, body = ask(self.port, "GET", "/big.bin", headers={"If-None-Match": tag})
        self.assertEqual((status, body), (304, b""))

    def test_nothing_outside_is_reached(self):
        for path in ("/../secret", "/%2e%2e/secret", "/sub/../../secret", "/sub/%2e%2e%2f%2e%2e%2fsecret", "/way-out",
                     "//secret", "/sub//index.html", "/..%5csecret", "/big.bin%00.txt", "/./big.bin", "/fifo", "/nothing"):
            with self.subTest(path):
                status, _, body = ask(self.port, "GET", path)
                self.assertIn(status, (400, 404))
                self.assertNotIn(b"secret", body)

    def test_routes_come_before_files(self):
        self.assertEqual(ask(self.port, "GET", "/hello/x")[2], b"hello x")


class Starting(unittest.TestCase):
    def test_an_address_in_use_is_said_clearly(self):
        with Server("http_server") as first:
            for cores in ("1", "2"):
                result = subprocess.run(
                    [str(BUILD / "examples" / "http_server"), "--listen", f"127.0.0.1:{first.port}", "--cores", cores],
                    capture_output=True, text=True, timeout=20)
                self.assertNotEqual(result.returncode, 0)
                self.assertIn("EADDRINUSE", result.stderr)
                self.assertIn(str(first.port), result.stderr)

    def test_a_root_that_is_not_there_is_said_clearly(self):
        result = subprocess.run([str(BUILD / "examples" / "http_server"), "--root", "/nowhere/at/all"],
                                capture_output=True, text=True, timeout=20)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("/nowhere/at/all", result.stdout + result.stderr)

    def test_a_unix_socket(self):
        with tempfile.TemporaryDirectory(prefix="catenet-unix-") as folder:
            path = os.path.join(folder, "web.sock")
            process = subprocess.Popen([str(BUILD / "examples" / "http_server"), "--listen", f"unix:{path}"],
                                       stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
            try:
                self.assertTrue(process.stdout.readline().startswith(b"catenet: listening on "))
                with socket.socket(socket.AF_UNIX) as s:
                    s.settimeout(20)
                    s.connect(path)
                    s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    answer = b"".join(iter(lambda: s.recv(4096), b""))
                self.assertTrue(answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"Hello, World!"))
            finally:
                process.terminate()
                self.assertEqual(process.wait(20), 0)
                process.stdout.close()
            self.assertFalse(os.path.exists(path))


if __name__ == "__main__":
    unittest.main()
