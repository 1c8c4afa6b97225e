"""Train the speech emotion head: eight emotions from Whisper's hidden states, of voices that it gets to know.

``python -m emotion_omni train recognizer --data FOLDER [FOLDER …] --out FOLDER``

The folders hold recordings and a ``manifest.csv`` with the columns path, emotion, speaker, source, split (train, dev,
test; no speaker in two). Emotion names of other corpora are understood. Corpora whose authors state no terms, or none
that allow published weights, are never trained on; they are what "never trained on" is measured with.

Every clip is prepared exactly like a query. An example is a clip together with a random number of other clips of the
same speaker, as a conversation has earlier turns. Corpora weigh the same, and so do the emotions of a corpus; an
emotion that a corpus does not have takes no part in its loss. Every corpus is left out of training once: how the head
does there is the figure to believe, and the temperatures are fitted there.

Axes: N clips or examples, F features, C emotions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from emotion_omni import audio, emotion, streams, weights
from emotion_omni.recognition.speech_emotion import HeadConfig, SpeechEmotionHead, load_head, mean_states, updated
from emotion_omni.recognition.utterance import Utterance, prepare_utterance
from emotion_omni.recognition.voice_activity import HZ, VoiceActivity
from emotion_omni.recognition.whisper_ct2 import encode_windows, spoken_frames
from emotion_omni.recognition.whisper_encoder import WhisperEncoder
from emotion_omni.train.emotion_corpus import UNLICENSED, Clip, read_manifests, report, unweighted_average_recall
from emotion_omni.train.emotion_rehearsal import Rehearsal
from emotion_omni.train.logistic_regression import maximize_likelihood
from emotion_omni.train.part_settings import RecognizerSettings
from emotion_omni.types import EmotionOmniError, SpeakerEstimate

EARLIER_TURNS = (0, 0, 0, 1, 2, 3, 5, 8, 12, 20, 40)  # of an example, drawn with equal probability
SAME_MOOD = 0.2  # share of the examples whose earlier turns are all in one mood: people stay in one
FOLDS = 3  # of speakers, for guesses of clips whose speaker is unknown
MANY_TURNS = 40  # at which "everything is known of the voice" is measured
TEMPERATURES = np.arange(0.5, 4.0, 0.05)
SLOPES = (0.0, 1.0, 2.0, 3.0, 4.0)  # of the temperature by distance; steeper ones gain little, and by one corpus
FAR = 0.75  # share of the clips from whose distance on the temperature rises


# --- features ---------------------------------------------------------------------------------------------------


class Extractor:
    """Recordings → the means of their hidden states [F], cached on disk under the hash of the file."""

    def __init__(self, cache: Path) -> None:
        self.encoder = WhisperEncoder.load(weights.fetch("whisper-base/model.bin"))
        self._cache, self._voice_activity = cache, VoiceActivity(weights.fetch("silero/vad.onnx"))
        cache.mkdir(parents=True, exist_ok=True)

    def __call__(self, clip: Clip) -> np.ndarray:
        file = self._cache / f"{hashlib.sha256(clip.path.read_bytes()).hexdigest()[:32]}.npy"
        if not file.exists():
            utterance = self._prepare(clip)
            frames, speech = spoken_frames(encode_windows(self.encoder, utterance), utterance)
            np.save(file, mean_states(frames, speech).numpy())
        return np.load(file)

    def _prepare(self, clip: Clip) -> Utterance:
        query = audio.decode(clip.path)
        try:
            return prepare_utterance(query, self._voice_activity)
        except EmotionOmniError:  # a whispered or clipped recording still has its label
            return Utterance.of(audio.set_level(audio.resample(query, HZ).samples))


@dataclass(eq=False)
class Corpus:
    """Clips with the means of their hidden states [N, F]; arrays of labels, sources, speakers and splits, each [N]."""

    means: np.ndarray
    labels: np.ndarray
    sources: np.ndarray
    speakers: np.ndarray
    splits: np.ndarray

    @classmethod
    def of(cls, clips: Sequence[Clip], means: np.ndarray) -> Corpus:
        columns = [(clip.label, clip.source, f"{clip.source}/{clip.speaker}", clip.split) for clip in clips]
        labels, sources, speakers, splits = (np.array(column) for column in zip(*columns, strict=True))
        return cls(means.astype(np.float32), labels, sources, speakers, splits)

    def rows(self, *splits: str, without: Sequence[str] = (), only: str = "") -> np.ndarray:
        chosen = np.isin(self.splits, splits) & ~np.isin(self.sources, without)
        return np.flatnonzero(chosen & (self.sources == only) if only else chosen)

    def emotions_of(self, source: str) -> np.ndarray:
        """Which emotions a source has [C]."""
        return np.isin(np.arange(len(emotion.NAMES)), self.labels[self.sources == source])


# --- examples -----------------------------------------------------------------------------------------------------


def estimate_of(features: np.ndarray, logits: np.ndarray, space: str) -> SpeakerEstimate | None:
    """Features [K, F] and logits [K, C] of earlier turns → the estimate that a conversation would have handed on."""
    speaker = None
    for turn, guess in zip(torch.from_numpy(features), torch.from_numpy(logits), strict=True):
        speaker = updated(speaker, turn, guess, space)
    return speaker


def earlier_turns(
    corpus: Corpus, row: int, pool: np.ndarray, count: int, rng: np.random.Generator, same_mood: bool = False
) -> np.ndarray:
    """``count`` random rows of ``pool``, without ``row`` itself; all in one mood where asked, which may be its own."""
    pool = pool[pool != row]
    if same_mood and len(pool):
        mood = corpus.labels[row] if rng.random() < 0.5 else rng.choice(corpus.labels[pool])
        pool = pool[corpus.labels[pool] == mood]
    return pool if len(pool) <= count else rng.choice(pool, count, replace=False)


def by_speaker(corpus: Corpus, rows: np.ndarray) -> dict[str, np.ndarray]:
    return {speaker: rows[corpus.speakers[rows] == speaker] for speaker in np.unique(corpus.speakers[rows])}


def examples(
    head: SpeechEmotionHead, corpus: Corpus, logits: np.ndarray, rows: np.ndarray, settings: RecognizerSettings
) -> tuple[Tensor, np.ndarray]:
    """Every clip several times, relative to its speaker → inputs of the classifier [N, F], and the clips' rows [N].

    ``logits`` [N, C]: of the clips, as of somebody unknown.
    """
    rng, speakers = np.random.default_rng(settings.seed), by_speaker(corpus, rows)
    features = head.standardize(torch.from_numpy(corpus.means)).numpy()
    repeated = np.repeat(rows, settings.examples_each)
    inputs = torch.empty(len(repeated), features.shape[1])
    for place, row in enumerate(repeated):
        count = int(rng.choice(EARLIER_TURNS))
        pool = speakers[corpus.speakers[row]]
        chosen = earlier_turns(corpus, row, pool, count, rng, rng.random() < SAME_MOOD) if count else pool[:0]
        speaker = estimate_of(features[chosen], logits[chosen], head.space)
        inputs[place] = head.adapt(torch.from_numpy(features[row]), speaker)
    return inputs, repeated


# --- fitting ------------------------------------------------------------------------------------------------------


def fit(corpus: Corpus, rows: np.ndarray, settings: RecognizerSettings) -> SpeechEmotionHead:
    """The head, from the clips of ``rows``."""
    head = SpeechEmotionHead(HeadConfig())
    head.mean.copy_(torch.from_numpy(corpus.means[rows].mean(0)))
    head.std.copy_(torch.from_numpy(corpus.means[rows].std(0) + 1e-3))
    inputs, repeated = examples(head, corpus, _guesses(head, corpus, rows, settings), rows, settings)
    _fit_classifier(head, corpus, inputs, repeated, settings)
    return head.eval()


def _guesses(head: SpeechEmotionHead, corpus: Corpus, rows: np.ndarray, settings: RecognizerSettings) -> np.ndarray:
    """Logits [N, C] of clips by classifiers that did not learn from their speakers; 0 for other rows."""
    guesses = np.zeros((len(corpus.labels), len(emotion.NAMES)), np.float32)
    features = head.standardize(torch.from_numpy(corpus.means))
    speakers = np.random.default_rng(settings.seed).permutation(np.unique(corpus.speakers[rows]))
    for fold in range(FOLDS):
        is_out = np.isin(corpus.speakers[rows], speakers[fold::FOLDS])
        if is_out.all() or not is_out.any():
            continue
        _fit_classifier(head, corpus, features[rows[~is_out]], rows[~is_out], settings)
        with torch.inference_mode():
            guesses[rows[is_out]] = head.classifier(features[rows[is_out]]).numpy()
    return guesses


def _fit_classifier(
    head: SpeechEmotionHead, corpus: Corpus, inputs: Tensor, rows: np.ndarray, settings: RecognizerSettings
) -> None:
    """To inputs [N, F] of these rows [N]."""
    labels, sources = corpus.labels[rows], corpus.sources[rows]
    maximize_likelihood(head.classifier, inputs, labels, sources, decay=settings.decay, iterations=settings.iterations)


@torch.inference_mode()
def logits_after(
    head: SpeechEmotionHead, corpus: Corpus, rows: np.ndarray, turns: int, seed: int = 1
) -> tuple[Tensor, Tensor]:
    """Logits [N, C] of clips after so many earlier turns of their speakers, and how far the clips lie out [N]."""
    rng, speakers = np.random.default_rng(seed), by_speaker(corpus, rows)
    features = head.standardize(torch.from_numpy(corpus.means))
    guesses = head.classifier(features).numpy()
    found = []
    for row in rows:
        chosen = earlier_turns(corpus, row, speakers[corpus.speakers[row]], turns, rng)
        found.append(head.logits(features[row], estimate_of(features[chosen].numpy(), guesses[chosen], head.space)))
    return torch.stack(found), features[rows].square().mean(1).sqrt()


def leave_one_corpus_out(corpus: Corpus, settings: RecognizerSettings) -> tuple[dict[str, Any], list[tuple[Any, ...]]]:
    """The recall of each trained corpus for a head that never heard it, and its clips as :func:`judge` gives them."""
    found: dict[str, Any] = {}
    kept = []
    sources = np.unique(corpus.sources[corpus.rows("train", without=UNLICENSED)]).tolist()
    for source in sources if len(sources) > 1 else ():
        head = fit(corpus, corpus.rows("train", without=(*UNLICENSED, source)), settings)
        rows = corpus.rows("train", "dev", only=source)
        kept.append(judge(head, corpus, rows))
        new, known = kept[-1][:2]
        found[source] = {
            "nothing known": _recall(new, corpus, rows),
            f"after {MANY_TURNS} turns": _recall(known, corpus, rows),
        }
        _progress(f"without {source}: UAR {found[source]}")
    return found, kept


def judge(head: SpeechEmotionHead, corpus: Corpus, rows: np.ndarray) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """→ logits with nothing known of the voice [N, C], with much known [N, C], distances [N], labels [N]."""
    (new, distance), (known, _) = logits_after(head, corpus, rows, 0), logits_after(head, corpus, rows, MANY_TURNS)
    return new, known, distance, torch.from_numpy(corpus.labels[rows])


def _recall(logits: Tensor, corpus: Corpus, rows: np.ndarray) -> float:
    """Among the emotions that the clips' source has."""
    absent = torch.from_numpy(~corpus.emotions_of(corpus.sources[rows[0]]))
    predictions = logits.masked_fill(absent, -torch.inf).argmax(1).numpy()
    return round(unweighted_average_recall(predictions, corpus.labels[rows]), 4)


