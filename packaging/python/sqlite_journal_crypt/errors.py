"""The exceptions of a sealer: one class for each error word of the extension."""

import re
from typing import Dict, Optional, Type

_TEXT = re.compile(r"journal_[a-z_]+: ([a-z0-9_]+): (.*)", re.DOTALL)


class JournalError(Exception):
    """What the extension raised. Its text is the extension's, which never holds a plaintext, a token or a key."""

    #: The error word; None where SQLite itself failed.
    word: Optional[str] = None


class NoKey(JournalError):
    """The user has no key."""

    word = "no_key"


class KeyNotFound(JournalError):
    """The user has no key with this uid."""

    word = "key_not_found"


class KeyLost(JournalError):
    """The row is there, the object is not."""

    word = "key_lost"


class KeyDisabled(JournalError):
    """The object is disabled, and can be enabled again: not the end of what is under it."""

    word = "key_disabled"


class KeyInvalid(JournalError):
    """The object is not a Fernet key, or its name is one that is never fetched."""

    word = "key_invalid"


class TokenInvalid(JournalError):
    """Not a Fernet token, or not under this key."""

    word = "token_invalid"


class NotUtf8(JournalError):
    """The plaintext is not text."""

    word = "not_utf8"


class NotItem(JournalError):
    """The plaintext is not compressed JSON, or too much of it."""

    word = "not_item"


class StoreUnavailable(JournalError):
    """The key store could not be reached or answered with a fault: try again later."""

    word = "store_unavailable"


class StoreDenied(JournalError):
    """The credentials are missing, wrong or not allowed."""

    word = "store_denied"


class NotConfigured(JournalError):
    """JOURNAL_KEY_STORE is not set."""

    word = "not_configured"


class BadArgument(JournalError):
    """An argument has the wrong type or value."""

    word = "bad_argument"


class OutOfScope(JournalError):
    """The connection's scope is another user's, or it needs one and has none."""

    word = "out_of_scope"


class Replicated(JournalError):
    """JOURNAL_REPLICATED is on in this process, which is no node of a cluster."""

    word = "replicated"


WORDS: Dict[str, Type[JournalError]] = {
    cls.word: cls
    for cls in (
        NoKey, KeyNotFound, KeyLost, KeyDisabled, KeyInvalid, TokenInvalid, NotUtf8, NotItem, StoreUnavailable,
        StoreDenied, NotConfigured, BadArgument, OutOfScope, Replicated,
    )
    if cls.word
}  # fmt: skip


def error_of(text: str) -> JournalError:
    """The exception for an error text of the extension, or of SQLite."""
    if found := _TEXT.fullmatch(text):
        return WORDS.get(found[1], JournalError)(text)
    return JournalError(text)
