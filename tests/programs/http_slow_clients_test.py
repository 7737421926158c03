"""http_server among 6,000 slow clients: good ones are served, deadlines end the slow ones, and what they held comes back.

How long the good ones take is bench/slow_clients.py's business, not a test's.
"""

import http.client
import json
import resource
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench/support"))

from example_program import Server, eventually  # noqa: E402
from slow_clients import Crowd  # noqa: E402

WANTED_EACH = 2000
MIB = 1 << 20


def each():
    """As many of each kind as the descriptors on both sides allow."""
    return min(WANTED_EACH, (resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 200) // 3)


class SlowClients(unittest.TestCase):
    def setUp(self):
        self.server = self.enterContext(Server("http_server"))
        self.good = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        self.addCleanup(self.good.close)

    def ask(self, method, path, body=None):
        """Over one connection that stays: a good client is not to be cut off."""
        self.good.request(method, path, body)
        answer = self.good.getresponse()
        return answer.status, answer.read()

    def stats(self):
        return json.loads(self.ask("GET", "/stats")[1])

    def rented(self):
        return sum(one["rented"] * one["size"] for one in self.stats()["classes"])

    def test_good_clients_among_them(self):
        before = self.rented()
        counts = {"head": each(), "body": each(), "reader": each()}
        total = sum(counts.values())
        with Crowd(self.server.port, counts) as crowd:
            # Not all at one time: on a busy machine the first may be cut off before the last has come.
            eventually(lambda: self.stats()["accepted"] >= total)
            # A head that has begun holds a block of 512 bytes, a body that is waited for that of its head, 4 KiB; an answer
            # that nobody reads holds none, once what came in one burst has been looked at.
            eventually(lambda: self.rented() - before < each() * (512 + 4096) + MIB)
            body = bytes(range(256)) * 4096
            served = 0
            end = time.monotonic() + 150
            while min(crowd.cut("head"), crowd.cut("body")) < each() and time.monotonic() < end:  # after 10 s and after 5 s
                self.assertEqual(self.ask("GET", "/"), (200, b"Hello, World!"))
                self.assertEqual(self.ask("GET", "/bytes/100000"), (200, b"x" * 100000))
                self.assertEqual(self.ask("POST", "/sink", body), (200, b"%d" % MIB))
                self.assertEqual(self.ask("POST", "/echo", body[:16384]), (200, body[:16384]))  # it sends all before it reads
                served += 1
                time.sleep(0.02)
            for kind in ("head", "body"):
                self.assertGreaterEqual(crowd.cut(kind), each(), f"no deadline ended the slow ones: {kind}")
            self.assertTrue(crowd.alive(), "the crowd could not come back")
            self.assertGreater(served, 10)
            print(f"{total} slow clients, {crowd.cut('head')} heads and {crowd.cut('body')} bodies cut off, "
                  f"{served} rounds of good requests")
        eventually(lambda: self.stats()["connections"] <= 2)
        eventually(lambda: self.rented() <= before + 64 * 1024)


if __name__ == "__main__":
    unittest.main()
