"""What an evaluation writes for people to compare is a study as it is."""

from __future__ import annotations

import soundfile
from conftest import tone

from annotation.study import importing
from annotation.study.source import Source
from emotion_omni.evaluate import compare_study
from emotion_omni.evaluate.subject import Reply, Subject


class Speech:
    def sound(self, query):
        return tone(1.0, pitch=200 + len(query.text))


def subject(tmp_path, name, suffix):
    one = Subject("fake", tmp_path / name)
    one.name = name
    one.reply = lambda text, tone_, earlier=(), seed=0: Reply(
        text if len(text) % 3 == 0 else f"{text} {suffix}", "neutral", tone_, "calm"
    )
    one.speak = lambda text, delivery: tone(1.2, pitch=300 + sum(map(ord, text)) % 97 + len(text) / 7)
    return one


def test_it_is_imported_without_a_change(tmp_path):
    folder = tmp_path / "study"
    pair = subject(tmp_path, "child", "indeed"), subject(tmp_path, "parent", "really")
    found = compare_study.write(*pair, 24, folder, Speech(), lambda text: None)
    assert found["comparisons"] + found["same_words"] == found["prompts"] and found["same_words"] > 0
    checked = importing.check(Source.folder(folder))
    assert len(checked.entries) == found["comparisons"] and checked.rules.template == "compare"
    first = checked.entries[0]
    assert set(first.files) == {"query", "a", "b"} and first.given["system_a"] == "child"
    assert soundfile.info(folder / first.files["query"]).frames > 0
