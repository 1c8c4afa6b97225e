"""Many guests from one place: they try to take all of a study, or the time of the server."""

from __future__ import annotations

import time
import uuid
from typing import Any

import httpx

from annotation.bench.attack.registry import attack
from annotation.bench.attack.target import HEADERS, Person, Target, expect

FLOOD = 200


def enter(target: Target, address: str, name: str = "Bot", **headers: str) -> tuple[Person, httpx.Response]:
    person = target.person(address)
    answer = person.post("enter", headers={"X-Studio": "1"} | headers, guest=True, name=name)
    if answer.status_code == 200:
        person.rater = answer.json()["rater"]["id"]
    return person, answer


@attack("200 guests from one address cannot take the places of a study.")
def guests_take_a_study(target: Target) -> None:
    study = target.study(items=4, ratings_per_item=2)
    address, held = target.address(), 0
    for _ in range(FLOOD):
        person, answer = enter(target, address)
        if answer.status_code != 200:
            continue
        target.enrolled(study, person)  # even those who passed every check
        held += person.next(study).get("screen") == "rate"
    honest = target.enrolled(study)
    screen = honest.next(study)["screen"]
    expect(screen == "rate", f"{held} guests of one address hold items; the next rater sees {screen!r}")


@attack("Where all places are held by others, the next rater waits and is not told that it is over.")
def held_places_look_like_the_end(target: Target) -> None:
    study = target.study(items=4, ratings_per_item=1)
    for _ in range(4):
        target.enrolled(study).next(study)
    honest = target.enrolled(study)
    screen = honest.next(study)
    if screen["screen"] == "survey":
        honest.post("phase", study=study, phase="survey", answers={})
        screen = honest.next(study)
    expect(screen["screen"] == "wait", f"with 0 ratings the screen is {screen['screen']!r}")
    expect(not screen.get("code"), "there is a completion code for 0 ratings")


@attack("Nobody gets a completion code for less than the study's minimum of ratings.")
def a_code_for_nothing(target: Target) -> None:
    study = target.study(items=2, ratings_per_item=1, block_size=2)
    person = target.enrolled(study)
    for _ in range(6):
        screen = person.next(study)
        if screen["screen"] != "rate":
            break
        person.post("skip", assignment=screen["assignment"], reason="other")
    for phase in ("break", "survey"):
        person.post("phase", study=study, phase=phase, answers={})
    screen = person.next(study)
    expect(not screen.get("code"), f"a rater who skipped everything gets {screen.get('code')!r}")


@attack("A lease ends at a hard limit, however often it is renewed, and then the item goes to those who wait.")
def leases_kept_by_heartbeat(target: Target) -> None:
    study = target.study(items=1, ratings_per_item=1, lease_minutes=0.02)
    hoarder = target.enrolled(study)
    screen = hoarder.next(study)
    honest = target.enrolled(study)
    seen = []
    for _ in range(14):  # six lease times, in which the next rater's page looks again and again
        time.sleep(0.5)
        hoarder.post("heard", assignment=screen.get("assignment"), receipt=screen.get("receipt"), proofs={}, played=[])
        screen = hoarder.next(study)
        seen.append(honest.next(study)["screen"])
        if seen[-1] == "rate":
            return
    expect(False, f"after six lease times the item is still held; the next sees {seen}")


@attack("Invited raters who take items and let them lie do not keep them from others.")
def items_left_lying(target: Target) -> None:
    study = target.study(items=2, ratings_per_item=1, lease_minutes=0.02)
    idle = [target.invited("rater", study) for _ in range(2)]
    for person in idle:
        target.enrolled(study, person).next(study)
    honest = target.enrolled(study)
    seen = []
    for _ in range(12):
        seen.append(honest.next(study)["screen"])
        if seen[-1] == "rate":
            return
        for person in idle:  # they come back at once when a lease has run out
            person.next(study)
        time.sleep(0.5)
    expect(False, f"the next rater sees {seen}")


