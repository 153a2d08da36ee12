"""A headless Chromium that a test talks to: pages are opened, asked and photographed; what their consoles say is kept.

It is spoken to over two pipes in Chrome's DevTools protocol, so nothing listens on a port and no driver is needed.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
          "--remote-debugging-pipe")  # fmt: skip


def found() -> str | None:
    """Where a Chromium is, if there is one."""
    return next((place for name in NAMES if (place := shutil.which(name))), None)


class Browser:
    """Use as a context manager. `said`: errors, warnings and exceptions of the pages' consoles, since the start."""

    def __init__(self, profile: Path, patience: float = 90.0) -> None:
        """`profile`: an empty folder. `patience`: seconds to wait for an answer."""
        self.said: list[str] = []
        self._patience, self._profile, self._count, self._rest = patience, profile, 0, b""
        self._events: list[str] = []

    def __enter__(self) -> Browser:
        command = found()
        assert command
        (down, self._to), (self._from, up) = os.pipe(), os.pipe()

        def settle() -> None:  # Chromium reads from 3 and writes to 4
            low, high = os.dup(down), os.dup(up)
            os.dup2(low, 3)
            os.dup2(high, 4)

        self._process = subprocess.Popen(
            [command, *_FLAGS, f"--user-data-dir={self._profile}", "about:blank"], preexec_fn=settle,
            close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(down)
        os.close(up)
        target = next(t for t in self._ask("Target.getTargets")["targetInfos"] if t["type"] == "page")
        attached = self._ask("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session: str | None = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._to)
        os.close(self._from)

    def open(self, address: str, width: int = 1200, height: int = 900, *, touch: bool = False) -> None:
        """Load a page, in a window of this size or on a phone."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=touch)
        self.ask("Emulation.setTouchEmulationEnabled", enabled=touch)
        self._events.clear()
        self.ask("Page.navigate", url=address)
        while "Page.loadEventFired" not in self._events:
            self._read(time.monotonic() + self._patience)

    def open_until(self, address: str, shown: str, width: int = 2600, height: int = 1500) -> None:
        """Open a page that is made by its scripts, and wait until this expression of JavaScript is true there."""
        self.open("about:blank", width, height)  # else another place of the same page would load nothing
        self.open(address, width, height)
        deadline = time.monotonic() + self._patience
        while not self.evaluate(f"(() => {{ try {{ return !!({shown}) }} catch {{ return false }} }})()"):
            text = self.evaluate("document.body ? document.body.innerText.slice(0, 3000) : 'nothing'")
            assert time.monotonic() < deadline, f"{address}: never {shown}. It shows:\n{text}"
            time.sleep(0.1)

    def evaluate(self, script: str) -> Any:
        """What a script of one expression gives in the page; a promise is waited for."""
        answer = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def photograph(self, place: Path) -> None:
        """The whole page, however long."""
        taken = self.ask("Page.captureScreenshot", captureBeyondViewport=True)
        place.write_bytes(base64.b64decode(taken["data"]))

    def print(self, place: Path) -> None:
        """As a PDF on A4."""
        printed = self.ask("Page.printToPDF", paperWidth=8.27, paperHeight=11.69, printBackground=True)
        place.write_bytes(base64.b64decode(printed["data"]))

    def ask(self, method: str, **params: Any) -> Any:
        """Of the page: see https://chromedevtools.github.io/devtools-protocol/."""
        return self._ask(method, self._session, **params)

    def _ask(self, method: str, session: str | None = None, **params: Any) -> Any:
        self._count += 1
        asked = {"id": self._count, "method": method, "params": params} | ({"sessionId": session} if session else {})
        data = json.dumps(asked).encode() + b"\0"
        while data:
            data = data[os.write(self._to, data) :]
        deadline = time.monotonic() + self._patience
        while True:
            answer = self._read(deadline)
            if answer.get("id") == self._count:
                assert "error" not in answer, answer["error"]
                return answer["result"]

    def _read(self, deadline: float) -> dict[str, Any]:
        """The next message; what a console says is kept."""
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._from], [], [], max(deadline - time.monotonic(), 0))
            assert ready, "Chromium does not answer"
            read = os.read(self._from, 1 << 20)
            assert read, "Chromium has ended"
            self._rest += read
        first, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(first)
        self._events.append(name := message.get("method", ""))
        params = message.get("params", {})
        if name == "Runtime.exceptionThrown":
            self.said.append(str(params["exceptionDetails"].get("exception", params["exceptionDetails"])))
        elif name == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.said.append(" ".join(str(arg.get("value", arg)) for arg in params["args"]))
        elif name == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.said.append(params["entry"]["text"])
        return message
