"""A headless Chromium driven by its DevTools protocol over a pipe: no driver, no further library."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--remote-debugging-pipe",
)  # fmt: skip

# the browser reads from 3 and writes to 4
START = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)


def find() -> str | None:
    """The browser's program."""
    return next(
        (p for n in ("chromium", "chromium-browser", "google-chrome", "chrome") if (p := shutil.which(n))), None
    )


class Browser:
    """One page; `logs` holds what it wrote to the console, `requests` what it asked for."""

    def __init__(self, program: str, folder: Path, *flags: str):
        to_read, to_write = os.pipe()
        from_read, from_write = os.pipe()
        ends = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (to_read, from_write)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", START, *map(str, ends), program, *QUIET, *flags, f"--user-data-dir={folder}"],
            pass_fds=ends,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for fd in ends:
            os.close(fd)
        os.close(to_read)
        os.close(from_write)
        self.out, self.into, self.rest = from_read, to_write, b""
        self.number, self.session = 0, None
        self.logs: list[str] = []
        self.requests: list[str] = []
        try:
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.call(f"{domain}.enable")
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.into)
        try:
            self.process.wait(5)  # it ends when its pipe does
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.out)

    def call(self, method: str, **parameters):
        """Ask and wait for the answer."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.into, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + 60
        while True:
            answer = self._next(until)
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def _next(self, until: float):
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.out], [], [], max(0, until - time.monotonic()))
            piece = os.read(self.out, 1 << 20) if ready else b""
            if not piece:
                raise RuntimeError("the browser does not answer")
            self.rest += piece
        one, self.rest = self.rest.split(b"\0", 1)
        message = json.loads(one)
        kind, said = message.get("method"), message.get("params", {})
        if kind == "Runtime.exceptionThrown":
            self.logs.append(json.dumps(said["exceptionDetails"])[:600])
        elif kind == "Runtime.consoleAPICalled" and said["type"] in ("error", "warning", "assert"):
            self.logs.append(json.dumps(said["args"])[:600])
        elif kind == "Log.entryAdded":
            self.logs.append(said["entry"]["text"])
        elif kind == "Network.requestWillBeSent":
            self.requests.append(said["request"]["url"][:60])
        return message

    def run(self, script: str):
        """Value of an expression in the page; promises are awaited."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"])[:600])
        return answer["result"].get("value")

    def open(self, path: Path, width: int, height: int = 1000, scheme: str = "light") -> None:
        """Show a page from disk at a width, and wait until it has drawn."""
        self.size(width, height)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.until("document.readyState === 'complete' && !!document.documentElement.dataset.drawn")

    def size(self, width: int, height: int) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )

    def until(self, condition: str, seconds: float = 30) -> None:
        """Wait for an expression to be true."""
        end = time.monotonic() + seconds
        while not self.run(condition):
            if time.monotonic() > end:
                raise RuntimeError(f"never true: {condition}; {self.logs}")
            time.sleep(0.05)

    def drawn_after(self, script: str) -> None:
        """Run something that changes the page, and wait for it to be drawn."""
        before = self.run("+document.documentElement.dataset.drawn")
        self.run(script)
        self.until(f"+document.documentElement.dataset.drawn > {before}")

    def keys(self, *names: str) -> None:
        """Press keys, as a person would."""
        for name in names:
            text = {"Enter": "\r"}.get(name, name if len(name) == 1 else "")
            codes = {
                "Enter": 13,
                "Tab": 9,
                "Escape": 27,
                "ArrowLeft": 37,
                "ArrowUp": 38,
                "ArrowRight": 39,
                "ArrowDown": 40,
            }
            code = codes.get(name, ord(name.upper()) if len(name) == 1 else 0)
            down = {"type": "keyDown", "key": name, "text": text, "windowsVirtualKeyCode": code}
            if not text:
                down = {"type": "rawKeyDown", "key": name, "windowsVirtualKeyCode": code}
            self.call("Input.dispatchKeyEvent", **down)
            self.call("Input.dispatchKeyEvent", type="keyUp", key=name, windowsVirtualKeyCode=code)

    def mouse(self, kind: str, x: float, y: float, buttons: int = 1) -> None:
        self.call(
            "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left" if buttons else "none", buttons=buttons,
            clickCount=1,
        )  # fmt: skip

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """A screenshot."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))
