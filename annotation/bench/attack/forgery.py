"""Requests that no page of ours would send: of other sites, other raters, other types."""

from __future__ import annotations

import json
import uuid
from typing import Any

from annotation.bench.attack.registry import attack
from annotation.bench.attack.target import HEADERS, Person, Target, expect, filled, tone
from annotation.study import lifecycle

DEEP = 100_000
RESEARCHERS = {
    "invite": [None, "rater", "", ""],
    "register": ["Eve", "password1234", "researcher", ""],
    "create": ["T", "empathy", "files", None, ["fake"], 0, 1, 5, "open", "evaluation", ""],
    "stop": [],
    "delete": [None, "Target"],
    "listen": [None, None],
    "decide": [None, None, None, "slip", True],
    "judge": [None, None, "flagged", "because", True],
}


@attack("The assignment of another rater can be neither fetched, rated nor skipped.")
def the_item_of_another_rater(target: Target) -> None:
    study = target.study()
    one, other = target.enrolled(study), target.enrolled(study)
    screen = one.next(study)
    statuses = [
        other.get(screen["clips"][0]["url"]).status_code,
        other.submit(screen, screen["receipt"]).status_code,
        other.post("skip", assignment=screen["assignment"], reason="other").status_code,
    ]
    expect(all(status >= 400 for status in statuses), f"clip, rating, skip: {statuses}")


@attack("Values off their scale, of other types or missing are refused and nothing is stored.")
def values_off_the_scale(target: Target) -> None:
    study = target.study()
    person = target.enrolled(study)
    screen = person.next(study)
    receipt, good = person.listen(screen), filled(screen)
    name = next(iter(good))
    bad_values: tuple[Any, ...] = (99, -1, 1.5, "x", None, [], {}, True, "neutral\u0000", 10**40)
    for bad in bad_values:
        status = person.submit(screen, receipt, values=good | {name: bad, "intensity": bad}).status_code
        expect(status in (400, 422), f"{bad!r}: {status}")
    expect(person.submit(screen, receipt, values={}).status_code == 422, "no values at all are stored")
    expect(not target.ratings(study), "something was stored")


@attack("A rating sent again with other values is refused (409), not answered with 'saved'.")
def a_changed_replay(target: Target) -> None:
    study = target.study(items=2)
    person = target.enrolled(study)
    screen = person.next(study)
    receipt, submit_id = person.listen(screen), str(uuid.uuid4())
    first = person.submit(screen, receipt, submit_id=submit_id)
    same = person.submit(screen, receipt, submit_id=submit_id)
    values = filled(screen) | {"note": "changed"}
    changed = person.submit(screen, receipt, submit_id=submit_id, values=values)
    expect((first.status_code, same.status_code) == (200, 200), "an honest repetition is refused")
    expect(changed.status_code == 409, f"changed values are answered with {changed.status_code}")
    expect(len(target.ratings(study)) == 1, "there are two ratings")


@attack("NaN, half surrogates and character 0 are refused.")
def json_that_no_database_keeps(target: Target) -> None:
    study = target.study()
    person = target.enrolled(study)
    person.next(study)
    headers = HEADERS | {"Content-Type": "application/json"}
    for body in (b'{"study": NaN}', b'{"study": "\\ud800"}', b'{"study": "a\\u0000b"}', b"[1]", b"null", b"{"):
        status = person.http.post("/studio/next", content=body, headers=headers).status_code
        expect(400 <= status < 500, f"{body!r}: {status}")


@attack("Deeply nested JSON is refused and the server lives on.")
def deep_json(target: Target) -> None:
    person = target.guest()
    body = b'{"study": ' + b"[" * DEEP + b"]" * DEEP + b"}"
    status = person.http.post(
        "/studio/next", content=body, headers=HEADERS | {"Content-Type": "application/json"}
    ).status_code
    expect(400 <= status < 500, f"status {status}")
    expect(person.get("me").status_code == 200, "the server is gone")


