"""Several models at one address: a scoring server for each, and the gateway before them.

with SeveralServers({"port": 0, "models": {"prm": "runs/prm/model", "orm": "runs/orm/model"}}) as server:
    httpx.post(f"{server.url}/rewards", json={"model": "orm", ...})

Each model has an engine of its own, since vLLM holds one model an engine. They listen on the loopback interface alone,
with a key that is made anew each time and that nobody else knows.
"""

from __future__ import annotations

import queue
import secrets
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from rewardkit.config import read_yaml
from rewardkit.errors import ConfigError
from rewardkit.server.config import ServeConfig, default_profile, serve_config
from rewardkit.server.gateway import Backend, Gateway, gateway_app
from rewardkit.server.launch import Server, address
from rewardkit.server.plain import AppServer
from rewardkit.server.port import free_port
from rewardkit.server.traffic import Traffic

_OF_THE_GATEWAY = frozenset(
    {"host", "port", "name", "api_key", "key_file", "open_to_all", "ssl_certfile", "ssl_keyfile"}
)
"""Options that no model has for itself."""
_GPU_SHARE = 0.85


class SeveralServers:
    """Scoring servers behind one address, as a context manager.

    Args:
        values: keys of `ServeConfig`, which hold for every model, and ``models``: from each served name to a folder, or
            to a mapping with ``folder`` and what differs for this one (``dtype``, ``backend``, ``engine``, ...).
        log: see `Server`.

    Raises:
        ConfigError: at once, for an option or a folder that cannot be served.
        ServerError: on entering, when a server does not start.
    """

    def __init__(self, values: Mapping[str, Any], *, log: str | Path | None = None) -> None:
        given = dict(values)
        models = _checked(given.pop("models", None))
        if given.get("name") is not None:
            raise ConfigError("name is for one model; with several, each has its own: NAME=FOLDER")
        self.config = serve_config(given)
        self._key = secrets.token_urlsafe(32)
        self.servers = {
            name: Server(entry["folder"], self._config(name, entry, given, models), log=log)
            for name, entry in models.items()
        }
        self.port = free_port(self.config.host, self.config.port)
        self._front: AppServer | None = None

    @property
    def name(self) -> str:
        """The served names."""
        return ", ".join(self.servers)

    @property
    def root(self) -> str:
        """The address without a path."""
        return address(self.config, self.port)

    @property
    def url(self) -> str:
        """The base URL for clients."""
        return f"{self.root}/v1"

    def __enter__(self) -> SeveralServers:
        try:
            self._front = self._gateway()  # it answers 503 for those that load
            # One after the other: an engine measures the memory that is free while it starts.
            for server in self.servers.values():
                server.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Answer what is in flight, then end all servers. Safe to call twice."""
        front, self._front = self._front, None
        if front is not None:
            front.stop()
        for server in self.servers.values():
            server.stop()

    def wait(self) -> int:
        """Block until the gateway or one of the servers ends by itself; its exit code."""
        ended: queue.SimpleQueue[int] = queue.SimpleQueue()
        parts: list[Server | AppServer] = [*self.servers.values(), *([self._front] if self._front else [])]
        for running in parts:
            threading.Thread(target=partial(_report_end, running, ended), daemon=True).start()
        return ended.get()

    def _gateway(self) -> AppServer:
        config = self.config.model_copy(update={"port": self.port})
        traffic = Traffic(config.limits)
        backends = {
            served: Backend(server.root, self._key)
            for name, server in self.servers.items()
            for served in (name, *server.config.adapters)
        }
        gateway = Gateway(backends)
        app = gateway_app(gateway, traffic, [config.key] if config.key else [])
        return AppServer(app, traffic, config, gateway.close)

    def _config(
        self, name: str, entry: Mapping[str, Any], given: Mapping[str, Any], models: Mapping[str, Any]
    ) -> ServeConfig:
        own = {key: value for key, value in entry.items() if key != "folder"}
        foreign = sorted(own.keys() & _OF_THE_GATEWAY)
        if foreign:
            raise ConfigError(f"models.{name}: {foreign[0]} is not for one model; give it beside models")
        shared = {key: value for key, value in given.items() if key not in _OF_THE_GATEWAY}
        for nested in ("engine", "env"):
            if nested in shared and nested in own:
                own[nested] = {**shared[nested], **own[nested]}
        values = {**shared, **own}
        if str(values.get("profile") or default_profile()) == "gpu":
            share = round(_GPU_SHARE / len(models), 3)
            values["engine"] = {"gpu-memory-utilization": share, **values.get("engine", {})}
        return serve_config({**values, "port": 0, "host": "127.0.0.1", "name": name, "api_key": self._key})


def _report_end(running: Server | AppServer, ended: queue.SimpleQueue[int]) -> None:
    ended.put(running.wait())


def models_of(arguments: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """The values of a file of several models, or the models among arguments, and the arguments that are left.

    Args:
        arguments: of `rewardkit serve`: the first a folder, a YAML file, or ``NAME=FOLDER``; then more of these, and
            ``key=value``.

    Returns:
        ``models`` and what the file says beside them; an empty mapping where there is one folder alone.

    >>> models_of(["prm=runs/prm/model", "orm=runs/orm/model", "port=9000"])
    ({'models': {'prm': 'runs/prm/model', 'orm': 'runs/orm/model'}}, ['port=9000'])
    >>> models_of(["runs/prm/model", "port=9000"])
    ({}, ['port=9000'])
    """
    first, *rest = arguments
    if Path(first).suffix in {".yaml", ".yml"}:
        return read_yaml(Path(first)), rest
    if "=" not in first or Path(first).is_dir():
        return {}, rest
    options = {*ServeConfig.model_fields, "profile"}
    models, others = {}, []
    for argument in arguments:
        name, equals, folder = argument.partition("=")
        if equals and name.partition(".")[0] not in options:
            models[name] = folder
        else:
            others.append(argument)
    return {"models": models}, others


def _checked(models: Any) -> dict[str, dict[str, Any]]:
    """Every entry as a mapping with ``folder``.

    Raises:
        ConfigError: no models, or an entry is none.
    """
    if not isinstance(models, dict) or not models:
        raise ConfigError("models must name each model's folder: models: {prm: runs/prm/model}")
    checked = {}
    for name, entry in models.items():
        values = {"folder": entry} if isinstance(entry, str) else entry
        if not isinstance(values, dict) or not isinstance(values.get("folder"), str) or not str(name).strip():
            raise ConfigError(f"models.{name} must be a folder, or a mapping with folder and options of this model")
        checked[str(name)] = values
    return checked
