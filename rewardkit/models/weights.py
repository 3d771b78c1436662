"""Weights on disk that others than their writer can read."""

from __future__ import annotations

from pathlib import Path


def share_weights(folder: Path) -> None:
    """Give every ``.safetensors`` below a folder the mode of the JSON file beside it, which follows the umask.

    safetensors writes through a temporary file that its owner alone may read, whatever the umask says, so that a server
    that runs as another user, as one in a container does, could not open the model.

    Example:
        >>> import tempfile, torch
        >>> from safetensors.torch import save_file
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "config.json").write_text("{}")
        >>> save_file({"weight": torch.zeros(1)}, folder / "model.safetensors")
        >>> share_weights(folder)
        >>> (folder / "model.safetensors").stat().st_mode == (folder / "config.json").stat().st_mode
        True
    """
    for path in folder.rglob("*.safetensors"):
        beside = next(iter(sorted(path.parent.glob("*config.json"))), None)
        if beside is not None:
            path.chmod(beside.stat().st_mode & 0o777)
