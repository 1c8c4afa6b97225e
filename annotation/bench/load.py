"""Many raters at once: how long they wait for the next item and for their rating to be stored.

``python -m annotation load`` starts the whole app (page, rating routes, store) as a process of its own on an
empty home, makes a study of short clips, and lets simulated raters work without a pause: fetch the next
item, fetch its clip, really wait while it "plays", report it, submit. Then it checks the store against what
was acknowledged, and that values off the scale, items of others and unheard clips were refused.

The client is Python's own ``http.client`` in threads: it shares the machine with the server, so it must be
light, and connections are kept as a browser keeps them.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from annotation.store.benchmark import fill
from annotation.store.store import Store
from annotation.studio import Studio
from annotation.study import lifecycle
from annotation.study.rules import Study
from emotion_omni import processors
from emotion_omni.types import Audio, EmotionOmniError

TONE_SECONDS = 0.1  # "no think time" still means hearing the clip; a short one puts the load on the server
STUDY = "load"
START_SECONDS = 120


@dataclass
class Tally:
    """What all raters saw. Seconds of each request by kind, and everything that went wrong."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {"next": [], "clip": [], "heard": [], "submit": []})
    acknowledged: list[tuple[str, str]] = field(default_factory=list)  # (submit id, assignment)
    failures: Counter = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, kind: str, seconds: float) -> None:
        with self.lock:
            self.seconds[kind].append(seconds)

    def fail(self, what: str) -> None:
        with self.lock:
            self.failures[what] += 1


class Client:
    """One browser: a connection that is kept, a session cookie, JSON."""

    def __init__(self, port: int, cookie: str = "") -> None:
        self.port, self.cookie = port, cookie
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def post(self, path: str, **body: Any) -> tuple[int, dict[str, Any]]:
        headers = {"Content-Type": "application/json", "X-Studio": "1", "Cookie": self.cookie}
        status, _, data = self._send("POST", path, json.dumps(body).encode(), headers)
        return status, json.loads(data)

    def get(self, path: str) -> tuple[int, str, bytes]:
        """→ status, proof, bytes."""
        return self._send("GET", path, None, {"Cookie": self.cookie})

    def _send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, str, bytes]:
        self.connection.request(method, f"/studio/{path}", body, headers)
        answer = self.connection.getresponse()
        return answer.status, answer.headers.get("X-Proof", ""), answer.read()

    def close(self) -> None:
        self.connection.close()


