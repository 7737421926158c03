#!/usr/bin/python3
"""pipe_merge as a user runs it: frames of several inputs to one output, whole, in order, fair, whatever the inputs do."""

import hashlib
import os
import random
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import unittest
from pathlib import Path

PROGRAM = Path(os.environ["CATENET_BUILD"]) / "examples" / "pipe_merge"
MAGIC = bytes.fromhex("ab43c146")
BACKENDS = ("uring", "epoll")


def frame(payload):
    return MAGIC + struct.pack(">I", len(payload)) + payload


def payload(source, number, size):
    """Tells who sent it and as which; checked at the other end."""
    head = struct.pack(">II", source, number)
    return (head + random.Random(source * 1_000_003 + number).randbytes(max(0, size - 8)))[:max(size, 8)]


def split(stream):
    """The payloads of a stream of frames; fails when anything but whole frames is in it."""
    found, at = [], 0
    while at != len(stream):
        assert stream[at:at + 4] == MAGIC, f"no frame at byte {at} of {len(stream)}"
        (size,) = struct.unpack(">I", stream[at + 4:at + 8])
        assert at + 8 + size <= len(stream), f"half a frame at byte {at}"
        found.append(stream[at + 8:at + 8 + size])
        at += 8 + size
    return found


class Merge:
    """pipe_merge with FIFOs in a folder of its own; writers open them."""

    def __init__(self, inputs, *options, output=subprocess.PIPE, stdin=None):
        self.folder = tempfile.TemporaryDirectory()
        self.paths = [os.path.join(self.folder.name, f"in{i}") for i in range(inputs)]
        for path in self.paths:
            os.mkfifo(path)
        names = self.paths + (["-"] if stdin is not None else [])
        self.process = subprocess.Popen([PROGRAM, "--stats", *options, *names], stdout=output,
                                        stderr=subprocess.PIPE, stdin=stdin)
        self.writers = []

    def open(self, index):
        return os.open(self.paths[index], os.O_WRONLY)

    def write(self, index, data):
        """In a thread: opens the FIFO, writes all of it, closes."""
        def run():
            fd = self.open(index)
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(fd, view):]
            except BrokenPipeError:
                pass
            finally:
                os.close(fd)
        self.writers.append(threading.Thread(target=run, daemon=True))
        self.writers[-1].start()

    def end(self, timeout=60):
        out, err = self.process.communicate(timeout=timeout)
        for writer in self.writers:
            writer.join(timeout=10)
        self.folder.cleanup()
        return self.process.returncode, out or b"", err.decode()


