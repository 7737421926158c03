#!/usr/bin/python3
"""How long the smallest program takes to compile and link against the release build: the price of the public headers."""

import shlex
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

BUILD = Path(__file__).absolute().parent.parent  # build/release/bench/compile_time is a link to this file
SOURCE = Path(__file__).resolve().parent.parent
PROGRAM = SOURCE / "tests" / "package" / "consumer" / "main.cpp"
RUNS = 3


def cache_entry(name):
    for line in (BUILD / "CMakeCache.txt").read_text().splitlines():
        if line.startswith(name + ":"):
            return line.split("=", 1)[1]
    raise SystemExit(f"compile_time: {BUILD}/CMakeCache.txt has no {name}; run it as build/release/bench/compile_time")


def seconds(command):
    start = time.monotonic()
    subprocess.run(command, check=True)
    return time.monotonic() - start


def main():
    compiler = cache_entry("CMAKE_CXX_COMPILER")
    includes = [f"-I{SOURCE / floor / 'include'}" for floor in ("slab", "engine", "protocols")]
    with tempfile.TemporaryDirectory(prefix="catenet-compile-") as folder:
        for flags in ("-O0", "-O2"):
            command = [compiler, "-std=c++20", *shlex.split(flags), *includes, "-c", PROGRAM, "-o", f"{folder}/main.o"]
            runs = [seconds(command) for _ in range(RUNS)]
            print(f"{PROGRAM.relative_to(SOURCE)} {flags}: {statistics.median(runs):.2f} s (median of {RUNS})")


if __name__ == "__main__":
    main()
