"""Every public header compiles alone, without a warning, with the compiler of this build."""

import os
import subprocess
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SOURCE = Path(os.environ["CATENET_SOURCE"])
INCLUDE_DIRS = [SOURCE / floor / "include" for floor in ("slab", "engine", "protocols")]
# As strict as the library's own build, which a user's build may be too.
FLAGS = "-std=c++20 -fsyntax-only -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wold-style-cast -Werror".split()


def compile_alone(name):
    # Twice, for a missing #pragma once.
    text = f"#include <{name}>\n#include <{name}>\n"
    command = [os.environ["CATENET_CXX"], *FLAGS, *(f"-I{d}" for d in INCLUDE_DIRS), "-x", "c++", "-"]
    return name, subprocess.run(command, input=text, capture_output=True, text=True)


class HeadersAlone(unittest.TestCase):
    def test_each_compiles(self):
        names = sorted(str(p.relative_to(d)) for d in INCLUDE_DIRS if d.is_dir() for p in d.rglob("*.hpp"))
        self.assertTrue(names, "found no public header")
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for name, result in pool.map(compile_alone, names):
                with self.subTest(header=name):
                    self.assertEqual(result.returncode, 0, result.stderr)


if __name__ == "__main__":
    unittest.main()
