#!/usr/bin/python3
"""Relays side by side: ours in each mode, haproxy (splice) and haproxy without splice, in turns, in one run.

What counts is the relay's processor time a GB. The relay runs on core 0; source and reader are threads of this program on core 1.
A source sends answers of one size, each asked for by one byte, through a few connections at a time. Absolute figures drift with
the machine; the ratios within one run are what to look at. Nothing is built here, and only 127.0.0.1 is dialled.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path

BUILD = Path(__file__).absolute().parent.parent  # bench/ of the build, where this script is linked to
RELAY = BUILD / "examples" / "relay"

HAPROXY = """
global
  nbthread 1
  maxconn 2000
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
{options}
listen relay
  bind 127.0.0.1:{port}
  server source 127.0.0.1:{to}
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Source:
    """Answers each byte with one answer of a fixed size, from a file, by sendfile."""

    def __init__(self, size):
        self.file = tempfile.TemporaryFile()
        self.file.write(os.urandom(1 << 16) * (size // (1 << 16)) + b"z" * (size % (1 << 16)))
        self.file.flush()
        self.size = size
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
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
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection:
            try:
                while connection.recv(1):
                    at = 0
                    while at < self.size:
                        at += os.sendfile(connection.fileno(), self.file.fileno(), at, self.size - at)
            except OSError:
                pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def start(name, to, home):
    """A relay of that name: its process and its port."""
    if name.startswith("haproxy"):
        port = free_port()
        config = Path(home) / f"{name}.cfg"
        options = "  option splice-auto\n  option splice-request\n  option splice-response" if name == "haproxy splice" else ""
        config.write_text(HAPROXY.format(port=port, to=to, options=options))
        command = ["haproxy", "-db", "-f", str(config)]
    else:
        port = free_port()
        command = [str(RELAY), "--listen", f"127.0.0.1:{port}", "--to", f"127.0.0.1:{to}", "--mode", name.split()[1]]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               preexec_fn=lambda: os.sched_setaffinity(0, {0}))
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return process, port
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"{name} does not listen")


def cpu_ns(pid):
    return sum(int(p.read_text().split()[0]) for p in Path(f"/proc/{pid}/task").glob("*/schedstat"))


def read_through(port, size, count, latencies):
    buffer = bytearray(1 << 17)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as c:
        c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(count):
            began = time.perf_counter()
            c.sendall(b"?")
            left = size
            while left:
                got = c.recv_into(buffer, min(left, len(buffer)))
                if got == 0:
                    raise RuntimeError("the relay ended early")
                left -= got
            latencies.append(time.perf_counter() - began)


def measure(name, size, bytes_total, connections, home):
    source = Source(size)
    process, port = start(name, source.port, home)
    try:
        count = max(1, bytes_total // size // connections)
        latencies = []
        read_through(port, size, 2, [])
        cpu, began = cpu_ns(process.pid), time.perf_counter()
        threads = [threading.Thread(target=read_through, args=(port, size, count, latencies)) for _ in range(connections)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        took, cpu = time.perf_counter() - began, cpu_ns(process.pid) - cpu
        moved = len(latencies) * size
        latencies.sort()
        return {"cpu_s_per_gb": cpu / moved, "gb_per_s": moved / took / 1e9, "cpu_us_per_answer": cpu / 1e3 / len(latencies),
                "p50_us": latencies[len(latencies) // 2] * 1e6, "p99_us": latencies[len(latencies) * 99 // 100] * 1e6}
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        source.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", default="1024,16384,65536,1048576,16777216", help="bytes of an answer, comma separated")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mib", type=int, default=256, help="moved in each measurement, for large sizes")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    names = ["catenet auto", "catenet splice", "catenet copy"]
    names += ["haproxy splice", "haproxy copy"] if shutil.which("haproxy") else []
    os.sched_setaffinity(0, {min(1, os.cpu_count() - 1)})
    found = {}
    print(f"load before: {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as home:
        for size in map(int, options.sizes.split(",")):
            total = min(options.mib << 20, size * 4000)
            runs = {name: [] for name in names}
            for number in range(options.rounds):
                for name in names if number % 2 == 0 else names[::-1]:
                    runs[name].append(measure(name, size, total, options.connections, home))
            found[size] = {n: {k: statistics.median(r[k] for r in rs) for k in rs[0]} for n, rs in runs.items()}
            print(f"\n{size} bytes an answer; medians of {options.rounds}")
            print(f"{'':16}{'CPU s/GB':>10}{'CPU us/answer':>15}{'GB/s':>8}{'p50 us':>10}{'p99 us':>10}")
            for name, m in found[size].items():
                print(f"{name:16}{m['cpu_s_per_gb']:>10.3f}{m['cpu_us_per_answer']:>15.2f}{m['gb_per_s']:>8.2f}"
                      f"{m['p50_us']:>10.0f}{m['p99_us']:>10.0f}")
    print(f"\nload after: {os.getloadavg()[0]:.1f}")
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
