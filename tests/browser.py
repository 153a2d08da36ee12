"""A headless Chromium to look at pages with, driven by its DevTools protocol over a pipe."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Browser:
    """One page at a time. `width`, `height`: of the window in pixels."""

    def __init__(self, profile: Path, width: int = 1600, height: int = 1200) -> None:
        assert CHROMIUM, "no chromium is installed"
        ours, theirs = (_high(os.pipe()) for _ in range(2))  # what it reads, what it writes
        command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        command += [f"--window-size={width},{height}", "--hide-scrollbars", "--remote-debugging-pipe", "about:blank"]

        def as_agreed() -> None:
            os.dup2(ours[0], 3)
            os.dup2(theirs[1], 4)

        self._process = subprocess.Popen(
            command, preexec_fn=as_agreed, pass_fds=(3, 4), stderr=subprocess.DEVNULL, start_new_session=True
        )
        os.close(ours[0])
        os.close(theirs[1])
        self._out, self._in = os.fdopen(ours[1], "wb", buffering=0), os.fdopen(theirs[0], "rb")
        self._count, self._session = 0, ""
        (target,) = (each for each in self._ask("Target.getTargets")["targetInfos"] if each["type"] == "page")
        attached = self._ask("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._out.close()
        self._in.close()

    def open(self, page: str, until: str, patience: float = 60.0) -> None:
        """Show a page, and wait until this expression of JavaScript is true there."""
        self._ask("Page.navigate", url="about:blank")  # else another place of the same page would load nothing
        self._ask("Page.navigate", url=page)
        deadline = time.monotonic() + patience
        while not self.value(f"!!({until})"):
            shown = self.value("document.body ? document.body.innerText.slice(0, 3000) : 'nothing'")
            assert time.monotonic() < deadline, f"{page}: never {until}. It shows:\n{shown}"
            time.sleep(0.1)

    def value(self, expression: str) -> Any:
        """What an expression of JavaScript gives; None where it fails."""
        answer = self._ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        return None if "exceptionDetails" in answer else answer["result"].get("value")

    def screenshot(self, file: Path) -> None:
        """What is shown, as PNG."""
        file.write_bytes(base64.b64decode(self._ask("Page.captureScreenshot", format="png")["data"]))

    def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        message |= {"sessionId": self._session} if self._session else {}
        self._out.write(json.dumps(message).encode() + b"\0")
        while (answer := json.loads(self._read())).get("id") != self._count:
            pass
        assert "error" not in answer, answer["error"]
        result: dict[str, Any] = answer["result"]
        return result

    def _read(self) -> bytes:
        """One message: they end with a zero byte."""
        found = bytearray()
        while (byte := self._in.read(1)) != b"\0":
            assert byte, "chromium has ended"
            found += byte
        return bytes(found)


def _high(pair: tuple[int, int]) -> tuple[int, int]:
    """The same pipe by numbers above those that chromium reads and writes."""
    moved = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, 10) for each in pair]
    for each in pair:
        os.close(each)
    return moved[0], moved[1]
