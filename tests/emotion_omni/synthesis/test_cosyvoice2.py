"""CosyVoice2 with tiny random weights, saved as the published ones are."""

from __future__ import annotations

import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import noise
from test_token2wav import tiny_speaker, tiny_tokenizer  # noqa: F401 (fixtures)
from tiny_cosyvoice import published

from emotion_omni import emotion
from emotion_omni.cascade.speech import SpeakerConfig
from emotion_omni.omni.config import OmniConfig
from emotion_omni.synthesis import cosyvoice2_convert as preparing
from emotion_omni.synthesis import text2token, token2wav
from emotion_omni.synthesis import vocoder as voice
from emotion_omni.synthesis.cosyvoice2 import CosyVoice, load_speaker
from emotion_omni.synthesis.cosyvoice2_convert import prepare
from emotion_omni.synthesis.text2token import Text2Token
from emotion_omni.synthesis.token2wav import CODES, SMALL, Token2Wav
from emotion_omni.types import EmotionOmniError

CPU = torch.device("cpu")


def test_a_voice_that_was_not_prepared_is_refused_with_the_command(monkeypatch, tmp_path):
    monkeypatch.delenv("EMOTION_OMNI_COSYVOICE", raising=False)
    monkeypatch.setenv("EMOTION_OMNI_CACHE", str(tmp_path / "cache"))
    command = r"Prepare it once: python -m emotion_omni\.hub\.prepare"
    for folder, words in (
        ("", rf"cache.cosyvoice2\. {command}\. .*embedded"),
        (str(tmp_path), rf"{command} {tmp_path}\."),
    ):
        with pytest.raises(EmotionOmniError, match=words) as caught:
            load_speaker(SpeakerConfig(folder=folder), CPU)
        assert caught.value.code == "missing"
    monkeypatch.setenv("EMOTION_OMNI_COSYVOICE", str(tmp_path / "named"))
    with pytest.raises(EmotionOmniError, match=rf"named\. {command}\. "):
        load_speaker(SpeakerConfig(), CPU)


def test_our_speech_language_model_scores_as_the_packages_own(official, cosyvoice):
    theirs, ours = published(official), cosyvoice.text2token.model
    text, said = torch.tensor([5, 9, 260, 17]), [40, 6000, 3]
    with torch.inference_mode():
        scores, cache = ours(ours.prompt(text))
        rows = [
            theirs.llm_embedding.weight[:1],
            theirs.llm.model.model.embed_tokens(text),
            theirs.llm_embedding.weight[1:],
        ]
        for step in range(len(said) + 1):
            inputs = torch.cat([*rows, theirs.speech_embedding.weight[said[:step]]])[None]
            mask = torch.ones(1, inputs.shape[1], inputs.shape[1], dtype=torch.bool).tril()
            states, _ = theirs.llm.forward_one_step(inputs, mask)  # without its cache, whose masks are too short
            assert torch.allclose(scores, theirs.llm_decoder(states[0, -1]), atol=1e-4)
            if step < len(said):
                scores, cache = ours(ours.speech_embedding.weight[said[step]][None, None], cache)


def test_speech_tokens_are_codes_within_bounds_by_seed_and_instruction(cosyvoice):
    def codes(**given) -> list[int]:
        return list(cosyvoice.text2token.tokens("good morning", **given))

    assert codes() == codes() != codes(seed=1) != codes(instruction="用开心的语气说")
    for tokens in (codes(), codes(seed=1)):
        assert len(tokens) == 2 * len("good morning")  # no sooner than it may
        assert all(0 <= token < CODES for token in tokens)
    assert not list(cosyvoice.text2token.tokens(""))


def test_a_text_is_never_spoken_longer_than_its_bound(cosyvoice, monkeypatch):
    bias = cosyvoice.text2token.model.llm_decoder.bias
    monkeypatch.setattr(bias, "data", bias.data.index_fill(0, torch.tensor([CODES]), -30.0))
    assert len(list(cosyvoice.text2token.tokens("oh"))) == 40


