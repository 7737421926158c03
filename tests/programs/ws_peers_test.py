"""Node's ws and libwebsockets as peers of our server, and their servers and python3-websockets' as peers of ws::client."""

import asyncio
import os
import queue
import shutil
import subprocess
import threading
import unittest
from pathlib import Path

from example_program import BUILD, PATIENCE_S, Server

try:
    import websockets
except ImportError:
    websockets = None

SUPPORT = Path(__file__).resolve().parents[1] / "support"
LWS = BUILD / "tests/lws_peer"
TEXT = "Grüße, мир, 世界 🌍"
NODE_PATHS = {**os.environ, "NODE_PATH": "/usr/share/nodejs:" + os.environ.get("NODE_PATH", "")}


def node_has_ws():
    node = shutil.which("node")
    return node is not None and subprocess.run([node, "-e", "require('ws')"], env=NODE_PATHS, capture_output=True).returncode == 0


def run_node(*arguments):
    done = subprocess.run(["node", SUPPORT / "ws_node_peer.js", *arguments], env=NODE_PATHS, capture_output=True, text=True,
                          timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class Listening:
    """A peer's server: prints its port, ends with its standard input."""

    def __init__(self, *command):
        self.command = command

    def __enter__(self):
        self.process = subprocess.Popen(self.command, env=NODE_PATHS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(PATIENCE_S)
        self.process.stdout.close()


class Client:
    """chat --join: our client, of which each line is a message."""

    def __init__(self, url, *arguments):
        self.process = subprocess.Popen([BUILD / "examples/chat", "--join", url, *arguments], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=lambda: [self.lines.put(line) for line in self.process.stdout])
        self.reader.start()

    def say(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def next(self):
        return self.lines.get(timeout=PATIENCE_S).decode().rstrip("\n")

    def finish(self):
        self.process.stdin.close()
        status = self.process.wait(PATIENCE_S)
        self.reader.join()
        self.process.stdout.close()
        return status


class ClientAgainst:
    """What our client does with any echo server."""

    def check_echo(self, url, *arguments):
        client = Client(url, *arguments)
        for line in ("", "a", TEXT, TEXT * 5000, "word " * 20_000, "again " * 20_000):
            client.say(line)
            self.assertEqual(client.next(), line)
        self.assertEqual(client.finish(), 0)


@unittest.skipUnless(node_has_ws(), "node-ws is not installed")
class Node(unittest.TestCase, ClientAgainst):
    def test_node_as_client_of_an_echo(self):
        for settings, offers in ((["--deflate"], ("yes", "narrow")),
                                 (["--deflate", "--deflate-contexts"], ("yes", "narrow", "contexts"))):
            with Server("http_server", *settings) as server:
                url = f"ws://127.0.0.1:{server.port}/echo"
                self.assertEqual(run_node("echo", url, "no"), "plain")
                for offer in offers:
                    self.assertEqual(run_node("echo", url, offer), "compressed", offer)

    def test_node_as_client_without_compression_in_the_server(self):
        with Server("http_server") as server:
            self.assertEqual(run_node("echo", f"ws://127.0.0.1:{server.port}/echo", "yes"), "plain")

    def test_a_room_of_node_clients(self):
        with Server("http_server", "--deflate", "--deflate-contexts", "--cores", "2") as server:
            self.assertEqual(run_node("room", f"ws://127.0.0.1:{server.port}/broadcast", "12"), "heard")

    def test_node_as_server(self):
        with Listening("node", SUPPORT / "ws_node_peer.js", "serve") as peer:
            self.check_echo(f"ws://127.0.0.1:{peer.port}/")
            self.check_echo(f"ws://127.0.0.1:{peer.port}/", "--deflate")


@unittest.skipUnless(LWS.exists(), "libwebsockets-dev is not installed")
class Libwebsockets(unittest.TestCase, ClientAgainst):
    def run_client(self, port, *arguments):
        done = subprocess.run([LWS, "client", str(port), "/echo", *arguments], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.split()

    def test_libwebsockets_as_client(self):
        with Server("http_server", "--deflate") as server:
            self.assertEqual(self.run_client(server.port), ["plain", "done"])
            self.assertEqual(self.run_client(server.port, "deflate"), ["compressed", "done"])

    def test_libwebsockets_as_server(self):
        with Listening(LWS, "server") as peer:
            self.check_echo(f"ws://127.0.0.1:{peer.port}/", "--subprotocol", "echo")
            self.check_echo(f"ws://127.0.0.1:{peer.port}/", "--subprotocol", "echo", "--deflate")


@unittest.skipIf(websockets is None, "python3-websockets is not installed")
class PythonServer(unittest.IsolatedAsyncioTestCase, ClientAgainst):
    async def on_server(self, check, **options):
        async def echo(socket, *_):
            async for message in socket:
                await socket.send(message)

        async with websockets.serve(echo, "127.0.0.1", 0, max_size=None, **options) as server:
            port = server.sockets[0].getsockname()[1]
            await asyncio.to_thread(check, f"ws://127.0.0.1:{port}/")

    async def test_echo(self):
        await self.on_server(self.check_echo, compression=None)
        await self.on_server(lambda url: self.check_echo(url, "--deflate"), compression="deflate")

    async def test_subprotocol(self):
        await self.on_server(lambda url: self.check_echo(url, "--subprotocol", "one"), subprotocols=["two", "one"])

    async def test_the_client_comes_again(self):
        comers = 0

        async def once(socket, *_):
            nonlocal comers
            comers += 1
            await socket.send(str(comers))
            if comers < 3:
                await socket.close(1012, "later")
            await socket.wait_closed()

        async with websockets.serve(once, "127.0.0.1", 0) as server:
            client = Client(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/", "--reconnect")
            self.assertEqual([await asyncio.to_thread(client.next) for _ in range(3)], ["1", "2", "3"])
            self.assertEqual(await asyncio.to_thread(client.finish), 0)


class Chat(unittest.TestCase):
    def test_two_terminals_and_a_listener(self):
        with Server("chat") as server:
            url = f"ws://127.0.0.1:{server.port}"
            listener = Client(url + "/listen/+")
            ada = Client(url + "/chat", "--name", "Ada")
            grace = Client(url + "/chat", "--name", "Gr\"ace", "--deflate")
            other = Client(url + "/chat/elsewhere", "--name", "Other")
            everybody = (listener, ada, grace, other)
            try:
                for one in (ada, grace, other):  # each hears itself, so it is there
                    one.say("here")
                    while '"here"' not in one.next():
                        pass
                while not grace.lines.empty():
                    grace.next()
                ada.say("hello \\ all")
                wanted = '{"name":"Ada","text":"hello \\\\ all"}'
                for one in (ada, grace, listener):
                    line = one.next()
                    while line != wanted:
                        line = one.next()
                other.say("who hears me?")
                self.assertIn("who hears me?", other.next())
                self.assertIn("who hears me?", listener.next())
                self.assertTrue(ada.lines.empty())
            finally:
                self.assertEqual([one.finish() for one in everybody], [0, 0, 0, 0])


if __name__ == "__main__":
    unittest.main()
