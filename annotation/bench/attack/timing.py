"""One visitor who tries to stall the server for all. Each attack looks at how long somebody else waits."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from annotation.bench.attack.registry import attack
from annotation.bench.attack.target import Target, expect
from annotation.bench.load import serve
from annotation.store.benchmark import fill

LONGEST_WAIT_SECONDS = 0.35  # of somebody else's request while the attack runs
EVENTS = 100_000


def waits(target: Target, act: Callable[[], object]) -> float:
    """The longest answer that another visitor waits for while ``act`` runs, in seconds."""
    visitor, over, longest = target.person(), threading.Event(), 0.0
    visitor.get("me")

    def look() -> None:
        nonlocal longest
        while not over.is_set():
            began = time.perf_counter()
            status = visitor.get("me").status_code
            longest = max(longest, time.perf_counter() - began)
            expect(status == 200, f"another visitor is answered with {status}")
            time.sleep(0.05)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        act()
    finally:
        over.set()
        thread.join()
    return longest


@attack("Reports of 400 tiny parts, far apart and heaped up over many reports, do not hold up other visitors.")
def crafted_reports(target: Target) -> None:
    study = target.study(seconds=400.0, items=1)
    person = target.enrolled(study)
    screen = person.next(study)
    body = {"assignment": screen["assignment"], "receipt": screen["receipt"], "proofs": person.fetch(screen)}
    time.sleep(3)  # there must be time left for what is reported, or nothing is added
    for report in range(12):  # heap up spans
        body["receipt"] = person.post("heard", **body, played=crumbs(report)).json()["receipt"]

    def act() -> None:
        for _ in range(3):
            person.post("heard", **body, played=crumbs(12))

    longest = waits(target, act)
    expect(len(body["receipt"]) > 10_000, "the receipt has few spans, so nothing was tested")
    expect(longest < LONGEST_WAIT_SECONDS, f"others wait {longest:.2f} s")


def crumbs(report: int) -> list[dict[str, Any]]:
    """400 parts that cannot be joined to others: each lies further from the next than an inaudible gap."""
    starts = [(report * 400 + number) * 0.07 for number in range(400)]
    return [
        {"clip": 0, "from": start, "to": start + 0.001, "rate": 1.0, "muted": False, "visible": True}
        for start in starts
    ]


@attack("Withdrawing from a study that does not exist costs nothing, however long the log is.")
def withdrawing_from_nowhere(target: Target) -> None:
    target.study(items=50)
    fill(target.studio.store, EVENTS)
    person = target.guest()
    began = time.perf_counter()
    for _ in range(3):
        person.post("withdraw", study="nowhere")
    each = (time.perf_counter() - began) / 3
    expect(each < LONGEST_WAIT_SECONDS, f"each takes {each:.2f} s with {EVENTS:,} events")


@attack("Wrong passwords by the dozen do not hold up other visitors.")
def many_passwords(target: Target) -> None:
    def act() -> None:
        threads = [
            threading.Thread(target=lambda n=n: target.person().post("enter", name=f"nobody{n}", password="wrong"))
            for n in range(40)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    longest = waits(target, act)
    expect(longest < 1.0, f"others wait {longest:.2f} s")


@attack("A studio for rating alone takes no uploads of strangers.")
def uploads_while_only_rating(target: Target) -> None:
    import os

    os.environ["STUDIO_RATING_ONLY"] = "1"
    try:
        with tempfile.TemporaryDirectory() as folder, serve(Path(folder)) as (port, _):
            answer = httpx.post(
                f"http://127.0.0.1:{port}/gradio_api/upload", files={"files": ("x.wav", b"x" * 10_000_000)}, timeout=60
            )
    finally:
        del os.environ["STUDIO_RATING_ONLY"]
    expect(answer.status_code in (401, 403, 404, 413), f"10 MB of a stranger are kept: {answer.status_code}")


@attack("Uploads of one address are limited in number and size.")
def uploads_without_end(target: Target) -> None:
    person = target.person()
    statuses = [
        person.http.post("/gradio_api/upload", files={"files": (f"{n}.wav", b"x" * 1_000_000)}).status_code
        for n in range(60)
    ]
    expect(429 in statuses or 413 in statuses, "60 MB of a stranger were kept in one go")


@attack("The name of an upload leads nowhere and breaks nothing.")
def names_of_uploads(target: Target) -> None:
    for name in ("../../../app.py", "..\\..\\app.py", "a" * 3_000 + ".wav", "/etc/passwd", "\u202e.wav", "%2e%2e%2fx"):
        answer = target.person().http.post("/gradio_api/upload", files={"files": (name, b"x")})
        expect(answer.status_code < 500, f"{name[:30]!r}: {answer.status_code}")
        if answer.status_code == 200:
            kept = answer.json()[0]
            expect("gradio" in Path(kept).parts and ".." not in Path(kept).parts, f"{name[:30]!r} is kept as {kept}")


@attack("Uploads that do not say their length are counted as they arrive.")
def uploads_without_length(target: Target) -> None:
    person = target.person()
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="x.wav"\r\n\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    statuses = []
    for _ in range(4):
        pieces = (head, *(b"x" * 1_000_000 for _ in range(30)), b"\r\n--x--\r\n")
        statuses.append(person.http.post("/gradio_api/upload", content=iter(pieces), headers=headers).status_code)
    expect(429 in statuses or 413 in statuses, f"120 MB of a stranger were kept in one go: {statuses}")
