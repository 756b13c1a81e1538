"""The sealer for asyncio: a call that would wait for the key store goes to a thread, every other runs at once."""

import asyncio
import functools
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Iterable, List, Optional, TypeVar, Union

from .sealer import KeyRow, NewKey, Sealed, SealedToken, Sealer, _read

T = TypeVar("T")


class AsyncSealer:
    """A `Sealer` whose methods are awaited. A warm call never leaves the event loop, and never suspends the task."""

    KEYS_SQL = Sealer.KEYS_SQL

    def __init__(self, threads: int = 16) -> None:
        self._sealer = Sealer()
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="journal-sealer")

    async def seal(self, rows: Iterable[KeyRow], plaintext: Union[str, bytes]) -> SealedToken:
        """As `Sealer.seal`."""
        rows = list(rows)
        return await self._run(rows, _newest(rows), lambda: self._sealer.seal(rows, plaintext))

    async def seal_item(self, rows: Iterable[KeyRow], value: Any) -> SealedToken:
        """As `Sealer.seal_item`."""
        rows = list(rows)
        return await self._run(rows, _newest(rows), lambda: self._sealer.seal_item(rows, value))

    async def open(self, rows: Iterable[KeyRow], sealed: Iterable[Sealed]) -> List[Optional[str]]:
        """As `Sealer.open`."""
        rows, sealed = list(rows), list(sealed)
        return await self._run(rows, _uids(sealed), lambda: self._sealer.open(rows, sealed))

    async def open_items(self, rows: Iterable[KeyRow], sealed: Iterable[Sealed]) -> List[Any]:
        """As `Sealer.open_items`."""
        rows, sealed = list(rows), list(sealed)
        return await self._run(rows, _uids(sealed), lambda: self._sealer.open_items(rows, sealed))

    async def check(self, rows: Iterable[KeyRow], sealed: Iterable[Sealed]) -> List[Optional[str]]:
        """As `Sealer.check`."""
        rows, sealed = list(rows), list(sealed)
        return await self._run(rows, _uids(sealed), lambda: self._sealer.check(rows, sealed))

    async def new_key(self, user_id: Any, rows: Iterable[KeyRow] = (), *, max_age: Optional[float] = None) -> NewKey:
        """As `Sealer.new_key`."""
        return await self._in_thread(functools.partial(self._sealer.new_key, user_id, list(rows), max_age=max_age))

    async def discard(self, new_key: NewKey, rows: Iterable[KeyRow] = ()) -> None:
        """As `Sealer.discard`."""
        await self._in_thread(functools.partial(self._sealer.discard, new_key, list(rows)))

    def is_warm(self, rows: Iterable[KeyRow], key_uids: Optional[Iterable[Optional[str]]] = None) -> bool:
        """As `Sealer.is_warm`."""
        return self._sealer.is_warm(rows, key_uids)

    def evict(self, key_uid: str) -> bool:
        """As `Sealer.evict`."""
        return self._sealer.evict(key_uid)

    def close(self) -> None:
        """Ends the threads once they have done what was begun."""
        self._threads.shutdown(wait=False)

    async def _run(self, rows: List[KeyRow], key_uids: Iterable[Optional[str]], call: Callable[[], T]) -> T:
        given = _read(rows)
        names = self._sealer._names(given, key_uids)
        if self._sealer._are_ready(names):
            return call()

        def then_look() -> T:
            try:
                return call()
            finally:
                # Here, since it walks the whole cache.
                self._sealer._look(given, names)

        return await self._in_thread(then_look)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)


def _newest(rows: List[KeyRow]) -> List[Optional[str]]:
    """The key that seals: the first by `created_at DESC, uid ASC`."""
    found = sorted(_read(rows), key=lambda row: (-row[1], row[0].encode()))
    return [row[0] for row in found[:1]]


def _uids(sealed: List[Sealed]) -> List[Optional[str]]:
    return [key_uid for key_uid, _ in sealed]
