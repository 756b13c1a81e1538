"""docs/frameworks/django.md, and what the wheel's module for Django does beside it."""

from .pages import SEALED, program, run, tokens

PAGE, SHOWN = program("django.md")
#: The settings and the model alone.
MODELS = PAGE.partition("\n\nEntry.objects.create")[0] + """
from django.db import connection, transaction
def raised(call):
    try: call()
    except Exception as error: return f"{type(error).__name__}: {error}"
"""


def test_the_page_gives_what_it_shows(journal, package):
    folder, env = journal
    assert run(PAGE, folder, package, env) == SHOWN != []
    assert tokens(folder) == [SEALED[0], SEALED[0], SEALED[1]]


def test_each_connection_has_the_extension_and_both_pragmas_and_no_log_of_django_has_the_text(ran):
    assert ran("""
settings.DEBUG = True
Entry.objects.create(user_id=1, text="Slept well.")
print(Entry.objects.get().text, Entry._base_manager.get().text)
said = str(connection.queries)
print("INSERT" in said, "Slept" in said)
connection.close()
with connection.cursor() as cursor:
    print(*(cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in ("foreign_keys", "temp_store")))
""") == ["Slept well. Slept well.", "True False", "1 2"]


def test_a_page_of_entries_is_opened_by_the_query_that_reads_it(ran):
    assert ran("""
for number in range(3): Entry.objects.create(user_id=1, text=f"text {number}")
from sqlite_journal_crypt import django as module
module._row = None  # what opens one by one
print(*(entry.text for entry in Entry.objects.order_by("id")), *Entry.objects.order_by("-opened_text").values_list("opened_text", flat=True)[:1])
""") == ["text 0 text 1 text 2 text 2"]


def test_a_saved_text_is_sealed_once_and_anew_only_where_it_was_assigned(ran):
    assert ran("""
entry = Entry.objects.create(user_id=1, text="first")
token = entry.token
entry.created_at = 1.0; entry.save()
print(entry.token == token, entry.text)
other = Entry.objects.get(); other.text = "second"; other.save()
entry.refresh_from_db()
print(entry.token == token, entry.text, other.text)
""") == ["True first", "False second second"]


def test_a_token_that_was_moved_to_another_row_is_not_read_there(ran):
    assert ran("""
one, two = (Entry.objects.create(user_id=1, text=text) for text in ("one", "two"))
Entry.objects.filter(id=two.id).update(token=one.token)
two.refresh_from_db()
print(one.text, two.text, *Entry.objects.order_by("id").values_list("opened_text", flat=True))
""") == ["one None one None"]


def test_a_proxy_and_a_model_that_inherits_the_text_seal_it_too(ran):
    assert ran("""
class Shown(Entry):
    class Meta: proxy, app_label = True, "journal"
class Base(models.Model):
    uid, user_id, created_at = models.TextField(default=new_uid), models.IntegerField(), models.FloatField(default=time.time)
    key_uid, token = models.TextField(), models.TextField()
    text = SealedText(context=("journal_entries.token:", "uid"))
    objects = SealedManager()
    class Meta: abstract, app_label = True, "journal"
class Other(Base):
    class Meta: app_label, db_table, managed = "journal", "journal_entries", False
Other.objects.create(user_id=1, text="first")
print(Entry.objects.get().text, Other.objects.get().text)
entry = Shown.objects.get(); entry.text = "second"; entry.save()
print(Entry.objects.get().text, Shown.objects.get().text)
""") == ["first first", "second second"]


def test_what_passes_save_by_stores_no_row_without_its_text(ran):
    assert ran("""
print(raised(lambda: Entry.objects.bulk_create([Entry(user_id=1, text="Slept well.")])))
entry = Entry.objects.create(user_id=1, text="first")
entry.text = "second"
print(raised(lambda: Entry.objects.bulk_update([entry], ["token"])))
print(Entry.objects.count(), Entry.objects.get().text)
""") == ["ValueError: text is sealed by save: what passes that by takes a key uid and a token"] * 2 + ["1 first"]


def test_what_was_assigned_and_not_saved_is_gone_with_a_rollback_or_a_refresh(ran):
    assert ran("""
entry = Entry.objects.create(user_id=1, text="first")
try:
    with transaction.atomic():
        entry.text = "second"; entry.save()
        raise KeyError
except KeyError: print(Entry.objects.get().text)
entry.text = "third"; entry.refresh_from_db(); print(entry.text)
entry.save(); print(Entry.objects.get().text)
""") == ["first"] * 3


def test_what_binds_a_token_may_not_change_without_its_text(ran):
    assert ran("""
entry = Entry.objects.create(user_id=1, text="x")
entry.user_id = 2
print(raised(entry.save))
entry.text = "x"; entry.save()
print(entry.text, entry.key_uid)
print(raised(lambda: Entry.objects.create(user_id=3, text="Slept well.")))
print(raised(lambda: Entry.objects.create(user_id=1, uid=None, text="Slept well.")).split(": ")[:3])
""") == [
        "ValueError: text is sealed for its user and row: assign it anew where one of these changes", "x oseh_ujmk_2",
        "OperationalError: journal_seal: no_key: user 3 has no key", "['OperationalError', 'journal_seal', 'bad_argument']",
    ]  # fmt: skip


def test_what_a_receiver_assigns_after_the_seal_ends_the_save(ran):
    assert ran("""
late = {}
def assign(instance, **_):
    for name, value in late.items(): setattr(instance, name, value)
models.signals.pre_save.connect(assign)
def saved(call):
    with transaction.atomic(): call()
entry = Entry.objects.create(user_id=1, text="first")
for late in ({"text": "late"}, {"user_id": 2}, {"uid": "late"}):
    entry = Entry.objects.get()
    print(raised(lambda: saved(lambda: Entry.objects.create(user_id=1, text="second"))))
    print(raised(lambda: saved(entry.save)))
late = {}
print(*Entry.objects.values_list("user_id", "opened_text"), "late" in str(Entry._base_manager.values_list()))
""") == [
        *["ValueError: text is sealed by save: what passes that by takes a key uid and a token"] * 2,
        *["ValueError: text is sealed for its user and row: assign it anew where one of these changes"] * 4, "(1, 'first') False",
    ]  # fmt: skip


def test_a_key_that_is_gone_makes_the_text_none_and_an_outage_raises(ran, key_store):
    assert ran("Entry.objects.create(user_id=1, text='x')") == []
    store = {"JOURNAL_KEY_STORE": f"file://{key_store.root}/absent"}
    assert ran("print(raised(lambda: list(Entry.objects.all())).split(': ')[2], raised(lambda: Entry._base_manager.get().text).split(': ')[2])", **store) == [
        "store_unavailable store_unavailable",
    ]  # fmt: skip
    next(key_store.root.rglob("oseh_ujmk_1")).unlink()
    assert ran("print(Entry.objects.get().text, Entry._base_manager.get().text)") == ["None None"]


def test_a_scope_ends_with_its_block(ran):
    assert ran("""
print(raised(lambda: Entry.objects.create(user_id=1, text="x")).split(": ")[2])
for user in (1, 2):
    with scope(user): Entry.objects.create(user_id=user, text=f"of {user}")
with scope(2): print(Entry.objects.get(user_id=2).text, raised(lambda: Entry.objects.get(user_id=1)).split(": ")[2])
print(raised(lambda: list(Entry.objects.all())).split(": ")[2])
""", JOURNAL_REQUIRE_SCOPE="1") == ["out_of_scope", "of 2 out_of_scope", "out_of_scope"]
