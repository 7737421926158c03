#!/usr/bin/python3
"""HTTP load, side by side: our http_server, the bare io_uring responder and nginx, with wrk, in one run.

What is compared is the server's CPU time a request: on few cores the load generator saturates first, so requests a second say
more about wrk than about a server. Servers run on core 0, wrk on core 1; they take turns, in an order that is reversed from
round to round, and the medians count. Absolute figures drift with the machine; the ratios within one run are what to look at.

Servers that are missing are left out with a note. Nothing is built here, and only 127.0.0.1 is dialled.
"""

import argparse
import contextlib
import json
import os
import re
import select
import shlex
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SERVER_CORE = 0
LOAD_CORE = 1
GREETING_BYTES = len("Hello, World!")

PIPELINED_LUA = """
init = function(args)
  local requests = {}
  for i = 1, 16 do requests[i] = wrk.format() end
  all = table.concat(requests)
end
request = function() return all end
"""

UPLOAD_BYTES = 1 << 20
UPLOAD_LUA = f"""
wrk.method = "POST"
wrk.body = string.rep("x", {UPLOAD_BYTES})
"""


class Workload:
    """One kind of load. `bare` are the options that make the bare responder give an answer of the same kind; None: it cannot."""

    def __init__(self, name, path, connections, bare, lua=None, headers=(), what=""):
        self.name, self.path, self.connections, self.bare = name, path, connections, bare
        self.lua, self.headers, self.what = lua, headers, what


WORKLOADS = [
    Workload("get", "/", 64, [], what="GET, 13 bytes"),
    Workload("pipelined", "/", 64, [], lua=PIPELINED_LUA, what="the same, 16 pipelined"),
    Workload("64k", "/bytes/65536", 32, ["--body-bytes", "65536"], what="GET 64 KiB"),
    Workload("1m", "/bytes/1048576", 16, ["--body-bytes", "1048576"], what="GET 1 MiB"),
    Workload("upload", "/sink", 16, None, lua=UPLOAD_LUA, what="POST 1 MiB"),
    Workload("connect", "/", 64, ["--close"], headers=["Connection: close"], what="connect, GET, close"),
]

NGINX_CONFIG = """
daemon off;
master_process off;
worker_processes 1;
worker_rlimit_nofile {files};
pid {home}/pid;
error_log {home}/error.log;
events {{ worker_connections {events}; }}
http {{
  access_log off;
  sendfile on;
  default_type text/plain;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  client_max_body_size 2m;
  client_body_buffer_size 2m;
  client_body_temp_path {home}/body;
  proxy_temp_path {home}/proxy;
  fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi;
  scgi_temp_path {home}/scgi;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    root {home}/root;
    location = / {{ return 200 'Hello, World!'; }}
    # "return" alone answers before it has read the body, which wrk takes for two answers. The mirror makes nginx read all
    # of it first, into one buffer and no file; a file does not take POST (405), and that is answered with the text.
    location = /sink {{ mirror /nowhere; error_page 405 =200 /done; alias {home}/root/bytes/65536; }}
    location = /done {{ return 200 'ok'; }}
    location = /nowhere {{ internal; return 204; }}
  }}
}}
"""


# ---- servers ----


class Failure(Exception):
    """What was tried, on what, and why it did not work."""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def on_core(core):
    if core < os.cpu_count():
        os.sched_setaffinity(0, {core})


