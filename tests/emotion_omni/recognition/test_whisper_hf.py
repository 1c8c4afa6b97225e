"""A Whisper of transformers and emotion classifiers, with tiny random weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers
from conftest import noise

from emotion_omni import emotion
from emotion_omni.recognition.config import (
    SpeechEmotionConfig,
    TranscriberConfig,
    TransformersEmotionConfig,
)
from emotion_omni.recognition.utterance import Utterance, prepare_utterance
from emotion_omni.recognition.whisper_decoder import REPETITION_PENALTY
from emotion_omni.recognition.whisper_hf import LabelClassifier, Transcriber, load_classifier
from emotion_omni.types import EmotionOmniError, Heard, Turn

CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def transcriber(settings) -> Transcriber:
    return Transcriber.load(settings.recognizer.transcriber, CPU)


def test_the_transcript_is_what_whispers_own_decoding_gives(transcriber):
    model = transcriber.model
    heard = set()
    for seed in range(4):
        samples = noise(2.5, level=0.1 * (seed + 1), seed=seed).samples
        given = transcriber.features(samples, sampling_rate=16_000, return_tensors="pt").input_features
        settings = transformers.GenerationConfig.from_model_config(model.config)
        settings.suppress_tokens = [
            token for token in range(model.config.vocab_size) if torch.isinf(transcriber.suppressed[token])
        ]
        settings.begin_suppress_tokens = model.generation_config.begin_suppress_tokens
        tokens = transformers.GenerationMixin.generate(
            model,
            given,
            generation_config=settings,
            decoder_input_ids=torch.tensor([transcriber.prompt]),
            max_new_tokens=8 + 22,
        )
        expected = transcriber.tokenizer.decode(tokens[0, len(transcriber.prompt) :], skip_special_tokens=True).strip()
        encoded = model.get_encoder()(given)
        written = transcriber.decode(encoded, 8 + 22)
        assert transcriber.tokenizer.decode(written, skip_special_tokens=True).strip() == expected
        heard.add(expected)
    assert len(heard) > 1  # the sound matters


def test_a_long_recording_is_read_window_by_window(transcriber):
    """A chunk of the tiny Whisper is three seconds; there is a pause in the middle of the recording."""
    first, second = noise(2.4, seed=1, level=0.1).samples, noise(2, seed=5, level=0.4).samples
    spans = ((0, len(first) - 100), (len(first) + 100, len(first) + len(second)))
    whole = Utterance(np.concatenate([first, second]), spans)
    assert whole.windows(transcriber.features.chunk_length) == [(0, len(first)), (len(first), len(whole.samples))]
    parts = [transcriber.transcribe(Utterance.of(part)) for part in (first, second)]
    assert all(parts) and transcriber.transcribe(whole) == " ".join(parts)


def test_a_loop_is_decoded_again_with_a_penalty(transcriber, monkeypatch):
    plain, asked = transcriber.decode, []

    def looping(encoded, max_tokens, penalty=1.0):
        asked.append(penalty)
        return [5, 6, 7] * 9 if penalty == 1.0 else [5, 6, 7]

    monkeypatch.setattr(transcriber, "decode", looping)
    transcriber.transcribe(Utterance.of(noise(1).samples))
    assert asked == [1.0, REPETITION_PENALTY]
    monkeypatch.setattr(transcriber, "decode", plain)
    encoded = transcriber.model.get_encoder()(torch.zeros(1, transcriber.features.feature_size, 300))
    tokens = transcriber.decode(encoded, 12, penalty=1e6)
    assert len(tokens) == len(set(tokens)), "so strong a penalty lets no token stand twice"


def test_what_the_model_takes_for_silence_is_no_words(transcriber, monkeypatch):
    monkeypatch.setattr(transcriber, "no_speech", transcriber.prompt[-1])
    model, scores = transcriber.model, torch.full((transcriber.model.config.vocab_size,), -9.0)
    scores[transcriber.no_speech] = 9.0
    monkeypatch.setattr(model.proj_out, "forward", lambda states: scores.expand(*states.shape[:2], -1))
    assert transcriber.transcribe(Utterance.of(noise(1).samples)) == ""


def test_a_language_that_whisper_does_not_know_is_refused(settings):
    with pytest.raises(EmotionOmniError, match=r"<\|xx\|>.*transcriber\.language is 'xx'") as caught:
        Transcriber.load(TranscriberConfig(settings.recognizer.transcriber.name, "", language="xx"), CPU)
    assert caught.value.code == "config"
    german = Transcriber.load(TranscriberConfig(settings.recognizer.transcriber.name, "", language="de"), CPU)
    assert "<|de|>" in german.tokenizer.decode(german.prompt)


def test_the_query_is_prepared_as_the_embedded_engine_does(embedded, hub, spoken):
    ours, theirs = prepare_utterance(spoken, hub.recognizer.voice_activity), embedded.recognizer.prepare(spoken)
    assert np.array_equal(ours.samples, theirs.samples) and ours.offsets == theirs.offsets


def test_a_tone_is_the_recognizers_own_belief_under_our_names(settings):
    recognizer = load_classifier(settings.recognizer.emotion, CPU)
    samples = noise(3.0, level=0.2, seed=3).samples
    model = transformers.AutoModelForAudioClassification.from_pretrained(settings.recognizer.emotion.name)
    given = transformers.Wav2Vec2FeatureExtractor()(samples, sampling_rate=16_000, return_tensors="pt").input_values
    with torch.inference_mode():
        angry, happy, neutral, sad, bored = model(given).logits[0].softmax(0).tolist()
    belief, trajectory, _ = recognizer.classify(Utterance.of(samples, 1.0))
    wanted = {"angry": angry, "happy": happy, "neutral": neutral + bored, "sad": sad}
    assert belief.probabilities == pytest.approx({name: wanted.get(name, 0.0) for name in emotion.NAMES}, abs=1e-5)
    assert [at for at, _ in trajectory] == [
        2.0,
        3.0,
    ]  # the middles of the first and the last two seconds, from the recording's start


def test_a_label_without_a_name_here_counts_as_neutral():
    labels = ["生气/angry", "其他/other", "难过/sad", ""]
    recognizer = LabelClassifier(
        "emotion2vec", lambda windows: np.tile([0.1, 0.5, 0.3, 0.1], (len(windows), 1)), labels
    )
    belief, _, _ = recognizer.classify(Utterance.of(noise(1).samples, 0.0))
    assert belief.probabilities == pytest.approx(
        {**dict.fromkeys(emotion.NAMES, 0.0), "angry": 0.1, "neutral": 0.6, "sad": 0.3}
    )


def test_a_recognizer_without_its_head_is_refused_rather_than_given_a_random_one(checkpoints, tmp_path):
    whole = transformers.Wav2Vec2ForSequenceClassification.from_pretrained(checkpoints / "classifier")
    whole.wav2vec2.save_pretrained(tmp_path)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    with pytest.raises(EmotionOmniError, match=r"lacks 4 of the weights.*(classifier|projector)") as caught:
        load_classifier(TransformersEmotionConfig(str(tmp_path)), CPU)
    assert caught.value.code == "weights"


def test_a_recognizer_of_something_else_is_refused():
    with pytest.raises(EmotionOmniError, match=r"LABEL_0, LABEL_1.*neutral, happy") as caught:
        LabelClassifier("some/model", lambda windows: np.ones((1, 2)), ["LABEL_0", "LABEL_1"])
    assert caught.value.code == "config"


def test_a_long_tone_is_the_mean_of_even_parts_and_looked_at_a_bounded_number_of_times():
    asked: list[int] = []

    def classify(windows):
        asked.extend(len(window) for window in windows)
        return np.array([[0.8, 0.2] if window[0] > 0 else [0.2, 0.8] for window in windows])

    samples = np.concatenate([np.ones(16_000 * 45), -np.ones(16_000 * 45)]).astype(np.float32)
    belief, trajectory, _ = LabelClassifier("half", classify, ["happy", "sad"]).classify(Utterance.of(samples, 0.5))
    assert asked[:3] == [16_000 * 30] * 3 and set(asked[3:]) == {32_000} and len(asked) == 3 + 48
    assert belief.probabilities["happy"] == pytest.approx(0.6)  # two parts of three begin happy
    assert trajectory[0][0] == 1.5 and trajectory[-1][0] == 89.5
    assert trajectory[0][1].label == "happy" and trajectory[-1][1].label == "sad"


def test_the_embedded_tone_head_can_take_the_place_of_a_large_one(embedded, spoken):
    ours, *_ = load_classifier(SpeechEmotionConfig(), CPU).classify(embedded.recognizer.prepare(spoken))
    theirs = next(event for event in embedded.respond(Turn(spoken, speak=False)) if isinstance(event, Heard))
    assert ours.probabilities == pytest.approx(theirs.emotion.probabilities, abs=1e-6)


def test_hearing_that_overflows_is_told_too(hub, spoken, monkeypatch):
    plain = hub.recognizer.transcriber.model.forward

    def overflowing(*given, **named):
        out = plain(*given, **named)
        out.logits = out.logits * torch.nan
        return out

    monkeypatch.setattr(hub.recognizer.transcriber.model, "forward", overflowing)
    with pytest.raises(EmotionOmniError, match="transcriber.*float32") as caught:
        list(hub.respond(Turn(spoken)))
    assert caught.value.code == "not-finite"
