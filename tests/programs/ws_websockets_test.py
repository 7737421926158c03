"""Debian's python3-websockets as the peer of http_server (/echo, /broadcast) and chat (permessage-deflate)."""

import asyncio
import json
import random
import unittest

from example_program import Server

try:
    import websockets
    from websockets.extensions import permessage_deflate
except ImportError:
    websockets = None

TEXT = "Grüße, мир, 世界 🌍 "


def on(server, path, **options):
    return websockets.connect(f"ws://127.0.0.1:{server.port}{path}", max_size=None, **options)


@unittest.skipIf(websockets is None, "python3-websockets is not installed")
class Websockets(unittest.IsolatedAsyncioTestCase):
    async def test_echo(self):
        with Server("http_server") as server:
            async with on(server, "/echo", compression=None) as one:
                for message in ("", "a", TEXT, TEXT * 9000, b"", b"\x00\xff" * 40_000, b"z" * 5_000_000):
                    await one.send(message)
                    self.assertEqual(await one.recv(), message)

    async def test_fragments(self):
        with Server("http_server") as server:
            async with on(server, "/echo", compression=None) as one:
                await one.send([TEXT[i:i + 1] for i in range(len(TEXT))])
                self.assertEqual(await one.recv(), TEXT)
                await one.send([b"", b"a", b"", b"b" * 70_000, b""])
                self.assertEqual(await one.recv(), b"a" + b"b" * 70_000)

    async def test_pings_and_closing(self):
        with Server("http_server") as server:
            async with on(server, "/echo", compression=None) as one:
                pongs = [await one.ping(str(i)) for i in range(20)]
                await asyncio.wait_for(asyncio.gather(*pongs), 10)
                await one.close(4242, "good bye")
                self.assertEqual(one.close_code, 4242)

    async def test_the_server_is_stopped(self):
        with Server("http_server") as server:
            one = await on(server, "/echo", compression=None)
            await one.send("a")
            await one.recv()
            server.process.terminate()
            with self.assertRaises(websockets.exceptions.ConnectionClosed) as closed:
                await one.recv()
            self.assertEqual(server.process.wait(20), 0)
        self.assertEqual(closed.exception.rcvd.code, 1001)

    async def test_broadcast_on_several_cores(self):
        with Server("http_server", "--cores", "3") as server:
            peers = [await on(server, "/broadcast", compression=None) for _ in range(30)]
            for i, size in enumerate((1, 100, 3000, 500_000)):
                message = "B" + "x" * size
                await peers[i].send("not for the others")
                await peers[i].send(message)
                self.assertEqual([await one.recv() for one in peers], [message] * len(peers))
            await asyncio.gather(*(one.close() for one in peers))

    async def test_names_are_no_patterns(self):
        with Server("chat") as server:
            for path in ("chat", "upload", "download"):
                for name in ("+", "%2b", "a+b", "%23", "a%23", "a%2fb", "%2F"):
                    with self.assertRaisesRegex(websockets.exceptions.InvalidHandshake, "400", msg=name):
                        await on(server, f"/{path}/{name}")
            async with on(server, "/chat/caf%c3%a9", compression=None) as one, \
                    on(server, "/listen/+", compression=None) as all_rooms:
                await one.send("heard")
                self.assertEqual([await one.recv(), await all_rooms.recv()], ["heard", "heard"])

    async def test_compressed_chat(self):
        factories = [[permessage_deflate.ClientPerMessageDeflateFactory()],
                     [permessage_deflate.ClientPerMessageDeflateFactory(server_max_window_bits=9)],
                     [permessage_deflate.ClientPerMessageDeflateFactory(server_no_context_takeover=True)],
                     None]
        with Server("chat") as server:
            peers = [await on(server, "/chat", compression=None, extensions=extensions) for extensions in factories * 3]
            self.assertEqual([bool(one.extensions) for one in peers], [True, True, True, False] * 3)
            for sender in peers:
                for size in (1, 300, 8000):
                    message = json.dumps({"name": "a", "text": "".join(random.choices("abc ", k=size))})
                    await sender.send(message)
                    self.assertEqual([await one.recv() for one in peers], [message] * len(peers))
            await asyncio.gather(*(one.close() for one in peers))


if __name__ == "__main__":
    unittest.main()
