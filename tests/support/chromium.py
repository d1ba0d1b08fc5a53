"""A headless Chromium, driven by its DevTools protocol; for tests."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--hide-scrollbars",
    "--mute-audio",
    "--no-first-run",
    "--no-default-browser-check",
    "--remote-debugging-port=0",
)
KEYS = {"z": 90, "y": 89, "Tab": 9, "Enter": 13, " ": 32, "ArrowDown": 40, "ArrowUp": 38, "End": 35}
CTRL, SHIFT = 2, 8
PATIENCE = 30.0
AXE = Path(__file__).parent / "vendor" / "axe.min.js"


def find_chromium() -> str | None:
    """The program, also where LAYERSHAP_CHROMIUM names it; None if there is none."""
    named = os.environ.get("LAYERSHAP_CHROMIUM")
    return named or next((path for name in NAMES if (path := shutil.which(name))), None)


def needed_chromium() -> str:
    """The program; a module that needs one is skipped where there is none."""
    program = find_chromium()
    if program is None:
        pytest.skip(
            "no Chromium found: install chromium or name it in LAYERSHAP_CHROMIUM",
            allow_module_level=True,
        )
    return program


class Tab:
    """One page, everything that it complained about, and every address that it asked for."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._last = 0
        self.complaints: list[str] = []
        self.requests: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and wait for its result."""
        self._last += 1
        self._socket.send(json.dumps({"id": self._last, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(PATIENCE))
            if message.get("id") == self._last:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']['message']}")
                return message["result"]
            self._hear(message)

    def open(self, address: str) -> None:
        """Go to a page and wait until its script has run."""
        self.send("Page.navigate", url="about:blank")
        self.send("Page.navigate", url=address)
        self.wait("document.documentElement?.dataset.ready === 'true'")

    def run(self, script: str) -> Any:
        """Returns what an expression gives; promises are waited for."""
        found = self.send(
            "Runtime.evaluate",
            expression=script,
            returnByValue=True,
            awaitPromise=True,
            userGesture=True,
        )
        if "exceptionDetails" in found:
            detail = found["exceptionDetails"]
            raise RuntimeError(detail.get("exception", {}).get("description", detail["text"]))
        return found["result"].get("value")

    def wait(self, condition: str, seconds: float = PATIENCE) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not self.run(condition):
            if time.monotonic() > end:
                raise AssertionError(f"never true: {condition}; complaints: {self.complaints}")
            time.sleep(0.02)

    def text(self, selector: str) -> str:
        """The text that a person sees of an element."""
        return self.run(f"document.querySelector({json.dumps(selector)}).innerText")

    def click(self, selector: str) -> None:
        """Scroll to an element and press the mouse in its middle."""
        place = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect();"
            " return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.send(
                "Input.dispatchMouseEvent",
                type=kind,
                x=place[0],
                y=place[1],
                button="left",
                clickCount=1,
            )

    def press(self, key: str, modifiers: int = 0) -> None:
        """Press a key."""
        text = {"Enter": "\r", " ": " "}.get(key, "")
        for kind in ("keyDown", "keyUp"):
            self.send(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                text=text if kind == "keyDown" else "",
                modifiers=modifiers,
                windowsVirtualKeyCode=KEYS[key],
            )

    def look(self, width: int, height: int = 800, *, dark: bool = False) -> None:
        """Give the window a size and a colour scheme."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def violations(self) -> list[Any]:
        """What axe-core finds wrong: rules, and the elements that break them."""
        self.run(AXE.read_text(encoding="utf-8") + "; undefined")
        return self.run(
            "axe.run().then((r) => r.violations.map((v) => [v.id, v.nodes.map((n) => n.html)]))"
        )

    def _hear(self, message: dict[str, Any]) -> None:
        method, found = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            detail = found["exceptionDetails"]
            self.complaints.append(detail.get("exception", {}).get("description", detail["text"]))
        elif method == "Runtime.consoleAPICalled" and found["type"] in ("error", "warning"):
            self.complaints.append(" ".join(str(arg.get("value")) for arg in found["args"]))
        elif method == "Log.entryAdded" and found["entry"]["level"] in ("error", "warning"):
            self.complaints.append(found["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(found["request"]["url"])


@contextmanager
def chromium(program: str, profile: Path) -> Iterator[Tab]:
    """A browser with one tab, ended with all its processes."""
    process = subprocess.Popen(
        [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # A group of its own, so that its helpers end with it.
        start_new_session=True,
    )
    try:
        port = _port(process, profile / "DevToolsActivePort")
        # A page's address is not known before the browser is asked for it.
        with connect(f"ws://127.0.0.1:{port[0]}{port[1]}", max_size=None, proxy=None) as browser:
            browser.send(
                json.dumps(
                    {"id": 1, "method": "Target.createTarget", "params": {"url": "about:blank"}}
                )
            )
            target = json.loads(browser.recv(PATIENCE))["result"]["targetId"]
            page = f"ws://127.0.0.1:{port[0]}/devtools/page/{target}"
            with connect(page, max_size=None, proxy=None) as socket:
                yield Tab(socket)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _port(process: subprocess.Popen[bytes], file: Path) -> tuple[str, str]:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        lines = file.read_text().split() if file.exists() else []
        if len(lines) == 2:
            return lines[0], lines[1]
        if process.poll() is not None:
            raise RuntimeError(f"chromium ended with status {process.returncode}")
        time.sleep(0.05)
    raise RuntimeError("chromium did not open its DevTools port in time")
