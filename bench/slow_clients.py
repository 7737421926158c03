#!/usr/bin/python3
"""What slow clients cost the others: latency of good requests, without and with 2,000 clients of each slow kind.

Slow heads and slow bodies come byte by byte, slow readers take an answer of 1 MiB in small pieces. The good clients ask at a fixed
pace over a few connections; their 99th percentile with everybody there should be at most twice what it is alone. The server has
core 0, all clients have core 1, the slow ones with the lowest priority.
"""

import argparse
import json
import os
import socket
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
os.environ.setdefault("CATENET_BUILD", str(Path(__file__).absolute().parents[1]))  # build/release/bench/… is a link to this file
sys.path[:0] = [str(ROOT / "bench/support"), str(ROOT / "tests/support")]

from example_program import Server  # noqa: E402
from slow_clients import Crowd  # noqa: E402

SERVER_CORE, LOAD_CORE = 0, 1
CONNECTIONS = 16
REQUEST = b"GET / HTTP/1.1\r\nHost: good\r\n\r\n"
ANSWER_END = b"Hello, World!"


def pin(pid):
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {SERVER_CORE % os.cpu_count()})


def ask(connection):
    """Seconds from request to answer."""
    began = time.perf_counter()
    connection.sendall(REQUEST)
    answer = b""
    while not answer.endswith(ANSWER_END):
        part = connection.recv(4096)
        if not part:
            raise RuntimeError(f"the server ended a good client's connection behind {answer!r}")
        answer += part
    return time.perf_counter() - began


def latencies(port, seconds, rate):
    """Of good requests, in microseconds, sorted."""
    connections = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(CONNECTIONS)]
    taken, began = [], time.monotonic()
    for number in range(int(seconds * rate)):
        pause = began + number / rate - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        taken.append(ask(connections[number % CONNECTIONS]) * 1e6)
    for one in connections:
        one.close()
    return sorted(taken)


def row(name, taken, cut):
    return {"clients": name, "requests": len(taken), "p50_us": round(statistics.median(taken), 1),
            "p99_us": round(taken[len(taken) * 99 // 100], 1), "max_us": round(taken[-1], 1), "cut": cut}


def measure(port, options):
    each = options.each
    crowds = [("alone", {}), (f"{each} slow heads", {"head": each}), (f"{each} slow bodies", {"body": each}),
              (f"{each} slow readers", {"reader": each}), ("all of them", {"head": each, "body": each, "reader": each}),
              ("alone again", {})]
    rows = []
    for name, counts in crowds:
        with Crowd(port, counts, LOAD_CORE % os.cpu_count(), niceness=19) as crowd:
            time.sleep(options.settle)
            taken = latencies(port, options.seconds, options.rate)
            rows.append(row(name, taken, sum(crowd.cut(kind) for kind in counts)))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=2000, help="slow clients of each kind (2000)")
    parser.add_argument("--seconds", type=float, default=15, help="length of one measurement (15: slow heads are cut at 10)")
    parser.add_argument("--settle", type=float, default=1, help="seconds before it (1)")
    parser.add_argument("--rate", type=int, default=1000, help="good requests a second (1000)")
    parser.add_argument("--io", default="auto", help="the server's back end: uring, epoll or auto")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    os.sched_setaffinity(0, {LOAD_CORE % os.cpu_count()})
    with Server("http_server", "--cores", "1", "--io", options.io) as server:
        pin(server.process.pid)
        latencies(server.port, 1, options.rate)  # caches
        rows = measure(server.port, options)
    alone = (rows[0]["p99_us"] + rows[-1]["p99_us"]) / 2
    for one in rows:
        one["x_alone"] = round(one["p99_us"] / alone, 2)
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    print(f"{'slow clients':<20} {'requests':>9} {'p50 µs':>9} {'p99 µs':>9} {'max µs':>10} {'x alone':>8} {'cut off':>8}")
    for one in rows:
        print(f"{one['clients']:<20} {one['requests']:>9} {one['p50_us']:>9} {one['p99_us']:>9} {one['max_us']:>10} "
              f"{one['x_alone']:>8} {one['cut']:>8}")
    print("\nOf good requests; x alone: their p99 against that without slow clients. cut off: slow clients whose deadline passed.")


if __name__ == "__main__":
    main()
