"""Counterfactuals: one thing is changed, and the answer must change with it, or must not.

*Tone swap*: the same words in another tone; the answer must change and fit. *Conflict*: words against tone; it must
ask, not assert. *Speaker swap*: another voice in the same tone; the answer must stay of its kind. The tone swap is from
the label and from audio, the speaker swap from audio: our own voice, or real recordings that the user names.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emotion_omni import emotion, json_lines
from emotion_omni.evaluate import critic as judge
from emotion_omni.evaluate import text_figures
from emotion_omni.evaluate.critic import Answered, Critic
from emotion_omni.evaluate.figures import Figure, Sample
from emotion_omni.evaluate.made_up_speech import VOICES, MadeUpSpeech, Query, read_recordings
from emotion_omni.evaluate.measure import Measure, Outcome, Run
from emotion_omni.evaluate.subject import Reply
from emotion_omni.types import EmotionOmniError

SETS = Path(__file__).parents[1] / "sets"
SWAPS, CONFLICTS = SETS / "tone_swaps.jsonl", SETS / "conflicts.jsonl"
ASSERTS = ("congratul", "so sorry", "how wonderful", "that's great", "that's wonderful", "that's terrible", "how awful")
LISTED = 16


def swaps(size: int) -> list[dict[str, Any]]:
    return [row for _, row in json_lines.read_file(SWAPS)][: size or None]


def kind_of(reply: Reply) -> tuple[str, str]:
    """What must not depend on who speaks: the news it answers and the emotion it is spoken with."""
    return reply.news, reply.emotion


# --- tone swap, from the label ------------------------------------------------------------------------------------


def tone_swap(run: Run) -> Outcome:
    rows, outcome = swaps(run.size), Outcome()
    replies = {(row["id"], tone): run.subject.reply(row["text"], tone).text for row in rows for tone in row["tones"]}
    text_of = {row["id"]: row["text"] for row in rows}
    _judge_swaps(outcome, replies, text_of)
    return outcome


def _judge_swaps(outcome: Outcome, replies: dict[tuple[str, str], str], text_of: dict[str, str]) -> None:
    """Of each pair of tones: do the answers differ, and does each fit its own tone better than the other's?"""
    critic = Critic.load()
    by_item: dict[str, dict[str, str]] = defaultdict(dict)
    for (item, tone), reply in replies.items():
        by_item[item][tone] = reply
    for item, of_tone in by_item.items():
        for one, other in itertools.permutations(of_tone, 2):
            if one < other:
                same = text_figures.words(of_tone[one]) == text_figures.words(of_tone[other])
                outcome.samples.append(Sample("changes", f"{item} {one} {other}", float(not same), item))
            if "happy" in (one, other):  # the hurting tones may share an answer
                own, foreign = critic.judge([Answered(text_of[item], one, of_tone[tone]) for tone in (one, other)])
                fits = float(own["direction"] > foreign["direction"])
                outcome.samples.append(Sample("fits", f"{item} {one} {other}", fits, item))
    outcome.details["replies"] = [
        {"said": text_of[item], "tone": tone, "reply": reply} for (item, tone), reply in list(replies.items())[:LISTED]
    ]


# --- the same from audio ------------------------------------------------------------------------------------------


def queries(run: Run) -> tuple[list[Query], str]:
    """Of each item every tone by two speakers → and where they come from."""
    if run.sources.counterfactuals:
        found = read_recordings(run.sources.counterfactuals)
        return found, f"{len(found)} recordings of {run.sources.counterfactuals.name}"
    made = [
        Query(row["id"], row["text"], tone, voice)
        for number, row in enumerate(swaps(run.size))
        for tone in row["tones"]
        for voice in (VOICES[number % 2], VOICES[2 + number % 2])
    ]
    return made, "spoken by our own voice"


def from_audio(run: Run) -> Outcome:
    """Tone swap, speaker swap and the tones that are heard, from recordings alone."""
    chosen, source = queries(run)
    speech, outcome = MadeUpSpeech(run.cache / "spoken"), Outcome(details={"source": source})
    answers: dict[Query, tuple[str, Reply]] = {}
    for number, query in enumerate(chosen, 1):
        try:
            heard, reply = run.subject.answer_audio(speech.sound(query))
        except EmotionOmniError as error:
            outcome.not_run[query.name] = f"{error} ({error.code})"
            continue
        answers[query] = heard.emotion.label, reply
        right = float(heard.emotion.label == query.tone)
        outcome.samples.append(Sample("tone_heard", query.name, right, query.item, group=query.tone))
        side = float(_side(heard.emotion.label) == _side(query.tone))
        outcome.samples.append(Sample("side_heard", query.name, side, query.item, group=_side(query.tone)))
        if number % 16 == 0:
            run.say(f"  {number} of {len(chosen)} recordings answered")
    _pairs(outcome, answers)
    outcome.details["answers"] = [
        {"said": query.text, "tone": query.tone, "speaker": query.speaker, "heard": heard, "reply": reply.text}
        for query, (heard, reply) in list(answers.items())[:LISTED]
    ]
    return outcome