def calibrate(head: SpeechEmotionHead, judged: list[tuple[Any, ...]]) -> None:
    """The temperatures, and how steeply they rise with the distance: the slope of the lowest mean cross entropy."""
    start = float(torch.cat([item[2] for item in judged]).quantile(FAR))
    fits = {slope: [_temperature(judged, place, start, slope) for place in (0, 1)] for slope in SLOPES}
    slope = min(SLOPES, key=lambda one: sum(loss for _, loss in fits[one]))
    head.temperature.copy_(torch.tensor([temperature for temperature, _ in fits[slope]]))
    head.distance.copy_(torch.tensor([start, slope]))


def _temperature(judged: list[tuple[Any, ...]], place: int, start: float, slope: float) -> tuple[float, float]:
    """The temperature of the lowest cross entropy, and that; sets of clips count alike.

    ``place`` 0: nothing known of the voice, 1: much.
    """

    def loss(temperature: float) -> float:
        divisors = [temperature + slope * (item[2] - start).clamp_min(0) for item in judged]
        losses = [
            F.cross_entropy(item[place] / divisor[:, None], item[3]).item()
            for item, divisor in zip(judged, divisors, strict=True)
        ]
        return float(np.mean(losses))

    best = min(TEMPERATURES.tolist(), key=loss)
    return best, loss(best)