class Server:
    """A server that runs, and whose processor time can be read."""

    def __init__(self, name, port, pid, process=None):
        self.name, self.port, self.pid, self.process = name, port, pid, process

    def pids(self):
        """The process and its descendants: some servers fork workers."""
        found, pending = [], [self.pid]
        while pending:
            pid = pending.pop()
            found.append(pid)
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    pending += [int(child) for child in children.read_text().split()]
        return found

    def cpu_ns(self):
        """User and system time so far. Of the scheduler's nanoseconds, which leave out threads that have ended, and the
        process's own clock ticks, which are coarse, whichever is more."""
        scheduled, ticks = 0, 0
        for pid in self.pids():
            for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                with contextlib.suppress(OSError):
                    scheduled += int(thread.read_text().split()[0])
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        one_tick_ns = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
        return scheduled if scheduled > (ticks - 5) * one_tick_ns else ticks * one_tick_ns

    def answers_upload(self, path):
        """Whether a POST is answered with 200, and only once all of its body is there."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {UPLOAD_BYTES}\r\n\r\n"
            connection.sendall(head.encode() + bytes(UPLOAD_BYTES - 1))
            early = select.select([connection], [], [], 0.3)[0]
            connection.sendall(bytes(1))
            return not early and connection.recv(65536).startswith(b"HTTP/1.1 200")

    def counters(self):
        """The engine's own, where the server is ours: {} elsewhere."""
        with contextlib.suppress(OSError, ValueError):
            told = json.loads(self.get("/stats")[1])
            return {key: told[key] for key in ("requests", "enters", "completions")}
        return {}

    def get(self, path, headers=()):
        """Head and body of one GET, to see that a route is there."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", *headers]
            connection.sendall("".join(line + "\r\n" for line in [*lines, ""]).encode())
            answer = b""
            while b"\r\n\r\n" not in answer:
                got = connection.recv(65536)
                if not got:
                    return answer, b""
                answer += got
            head, _, body = answer.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            while length and len(body) < int(length[1]):
                got = connection.recv(1 << 20)
                if not got:
                    break
                body += got
            return head + b"\r\n\r\n", body

    def stop(self):
        if not self.process:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            print(f"note: {self.name} did not end within 10 s of SIGTERM; killing it", file=sys.stderr)
            self.process.kill()
            self.process.wait()


def start(name, command, home, port=None):
    """Starts a server on its core. It prints where it listens, or is told a port, and then is waited for there."""
    log = Path(tempfile.mkstemp(prefix=f"{name}-", suffix=".log", dir=home)[1])
    try:
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                       preexec_fn=lambda: on_core(SERVER_CORE))
    except OSError as error:
        raise Failure(f"starting {name} ({command[0]}) failed: {error}") from error
    for _ in range(1000):
        said = re.search(r"(?:127\.0\.0\.1|0\.0\.0\.0|localhost|\*|port)[: ]+([1-9]\d*)\D", log.read_text(errors="replace"))
        listens = port or (said and int(said[1]))
        if process.poll() is not None:
            break
        if listens:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", listens), timeout=1).close()
                return Server(name, listens, process.pid, process)
        time.sleep(0.01)
    process.kill()
    process.wait()
    raise Failure(f"starting {name} failed: it does not listen; it said:\n{log.read_text(errors='replace')}")


def start_nginx(program, home):
    home = Path(tempfile.mkdtemp(prefix="nginx-", dir=home))
    os.chmod(home, 0o755)
    (home / "root/bytes").mkdir(parents=True)
    for size in (65536, 1048576):
        (home / f"root/bytes/{size}").write_bytes(b"x" * size)
    port = free_port()
    config = home / "nginx.conf"
    config.write_text(NGINX_CONFIG.format(home=home, port=port, files=4096, events=2048))
    return start("nginx", [program, "-c", str(config), "-p", str(home)], home, port)


def note(text):
    print(f"note: {text}", file=sys.stderr)


class Field:
    """The servers of this run: started when they are first needed, all stopped at the end."""

    def __init__(self, options, home):
        self.options, self.home = options, home
        self.running = {}  # what was started with which options, to the server
        self.names = []

    def enter(self):
        here = Path(__file__).absolute().parent  # build/release/bench/http is a link to this file
        wanted = self.options.servers.split(",")
        paths = {"catenet": here.parent / "examples/http_server", "bare": here / "bare_responder",
                 "nginx": Path(shutil.which(self.options.nginx) or self.options.nginx)}
        for name, path in paths.items():
            if name in wanted and path.is_file():
                self.names.append(name)
            elif name in wanted:
                note(f"{name} is left out: there is no {path}")
        self.paths = paths
        for text in self.options.rival:
            name, _, command = text.partition("=")
            port = free_port() if "{port}" in command else None
            self.running[name] = start(name, shlex.split(command.replace("{port}", str(port))), self.home, port)
            self.names.append(name)
        for text in self.options.target:
            name, _, where = text.partition("=")
            port, _, pid = where.partition(":")
            self.running[name] = Server(name, int(port), int(pid))
            self.names.append(name)

    def server(self, name, workload):
        """The server called `name`, fit for that workload; None if it has no such answer."""
        if name == "bare":
            return None if workload.bare is None else self.bare(workload)
        if name == "catenet":
            command = [str(self.paths[name]), "--listen", "127.0.0.1:0", "--cores", "1"]
            return self.once(name, lambda: start(name, command, self.home))
        if name == "nginx":
            return self.once(name, lambda: start_nginx(str(self.paths[name]), self.home))
        return self.running[name]

    def bare(self, workload):
        command = [str(self.paths["bare"]), *workload.bare]
        if "catenet" in self.names:  # the same number of bytes on the wire
            head, body = self.server("catenet", workload).get(workload.path)
            command += ["--answer-bytes", str(len(head) + len(body))]
        return self.once(" ".join(command), lambda: start("bare", command, self.home))

    def once(self, key, begin):
        if key not in self.running:
            self.running[key] = begin()
        return self.running[key]

    def stop(self):
        for server in self.running.values():
            server.stop()


# ---- load ----


class Sample:
    def __init__(self, requests, cpu_ns, wall_s, complaints, counted):
        self.counted = counted  # the engine's counters, a request
        self.cpu_us = cpu_ns / 1000 / max(requests, 1)
        self.rate = requests / wall_s
        self.busy = cpu_ns / 1e9 / wall_s
        self.complaints = complaints


def load(server, workload, seconds, wrk, home):
    """Runs wrk once and reads what the server used for it."""
    command = [wrk, "-t1", f"-c{workload.connections}", f"-d{seconds}s"]
    if workload.lua:
        script = Path(home) / f"{workload.name}.lua"
        script.write_text(workload.lua)
        command += ["-s", str(script)]
    for header in workload.headers:
        command += ["-H", header]
    command.append(f"http://127.0.0.1:{server.port}{workload.path}")
    before = server.counters()
    began, used = time.monotonic(), server.cpu_ns()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60,
                              preexec_fn=lambda: on_core(LOAD_CORE), check=False)
    except OSError as error:
        raise Failure(f"starting wrk ({wrk}) failed: {error}; install it (Debian: apt-get install wrk)") from error
    used, wall_s = server.cpu_ns() - used, time.monotonic() - began
    count = re.search(r"(\d+) requests in", done.stdout)
    if done.returncode != 0 or not count:
        raise Failure(f"{shlex.join(command)} failed with {done.returncode}:\n{done.stdout}{done.stderr}")
    complaints = re.findall(r"(?:Socket errors|Non-2xx).*", done.stdout)
    after = server.counters()
    counted = {}
    if before and after:
        requests = max(after["requests"] - before["requests"] - 1, 1)  # asking for them is a request, too
        counted = {key: (after[key] - before[key]) / requests for key in ("enters", "completions")}
    return Sample(int(count[1]), used, wall_s, complaints, counted)


def has_route(server, workload):
    if workload.lua == UPLOAD_LUA:
        return server.answers_upload(workload.path)
    head, body = server.get(workload.path, workload.headers)
    size = re.search(r"/bytes/(\d+)", workload.path)
    closes = re.search(rb"(?i)\r\nconnection: *close", head) or not workload.headers
    return head.startswith(b"HTTP/1.1 200") and len(body) == (int(size[1]) if size else GREETING_BYTES) and closes


def run(field, workloads, options):
    """All samples, as {workload: {server: [Sample]}}."""
    samples = {workload.name: {} for workload in workloads}
    for turn in range(options.rounds):
        for workload in workloads:
            names = field.names if turn % 2 == 0 else field.names[::-1]
            for name in names:
                server = field.server(name, workload)
                if server is None:
                    continue
                if turn == 0:
                    if not has_route(server, workload):
                        note(f"{name} does not answer {workload.path} as it should; it is left out of {workload.name}")
                        continue
                    load(server, workload, 1, options.wrk, field.home)  # caches, buffers and the branch predictor
                elif name not in samples[workload.name]:
                    continue
                sample = load(server, workload, options.seconds, options.wrk, field.home)
                samples[workload.name].setdefault(name, []).append(sample)
                if options.verbose:
                    note(f"round {turn + 1} {workload.name} {name}: {sample.cpu_us:.2f} µs, {sample.rate:.0f}/s")
    return samples


# ---- what came of it ----


def machine():
    def read(path):
        with contextlib.suppress(OSError):
            return Path(path).read_text().strip()
        return "?"

    model = re.search(r"model name\s*: (.*)", read("/proc/cpuinfo"))
    return {"cpu": model[1] if model else "?", "cores": os.cpu_count(), "kernel": os.uname().release,
            "congestion_control": read("/proc/sys/net/ipv4/tcp_congestion_control"), "load": os.getloadavg()[0]}


def ratio(taken, yardstick):
    """Median of the rounds' own ratios: what slows the machine down for a while slows both of a round."""
    if not yardstick:
        return None
    return round(statistics.median(one.cpu_us / other.cpu_us for one, other in zip(taken, yardstick)), 3)


