"""The kinds of failure a client can meet, named as Docker's ``errdefs`` names them.

They live beside the store because every room raises them and only the API server turns them into HTTP. The message is
what the client reads, so it is in dockerd's words.
"""


class EngineError(Exception):
    """A failure with a message for the client; the base of all below, and itself a failure of the system (500)."""

    @property
    def message(self) -> str:
        """The text for the client."""
        return str(self)


class NotModifiedError(EngineError):
    """Nothing to do: the object already is as asked."""


class InvalidParameterError(EngineError):
    """The request itself is wrong."""


class UnauthorizedError(EngineError):
    """Credentials are missing or refused."""


class ForbiddenError(EngineError):
    """The request is understood and never allowed."""


class NotFoundError(EngineError):
    """The object does not exist."""


class ConflictError(EngineError):
    """The object's present state, or another object, does not allow it."""


class NotImplementedYetError(EngineError):
    """The engine cannot do this (yet)."""


class UnavailableError(EngineError):
    """The engine cannot do this at the moment."""