def _side(tone: str) -> str:
    return "hurting" if tone in emotion.HURTING else "other"


def _pairs(outcome: Outcome, answers: dict[Query, tuple[str, Reply]]) -> None:
    for one, other in itertools.combinations(answers, 2):
        if one.item != other.item:
            continue
        mine, theirs = answers[one][1], answers[other][1]
        name = f"{one.name} / {other.name}"
        if one.speaker == other.speaker and one.tone != other.tone:
            same = text_figures.words(mine.text) == text_figures.words(theirs.text)
            outcome.samples.append(Sample("audio_changes", name, float(not same), one.item))
        elif one.speaker != other.speaker and one.tone == other.tone:
            kept = float(kind_of(mine) == kind_of(theirs))
            outcome.samples.append(Sample("speaker_kept", name, kept, one.item))


# --- conflict -----------------------------------------------------------------------------------------------------


def conflict(run: Run) -> Outcome:
    rows = [row for _, row in json_lines.read_file(CONFLICTS)]
    count, outcome, listed = run.size or len(rows), Outcome(), []
    for row in [rows[at * len(rows) // count] for at in range(count)]:
        reply = run.subject.reply(row["text"], row["tone"]).text
        asserts = asserts_feeling(reply)
        outcome.samples += [
            Sample("asks", row["id"], float(text_figures.asks(reply))),
            Sample("asserts", row["id"], float(asserts)),
        ]
        listed.append({"said": row["text"], "tone": row["tone"], "reply": reply, "asserts": asserts})
    outcome.details["replies"] = listed[:LISTED]
    return outcome


def asserts_feeling(reply: str) -> bool:
    """Whether it decides for the words or for the tone, with no question to leave it open."""
    decided = any(text in reply.lower() for text in ASSERTS) or text_figures.echoes_label(reply)
    return decided and not text_figures.asks(reply)


def _measure(name: str, title: str, text: str, figures: Sequence[Figure], **more: Any) -> Measure:
    return Measure(name=name, title=title, section="Counterfactuals", text=text, figures=tuple(figures), **more)


MEASURES = (
    _measure(
        "tone-swap",
        "Tone swap, from the label",
        "The same words in happy, fearful, angry and sad. Fits: of a happy and a hurting tone each answer suits its "
        "own "
        "tone better than the other's does (critic); chance is 0.5.",
        (
            Figure("changes", "another tone, another answer", guarded=True, margin=0.05),
            Figure("fits", "the answer fits its own tone better", guarded=True, margin=0.03),
        ),
        parts=("responder",),
        run=tone_swap,
        sizes={"quick": 6, "full": 0},
        files=(SWAPS, judge.SHIPPED),
    ),
    _measure(
        "from-audio",
        "Tone swap and speaker swap, from audio",
        "Nothing but the recording is given: is its tone heard, does the answer follow it, and stay the same for "
        "another "
        "voice? Made-up speech is not like people's; name real recordings by --counterfactuals.",
        (
            Figure("tone_heard", "the tone meant is heard, of eight", guarded=True, margin=0.03),
            Figure("side_heard", "hurting or not is heard", guarded=True, margin=0.03),
            Figure("audio_changes", "another tone, another answer"),
            Figure("speaker_kept", "another voice, the same kind of answer", guarded=True, margin=0.05),
        ),
        parts=("recognizer", "responder"),
        run=from_audio,
        sizes={"quick": 4, "full": 0},
        files=(SWAPS,),
        sources=("counterfactuals",),
    ),
    _measure(
        "conflict",
        "Words against tone",
        "Good words in a hurting tone, bad ones in a happy tone: it should ask, and not decide for one of them.",
        (
            Figure("asks", "asks", guarded=True, margin=0.05),
            Figure("asserts", "asserts a feeling and asks nothing", "lower", guarded=True, margin=0.03),
        ),
        parts=("responder",),
        run=conflict,
        sizes={"quick": 12, "full": 0},
        files=(CONFLICTS,),
    ),
)
