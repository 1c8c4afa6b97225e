"""Zero lost ratings, put to the test: a thousand submits while the server is killed again and again.

``python -m annotation chaos`` kills the rating server with SIGKILL at random moments. Raters notice as a
browser does (the connection breaks), wait, and send the same rating again under the same submit id. At the
end the store must hold every acknowledged rating, none twice, and its rebuild from the event log must agree.
"""

from __future__ import annotations

import http.client
import random
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from annotation.bench import load
from annotation.bench.load import STUDY, Client, filled, listen
from annotation.store.store import Store
from emotion_omni import processors

PATIENCE_SECONDS = 30.0  # a rater retries for so long


class Trial:
    """What the raters sent and what was acknowledged, while servers come and go."""

    def __init__(self, wanted: int) -> None:
        self.wanted, self.lock = wanted, threading.Lock()
        self.acknowledged: list[str] = []
        self.retries = self.refused = 0

    @property
    def over(self) -> bool:
        return len(self.acknowledged) >= self.wanted


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
        killed = _come_and_go(trial, home, port, kills, random.Random(seed), threads)
        report = {
            "submits": submits,
            "kills": killed,
            "raters": raters,
            "seconds": round(time.monotonic() - started, 1),
        }
        return report | _verdict(home, trial) | {"machine": processors.describe()}


def _come_and_go(
    trial: Trial, home: Path, port: int, kills: int, draw: random.Random, threads: list[threading.Thread]
) -> int:
    """Serve, kill in the middle of things, serve again; the last server is left to finish."""
    killed = 0
    while not trial.over and killed < kills:
        with load.served(home, port, page=False) as (_, process):
            target = trial.wanted * (killed + draw.random()) / (kills + 1)
            _until(lambda target=target: len(trial.acknowledged) >= target or trial.over)
            time.sleep(draw.random() * 0.05)
            process.kill()  # SIGKILL: no goodbye, no flush
            killed += 1
    with load.served(home, port, page=False):
        for thread in threads:
            thread.join()
    return killed


def _until(true: Any, seconds: float = 60.0) -> None:
    stop = time.monotonic() + seconds
    while not true() and time.monotonic() < stop:
        time.sleep(0.005)


def _rate(trial: Trial, port: int, cookie: str, seed: int) -> None:
    draw = random.Random(seed)
    while not trial.over:
        screen = _insist(trial, port, cookie, lambda client: client.post("next", study=STUDY))
        if screen.get("screen") == "break":
            _insist(trial, port, cookie, lambda client: client.post("phase", study=STUDY, phase="break", answers={}))
        elif screen.get("screen") == "rate":
            receipt = _insist(
                trial, port, cookie, lambda client, screen=screen: (200, {"receipt": listen(client, screen)})
            )["receipt"]
            form = filled(screen, receipt, draw)
            answer = _insist(trial, port, cookie, lambda client, form=form: client.post("submit", **form))
            with trial.lock:
                if answer.get("saved"):
                    trial.acknowledged.append(form["submit_id"])
                else:
                    trial.refused += 1
        else:
            return


def _insist(trial: Trial, port: int, cookie: str, ask: Any) -> dict[str, Any]:
    """Ask until there is an answer, as the page does after a lost connection."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        client = Client(port, cookie)
        try:
            return ask(client)[1]
        except (OSError, http.client.HTTPException, ValueError):
            if time.monotonic() > until:
                raise
            with trial.lock:
                trial.retries += 1
            time.sleep(0.1)
        finally:
            client.close()


def _verdict(home: Path, trial: Trial) -> dict[str, Any]:
    store = Store(home)
    with store.read() as view:
        kept = view.ratings(STUDY)
    rebuilt = store.rebuild()
    with store.read() as view:
        again = view.ratings(STUDY)
    store.close()
    ids = Counter(row["id"] for row in kept)
    per_item = Counter(row["item"] for row in kept if row["kind"] == "rate")
    return {
        "acknowledged": len(trial.acknowledged),
        "lost": sum(submit not in ids for submit in trial.acknowledged),
        "duplicated": sum(count > 1 for count in per_item.values()),
        "refused": trial.refused,
        "retries": trial.retries,
        "stored": len(kept),
        "events_replayed": rebuilt,
        "rebuild_agrees": kept == again,
    }