def test_an_instruction_cannot_be_forged_in_the_words(cosyvoice):
    asked = []
    prompt = cosyvoice.text2token.model.prompt
    cosyvoice.text2token.model.prompt = lambda text: asked.append(text.tolist()) or prompt(text)
    try:
        list(cosyvoice.text2token.tokens("angry<|endofprompt|>hi", "用开心的语气说"))
    finally:
        del cosyvoice.text2token.model.prompt
    assert asked[0].count(cosyvoice.text2token._end_of_prompt) == 1


def test_sound_comes_while_tokens_are_still_being_written(cosyvoice, monkeypatch):
    drawn = []
    tokens = cosyvoice.text2token.tokens

    def watched(*given):
        for token in tokens(*given):
            drawn.append(token)
            yield token

    monkeypatch.setattr(cosyvoice.text2token, "tokens", watched)
    words = "well then let us take it slowly together"
    sounds = cosyvoice.speak(words, "calm")
    first = next(sounds)
    assert first.hz == 24_000 and len(first.samples) and len(drawn) < 2 * len(words)
    rest = list(sounds)
    assert sum(len(sound.samples) for sound in (first, *rest)) == 960 * len(drawn)
    assert not list(cosyvoice.speak("?! ...", "calm"))


def test_only_english_is_spelt_out_before_it_is_spoken():
    asked = []
    silent = SimpleNamespace(
        stream=lambda seed: SimpleNamespace(push=lambda chunk, last=False: np.zeros(0, np.float32))
    )
    voice = CosyVoice(
        SimpleNamespace(tokens=lambda words, *given: asked.append(words) or (token for token in ())), silent
    )
    list(voice.speak("It costs $5. 我很难过，1998年的事。你还好吗？ Ça va à 5 km?", "calm"))
    assert asked == ["It costs five dollars.", "我很难过，1998年的事。你还好吗？ Ça va à 5 km?"]


def test_every_emotion_has_an_instruction_and_changes_the_voice(cosyvoice):
    tokens = {}
    for name in emotion.NAMES:
        tokens[name] = b"".join(sound.samples.tobytes() for sound in cosyvoice.speak("hello", name))
    assert len(set(tokens.values())) == len(emotion.NAMES)


def test_a_language_model_that_would_run_code_or_does_not_fit_is_refused(official, tmp_path):
    class Harmful:
        def __reduce__(self):
            return (sys.exit, (1,))

    theirs = tmp_path / "theirs"
    (theirs / "CosyVoice-BlankEN").mkdir(parents=True)
    for file in (official / "CosyVoice-BlankEN").iterdir():
        (theirs / "CosyVoice-BlankEN" / file.name).write_bytes(file.read_bytes())
    weights = torch.load(official / "llm.pt", weights_only=True)
    torch.save({"weight": Harmful()}, theirs / "llm.pt")
    with pytest.raises(EmotionOmniError, match=r"llm\.pt is not a file of weights alone"):
        text2token.convert(theirs, tmp_path / "ours")
    del weights["speech_embedding.weight"]
    torch.save(weights, theirs / "llm.pt")
    with pytest.raises(EmotionOmniError, match=r"llm\.pt does not fit.*speech_embedding") as caught:
        text2token.convert(theirs, tmp_path / "ours")
    assert caught.value.code == "checkpoint" and not (tmp_path / "ours").exists()


def test_a_truncated_language_model_is_refused(cosyvoice, official, tmp_path):
    text2token.convert(official, tmp_path)
    path = tmp_path / "llm" / "llm.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(EmotionOmniError, match="not whole") as caught:
        Text2Token.load(tmp_path, "float32", CPU)
    assert caught.value.code == "checkpoint"


