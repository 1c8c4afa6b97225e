"""Replies of an engine and its parent as a study of the template compare: blind reading by people, with ears.

``python -m emotion_omni evaluate ENGINE --against PARENT --study FOLDER`` writes ``study.yaml``, ``items.csv`` and the
sounds; ``python -m annotation create FOLDER`` makes the study. Prompts that both answer with the same words are left
out and counted. The studio draws the sides anew for each rater.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import soundfile

from emotion_omni.evaluate import reply_sheets, text_figures
from emotion_omni.evaluate.made_up_speech import VOICES, MadeUpSpeech, Query
from emotion_omni.evaluate.measure import Say
from emotion_omni.evaluate.measures.replies import earlier_of
from emotion_omni.evaluate.subject import Reply, Subject
from emotion_omni.types import Audio, Delivery

COLUMNS = ("query", "a", "b", "text_query", "text_a", "text_b", "system_a", "system_b", "family", "tone")
SETTINGS = "title: {title}\ntemplate: compare\nratings_per_item: 5\n"


def write(child: Subject, parent: Subject, limit: int, folder: Path, speech: MadeUpSpeech, say: Say) -> dict[str, Any]:
    """→ counts. ``limit``: prompts, 0 for all. Prompts with earlier turns are left out: a rater would not hear them."""
    prompts = [one for one in reply_sheets.prompts(limit) if not one["earlier"]]
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    rows, same = [], 0
    for number, prompt in enumerate(prompts):
        replies = [one.reply(prompt["text"], prompt["tone"], earlier_of(prompt)) for one in (child, parent)]
        if text_figures.words(replies[0].text) == text_figures.words(replies[1].text):
            same += 1
            continue
        query = Query(prompt["id"], prompt["text"], prompt["tone"], VOICES[number % len(VOICES)])
        sounds = [
            speech.sound(query),
            *(_spoken(one, reply) for one, reply in zip((child, parent), replies, strict=True)),
        ]
        names = [f"audio/{prompt['id']}-{role}.wav" for role in ("query", "a", "b")]
        for name, sound in zip(names, sounds, strict=True):
            soundfile.write(folder / name, sound.samples, sound.hz)
        texts = (prompt["text"], *(reply.text for reply in replies))
        family = "-".join(prompt["id"].split("-")[:2])
        rows.append((*names, *texts, child.name, parent.name, family, prompt["tone"]))
        if len(rows) % 10 == 0:
            say(f"{len(rows)} comparisons spoken")
    _tables(folder, rows, f"{child.name} and {parent.name}")
    return {"prompts": len(prompts), "comparisons": len(rows), "same_words": same, "folder": str(folder)}


def _spoken(subject: Subject, reply: Reply) -> Audio:
    return subject.speak(reply.text, Delivery(reply.emotion))


def _tables(folder: Path, rows: Sequence[Sequence[str]], title: str) -> None:
    with open(folder / "items.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        table.writerows(rows)
    (folder / "study.yaml").write_text(SETTINGS.format(title=f'"{title}"'), encoding="utf-8")
