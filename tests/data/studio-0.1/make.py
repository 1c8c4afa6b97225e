"""Made the fixtures beside it, with the code of release 0.1: run it in a checkout of commit eee5081.

    PYTHONPATH=.:tests STUDIO_SECRET=the-key-of-the-fixture python make.py OUT

``home.zip``: the folder of a studio after two raters, a skip, decisions, a withdrawal and a voice taken back.
``first-schema.zip``: one whose database has the first schema only. ``expected.json``: what is in them.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
import zipfile
from pathlib import Path

import raters
from annotation.people.identity import pseudonym

from annotation.store.event_log import EventLog
from annotation.store.store import Store, Work, _engine, migrate
from annotation.studio import Studio

PASSWORD = "a password of 2026"


def full(home: Path) -> dict:
    clock = raters.Clock()
    studio = Studio.open(home)
    studio.journey._now = clock
    made = [raters.item(studio, "emotion-recognition", number) for number in range(4)]
    made[3]["contributor"] = "voice-code"
    made[3]["content"]["texts"] = {"speech": "words of the voice"}
    study = raters.study(studio, "emotion-recognition", made, training_right=0, ratings_per_item=2, block_size=10)
    people = studio.identity
    login = people.session(people.register("Ann", PASSWORD))
    invite = people.invite("researcher", study, cohort="north", name="Bob")
    ann, bob = people.sign_in("Ann", PASSWORD), people.accept(invite)
    gone = people.guest("Somebody Withdrawn")
    leaving = raters.Rater(studio, study, clock, gone)
    leaving.submit(leaving.filled(leaving.to_task()))
    studio.withdraw(gone)
    first, second = (raters.Rater(studio, study, clock, name) for name in (ann, bob))
    first.walk()
    second.skip(second.until("rate"), "distressing")
    second.submit(second.filled(second.until("rate")))
    second.next()  # an assignment that stays open
    with studio.store.read() as view:
        given = view.ratings(study)

    def decide(work: Work) -> None:
        about = {"study": study, "reason": "heard again", "by": bob}
        item = given[-1]["item"]
        work.record("decided", decision="d1", subject="item", item=item, scale="primary", value="sad", **about)
        work.record("decided", decision="d2", subject="rater", rater=ann, value={"keep": True}, **about)

    studio.store.write(decide)
    studio.take_back("voice-code")
    with studio.store.read() as view:
        expected = {
            "at": time.time(),
            "study": study,
            "ratings": view.ratings(study),
            "progress": {row["rater"]: [row["phase"], row["slot"], row["done"]] for row in view.enrolments(study)},
            "decisions": view.decisions(study),
            "ann": ann,
            "bob": bob,
            "password": PASSWORD,
            "login": login,
            "invite": invite,
            "pseudonym": pseudonym(people.secret, study, ann),
            "applied": view.applied(),
            "forgotten": ["Somebody Withdrawn", "words of the voice", gone],
        }
    studio.close()
    return expected


def first_schema(home: Path) -> dict:
    home.mkdir(parents=True)
    engine = _engine(f"sqlite:///{home / 'studio.db'}", writes=True)
    with engine.begin() as connection:
        migrate(connection, to=1)
        work = Work(connection, 0)
        shared = {"study": "s1", "rater": "r1"}
        work.record("study.created", study="s1", settings={"title": "First"}, state="open", by=None)
        bare = {"role": "rate", "family": "f1", "content": {"clips": {}}, "expected": None, "contributor": None}
        work.record("items.added", study="s1", items=[bare | {"id": "i1"}])
        work.record("rater.joined", rater="r1", name="Ann", role="rater", account=None, cohort="", secret=None)
        work.record("enrolled", **shared)
        given = {"assignment": "a1", "item": "i1", "kind": "rate", "flip": 1}
        shown = {"family": "f1", "block": 0, "slot": 0, "guess": 0, "leased_until": 0.0}
        work.record("assigned", **shared, **given, **shown)
        answers = {"answers": {"primary": "sad"}, "right": None, "heard": {"0": 1.0}, "seconds": 2.5, "clicks": None}
        work.record("rated", submit="u1", **shared, **given, **answers, reclaimed=0, disagreement=None)
        EventLog(home / "log").append(work.events)
        Store._set_applied(work)
        found = work.ratings("s1")
    engine.dispose()
    return {"ratings": found}


def zipped(home: Path, out: Path) -> None:
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(path for path in home.rglob("*") if path.is_file()):
            archive.write(path, path.relative_to(home))


if __name__ == "__main__":
    out = Path(sys.argv[1])
    expected = {}
    for name, make in (("home", full), ("first-schema", first_schema)):
        shutil.rmtree(out / name, ignore_errors=True)
        expected[name] = make(out / name)
        zipped(out / name, out / f"{name}.zip")
    (out / "expected.json").write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")
