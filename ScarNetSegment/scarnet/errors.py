"""The errors that users see: one line that says what, where and what to do next."""


class ScarNetError(Exception):
    """Base of every error the engine raises on purpose. Its text is one line, without patient data.

    `exit_code` is what the command line returns: 1 our failure, 2 wrong usage, 3 the input cannot be used.
    """

    exit_code = 1


class UsageError(ScarNetError):
    """The call itself is wrong: an unknown option value, an output that cannot be written."""

    exit_code = 2


class InputError(ScarNetError):
    """The input cannot be used: missing, damaged, not an LGE short-axis stack, no left ventricle in it."""

    exit_code = 3


class ModelError(ScarNetError):
    """A model folder or checkpoint is missing, incomplete, or is not what its card says."""

    exit_code = 3


class UnknownModelError(ModelError):
    """No model is called as the user called it."""

    exit_code = 2


class Cancelled(ScarNetError):
    """The user asked to stop; the text says what is kept, if anything."""
