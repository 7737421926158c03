"""The chat example in a real browser: two pages talk, the panel moves, hostile names stay text, and it fits a phone.

Drives Chromium by the DevTools protocol (https://chromedevtools.github.io/devtools-protocol/) over a local port that Chromium
chooses. CATENET_BUILD names the build; with CATENET_SHOTS=FOLDER the screenshots are kept there.
"""

import asyncio
import base64
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

try:
    import websockets
except ImportError:
    websockets = None

BUILD = Path(os.environ.get("CATENET_BUILD", Path(__file__).resolve().parents[2] / "build/release"))
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--remote-debugging-port=0"]
PATIENCE_S = 20
PHONE = (360, 740)
DESKTOP = (1280, 800)


def wait_for(what, attempt):
    """What `attempt` returns, once that is something."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        got = attempt()
        if got:
            return got
        time.sleep(0.05)
    raise AssertionError(f"waited {PATIENCE_S} s in vain for {what}")


class Program:
    """A child process with its output in a file; stopped with all that it started."""

    def __init__(self, command, log):
        self.log = Path(log)
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)

    def said(self, pattern):
        if self.process.poll() is not None:
            raise AssertionError(f"{self.process.args[0]} ended with {self.process.returncode}: {self.log.read_text(errors='replace')}")
        return re.search(pattern, self.log.read_text(errors="replace"))

    def stop(self):
        """Ends the whole group, which nobody else is in, and waits until it is gone."""
        for how in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, how)
                end = time.monotonic() + 10
                while time.monotonic() < end:
                    self.process.poll()  # or the first of them stays a zombie, and the group stays
                    os.killpg(self.process.pid, 0)
                    time.sleep(0.02)
            except ProcessLookupError:
                break
        self.process.wait(10)


class Browser:
    """One connection to Chromium, and what its pages complained of."""

    def __init__(self, endpoint):
        self.endpoint, self.last, self.answers, self.complaints = endpoint, 0, {}, []

    async def __aenter__(self):
        self.socket = await websockets.connect(self.endpoint, max_size=None, ping_interval=None)
        self.reader = asyncio.create_task(self.read())
        self.context = (await self.call("Target.createBrowserContext"))["browserContextId"]
        return self

    async def __aexit__(self, *_):
        await self.call("Target.disposeBrowserContext", browserContextId=self.context)
        self.reader.cancel()
        await self.socket.close()

    async def read(self):
        async for text in self.socket:
            message = json.loads(text)
            if "id" in message:
                self.answers.pop(message["id"]).set_result(message)
            elif message["method"] == "Runtime.exceptionThrown":
                self.complaints.append(message["params"]["exceptionDetails"])
            elif message["method"] == "Runtime.consoleAPICalled" and message["params"]["type"] in ("error", "warning", "assert"):
                self.complaints.append(message["params"]["args"])
            elif message["method"] == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
                self.complaints.append(message["params"]["entry"])

    async def call(self, method, session=None, **parameters):
        self.last += 1
        message = {"id": self.last, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        answer = self.answers[self.last] = asyncio.get_running_loop().create_future()
        await self.socket.send(json.dumps(message))
        got = await asyncio.wait_for(answer, PATIENCE_S)
        if "error" in got:
            raise AssertionError(f"DevTools refused {method} {parameters}: {got['error']}")
        return got["result"]

    async def open(self, url):
        target = (await self.call("Target.createTarget", url="about:blank", browserContextId=self.context))["targetId"]
        session = (await self.call("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        page = Page(self, session)
        for domain in ("Runtime", "Log", "Page"):
            await page.call(f"{domain}.enable")
        await page.resize(*DESKTOP)
        await page.call("Page.navigate", url=url)
        return page


class Page:
    def __init__(self, browser, session):
        self.browser, self.session = browser, session

    async def call(self, method, **parameters):
        return await self.browser.call(method, self.session, **parameters)

    async def value(self, expression):
        got = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in got:
            raise AssertionError(f"{expression}: {got['exceptionDetails']}")
        return got["result"].get("value")

    async def until(self, expression):
        """Waits until the expression is true on the page; pages that are still loading count as false."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            with contextlib.suppress(AssertionError):
                if await self.value(expression):
                    return
            await asyncio.sleep(0.05)
        raise AssertionError(f"waited {PATIENCE_S} s in vain for {expression}; the page shows: {await self.value('document.body.innerText')}")

    async def connected(self):
        await self.until("document.getElementById('send') && !document.getElementById('send').disabled")

    async def write(self, id, text):
        await self.value(f"document.getElementById('{id}').focus(), document.getElementById('{id}').select()")
        await self.call("Input.insertText", text=text)

    async def press(self, key, code):
        for kind in ("keyDown", "keyUp"):
            await self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, text="\r" if kind == "keyDown" else "")

    async def say(self, text):
        """By the Enter key, as people do."""
        await self.write("text", text)
        await self.press("Enter", 13)

    async def shows(self, text):
        await self.until(f"document.getElementById('log').innerText.includes({json.dumps(text)})")

    async def number(self, id):
        text = await self.value(f"document.getElementById('{id}').textContent")
        found = re.search(r"[\d,.]+", text)
        return float(found[0].replace(",", "")) if found else None

    async def resize(self, width, height):
        await self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2, mobile=False)

    async def scheme(self, which):
        await self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": which}])

    async def shoot(self, file, whole=False):
        await self.call("Page.bringToFront")  # a page behind another one is not drawn
        # the first picture after a change of size may still have the old layout
        await self.value("new Promise(done => requestAnimationFrame(() => setTimeout(done, 600)))")
        picture = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        Path(file).write_bytes(base64.b64decode(picture["data"]))