# --- the server -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def served(home: Path, port: int | None = None, page: bool = True) -> Iterator[tuple[int, subprocess.Popen]]:
    """The app (or the rating routes without the page) as a process of its own → its port and the process."""
    port = port or free_port()
    environment = os.environ | {"EMOTION_OMNI_HOME": str(home), "GRADIO_ANALYTICS_ENABLED": "False"}
    whole = ["emotion_omni", "serve", "--engine", "fake"] if page else ["annotation", "routes"]
    command = [sys.executable, "-m", *whole, "--port", str(port)]
    root = Path(__file__).parents[2]
    with (home / "server.txt").open("a") as output:
        process = subprocess.Popen(command, env=environment, cwd=root, stdout=output, stderr=subprocess.STDOUT)
    try:
        _wait_for(port, process, home)
        yield port, process
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _wait_for(port: int, process: subprocess.Popen, home: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise EmotionOmniError("The app did not start:\n" + (home / "server.txt").read_text()[-2000:], "no-server")
        with contextlib.suppress(OSError, http.client.HTTPException):
            client = Client(port)
            if client.get("me")[0] == 200:
                client.close()
                return
        time.sleep(0.1)
    raise EmotionOmniError(f"The app did not answer within {START_SECONDS} s.", "no-server")


def prepare(home: Path, raters: int, items: int, overlap: int, stored: int = 0) -> list[str]:
    """A study of short clips, raters past their training, ratings stored before → the raters' session cookies."""
    studio = Studio.open(home)
    # Spoken traps and gold items last four seconds each, in which a rater puts no load on anything.
    spoken = {"training_right": 0, "traps_per_block": 0, "gold_per_block": 0}
    rules = Study.read({"title": "Load", "template": "emotion-recognition", "ratings_per_item": overlap} | spoken)
    clips = [studio.clips.add(_clip(number)) for number in range(8)]
    rows = [{"role": "rate", "content": {"clips": {"speech": clips[n % 8]}, "texts": {}}} for n in range(items)]
    lifecycle.create(studio.store, studio.clips, rules, rows, study=STUDY)
    names = [studio.people.accounts.add_guest(f"Rater {number}") for number in range(raters)]
    studio.store.write(lambda transaction: [_begin(transaction, name) for name in names])
    if stored:
        fill(studio.store, stored)
    cookies = [f"studio={studio.people.logins.issue(name)}" for name in names]
    studio.store.close()
    return cookies


def _clip(number: int) -> Audio:
    """So short that hearing it hardly slows a rater. Equalising frames it with 0.4 s of silence."""
    times = np.arange(int(TONE_SECONDS * 24_000)) / 24_000
    return Audio((0.2 * np.sin(2 * np.pi * (200 + 40 * number) * times)).astype(np.float32), 24_000)


def _begin(transaction: Any, rater: str) -> None:
    transaction.record("enrolled", study=STUDY, rater=rater)
    transaction.record(
        "phase.changed", study=STUDY, rater=rater, phase="task", block=0, slot=0, block_began=time.time()
    )


# --- raters -----------------------------------------------------------------------------------------------------


def rate(port: int, cookie: str, until: float, tally: Tally, seed: int) -> None:
    """One rater at work until the time is over or nothing is left."""
    client, draw = Client(port, cookie), random.Random(seed)
    try:
        while time.monotonic() < until and _rate_one(client, draw, tally):
            pass
    except (OSError, http.client.HTTPException, ValueError) as error:
        tally.fail(type(error).__name__)
    finally:
        client.close()


def _rate_one(client: Client, draw: random.Random, tally: Tally) -> bool:
    status, screen = _timed(tally, "next", client.post, "next", study=STUDY)
    if status != 200:
        tally.fail(f"next {status}")
        return False
    if screen["screen"] == "break":
        client.post("phase", study=STUDY, phase="break", answers={})
        return True
    if screen["screen"] != "rate":
        return False
    receipt = listen(client, screen, tally)
    status, answer = _timed(tally, "submit", client.post, "submit", **(form := filled(screen, receipt, draw)))
    if status == 200 and answer["saved"]:
        with tally.lock:
            tally.acknowledged.append((form["submit_id"], form["assignment"]))
    else:
        tally.fail(f"submit {status} {answer.get('error', {}).get('code')}")
    return True


def listen(client: Client, screen: dict[str, Any], tally: Tally | None = None) -> str:
    """Fetch every clip, wait as long as playing it takes, report it → the receipt."""
    tally, proofs, played = tally or Tally(), {}, []
    for clip in screen["clips"]:
        status, proof, _ = _timed(tally, "clip", client.get, clip["url"])
        if status != 200:
            tally.fail(f"clip {status}")
        proofs[str(clip["n"])] = proof
        played.append(
            {"clip": clip["n"], "from": 0.0, "to": clip["seconds"], "rate": 1.25, "muted": False, "visible": True}
        )
        time.sleep(clip["seconds"] / 1.25)
    if not played:
        return screen["receipt"]
    report = {"assignment": screen["assignment"], "receipt": screen["receipt"], "proofs": proofs, "played": played}
    return _timed(tally, "heard", client.post, "heard", **report)[1].get("receipt", "")


def filled(screen: dict[str, Any], receipt: str, draw: random.Random) -> dict[str, Any]:
    """A form as the browser would send it, every required question answered by chance."""
    values = {}
    for scale in screen["scales"]:
        if scale["required"] and scale["kind"] == "choice":
            values[scale["name"]] = draw.choice(scale["options"])["value"]
        elif scale["required"] and scale["kind"] == "points":
            values[scale["name"]] = draw.randint(scale["low"], scale["high"])
    return {
        "submit_id": str(uuid.uuid4()),
        "assignment": screen["assignment"],
        "receipt": receipt,
        "values": values,
        "seconds": 1.0,
    }


def _timed(tally: Tally, kind: str, call: Any, *arguments: Any, **more: Any) -> Any:
    started = time.perf_counter()
    result = call(*arguments, **more)
    tally.add(kind, time.perf_counter() - started)
    return result


# --- the report -------------------------------------------------------------------------------------------------


def run(
    raters: int = 100, seconds: float = 25.0, stored: int = 0, overlap: int = 1, home: Path | None = None
) -> dict[str, Any]:
    """The whole measurement → one object of figures."""
    with tempfile.TemporaryDirectory() as scratch:
        home = home or Path(scratch)
        home.mkdir(parents=True, exist_ok=True)
        cookies = prepare(home, raters, items=max(2000, int(raters * seconds * 4)), overlap=overlap, stored=stored)
        with served(home) as (port, process):
            refused = _refusals(port, cookies[0], cookies[1 % len(cookies)])
            tally, elapsed = _work(port, cookies, seconds)
            memory = _resident_megabytes(process.pid)
        report = {"raters": raters, "stored_before": stored, "overlap": overlap} | _report(
            home, tally, elapsed, overlap
        )
        return report | {"server_memory_mb": memory, "refused": refused, "machine": processors.describe()}


def _work(port: int, cookies: list[str], seconds: float) -> tuple[Tally, float]:
    tally, started = Tally(), time.monotonic()
    threads = [
        threading.Thread(target=rate, args=(port, cookie, started + seconds, tally, seed))
        for seed, cookie in enumerate(cookies)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return tally, time.monotonic() - started


def _refusals(port: int, cookie: str, other: str) -> dict[str, bool]:
    """What must be refused: an unheard clip, a value off its scale, an item that was handed to somebody else."""
    client, stranger = Client(port, cookie), Client(port, other)
    screen = client.post("next", study=STUDY)[1]
    draw = random.Random(0)
    unheard = client.post("submit", **filled(screen, screen["receipt"], draw))
    receipt = listen(client, screen)
    off = filled(screen, receipt, draw)
    off["values"]["intensity"] = 99
    beyond = client.post("submit", **off)
    foreign = stranger.post("submit", **filled(screen, receipt, draw))
    found = {"unheard": unheard, "off_scale": beyond, "not_handed_out": foreign}
    client.close()
    stranger.close()
    return {name: status >= 400 for name, (status, _) in found.items()}


def _report(home: Path, tally: Tally, elapsed: float, overlap: int) -> dict[str, Any]:
    """Times as the raters saw them, and what the store holds against what was acknowledged."""
    store = Store(home)
    with store.read() as view:
        kept = {row["id"]: row for row in view.ratings(STUDY)}
    store.close()
    per_item = Counter(row["item"] for row in kept.values() if row["kind"] == "rate")
    figures: dict[str, Any] = {
        "seconds": round(elapsed, 2),
        "ratings": len(tally.acknowledged),
        "ratings_per_second": round(len(tally.acknowledged) / elapsed, 1),
    }
    for kind, seconds in tally.seconds.items():
        figures |= {f"{kind}_p50_s": _percentile(seconds, 50), f"{kind}_p95_s": _percentile(seconds, 95)}
    return figures | {
        "failed": sum(tally.failures.values()),
        "failures": dict(tally.failures),
        "lost": sum(submit not in kept for submit, _ in tally.acknowledged),
        "double_assignments": sum(count > overlap for count in per_item.values()),
    }


def _percentile(seconds: list[float], share: float) -> float | None:
    return round(float(np.percentile(seconds, share)), 4) if seconds else None


def _resident_megabytes(process: int) -> float | None:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return round(int(line.split()[1]) / 1024, 1)
    return None