@attack("A body over the limit is refused with 413.")
def a_large_body(target: Target) -> None:
    person = target.guest()
    status = person.http.post(
        "/studio/next", content=b"x" * 400_000, headers=HEADERS | {"Content-Type": "application/json"}
    ).status_code
    expect(status == 413, f"status {status}")


@attack("A body that does not say its length is measured all the same.")
def a_body_without_length(target: Target) -> None:
    person = target.guest()
    headers = HEADERS | {"Content-Type": "application/json"}
    status = person.http.post("/studio/next", content=(b" " * 60_000 for _ in range(8)), headers=headers).status_code
    expect(status == 413, f"480 kB for a rating route: {status}")
    person = target.person()
    pieces = (b"x" * 500_000 for _ in range(20))
    status = person.http.post("/gradio_api/queue/join", content=pieces, headers=headers).status_code
    expect(status in (400, 413), f"10 MB for an event of the page: {status}")


@attack("A POST that a plain form of another site can send changes nothing.")
def a_form_of_another_site(target: Target) -> None:
    person = target.guest()
    for headers in (
        {"Content-Type": "application/json"},
        {"X-Studio": "1", "Content-Type": "text/plain"},
        HEADERS | {"Content-Type": "application/json", "Sec-Fetch-Site": "cross-site"},
        HEADERS | {"Content-Type": "application/json", "Origin": "http://evil.example"},
    ):
        status = person.http.post("/studio/withdraw", content=b"{}", headers=headers).status_code
        expect(status == 403, f"{headers}: {status}")
    expect(person.get("me").json()["rater"] is not None, "the rater is gone")


@attack("No endpoint of the researchers' tabs answers a stranger or a guest.")
def private_endpoints(target: Target) -> None:
    for person in (target.person(), target.guest()):
        numbers = {one["api_name"]: one["id"] for one in person.http.get("/config").json()["dependencies"]}
        for name, data in RESEARCHERS.items():
            if name not in numbers:
                continue
            body = {"data": data, "fn_index": numbers[name], "session_hash": uuid.uuid4().hex}
            joined = person.http.post("/gradio_api/queue/join", json=body)
            if joined.status_code != 200:
                continue
            with person.http.stream(
                "GET", "/gradio_api/queue/data", params={"session_hash": body["session_hash"]}
            ) as lines:
                told = (json.loads(line[5:]) for line in lines.iter_lines() if line.startswith("data:"))
                last: dict[str, Any] = next(one for one in told if one["msg"] in ("process_completed", "close_stream"))
            expect(not last.get("success"), f"{name} answered {'a guest' if person.rater else 'a stranger'}")


@attack("Exports, clips for adjudication and codes are refused to raters.")
def pages_of_researchers(target: Target) -> None:
    study = target.study()
    person = target.guest()
    for path in (f"export/{study}.zip", "listen/none/speech"):
        status = person.get(path).status_code
        expect(status == 403, f"{path}: {status}")


@attack("Paths that climb out of a folder find nothing.")
def climbing_paths(target: Target) -> None:
    person = target.guest()
    for path in (
        "example/..%2f..%2fsecret",
        "example/%2e%2e/%2e%2e/app.py",
        "clip/../../secret/0",
        "export/..%2f..%2fsecret.zip",
        "listen/..%2f..%2fsecret/speech",
        "example/digits-0%00.ogg",
    ):
        answer = person.get(path)
        expect(answer.status_code in (401, 403, 404, 422), f"{path}: {answer.status_code}")
    for path in ("/gradio_api/file=app.py", f"/gradio_api/file={target.home}/secret", "/gradio_api/file=/etc/passwd"):
        status = person.http.get(path).status_code
        expect(status in (403, 404), f"{path}: {status}")


