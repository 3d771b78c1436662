"""A trained model folder goes to the Hugging Face Hub: weights, tokenizer, ``reward_model.json``, card and log."""

from __future__ import annotations

import json
from pathlib import Path

from rewardkit.errors import ConfigError, ServerError
from rewardkit.models.spec import RewardModelSpec

_LEFT_HERE = ("checkpoints/*", "run.json")
"""What only the next call on this machine needs."""


def is_policy(folder: str | Path) -> bool:
    """Whether a folder holds a policy that `rewardkit train grpo` finished.

    >>> is_policy("no/such/folder")
    False
    """
    path = Path(folder) / "manifest.json"
    return path.is_file() and json.loads(path.read_text(encoding="utf-8")).get("kind") == "policy"


def push_model(folder: str | Path, repo: str, *, private: bool = False) -> str:
    """Upload a model folder; a repository that is missing is made, files that are the same are not sent again.

    The address of the Hub and the token are those of ``huggingface_hub``: ``HF_ENDPOINT``, and ``HF_TOKEN`` or what
    ``hf auth login`` stored.

    Args:
        folder: that `rewardkit train` wrote.
        repo: such as ``my-name/my-model``.
        private: where the repository is made, not to be seen by others.

    Returns:
        The address of the commit.

    Raises:
        ConfigError: the folder is no finished reward model or policy, or `repo` is no name of a repository.
        ServerError: there is no token, or the Hub cannot be reached or refuses.
    """
    import httpx
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError, OfflineModeIsEnabled

    if not is_policy(folder):
        RewardModelSpec.load(folder)
    api = HfApi(library_name="rewardkit")
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo,
            folder_path=str(folder),
            commit_message="Trained with RewardKit",
            ignore_patterns=list(_LEFT_HERE),
        )
    except HFValidationError as error:
        raise ConfigError(f"'{repo}' is no name of a repository on the Hub: {_line(error)}") from None
    except (LocalTokenNotFoundError, OfflineModeIsEnabled, HfHubHTTPError, httpx.HTTPError, OSError) as error:
        hint = "; log in by `hf auth login`, or set HF_TOKEN" if "401" in str(error) or "token" in str(error) else ""
        raise ServerError(f"{folder} is trained but could not be pushed to {repo}: {_line(error)}{hint}") from None
    return str(commit.commit_url)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
