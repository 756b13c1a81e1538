"""Django: the extension on every connection to SQLite, a text that a model keeps as key uid and token, and its manager."""

from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Iterator, Optional, Tuple

from django.apps import AppConfig
from django.db import connections, models
from django.db.backends.signals import connection_created
from django.db.models.query import ModelIterable
from django.dispatch import receiver

from . import _scope
from ._loading import load


class JournalCrypt(AppConfig):
    """For INSTALLED_APPS: `"sqlite_journal_crypt.django.JournalCrypt"`."""

    name = "sqlite_journal_crypt.django"
    label = "journal_crypt"

    def ready(self) -> None:
        connection_created.connect(_connected)


class SealedText(property):
    """A text of a model, whose user, key and token are in these fields.

    What is assigned is sealed when the model is saved, before the transaction of that, under the user's newest key. None is a
    text that can never be read again. `context` is a prefix and a field, which together bind the token to its row:
    `("journal_entries.token:", "uid")`.
    """

    def __init__(
        self, user_id: str = "user_id", key_uid: str = "key_uid", token: str = "token", *,
        context: Optional[Tuple[str, str]] = None,
    ) -> None:  # fmt: skip
        super().__init__(self._opened, self._assign)
        self.user_id, self.key_uid, self.token, self.context = user_id, key_uid, token, context

    def __set_name__(self, _: Any, name: str) -> None:
        self.name, self._cache = name, f"_opened_{name}"

    def expression(self) -> models.Func:
        """The text, for a query."""
        arguments = [models.F(field) for field in (self.user_id, self.key_uid, self.token)]
        if self.context is not None:
            prefix, row = self.context
            arguments.append(models.Func(models.Value(prefix), models.F(row), template="(%(expressions)s)", arg_joiner=" || "))
        return models.Func(*arguments, function="journal_try_decrypt", output_field=models.TextField())

    def keep(self, entry: Any, text: Optional[str]) -> None:
        """Keeps the text that the entry's token was opened to."""
        entry.__dict__[self._cache] = (self._state(entry), text)

    def _bound(self, entry: Any) -> Tuple[Any, ...]:
        """The user, and the context."""
        values = [getattr(entry, self.user_id)]
        if self.context is not None:
            prefix, row = self.context
            value = getattr(entry, row)
            values.append(None if value is None else f"{prefix}{value}")
        return tuple(values)

    def _state(self, entry: Any) -> Tuple[Any, ...]:
        """What its text depends on."""
        return (getattr(entry, self.key_uid), getattr(entry, self.token), *self._bound(entry))

    def _assign(self, entry: Any, text: Optional[str]) -> None:
        setattr(entry, self.token, _Unsealed(self.name, text))

    def _opened(self, entry: Any) -> Optional[str]:
        token = getattr(entry, self.token)
        if isinstance(token, _Unsealed):
            return token.text
        state, text = entry.__dict__.get(self._cache, (None, None))
        if state != self._state(entry):
            user, *context = self._bound(entry)
            values = (user, getattr(entry, self.key_uid), token, *context)
            [text] = _row(entry._state.db, f"SELECT journal_try_decrypt({_marks(values)})", values)
            self.keep(entry, text)
        return text

    def check(self, entry: Any) -> None:
        """Raises where the token that was sealed or opened is not for this user and row."""
        state, _ = entry.__dict__.get(self._cache, (None, None))
        if state is not None and state[2:] != self._bound(entry):
            raise ValueError(f"{self.name} is sealed for its user and row: assign it anew where one of these changes")

    def seal(self, entry: Any, using: str) -> None:
        """Seals what was assigned to the entry."""
        token = entry.__dict__.get(self.token)
        if not isinstance(token, _Unsealed):
            self.check(entry)
            return
        text, sealed = token.text, (None, None)
        if text is not None:
            user, *context = self._bound(entry)
            values = (user, text, *context)
            sealed = _row(using, f"SELECT key_uid, token FROM journal_seal({_marks(values)})", values)
        setattr(entry, self.key_uid, sealed[0])
        setattr(entry, self.token, sealed[1])
        self.keep(entry, text)


class _Unsealed:
    """Stands for the token of a text that was assigned, until the save seals it. No field stores it."""

    def __init__(self, name: str, text: Optional[str]) -> None:
        self.name, self.text = name, text

    def __str__(self) -> str:
        raise ValueError(f"{self.name} is sealed by save: what passes that by takes a key uid and a token")


@receiver(models.signals.pre_save)
def _seal(sender: Any, instance: Any, using: str, raw: bool, **_: Any) -> None:
    # Of every model: a proxy, and one that inherits the text, is a sender of its own.
    if not raw:
        for sealed in _sealed_of(sender):
            sealed.seal(instance, using)


@receiver(models.signals.post_save)
def _check(sender: Any, instance: Any, raw: bool, **_: Any) -> None:
    # What came after the seal: another receiver of pre_save, or a default of the database.
    if not raw:
        for sealed in _sealed_of(sender):
            sealed.check(instance)


class _Opening(ModelIterable):
    """Takes what the query opened to where the model keeps it."""

    def __iter__(self) -> Iterator[Any]:
        all_sealed = [(sealed, _alias(sealed)) for sealed in _sealed_of(self.queryset.model)]
        for entry in super().__iter__():
            for sealed, name in all_sealed:
                if name in entry.__dict__:
                    sealed.keep(entry, entry.__dict__.pop(name))
            yield entry


class SealedManager(models.Manager):
    """Opens the texts of a page of rows in the query that reads it, where they would else be opened one by one.

    In a query `opened_text` is the text of `text`: `Entry.objects.filter(opened_text__contains="fog")`.
    """

    def get_queryset(self) -> models.QuerySet:
        found = super().get_queryset().annotate(**{_alias(sealed): sealed.expression() for sealed in _sealed_of(self.model)})
        found._iterable_class = _Opening
        return found


@contextmanager
def scope(user_id: Any, using: str = "default") -> Iterator[None]:
    """In the block this thread's connection uses this user's keys alone; any other user is `out_of_scope`."""
    connections[using].ensure_connection()
    with _scope.scope(connections[using].connection, user_id):
        yield


def _connected(connection: Any, **_: Any) -> None:
    if connection.vendor == "sqlite":
        load(connection.connection)
        # Django has switched foreign keys on.
        connection.connection.execute("PRAGMA temp_store = MEMORY")


@lru_cache(maxsize=None)
def _sealed_of(model: Any) -> Tuple[SealedText, ...]:
    return tuple(value for kind in model.__mro__ for value in vars(kind).values() if isinstance(value, SealedText))


def _alias(sealed: SealedText) -> str:
    return f"opened_{sealed.name}"


def _row(using: Optional[str], sql: str, values: Tuple[Any, ...]) -> Any:
    """Past Django's cursor, which keeps what is bound for its log."""
    connection = connections[using or "default"]
    connection.ensure_connection()
    with connection.wrap_database_errors:
        return connection.connection.execute(sql, values).fetchone()


def _marks(values: Tuple[Any, ...]) -> str:
    return ", ".join("?" * len(values))
