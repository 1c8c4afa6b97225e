"""Load test: how long raters wait for the next item and for their rating to be stored, many of them at once.

``python -m annotation load`` starts the whole app (page, rating routes, store) as a process on an empty home, makes a
study of short clips, and simulates raters without think time: get the next item, get its clip, wait while it plays,
report that, submit. Then it compares the store with the ratings that were acknowledged, and checks that values off
the scale, items of other raters and clips that were not played are refused.

The client is Python's ``http.client`` in threads: it shares the machine with the server, so it must be light, and it
keeps connections open as a browser does.
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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from annotation.store.benchmark import fill
from annotation.store.files import private
from annotation.store.store import Store
from annotation.store.transaction import Transaction
from annotation.studio import Studio
from annotation.study import lifecycle
from annotation.study.rules import Study
from emotion_omni import processors
from emotion_omni.types import Audio, EmotionOmniError

STUDY = "load"
CLIP_SECONDS = 0.1  # raters play every clip; short ones put the load on the server
PLAYBACK_RATE = 1.25
START_SECONDS = 120
CLIPS = 8


@dataclass
class Measurements:
    """Seconds of each request by kind, acknowledged ratings, and everything that failed, over all raters."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {"next": [], "clip": [], "heard": [], "submit": []})
    acknowledged: list[str] = field(default_factory=list)  # submit ids
    failures: Counter = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def timed(self, kind: str, request: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        started = time.perf_counter()
        result = request(*arguments, **options)
        with self.lock:
            self.seconds[kind].append(time.perf_counter() - started)
        return result

    def acknowledge(self, submit_id: str) -> None:
        with self.lock:
            self.acknowledged.append(submit_id)

    def fail(self, reason: str) -> None:
        with self.lock:
            self.failures[reason] += 1


class Client:
    """One browser: a persistent connection, a login cookie, JSON."""

    def __init__(self, port: int, cookie: str = "") -> None:
        self.port, self.cookie = port, cookie
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def post(self, path: str, **body: Any) -> tuple[int, dict[str, Any]]:
        """→ status and JSON."""
        headers = {"Content-Type": "application/json", "X-Studio": "1", "Cookie": self.cookie}
        status, _, data = self._send("POST", path, json.dumps(body).encode(), headers)
        return status, json.loads(data)

    def get(self, path: str) -> tuple[int, str, bytes]:
        """→ status, playback proof, bytes."""
        return self._send("GET", path, None, {"Cookie": self.cookie})

    def _send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, str, bytes]:
        self.connection.request(method, f"/studio/{path}", body, headers)
        response = self.connection.getresponse()
        return response.status, response.headers.get("X-Proof", ""), response.read()

    def close(self) -> None:
        self.connection.close()


# --- the server -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def serve(home: Path, port: int | None = None, page: bool = True) -> Iterator[tuple[int, subprocess.Popen]]:
    """The app (or the rating routes without the page) as a process → its port and the process."""
    port = port or free_port()
    environment = os.environ | {"EMOTION_OMNI_HOME": str(home), "GRADIO_ANALYTICS_ENABLED": "False"}
    app = ["emotion_omni", "serve", "--engine", "fake"] if page else ["annotation", "routes"]
    command = [sys.executable, "-m", *app, "--port", str(port)]
    root = Path(__file__).parents[2]
    with open(home / "server.txt", "a", opener=private) as output:
        process = subprocess.Popen(command, env=environment, cwd=root, stdout=output, stderr=subprocess.STDOUT)
    try:
        _wait_until_ready(port, process, home)
        yield port, process
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _wait_until_ready(port: int, process: subprocess.Popen, home: Path) -> None:
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
    """A study of short clips, raters past their training, ``stored`` earlier ratings → the raters' login cookies."""
    studio = Studio.open(home)
    # Spoken traps and gold items last four seconds each, in which a rater causes no load.
    no_checks = {"training_right": 0, "traps_per_block": 0, "gold_per_block": 0, "break_seconds": 0}
    rules = Study.read({"title": "Load", "template": "emotion-recognition", "ratings_per_item": overlap} | no_checks)
    clips = [studio.clips.add(_tone(number)) for number in range(CLIPS)]
    rows = [{"role": "rate", "content": {"clips": {"speech": clips[n % CLIPS]}, "texts": {}}} for n in range(items)]
    lifecycle.create(studio.store, studio.clips, rules, rows, study=STUDY)
    names = [studio.people.accounts.add_guest(f"Rater {number}") for number in range(raters)]
    studio.store.write(lambda transaction: _enroll(transaction, names))
    if stored:
        fill(studio.store, stored)
    cookies = [f"studio={studio.people.logins.issue(name)}" for name in names]
    studio.store.close()
    return cookies


