"""CosyVoice2 with tiny random weights: instructions, streaming, and what it reads."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from tiny_cosyvoice2 import CPU

from emotion_omni import emotion
from emotion_omni.synthesis.config import CosyVoice2Config
from emotion_omni.synthesis.cosyvoice2 import INSTRUCTIONS, CosyVoice2Synthesizer, instruction_of
from emotion_omni.types import Delivery, EmotionOmniError


def test_every_emotion_has_an_instruction_of_its_own():
    assert INSTRUCTIONS.keys() == set(emotion.NAMES[1:]) and len(set(INSTRUCTIONS.values())) == len(emotion.NAMES) - 1
    assert instruction_of(Delivery("neutral")) == ""


def test_sound_comes_while_tokens_are_still_being_generated(cosyvoice2, monkeypatch):
    generated = []
    generate = cosyvoice2.text2token.generate

    def watched(*arguments):
        for token in generate(*arguments):
            generated.append(token)
            yield token

    monkeypatch.setattr(cosyvoice2.text2token, "generate", watched)
    text = "well then let us take it slowly together"
    sounds = cosyvoice2.synthesize(text, Delivery("calm"))
    first = next(sounds)
    assert first.hz == 24_000 and len(first.samples) and len(generated) < 2 * len(text)
    rest = list(sounds)
    assert sum(len(sound.samples) for sound in (first, *rest)) == 960 * len(generated)


def test_closing_early_stops_the_language_model(cosyvoice2, monkeypatch):
    closed = []

    def endless(*arguments):
        try:
            while True:
                yield 5
        finally:
            closed.append(True)

    monkeypatch.setattr(cosyvoice2.text2token, "generate", endless)
    sounds = cosyvoice2.synthesize("hello", Delivery("calm"))
    next(sounds)
    sounds.close()
    assert closed == [True]


def recording() -> tuple[CosyVoice2Synthesizer, list[tuple[str, str]]]:
    """A synthesizer that says nothing, and the text and instruction of each clause that it was given."""
    given: list[tuple[str, str]] = []

    def generate(text, instruction, seed):
        given.append((text, instruction))
        return (token for token in ())

    silent = SimpleNamespace(push=lambda chunk, last=False: np.zeros(0, np.float32))
    token2wav = SimpleNamespace(stream=lambda seed, rate: silent)
    return CosyVoice2Synthesizer(SimpleNamespace(generate=generate), token2wav), given


def test_only_english_is_normalized():
    synthesizer, given = recording()
    list(synthesizer.synthesize("It costs $5. 我很难过，1998年的事。你还好吗？ Ça va à 5 km?", Delivery("calm")))
    texts = [text for text, _ in given]
    assert texts == ["It costs five dollars.", "我很难过，1998年的事。你还好吗？ Ça va à 5 km?"]


@pytest.mark.parametrize(
    ("intensity", "instruction"),
    [(0.0, ""), (0.2, ""), (0.5, "用有点开心的语气说"), (1.0, "用开心的语气说"), (2.0, "用非常开心的语气说")],
)
def test_the_instruction_has_degrees(intensity, instruction):
    synthesizer, given = recording()
    list(synthesizer.synthesize("Hello.", Delivery("happy", intensity)))
    assert given == [("Hello.", instruction)]


def test_a_folder_that_does_not_exist_is_refused_with_the_command(monkeypatch, tmp_path):
    monkeypatch.delenv("EMOTION_OMNI_COSYVOICE", raising=False)
    monkeypatch.setenv("EMOTION_OMNI_CACHE", str(tmp_path / "cache"))
    command = r"Run once: python -m emotion_omni convert cosyvoice2"
    for folder, message in (
        ("", rf"cache.cosyvoice2\. {command}\. .*kokoro"),
        (str(tmp_path), rf"{command} {tmp_path}\."),
    ):
        with pytest.raises(EmotionOmniError, match=message) as caught:
            CosyVoice2Synthesizer.load(CosyVoice2Config(folder=folder), CPU)
        assert caught.value.code == "missing"
    monkeypatch.setenv("EMOTION_OMNI_COSYVOICE", str(tmp_path / "named"))
    with pytest.raises(EmotionOmniError, match=rf"named\. {command}\. "):
        CosyVoice2Synthesizer.load(CosyVoice2Config(), CPU)
