"""The one error that stands for a user's mistake."""


class UserError(Exception):
    """Something the user gave cannot be used. The message is one paragraph that names the thing and the remedy."""
