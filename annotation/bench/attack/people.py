"""Links, logins and roles: what outlives its purpose, and what changes hands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from annotation.bench.attack.registry import attack
from annotation.bench.attack.target import Target, expect, filled
from annotation.bench.load import free_port, serve
from annotation.people.logins import COOKIE


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