# --- from recordings to weights -----------------------------------------------------------------------------------


def train(folders: Sequence[Path], out: Path, cache: Path, settings: RecognizerSettings) -> dict[str, Any]:
    """Fit, calibrate and measure; write ``speech_emotion.safetensors`` and its log to ``out`` → the log.

    What is reported of dev is of a head that learned from train; the one that is written learned from both.
    """
    corpus, clips = load_corpus(folders, cache)
    rows, dev = corpus.rows("train", without=UNLICENSED), corpus.rows("dev", without=UNLICENSED)
    log: dict[str, Any] = {"settings": asdict(settings), "corpora": np.unique(corpus.sources[rows]).tolist()}
    log["clips"] = {split: len(corpus.rows(split)) for split in ("train", "dev", "test")}
    log["leave_one_corpus_out"], left_out = leave_one_corpus_out(corpus, settings)
    chosen_by, head = fit(corpus, rows, settings), fit(corpus, np.concatenate([rows, dev]), settings)
    judged = [*left_out, judge(chosen_by, corpus, dev)] if len(dev) else left_out
    for one in (chosen_by, head):
        calibrate(one, judged)
    log["dev"], log["test"] = _reports(chosen_by, corpus, clips, "dev"), _reports(head, corpus, clips, "test")
    out.mkdir(parents=True, exist_ok=True)
    head.save(out / "speech_emotion.safetensors")
    rehearsal_of(head, corpus, rows).save(out / "emotion_rehearsal.safetensors")
    (out / "speech_emotion.log.json").write_text(json.dumps(log, indent=1) + "\n", encoding="utf-8")
    return log


