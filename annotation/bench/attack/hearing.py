"""Ratings of clips that were not heard."""

from __future__ import annotations

import time
from typing import Any

from annotation.bench.attack.registry import attack
from annotation.bench.attack.target import Person, Target, expect

SECONDS = 1.2  # of the clips: long enough to tell waiting from not waiting


def refused(person: Person, screen: dict[str, Any], proofs: dict[str, str], found: str, **changes: Any) -> None:
    """A claim that the clips of a screen were heard must not lead to a rating."""
    answer = person.report(screen, proofs, **changes)
    receipt = answer.json().get("receipt", screen["receipt"]) if answer.status_code == 200 else screen["receipt"]
    status = person.submit(screen, receipt).status_code
    expect(status == 409, f"{found}: {status}")


@attack("The time to hear a clip runs from its download, not from the moment the item was handed out.")
def waiting_before_the_download(target: Target) -> None:
    study = target.study(seconds=SECONDS)
    person = target.enrolled(study)
    screen = person.next(study)
    time.sleep(SECONDS + 0.6)
    refused(person, screen, person.fetch(screen), "after idling, a clip counts as heard the moment it was fetched")


@attack("HEAD gives no proof that a clip was fetched.")
def proof_without_bytes(target: Target) -> None:
    study = target.study(seconds=SECONDS)
    person = target.enrolled(study)
    screen = person.next(study)
    answer = person.http.head(f"/studio/{screen['clips'][0]['url']}")
    expect(not answer.headers.get("x-proof"), "HEAD carries the proof")


@attack("A range request for a few bytes gives no proof.")
def proof_for_a_few_bytes(target: Target) -> None:
    study = target.study(seconds=SECONDS)
    person = target.enrolled(study)
    screen = person.next(study)
    answer = person.get(screen["clips"][0]["url"], Range="bytes=0-9")
    whole = int(answer.headers.get("content-length", 0)) > 10 and answer.status_code == 200
    expect(whole or not answer.headers.get("x-proof"), "ten bytes bring the proof")


@attack("Nobody hears two studies at once: all clips of a rater share one clock.")
def two_studies_on_one_clock(target: Target) -> None:
    studies = [target.study(seconds=SECONDS) for _ in range(2)]
    person = target.guest()
    screens = []
    for study in studies:
        target.enrolled(study, person)
        screens.append(person.next(study))
    proofs = [person.fetch(screen) for screen in screens]
    time.sleep(screens[0]["clips"][0]["seconds"] / 1.25)
    statuses = []
    for screen, found in zip(screens, proofs, strict=True):
        receipt = person.report(screen, found).json().get("receipt", "")
        statuses.append(person.submit(screen, receipt).status_code)
    expect(statuses.count(200) <= 1, "two clips were heard in the time of one")


@attack("Nobody listens for somebody else: a second account's time does not count for the first one's item.")
def a_helper_reports(target: Target) -> None:
    study = target.study(items=2, seconds=SECONDS)
    person, helper = target.enrolled(study), target.guest()
    screen = person.next(study)
    proofs = person.fetch(screen)
    time.sleep(SECONDS + 0.5)
    answer = helper.report(screen, proofs)
    receipt = answer.json().get("receipt", screen["receipt"])
    expect(person.submit(screen, receipt).status_code == 409, "what another account reports counts")


@attack("The time in a proof cannot be changed.")
def proof_dated_back(target: Target) -> None:
    study = target.study(seconds=SECONDS)
    person = target.enrolled(study)
    screen = person.next(study)
    fetched, _, signature = person.fetch(screen)["0"].rpartition(".")
    expect(bool(fetched), "the proof has no time")
    refused(person, screen, {"0": f"{float(fetched or 0) - 60:.3f}.{signature}"}, "a proof with an earlier time counts")


@attack("Fetching every clip of several studies first does not make listening to them cheaper.")
def clips_fetched_in_advance(target: Target) -> None:
    studies = [target.study(seconds=SECONDS) for _ in range(4)]
    person = target.guest()
    screens = [target.enrolled(study, person).next(study) for study in studies]
    proofs = [person.fetch(screen) for screen in screens]
    time.sleep(2 * screens[0]["clips"][0]["seconds"] / 1.25)
    heard = [
        person.submit(screen, person.report(screen, found).json().get("receipt", "")).status_code
        for screen, found in zip(screens, proofs, strict=True)
    ]
    expect(heard.count(200) <= 2, f"{heard.count(200)} clips were heard in the time of two")