@unittest.skipUnless((BUILD / "examples/chat").exists(), "needs the example chat in the build that CATENET_BUILD names")
@unittest.skipUnless(CHROMIUM, "needs Chromium (Debian: apt-get install chromium)")
@unittest.skipUnless(websockets, "needs python3-websockets (Debian: apt-get install python3-websockets)")
class ChatInABrowser(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls):
        cls.home = Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="catenet-chat-", ignore_cleanup_errors=True)))
        cls.chat = Program([str(BUILD / "examples/chat"), "--listen", "127.0.0.1:0"], cls.home / "chat.log")
        cls.addClassCleanup(cls.chat.stop)
        cls.url = wait_for("chat to listen", lambda: cls.chat.said(r"listening on (http://127\.0\.0\.1:\d+)"))[1]
        chromium = Program([CHROMIUM, *FLAGS, f"--user-data-dir={cls.home}/profile", "about:blank"], cls.home / "chromium.log")
        cls.addClassCleanup(chromium.stop)
        cls.endpoint = wait_for("Chromium", lambda: chromium.said(r"listening on (ws://127\.0\.0\.1:\S+)"))[1]

    def shot(self, name):
        folder = Path(os.environ.get("CATENET_SHOTS") or self.home)
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"chat-{name}.png"

    async def asyncSetUp(self):
        asyncio.get_running_loop().slow_callback_duration = PATIENCE_S  # starting a server takes a moment; no need to log it
        self.browser = await self.enterAsyncContext(Browser(self.endpoint))

    async def pages(self, *names):
        opened = []
        for name in names:
            page = await self.browser.open(self.url)
            await page.connected()
            await page.write("name", name)
            opened.append(page)
        return opened

    async def test_two_people_talk(self):
        ada, bob = await self.pages("Ada", "Bob")
        await ada.say("is anyone there?")
        await bob.shows("is anyone there?")
        await bob.shows("Ada")
        await bob.say("yes, me")
        await ada.shows("yes, me")
        await ada.shows("Bob")
        # one's own words come back from the server, once, and stand on the other side
        self.assertEqual(await ada.value("document.querySelectorAll('#log .own').length"), 1)
        self.assertEqual(await ada.value("document.querySelectorAll('#log .said').length"), 2)
        self.assertEqual(await ada.value("document.getElementById('text').value"), "")
        self.assertEqual(self.browser.complaints, [])

    async def test_what_others_send_stays_text(self):
        ada, mallory = await self.pages("Ada", "Mallory")
        name = "<script>document.title='taken'</script>"
        text = "<img src=x onerror=\"document.title='taken'\"> & \u202eplain"
        await mallory.write("name", name)
        await mallory.say(text)
        await ada.shows(name)
        await ada.shows("onerror")
        self.assertEqual(await ada.value("document.title"), "catenet chat")
        self.assertEqual(await ada.value("document.querySelectorAll('#log script, #log img').length"), 0)
        self.assertEqual(self.browser.complaints, [])

    async def test_what_is_no_message_is_dropped(self):
        ada, mallory = await self.pages("Ada", "Mallory")
        bad = ["not JSON", "null", "[]", "{}", '{"name":1,"text":"x"}', '{"name":"x","text":{}}', '{"name":"x","text":""}', '{"name":"","text":"x"}',
               json.dumps({"name": "n" * 41, "text": "long name"}), json.dumps({"name": "n", "text": "t" * 2001})]
        await mallory.value(f"{json.dumps(bad)}.forEach(frame => socket.send(frame))")
        await mallory.say("after them")
        await ada.shows("after them")
        self.assertEqual(await ada.value("document.querySelectorAll('#log .said').length"), 1)
        self.assertEqual(self.browser.complaints, [])

    async def test_the_panel_moves(self):
        ada, bob = await self.pages("Ada", "Bob")
        await ada.until("parseInt(document.getElementById('connections').textContent) >= 2")
        await ada.until("/^0\\.0$/.test(document.getElementById('rate').textContent)")
        for i in range(10):
            await bob.say(f"message {i}")
        await ada.until("parseFloat(document.getElementById('rate').textContent) > 0")
        self.assertIsNotNone(await ada.number("bytes"))
        self.assertGreater(await ada.value("document.querySelectorAll('#blocks .class').length"), 0)
        self.assertGreater(await ada.value("document.querySelectorAll('#blocks i.rented').length"), 0)
        labels = await ada.value("[...document.querySelectorAll('#blocks [role=img]')].map(row => row.getAttribute('aria-label')).join()")
        self.assertRegex(labels, r"4 KiB: \d+ rented, \d+ lent to the kernel, \d+ cached, \d+ in all")
        self.assertEqual(self.browser.complaints, [])

    async def test_it_looks_as_it_should(self):
        ada, bob = await self.pages("Ada", "Bob")
        talk = [(ada, "Good morning. Is the new server up?"), (bob, "Since last night."), (bob, "One block a message, however many of us read it."),
                (ada, "And how much memory am I costing it right now, sitting here and saying nothing?"), (bob, "It says so in the panel."),
                (ada, "https://example.org/a/very/long/address/that/does/not/break/anywhere/and/has/to/fit/a/phone?nevertheless=true")]
        for who, text in talk:
            await who.say(text)
            await ada.shows(text)
            await bob.shows(text)
        await ada.until("parseFloat(document.getElementById('rate').textContent) > 0")
        await ada.write("text", "")
        for scheme in ("light", "dark"):
            await ada.scheme(scheme)
            for width, height in (PHONE, DESKTOP):
                await ada.resize(width, height)
                await ada.shoot(self.shot(f"{width}-{scheme}"), whole=width == PHONE[0])
                for what in ("document.documentElement", "document.getElementById('log')"):
                    spill = await ada.value(f"{what}.scrollWidth - {what}.clientWidth")
                    self.assertLessEqual(spill, 0, f"at a width of {width} {what} is {spill} pixels too wide")
        self.assertEqual(self.browser.complaints, [])

    async def test_it_says_when_the_server_is_gone(self):
        (ada,) = await self.pages("Ada")
        server = Program([str(BUILD / "examples/chat"), "--listen", "127.0.0.1:0"], self.home / "second.log")
        self.addCleanup(server.stop)
        url = wait_for("chat to listen", lambda: server.said(r"listening on (http://127\.0\.0\.1:\d+)"))[1]
        page = await self.browser.open(url)
        await page.connected()
        server.stop()
        await page.until("document.getElementById('state').innerText.includes('Not connected')")
        self.assertTrue(await page.value("document.getElementById('send').disabled"))
        await page.resize(*PHONE)
        await page.shoot(self.shot("360-gone"))
        await ada.say("still here")  # the other one is untouched
        await ada.shows("still here")
        again = Program([str(BUILD / "examples/chat"), "--listen", url.removeprefix("http://")], self.home / "third.log")
        self.addCleanup(again.stop)
        wait_for("chat to listen again", lambda: again.said(r"listening on http"))
        await page.connected()
        await page.shows("Connected again.")

    async def test_echo_with_and_without_compression(self):
        for settings in ([], ["--deflate"], ["--deflate", "--deflate-contexts"]):
            name = "echo" + "-".join(settings)
            server = Program([str(BUILD / "examples/http_server"), "--listen", "127.0.0.1:0", *settings], self.home / name)
            self.addCleanup(server.stop)
            url = wait_for("http_server to listen", lambda: server.said(r"listening on (http://127\.0\.0\.1:\d+)"))[1]
            page = await self.browser.open(url)
            await page.until("document.readyState == 'complete' && location.protocol == 'http:'")
            self.assertEqual(await page.value(ECHO), "permessage-deflate 8 4001" if settings else " 8 4001")


