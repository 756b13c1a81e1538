"""The SQLite extension sqlite-journal-crypt: its file, how to load it on a connection, and how to seal without one."""

from ._loading import load, loadable_path, sql_path
from .aio import AsyncSealer
from .errors import (
    BadArgument,
    JournalError,
    KeyInvalid,
    KeyLost,
    KeyNotFound,
    NoKey,
    NotConfigured,
    NotItem,
    NotUtf8,
    Replicated,
    StoreDenied,
    StoreUnavailable,
    TokenInvalid,
)
from .sealer import NewKey, SealedToken, Sealer

__all__ = [
    "AsyncSealer", "BadArgument", "JournalError", "KeyInvalid", "KeyLost", "KeyNotFound", "NewKey", "NoKey",
    "NotConfigured", "NotItem", "NotUtf8", "Replicated", "SealedToken", "Sealer", "StoreDenied", "StoreUnavailable",
    "TokenInvalid", "load", "loadable_path", "sql_path",
]  # fmt: skip
