"""Links, logins and roles: what outlives its purpose, and what changes hands."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import itsdangerous

from annotation.bench.attack.registry import attack
from annotation.bench.attack.target import Person, Target, expect, filled
from annotation.bench.load import free_port, serve
from annotation.people.logins import COOKIE, REMEMBERED_SECONDS


def invite(target: Target, role: str = "rater", study: str | None = None) -> str:
    return target.studio.people.invites.create(role, study, name="Invited")


@attack("A researcher's link works for one person: a second browser is refused.")
def a_link_for_everybody(target: Target) -> None:
    token = invite(target, "researcher")
    first, second = target.person(), target.person()
    expect(first.post("enter", invite=token).status_code == 200, "the first use was refused")
    status = second.post("enter", invite=token).status_code
    expect(status in (401, 403, 409, 410), f"a second browser enters as researcher: {status}")


@attack("Who was erased does not come back through the old link.")
def an_erased_account_comes_back(target: Target) -> None:
    token = invite(target, "researcher")
    person = target.person()
    person.post("enter", invite=token)
    expect(person.post("withdraw").status_code == 200, "the withdrawal was refused")
    answer = target.person().post("enter", invite=token)
    expect(answer.status_code != 200, "the erased account is back, with its role")


@attack("A copied cookie is worthless after its owner has signed out.")
def a_cookie_outlives_signing_out(target: Target) -> None:
    study = target.study()
    person = target.enrolled(study)
    copied = person.http.cookies.get(COOKIE)
    expect(person.post("leave").status_code == 200, "signing out was refused")
    thief = target.person(**{COOKIE: copied or ""})
    status = thief.post("next", study=study).status_code
    expect(status == 401, f"the copied cookie still works: {status}")


@attack("Opening somebody's link does not silently replace who is signed in.")
def a_link_swaps_the_login(target: Target) -> None:
    person = target.invited("researcher")
    status = person.post("enter", invite=invite(target)).status_code
    expect(status == 409, f"the login was replaced without a question: {status}")


@attack("A link of one study opens no other that is by invitation.")
def a_link_of_another_study(target: Target) -> None:
    mine, other = (target.study(access="invited") for _ in range(2))
    person = target.invited("rater", mine)
    status = person.post("next", study=other).status_code
    expect(status == 403, f"the other study answers {status}")


@attack("A link that was changed is refused.")
def a_changed_link(target: Target) -> None:
    token = invite(target)
    for changed in (token[:-3] + "abc", token.replace(".", "", 1), token + "x", "", "a.b.c"):
        status = target.person().post("enter", invite=changed).status_code
        expect(status == 401, f"{changed[:20]}… opens: {status}")


@attack("A link is no cookie, and a cookie no link.")
def tokens_of_another_kind(target: Target) -> None:
    token = invite(target, "admin")
    status = target.person(**{COOKIE: token}).get("export/none.zip").status_code
    expect(status == 401, f"a link works as a cookie: {status}")
    cookie = target.guest().http.cookies.get(COOKIE)
    status = target.person().post("enter", invite=cookie).status_code
    expect(status == 401, f"a cookie works as a link: {status}")


@attack("The terminal prints the sign-in key behind #, where no server or proxy logs it.")
def a_key_in_the_address(target: Target) -> None:
    printed = (target.home / "server.txt").read_text()
    expect("invite=" in printed, "no sign-in link was printed, so nothing was tested")
    expect(re.search(r"\?invite=", printed) is None, "the key is in the query of the address")


@attack("The link that the terminal printed works once.")
def the_printed_link_again(target: Target) -> None:
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder)) as (port, _):
        until = time.monotonic() + 20
        while not (found := re.search(r"invite=(\S+)", (Path(folder) / "server.txt").read_text())):
            expect(time.monotonic() < until, "no sign-in link was printed")
            time.sleep(0.2)
        statuses = []
        for _ in range(2):
            with httpx.Client(base_url=f"http://127.0.0.1:{port}") as browser:
                answer = browser.post("/studio/enter", json={"invite": found[1]}, headers={"X-Studio": "1"})
                statuses.append(answer.status_code)
    expect(statuses[0] == 200, f"the printed link does not work: {statuses}")
    expect(statuses[1] != 200, "the printed link makes an admin of everybody who reads the log")


@attack("A Space without STUDIO_SECRET opens no study: at each restart it would forget its people.")
def a_space_that_forgets(target: Target) -> None:
    with tempfile.TemporaryDirectory() as folder:
        environment = {k: v for k, v in os.environ.items() if k != "STUDIO_SECRET"}
        environment |= {"SPACE_ID": "me/space", "EMOTION_OMNI_HOME": folder}
        code = (
            "from annotation.studio import Studio\n"
            "from annotation.study import lifecycle\n"
            "from annotation.study.rules import Study\n"
            "studio = Studio.open()\n"
            "rules = Study.read({'title': 'T', 'template': 'emotion-recognition'})\n"
            "lifecycle.create(studio.store, studio.clips, rules, [])\n"
            "print(studio.people.accounts.add_guest('Ada'))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
        )
    refused = done.returncode != 0 and "STUDIO_SECRET" in done.stderr
    expect(refused, "a study opens and a rater is taken in with a key that the next restart throws away")


@attack("With the same home folder, raters, their codes and pseudonyms survive a restart.")
def a_restart_forgets_raters(target: Target) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home, port = Path(folder), free_port()
        cookies: dict[str, str] = {}
        known = []
        for _ in range(2):
            with serve(home, port), httpx.Client(base_url=f"http://127.0.0.1:{port}", cookies=cookies) as browser:
                if not cookies:
                    browser.post("/studio/enter", json={"guest": True, "name": "Ada"}, headers={"X-Studio": "1"})
                    cookies = dict(browser.cookies)
                known.append(browser.get("/studio/me").json()["rater"])
    expect(known[0] is not None and known[0] == known[1], f"before and after: {known}")


@attack("A rater can find the code to withdraw with, and it works without the cookie.")
def a_rater_without_a_cookie_cannot_withdraw(target: Target) -> None:
    study = target.study(items=1, ratings_per_item=1, block_size=1)
    person = target.enrolled(study)
    screen = person.next(study)
    person.submit(screen, person.listen(screen), values=filled(screen) | {"note": "mine"})
    for phase in ("break", "survey"):
        person.post("phase", study=study, phase=phase, answers={})
    told = person.get("me").json()["rater"]
    code = (told or {}).get("withdrawal_code") or person.next(study).get("withdrawal_code")
    expect(bool(code), "no withdrawal code is shown")
    answer = target.person().post("take-back", code=code)
    expect(answer.status_code == 200, f"the code is refused: {answer.status_code} {answer.text[:120]}")
    expect(not target.ratings(study), "the rating is still there")


@attack("A researcher can look up a completion code.")
def codes_nobody_can_look_up(target: Target) -> None:
    study = target.study(items=1, ratings_per_item=1, block_size=1)
    person = target.enrolled(study)
    person.rate(person.next(study))
    for _ in range(2):  # a break, perhaps, and the survey
        screen = person.next(study)
        person.post("phase", study=study, phase=screen["screen"], answers=filled(screen))
    code = person.next(study).get("code")
    expect(bool(code), "no completion code")
    answer = target.invited("researcher").get(f"codes/{study}")
    expect(answer.status_code == 200 and str(code) in answer.text, f"looking up: {answer.status_code}")
    stranger = target.guest().get(f"codes/{study}")
    expect(stranger.status_code in (401, 403), f"a guest looks codes up: {stranger.status_code}")


# --- neighbours ---------------------------------------------------------------------------------------------------


@attack("Of browsers that open a researcher's link at the same moment, one gets in.")
def a_race_for_the_last_use(target: Target) -> None:
    token, people = invite(target, "researcher"), [target.person() for _ in range(6)]
    with ThreadPoolExecutor(len(people)) as pool:
        statuses = list(pool.map(lambda person: person.post("enter", invite=token).status_code, people))
    expect(statuses.count(200) == 1, f"{statuses.count(200)} browsers got in: {statuses}")


@attack("A rater's link is one person, for five browsers and no more.")
def a_raters_link_for_a_class(target: Target) -> None:
    token = invite(target)
    answers = [target.person().post("enter", invite=token) for _ in range(7)]
    expect([one.status_code for one in answers[:5]] == [200] * 5, "the rater's own browsers are refused")
    expect(len({one.json()["rater"]["id"] for one in answers[:5]}) == 1, "the link makes several raters")
    expect(all(one.status_code == 401 for one in answers[5:]), "the link never ends")


@attack("A cookie that was planted before signing in is not the login afterwards.")
def a_planted_cookie(target: Target) -> None:
    planted = target.guest("Mallory").http.cookies.get(COOKIE) or ""
    victim = target.person(**{COOKIE: planted})
    expect(victim.post("enter", guest=True, name="Ada", replace=True).status_code == 200, "signing in was refused")
    seen = target.person(**{COOKIE: planted}).get("me").json()["rater"]
    expect(seen is None or seen["name"] != "Ada", "who planted the cookie is signed in as the victim")


@attack("A login that is replaced ends, also where its cookie was copied.")
def a_replaced_login(target: Target) -> None:
    person = target.invited("researcher")
    copied = person.http.cookies.get(COOKIE) or ""
    expect(person.post("enter", invite=invite(target), replace=True).status_code == 200, "replacing was refused")
    status = target.person(**{COOKIE: copied}).get("export/none.zip").status_code
    expect(status == 401, f"the replaced login still works: {status}")


@attack("A question whether to replace the login does not use the link up.")
def a_link_is_used_up_by_asking(target: Target) -> None:
    person, token = target.guest(), invite(target, "researcher")
    for _ in range(3):
        person.post("enter", invite=token)
    status = person.post("enter", invite=token, replace=True).status_code
    expect(status == 200, f"the link was used up by the question: {status}")


@attack("A role that is taken away is gone at the next request, whatever is remembered.")
def a_role_that_is_remembered(target: Target) -> None:
    person = target.invited("researcher")
    expect(person.get("export/none.zip").status_code == 404, "a researcher was refused")
    target.studio.people.give_role(person.rater, "rater")
    status = person.get("export/none.zip").status_code
    expect(status == 403, f"the role still works: {status}")


@attack("Who lost the role of a researcher does not come back by a spare link made before.")
def a_spare_link(target: Target) -> None:
    person = target.invited("researcher")
    spare = target.studio.people.invites.create("researcher", by=person.rater)
    target.studio.people.give_role(person.rater, "rater")
    status = target.person().post("enter", invite=spare).status_code
    expect(status == 401, f"the spare link opens: {status}")


@attack("A login that a command revokes, or whose rater a command erases, ends within seconds.")
def what_the_app_remembers(target: Target) -> None:
    study = target.study()
    revoked, erased = target.enrolled(study), target.enrolled(study)
    expect(revoked.next(study)["screen"] == erased.next(study)["screen"] == "rate", "the raters could not begin")
    target.studio.people.logins.revoke_all(revoked.rater)
    target.studio.withdraw(erased.rater)
    time.sleep(REMEMBERED_SECONDS + 0.5)
    statuses = [one.post("next", study=study).status_code for one in (revoked, erased)]
    expect(statuses == [401, 401], f"revoked and erased: {statuses}")


@attack("A revoked link opens nothing, though its uses are not used up.")
def a_revoked_link(target: Target) -> None:
    token = invite(target)
    target.studio.people.invites.revoke(target.studio.people.invites.read(token)["id"])
    status = target.person().post("enter", invite=token).status_code
    expect(status == 401, f"the revoked link opens: {status}")


@attack("A researcher's link of an earlier release, for anyone and 90 days, opens nothing any more.")
def a_link_of_an_earlier_release(target: Target) -> None:
    sign = target.studio.people.invites._serializer.dumps
    for role, allowed in (("admin", 401), ("researcher", 401), ("rater", 200)):
        old = {"id": uuid.uuid4().hex, "role": role, "study": None, "cohort": "", "name": "Old"}
        status = target.person().post("enter", invite=sign(old)).status_code
        expect(status == allowed, f"an old link of a {role}: {status}")


@attack("Guessing at a withdrawal code erases nobody: a pseudonym, half a code, another rater's signature.")
def guessed_withdrawal_codes(target: Target) -> None:
    victim, other = target.guest(), target.guest()
    code, foreign = (one.get("me").json()["rater"]["withdrawal_code"] for one in (victim, other))
    guesses = (victim.rater, f"{victim.rater}-", code[:-1], code[:-1] + "z", f"{victim.rater}-{foreign.split('-')[1]}")
    for guess in guesses:
        status = target.person().post("take-back", code=guess).status_code
        expect(status == 404, f"{guess!r}: {status}")
    expect(victim.get("me").json()["rater"] is not None, "the victim was erased")


@attack("Buttons of the People tab answer admins only.")
def buttons_of_the_people_tab(target: Target) -> None:
    victim = target.invited("admin", name="Victim")
    for person in (target.person(), target.guest(), target.invited("researcher")):
        for name in ("show_3", "revoke"):
            told = pressed(person, name, {"act": "person", "id": victim.rater})
            expect("Victim" not in told, f"{name} shows the people to {person.rater or 'a stranger'}")
    expect(victim.get("export/none.zip").status_code == 404, "the admin was signed out")
    expect("Victim" in pressed(victim, "revoke", {"act": "role", "id": target.guest().rater}), "an admin is refused")


@attack("A web session of Hugging Face that was signed with the public key of a local Gradio is nobody.")
def a_made_up_hub_session(target: Target) -> None:
    user = {"sub": "1", "preferred_username": "owner"}
    content = {"oauth_info": {"access_token": "t", "expires_at": time.time() + 3600, "userinfo": user}}
    signer = itsdangerous.TimestampSigner(hashlib.sha256(b"-v4").hexdigest())
    session = signer.sign(base64.b64encode(json.dumps(content).encode())).decode()
    person = target.person(session=session)
    expect(person.get("me").json()["rater"] is None, "a made-up session is signed in")


@attack("Links that commands make carry their key behind #.")
def a_key_in_the_address_of_a_command(target: Target) -> None:
    command = [sys.executable, "-m", "annotation", "invite", "--role", "researcher", "--json"]
    environment = os.environ | {"EMOTION_OMNI_HOME": str(target.home)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    expect(done.returncode == 0, done.stderr[-200:])
    address = json.loads(done.stdout)["link"]
    expect("/#invite=" in address and "?" not in address, f"the key is in the address: {address[:40]}")
    expect(target.person().post("enter", invite=address.split("#invite=")[1]).status_code == 200, "it does not open")


def pressed(person: Person, name: str, event: dict[str, Any]) -> str:
    """What a button of the page answers, sent through its queue as the page does."""
    numbers = {one["api_name"]: one["id"] for one in person.http.get("/config").json()["dependencies"]}
    expect(name in numbers, f"there is no button {name}, so nothing was tested")
    body = {"data": [], "event_data": event, "fn_index": numbers[name], "session_hash": uuid.uuid4().hex}
    joined = person.http.post("/gradio_api/queue/join", json=body)
    if joined.status_code != 200:
        return ""
    asked = {"session_hash": body["session_hash"]}
    with person.http.stream("GET", "/gradio_api/queue/data", params=asked) as lines:
        told = (json.loads(line[5:]) for line in lines.iter_lines() if line.startswith("data:"))
        last = next(one for one in told if one["msg"] in ("process_completed", "close_stream"))
    return json.dumps(last.get("output")) if last.get("success") else ""
