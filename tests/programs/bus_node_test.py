#!/usr/bin/python3
"""bus_node as a user runs it: three processes, one of them slow; what is lost, dropped and kept adds up."""

import json
import os
import queue
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import unittest
from pathlib import Path

PROGRAM = Path(os.environ["CATENET_BUILD"]) / "examples" / "bus_node"
PATIENCE_S = 60


class Node:
    def __init__(self, name, *options, listen="127.0.0.1:0"):
        self.process = subprocess.Popen([PROGRAM, "--name", name, "--listen", listen, *options],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        self.at = self.wait_for("catenet: listening on ").rsplit(" ", 1)[1]

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))

    def wait_for(self, start):
        seen = []
        while True:
            try:
                line = self.lines.get(timeout=PATIENCE_S)
            except queue.Empty:
                self.process.kill()
                raise AssertionError(f"waited for {start!r}, saw {seen}") from None
            if line.startswith(start):
                return line
            seen.append(line)

    def stop(self):
        """SIGTERM; the counters that it prints."""
        self.process.send_signal(signal.SIGTERM)
        counters = json.loads(self.wait_for("{"))
        err = self.process.stderr.read()
        assert self.process.wait(PATIENCE_S) == 0, err
        self.reader.join()
        self.process.stdout.close()
        self.process.stderr.close()
        return counters


def total(counters, what):
    return sum(link[what] for link in counters["links"])


class BusNodeTest(unittest.TestCase):
    def three(self, policy, backend, budget, count, listen="127.0.0.1:0"):
        """A hub that sends to a fast node and to a slow one, which both answer; the counters of all."""
        options = ("--when-full", policy, "--budget", str(budget), "--io", backend, "--bytes", "1000")
        hub = Node("hub", "--send", str(count), *options, "--drain-ms", "30000", listen=listen)
        fast = Node("fast", "--to", hub.at, "--send", "500", *options)
        slow = Node("slow", "--to", hub.at, "--send", "100", "--slow-ms", "1", *options)
        for sender, times in ((fast, 1), (slow, 1), (hub, 2)):
            for _ in range(times):
                sender.wait_for("catenet: all sent")
        told = {"hub": hub.stop()}
        for node in (fast, slow):
            node.wait_for("catenet: link down")
        told["fast"], told["slow"] = fast.stop(), slow.stop()
        return told

    def check(self, told, count, budget):
        for name, t in told.items():
            self.assertEqual(total(t, "lost") + total(t, "unsent"), 0, told)
            self.assertEqual(total(t, "offered"), total(t, "sent") + total(t, "dropped"), told)
            for link in t["links"]:
                self.assertLessEqual(link["unsent_bytes_max"], budget, told)
            for source in t["from"].values():
                self.assertEqual(source["repeated"], 0, told)
        hub = told["hub"]
        self.assertEqual(total(hub, "offered"), 2 * count, told)
        came = {name: told[name]["from"]["hub"] for name in ("fast", "slow")}
        self.assertEqual(sum(c["received"] for c in came.values()), total(hub, "sent"), told)
        # Each gap is a message that the hub counted as dropped; those dropped behind the last that came leave none.
        self.assertLessEqual(sum(c["missing"] for c in came.values()), total(hub, "dropped"), told)
        self.assertEqual(hub["from"]["fast"]["received"], 500, told)
        self.assertEqual(hub["from"]["slow"]["received"], 100, told)

    def test_nothing_is_lost_while_senders_wait_for_room(self):
        for backend in ("uring", "epoll"):
            with self.subTest(backend=backend):
                told = self.three("refuse", backend, 100_000, 2000)
                self.check(told, 2000, 100_000)
                self.assertEqual(total(told["hub"], "dropped"), 0)
                self.assertEqual(told["slow"]["from"]["hub"]["missing"], 0)

    def test_over_a_unix_socket(self):
        with tempfile.TemporaryDirectory() as folder:
            told = self.three("refuse", "auto", 100_000, 500, listen=f"unix:{folder}/hub")
            self.check(told, 500, 100_000)

    def test_what_a_slow_one_cannot_take_is_dropped_and_counted(self):
        for policy in ("drop-newest", "drop-oldest"):
            with self.subTest(policy=policy):
                # More than the kernel holds for a node that takes one message a millisecond.
                told = self.three(policy, "auto", 1_000_000, 15_000)
                self.check(told, 15_000, 1_000_000)
                self.assertGreater(total(told["hub"], "dropped"), 0, told)

    def test_a_node_that_is_away_is_dialled_again(self):
        hub = Node("hub")
        at = hub.at
        node = Node("node", "--to", at, "--send", "10")
        node.wait_for("catenet: all sent")
        self.assertEqual(hub.stop()["from"]["node"]["received"], 10)
        node.wait_for("catenet: link down")
        hub = Node("hub", listen=at)
        node.wait_for("catenet: link up")
        node_told, hub_told = node.stop(), hub.stop()
        self.assertEqual(node_told["links"][0]["connects"], 2)
        self.assertEqual(len(hub_told["links"]), 1)

    def test_links_that_ended_are_forgotten(self):
        hub = Node("hub")
        host, port = hub.at.rsplit(":", 1)

        def resident_kb():
            status = Path(f"/proc/{hub.process.pid}/status").read_text()
            return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])

        def come_and_go(times):
            for _ in range(times):
                with socket.create_connection((host, int(port))) as c:
                    c.sendall(struct.pack(">I", 7) + b"guest 0")
                hub.wait_for("catenet: link ended")
        come_and_go(500)
        before = resident_kb()
        come_and_go(2000)
        self.assertLess(resident_kb() - before, 1500, "kB for 2000 links that came and went")
        told = hub.stop()
        self.assertEqual(len(told["links"]), 64)
        self.assertEqual(told["earlier"]["links"], 2500 - 64)
        self.assertEqual(told["earlier"]["received"] + total(told, "received"), 2500)
        self.assertEqual(told["from"]["guest"]["received"], 2500)

    def test_names_of_others_are_checked(self):
        hub = Node("hub")
        host, port = hub.at.rsplit(":", 1)
        with socket.create_connection((host, int(port))) as c:
            for text in (b'a"b\\ 0 ', b"\xff 0", b" 0", b"n" * 65 + b" 0", b"good 0", b"no-number x", b"alone"):
                c.sendall(struct.pack(">I", len(text)) + text)
            for i in range(300):
                text = b"name%d 0" % i
                c.sendall(struct.pack(">I", len(text)) + text)
        hub.wait_for("catenet: link ended")
        told = hub.stop()
        self.assertEqual(len(told["from"]), 256)
        self.assertIn("good", told["from"])
        self.assertEqual(told["unknown"], 6 + 300 - 255)

    def test_help_and_bad_arguments_are_told(self):
        done = subprocess.run([PROGRAM, "--help"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0)
        self.assertIn("--budget", done.stdout)
        done = subprocess.run([PROGRAM, "--to", "nowhere"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("no port", done.stderr)
        done = subprocess.run([PROGRAM, "--when-full", "explode"], capture_output=True, text=True)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("explode not in {drop-newest,drop-oldest,refuse}", done.stderr)
        done = subprocess.run([PROGRAM, "--io-without", "bogus"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr.count("bogus"), 1, done.stderr)
        done = subprocess.run([PROGRAM, "--listen", "unix:/tmp"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr.count("EADDRINUSE"), 1, done.stderr)
        self.assertIn("no socket", done.stderr)


if __name__ == "__main__":
    unittest.main()
