"""The SQLite extension sqlite-journal-crypt: its file, how to load it on a connection, a connection's scope, and how to
seal without a connection."""

from ._loading import load, loadable_path, sql_path
from ._scope import scope
from .aio import AsyncSealer
from .errors import (
    BadArgument,
    JournalError,
    KeyDisabled,
    KeyInvalid,
    KeyLost,
    KeyNotFound,
    NoKey,
    NotConfigured,
    NotItem,
    NotUtf8,
    OutOfScope,
    Replicated,
    StoreDenied,
    StoreUnavailable,
    TokenInvalid,
)
from .sealer import NewKey, SealedToken, Sealer

__all__ = [
    "AsyncSealer", "BadArgument", "JournalError", "KeyDisabled", "KeyInvalid", "KeyLost", "KeyNotFound", "NewKey", "NoKey",
    "NotConfigured", "NotItem", "NotUtf8", "OutOfScope", "Replicated", "SealedToken", "Sealer", "StoreDenied",
    "StoreUnavailable", "TokenInvalid", "load", "loadable_path", "scope", "sql_path",
]  # fmt: skip
