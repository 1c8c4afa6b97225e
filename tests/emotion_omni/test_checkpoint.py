"""Checkpoints on disk and on the hub: whole or refused, whoever wrote them and whenever the writer was killed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import hub_server
import pytest
import safetensors.torch
import tiny_omni
import torch
import transformers
import yaml
from hub_server import REPO, TOKEN, Hub
from huggingface_hub import constants

from emotion_omni import checkpoint, cli
from emotion_omni.checkpoint import ABOUT, CARD, CONFIG, About, atomic
from emotion_omni.omni import language_model
from emotion_omni.omni.config import OmniConfig
from emotion_omni.omni.model import SPEAK, UNDERSTAND, Omni
from emotion_omni.types import EmotionOmniError

HEARS, SPEAKS = ("understand",), ("understand", "speak")
WORDS, VOICE = "understand.safetensors", "speak.safetensors"
ROOT = Path(__file__).parents[2]


def about(stages: tuple[str, ...] = SPEAKS, **changes) -> About:
    known = {
        "name": "small one",
        "stages": stages,
        "created": "2026-01-31T12:00:00+00:00",
        "parent": None,
        "data": [{"name": "talks.jsonl", "sha256": "a" * 64, "rows": 40}],
        "base_models": {
            "semantic": "openai/whisper-large-v3@" + "b" * 40,
            "emotion": "iic/emotion2vec_base",
            "language_model": "random",
        },
        "steps": 7,
        "metrics": {"loss": 1.25},
        "seed": 3,
        "version": "0.1.0",
        "licence": "cc-by-nc-4.0",
    }
    return About(**known | changes)


def built(seed: int, **changes) -> Omni:
    model = Omni.build(dataclasses.replace(OmniConfig.preset("tiny"), **changes), seed=seed)
    with torch.no_grad():
        model.prototypes.normal_(generator=torch.Generator().manual_seed(seed))
        for name, value in model.named_parameters():
            if "lora_B" in name:
                value.normal_(generator=torch.Generator().manual_seed(seed))
    return model


@pytest.fixture(scope="module")
def model() -> Omni:
    return built(seed=1)


@pytest.fixture(scope="module")
def pattern(model, tmp_path_factory) -> Path:
    """A whole checkpoint, from which the tests' own are copied."""
    return checkpoint.save(tmp_path_factory.mktemp("pattern") / "whole", model, about())


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("EMOTION_OMNI_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "checkpoints"


@pytest.fixture
def folder(pattern, home) -> Path:
    return Path(shutil.copytree(pattern, home / "mine"))


def refused(source, code: str = "checkpoint") -> str:
    with pytest.raises(EmotionOmniError) as caught:
        checkpoint.load(source)
    assert caught.value.code == code, caught.value
    return str(caught.value)


def same(one: Omni, other: Omni, parts=UNDERSTAND + SPEAK) -> bool:
    ours, theirs = one.trained_state_dict(parts), other.trained_state_dict(parts)
    return ours.keys() == theirs.keys() and all(torch.equal(value, theirs[name]) for name, value in ours.items())


def rewritten(folder: Path, name: str, data: bytes) -> Path:
    """As an attacker would: the bytes are changed, and the hash of them beside."""
    (folder / name).write_bytes(data)
    told = json.loads((folder / ABOUT).read_text())
    told["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    (folder / ABOUT).write_text(json.dumps(told))
    return folder


def told(folder: Path, **changes) -> Path:
    (folder / ABOUT).write_text(json.dumps(json.loads((folder / ABOUT).read_text()) | changes))
    return folder


# --- saving and loading -------------------------------------------------------------------------------------------


def test_what_was_trained_comes_back_and_nothing_else_is_stored(model, folder):
    loaded, known = checkpoint.load(folder)
    assert same(loaded, model) and not same(loaded, Omni.build(model.config, seed=9))
    assert loaded.config == model.config and known.stages == SPEAKS and known.metrics == {"loss": 1.25}
    assert sorted(path.name for path in folder.iterdir()) == sorted([CONFIG, ABOUT, CARD, WORDS, VOICE])
    stored = safetensors.torch.load_file(folder / WORDS) | safetensors.torch.load_file(folder / VOICE)
    assert stored.keys() == model.trained_state_dict().keys() and {value.dtype for value in stored.values()} == {
        torch.float32
    }


def test_before_stage_two_there_is_no_speech_decoder_in_it(model, tmp_path):
    folder = checkpoint.save(tmp_path / "hears", model, about(HEARS), UNDERSTAND)
    loaded, known = checkpoint.load(folder)
    assert known.stages == HEARS and not (folder / VOICE).exists()
    assert same(loaded, model, UNDERSTAND) and not same(loaded, built(seed=2), UNDERSTAND)
    assert "has not learned to speak" in (folder / CARD).read_text()


def test_parts_that_the_stages_do_not_name_are_not_saved(model, tmp_path):
    for stages, parts in ((HEARS, UNDERSTAND + SPEAK), (SPEAKS, UNDERSTAND), (HEARS, ("adapters",))):
        with pytest.raises(EmotionOmniError, match="stages"):
            checkpoint.save(tmp_path / "x", model, about(stages), parts)
    assert list(tmp_path.iterdir()) == []


def test_half_is_half_as_large_and_rounded(model, tmp_path, folder):
    small = checkpoint.save(tmp_path / "half", model, about(), half=True)
    assert (small / VOICE).stat().st_size < 0.6 * (folder / VOICE).stat().st_size
    loaded, _ = checkpoint.load(small)
    assert {value.dtype for value in loaded.trained_state_dict().values()} == {torch.float32}
    assert all(
        torch.equal(value.half().float(), loaded.trained_state_dict()[name])
        for name, value in model.trained_state_dict().items()
    )
    assert checkpoint.identity(small) != checkpoint.identity(folder)


def test_a_weight_that_is_not_finite_is_not_saved_and_the_old_one_stays(folder):
    before = checkpoint.identity(folder)
    for value, half in ((float("nan"), False), (1e6, True)):  # a million is too large for float16
        broken = built(seed=1)
        broken.prototypes[2, 3] = value
        with pytest.raises(EmotionOmniError, match="prototypes.*not finite"):
            checkpoint.save(folder, broken, about(), half=half)
    assert checkpoint.identity(folder) == before and same(checkpoint.load(folder)[0], built(seed=1))


def test_identity_is_that_of_configuration_and_weights_alone(model, folder, tmp_path):
    told_otherwise = checkpoint.save(tmp_path / "a", model, about(name="another", metrics={}, steps=8))
    assert checkpoint.identity(told_otherwise) == checkpoint.identity(folder)
    other_weights = checkpoint.save(tmp_path / "b", built(seed=2), about())
    other_config = checkpoint.save(tmp_path / "c", built(seed=1, emotion_mode="utterance"), about(HEARS), UNDERSTAND)
    same_words = checkpoint.save(tmp_path / "d", model, about(HEARS), UNDERSTAND)
    assert len({checkpoint.identity(one) for one in (folder, other_weights, other_config, same_words)}) == 4


def test_a_folder_of_something_else_is_not_replaced(model, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.md").write_text("years of work")
    with pytest.raises(EmotionOmniError, match="would be lost"):
        checkpoint.save(tmp_path / "thesis", model, about())
    assert (tmp_path / "thesis" / "chapter.md").read_text() == "years of work"
    (tmp_path / "empty").mkdir()
    assert checkpoint.check(checkpoint.save(tmp_path / "empty", model, about()))


def test_a_checkpoint_replaced_while_it_is_read_is_read_again(model, folder, monkeypatch):
    build, replaced = Omni.build, []

    other = built(seed=2)

    def slowly(*arguments):
        if not replaced:
            replaced.append(checkpoint.save(folder, other, about(steps=8)))
        return build(*arguments)

    monkeypatch.setattr(Omni, "build", slowly)
    loaded, known = checkpoint.load(folder)
    monkeypatch.undo()
    assert known.steps == 8 and same(loaded, other)


# --- killed -------------------------------------------------------------------------------------------------------

KILLED = """
import dataclasses, os, signal, sys
from pathlib import Path
from emotion_omni import checkpoint
from emotion_omni.checkpoint import atomic
from emotion_omni.omni.config import OmniConfig
from emotion_omni.omni.model import Omni

TOLD = ("open", "os.rename", "os.mkdir", "os.rmdir", "os.remove", "shutil.rmtree", "ctypes.dlsym")  # what Python says before it does it
folder, pattern = Path(sys.argv[1]) / "best", checkpoint.read_about(sys.argv[2])
old, new = (Omni.build(OmniConfig.preset("tiny"), seed=seed) for seed in (1, 2))

def save(model):
    checkpoint.save(folder, model, dataclasses.replace(pattern, steps=1 if model is old else 2))
    return checkpoint.identity(folder)

def killed_before(number):
    def hook(event, arguments):
        nonlocal number
        if event in TOLD:
            number -= 1
            if number < 0:
                os.kill(os.getpid(), signal.SIGKILL)
    child = os.fork()
    if child == 0:
        sys.addaudithook(hook)
        save(new)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), status
    return status

def steps_of_what_is_there(way):
    about, _ = checkpoint.check(folder)
    assert checkpoint.identity(folder) == {1: identities[1], 2: identities[0]}[about.steps]
    assert folder.is_dir() or way == "two renames"
    return str(about.steps)

for way in ("exchange", "two renames"):
    if way == "two renames":
        atomic.exchange = lambda one, other: False  # as on a file system that cannot
    identities, found, status = [save(new), save(old)], "", 1
    while status:
        status = killed_before(len(found))
        found += steps_of_what_is_there(way)
        if found[-1] == "2":
            save(old)
    print(found, sorted(os.listdir(folder.parent)), flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork to be killed often")
def test_killed_anywhere_a_save_leaves_the_old_one_or_the_new_one_whole(tmp_path, pattern):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path, pattern], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines()[-2:]:
        found, left = line.split(" ", 1)
        assert re.fullmatch("1{20,}2{2,}", found), line  # of each moment a digit: the old one, then the new one
        assert left == "['.best.lock', 'best']"  # what those killed had left is gone


def test_folders_change_places_in_one_step_where_the_system_can(tmp_path):
    assert can_exchange(tmp_path) or not sys.platform.startswith("linux")


def can_exchange(folder: Path) -> bool:
    for name in ("one", "other"):
        (folder / name).mkdir()
        (folder / name / f"{name}.txt").touch()
    swapped = atomic.exchange(folder / "one", folder / "other")
    assert (folder / "one" / ("other.txt" if swapped else "one.txt")).exists()
    return swapped


# --- hostile, or damaged ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd", "..", "notes.txt", CARD, "a\\b", ABOUT])
def test_a_file_that_is_none_of_ours_is_never_touched(folder, name):
    files = json.loads((folder / ABOUT).read_text())["files"]
    assert "files" in refused(told(folder, files=files | {name: files[CONFIG]}))


def test_every_damage_is_refused_before_the_model_is_built(folder, pattern, monkeypatch):
    monkeypatch.setattr(Omni, "build", lambda *_: pytest.fail("it was built"))
    for name in (CONFIG, WORDS, VOICE):
        whole = (pattern / name).read_bytes()
        for damage in (whole[:-1], whole[: len(whole) // 2], b"", whole[:-1] + bytes([whole[-1] ^ 1])):
            (folder / name).write_bytes(damage)
            assert name in refused(folder)
        (folder / name).unlink()
        assert name in refused(folder)
        (folder / name).write_bytes(whole)
    (folder / ABOUT).unlink()
    assert ABOUT in refused(folder)


@pytest.mark.parametrize("name", [WORDS, VOICE])
def test_tensors_cut_short_are_refused_even_where_the_hash_was_changed_too(folder, name):
    whole = (folder / name).read_bytes()
    for size in (0, 4, 100, len(whole) - 1):
        assert "not whole" in refused(rewritten(folder, name, whole[:size]))


def test_tensors_of_another_name_shape_kind_or_value_are_refused(folder, pattern):
    tensors = safetensors.torch.load_file(pattern / WORDS)
    name = next(iter(tensors))
    first = tensors[name]
    wrong = {
        "has|lacks": {one: value for one, value in tensors.items() if one != name},
        "should not have": tensors | {"language_model.lm_head.weight": first.clone()},
        "speech_decoder": tensors | safetensors.torch.load_file(pattern / VOICE),
        re.escape(str([*first.shape, 1])): tensors | {name: first[..., None].contiguous()},
        "floats": tensors | {name: first.to(torch.int64)},
        "finite": tensors | {name: torch.full_like(first, torch.nan)},
    }
    for words, changed in wrong.items():
        assert re.search(words, refused(rewritten(folder, WORDS, safetensors.torch.save(changed)))), words


def test_swapped_files_are_refused(folder):
    words, voice = (folder / WORDS).read_bytes(), (folder / VOICE).read_bytes()
    rewritten(folder, WORDS, voice)
    assert "not of this model" in refused(rewritten(folder, VOICE, words))


def test_weights_of_another_size_of_model_are_refused(folder, model):
    config = dataclasses.replace(model.config, adapter=dataclasses.replace(model.config.adapter, hidden=48))
    assert "by its config" in refused(rewritten(folder, CONFIG, config.to_json().encode()))


@pytest.mark.parametrize(
    "text", ['{"semantic": 1}', "[]", "null", "not json", "[" * 100_000, '{"fuson": "concat"}', "\xff", "9" * 5000]
)
def test_a_configuration_that_makes_no_sense_is_refused(folder, text):
    assert CONFIG in refused(rewritten(folder, CONFIG, text.encode("latin-1")))


def test_an_unknown_setting_is_refused_by_name(folder, model):
    config = json.loads(model.config.to_json()) | {"trust_remote_code": True}
    assert "trust_remote_code" in refused(rewritten(folder, CONFIG, json.dumps(config).encode()))


@pytest.mark.parametrize(
    "change",
    [
        {"stages": []},
        {"stages": ["speak"]},
        {"stages": ["understand"]},
        {"stages": "speak"},
        {"stages": None},
        {"created": "yesterday"},
        {"created": "2026-01-31T12:00:00"},
        {"created": 5},
        {"parent": "mine"},
        {"parent": 3},
        {"steps": -1},
        {"steps": True},
        {"seed": "0"},
        {"metrics": {"loss": float("nan")}},
        {"metrics": {"loss": "low"}},
        {"metrics": [1]},
        {"data": [{"name": "x"}]},
        {"files": []},
        {"data": [{"name": "x", "sha256": "short", "rows": 1}]},
        {"base_models": {"emotion": 3}},
        {"base_models": []},
        {"files": {}},
        {"licence": "mit\nlicense: evil"},
        {"name": "a" * 5000},
        {"name": "\ud800"},
        {"name": "\u202e gnp.exe"},
        {"version": ""},
        {"files": {CONFIG: {"sha256": "x", "bytes": 1}}},
        {"trained_by": "me"},
        {"name": None},
        {"name": "x" * (2 << 20)},
    ],
)
def test_an_about_that_makes_no_sense_is_refused(folder, change):
    refused(told(folder, **change))


def test_an_unknown_key_is_named_with_the_nearest_known(folder):
    assert "Did you mean 'licence'" in refused(told(folder, license="mit"))


def test_an_about_of_brackets_or_bytes_is_refused(folder):
    for data in (b"[" * 100_000, b"", b"\xff\xfe", b"null", b'{"name": "a"}'):
        (folder / ABOUT).write_bytes(data)
        assert ABOUT in refused(folder)


def test_a_pickle_is_refused_by_name_and_never_opened(home, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "exploded"),))

    old = home / "old"
    old.mkdir(parents=True)
    torch.save({"adapters": Bomb()}, old / "pytorch_model.bin")
    for source in (old, "old", old / "pytorch_model.bin", str(old / "pytorch_model.bin")):
        assert "pytorch_model.bin" in refused(source) or "pickle" in refused(source)
    assert "pytorch_model.bin, a pickle" in refused(old)
    assert not (tmp_path / "exploded").exists()


def test_what_is_not_there_is_said_with_what_is(folder):
    assert "Did you mean 'mine'" in refused("mien")
    for source in ("..", "../mine", "a/b/c", "", "http://x/y", "me/om ni", Path("me/omni")):
        refused(source)


# --- the list -----------------------------------------------------------------------------------------------------


def test_the_newest_is_listed_first_and_loads_by_name(model, folder, home):
    for name, created in (("older", "2025-06-01T00:00:00+00:00"), ("newest", "2026-02-01T00:00:00Z")):
        checkpoint.save(home / name, model, about(HEARS, created=created))
    found = checkpoint.listed()
    assert [one.name for one in found] == ["newest", "mine", "older"] and found[1].about == checkpoint.read_about(
        folder
    )
    assert same(checkpoint.load("older")[0], model, UNDERSTAND)


def test_broken_ones_are_not_listed_and_the_log_says_why(folder, home, caplog):
    for name, damage in (
        ("cut", lambda one: (one / WORDS).write_bytes(b"x")),
        ("strange", lambda one: told(one, stages=["sing"])),
        ("gone", lambda one: (one / CONFIG).unlink()),
    ):
        damage(Path(shutil.copytree(folder, home / name)))
    (home / "empty").mkdir()
    (home / ".hidden").mkdir()
    (home / "file.txt").touch()
    with caplog.at_level(logging.WARNING):
        assert [one.name for one in checkpoint.listed()] == ["mine"]
    for name in ("cut", "strange", "gone", "empty"):
        assert re.search(f"Not listed: .*{name}", caplog.text), name
    assert ".hidden" not in caplog.text


def test_nothing_is_listed_where_there_is_no_folder(home):
    assert checkpoint.listed() == [] and not home.exists()


def test_listing_and_describing_need_no_torch(folder):
    code = (
        "import sys; from emotion_omni import checkpoint as c; (one,) = c.listed(); c.check(one.folder); c.identity('mine'); "
        "c.card(one.about); c.preload(c.check(one.folder)[1]); "
        "assert not {'torch', 'transformers', 'huggingface_hub'} & set(sys.modules), 'heavy'; print(one.name, one.about.steps)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "mine 7", done.stderr


# --- the card -----------------------------------------------------------------------------------------------------


def front_matter(text: str) -> dict:
    return yaml.safe_load(text.split("---\n")[1])


def test_the_card_says_what_the_hub_and_a_reader_need(folder):
    text = (folder / CARD).read_text()
    head = front_matter(text)
    assert head["license"] == "cc-by-nc-4.0" and head["pipeline_tag"] == "audio-to-audio"
    assert head["base_model"] == [
        "openai/whisper-large-v3"
    ]  # neither ModelScope's nor our own parts: the hub does not know those
    for words in ("talks.jsonl", "| loss | 1.25 |", "emotion2vec\\_base", "## Limits", "7 steps, seed 3"):
        assert words in text, words
    (line,) = re.findall(r"python -m (emotion_omni .*)", text)
    assert line == "emotion_omni talk q.wav --engine omni --checkpoint 'small one' --out reply.wav"


def test_licences_the_hub_does_not_know_keep_their_words():
    for licence, head in (
        ("not stated", {"license": "unknown"}),
        ("Apache-2.0", {"license": "apache-2.0"}),
        ("for: research # only", {"license": "other", "license_name": "for: research # only"}),
    ):
        assert front_matter(checkpoint.card(about(licence=licence))).items() >= head.items()


def test_a_name_writes_no_markup_into_the_card():
    text = checkpoint.card(
        about(name="<script>x</script> | # [a](b)", data=[{"name": "a | b\\", "sha256": "c" * 64, "rows": 1}])
    )
    assert "<script>" not in text.replace("'<script>x</script> | # [a](b)'", "") and "| a \\| b\\\\ | 1 |" in text


# --- the hub ------------------------------------------------------------------------------------------------------

QWEN = [
    "config.json",
    "generation_config.json",
    "merges.txt",
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
]
ELSEWHERE = {
    "openai/whisper-large-v3": [
        "README.md",
        "config.json",
        "flax_model.msgpack",
        "model.fp32-00001-of-00002.safetensors",
        "model.safetensors",
        "preprocessor_config.json",
        "pytorch_model.bin",
        "tokenizer.json",
    ],
    "emotion2vec/emotion2vec_base": [
        "README.md",
        "config.yaml",
        "configuration.json",
        "emotion2vec_base.pt",
        "example/test.wav",
    ],
    "Qwen/Qwen2.5-7B-Instruct": ["LICENSE", "README.md", *QWEN],
}


def models(server: Hub):
    """The studio's hub as one of models, whose addresses differ, with some well-known repositories beside."""

    class Models(BASE(server)):
        def answer(self) -> None:
            asked = re.fullmatch(r"/api/models/([^/]+/[^/?]+)(?:/revision/([^/?]+))?", self.path.partition("?")[0])
            known = self.headers.get("authorization") == f"Bearer {TOKEN}" and server.exists and not server.refuse
            if asked and asked[1] in ELSEWHERE:
                self.describe(
                    asked[1], hashlib.sha1((asked[2] or asked[1]).encode()).hexdigest(), ELSEWHERE[asked[1]], False
                )
            elif asked and asked[1] == REPO and known:
                sha = server.commits[-1][0] if asked[2] in (None, "main") else asked[2]
                self.describe(REPO, sha, list(server._at(sha)), server.private)
            else:
                self.path = re.sub(
                    f"^/(api/models/)?(?={REPO})",
                    lambda start: "/api/datasets/" if start[1] else "/datasets/",
                    self.path,
                )
                super().answer()

        def describe(self, repo: str, sha: str, files: list[str], private: bool) -> None:
            info = {"id": repo, "sha": sha, "private": private, "siblings": [{"rfilename": name} for name in files]}
            self.tell(200, json.dumps(info).encode())

        do_GET = do_HEAD = do_POST = do_PUT = answer

    return Models


BASE = hub_server.handler


@pytest.fixture
def hub(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hub_server, "handler", models)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    for served in hub_server.serving(Hub(large=(".safetensors",))):
        monkeypatch.setattr(constants, "ENDPOINT", served.address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", served.address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        yield served


def failing(action) -> tuple[str, str]:
    with pytest.raises(EmotionOmniError) as caught:
        action()
    assert TOKEN not in str(caught.value)
    return caught.value.code, str(caught.value)


def test_what_was_pushed_is_pulled_and_loads_the_same(hub, folder, home, model):
    (folder / "notes.txt").write_text("mine alone")
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    where = checkpoint.push("mine", REPO)
    repo, _, commit = where.partition("@")
    assert repo == REPO and commit == hub.commits[-1][0] and len(hub.sent) == 1
    assert hub.private and hub.created["visibility"] == "private" and hub.created.get("type", "model") == "model"
    assert set(hub.files) == {".gitattributes", CONFIG, ABOUT, CARD, WORDS, VOICE}
    assert f"--checkpoint {REPO} --out" in hub.content(CARD).decode()
    shutil.rmtree(folder)
    loaded, known = checkpoint.load(REPO)
    pulled = home / f"me--ratings@{commit[:12]}"
    assert same(loaded, model) and known == checkpoint.read_about(pulled)
    assert checkpoint.origin(pulled)["commit"] == commit and [one.name for one in checkpoint.listed()] == [pulled.name]
    assert same(checkpoint.load(pulled.name)[0], model) and not any(path.is_symlink() for path in pulled.iterdir())


def test_a_revision_is_a_commit_for_good(hub, folder, home, model):
    first = checkpoint.push(folder, REPO).partition("@")[2]
    checkpoint.save(folder, built(seed=2), about(HEARS, steps=8), UNDERSTAND)
    checkpoint.push(folder, REPO)
    assert VOICE not in hub.files  # what the new one lacks is gone
    assert checkpoint.load(f"{REPO}@{first}")[1].steps == 7 and checkpoint.load(f"{REPO}@main")[1].steps == 8
    assert same(checkpoint.load(f"{REPO}@{first}")[0], model)
    assert len([path for path in home.iterdir() if path.name.startswith("me--")]) == 2


def test_what_is_here_needs_no_hub(hub, folder, model, caplog):
    where = checkpoint.push(folder, REPO)
    pulled = checkpoint.pull(REPO)
    away = "http://127.0.0.1:9"
    assert checkpoint.pull(*where.split("@"), endpoint=away) == pulled
    with caplog.at_level(logging.WARNING):
        assert checkpoint.pull(REPO, endpoint=away) == pulled
    assert "pulled last" in caplog.text
    assert failing(lambda: checkpoint.pull(REPO, "main", away))[0] == "network"  # that may be another commit by now
    assert failing(lambda: checkpoint.pull("me/other", None, away))[0] == "network"
    hub.refuse = "api"
    assert failing(lambda: checkpoint.pull(REPO))[0] == "hub"


def test_a_pulled_one_that_was_damaged_is_fetched_again(hub, folder, model):
    checkpoint.push(folder, REPO)
    pulled = checkpoint.pull(REPO)
    (pulled / CONFIG).unlink()
    assert checkpoint.pull(REPO) == pulled and same(checkpoint.load(pulled)[0], model)


def test_hostile_repositories_are_refused_and_leave_nothing(hub, folder, home):
    checkpoint.push(folder, REPO)
    files = dict(hub.files)
    path = json.loads(hub.content(ABOUT)) | {"files": {"../../x": {"sha256": "a" * 64, "bytes": 1}}}
    lies = {
        "other hash": files | {CONFIG: ("git", b"{}")},
        "no config": {name: held for name, held in files.items() if name != CONFIG},
        "a path": files | {ABOUT: ("git", json.dumps(path).encode())},
    }
    for name, held in lies.items():
        hub.commit(name, held | {"payload.py": ("git", b"import os"), "pytorch_model.bin": ("git", b"x")})
        assert failing(lambda: checkpoint.load(REPO))[0] == "checkpoint", name
    assert [path.name for path in home.iterdir() if not path.name.startswith(".")] == ["mine"]
    assert not list(home.rglob("payload.py")) and not list((home.parents[1] / "cache").rglob("payload.py"))


def test_a_public_repository_takes_nothing_private(hub, folder):
    hub.create(private=False)
    assert failing(lambda: checkpoint.push(folder, REPO))[0] == "public-repo" and hub.sent == []
    checkpoint.push(folder, REPO, private=False)
    assert len(hub.sent) == 1


def test_the_token_is_the_environments_and_is_never_told(hub, folder, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong" + TOKEN)
    assert failing(lambda: checkpoint.push(folder, REPO))[0] == "hub"
    monkeypatch.delenv("HF_TOKEN")
    code, message = failing(lambda: checkpoint.push(folder, REPO))
    assert code == "hub" and "HF_TOKEN" in message and not hub.exists


def test_a_damaged_checkpoint_or_a_wrong_name_is_not_pushed(hub, folder):
    for repo in ("ratings", "me/../ratings", "me/rat ings", "/ratings", "me/"):
        assert failing(lambda repo=repo: checkpoint.push(folder, repo))[0] == "checkpoint"
    for revision in ("../main", "a b", "-x", ""):
        assert failing(lambda revision=revision: checkpoint.pull(REPO, revision))[0] == "checkpoint"
    (folder / WORDS).write_bytes(b"x")
    assert failing(lambda: checkpoint.push(folder, REPO))[0] == "checkpoint" and not hub.exists


def test_an_edited_card_is_pushed_as_it_is_and_a_link_is_not_followed(hub, folder, tmp_path):
    (folder / CARD).write_text("---\nlicense: mit\n---\nBetter words.")
    checkpoint.push(folder, REPO)
    assert b"Better words" in hub.content(CARD)
    (tmp_path / "secret").write_text("-----BEGIN PRIVATE KEY-----")
    (folder / CARD).unlink()
    (folder / CARD).symlink_to(tmp_path / "secret")
    checkpoint.push(folder, REPO)
    assert b"PRIVATE KEY" not in hub.everything() and b"# small one" in hub.content(CARD)


# --- a Space ------------------------------------------------------------------------------------------------------


def test_a_space_fetches_the_papers_models_ahead_pinned(hub, monkeypatch, caplog):
    monkeypatch.delenv("HF_TOKEN")
    paper = dataclasses.replace(OmniConfig.preset("paper"), voice="codec")
    with caplog.at_level(logging.WARNING):
        lines = checkpoint.preload(paper)
    whisper, qwen = (
        hashlib.sha1(base.name.partition("@")[2].encode()).hexdigest()
        for base in (paper.semantic, paper.language_model)
    )
    assert lines == [
        f"openai/whisper-large-v3 config.json,model.safetensors,preprocessor_config.json {whisper}",
        f"Qwen/Qwen2.5-7B-Instruct {','.join(QWEN)} {qwen}",
    ]
    assert "iic/emotion2vec_base is not on the hub" in caplog.text
    pinned = dataclasses.replace(paper.emotion, name="emotion2vec/emotion2vec_base@abc")
    _, line, _ = checkpoint.preload(dataclasses.replace(paper, emotion=pinned))
    assert (
        line
        == f"emotion2vec/emotion2vec_base config.yaml,configuration.json,emotion2vec_base.pt {hashlib.sha1(b'abc').hexdigest()}"
    )


def test_the_line_of_our_own_parts_is_the_one_in_the_readme():
    (line,) = checkpoint.preload(OmniConfig.preset("small"))
    head = front_matter((ROOT / "README.md").read_text())
    assert line in head["preload_from_hub"]
    assert checkpoint.preload(OmniConfig.preset("tiny")) == []


# --- the command --------------------------------------------------------------------------------------------------


@pytest.fixture
def run(capsys):
    def call(*arguments: str) -> tuple[int, list[dict]]:
        status = cli.main(["checkpoint", *arguments, "--json"])
        return status, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return call


def test_the_command_lists_shows_sends_and_fetches(run, hub, folder, home):
    assert run("list")[1][0]["checkpoint"] == "mine"
    status, (shown,) = run("show", "mine")
    assert (
        status == 0
        and shown["identity"] == checkpoint.identity(folder)
        and shown["about"]["files"].keys() == {CONFIG, WORDS, VOICE}
    )
    status, (sent,) = run("push", "mine", "--repo", REPO)
    assert status == 0 and sent["hub"] == f"{REPO}@{hub.commits[-1][0]}" and sent["private"] is True
    status, (fetched,) = run("pull", sent["hub"])
    assert status == 0 and Path(fetched["folder"]).parent == home
    (line,) = run("preload", REPO)[1][0]["preload_from_hub"]
    repo, files, commit = line.split()
    assert f"{repo}@{commit}" == sent["hub"] and set(files.split(",")) == {CONFIG, WORDS, VOICE, ABOUT}


def test_the_command_says_what_is_missing(run, folder):
    for arguments in (("show",), ("push", "mine")):
        with pytest.raises(SystemExit) as wrong:
            run(*arguments)
        assert wrong.value.code == 2
    status, (row,) = run("show", "yours")
    assert status == 1 and row["error"]["code"] == "checkpoint"


def test_the_folder_of_a_run_stands_for_its_best_checkpoint(tmp_path):
    best = tiny_omni.save(tmp_path / "run" / "best")
    assert checkpoint.find(tmp_path / "run") == checkpoint.find(str(tmp_path / "run")) == best


# --- base models ----------------------------------------------------------------------------------------------------


def test_a_checkpoint_records_its_base_models_with_their_revisions(tmp_path):
    trained = types.SimpleNamespace(config=OmniConfig.preset("paper"), trained_state_dict=lambda parts: {})
    folder = checkpoint.save(tmp_path / "paper", trained, about(HEARS, base_models={}))
    assert checkpoint.read_about(folder).base_models == {
        "semantic": "openai/whisper-large-v3@06f233fe06e710322aca913c1bc4249a0d71fce1",
        "emotion": "iic/emotion2vec_base@unpinned",
        "language_model": "Qwen/Qwen2.5-7B-Instruct@a09a35458c702b33eeacc393d103063234e8bc28",
    }
    small = checkpoint.base_models(OmniConfig.preset("small"))
    assert set(small.values()) == {"embedded"}, "parts of this package, which pins them"


def test_base_models_are_loaded_at_their_revision(monkeypatch):
    asked = []

    def from_pretrained(name, revision, **_):
        asked.append((name, revision))
        raise OSError("not in a test")

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", from_pretrained)
    paper = OmniConfig.preset("paper")
    with pytest.raises(EmotionOmniError, match="cannot be loaded"):
        language_model.load(paper.language_model, paper.lora)
    assert asked == [("Qwen/Qwen2.5-7B-Instruct", "a09a35458c702b33eeacc393d103063234e8bc28")]


def test_all_files_are_flushed_to_the_disk_before_a_checkpoint_takes_its_place(tmp_path, monkeypatch):
    flushed, put = [], atomic._put
    monkeypatch.setattr(atomic, "_flush", lambda path: flushed.append(path.name))

    def look(new, folder, old):
        assert set(flushed) == {*(path.name for path in new.iterdir()), new.name}
        put(new, folder, old)

    monkeypatch.setattr(atomic, "_put", look)
    tiny_omni.save(tmp_path / "mine")
    assert flushed[-1] == tmp_path.name, "and the folder it lies in afterwards"