class PipeMerge(unittest.TestCase):
    def check(self, got, expected):
        """Every frame of every source, each once, in the order of its source."""
        by_source = {}
        for one in split(got):
            source, number = struct.unpack(">II", one[:8])
            by_source.setdefault(source, []).append((number, hashlib.sha256(one).digest()))
        for source, sizes in expected.items():
            want = [(n, hashlib.sha256(payload(source, n, size)).digest()) for n, size in enumerate(sizes)]
            self.assertEqual(by_source.get(source, []), want, f"source {source}")
        self.assertEqual(set(by_source) - set(expected), set())

    def test_sizes(self):
        """One size at a time: below and above what is spliced, and longer than any pipe."""
        for backend in BACKENDS:
            for size, count in ((8, 3000), (200, 2000), (4096, 300), (32760, 60), (40000, 60), (200_000, 20), (3_000_000, 3)):
                with self.subTest(backend=backend, size=size):
                    merge = Merge(3, "--io", backend)
                    sizes = [size] * count
                    for i in range(3):
                        merge.write(i, b"".join(frame(payload(i, n, s)) for n, s in enumerate(sizes)))
                    status, out, err = merge.end()
                    self.assertEqual(status, 0, err)
                    self.check(out, {i: sizes for i in range(3)})

    def test_mixed_sizes_and_pieces(self):
        rng = random.Random(7)
        merge = Merge(4)
        expected = {i: [rng.choice((8, 9, 100, 5000, 31000, 33000, 70000, 500_000)) for _ in range(60)] for i in range(4)}

        def trickle(index):
            fd = merge.open(index)
            data = b"".join(frame(payload(index, n, s)) for n, s in enumerate(expected[index]))
            mine = random.Random(index)
            while data:
                part = mine.choice((1, 3, 7, 100, 5000, 60000, 300000))
                part = os.write(fd, data[:part])
                data = data[part:]
            os.close(fd)
        threads = [threading.Thread(target=trickle, args=(i,)) for i in range(4)]
        for t in threads:
            t.start()
        status, out, err = merge.end()
        for t in threads:
            t.join()
        self.assertEqual(status, 0, err)
        self.check(out, expected)

    def test_large_frames_are_spliced_small_ones_copied(self):
        for size, copied in ((100_000, False), (500, True)):
            merge = Merge(1)
            merge.write(0, b"".join(frame(payload(0, n, size)) for n in range(50)))
            status, out, err = merge.end()
            self.assertEqual(status, 0, err)
            self.check(out, {0: [size] * 50})
            line = next(l for l in err.splitlines() if l.startswith("out:"))
            spliced = int(line.split("copied, ")[1].split()[0])
            if copied:
                self.assertEqual(spliced, 0, line)
            else:
                self.assertGreater(spliced, 40 * size, line)

    def test_slots_of_a_pipe_run_out_before_its_bytes(self):
        """A writer that splices small pieces fills a pipe's slots long before its frame is complete."""
        merge = Merge(1, "--splice-min", "1000")
        size = 60_000
        data = frame(payload(0, 0, size))
        fd = merge.open(0)
        aside = os.pipe()
        at = 0
        while at < len(data):
            part = os.write(aside[1], data[at:at + 100])
            moved = 0
            while moved < part:
                moved += os.splice(aside[0], fd, part - moved)
            at += part
        for one in (fd, *aside):
            os.close(one)
        status, out, err = merge.end()
        self.assertEqual(status, 0, err)
        self.check(out, {0: [size]})

    def test_garbage_at_every_offset(self):
        """Ten bytes of garbage put in anywhere: what comes out is whole frames, a prefix of what was sent, and the input is
        named as evicted. (Inside a payload the garbage is payload; then the next header is what is bad.)"""
        frames = [frame(payload(0, n, 30)) for n in range(3)]
        good = b"".join(frames)
        for at in range(0, len(good), 1):
            spoiled = good[:at] + b"\xff" * 10 + good[at:]
            merge = Merge(1)
            merge.write(0, spoiled)
            status, out, err = merge.end()
            self.assertEqual(status, 3, (at, err))
            whole = split(out)
            first_bad = at // len(frames[0])
            self.assertEqual(whole[:first_bad], [f[8:] for f in frames[:first_bad]])
            self.assertLessEqual(len(whole), first_bad + 1)
            self.assertIn("evicted", err)

    def test_an_evicted_source_leaves_the_others_alone(self):
        cases = {
            "bad magic": b"GARBAGE!" * 10,
            "oversize": MAGIC + struct.pack(">I", 2_000_000) + b"x" * 5000,
            "end in the middle": frame(b"y" * 50_000)[:-1],
            "end in a header": MAGIC + b"\0",
        }
        for name, bad in cases.items():
            with self.subTest(name):
                merge = Merge(2, "--max-frame", "1000000")
                sizes = [60_000, 20, 3000] * 20
                merge.write(0, b"".join(frame(payload(0, n, s)) for n, s in enumerate(sizes)))
                merge.write(1, bad)
                status, out, err = merge.end()
                self.assertEqual(status, 3, err)
                self.check(out, {0: sizes})
                self.assertIn("in1", err)

    def test_deadline_and_rate(self):
        for option, why in ((("--deadline-ms", "300"), "longer than 300 ms"), (("--min-rate", "1000"), "bytes/s")):
            for start in (frame(b"z" * 40)[:20], frame(b"z" * 100_000)[:90_000] if option[0] == "--deadline-ms" else b"\xab"):
                with self.subTest(option=option, start=len(start)):
                    merge = Merge(2, *option)
                    slow = merge.open(0)
                    os.write(slow, start)
                    merge.write(1, b"".join(frame(payload(1, n, 100)) for n in range(10)))
                    status, out, err = merge.end(timeout=10)
                    os.close(slow)
                    self.assertEqual(status, 3, err)
                    self.assertIn(why, err)
                    self.check(out, {1: [100] * 10})

    def test_a_full_output_is_not_charged_to_the_inputs(self):
        reader, writer = os.pipe()
        merge = Merge(1, "--deadline-ms", "300", output=writer)
        os.close(writer)
        sizes = [50_000] * 40
        merge.write(0, b"".join(frame(payload(0, n, s)) for n, s in enumerate(sizes)))
        time.sleep(1)  # longer than the deadline
        out = b""
        while part := os.read(reader, 65536):
            out += part
        os.close(reader)
        status, _, err = merge.end()
        self.assertEqual(status, 0, err)
        self.check(out, {0: sizes})

    def test_weights(self):
        """Three sources that always have something: shares of the output, while all of them send, within 5 %."""
        for size in (500, 5_000, 33_000):
            with self.subTest(size=size):
                reader, writer = os.pipe()
                merge = Merge(3, "--weights", "1,2,5", output=writer)
                os.close(writer)
                total = 12_000_000
                for i in range(3):
                    merge.write(i, b"".join(frame(payload(i, n, size)) for n in range(total // size)))
                time.sleep(0.3)  # until each has filled its pipe
                out = bytearray()
                # The output must be the narrow place, also on a machine that is busy: the writers have time to refill
                # their pipes, and everything is read before the first of them has nothing left.
                while len(out) < 8_000_000:
                    out += os.read(reader, 1 << 16)
                    time.sleep(0.012)
                at, sums, settled = 0, [0, 0, 0], 2_000_000
                while at + 16 <= len(out):
                    (length,) = struct.unpack(">I", out[at + 4:at + 8])
                    (source,) = struct.unpack(">I", out[at + 8:at + 12])
                    if at >= settled:
                        sums[source] += length
                    at += 8 + length
                merge.process.kill()
                os.close(reader)
                merge.end()
                for source, weight in enumerate((1, 2, 5)):
                    share = sums[source] / sum(sums)
                    self.assertAlmostEqual(share, weight / 8, delta=0.05 * weight / 8, msg=str(sums))

    def test_idle_costs_nothing(self):
        merge = Merge(2)
        fds = [merge.open(0), merge.open(1)]
        os.write(fds[0], frame(b"hello"))
        os.write(fds[1], frame(b"x" * 70_000)[:1000])  # and one that is not complete
        time.sleep(0.5)

        def spent():
            return sum(int(p.read_text().split()[0]) for p in Path(f"/proc/{merge.process.pid}/task").glob("*/schedstat"))
        before = spent()
        time.sleep(2)
        self.assertLess(spent() - before, 1_000_000, "nanoseconds of CPU in 2 s of nothing")
        for fd in fds:
            os.close(fd)
        status, _, _ = merge.end()
        self.assertEqual(status, 3)

    def test_sockets_standard_input_and_files(self):
        with tempfile.TemporaryDirectory() as folder:
            where = os.path.join(folder, "s")
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(where)
            listener.listen(1)
            sizes = [10, 70_000, 500] * 10

            def serve():
                connection, _ = listener.accept()
                connection.sendall(b"".join(frame(payload(1, n, s)) for n, s in enumerate(sizes)))
                connection.close()
            thread = threading.Thread(target=serve)
            thread.start()
            stored = os.path.join(folder, "f")
            Path(stored).write_bytes(b"".join(frame(payload(2, n, s)) for n, s in enumerate(sizes)))
            target = os.path.join(folder, "out")
            with open(target, "ab") as out:  # appending: splice refuses that
                process = subprocess.Popen([PROGRAM, where, stored, "-"], stdin=subprocess.PIPE, stdout=out,
                                           stderr=subprocess.PIPE)
                _, err = process.communicate(b"".join(frame(payload(0, n, s)) for n, s in enumerate(sizes)), timeout=30)
            thread.join()
            listener.close()
            self.assertEqual(process.returncode, 0, err)
            self.check(Path(target).read_bytes(), {i: sizes for i in range(3)})

    def test_the_reader_goes(self):
        reader, writer = os.pipe()
        merge = Merge(1, output=writer)
        os.close(writer)
        os.close(reader)
        merge.write(0, frame(b"x" * 1000) * 10)
        status, _, err = merge.end(timeout=10)
        self.assertEqual(status, 1, err)
        self.assertIn("EPIPE", err)

    def test_told_to_stop(self):
        merge = Merge(1)
        fd = merge.open(0)
        merge.process.send_signal(signal.SIGTERM)
        status, _, err = merge.end(timeout=10)
        os.close(fd)
        self.assertEqual(status, 1)
        self.assertIn("ECANCELED", err)
        self.assertIn("out: 0 bytes", err)

    def test_told_to_stop_in_the_middle_of_a_frame(self):
        reader, writer = os.pipe()
        merge = Merge(1, output=writer)
        os.close(writer)
        merge.write(0, b"".join(frame(payload(0, n, 3_000_000)) for n in range(3)))
        out = os.read(reader, 1000)
        merge.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        while part := os.read(reader, 65536):
            out += part
        os.close(reader)
        status, _, err = merge.end(timeout=10)
        self.assertEqual(status, 1, err)
        self.check(out, {0: [3_000_000]})

    def test_more_unfinished_frames_than_fit_at_first(self):
        """Twenty inputs with 14 of 16 MiB each, and a short frame that must not wait for them; then all complete."""
        for backend in BACKENDS:
            with self.subTest(backend=backend):
                merge = Merge(21, "--io", backend)
                size, part = 16 << 20, 14 << 20
                start = MAGIC + struct.pack(">I", size)
                body = b"a" * size
                fds = [merge.open(i) for i in range(21)]
                for fd in fds[:20]:
                    view = memoryview(start + body[:part])
                    while view:
                        view = view[os.write(fd, view):]
                os.write(fds[20], frame(payload(20, 0, 15)))
                out = bytearray(os.read(merge.process.stdout.fileno(), 100))
                self.assertEqual(out, frame(payload(20, 0, 15)))
                for fd in fds[:20]:
                    threading.Thread(target=lambda fd=fd: (self.write_all(fd, body[part:]), os.close(fd)), daemon=True).start()
                os.close(fds[20])
                status, rest, err = merge.end()
                self.assertEqual(status, 0, err)
                self.assertEqual(len(rest), 20 * (8 + size))
                split(rest)

    def write_all(self, fd, data):
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view):]

    def test_a_frame_longer_than_the_usual_slab(self):
        with tempfile.TemporaryDirectory() as folder:
            stored = os.path.join(folder, "f")
            with open(stored, "wb") as f:
                f.write(MAGIC + struct.pack(">I", 300_000_000))
                f.truncate(8 + 300_000_000)
            process = subprocess.Popen([PROGRAM, "--max-frame", "400000000", stored], stdout=subprocess.PIPE)
            got = 0
            while part := process.stdout.read1(1 << 20):
                got += len(part)
            process.stdout.close()
            self.assertEqual(process.wait(60), 0)
            self.assertEqual(got, 8 + 300_000_000)

    def test_a_drip_is_slow_too(self):
        merge = Merge(1, "--min-rate", "1000")
        fd = merge.open(0)
        os.write(fd, frame(b"z" * 100_000)[:8])
        with self.assertRaises(BrokenPipeError):
            end = time.monotonic() + 20
            while time.monotonic() < end:
                os.write(fd, b"z" * 10)
                time.sleep(0.05)
        os.close(fd)
        status, out, err = merge.end()
        self.assertEqual((status, out), (3, b""), err)
        self.assertIn("bytes/s", err)

    def test_evicted_at_once(self):
        """The writer of an evicted input gets EPIPE, and the reason is told, while the others go on."""
        merge = Merge(2)
        bad, good = merge.open(0), merge.open(1)
        os.write(bad, b"GARBAGE!")
        self.assertIn(b"in0: evicted", merge.process.stderr.readline())
        with self.assertRaises(BrokenPipeError):
            os.write(bad, b"more")
        os.write(good, frame(payload(1, 0, 100)))
        os.close(bad)
        os.close(good)
        status, out, err = merge.end()
        self.assertEqual(status, 3, err)
        self.check(out, {1: [100]})

    def test_progress(self):
        merge = Merge(1)
        fd = merge.open(0)
        os.write(fd, frame(b"x" * 100))
        self.assertEqual(merge.process.stderr.readline(), b"progress: 1 frames, 108 bytes, 1 of 1 inputs open, output full 0 times\n")
        os.close(fd)
        merge.end()

    def test_standard_streams(self):
        with tempfile.TemporaryDirectory() as folder:
            stored = os.path.join(folder, "f")
            Path(stored).write_bytes(frame(payload(0, 0, 100)))

            def run(arguments, closed=(), **more):
                return subprocess.run([PROGRAM, *arguments], capture_output=True, timeout=20,
                                      preexec_fn=lambda: [os.close(fd) for fd in closed], **more)
            done = run(["-"], closed=(0,))
            self.assertEqual(done.returncode, 1)
            self.assertIn(b"standard input: EBADF", done.stderr)
            done = run([stored], closed=(1,))
            self.assertEqual(done.returncode, 1)
            self.assertIn(b"standard output: EBADF", done.stderr)
            done = run([stored], closed=(0, 2))
            self.assertEqual(done.returncode, 0)
            self.check(done.stdout, {0: [100]})
            done = run(["-", stored, "-"], stdin=subprocess.DEVNULL)
            self.assertEqual(done.returncode, 1)
            self.assertIn(b"only once", done.stderr)

    def test_a_terminal_holds_up_nobody(self):
        ours, terminal = os.openpty()
        merge = Merge(1, stdin=terminal)
        fd = merge.open(0)
        os.write(fd, frame(payload(0, 0, 100)))
        self.assertEqual(os.read(merge.process.stdout.fileno(), 1000), frame(payload(0, 0, 100)))
        merge.process.send_signal(signal.SIGTERM)
        status, _, err = merge.end(timeout=10)
        self.assertEqual(status, 1, err)
        for one in (fd, ours, terminal):
            os.close(one)

    def test_a_read_that_fails_is_no_end(self):
        done = subprocess.run([PROGRAM, "/tmp"], capture_output=True, timeout=20)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"EISDIR", done.stderr)
        listener = socket.create_server(("127.0.0.1", 0))
        peer = socket.create_connection(listener.getsockname())
        taken, _ = listener.accept()
        process = subprocess.Popen([PROGRAM, "-"], stdin=taken, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        peer.sendall(frame(payload(0, 0, 100)))
        out = process.stdout.read(108)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        _, err = process.communicate(timeout=20)
        for one in (taken, listener):
            one.close()
        self.check(out, {0: [100]})
        self.assertEqual(process.returncode, 3)
        self.assertIn(b"ECONNRESET", err)

    def test_half_a_header_is_never_put_out(self):
        for backend in BACKENDS:
            merge = Merge(2, "--io", backend, "--splice-min", "0")
            first, second = merge.open(0), merge.open(1)
            one, other = frame(payload(0, 0, 40)), frame(payload(1, 0, 40))
            os.write(first, one[:3])
            time.sleep(0.1)
            os.write(second, other)
            self.assertEqual(os.read(merge.process.stdout.fileno(), 1000), other)
            os.write(first, one[3:])
            os.close(first)
            os.close(second)
            status, out, err = merge.end()
            self.assertEqual((status, out), (0, one), err)

    def test_bad_arguments_are_told(self):
        for arguments, why in ((("--weights", "1,2", "/dev/null"), "2 values for 1 inputs"),
                               (("--weights", "0", "/dev/null"), "0 not in range"),
                               (("--max-frame", "-1", "/dev/null"), "not in range"),
                               (("--deadline-ms", "-1", "/dev/null"), "not in range"),
                               (("--io", "bogus", "/dev/null"), "bogus not in {auto,epoll,uring}")):
            done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=20)
            self.assertNotEqual(done.returncode, 0, arguments)
            self.assertIn(why, done.stderr)


if __name__ == "__main__":
    unittest.main()
