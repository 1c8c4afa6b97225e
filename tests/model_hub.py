"""The hub server of the tests with model repositories."""

from __future__ import annotations

import hashlib
import json
import re

import hub_server
import pytest
from hub_server import REPO, TOKEN, Hub

from emotion_omni.types import EmotionOmniError

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


def failing(action) -> tuple[str, str]:
    with pytest.raises(EmotionOmniError) as caught:
        action()
    assert TOKEN not in str(caught.value)
    return caught.value.code, str(caught.value)