def summary(samples, workloads):
    rows = []
    for workload in workloads:
        by_server = samples[workload.name]
        for name, taken in by_server.items():
            rows.append({
                "workload": workload.name, "what": workload.what, "connections": workload.connections, "server": name,
                "cpu_us_per_request": round(statistics.median(one.cpu_us for one in taken), 4),
                "ratio_to_bare": ratio(taken, by_server.get("bare")),
                "ratio_to_nginx": ratio(taken, by_server.get("nginx")),
                "cpu_us_all": [round(one.cpu_us, 4) for one in taken],
                "requests_per_s": round(statistics.median(one.rate for one in taken)),
                "core_share": round(statistics.median(one.busy for one in taken), 3),
                "counted_per_request": {key: round(statistics.median(one.counted[key] for one in taken), 3)
                                        for key in taken[0].counted},
                "complaints": sorted({text for one in taken for text in one.complaints}),
            })
    return rows


def print_table(rows, about):
    times = lambda value: f"{value:.2f}" if value is not None else "-"
    print(f"{about['cpu']}, {about['cores']} cores, Linux {about['kernel']}, {about['congestion_control']}, load {about['load']:.1f}")
    print(f"{about['command']}\n")
    line = "{:<34} {:>5}  {:<12} {:>10} {:>15} {:>7} {:>8} {:>11} {:>6}"
    print(line.format("workload", "conns", "server", "CPU µs", "from-to", "x bare", "x nginx", "requests/s", "core"))
    before = None
    for row in rows:
        first = row["workload"] != before
        if first and before:
            print()
        before = row["workload"]
        spread = f"{min(row['cpu_us_all']):.2f}-{max(row['cpu_us_all']):.2f}"
        print(line.format(f"{row['workload']}: {row['what']}" if first else "", row["connections"] if first else "", row["server"],
                          f"{row['cpu_us_per_request']:.3f}", spread, times(row["ratio_to_bare"]), times(row["ratio_to_nginx"]),
                          row["requests_per_s"], f"{row['core_share']:.0%}"))
        if row["counted_per_request"]:
            print("    " + ", ".join(f"{value:.2f} {key}" for key, value in row["counted_per_request"].items()) + " a request")
        for text in row["complaints"]:
            print(f"    {row['server']}: {text}")
    print("\nCPU µs: user and system time of the server a request, median of the rounds; x bare, x nginx: median of the rounds' ratios. "
          "core: how much of its core the server used.")


