"""The one tree of errors that RewardKit raises on purpose.

    RewardKitError
    ├── ConfigError    a recipe, an option or a model folder is not what it should be
    ├── DataError      a file or a row cannot be read as what it claims to be
    ├── VerifierError  a checker itself failed (not: the checked step is wrong)
    └── ServerError    the scoring service refused, failed or could not be reached

Each message is one sentence or two that say what to do; the command line prints it and exits with code 1.
Anything else that escapes is a fault of ours and exits with code 2.
"""


class RewardKitError(Exception):
    """Base of every error that a user can mend.

    >>> issubclass(ConfigError, RewardKitError)
    True
    """


class ConfigError(RewardKitError):
    """A recipe, an option or a model folder is wrong; the message names the key and what is allowed."""


class DataError(RewardKitError):
    """A file or a row is not readable as what it claims to be; the message names the file and the line."""


class VerifierError(RewardKitError):
    """A checker could not do its work at all. A step that merely cannot be checked is an abstention instead."""


class ServerError(RewardKitError):
    """The scoring service refused, failed or could not be reached.

    Attributes:
        status: the HTTP status, or None where no answer came.
        code: OpenAI's error code from the body, or None.

    >>> ServerError("no such model", status=404).status
    404
    """

    def __init__(self, message: str, *, status: int | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
