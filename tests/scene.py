"""A journal whose keys are objects in a bucket of a real server, behind a proxy that does harm when told to."""

from urllib.parse import quote

from child import Child
from conftest import LIBRARY, PREFIX, Database, new_key
from stores import Bucket

KEY_UID = "oseh_ujmk_1"


class Scene:
    """User 1 and nobody else, a bucket of its own on `server`, and the processes that read the journal.

    Nothing secret may stand in what a process says: keys, the secret access key, the session token, and what is
    put into `secrets`.
    """

    def __init__(self, server, folder):
        self.server = server
        self.database = Database(folder / "journal.db")
        self.database.add_user(1)
        store = Bucket(server, versioned=False)
        self.bucket, self.s3, self.proxy, self.env = store.name, store.client, store.proxy, store.env
        self.secrets = []
        self._children = []

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            for child in self._children:
                child.__exit__(kind)
        finally:
            self.proxy.close()

    def name(self, uid=KEY_UID):
        """The name of a key's object."""
        with self.database.writing() as connection:
            sql = "SELECT key FROM s3_files JOIN user_journal_master_keys k ON s3_file_id = s3_files.id WHERE k.uid = ?"
            return connection.execute(sql, (uid,)).fetchone()[0]

    def path(self, uid=KEY_UID):
        """The path of requests for it, as they arrive at the proxy."""
        return f"/{self.bucket}/{quote(self.name(uid), safe='/')}"

    def put(self, content, uid=KEY_UID):
        """Writes a key's object, past the proxy."""
        assert self.s3.put(self.bucket, self.name(uid), content.encode()).status == 200

    def delete(self, uid=KEY_UID):
        """Deletes a key's object, past the proxy."""
        assert self.s3.delete(self.bucket, self.name(uid)).status == 204

    def add_key(self, uid=KEY_UID, name=None, created_at=0.0):
        """The rows and the object of a key of user 1; its content."""
        self.add_rows(uid, name, created_at)
        content = new_key()
        self.secrets.append(content)
        self.put(content, uid)
        return content

    def add_rows(self, uid=KEY_UID, name=None, created_at=0.0):
        """The rows of a key of user 1 whose object is `name`, below the usual prefix, and no object."""
        self.database.add_key(1, uid, created_at)
        if name is not None:
            with self.database.writing() as connection:
                connection.execute("UPDATE s3_files SET key = ? WHERE key = ?", (PREFIX + name, PREFIX + uid))

    def child(self, host="sqlite3", **changed):
        """A process; `changed` are variables of its environment, None takes one away."""
        env = {name: value for name, value in {**self.env, **changed}.items() if value is not None}
        secrets = [*self.secrets, env.get("AWS_SECRET_ACCESS_KEY"), env.get("AWS_SESSION_TOKEN")]
        self._children.append(Child(self.database.path, LIBRARY, env, secrets, host))
        return self._children[-1]
