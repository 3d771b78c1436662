"""One running server of each kind for the whole session: real HTTP on 127.0.0.1, the same tests for both."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

KEY = "test-key"


@dataclass(frozen=True)
class Served:
    """A running server, its model folder, and clients with and without the right key."""

    backend: str
    folder: Path
    root: str
    name: str
    key: str
    client: httpx.Client
    anonymous: httpx.Client

    def rewards(self, **body) -> httpx.Response:
        return self.client.post("/v1/rewards", json=body)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate, and is not here")
    made = tmp_path / "cert.pem", tmp_path / "key.pem"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", *names]
    subprocess.run([*command, "-out", made[0], "-keyout", made[1]], check=True, capture_output=True)
    return made


@pytest.fixture(scope="session", params=["transformers", pytest.param("vllm", marks=pytest.mark.slow)])
def served(request, tiny_reward_model: Path, tmp_path_factory) -> Iterator[Served]:
    """vLLM serves a calibrated model with two labels, transformers one with a single label: both are covered."""
    from tiny import build_tiny_reward_model

    from rewardkit.server.launch import Server

    folder = tiny_reward_model
    if request.param == "vllm":
        folder = tmp_path_factory.mktemp("tiny2") / "tiny-prm-2"
        build_tiny_reward_model(folder, num_labels=2, temperature=1.3, bias=-0.2)
    with (
        Server(folder, backend=request.param, profile="cpu", port=0, dtype="float32", api_key=KEY) as server,
        httpx.Client(base_url=server.root, headers={"Authorization": f"Bearer {KEY}"}, trust_env=False) as client,
        httpx.Client(base_url=server.root, trust_env=False) as anonymous,
    ):
        client.timeout = anonymous.timeout = httpx.Timeout(60.0)
        yield Served(request.param, folder, server.root, server.name, KEY, client, anonymous)