# Runs in the page: messages of many kinds to /echo and back; tells what was agreed, how many came back as they were, and the
# code of the answer to our Close.
ECHO = """new Promise((done, failed) => {
  const words = n => Array.from({length: n}, (_, i) => 'word ' + i * 7919 % 1000).join(' ');
  const said = ['', 'a', 'Grüße, мир, 世界 🌍', words(100), words(100), words(100000), new Uint8Array(0), new Uint8Array(70000).fill(7)];
  const socket = new WebSocket('ws://' + location.host + '/echo');
  let same = 0, agreed = '';
  const ask = () => same == said.length ? socket.close(4001, 'that was all') : socket.send(said[same]);
  socket.binaryType = 'arraybuffer';
  socket.onopen = () => { agreed = socket.extensions.split(';')[0]; ask(); };
  socket.onmessage = e => {
    const wanted = said[same];
    const equal = typeof wanted == 'string' ? e.data === wanted :
        e.data.byteLength == wanted.length && new Uint8Array(e.data).every((b, i) => b == wanted[i]);
    if (!equal) return failed('message ' + same + ' came back otherwise');
    same++;
    ask();
  };
  socket.onclose = e => done(agreed + ' ' + same + ' ' + e.code);
})"""


if __name__ == "__main__":
    unittest.main()