@attack("Nothing that reaches a rater's browser names a model, a label or a file.")
def names_of_models(target: Target) -> None:
    word, label = "zebra-model-9", "zebra-file.wav"
    study = target.study(items=0)
    clip = target.studio.clips.add(tone(0.5))
    content = {
        "clips": {"speech": clip},
        "texts": {},
        "systems": {"speech": word},
        "about": {"model": word, "file": label},
    }
    lifecycle.add_items(target.studio.store, study, [{"role": "rate", "content": content}])
    person = target.enrolled(study)
    screen = person.next(study)
    served = person.get(screen["clips"][0]["url"])
    told = json.dumps(screen) + str(served.headers) + str(served.content)
    expect(word not in told and label not in told and clip["sha"] not in told, "a name or the hash of a clip is told")


@attack("A cookie of another key, or one that was changed, signs nobody in.")
def forged_cookies(target: Target) -> None:
    from annotation.people.logins import COOKIE

    real = target.guest().http.cookies.get(COOKIE) or ""
    for value in (real[:-4] + "AAAA", real.partition(".")[0], "", "null", "e30.x.y"):
        told = target.person(**{COOKIE: value}).get("me").json()["rater"]
        expect(told is None, f"a changed cookie is {told}")


@attack("Skipping takes one of the reasons that are offered, and it is kept.")
def reasons_that_vanish(target: Target) -> None:
    study = target.study()
    person = target.enrolled(study)
    person.post("skip", assignment=person.next(study)["assignment"], reason="distressing")
    answer = target.invited("researcher").get(f"export/{study}.zip")
    expect(answer.status_code == 200, f"the export failed: {answer.status_code}")
    expect(exported(answer.content, "distressing"), "the export does not say that a clip was distressing")


@attack("Comments of the survey and notes reach every form of the export.")
def comments_that_vanish(target: Target) -> None:
    study = target.study(items=1, ratings_per_item=1, block_size=1)
    person = target.enrolled(study)
    screen = person.next(study)
    person.rate(screen, values=filled(screen) | {"note": "zqnote"})
    person.next(study)
    person.post("phase", study=study, phase="break", answers={})
    survey = person.next(study)
    answers = filled(survey) | {
        scale["name"]: "zqcomment" for scale in survey.get("scales", ()) if scale["kind"] == "text"
    }
    person.post("phase", study=study, phase="survey", answers=answers)
    answer = target.invited("researcher").get(f"export/{study}.zip")
    expect(exported(answer.content, "zqnote", "ratings.parquet"), "notes are missing from the ratings")
    expect(exported(answer.content, "zqcomment"), "the survey's comment is missing")


def exported(archive: bytes, text: str, name: str = "") -> bool:
    """Whether a text stands in a file of an export (in Parquet: in a cell)."""
    import io
    import zipfile

    import pandas as pd

    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        for entry in files.namelist():
            if name and not entry.endswith(name):
                continue
            data = files.read(entry)
            if entry.endswith(".parquet"):
                data = pd.read_parquet(io.BytesIO(data)).astype(str).to_csv().encode()
            if text.encode() in data:
                return True
    return False


@attack("The address in a link that is sent to raters does not come from X-Forwarded-Host.")
def a_forged_host_in_links(target: Target) -> None:
    study = target.study()
    person = target.invited("researcher")
    forged = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"}
    session = uuid.uuid4().hex
    told = ""
    for name, data in (("entered", []), ("invite", [study, "rater", "", ""])):  # the choices of studies come first
        told = called(person, name, data, session, forged)
    expect("invite" in told and "http" in told, f"no link came back, so nothing was tested: {told[:300]}")
    expect("evil.example" not in told, "the link leads to evil.example")


def called(person: Person, name: str, data: list[Any], session: str, headers: dict[str, str]) -> str:
    """The last message of an event of the page."""
    numbers = {one["api_name"]: one["id"] for one in person.http.get("/config").json()["dependencies"]}
    body = {"data": data, "fn_index": numbers[name], "session_hash": session}
    person.http.post("/gradio_api/queue/join", json=body, headers=headers)
    with person.http.stream(
        "GET", "/gradio_api/queue/data", params={"session_hash": session}, headers=headers
    ) as lines:
        return "".join(line for line in lines.iter_lines() if "process_completed" in line)
