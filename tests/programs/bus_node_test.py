#!/usr/bin/python3
"""bus_node as a user runs it: three processes, one of them slow; what is lost, dropped and kept adds up."""

import json
import os
import queue
import signal
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

    def test_help_and_bad_arguments_are_told(self):
        done = subprocess.run([PROGRAM, "--help"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0)
        self.assertIn("--budget", done.stdout)
        done = subprocess.run([PROGRAM, "--to", "nowhere"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("no port", done.stderr)
        done = subprocess.run([PROGRAM, "--when-full", "explode"], capture_output=True, text=True)
        self.assertNotEqual(done.returncode, 0)


if __name__ == "__main__":
    unittest.main()
