"""The error that stands for a user's mistake, and two reasons why a cell cannot be measured here."""


class UserError(Exception):
    """Something the user gave cannot be used. The message is one paragraph that names the thing and the remedy."""


class UnsupportedError(Exception):
    """What a cell asks for does not exist on this device, whatever is installed. The message says why."""


class MissingExtraError(Exception):
    """What a cell needs is not installed. The message names it and the command that installs it."""

    def __init__(self, extra: str) -> None:
        super().__init__(f"extra `{extra}` is not installed: pip install 'reformer-suite[{extra}]'")
