"""Includes point down: slab <- engine <- protocols <- programs, and never from a public header to private code."""

import os
import re
import unittest
from pathlib import Path

SOURCE = Path(os.environ["CATENET_SOURCE"])
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
FLOORS = ["slab", "engine", "protocols"]  # bottom first
SYSTEM_ONLY_IN_PRIVATE = re.compile(r"^(liburing|linux/io_uring|mimalloc|openssl/)")


def includes(path):
    return [(mark, name) for mark, name in INCLUDE.findall(path.read_text())]


def files(folder):
    return sorted(p for p in folder.rglob("*") if p.suffix in (".hpp", ".cpp", ".h"))


def floor_of_public():
    """The public name of each header ("catenet/slab/chain.hpp") and its floor; protocols has a folder a protocol."""
    return {
        str(path.relative_to(SOURCE / floor / "include")): floor
        for floor in FLOORS
        for path in files(SOURCE / floor / "include")
    }


class Includes(unittest.TestCase):
    def setUp(self):
        self.floor_of = floor_of_public()

    def test_there_is_something_to_check(self):
        self.assertIn("catenet/slab/version.hpp", self.floor_of)

    def test_each_catenet_include_is_a_public_header(self):
        for floor in FLOORS + ["examples", "bench", "tests"]:
            for path in files(SOURCE / floor):
                for _, name in includes(path):
                    if name.startswith("catenet/"):
                        with self.subTest(file=str(path.relative_to(SOURCE))):
                            self.assertIn(name, self.floor_of, "no public header of that name")

    def test_floors_include_only_downwards(self):
        for height, floor in enumerate(FLOORS):
            for path in files(SOURCE / floor):
                for _, name in includes(path):
                    other = self.floor_of.get(name)
                    if other:
                        with self.subTest(file=str(path.relative_to(SOURCE)), include=name):
                            self.assertLessEqual(FLOORS.index(other), height, f"{floor} includes {other}")

    def test_public_headers_include_no_private_ones(self):
        for floor in FLOORS:
            for path in files(SOURCE / floor / "include"):
                for mark, name in includes(path):
                    with self.subTest(file=str(path.relative_to(SOURCE)), include=name):
                        self.assertEqual(mark, "<", 'public headers include with <catenet/...>, never with ""')
                        self.assertNotRegex(name, r"^\.\.?/|/src/")

    def test_public_headers_keep_private_dependencies_out(self):
        for floor in FLOORS:
            for path in files(SOURCE / floor / "include"):
                for _, name in includes(path):
                    with self.subTest(file=str(path.relative_to(SOURCE)), include=name):
                        self.assertNotRegex(name, SYSTEM_ONLY_IN_PRIVATE, "users would have to have its headers")

    def test_private_headers_are_included_by_their_own_floor_only(self):
        private = {floor: {p.name for p in files(SOURCE / floor / "src")} for floor in FLOORS}
        for floor in FLOORS:
            for path in files(SOURCE / floor / "src"):
                for mark, name in includes(path):
                    if mark != '"':
                        continue
                    with self.subTest(file=str(path.relative_to(SOURCE)), include=name):
                        self.assertIn(Path(name).name, private[floor], 'a "" include is of a header in the same src/')

    def test_library_does_not_know_its_programs(self):
        for floor in FLOORS:
            for path in files(SOURCE / floor):
                for _, name in includes(path):
                    with self.subTest(file=str(path.relative_to(SOURCE)), include=name):
                        self.assertNotRegex(name, r"^(examples|bench|tests|support|gtest|gmock|benchmark|CLI)\b")


if __name__ == "__main__":
    unittest.main()
