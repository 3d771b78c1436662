"""What `rewardkit serve` can be told, and the profiles that it ships (``serving/vllm/*.yaml``)."""

from __future__ import annotations

import os
import ssl
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from rewardkit.config import Config, read_yaml, shipped, validate
from rewardkit.errors import ConfigError
from rewardkit.server.chat_search import SearchServing
from rewardkit.server.keys import KEY_FILE_VARIABLE, KEY_VARIABLE, read_key_file
from rewardkit.server.logs import LogFormat
from rewardkit.server.traffic import Limits

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class ServeConfig(Config):
    """Options of a scoring server.

    Attributes:
        backend: ``vllm``, or ``transformers`` in this process.
        host, port: where it listens; port 0 takes a free one.
        name: the served model name; None takes the folder's.
        api_key: the bearer key, or several with commas between; None takes the variable REWARDKIT_API_KEY.
        key_file: of hashed keys, see `rewardkit.server.keys.read_key_file`; None takes the variable REWARDKIT_KEY_FILE.
            Without any key all paths are open.
        open_to_all: lets it listen beyond this machine without a key.
        ssl_certfile, ssl_keyfile: for HTTPS, both or none; PEM.
        dtype: of the weights; ``auto`` is the checkpoint's own (the profile ``cpu`` says float32).
        max_length: the longest input in tokens; None takes the model's own.
        ready_seconds: how long loading may take.
        drain_seconds: how long requests in flight may take when the server is told to end; then they get 503.
        restarts: how often within ten minutes an engine that ends by itself is started again.
        max_pending: responses that wait or run, over all requests; more get 429.
        max_requests: HTTP requests in flight; more get 429.
        max_seconds: the longest that a request may take, whatever deadline it gives; then 504.
        logs: ``json``, an object a line, or ``text``.
        search: what writes the responses of ``/v1/chat/completions``; without it there is no search.
        adapters: LoRA adapters of the model, from the names that they are served under to their folders.
        engine: vLLM's own flags, such as ``engine.gpu-memory-utilization=0.5``; they win over the profile's.
        env: environment variables of the engine; those that are set already win.
    """

    backend: Literal["vllm", "transformers"] = "vllm"
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    name: str | None = None
    api_key: str | None = Field(None, min_length=1, repr=False)
    key_file: Path | None = None
    open_to_all: bool = False
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    max_length: int | None = Field(None, ge=1)
    ready_seconds: float = Field(900.0, gt=0)
    drain_seconds: float = Field(15.0, ge=0)
    restarts: int = Field(5, ge=0)
    max_pending: int = Field(4096, ge=1)
    max_requests: int = Field(1024, ge=1)
    max_seconds: float = Field(600.0, gt=0)
    logs: LogFormat = "json"
    search: SearchServing | None = None
    adapters: dict[str, Path] = Field(default_factory=dict)
    engine: dict[str, str | int | float | bool | None] = Field(default_factory=dict)
    env: dict[str, str | int] = Field(default_factory=dict)

    @property
    def limits(self) -> Limits:
        """What the service takes."""
        return Limits(self.max_pending, self.max_requests, self.max_seconds)

    @property
    def key(self) -> str | None:
        """The bearer keys in force, with commas between; those of the file as hashes.

        Raises:
            ConfigError: the key file cannot be used.
        """
        path = self.key_file or os.environ.get(KEY_FILE_VARIABLE)
        given = self.api_key or os.environ.get(KEY_VARIABLE)
        return ",".join([*([given] if given else []), *(read_key_file(path) if path else [])]) or None

    @model_validator(mode="after")
    def _safe(self) -> ServeConfig:
        if (self.ssl_certfile is None) != (self.ssl_keyfile is None):
            raise ValueError("ssl_certfile and ssl_keyfile go together")
        for path in (self.ssl_certfile, self.ssl_keyfile):
            if path is not None and not path.is_file():
                raise ValueError(f"there is no file {path}")
        if self.ssl_certfile is not None:
            _check_certificate(self.ssl_certfile, self.ssl_keyfile)
        if self.host not in LOOPBACK and not self.open_to_all and self.key is None:
            raise ValueError(
                f"host {self.host} lets others in, and there is no key: set {KEY_VARIABLE} or key_file, "
                "or say open_to_all=true"
            )
        return self


def _check_certificate(certificate: Path, key: Path | None) -> None:
    """A server would only fail by it once its model has loaded."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, OSError) as error:
        raise ValueError(f"{certificate} and {key} are no certificate and its key ({error})") from None


def serve_config(values: dict[str, Any]) -> ServeConfig:
    """A `ServeConfig` from a profile and what differs from it.

    Args:
        values: keys of `ServeConfig`, and ``profile``: a shipped name (``cpu``, ``gpu``) or a path to YAML with the
            same keys; without it, ``cpu`` where the CPU build of vLLM is installed, else ``gpu``.

    Raises:
        ConfigError: no such profile, an unknown key or a value that does not fit.

    >>> serve_config({"profile": "cpu", "port": 0, "engine": {"max-num-seqs": 8}}).engine["max-num-seqs"]
    8
    """
    given = dict(values)
    profile = str(given.pop("profile", None) or default_profile())
    base = read_yaml(_profile_path(profile))
    validate(ServeConfig, base, f"profile {profile}")
    for nested in ("engine", "env"):
        if isinstance(given.get(nested), dict):
            given[nested] = {**base.get(nested, {}), **given[nested]}
    return validate(ServeConfig, {**base, **given}, "serve")


def default_profile() -> str:
    """``cpu`` where vLLM's CPU build or none is installed, else ``gpu``."""
    try:
        distribution("vllm")
    except PackageNotFoundError:
        return "cpu"
    return "gpu"


def _profile_path(profile: str) -> Path:
    path = Path(profile)
    if path.suffix in {".yaml", ".yml"}:
        return path
    known = {p.stem: p for p in sorted((shipped("serving") / "vllm").glob("*.yaml"))}
    if profile not in known:
        raise ConfigError(f"no serving profile '{profile}'; shipped: {', '.join(known)}; or give a path to YAML")
    return known[profile]