def rehearsal_of(head: SpeechEmotionHead, corpus: Corpus, rows: np.ndarray) -> Rehearsal:
    features = head.standardize(torch.from_numpy(corpus.means[rows])).numpy()
    return Rehearsal.of(features, np.char.add(corpus.sources[rows], corpus.labels[rows].astype(str)))


def load_corpus(folders: Sequence[Path], cache: Path) -> tuple[Corpus, list[Clip]]:
    clips = read_manifests(folders)
    extractor = Extractor(cache)
    found = []
    for number, clip in enumerate(clips):
        found.append(extractor(clip))
        if number % 200 == 199 or number == len(clips) - 1:
            _progress(f"features of {number + 1}/{len(clips)} clips")
    return Corpus.of(clips, np.stack(found)), clips


def _reports(head: SpeechEmotionHead, corpus: Corpus, clips: Sequence[Clip], split: str) -> dict[str, Any]:
    """Of trained and of untrained corpora, with nothing known of the voices and with much."""
    found = {}
    for name, rows in (
        ("trained", corpus.rows(split, without=UNLICENSED)),
        ("never trained", np.setdiff1d(corpus.rows(split), corpus.rows(split, without=UNLICENSED))),
    ):
        for turns in (0, MANY_TURNS) if len(rows) else ():
            logits, distance = logits_after(head, corpus, rows, turns)
            temperature = head.temperature_after(turns, distance)
            probabilities = (logits / temperature[:, None]).softmax(1)
            found[f"{name} corpora, {turns} earlier turns"] = report(probabilities, [clips[row] for row in rows])
    return found


def evaluate(folders: Sequence[Path], weights_file: Path, cache: Path) -> dict[str, Any]:
    """The report of a saved head on dev and test."""
    corpus, clips = load_corpus(folders, cache)
    head = load_head(weights_file, WhisperEncoder.load(weights.fetch("whisper-base/model.bin")))
    if not isinstance(head, SpeechEmotionHead):
        raise EmotionOmniError(f"{weights_file} is a head of release 0.1; this measures newer ones.", "checkpoint")
    return {split: _reports(head, corpus, clips, split) for split in ("dev", "test")}


def _progress(text: str) -> None:
    streams.note(text)
