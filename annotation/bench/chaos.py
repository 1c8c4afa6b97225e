"""Crash test: no acknowledged rating is lost while the server is killed again and again.

``python -m annotation chaos`` kills the rating server with SIGKILL at random times. Raters notice as a browser does
(the connection breaks), wait, and send the same rating again with the same submit id. At the end the store must hold
every acknowledged rating, none twice, and a rebuild from the event log must give the same ratings.
"""

from __future__ import annotations

import http.client
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from annotation.bench import load
from annotation.bench.load import STUDY, Client, play_clips, random_form
from annotation.store.store import Store
from emotion_omni import processors

RETRY_SECONDS = 30.0  # after which a rater gives up
Result = TypeVar("Result")


class Trial:
    """What the raters sent and what was acknowledged, while servers stop and start."""

    def __init__(self, submits: int) -> None:
        self.submits, self.lock = submits, threading.Lock()
        self.acknowledged: list[str] = []
        self.retries = self.refused = 0

    @property
    def is_over(self) -> bool:
        return len(self.acknowledged) >= self.submits

    def record(self, submit_id: str, saved: bool) -> None:
        with self.lock:
            if saved:
                self.acknowledged.append(submit_id)
            else:
                self.refused += 1


def run(
    submits: int = 1000, kills: int = 6, raters: int = 40, seed: int = 0, home: Path | None = None
) -> dict[str, Any]:
    """→ one object: acknowledged, lost, duplicated, retries, kills."""
    with tempfile.TemporaryDirectory() as scratch:
        home = home or Path(scratch)
        home.mkdir(parents=True, exist_ok=True)
        cookies = load.prepare(home, raters, items=submits + raters * 4, overlap=1)
        trial, port, started = Trial(submits), load.free_port(), time.monotonic()
        threads = [threading.Thread(target=_rate, args=(trial, port, cookie, n)) for n, cookie in enumerate(cookies)]
        for thread in threads:
            thread.start()
        killed = _kill_repeatedly(trial, home, port, kills, random.Random(seed))
        with load.serve(home, port, page=False):
            for thread in threads:
                thread.join()
        elapsed = round(time.monotonic() - started, 1)
        report = {"submits": submits, "kills": killed, "raters": raters, "seconds": elapsed}
        return report | _compare_store(home, trial) | {"machine": processors.describe()}


def _kill_repeatedly(trial: Trial, home: Path, port: int, kills: int, generator: random.Random) -> int:
    """Serve and kill at random points of the trial → how many times."""
    killed = 0
    while not trial.is_over and killed < kills:
        with load.serve(home, port, page=False) as (_, process):
            _wait_for_submits(trial, trial.submits * (killed + generator.random()) / (kills + 1))
            time.sleep(generator.random() * 0.05)
            process.kill()  # SIGKILL: no shutdown, no flush
            killed += 1
    return killed


def _wait_for_submits(trial: Trial, count: float, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while len(trial.acknowledged) < count and not trial.is_over and time.monotonic() < until:
        time.sleep(0.005)


def _rate(trial: Trial, port: int, cookie: str, seed: int) -> None:
    """One rater until the trial is over or nothing is left."""
    generator = random.Random(seed)

    def post(path: str, **body: Any) -> dict[str, Any]:
        return _retry(trial, port, cookie, lambda client: client.post(path, **body)[1])

    while not trial.is_over:
        screen = post("next", study=STUDY)
        if screen.get("screen") == "break":
            post("phase", study=STUDY, phase="break", answers={})
        elif screen.get("screen") == "rate":
            receipt = _retry(trial, port, cookie, partial(play_clips, screen=screen))
            form = random_form(screen, receipt, generator)
            trial.record(form["submit_id"], saved=bool(post("submit", **form).get("saved")))
        else:
            return


def _retry(trial: Trial, port: int, cookie: str, request: Callable[[Client], Result]) -> Result:
    """Repeat a request on new connections until there is an answer, as the page does after a lost connection."""
    until = time.monotonic() + RETRY_SECONDS
    while True:
        client = Client(port, cookie)
        try:
            return request(client)
        except (OSError, http.client.HTTPException, ValueError):
            if time.monotonic() > until:
                raise
            with trial.lock:
                trial.retries += 1
            time.sleep(0.1)
        finally:
            client.close()


def _compare_store(home: Path, trial: Trial) -> dict[str, Any]:
    """The store, and its rebuild from the event log, against the ratings that were acknowledged."""
    store = Store(home)
    with store.read() as view:
        stored = view.ratings(STUDY)
    events = store.rebuild()
    with store.read() as view:
        rebuilt = view.ratings(STUDY)
    store.close()
    ids = {row["id"] for row in stored}
    per_item = Counter(row["item"] for row in stored if row["kind"] == "rate")
    return {
        "acknowledged": len(trial.acknowledged),
        "lost": sum(submit_id not in ids for submit_id in trial.acknowledged),
        "duplicated": sum(count > 1 for count in per_item.values()),
        "refused": trial.refused,
        "retries": trial.retries,
        "stored": len(stored),
        "events_replayed": events,
        "rebuild_agrees": stored == rebuilt,
    }