def _tone(number: int) -> Audio:
    """A clip so short that playing it hardly slows a rater; equalizing adds 0.4 s of silence around it."""
    times = np.arange(int(CLIP_SECONDS * 24_000)) / 24_000
    return Audio((0.2 * np.sin(2 * np.pi * (200 + 40 * number) * times)).astype(np.float32), 24_000)


def _enroll(transaction: Transaction, raters: list[str]) -> None:
    for rater in raters:
        transaction.record("enrolled", study=STUDY, rater=rater)
        transaction.record(
            "phase.changed", study=STUDY, rater=rater, phase="task", block=0, slot=0, block_began=time.time()
        )


# --- raters -----------------------------------------------------------------------------------------------------


def simulate_rater(port: int, cookie: str, until: float, measured: Measurements, seed: int) -> None:
    """One rater until the monotonic time ``until`` or until nothing is left."""
    client, generator = Client(port, cookie), random.Random(seed)
    try:
        while time.monotonic() < until and _rate_one(client, generator, measured):
            pass
    except (OSError, http.client.HTTPException, ValueError) as error:
        measured.fail(type(error).__name__)
    finally:
        client.close()


def _rate_one(client: Client, generator: random.Random, measured: Measurements) -> bool:
    """→ whether to go on."""
    status, screen = measured.timed("next", client.post, "next", study=STUDY)
    if status != 200:
        measured.fail(f"next {status}")
        return False
    if screen["screen"] == "break":
        client.post("phase", study=STUDY, phase="break", answers={})
        return True
    if screen["screen"] != "rate":
        return False
    form = random_form(screen, play_clips(client, screen, measured), generator)
    status, answer = measured.timed("submit", client.post, "submit", **form)
    if status == 200 and answer["saved"]:
        measured.acknowledge(form["submit_id"])
    else:
        measured.fail(f"submit {status} {answer.get('error', {}).get('code')}")
    return True


def play_clips(client: Client, screen: dict[str, Any], measured: Measurements | None = None) -> str:
    """Get every clip, wait as long as playing it takes, report it → the receipt."""
    measured = measured or Measurements()
    proofs, played = {}, []
    for clip in screen["clips"]:
        status, proof, _ = measured.timed("clip", client.get, clip["url"])
        if status != 200:
            measured.fail(f"clip {status}")
        proofs[str(clip["n"])] = proof
        span = {"clip": clip["n"], "from": 0.0, "to": clip["seconds"], "rate": PLAYBACK_RATE}
        played.append(span | {"muted": False, "visible": True})
        time.sleep(clip["seconds"] / PLAYBACK_RATE)
    if not played:
        return screen["receipt"]
    report = {"assignment": screen["assignment"], "receipt": screen["receipt"], "proofs": proofs, "played": played}
    _, answer = measured.timed("heard", client.post, "heard", **report)
    return answer.get("receipt", "")


