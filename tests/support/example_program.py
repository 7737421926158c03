"""An example server as a child process, for tests: started on a free port, stopped with SIGTERM, whose exit status is checked."""

import contextlib
import os
import re
import signal
import subprocess
import time
from pathlib import Path

BUILD = Path(os.environ.get("CATENET_BUILD", Path(__file__).resolve().parents[2] / "build/release"))
READY = re.compile(rb"catenet: listening on http://[^\n]*:(\d+) ")
PATIENCE_S = 20


class Server:
    """Context manager: `port` once it is ready; on leaving it must end with 0 within the patience."""

    def __init__(self, name, *arguments, port=0, stderr=None):
        self.stderr = stderr
        self.command = [str(BUILD / "examples" / name), "--listen", f"127.0.0.1:{port}", *arguments]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.stderr)
        line = self.process.stdout.readline()
        found = READY.match(line)
        if not found:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            raise AssertionError(f"{self.command[0]} said {line!r} instead of being ready")
        self.port = int(found.group(1))
        return self

    def __exit__(self, kind, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self.process.stdout.close()
        if kind is None and status != 0:
            raise AssertionError(f"{self.command[0]} ended with {status}")


def eventually(holds, patience_s=PATIENCE_S):
    """Waits until holds() is true."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            if holds():
                return
        time.sleep(0.02)
    raise AssertionError("waited in vain")