def parse(arguments):
    names = [workload.name for workload in WORKLOADS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=5, help="length of one measurement (5)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each server and workload (3)")
    parser.add_argument("--only", default="", help=f"workloads, with commas between; of {', '.join(names)}")
    parser.add_argument("--servers", default="catenet,bare,nginx", help="which of the three to run (all)")
    parser.add_argument("--rival", action="append", default=[], metavar="NAME=CMD",
                        help="another server to start; it prints 127.0.0.1:PORT, or CMD has {port} where the port belongs")
    parser.add_argument("--target", action="append", default=[], metavar="NAME=PORT:PID", help="another server, already running")
    parser.add_argument("--nginx", default="/usr/sbin/nginx", help="the nginx program (/usr/sbin/nginx)")
    parser.add_argument("--wrk", default="wrk", help="the wrk program (wrk)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--verbose", action="store_true", help="print each measurement as it is made")
    options = parser.parse_args(arguments)
    options.only = options.only.split(",") if options.only else names
    unknown = set(options.only) - set(names)
    if unknown:
        parser.error(f"--only: there is no workload {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    return options


def main():
    options = parse(sys.argv[1:])
    workloads = [workload for workload in WORKLOADS if workload.name in options.only]
    about = machine() | {"command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]), "seconds": options.seconds, "rounds": options.rounds}
    with tempfile.TemporaryDirectory(prefix="catenet-bench-") as home:
        field = Field(options, home)
        try:
            field.enter()
            if not field.names:
                raise Failure("there is no server to measure; build catenet, or name one with --rival or --target")
            rows = summary(run(field, workloads, options), workloads)
        finally:
            field.stop()
    if options.json:
        print(json.dumps({"machine": about, "results": rows}, indent=1, ensure_ascii=False))
    else:
        print_table(rows, about)


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"http.py: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)
