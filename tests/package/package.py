"""Installs the build into a fresh prefix and builds an outside project against it: by find_package and by pkg-config."""

import os
import re
import shutil
import subprocess
import tempfile
import unittest
import urllib.request
from pathlib import Path

BUILD = Path(os.environ["CATENET_BUILD"])
CONSUMER = Path(os.environ["CATENET_SOURCE"]) / "tests" / "package" / "consumer"
CXX = os.environ["CATENET_CXX"]


def run(*command, env=None):
    result = subprocess.run(
        [str(c) for c in command], capture_output=True, text=True, env={**os.environ, **(env or {})}, timeout=240
    )
    if result.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}\nended with {result.returncode}\n{result.stdout}{result.stderr}")
    return result.stdout


class Package(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.top = Path(tempfile.mkdtemp(prefix="catenet-package-"))
        cls.addClassCleanup(shutil.rmtree, cls.top)
        installed = cls.top / "installed"
        run("cmake", "--install", BUILD, "--prefix", installed)
        # Moved after the installation: no path of the first place may be left in it.
        cls.prefix = installed.rename(cls.top / "moved")

    def test_find_package(self):
        build = self.top / "by_cmake"
        run("cmake", "-G", "Ninja", "-S", CONSUMER, "-B", build, f"-DCMAKE_PREFIX_PATH={self.prefix}", f"-DCMAKE_CXX_COMPILER={CXX}")
        run("cmake", "--build", build)
        self.check(build / "consumer")
        run(build / "simulated")

    def test_pkg_config(self):
        program = self.top / "by_pkg_config"
        pc = next(self.prefix.rglob("catenet.pc"))
        flags = run("pkg-config", "--cflags", "--libs", "catenet", env={"PKG_CONFIG_PATH": str(pc.parent)}).split()
        run(CXX, "-std=c++20", CONSUMER / "main.cpp", "-o", program, *flags)
        self.check(program)
        run(CXX, "-std=c++20", CONSUMER / "simulated.cpp", "-o", program, "-lcatenet_simulation", *flags)
        run(program)

    def test_no_trace_of_the_build(self):
        for path in self.prefix.rglob("*"):
            if path.suffix in (".cmake", ".pc", ".hpp"):
                with self.subTest(file=str(path.relative_to(self.prefix))):
                    self.assertNotIn(str(BUILD), path.read_text())
                    self.assertNotIn(str(self.top), path.read_text())

    def check(self, program):
        # The loader asks the libraries in this order: mimalloc's malloc must not come before the C library's.
        needed = re.findall(r"\(NEEDED\).*\[(.*?)\.so", run("readelf", "--dynamic", program))
        if "libmimalloc" in needed:
            self.assertLess(needed.index("libc"), needed.index("libmimalloc"), needed)
            self.assertLess(needed.index("libstdc++"), needed.index("libmimalloc"), needed)
        version = next(
            line.split("=", 1)[1]
            for line in (BUILD / "CMakeCache.txt").read_text().splitlines()
            if line.startswith("CMAKE_PROJECT_VERSION:")
        )
        with subprocess.Popen([program], stdout=subprocess.PIPE, text=True) as server:
            try:
                said = server.stdout.readline().strip()
                self.assertTrue(said.startswith(f"catenet {version} at 127.0.0.1:"), said)
                with urllib.request.urlopen(f"http://{said.split()[-1]}/hello/you", timeout=20) as answer:
                    self.assertEqual(answer.read(), b"hello you")
                server.terminate()
                self.assertEqual(server.wait(timeout=20), 0)
            finally:
                server.kill()


if __name__ == "__main__":
    unittest.main()