def random_form(screen: dict[str, Any], receipt: str, generator: random.Random) -> dict[str, Any]:
    """A form as the browser would send it, with a random answer to every required question."""
    values = {}
    for scale in screen["scales"]:
        if scale["required"] and scale["kind"] == "choice":
            values[scale["name"]] = generator.choice(scale["options"])["value"]
        elif scale["required"] and scale["kind"] == "points":
            values[scale["name"]] = generator.randint(scale["low"], scale["high"])
    return {
        "submit_id": str(uuid.uuid4()),
        "assignment": screen["assignment"],
        "receipt": receipt,
        "values": values,
        "seconds": 1.0,
    }


# --- the report -------------------------------------------------------------------------------------------------


def run(
    raters: int = 100, seconds: float = 25.0, stored: int = 0, overlap: int = 1, home: Path | None = None
) -> dict[str, Any]:
    """The whole measurement → one object of figures."""
    with tempfile.TemporaryDirectory() as scratch:
        home = home or Path(scratch)
        home.mkdir(parents=True, exist_ok=True)
        cookies = prepare(home, raters, items=max(2000, int(raters * seconds * 4)), overlap=overlap, stored=stored)
        with serve(home) as (port, process):
            refused = _refusals(port, cookies[0], cookies[1 % len(cookies)])
            measured, elapsed = _run_raters(port, cookies, seconds)
            memory = resident_megabytes(process.pid)
        report = {"raters": raters, "stored_before": stored, "overlap": overlap}
        report |= _figures(home, measured, elapsed, overlap)
        return report | {"server_memory_mb": memory, "refused": refused, "machine": processors.describe()}


def _run_raters(port: int, cookies: list[str], seconds: float) -> tuple[Measurements, float]:
    """→ what was measured, and the seconds until the last rater was done."""
    measured, started = Measurements(), time.monotonic()
    threads = [
        threading.Thread(target=simulate_rater, args=(port, cookie, started + seconds, measured, seed))
        for seed, cookie in enumerate(cookies)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return measured, time.monotonic() - started


def _refusals(port: int, cookie: str, other_cookie: str) -> dict[str, bool]:
    """Whether these were refused: a clip not played, a value off its scale, an item assigned to another rater."""
    client, other = Client(port, cookie), Client(port, other_cookie)
    screen = client.post("next", study=STUDY)[1]
    generator = random.Random(0)
    not_played = client.post("submit", **random_form(screen, screen["receipt"], generator))
    receipt = play_clips(client, screen)
    off_scale = random_form(screen, receipt, generator)
    off_scale["values"]["intensity"] = 99
    answers = {
        "unheard": not_played,
        "off_scale": client.post("submit", **off_scale),
        "not_handed_out": other.post("submit", **random_form(screen, receipt, generator)),
    }
    client.close()
    other.close()
    return {name: status >= 400 for name, (status, _) in answers.items()}


def _figures(home: Path, measured: Measurements, elapsed: float, overlap: int) -> dict[str, Any]:
    """Times as the raters saw them, and the store against the ratings that were acknowledged."""
    store = Store(home)
    with store.read() as view:
        stored = {row["id"]: row for row in view.ratings(STUDY)}
    store.close()
    per_item = Counter(row["item"] for row in stored.values() if row["kind"] == "rate")
    figures: dict[str, Any] = {
        "seconds": round(elapsed, 2),
        "ratings": len(measured.acknowledged),
        "ratings_per_second": round(len(measured.acknowledged) / elapsed, 1),
    }
    for kind, seconds in measured.seconds.items():
        figures |= {f"{kind}_p50_s": _percentile(seconds, 50), f"{kind}_p95_s": _percentile(seconds, 95)}
    return figures | {
        "failed": sum(measured.failures.values()),
        "failures": dict(measured.failures),
        "lost": sum(submit_id not in stored for submit_id in measured.acknowledged),
        "double_assignments": sum(count > overlap for count in per_item.values()),
    }


def _percentile(seconds: list[float], percent: float) -> float | None:
    return round(float(np.percentile(seconds, percent)), 4) if seconds else None


def resident_megabytes(process: int) -> float | None:
    """Resident memory of a process on Linux; ``None`` elsewhere."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return round(int(line.split()[1]) / 1024, 1)
    return None