@attack("The clips of one item cannot be heard in the time of one of them.")
def two_clips_in_the_time_of_one(target: Target) -> None:
    study = target.study("compare", seconds=SECONDS)
    person = target.enrolled(study)
    screen = person.next(study)
    proofs = person.fetch(screen)
    time.sleep(screen["clips"][0]["seconds"] / 1.25)
    refused(person, screen, proofs, "all clips count as heard in the time of one")


@attack("A clip that was never fetched was not heard.")
def a_clip_that_was_not_fetched(target: Target) -> None:
    study = target.study(seconds=SECONDS)
    person = target.enrolled(study)
    screen = person.next(study)
    time.sleep(SECONDS + 0.5)
    refused(person, screen, {"0": "0" * 20}, "an unfetched clip counts")


def inattentive(target: Target, **changes: Any) -> None:
    study = target.study(seconds=SECONDS)
    person = target.enrolled(study)
    screen = person.next(study)
    proofs = person.fetch(screen)
    time.sleep(SECONDS + 0.5)
    refused(person, screen, proofs, f"a clip played with {changes} counts", **changes)


@attack("A muted clip was not heard.")
def muted(target: Target) -> None:
    inattentive(target, muted=True)


@attack("A clip on a hidden page was not heard.")
def hidden_page(target: Target) -> None:
    inattentive(target, visible=False)


@attack("A clip at 1.3 times its speed was not heard.")
def too_fast(target: Target) -> None:
    inattentive(target, rate=1.3)


@attack("Played places that are no numbers count nothing.")
def places_that_are_nan(target: Target) -> None:
    inattentive(target, to="NaN")


@attack("A rating posted at once with the receipt of the hand-out is refused.")
def instant_rating(target: Target) -> None:
    study = target.study(seconds=SECONDS)
    person = target.enrolled(study)
    screen = person.next(study)
    expect(person.submit(screen, screen["receipt"]).status_code == 409, "an unheard rating is accepted")


@attack("The receipt of one item is refused for another.")
def receipt_of_another_item(target: Target) -> None:
    study = target.study(items=3, seconds=0.4)
    person = target.enrolled(study)
    screen = person.next(study)
    receipt = person.listen(screen)
    person.submit(screen, receipt)
    other = person.next(study)
    expect(person.submit(other, receipt).status_code == 409, "a receipt serves two items")


@attack("A receipt that was changed or made up is refused.")
def forged_receipt(target: Target) -> None:
    study = target.study()
    person = target.enrolled(study)
    screen = person.next(study)
    for receipt in ("", "x.y", screen["receipt"][:-2] + "AA", screen["receipt"] + "A", None, 7, ["a"]):
        status = person.submit(screen, receipt).status_code  # type: ignore[arg-type]
        expect(status in (409, 422), f"receipt {receipt!r}: {status}")


@attack("A receipt and the proofs of one rater are no use to another.")
def receipt_of_another_rater(target: Target) -> None:
    study = target.study(items=2)
    one, other = target.enrolled(study), target.enrolled(study)
    screen = one.next(study)
    receipt = one.listen(screen)
    other.next(study)
    status = other.submit(screen, receipt).status_code
    expect(status in (403, 404, 409), f"somebody else's item: {status}")


@attack("Hearing the last tenth of a clip again and again does not add up to the whole.")
def one_part_again_and_again(target: Target) -> None:
    study = target.study(seconds=SECONDS)
    person = target.enrolled(study)
    screen = person.next(study)
    proofs = person.fetch(screen)
    end, receipt = screen["clips"][0]["seconds"], screen["receipt"]
    for _ in range(10):
        time.sleep(0.12)
        segment = {"clip": 0, "from": end - 0.12, "to": end, "rate": 1.0, "muted": False, "visible": True}
        body = {"assignment": screen["assignment"], "receipt": receipt, "proofs": proofs, "played": [segment]}
        receipt = person.post("heard", **body).json().get("receipt", receipt)
    expect(person.submit(screen, receipt).status_code == 409, "the end of a clip counts as the whole")