@attack("A new cookie with every request does not make a new visitor.")
def a_new_cookie_each_time(target: Target) -> None:
    address = target.address()
    body = {"tab": "emotion"}
    person = target.person(address)
    statuses = []
    for number in range(FLOOD):
        cookies = {"Cookie": f"studio={uuid.uuid4().hex}.{number}.x"}
        statuses.append(person.http.post("/studio/practice", json=body, headers=HEADERS | cookies).status_code)
    expect(429 in statuses, f"{FLOOD} requests with made-up cookies were looked at")


@attack("Requests with HEAD and OPTIONS count as well.")
def other_methods_without_end(target: Target) -> None:
    person = target.guest()
    statuses = [person.http.head("/studio/example/none").status_code for _ in range(700)]
    expect(429 in statuses, "700 HEAD requests were served")


@attack("The limits keep to their memory, however many addresses come.")
def memory_of_the_limits(target: Target) -> None:
    from annotation.rating.limits import MOST_ENTRIES, BoundedMemory

    memory = BoundedMemory(1_000)
    for number in range(20_000):
        memory.acquire_entry(f"address {number}", 60, 60, number % 3 + 1)
    expect(memory.entries <= 1_000 <= MOST_ENTRIES, f"{memory.entries} entries are kept")


@attack("Guests who enter faster than people are refused with 429.")
def guests_without_end(target: Target) -> None:
    address = target.address()
    statuses = [enter(target, address)[1].status_code for _ in range(FLOOD)]
    expect(429 in statuses, f"{FLOOD} guests entered from one address in one go")
    retry = enter(target, address)[1]
    expect(bool(retry.headers.get("retry-after")), "a refusal does not say when to try again")


@attack("A made-up X-Forwarded-For does not make a new address.")
def forged_addresses(target: Target) -> None:
    address = target.address()
    statuses = [
        enter(target, address, **{"X-Forwarded-For": f"10.0.{n // 250}.{n % 250}"})[1].status_code for n in range(FLOOD)
    ]
    expect(429 in statuses, f"{FLOOD} guests entered with made-up addresses")


@attack("A class of 40 behind one address can enter and rate.")
def a_class_behind_one_address(target: Target) -> None:
    study = target.study(items=40, ratings_per_item=2)
    address, refused = target.address(), 0
    for number in range(40):
        person, answer = enter(target, address, f"Student {number}")
        if answer.status_code != 200:
            refused += 1
            continue
        target.enrolled(study, person)
        refused += person.rate(person.next(study)).status_code != 200
    expect(refused == 0, f"{refused} of 40 were refused")


@attack("Practice studies cannot be asked for without end.")
def practice_without_end(target: Target) -> None:
    person = target.guest()
    statuses = [person.post("practice", tab="emotion").status_code for _ in range(FLOOD)]
    expect(429 in statuses, f"{FLOOD} practice requests were served")


@attack("A script of one guest cannot ask for the next item without end.")
def next_without_end(target: Target) -> None:
    study = target.study()
    person = target.enrolled(study)
    statuses = [person.post("next", study=study).status_code for _ in range(1500)]
    expect(429 in statuses, "1,500 requests for the next item were served to one session")


@attack("Wrong passwords are limited by address, and the owner still gets in.")
def locking_out_an_account(target: Target) -> None:
    name, password = f"Rita {time.time_ns()}", "correct horse battery"
    target.studio.people.accounts.register(name, password, "researcher")
    stranger: dict[str, Any] = {"name": name, "password": "wrong"}
    attacker = target.person()
    statuses = [attacker.post("enter", **stranger).status_code for _ in range(30)]
    expect(429 in statuses, "30 wrong passwords in a row were all tried")
    owner = target.person().post("enter", name=name, password=password)
    expect(owner.status_code == 200, f"the owner is locked out by a stranger: {owner.status_code}")


@attack("Many addresses guessing one password are slowed down together.")
def a_distributed_guess(target: Target) -> None:
    name = f"Rolf {time.time_ns()}"
    target.studio.people.accounts.register(name, "correct horse battery", "researcher")
    statuses = [target.person().post("enter", name=name, password="wrong").status_code for _ in range(120)]
    expect(429 in statuses, "120 addresses each tried a password")
