"""Scripts that rate: they try to recognize, read, skip or buy their way past the checks of a study."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import soundfile

from annotation.bench.attack.registry import attack
from annotation.bench.attack.target import Person, Target, decoded, expect, filled, same_sound
from annotation.study import checks
from annotation.study.checks import spoken

MOST_SCREENS = 40  # of one walk


@cache
def voice() -> dict[str, np.ndarray]:
    """Every clip that ships with the project, decoded: what any attacker has."""
    return {path.stem: soundfile.read(path, dtype="int16")[0] for path in checks.FOLDER.glob("*.ogg")}


def examples(person: Person) -> dict[str, bytes]:
    """Whatever the example route gives away."""
    found = {}
    for name in voice():
        answer = person.get(f"example/{name}")
        if answer.status_code == 200:
            found[name] = answer.content
    return found


def agree(person: Person, study: str) -> dict[str, Any]:
    """Past the consent → the sound check."""
    person.next(study)
    person.post("phase", study=study, phase="consent", answers={"agreed": True})
    return person.next(study)


def served_sounds(target: Target, person: Person, study: str, most: int) -> list[tuple[str, np.ndarray]]:
    """(kind, sound) of the items that are handed out one after the other; each is skipped."""
    found = []
    for _ in range(most):
        screen = person.next(study)
        if screen["screen"] != "rate":
            break
        kind = target.kind(screen)
        found += [(kind, decoded(person.get(clip["url"]).content)) for clip in screen["clips"]]
        person.post("skip", assignment=screen["assignment"], reason="other")
    return found


@attack("The example route serves the instructions' examples and no clip of a check.")
def example_route_gives_away_checks(target: Target) -> None:
    study = target.study(traps_per_block=1, gold_per_block=1, training_right=2)
    with target.studio.store.read() as view:
        lines = {
            clip["played"]
            for item in view.items(study)
            if item["role"] != "rate"
            for clip in item["content"]["clips"].values()
        }
    person = target.guest()
    given = [
        name for name, data in examples(person).items() if any(data == target.studio.clips.read(sha) for sha in lines)
    ]
    expect(not given, f"{len(given)} clips of checks are served, such as {given[:3]}")


@attack("No served clip of a check decodes to the sound of a clip that ships with the project.")
def checks_match_the_projects_own_voice(target: Target) -> None:
    study = target.study(traps_per_block=3, gold_per_block=3, block_size=2)
    person = target.enrolled(study)
    known = list(voice().values()) + [decoded(data) for data in examples(person).values()]
    for kind, sound in served_sounds(target, person, study, 8):
        expect(
            not any(same_sound(sound, one) for one in known),
            f"a clip of kind {kind} is a clip of voice/, sample by sample",
        )


@attack("The sound check cannot be answered by comparing its clip with those that anyone can get.")
def sound_check_by_comparison(target: Target) -> None:
    study = target.study()
    person = target.guest()
    screen = agree(person, study)
    sound = decoded(person.get(screen["clips"][0]["url"]).content)
    known = {name: decoded(data) for name, data in examples(target.guest()).items() if name.startswith("digits")}
    same = [name for name, one in known.items() if same_sound(sound, one)]
    expect(not same, f"the clip is {same}, whose digits are in the source")


@attack("Two raters who hear the same item get different bytes and different samples.")
def clips_of_two_raters_are_alike(target: Target) -> None:
    study = target.study(items=1)
    sounds = []
    for _ in range(2):
        person = target.enrolled(study)
        screen = person.next(study)
        sounds.append(decoded(person.get(screen["clips"][0]["url"]).content))
    expect(not same_sound(*sounds), "both got the same samples, so a table of answers by hash works")


@attack("The same rater who hears an item again as a hidden repeat gets different samples.")
def a_repeat_is_recognized_by_its_samples(target: Target) -> None:
    study = target.study(items=4, repeats_per_block=1, block_size=4)
    person = target.enrolled(study)
    sounds: dict[str, list[np.ndarray]] = {}
    for _ in range(6):
        screen = person.next(study)
        if screen["screen"] != "rate":
            break
        item = target.assignment(screen)["item"]
        sounds.setdefault(item, []).append(decoded(person.get(screen["clips"][0]["url"]).content))
        person.rate(screen)
    twice = [found for found in sounds.values() if len(found) > 1]
    expect(bool(twice), "no item was repeated, so nothing was tested")
    expect(not any(same_sound(*found[:2]) for found in twice), "a repeat has the samples of the first hearing")


@attack("The same item fetched for two assignments differs by nothing that can be heard.")
def clips_differ_audibly(target: Target) -> None:
    study = target.study(items=1, seconds=0.6)
    sounds = []
    for _ in range(2):
        person = target.enrolled(study)
        sounds.append(decoded(person.get(person.next(study)["clips"][0]["url"]).content).astype(np.float64))
    length = min(map(len, sounds))
    one, other = sounds[0][:length], sounds[1][:length]
    lag = int(np.argmax(np.correlate(one, other, "same"))) - length // 2 if length < 40_000 else 0
    expect(abs(len(sounds[0]) - len(sounds[1])) <= 480, "the lengths differ by more than 20 ms")
    other = np.roll(other, lag)
    difference = np.sqrt(np.mean((one - other)[480:-480] ** 2)) / np.sqrt(np.mean(one[480:-480] ** 2))
    expect(difference < 0.1, f"the samples differ by {difference:.0%} of the signal")


def verdict_after(target: Target, kind: str) -> str:
    """The verdict on a rater who skips every check of one kind and rates the rest.

    Three of each: with fewer gold items nobody is judged by them (``ExclusionCriteria.gold_least``).
    """
    rules: dict[str, Any] = {"block_size": 4, f"{kind}_per_block": 3}
    study = target.study(items=4, **rules)
    person = target.enrolled(study)
    for _ in range(MOST_SCREENS):
        screen = person.next(study)
        if screen["screen"] != "rate":
            break
        if target.kind(screen) == kind.removesuffix("s"):
            person.post("skip", assignment=screen["assignment"], reason="cannot-hear")
        else:
            person.rate(screen)
    verdict = target.studio.results(study).verdicts.get(person.rater)
    return "none" if verdict is None else verdict.outcome


@attack("A skipped trap counts as a trap that was not passed.")
def skipping_traps(target: Target) -> None:
    outcome = verdict_after(target, "traps")
    expect(outcome == "flagged", f"a rater who skipped every trap is {outcome!r}")


@attack("A skipped gold item counts as a gold item that was not passed.")
def skipping_gold(target: Target) -> None:
    outcome = verdict_after(target, "gold")
    expect(outcome == "flagged", f"a rater who skipped every gold item is {outcome!r}")


@attack("The digits of the sound check are no few that can be tried in turn.")
def digits_by_trying(target: Target) -> None:
    drawn = set()
    for _ in range(3):
        study = target.study()
        with target.studio.store.read() as view:
            drawn |= {item["expected"]["digits"] for item in view.items(study, "sound")}
    expect(len(drawn) > 9, f"three studies have {len(drawn)} sound checks in all")


@attack("A trap begins as a clip of the study: its first second is no recording of the project.")
def traps_start_like_known_lines(target: Target) -> None:
    study = target.study(seconds=1.5)
    known = [decoded(target.studio.clips.read(target.studio.clips.add(spoken(name))["played"])) for name in TRAPS]
    with target.studio.store.read() as view:
        traps = [item["content"]["clips"]["speech"]["played"] for item in view.items(study, "trap")]
    expect(bool(traps), "the study has no traps")
    for sha in traps:
        sound = decoded(target.studio.clips.read(sha))
        alike = any(alike_at_first(sound, one) for one in known)
        expect(not alike, "a trap starts with the project's own voice")


TRAPS = [name for name in checks.LINES if name.startswith(("choose-", "trap-"))]


def alike_at_first(one: np.ndarray, other: np.ndarray, samples: int = 24_000) -> bool:
    return bool(abs(np.corrcoef(one[:samples], other[:samples])[0, 1]) > 0.9)


@attack("What a trap asks for stands in no text that the page gets.")
def traps_in_writing(target: Target) -> None:
    study = target.study("correction", traps_per_block=3, block_size=2)
    person = target.enrolled(study)
    for _ in range(6):
        screen = person.next(study)
        if screen["screen"] != "rate":
            break
        expect("test of your attention" not in json.dumps(screen), "a screen has the words of the trap")
        person.post("skip", assignment=screen["assignment"], reason="other")


@attack("Gold items use no clip that training has played with its answer.")
def gold_that_training_has_shown(target: Target) -> None:
    for template in ("emotion-recognition", "empathy", "compare"):
        study = target.study(template)
        with target.studio.store.read() as view:
            items = view.items(study)
        used = {
            role: {
                tuple(sorted((name, clip["sha"]) for name, clip in item["content"]["clips"].items()))
                for item in items
                if item["role"] == role
            }
            for role in ("training", "gold")
        }
        both = used["training"] & used["gold"]
        expect(not both, f"{len(both)} gold items of {template} were training items")


@attack("The seconds of a rating are the server's, whatever the client says or leaves out.")
def time_of_a_rating_is_forged(target: Target) -> None:
    study = target.study(items=3)
    person = target.enrolled(study)
    claimed: tuple[Any, ...] = (0.001, 86_400.0, None)
    for seconds in claimed:
        person.rate(person.next(study), seconds=seconds)
    stored = [row["seconds"] for row in target.ratings(study)]
    expect(len(stored) == len(claimed), f"{len(stored)} of {len(claimed)} ratings were stored")
    expect(all(value is not None and 0.2 < value < 60 for value in stored), f"stored seconds are {stored}")


@attack("A script that compares sounds and skips what it does not know gets no completion code.")
def the_whole_bot(target: Target) -> None:
    study = target.study(items=2, block_size=2, traps_per_block=1, gold_per_block=1, training_right=2)
    person = target.guest()
    screen = agree(person, study)
    known = voice() | {name: decoded(data) for name, data in examples(person).items()}
    for _ in range(12):  # wrong digits ask for others, without end
        if screen["screen"] == "done":
            expect(not screen.get("code"), "it got the completion code")
            return
        following = _bot_step(person, study, screen, known)
        if following is None:
            return
        screen = following


DIGITS = {"0": "472", "1": "916", "2": "385"}  # the lines that every study of an earlier release had


def _bot_step(
    person: Person, study: str, screen: dict[str, Any], known: dict[str, np.ndarray]
) -> dict[str, Any] | None:
    """One screen of the bot → the next; ``None`` where it does not get on."""
    if screen["screen"] in ("instructions", "break", "survey"):
        person.post("phase", study=study, phase=screen["screen"], answers=filled(screen))
        return person.next(study)
    if screen["screen"] != "rate":
        return None
    sound = decoded(person.get(screen["clips"][0]["url"]).content)
    name = next((name for name, one in known.items() if same_sound(sound, one)), "")
    if screen["kind"] == "sound":
        said = DIGITS.get(name.rpartition("-")[2], "472")  # of the file's name, or a guess
        answer = person.rate(screen, values={"digits": said})
        return person.next(study) if answer.status_code == 200 else None
    if name and screen["kind"] == "rate":
        person.post("skip", assignment=screen["assignment"], reason="other")
    else:
        person.rate(screen, seconds=None)
    return person.next(study)


@attack("The digits of the sound check are accepted however they are separated.")
def digits_with_spaces_fail(target: Target) -> None:
    study = target.study()
    for separated in (" ".join, "-".join, ", ".join):
        person = target.guest()
        screen = agree(person, study)
        right = str(target.expected(screen)["digits"])
        answer = person.rate(screen, values={"digits": separated(right)})
        expect(answer.status_code == 200, f"{separated(right)!r} is refused: {answer.text[:120]}")
        expect(person.next(study)["screen"] != "rate", f"{separated(right)!r} was counted as wrong")


@attack("A break lasts as long as it says; confirming it at once does not end it.")
def clicking_the_break_away(target: Target) -> None:
    study = target.study(items=4, block_size=2)
    person = target.enrolled(study)
    for _ in range(8):
        screen = person.next(study)
        if screen["screen"] != "rate":
            break
        person.rate(screen)
    expect(screen["screen"] == "break", f"there was no break but {screen['screen']}")
    person.post("phase", study=study, phase="break", answers={})
    after = person.next(study)["screen"]
    expect(after == "break", f"after an instant confirmation the screen is {after!r}")
