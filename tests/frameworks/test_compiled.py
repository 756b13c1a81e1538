"""The pages of docs/frameworks/ whose program is compiled: Go's database/sql, JDBC, rusqlite, sqlx."""

import shutil

import pytest
from conftest import LIBRARY
from hosts.drivers import COMMANDS, GO, SQLX, build, go_module, rust_package, sqlx_package

from .pages import SEALED, block, execute, tokens


@pytest.fixture
def folder(journal):
    """The journal's folder, with the library in it."""
    shutil.copy(LIBRARY, journal[0] / f"journal_crypt{LIBRARY.suffix}")
    return journal[0]


@pytest.fixture
def env(journal):
    """No connection may use a key without a scope."""
    return {**journal[1], "JOURNAL_REQUIRE_SCOPE": "1", "LC_ALL": "C.UTF-8"}


def test_gos_page_gives_what_it_shows(folder, env):
    build("go")
    source, shown = block("go.md", "go")
    (folder / "main.go").write_text(source)
    go_module(folder)
    execute(["go", "vet", "."], folder, GO)
    assert execute(["go", "run", "."], folder, {**env, **GO}) == shown != []
    assert tokens(folder) == SEALED


def test_javas_page_gives_what_it_shows(folder, env):
    build("java")
    source, shown = block("jdbc.md", "java")
    (folder / "Journal.java").write_text(source)
    java, option, path, _ = COMMANDS["sqlite-jdbc"][1]
    assert execute([java, option, path, "Journal.java"], folder, env) == shown != []
    assert tokens(folder) == SEALED


def test_in_java_an_end_that_fails_hides_no_error_of_the_body(folder, env):
    build("java")
    head, _, _ = block("jdbc.md", "java")[0].partition("  public static void main")
    (folder / "Journal.java").write_text(head + """
  public static void main(String[] arguments) throws SQLException {
    try {
      asUser(open(), 1, its -> { its.close(); throw new SQLException("whatever happens"); });
    } catch (SQLException error) {
      System.out.println(error.getMessage() + " " + error.getSuppressed().length);
    }
  }
}
""")
    java, option, path, _ = COMMANDS["sqlite-jdbc"][1]
    assert execute([java, option, path, "Journal.java"], folder, env) == ["whatever happens 1"]


def test_rusts_page_gives_what_it_shows(folder, env):
    source, shown = block("rust.md", "rust")
    built = rust_package(folder, source)
    assert execute(["cargo", "run", "--quiet"], folder, {**env, **built}) == shown != []
    assert tokens(folder) == SEALED

    # A scope that a function leaves early has ended.
    head, _, _ = source.partition("fn main()")
    (folder / "src" / "main.rs").write_text(head + """
fn early(journal: &Connection) -> Result<()> {
    let _scope = scope(journal, 1)?;
    write(journal, "early", 3, "x")?;
    unreachable!()
}

fn main() -> Result<()> {
    let journal = open()?;
    println!("{:?}", word(&early(&journal).unwrap_err()));
    let _scope = scope(&journal, 2)?;
    println!("{:?}", entries(&journal, "user_id = ?", 2)?);
    Ok(())
}
""")
    assert execute(["cargo", "run", "--quiet"], folder, {**env, **built}) == ['Some("out_of_scope")', '[Some("Another\'s.")]']


@pytest.mark.skipif(not SQLX.exists(), reason="make test-more builds it")
def test_sqlxs_program_gives_what_it_shows(folder, env):
    source, shown = block("rust.md", "rust", 1)
    built = sqlx_package(folder, source)
    assert execute(["cargo", "run", "--quiet", "--locked"], folder, {**env, **built}) == shown != []
    assert tokens(folder) == SEALED

    # The one connection serves the next user after an early end, and a new one after a future that was dropped half way.
    head, main, body = source.partition("    for (uid, user, text)")
    assert main
    (folder / "src" / "main.rs").write_text(head.replace("SqlitePoolOptions::new()", "SqlitePoolOptions::new().max_connections(1)") + """
    let early = as_user(&pool, 1, async |journal| { write(journal, "early", 3, "x").await?; entries(journal, "?", 1).await });
    println!("{:?}", word(&early.await.unwrap_err()));
    {
        let begun = std::cell::Cell::new(false);
        let mut dropped = Box::pin(as_user(&pool, 1, async |_| { begun.set(true); std::future::pending::<sqlx::Result<()>>().await }));
        while !begun.get() { tokio::select! { biased; _ = &mut dropped => {}, () = tokio::task::yield_now() => {} } }
    }
    println!("{:?}", as_user(&pool, 2, async |journal| entries(journal, "user_id = ?", 2).await).await?);
    Ok(())
}
""")
    assert execute(["cargo", "run", "--quiet", "--locked"], folder, {**env, **built}) == ['Some("out_of_scope")', '[(Some("Another\'s."),)]']