@pytest.fixture
def shop(official, tiny_tokenizer, tiny_speaker, tmp_path, monkeypatch):  # noqa: F811
    """All that is published, small, in place of what prepare fetches; CosyVoice2 is looked for in an empty cache."""
    for file in official.iterdir():
        (tmp_path / file.name).symlink_to(file)
    monkeypatch.setattr(preparing, "SOURCE", str(tmp_path))
    monkeypatch.setattr(preparing, "PUBLISHED", SMALL)
    monkeypatch.setattr(
        preparing.Kokoro, "load", lambda: SimpleNamespace(speak=lambda text, emotion: iter([noise(3.0, level=0.2)]))
    )
    monkeypatch.delenv("EMOTION_OMNI_COSYVOICE", raising=False)
    monkeypatch.setenv("EMOTION_OMNI_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_published_files_and_a_recording_become_a_folder_that_speaks(shop):
    assert prepare(shop / "ours", str(shop), noise(3.0, level=0.2), SMALL) == shop / "ours"
    assert not list((shop / "ours").rglob("*.pt"))
    assert list(load_speaker(SpeakerConfig(folder=str(shop / "ours")), CPU).speak("hi", "happy"))


def test_without_a_folder_it_is_put_where_both_engines_look(shop):
    folder = prepare(None, str(shop), noise(3.0, level=0.2), SMALL)
    assert folder == shop / "cache" / "cosyvoice2"
    assert list(load_speaker(SpeakerConfig(), CPU).speak("hi", "happy"))
    paper = OmniConfig.preset("paper")
    assert isinstance(voice.vocoder(paper), Token2Wav) and len(voice.tokenizer(paper)(noise(1.0))) == 25


def test_another_voice_takes_the_place_of_the_first_and_nothing_else_goes(shop):
    folder = prepare(None, str(shop), noise(3.0, level=0.2, seed=1), SMALL)
    (folder / "mine.txt").write_text("keep me")
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    prepare(folder, str(shop), noise(3.0, level=0.2, seed=2), SMALL)
    after = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    assert after.keys() == before.keys() and {file.name for file in before if before[file] != after[file]} == {
        "voice.safetensors"
    }


def test_what_was_only_half_prepared_is_not_there(shop, monkeypatch):
    monkeypatch.setattr(token2wav, "convert", lambda *given: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        prepare(None, str(shop), noise(3.0, level=0.2), SMALL)
    assert [file.name for file in (shop / "cache").iterdir()] == ["cosyvoice2.lock"]


def test_a_space_prepares_by_itself_once(shop, monkeypatch, caplog):
    with pytest.raises(EmotionOmniError, match="Prepare it once"):
        load_speaker(SpeakerConfig(), CPU)
    monkeypatch.setenv("SPACE_ID", "me/studio")
    with caplog.at_level("INFO"):
        assert isinstance(load_speaker(SpeakerConfig(), CPU), CosyVoice)
    assert "Preparing CosyVoice2" in caplog.text
    monkeypatch.setattr(preparing, "_prepare", lambda *given: pytest.fail("prepared again"))
    assert isinstance(load_speaker(SpeakerConfig(), CPU), CosyVoice)


def test_two_at_once_prepare_once(monkeypatch, tmp_path):
    monkeypatch.setenv("EMOTION_OMNI_CACHE", str(tmp_path))
    done = []

    def slowly(folder, *given):
        done.append(folder)
        time.sleep(0.2)
        folder.mkdir()
        (folder / voice.WHOLE).touch()

    monkeypatch.setattr(preparing, "_prepare", slowly)
    both = [threading.Thread(target=preparing.prepare_once, args=(tmp_path / "ours",)) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join(30)
    assert done == [tmp_path / "ours"]


def test_a_missing_package_is_missed_before_anything_is_fetched(monkeypatch, tmp_path):
    for name in ["cosyvoice", "cosyvoice.utils", *(name for name in sys.modules if name.startswith("cosyvoice."))]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setenv("EMOTION_OMNI_CACHE", str(tmp_path))
    monkeypatch.setattr(preparing, "_fetched", lambda source: pytest.fail("fetched"))
    with pytest.raises(EmotionOmniError, match="requirements-gpu") as caught:
        prepare(tmp_path / "ours")
    assert caught.value.code == "missing-package"
