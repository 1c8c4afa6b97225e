"""A freshly started app to attack, and the people around it: its operator, guests, raters, researchers, strangers.

The operator works on the same home folder as the app, as the commands of ``python -m annotation`` do; everybody
else has HTTP and nothing more. Each attack gets network addresses of its own from 127.0.0.0/8, so that what one
attack does to the limits of its address does not disturb the next.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import soundfile

from annotation.bench.load import serve
from annotation.studio import Studio
from annotation.study import lifecycle
from annotation.study.rules import Study
from emotion_omni.types import Audio

HEADERS = {"X-Studio": "1"}
PLAYBACK_RATE = 1.25
PLAIN = {"training_right": 0, "traps_per_block": 0, "gold_per_block": 0, "repeats_per_block": 0}  # ordinary items only

SEARCH = """
import json, pathlib, sys

folder, texts, found = pathlib.Path(sys.argv[1]), json.load(sys.stdin), {}
for path in sorted(folder.rglob("*")):
    try:
        data = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError):  # deleted meanwhile, or a folder
        continue
    held = [text for text in texts if text.encode() in data or json.dumps(text)[1:-1].encode() in data]
    if held:
        found[str(path.relative_to(folder))] = held
print(json.dumps(found))
"""  # a program of its own


class Breach(Exception):
    """An expectation that did not hold. The message says what was found."""


def expect(holds: bool, found: str) -> None:
    if not holds:
        raise Breach(found)


@dataclass
class Person:
    """A browser (or a script) at one network address. ``rater``: the pseudonym, once signed in."""

    http: httpx.Client
    rater: str = ""

    def post(self, path: str, headers: Mapping[str, str] = HEADERS, **body: Any) -> httpx.Response:
        return self.http.post(f"/studio/{path}", json=body, headers=headers)

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.http.get(f"/studio/{path}", headers=headers)

    def next(self, study: str) -> dict[str, Any]:
        return self.post("next", study=study).json()

    def fetch(self, screen: Mapping[str, Any]) -> dict[str, str]:
        """Every clip of a screen → its proofs."""
        return {str(clip["n"]): self.get(clip["url"]).headers.get("x-proof", "") for clip in screen["clips"]}

    def report(self, screen: Mapping[str, Any], proofs: Mapping[str, str], **changes: Any) -> httpx.Response:
        """Claim that every clip was played to its end."""
        played = [
            {"clip": clip["n"], "from": 0.0, "to": clip["seconds"], "rate": 1.25, "muted": False, "visible": True}
            for clip in screen["clips"]
        ]
        played = [segment | changes for segment in played]
        return self.post(
            "heard", assignment=screen["assignment"], receipt=screen["receipt"], proofs=dict(proofs), played=played
        )

    def listen(self, screen: Mapping[str, Any]) -> str:
        """Really fetch every clip and wait as long as it plays → the receipt."""
        proofs, receipt = {}, screen["receipt"]
        for clip in screen["clips"]:
            proofs[str(clip["n"])] = self.get(clip["url"]).headers.get("x-proof", "")
            time.sleep(clip["seconds"] / PLAYBACK_RATE + 0.02)
            played = {
                "clip": clip["n"],
                "from": 0.0,
                "to": clip["seconds"],
                "rate": 1.25,
                "muted": False,
                "visible": True,
            }
            answer = self.post(
                "heard", assignment=screen["assignment"], receipt=receipt, proofs=proofs, played=[played]
            ).json()
            receipt = answer.get("receipt", receipt)
        return receipt

    def submit(self, screen: Mapping[str, Any], receipt: str, **changes: Any) -> httpx.Response:
        form = {
            "submit_id": str(uuid.uuid4()),
            "assignment": screen["assignment"],
            "receipt": receipt,
            "values": filled(screen),
            "seconds": 5.0,
        }
        return self.post("submit", **(form | changes))

    def rate(self, screen: Mapping[str, Any], **changes: Any) -> httpx.Response:
        return self.submit(screen, self.listen(screen), **changes)


def filled(screen: Mapping[str, Any]) -> dict[str, Any]:
    """The first allowed value for every required question."""
    values: dict[str, Any] = {}
    for scale in screen.get("scales", ()):
        if scale["required"] and scale["kind"] == "choice":
            values[scale["name"]] = scale["options"][0]["value"]
        elif scale["required"] and scale["kind"] == "points":
            values[scale["name"]] = scale["low"]
        elif scale["required"]:
            values[scale["name"]] = "x"
    return values


@dataclass
class Target:
    """The app, its operator's handle, and addresses to come from."""

    home: Path
    port: int
    studio: Studio
    environment: Mapping[str, str] = field(default_factory=dict)
    _addresses: Iterator[int] = field(default_factory=lambda: itertools.count(256))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # -- people

    def address(self) -> str:
        """A loopback address that nobody has used before."""
        with self._lock:
            number = next(self._addresses)
        return f"127.{number // 65536 + 1}.{number // 256 % 256}.{number % 256}"

    def person(self, address: str | None = None, rater: str = "", **cookies: str) -> Person:
        transport = httpx.HTTPTransport(local_address=address or self.address())
        return Person(httpx.Client(base_url=self.url, transport=transport, cookies=cookies, timeout=60), rater)

    def guest(self, name: str = "Guest", address: str | None = None) -> Person:
        person = self.person(address)
        answer = person.post("enter", guest=True, name=name)
        expect(answer.status_code == 200, f"a guest could not enter: {answer.status_code} {answer.text[:200]}")
        person.rater = answer.json()["rater"]["id"]
        return person

    def invited(self, role: str = "rater", study: str | None = None, name: str = "Invited") -> Person:
        person = self.person()
        answer = person.post("enter", invite=self.studio.people.invites.create(role, study, name=name))
        expect(answer.status_code == 200, f"an invite did not open: {answer.status_code} {answer.text[:200]}")
        person.rater = answer.json()["rater"]["id"]
        return person

    def enrolled(self, study: str, person: Person | None = None) -> Person:
        """A guest whom the operator has let past consent, sound check and training."""
        person = person or self.guest()
        self.studio.store.write(lambda transaction: _enroll(transaction, study, person.rater))
        return person

    # -- the operator's work

    def study(self, template: str = "emotion-recognition", items: int = 4, seconds: float = 0.4, **rules: Any) -> str:
        """A study of short tones → its id. Only ordinary items unless the rules say otherwise."""
        settings = {"title": "Target", "template": template} | PLAIN | rules
        clips = [self.studio.clips.add(tone(seconds, 200 + 40 * number)) for number in range(items)]
        study = Study.read(settings)
        rows = [
            {"role": "rate", "content": {"clips": dict.fromkeys(study.form.clips, clip), "texts": {}}} for clip in clips
        ]
        name = uuid.uuid4().hex[:12]
        lifecycle.create(self.studio.store, self.studio.clips, study, rows, study=name)
        return name

    def expected(self, screen: Mapping[str, Any]) -> dict[str, Any]:
        """What the operator knows to be right for a check."""
        with self.studio.store.read() as view:
            item = view.item(self.assignment(screen)["item"])
        return (item and item["expected"]) or {}

    def kind(self, screen: Mapping[str, Any]) -> str:
        """What an item is in truth: rate, trap, gold, repeat, sound, training."""
        return self.assignment(screen)["kind"]

    def assignment(self, screen: Mapping[str, Any]) -> dict[str, Any]:
        with self.studio.store.read() as view:
            found = view.assignment(screen["assignment"])
        expect(found is not None, "the assignment of a screen is not in the store")
        return dict(found or {})

    def ratings(self, study: str) -> list[dict[str, Any]]:
        with self.studio.store.read() as view:
            return [dict(row) for row in view.ratings(study)]

    def bytes_holding(self, *texts: str, folder: Path | None = None) -> dict[str, list[str]]:
        """Every file below the home folder in whose bytes a text stands → the texts.

        Another process reads them: a process that closes a database's file gives up its own locks on it.
        """
        command = [sys.executable, "-c", SEARCH, str(folder or self.home)]
        found = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, check=True)
        return json.loads(found.stdout)


def _enroll(transaction: Any, study: str, rater: str) -> None:
    if transaction.enrolment(study, rater) is None:
        transaction.record("enrolled", study=study, rater=rater)
    transaction.record(
        "phase.changed", study=study, rater=rater, phase="task", block=0, slot=0, block_began=time.time()
    )


@contextlib.contextmanager
def started(home: Path) -> Iterator[Target]:
    """The whole app on a home folder, and its operator."""
    studio = Studio.open(home)
    try:
        with serve(home) as (port, _):
            yield Target(home, port, studio)
    finally:
        studio.close()


def tone(seconds: float, pitch: float = 220.0, hz: int = 24_000) -> Audio:
    times = np.arange(int(seconds * hz)) / hz
    return Audio((0.2 * np.sin(2 * np.pi * pitch * times)).astype(np.float32), hz)


def decoded(data: bytes) -> np.ndarray:
    samples, _ = soundfile.read(io.BytesIO(data), dtype="int16")
    return samples


def same_sound(one: np.ndarray, other: np.ndarray) -> bool:
    return len(one) == len(other) and bool(np.array_equal(one, other))
