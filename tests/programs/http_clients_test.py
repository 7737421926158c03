"""http_server before clients that others wrote: curl, wrk, h2load and Chromium. What is not installed is left out."""

import hashlib
import html
import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from example_program import Server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LIMIT_S = 90
MIB = 1 << 20


def run(*command, **options):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT_S, **options)
    if done.returncode != 0:
        raise AssertionError(f"{command} ended with {done.returncode}: {done.stderr.decode(errors='replace')}")
    return done.stdout


class WithServer(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="catenet-clients-")))
        cls.server = cls.enterClassContext(Server("http_server", "--root", str(cls.folder)))
        cls.url = f"http://127.0.0.1:{cls.server.port}"


@unittest.skipUnless(shutil.which("curl"), "curl is not installed")
class Curl(WithServer):
    def curl(self, *arguments):
        return run("curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", "60", *arguments)

    def test_many_over_one_connection(self):
        said = self.curl("--write-out", "%{http_code} %{num_connects}\n", *[f"{self.url}/hello/[1-100]"])
        lines = re.findall(rb"hello \d+(\d\d\d) (\d)\n", said)
        self.assertEqual(len(lines), 100, said[:200])
        self.assertEqual({code for code, _ in lines}, {b"200"})
        self.assertEqual([connects for _, connects in lines], [b"1"] + [b"0"] * 99)

    def test_uploads(self):
        body = os.urandom(5 * MIB)
        (self.folder / "body").write_bytes(body)
        ways = {"a length": [], "chunks": ["--header", "Transfer-Encoding: chunked"], "HTTP/1.0": ["--http1.0"],
                "100-continue": ["--header", "Expect: 100-continue", "--expect100-timeout", "30"]}
        for name, way in ways.items():
            with self.subTest(name):
                upload = ["--request", "POST", "--data-binary", f"@{self.folder / 'body'}", *way]
                self.assertEqual(self.curl(*upload, f"{self.url}/sink"), b"%d" % len(body))
                echoed = self.curl(*upload, f"{self.url}/echo")
                self.assertEqual(hashlib.sha256(echoed).digest(), hashlib.sha256(body).digest())

    def test_heads_ranges_and_old_versions(self):
        (self.folder / "digits").write_text("0123456789")
        head = self.curl("--head", f"{self.url}/bytes/1000")
        self.assertIn(b"Content-Length: 1000\r\n", head)
        self.assertTrue(head.endswith(b"\r\n\r\n"))
        self.assertEqual(self.curl("--http1.0", f"{self.url}/hello/old"), b"hello old")
        self.assertEqual(self.curl("--request-target", f"{self.url}/hello/absolute", self.url), b"hello absolute")
        self.assertEqual(self.curl("--range", "2-4", f"{self.url}/digits"), b"234")
        self.assertEqual(self.curl("--range", "-3", f"{self.url}/digits"), b"789")


@unittest.skipUnless(shutil.which("wrk"), "wrk is not installed")
class Wrk(WithServer):
    def test_load(self):
        pipelined = self.folder / "pipelined.lua"
        pipelined.write_text("init = function() all = string.rep(wrk.format(), 16) end\nrequest = function() return all end\n")
        upload = self.folder / "upload.lua"
        upload.write_text(f'wrk.method = "POST"\nwrk.body = string.rep("x", {MIB})\n')
        loads = {"get": ["/"], "pipelined": ["-s", str(pipelined), "/"], "1 MiB": ["/bytes/1048576"],
                 "upload": ["-s", str(upload), "/sink"], "connections that close": ["-H", "Connection: close", "/"]}
        for name, (*options, path) in loads.items():
            with self.subTest(name):
                said = run("wrk", "-t1", "-c32", "-d1s", "--timeout", "60s", *options, self.url + path).decode()
                self.assertRegex(said, r"[1-9]\d* requests in")
                self.assertNotIn("Non-2xx", said)
                self.assertNotIn("Socket errors", said)


@unittest.skipUnless(shutil.which("h2load"), "h2load is not installed")
class H2load(WithServer):
    def load(self, *options):
        said = run("h2load", "--h1", "--threads=1", *options).decode()
        total, done, succeeded, failed = map(int, re.search(
            r"requests: (\d+) total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed", said).groups())
        self.assertEqual((done, succeeded, failed), (total, total, 0), said)
        return said

    def test_one_behind_the_other_and_pipelined(self):
        for depth in ("1", "16"):
            with self.subTest(depth=depth):
                said = self.load("-n20000", "-c50", "-m" + depth, f"{self.url}/")
                self.assertIn("20000 2xx, 0 3xx, 0 4xx, 0 5xx", said)

    def test_bodies(self):
        (self.folder / "data").write_bytes(os.urandom(200_000))
        said = self.load("-n500", "-c20", "-m1", "-d", str(self.folder / "data"), f"{self.url}/sink")
        self.assertIn("500 2xx", said)
        said = self.load("-n500", "-c20", "-m4", f"{self.url}/bytes/200000")
        received = int(re.search(r"\((\d+)\) data", said)[1])
        self.assertEqual(received, 500 * 200_000)


PAGE = """<!doctype html><title>working</title><pre id="told"></pre><script>
(async () => {
  const told = {};
  const text = async (path, options) => (await fetch(path, options)).text();
  told.hello = await text("/hello/" + encodeURIComponent("a b/ü"));
  told.sizes = await Promise.all([0, 1, 511, 65536, 1048576].map(async n => (await text("/bytes/" + n)).length));
  const body = crypto.getRandomValues(new Uint8Array(65536));
  const echoed = new Uint8Array(await (await fetch("/echo", {method: "POST", body})).arrayBuffer());
  told.echo = echoed.length === body.length && echoed.every((one, i) => one === body[i]);
  told.sink = await text("/sink", {method: "POST", body: "x".repeat(3000000)});
  told.many = new Set(await Promise.all(Array.from({length: 100}, (_, i) => text("/hello/" + i)))).size;
  const missing = await fetch("/not/there");
  told.missing = [missing.status, (await missing.text()).length > 0];
  const gone = new AbortController();
  const slow = fetch("/slow/60000", {signal: gone.signal}).then(() => "answered", error => error.name);
  await text("/hello/meanwhile");
  gone.abort();
  told.aborted = await slow;
  told.after = await text("/hello/again");
  return told;
})().then(told => told, error => ({error: String(error)}))
  .then(told => { document.getElementById("told").textContent = JSON.stringify(told); });
</script>"""


@unittest.skipUnless(CHROMIUM, "Chromium is not installed")
class Browser(WithServer):
    def test_a_page_fetches(self):
        (self.folder / "page.html").write_text(PAGE)
        with tempfile.TemporaryDirectory(prefix="catenet-chromium-") as profile:
            dom = run(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                      "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-proxy-server",
                      f"--user-data-dir={profile}", "--virtual-time-budget=20000", "--dump-dom", f"{self.url}/page.html").decode()
        told = json.loads(html.unescape(re.search(r'<pre id="told">(.*?)</pre>', dom, re.DOTALL)[1]))
        self.assertEqual(told, {
            "hello": "hello a b/ü", "sizes": [0, 1, 511, 65536, 1048576], "echo": True, "sink": "3000000", "many": 100,
            "missing": [404, True], "aborted": "AbortError", "after": "hello again"})


if __name__ == "__main__":
    unittest.main()
