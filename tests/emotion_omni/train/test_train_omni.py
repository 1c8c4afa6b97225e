"""Training of the end-to-end model: the data it reads, what it learns, and that a killed run goes on as if nothing had been."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soundfile
import torch
from conftest import noise, tone
from safetensors.torch import load_file, save_file

from emotion_omni import audio, checkpoint, cli
from emotion_omni.evaluate import by_heart
from emotion_omni.omni import language_model
from emotion_omni.omni.config import LanguageModelConfig, OmniConfig
from emotion_omni.omni.model import SPEAK, UNDERSTAND, Omni
from emotion_omni.synthesis import codec as units
from emotion_omni.train import dialogues, loop, sources, stage
from emotion_omni.train.examples import Examples, Told
from emotion_omni.train.features import Features, Source, Want
from emotion_omni.train.settings import Settings
from emotion_omni.train.speak import Speak, choices
from emotion_omni.train.understand import Understand, prototypes
from emotion_omni.types import EmotionOmniError

ROOT = Path(__file__).parents[3]
TINY = OmniConfig.preset("tiny")
REPLIES = (
    ("Well done!", "happy"),
    ("I am so sorry.", "sad"),
    ("Take your time.", "calm"),
    ("Oh no, really?", "surprised"),
)
ROWS = [
    {"query": f"q{index}.wav", "reply": reply, "reply_audio": f"r{index}.wav", "reply_emotion": felt, "split": "train"}
    for index, (reply, felt) in enumerate(REPLIES)
]
HELD_OUT = {"query": "q4.wav", "reply": "Well, well.", "reply_audio": "r4.wav", "reply_emotion": "calm", "split": "dev"}
QUICK = {"batch": 4, "adapter_rate": 3e-3, "lora_rate": 3e-3, "speech_rate": 3e-3}


@pytest.fixture(scope="module", autouse=True)
def tokenizer(tmp_path_factory):
    """Speech tokens of random weights: nothing here hangs on what they mean."""
    path = tmp_path_factory.mktemp("voice") / "units.safetensors"
    units.save(path, units.UnitTokenizer.random(TINY.speech.codebook_size).codec)
    patch = pytest.MonkeyPatch()
    patch.setattr(units, "SHIPPED", path)
    yield path
    patch.undo()


@pytest.fixture(scope="module")
def sounds(tmp_path_factory) -> Path:
    """Recordings of queries and answers, of different lengths and pitches, and the folder of their features."""
    folder = tmp_path_factory.mktemp("sounds")
    for index in range(5):
        soundfile.write(folder / f"q{index}.wav", tone(0.6 + 0.3 * index, pitch=150 + 60 * index).samples, 16_000)
        soundfile.write(folder / f"r{index}.wav", noise(0.9 + 0.15 * index, seed=index).samples, 16_000)
    return folder


def written(sounds: Path, rows: list[dict], name: str = "data") -> Path:
    path = sounds / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def settings(sounds: Path, **changed) -> Settings:
    return Settings(**QUICK | {"feature_folder": str(sounds / "features")} | changed)


def understood(sounds: Path, folder: Path, rows=(*ROWS, HELD_OUT), config=TINY, resume=False, **changed) -> dict:
    data = written(sounds, list(rows), f"data-{folder.name}")
    return stage.train("understand", stage.Begin(config), str(data), folder, settings(sounds, **changed), resume)


def spoken(sounds: Path, folder: Path, parent: Path, rows=(*ROWS, HELD_OUT), **changed) -> dict:
    data = written(sounds, list(rows), f"data-{folder.name}")
    return stage.train("speak", stage.Begin(None, str(parent)), str(data), folder, settings(sounds, **changed))


def curve(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def examples(sounds: Path, rows=ROWS, speech=False, model=None, config=TINY) -> Examples:
    data = dialogues.read(written(sounds, list(rows), "examples"), 0)
    features = Features(sounds / "features")
    prompter = (model or Omni.build(config)).prompt_builder
    made = Examples(data.of("train"), config, features, sources.sources(config, features.folder, speech), prompter)
    made.prepare()
    made.measure()
    return made


@pytest.fixture(scope="module")
def learnt(sounds, tmp_path_factory) -> tuple[Path, dict]:
    """A run of stage 1 that others go on from."""
    folder = tmp_path_factory.mktemp("understand")
    return folder, understood(sounds, folder, steps=60)


# --- rows -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "line", "column"),
    [
        ({"reply": None}, 2, "reply"),
        ({"reply": "  "}, 2, "reply"),
        ({"reply": 7}, 2, "reply"),
        ({"query": ""}, 2, "query"),
        ({"query": "nowhere.wav"}, 2, "query"),
        ({"reply_audio": ["r1.wav"]}, 2, "reply_audio"),
        ({"reply_emotion": "hangry"}, 2, "reply_emotion"),
        ({"emotion": 3}, 2, "emotion"),
        ({"split": "training"}, 2, "split"),
        ({"reply_emotoin": "sad"}, 2, "reply_emotoin"),
        ({"history": [{"role": "user", "text": "Hi"}]}, 2, "history"),
        ({"history": [{"role": "assistant", "text": "Hi"}, {"role": "user", "text": "Ho"}]}, 2, "history"),
    ],
)
def test_a_wrong_row_is_refused_by_line_and_column(sounds, changed, line, column):
    with pytest.raises(EmotionOmniError, match=rf"[Ll]ine {line}, column '{column}'") as error:
        dialogues.read(written(sounds, [ROWS[0], ROWS[1] | changed], "wrong"))
    assert error.value.code == "data"


@pytest.mark.parametrize(("text", "said"), [("{", "Line 1 .* not JSON"), ("[1]", "Line 1 .* object"), ("", "no rows")])
def test_what_is_no_row_at_all_is_refused(sounds, text, said):
    (sounds / "broken.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(EmotionOmniError, match=said):
        dialogues.read(sounds / "broken.jsonl")


def test_a_row_tells_all_that_is_known(sounds):
    history = [
        {"role": "user", "text": "My dog died.", "emotion": "sadness"},
        {"role": "assistant", "text": "That hurts."},
    ]
    full = ROWS[0] | {"history": history, "speaker": 7, "emotion": "joy", "licence": "CC0"}
    read = dialogues.read(written(sounds, [full], "full"))
    (row,) = read.rows
    assert (
        row.earlier[0] == dialogues.Exchange("My dog died.", "sad", "That hurts.")
        and row.speaker == "7"
        and row.emotion == "happy"
    )
    assert read.ignored == ("licence",) and row.query.read() == (sounds / "q0.wav").read_bytes()


def test_the_columns_of_an_audio_folder_mean_the_same(sounds):
    ours = dialogues.read(written(sounds, ROWS, "ours"))
    names = {"query": "query_file_name", "reply_audio": "reply_file_name"}
    renamed = [{names.get(key, key): value for key, value in row.items()} for row in ROWS]
    assert dialogues.read(written(sounds, renamed, "theirs")).sha256 == ours.sha256


def test_the_hash_hangs_on_rows_and_on_sound(sounds, tmp_path):
    for index in range(4):
        for name in (f"q{index}.wav", f"r{index}.wav"):
            shutil.copy(sounds / name, tmp_path / name)
    same = dialogues.read(written(tmp_path, ROWS)).sha256
    assert same == dialogues.read(written(sounds, ROWS, "same")).sha256
    reworded = dialogues.read(written(tmp_path, [ROWS[0] | {"reply": "Well!"}, *ROWS[1:]])).sha256
    soundfile.write(tmp_path / "r2.wav", noise(1.0, seed=99).samples, 16_000)
    assert len({same, reworded, dialogues.read(written(tmp_path, ROWS)).sha256}) == 3


def test_no_speaker_is_on_both_sides(sounds):
    rows = [
        {key: value for key, value in ROWS[index % 4].items() if key != "split"} | {"speaker": f"s{index % 20}"}
        for index in range(80)
    ]
    read = dialogues.read(written(sounds, rows, "speakers"), held_out=0.2)
    sides = [{row.speaker for row in read.of(split)} for split in ("train", "dev")]
    assert [len(side) for side in sides] == [16, 4] and not sides[0] & sides[1]


def test_without_speakers_copies_of_a_recording_stay_on_one_side(sounds):
    rows = [{key: value for key, value in ROWS[index % 4].items() if key != "split"} for index in range(16)]
    read = dialogues.read(written(sounds, rows, "nobody"), held_out=0.25)
    sides = [{row.query.sha256 for row in read.of(split)} for split in ("train", "dev")]
    assert [len(side) for side in sides] == [3, 1] and not sides[0] & sides[1]


def test_a_data_set_of_the_hub_is_read_by_its_audio_columns(sounds, tmp_path):
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_list(
        [
            {
                "query": {"bytes": (sounds / row["query"]).read_bytes(), "path": row["query"]},
                "reply": row["reply"],
                "reply_audio": {"bytes": (sounds / row["reply_audio"]).read_bytes(), "path": None},
            }
            for row in ROWS
        ]
    )
    audible = table.features | {"query": datasets.Audio(decode=False), "reply_audio": datasets.Audio(decode=False)}
    for split, rows in (("train", range(3)), ("validation", [3])):
        table.select(rows).cast(datasets.Features(audible)).to_parquet(
            tmp_path / "data" / f"{split}-00000-of-00001.parquet"
        )
    read = dialogues.read(str(tmp_path / "data"))
    assert [row.reply for row in read.of("dev")] == ["Oh no, really?"] and len(read.of("train")) == 3
    assert read.rows[2].reply_audio.read() == (sounds / "r2.wav").read_bytes()


# --- features -------------------------------------------------------------------------------------------------------------


def counting(name: str = "one") -> tuple[Source, list]:
    """A network that notes when it is loaded and when it is used."""
    seen: list[str] = []

    def load():
        seen.append("loaded")
        return lambda speech: seen.append("used") or torch.from_numpy(speech.samples[:800]).view(-1, 4).sin()

    return Source(name, f"identity of {name}", load), seen


def wanted(sounds: Path, source: Source, name: str = "q0.wav") -> Want:
    return Want("Line 1, column 'query'", dialogues._file(sounds, 1, "query", name), source)


def test_features_are_made_once_and_are_the_same_to_the_bit(sounds, tmp_path):
    source, seen = counting()
    wants = [wanted(sounds, source), wanted(sounds, source), wanted(sounds, source, "q1.wav")]
    assert Features(tmp_path).make(wants) == 2 and seen == ["loaded", "used", "used"]
    again = Features(tmp_path)
    assert again.make(wants) == 0 and again.length(wants[0]) == 200
    assert seen == ["loaded", "used", "used"]
    assert torch.equal(again.get(wants[0]), source.load()(audio.decode(sounds / "q0.wav")))


def test_another_network_or_another_sound_finds_nothing(sounds, tmp_path):
    one, other = counting("one")[0], counting("other")[0]
    assert Features(tmp_path).make([wanted(sounds, one), wanted(sounds, other), wanted(sounds, one, "q1.wav")]) == 3
    assert Features(tmp_path, half=True).make([wanted(sounds, one)]) == 1


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other"])
def test_a_damaged_file_is_made_again(sounds, tmp_path, damage):
    source, seen = counting()
    want, features = wanted(sounds, source), Features(tmp_path)
    expected = features.get(want)
    path = features.path(want.sound, source)
    data = path.read_bytes()
    flipped = data[:-5] + bytes([data[-5] ^ 1]) + data[-4:]
    if damage == "other":
        save_file({"something": torch.zeros(2)}, path)
    else:
        path.write_bytes({"cut": data[:-7], "flipped": flipped, "empty": b""}[damage])
    assert torch.equal(Features(tmp_path).get(want), expected) and seen.count("used") == 2
    assert path.read_bytes() == data and not list(tmp_path.rglob("*.part"))


def test_processes_share_the_work(sounds, tmp_path):
    source, seen = counting()
    wants = [wanted(sounds, source, f"q{index}.wav") for index in range(5)]
    Features(tmp_path).make(wants[:1])
    assert sum(Features(tmp_path).make(wants, process, 2) for process in (0, 1)) == 4, (
        "whatever one of them has made already"
    )
    assert Features(tmp_path).make(wants) == 0 and seen.count("used") == 5


def test_a_sound_that_cannot_be_used_is_named_by_its_line(sounds, tmp_path):
    (sounds / "silent.wav").write_bytes((sounds / "q0.wav").read_bytes()[:60])
    with pytest.raises(EmotionOmniError, match=r"Line 1, column 'query' \(silent.wav\)"):
        Features(tmp_path).make([wanted(sounds, counting()[0], "silent.wav")])


def test_no_encoder_is_loaded_when_nothing_is_missing(sounds, monkeypatch):
    first = examples(sounds, speech=True).batch([0, 1])

    def refuse(*arguments):
        raise AssertionError("loaded")

    monkeypatch.setattr(sources, "MAKERS", {"semantic": refuse, "emotion": refuse})
    monkeypatch.setattr(units.UnitTokenizer, "load", refuse)
    again = examples(sounds, speech=True).batch([0, 1])
    assert torch.equal(first.query.semantic, again.query.semantic) and torch.equal(first.speech, again.speech)
    assert again.speech_lengths.tolist() == [23, 27] and again.frame_lengths.tolist() == [45, 53]


# --- order, shares and rates ------------------------------------------------------------------------------------------------


def test_the_rate_rises_and_falls_as_a_cosine():
    rates = [loop.rate(step, 100, 0.03) for step in range(100)]
    assert rates[:3] == pytest.approx([1 / 3, 2 / 3, 1]) and max(rates) == 1
    assert rates[2 + 49] == pytest.approx(0.5, abs=1e-9), "half way down after half of the 98 steps of the fall"
    assert all(one > other for one, other in zip(rates[2:], rates[3:], strict=False)) and 0 < rates[-1] < 0.001
    assert loop.rate(0, 1, 0.03) == 1


def test_an_epoch_takes_every_utterance_once_and_like_sizes_together():
    sizes = [(37 * place) % 101 for place in range(103)]
    batches = loop.order(sizes, 4, seed=1, epoch=0)
    assert sorted(sum(batches, [])) == list(range(103)) and len(batches) == 26
    spread = sum(
        max(sizes[place] for place in batch) - min(sizes[place] for place in batch) for batch in batches
    ) / len(batches)
    assert spread < 8, "of sizes from 0 to 100"
    assert (
        batches == loop.order(sizes, 4, 1, 0)
        and len({str(loop.order(sizes, 4, *key)) for key in ((1, 0), (1, 1), (2, 0))}) == 3
    )


@pytest.mark.parametrize(
    ("count", "processes", "accumulate"), [(8, 2, 2), (5, 2, 2), (3, 4, 1), (7, 3, 4), (1, 1, 3), (2, 2, 8)]
)
def test_a_batch_is_shared_out_whole_and_every_process_has_as_many_parts(count, processes, accumulate):
    parts = loop.shares(list(range(count)), processes, accumulate)
    assert sorted(place for process in parts for part in process for place in part) == list(range(count))
    assert len({len(process) for process in parts}) == 1 and len(parts[0]) <= accumulate
    assert any(process[-1] for process in parts), "no part is empty for all"


# --- losses -----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model() -> Omni:
    return Omni.build(TINY, seed=3)


@pytest.mark.parametrize("stage_name", ["understand", "speak"])
def test_an_utterances_loss_hangs_on_itself_alone(sounds, model, stage_name):
    made = examples(sounds, speech=True, model=model)
    lesson = (Understand(model) if stage_name == "understand" else Speak(model)).eval()
    together = lesson(made.batch([3, 0, 2]), 0, 0.5)
    for row, place in enumerate([3, 0, 2]):
        alone = lesson(made.batch([place]), 0, 0.5)
        for name in together:
            torch.testing.assert_close(together[name][row], alone[name][0], atol=1e-5, rtol=1e-5, equal_nan=True)


def test_an_answer_without_sound_teaches_words_only(sounds, model):
    silent = {key: value for key, value in ROWS[0].items() if key != "reply_audio"}
    made, lesson = examples(sounds, rows=[silent, ROWS[1]], model=model), Understand(model).eval()
    losses = lesson(made.batch([0, 1]), 0, 0.0)
    assert losses["emotion"].isnan().tolist() == [True, False] and losses["loss"][0] == losses["text"][0]
    model.zero_grad()
    lesson(made.batch([0]), 0, 0.0)["loss"].sum().backward()
    assert not any(value.grad.any() for value in model.emotion_head.parameters()), "never the user's own emotion"
    assert any(value.grad.any() for value in model.adapters.parameters())


def test_the_emotion_of_an_utterance_can_be_taught_as_one_vector(sounds):
    config = dataclasses.replace(TINY, emotion_mode="utterance")
    built = Omni.build(config)
    made = examples(sounds, model=built, config=config)
    losses = Understand(built).eval()(made.batch([0, 1]), 0, 0.0)
    answer, _ = built(*(getattr(made.batch([0, 1]), name) for name in ("query", "prompts", "answers")))
    frames = made.features.get(made._wants(made.rows[1])["frames"]).mean(0)
    planned = built.plan_emotions(answer)[1, 0]
    expected = 0.6 * (planned - frames).square().mean() + 0.4 * (1 - torch.cosine_similarity(planned, frames, dim=0))
    torch.testing.assert_close(losses["emotion"][1], expected, atol=1e-5, rtol=1e-5)


def test_prototypes_are_the_mean_of_each_labels_answers(sounds):
    silent = {key: value for key, value in ROWS[3].items() if key != "reply_audio"}
    made = examples(sounds, rows=[ROWS[0], ROWS[1] | {"reply_emotion": "happy"}, ROWS[2], silent])
    found = prototypes(made, 16)
    means = [made.features.get(made._wants(row)["frames"]).mean(0) for row in made.rows[:3]]
    torch.testing.assert_close(found[1], (means[0] + means[1]) / 2)  # happy
    torch.testing.assert_close(found[7], means[2])  # calm
    assert not found[[0, 2, 3, 4, 5, 6]].any()


def test_each_utterance_draws_for_itself_which_emotion_it_is_spoken_with():
    places = tuple(range(400))
    from_plan, chunked = choices(places, 0, 0, 0.5, 0.5)
    assert 150 < from_plan.sum() < 250 and 150 < chunked.sum() < 250 and 60 < (from_plan & chunked).sum() < 140
    mixed = choices(places[100:108], 0, 0, 0.5, 0.5)
    assert torch.equal(mixed[0], from_plan[100:108]) and torch.equal(mixed[1], chunked[100:108]), "not by its batch"
    assert [int(choices(places, 0, 0, share, 0.5)[0].sum()) for share in (0.0, 1.0)] == [0, 400]
    assert not torch.equal(from_plan, choices(places, 0, 1, 0.5, 0.5)[0]), "anew in each epoch"
    early, late = (choices(places, 0, 0, share, 0.5)[0] for share in (0.2, 0.7))
    assert 40 < early.sum() < 120 and 240 < late.sum() < 320


def test_speech_is_conditioned_on_the_truth_at_first_and_on_the_plan_in_the_end(sounds, model):
    made, lesson = examples(sounds, speech=True, model=model), Speak(model).eval()
    with torch.no_grad():
        for value in model.speech_decoder.adaptive_norm.parameters():
            value.normal_(0, 0.3, generator=torch.Generator().manual_seed(0))
    batch = made.batch([0, 1, 2, 3])
    first, last = lesson(batch, 0, 0.0), lesson(batch, 0, 1.0)
    assert first["planned"].isnan().all() and last["true"].isnan().all()
    assert not torch.isclose(first["loss"], last["loss"]).any()
    louder = dataclasses.replace(batch, frames=batch.frames * 3)
    assert torch.equal(lesson(louder, 0, 1.0)["loss"], last["loss"]), "the plan needs no answer to be spoken"
    assert not torch.isclose(lesson(louder, 0, 0.0)["loss"], first["loss"]).any()


def test_a_stage_trains_its_own_parts_only():
    for kind, parts in ((Understand, UNDERSTAND), (Speak, SPEAK)):
        built = Omni.build(TINY)
        lesson = kind(built)
        moved = {
            ("lora" if "lora_" in name else name.partition(".")[0])
            for name, value in built.named_parameters()
            if value.requires_grad
        }
        assert moved == set(parts) - {"prototypes"}
        grouped = sum(value.numel() for group in lesson.groups(Settings()) for value in group["params"])
        assert grouped == sum(value.numel() for value in built.parameters() if value.requires_grad)
    built.train()
    lesson.train()
    assert built.speech_decoder.training and not built.language_model.training and not built.emotion_head.training


def test_rates_and_decay_are_those_of_the_paper():
    groups = Understand(Omni.build(TINY)).groups(Settings())
    assert {group["peak"] for group in groups} == {2e-4, 5e-5}
    lora = [group for group in groups if group["peak"] == 5e-5]
    assert sum(len(group["params"]) for group in lora) == 2 * 2 * len(TINY.lora.target_modules), (
        "two layers, two matrices each"
    )
    for group in groups:
        assert all((value.ndim > 1) is (group["weight_decay"] > 0) for value in group["params"])


# --- runs -------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def articulate(tmp_path_factory) -> OmniConfig:
    """Tiny, with random weights large enough to tell one token, and the end, from another: LoRA alone cannot do that."""
    folder = tmp_path_factory.mktemp("language")
    model, tokenizer = language_model.load(TINY.language_model, TINY.lora)
    plain, draw = model.unload(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in (value for value in plain.parameters() if value.ndim == 2):
            weight.normal_(0, 0.4 if weight is plain.get_input_embeddings().weight else 0.16, generator=draw)
    plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return dataclasses.replace(
        TINY, language_model=LanguageModelConfig(str(folder), 32), lora=dataclasses.replace(TINY.lora, rank=8)
    )


def test_four_dialogues_are_learnt_by_heart(sounds, articulate, tmp_path):
    report = understood(sounds, tmp_path, steps=100, rows=ROWS, config=articulate, adapter_rate=1e-2, lora_rate=1e-2)
    losses = [line["loss"] for line in curve(tmp_path) if "loss" in line]
    assert losses[0] > 5 and report["loss"]["text"] < 0.3 and report["loss"]["emotion"] < 0.2
    assert losses[-1] == report["loss"]["loss"] and report["measured_on"] == 0
    model, _ = checkpoint.load(tmp_path / "best")
    made = examples(sounds, model=model, config=articulate)
    batch = made.batch([0, 1, 2, 3])
    _, scores = model(batch.query, batch.prompts, batch.answers)
    assert all(
        scores[row, : len(answer)].argmax(-1).tolist() == list(answer) for row, answer in enumerate(batch.answers)
    )


def test_words_and_speech_are_learnt_by_heart_and_counted(sounds, articulate, tmp_path):
    """The second half of the experiment on tone, on four dialogues: what is told of it must be so."""
    understood(sounds, tmp_path / "both", steps=100, rows=ROWS, config=articulate, adapter_rate=1e-2, lora_rate=1e-2)
    rows = [
        row | {name: str(sounds / row[name]) for name in ("query", "reply_audio")} | {"emotion": "sad"} for row in ROWS
    ]
    stranger = rows[0] | {"query": str(sounds / "q4.wav"), "split": "test"}
    (tmp_path / "both.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, rows[1], stranger]), "utf-8")
    model, manifest = by_heart.teach(tmp_path, Settings(batch=4, steps=150, speech_rate=1e-2))
    lengths: list[float] = []
    vocoder = units.UnitVocoder.load(units.SHIPPED)
    hear = lambda sound: lengths.append(sound.seconds) or "Well done"  # noqa: E731
    known, strange = (
        by_heart.answered(model, by_heart.examples_of(model, manifest, split), vocoder, hear)
        for split in ("train", "test")
    )
    told = by_heart.summary(known)
    assert (told["recordings"], len(strange)) == (4, 1), "one recording of each answer"
    assert told["written_exactly"] == 1 and told["speech_tokens_right"] > 0.9
    assert (
        told["word_errors_of_the_true_tokens"]
        == by_heart.word_errors([reply for reply, _ in REPLIES], ["Well done"] * 4)
        > 0
    )
    assert len(lengths) == 10 and all(0.5 < seconds < 3 for seconds in lengths), "as long as the answers it learnt"


def test_words_wrong_left_out_and_added_are_errors_and_case_is_none():
    assert by_heart.word_errors(["Oh, well done!", "I am here."], ["oh well don", "I am"]) == round(2 / 6, 3)
    assert by_heart.word_errors(["Yes."], ["yes it is"]) == 2


def test_speaking_by_heart_wants_what_understands(tmp_path):
    with pytest.raises(EmotionOmniError, match="tone_contrast"):
        by_heart.teach(tmp_path, Settings())


def test_a_report_says_what_was_done_with_what(learnt):
    folder, report = learnt
    assert report == json.loads((folder / "report.json").read_text())
    assert report["steps"] == report["of"] == 60 and report["data"]["rows"] == {"train": 4, "dev": 1, "test": 0}
    built = Omni.build(TINY)
    assert report["parameters"]["all"] == sum(value.numel() for value in built.parameters())
    assert 0 < report["parameters"]["trained"] < report["parameters"]["all"] and report["tokens_per_second"] > 0
    assert {"loss", "text", "emotion"} == set(report["held_out"]) and report["machine"]["cores"] >= 1
    about = checkpoint.read_about(folder / "best")
    assert about.stages == ("understand",) and about.data[0].sha256 == report["data"]["sha256"]


def test_a_trained_checkpoint_gives_the_losses_it_was_kept_for(sounds, learnt):
    folder, report = learnt
    loaded, about = checkpoint.load(folder / "last")
    made = examples(sounds, rows=[HELD_OUT | {"split": "train"}], model=loaded)
    with torch.no_grad():
        losses = Understand(loaded).eval()(made.batch([0]), 0, 1.0)
    assert {name: value.item() for name, value in losses.items()} == pytest.approx(report["held_out"], rel=1e-5)
    assert about.metrics == report["held_out"] and loaded.emotion_label(loaded.prototypes[2]) == "sad"


def test_the_best_checkpoint_is_that_of_the_lowest_held_out_loss(learnt):
    folder, report = learnt
    measured = {line["step"]: line["held_out"]["loss"] for line in curve(folder) if "held_out" in line}
    assert len(measured) == 20 and report["best"] == {
        "loss": min(measured.values()),
        "step": min(measured, key=measured.get),
    }
    assert checkpoint.read_about(folder / "best").steps == report["best"]["step"]


def test_speech_is_learnt_and_nothing_else_changes(sounds, learnt, tmp_path):
    parent, _ = learnt
    report = spoken(sounds, tmp_path, parent, steps=60)
    losses = [line["loss"] for line in curve(tmp_path) if "loss" in line]
    assert losses[0] > 6.5 and losses[-1] < 3.5
    before, after = (load_file(folder / "best" / "understand.safetensors") for folder in (parent, tmp_path))
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    about = checkpoint.read_about(tmp_path / "best")
    assert about.stages == ("understand", "speak") and about.parent == checkpoint.identity(parent / "best")
    assert report["stage"] == "speak"


def test_what_has_no_spoken_answer_is_left_out_of_speech(sounds, learnt, tmp_path):
    silent = [{key: value for key, value in row.items() if key != "reply_audio"} for row in ROWS]
    report = spoken(sounds, tmp_path / "some", learnt[0], rows=[silent[0], *ROWS[1:], HELD_OUT], steps=1)
    assert report["learnt_from"] == 3 and report["data"]["without_reply_audio"] == 1
    with pytest.raises(EmotionOmniError, match="No training row .* spoken answer"):
        spoken(sounds, tmp_path / "none", learnt[0], rows=[*silent, HELD_OUT], steps=1)


def same_steps(one: Path, other: Path, tolerance: float) -> None:
    """Losses, gradients (in the optimizer's memory of them) and weights of two runs agree."""
    for first, second in zip(curve(one), curve(other), strict=True):
        assert first["step"] == second["step"]
        assert first.get("held_out", first) == pytest.approx(
            second.get("held_out", second), rel=tolerance, abs=tolerance
        )
    states = [load_file(folder / "state.safetensors") for folder in (one, other)]
    assert states[0].keys() == states[1].keys() and any(name.startswith("exp_avg.") for name in states[0])
    for name, value in states[0].items():
        room = 20 * tolerance if name.startswith("model.") else tolerance  # Adam divides by the gradient's own size
        torch.testing.assert_close(value, states[1][name], atol=room, rtol=0)


def test_accumulation_changes_nothing(sounds, tmp_path):
    for folder, parts in (("one", 1), ("two", 2), ("three", 3)):
        understood(sounds, tmp_path / folder, steps=3, accumulate=parts)
    same_steps(tmp_path / "one", tmp_path / "two", 1e-5)
    same_steps(tmp_path / "one", tmp_path / "three", 1e-5)


def test_activation_checkpointing_changes_nothing(sounds, tmp_path):
    understood(sounds, tmp_path / "plain", steps=2)
    understood(sounds, tmp_path / "saving", steps=2, checkpointing=True)
    same_steps(tmp_path / "plain", tmp_path / "saving", 1e-5)


def test_bfloat16_learns_too(sounds, tmp_path):
    report = understood(sounds, tmp_path, steps=30, precision="bfloat16", frozen="bfloat16")
    losses = [line["loss"] for line in curve(tmp_path) if "loss" in line]
    assert losses[-1] < losses[0] - 0.5 and report["settings"]["frozen"] == "bfloat16"
    assert all(
        value.dtype is torch.float32 for value in load_file(tmp_path / "last" / "understand.safetensors").values()
    )


# --- interruptions ----------------------------------------------------------------------------------------------------------

DROPPING = dataclasses.replace(
    TINY, lora=dataclasses.replace(TINY.lora, dropout=0.2), head=dataclasses.replace(TINY.head, dropout=0.2)
)


def command(sounds: Path, folder: Path, config: Path, *more: str) -> list[str]:
    data = written(sounds, [*ROWS, HELD_OUT], f"data-{folder.name}")
    given = [f"--{name.replace('_', '-')}={value}" for name, value in QUICK.items()]
    return [
        "train",
        "understand",
        "--config",
        str(config),
        "--data",
        str(data),
        "--out",
        str(folder),
        *given,
        "--feature-folder",
        str(sounds / "features"),
        *more,
    ]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(torch.get_num_threads())}


def test_a_run_killed_and_resumed_is_the_run_that_was_not(sounds, tmp_path):
    config, folder = tmp_path / "config.json", tmp_path / "killed"
    config.write_text(DROPPING.to_json())
    more = ("--batch", "3", "--epochs", "60", "--save-every", "4", "--evaluate-every", "10")
    process = subprocess.Popen(
        [sys.executable, "-m", "emotion_omni", *command(sounds, folder, config, *more)],
        env=environment(),
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and not ((folder / "log.jsonl").exists() and len(curve_so_far(folder)) >= 7):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and len(curve_so_far(folder)) < 120, "killed in the midst of it"
    assert cli.main(command(sounds, folder, config, *more, "--resume")) == 0
    assert cli.main(command(sounds, tmp_path / "whole", config, *more)) == 0
    assert curve(folder) == curve(tmp_path / "whole")
    one, other = (load_file(tmp_path / name / "last" / "understand.safetensors") for name in ("killed", "whole"))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def curve_so_far(folder: Path) -> list[str]:
    return (folder / "log.jsonl").read_text(encoding="utf-8").split("\n")[:-1]


def test_ctrl_c_saves_and_leaves(sounds, tmp_path, monkeypatch):
    step = loop.Run._step

    def interrupted(run, work, journal):
        step(run, work, journal)
        if run.done == 3:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(loop.Run, "_step", interrupted)
    before = signal.getsignal(signal.SIGINT)  # whoever started this may have chosen to ignore it
    report = understood(sounds, tmp_path / "left", steps=8)
    monkeypatch.undo()
    assert report["stopped"] and report["steps"] == 3 and (tmp_path / "left" / "last").is_dir()
    assert signal.getsignal(signal.SIGINT) is before
    finished = understood(sounds, tmp_path / "left", steps=8, resume=True)
    understood(sounds, tmp_path / "whole", steps=8)
    trained = [[line["loss"] for line in curve(tmp_path / name) if "loss" in line] for name in ("left", "whole")]
    assert not finished["stopped"] and trained[0] == trained[1]


def test_a_run_is_not_overwritten_nor_resumed_as_another(sounds, learnt, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(learnt[0], folder)
    with pytest.raises(EmotionOmniError, match="--resume") as error:
        understood(sounds, folder, steps=60)
    assert error.value.code == "exists"
    other = [ROWS[0] | {"reply": "Well, well, well!"}, *ROWS[1:], HELD_OUT]
    rank = dataclasses.replace(TINY, lora=dataclasses.replace(TINY.lora, rank=3))
    for changed, named in (
        ({"rows": other}, "data"),
        ({"config": rank}, "config"),
        ({"seed": 5}, "seed"),
        ({"batch": 2}, "batch"),
    ):
        with pytest.raises(EmotionOmniError, match=f"begun with {named}") as error:
            understood(sounds, folder, **{"steps": 60, "resume": True} | changed)
        assert error.value.code == "resume"


def test_a_broken_state_is_refused(sounds, tmp_path):
    understood(sounds, tmp_path, steps=1)
    (tmp_path / "state.safetensors").write_bytes(b"nothing")
    with pytest.raises(EmotionOmniError, match="no saved state"):
        understood(sounds, tmp_path, steps=1, resume=True)


def test_a_loss_that_is_no_number_ends_the_run_and_spares_the_state(sounds, tmp_path):
    with pytest.raises(EmotionOmniError, match="loss of step") as error:
        understood(sounds, tmp_path, steps=40, adapter_rate=1e30, clip=1e30, rows=ROWS, save_every=1)
    assert error.value.code == "diverged"
    assert all(value.isfinite().all() for value in load_file(tmp_path / "state.safetensors").values())


def test_a_gradient_that_is_no_number_is_never_followed(sounds, tmp_path, monkeypatch):
    plain, calls = Understand.forward, []

    def forward(self, *given):
        losses = plain(self, *given)
        calls.append(1)
        if len(calls) == 3:
            losses["loss"].register_hook(lambda gradient: gradient * torch.nan)
        return losses

    with monkeypatch.context() as patch:
        patch.setattr(Understand, "forward", forward)
        with pytest.raises(EmotionOmniError, match="gradient of step 3") as error:
            understood(sounds, tmp_path, steps=5, rows=ROWS, save_every=1)
    assert error.value.code == "diverged"
    assert understood(sounds, tmp_path, steps=5, rows=ROWS, save_every=1, resume=True)["steps"] == 5, (
        "the state before it is sound"
    )


def test_in_training_too_a_person_may_have_told_what_was_said_and_how(sounds):
    """As when talking: words and emotion that were corrected or typed stand beside the sound, or in its place."""
    rows = [row | {"transcript": "It rains.", "emotion": "sad"} for row in ROWS] * 10
    made = examples(sounds, rows)
    told = (("It rains.", None), (None, "sad"), ("It rains.", "sad"))
    plain, prompts = made.prompts[0], {each: made.prompt_builder.prompt((), *each) for each in told}
    batch = made.batch(range(40), Told(seed=0, epoch=0, share=0.3))
    assert (
        batch.prompts
        == made.batch(range(40), Told(0, 0, 0.3)).prompts
        != made.batch(range(40), Told(0, 1, 0.3)).prompts
    )
    assert set(batch.prompts) == {plain, *prompts.values()} and 12 <= batch.prompts.count(plain) <= 27
    silent = {
        prompt
        for prompt, length in zip(batch.prompts, batch.query.semantic_lengths.tolist(), strict=True)
        if not length
    }
    assert silent and not silent & {plain, prompts[None, "sad"]}, "only what is in writing can do without the sound"
    assert made.batch(range(40)).prompts == (plain,) * 40, "measured as it was heard"


def test_the_seed_is_that_of_the_speech_decoders_weights_too(learnt):
    begin = stage.Begin(None, str(learnt[0]))
    one, again, other = (
        stage._model("speak", begin, Settings(seed=seed))[0].speech_decoder.out.weight for seed in (1, 1, 2)
    )
    assert torch.equal(one, again) and not torch.equal(one, other)


def test_accelerates_precision_and_ours_are_one():
    assert (
        stage._agreed(Settings(), "bf16").precision
        == stage._agreed(Settings(precision="bfloat16"), "no").precision
        == "bfloat16"
    )
    assert stage._agreed(Settings(), "no").precision == "float32"
    with pytest.raises(EmotionOmniError, match="fp16 is not taken"):
        stage._agreed(Settings(), "fp16")


def test_speech_goes_on_from_what_understands(sounds, tmp_path):
    data = str(written(sounds, ROWS))
    with pytest.raises(EmotionOmniError, match="--from"):
        stage.train("speak", stage.Begin(TINY), data, tmp_path, settings(sounds))
    with pytest.raises(EmotionOmniError, match="no checkpoint"):
        stage.train("speak", stage.Begin(None, str(tmp_path / "nowhere")), data, tmp_path, settings(sounds))


# --- several processes --------------------------------------------------------------------------------------------------------

SHARDED = """
import os, sys
os.environ.update(ACCELERATE_USE_FSDP="true", FSDP_VERSION="2", FSDP_AUTO_WRAP_POLICY="TRANSFORMER_BASED_WRAP",
                  FSDP_TRANSFORMER_CLS_TO_WRAP="Qwen2DecoderLayer,Block", FSDP_CPU_RAM_EFFICIENT_LOADING="false")
from accelerate import PartialState
from accelerate.utils import DistributedType
PartialState(cpu=True)  # accelerate shards on accelerators only, and there is none here: it is told that these are such
PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
from emotion_omni import cli
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.parametrize("way", ["replicated", "sharded"])
def test_two_processes_learn_what_one_does(sounds, tmp_path, way):
    config, program = tmp_path / "config.json", tmp_path / "sharded.py"
    config.write_text(TINY.to_json())
    program.write_text(SHARDED)
    more = (
        "--batch",
        "3",
        "--epochs",
        "2",
        "--accumulate",
        "2",
    )  # batches of 3 and 1: the second process has an empty part
    what = ["-m", "emotion_omni"] if way == "replicated" else [str(program)]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *what]
    subprocess.run(
        [*launch, *command(sounds, tmp_path / "two", config, *more)], env=environment(), check=True, capture_output=True
    )
    assert cli.main(command(sounds, tmp_path / "one", config, *more)) == 0
    same_steps(tmp_path / "one", tmp_path / "two", 1e-5)
    assert json.loads((tmp_path / "two" / "report.json").read_text())["processes"] == 2
    one, two = (checkpoint.load(tmp_path / name / "last")[0].trained_state_dict(UNDERSTAND) for name in ("one", "two"))
    assert all(torch.allclose(value, two[name], atol=2e-4) for name, value in one.items())
