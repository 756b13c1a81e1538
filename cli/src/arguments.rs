//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

const AFTER: &str = "\
This program loads the extension: the file beside it, or where install.sh or pip put it. JOURNAL_KEY_STORE says where the \
keys are, as it does for an application. Commands that make keys need JOURNAL_ADMIN=create; those that hide or destroy keys \
need JOURNAL_ADMIN=1.

On rqlite, rows are read over HTTP and all cryptography is done here: no node needs the extension, and no text or key is \
ever sent to one.

Exit status: 0 done; 1 something was found, or the tool refused; 2 wrong arguments or configuration; 3 the key store or the \
database could not be reached.";

/// Cares for the keys of an encrypted journal, in a database file or on a cluster of rqlite.
#[derive(Parser)]
#[command(name = "journal-crypt", version, after_help = AFTER, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) options: Options,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Args)]
pub(crate) struct Options {
    /// The database file
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "rqlite")]
    pub(crate) db: Option<PathBuf>,
    /// The file with the key tables, if they are not in the database file
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "rqlite")]
    pub(crate) keys: Option<PathBuf>,
    /// Nodes of a cluster, as http://host:4001; user and password may stand in it
    #[arg(
        long,
        global = true,
        value_name = "URL",
        value_delimiter = ',',
        env = "JOURNAL_RQLITE",
        hide_env_values = true
    )]
    pub(crate) rqlite: Vec<String>,
    /// The extension's file, if it was not installed with this program
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) extension: Option<PathBuf>,
    /// Which columns hold tokens [default: journal-crypt.toml, or the shipped schema]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) columns: Option<PathBuf>,
    /// How much to do at the same time [default: two jobs for each processor]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) jobs: Option<u16>,
    /// Print one JSON object
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say what would be done, and change nothing
    #[arg(long, global = true)]
    pub(crate) dry_run: bool,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Count users, keys by age, and entries by key; say who is due for a new key. Decrypts nothing
    Status {
        /// A user is due whose newest key is older than this
        #[arg(long, value_name = "AGE", default_value = "30d", value_parser = age)]
        older_than: f64,
    },
    /// Check whether configuration, key store and database are usable
    Doctor,
    /// Give a new key to each user whose newest key is old, and to each who has none
    Rotate {
        /// A user whose newest key is younger than this keeps it; 0 gives everybody a new key
        #[arg(long, value_name = "AGE", default_value = "30d", value_parser = age)]
        older_than: f64,
        /// Only these users
        #[arg(long = "user", value_name = "ID", num_args = 1..)]
        users: Vec<String>,
    },
    /// Encrypt all tokens again, under their users' current keys
    ///
    /// A row is changed only if it still holds the token that was read: if somebody edited it
    /// meanwhile, the edit stays, and is rewrapped in its turn. It may be killed at any moment and run again.
    Rewrap {
        /// Only these users
        #[arg(long = "user", value_name = "ID", num_args = 1..)]
        users: Vec<String>,
    },
    /// Check that every token can be read, and that every key row has its object
    ///
    /// Decrypts everything and shows no text. With JOURNAL_ADMIN=1 it lists the key store too, and finds objects that no row
    /// names.
    Audit {
        /// Only these users
        #[arg(long = "user", value_name = "ID", num_args = 1..)]
        users: Vec<String>,
    },
    /// Open a backup and prove that it could be restored: every token opens with the keys that exist now
    Drill {
        /// A copy of the database that nobody writes
        backup: PathBuf,
    },
    /// Forget a user: destroy all keys with their versions, delete the key rows, prove that no token opens any more
    ///
    /// To confirm, you type the user's id. Writes a receipt, erasure-ID.json and erasure-ID.txt: what was destroyed and when,
    /// what was checked, and what could not be looked at. If something cannot be reached, it says so and exits with 1. Run it
    /// again later: it continues the same receipt.
    Erase {
        /// The user
        #[arg(long, value_name = "ID")]
        user: String,
        /// Destroy this old key alone; refused while a row is under it. Writes no receipt file
        #[arg(long, value_name = "UID")]
        key: Option<String>,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
        /// The folder for the receipt
        #[arg(long, value_name = "FOLDER", default_value = ".")]
        receipt: PathBuf,
    },
    /// Hide all keys of a user, until `enable` brings them back
    Disable {
        /// The user
        #[arg(long, value_name = "ID")]
        user: String,
    },
    /// Bring back the keys that `disable` has hidden
    Enable {
        /// The user
        #[arg(long, value_name = "ID")]
        user: String,
    },
    /// Turn columns of plaintext into tokens, in place
    ///
    /// A row whose key column is NULL is plaintext. All of its columns that journal-crypt.toml names are sealed under the
    /// user's current key. It may be killed at any moment and run again. At the end it writes the whole file anew, so that no
    /// plaintext is left in it or in its log. That needs as much free disk space as the file takes.
    Migrate {
        /// The column, as journal-crypt.toml names it
        #[arg(value_name = "TABLE.COLUMN")]
        column: String,
    },
    /// Find words in one user's journal, best matches first
    ///
    /// Everything is decrypted and indexed in this process's memory and nowhere else. The beginning of a
    /// word is enough. Upper and lower case and accents do not matter.
    Search {
        /// The user
        #[arg(long, value_name = "ID")]
        user: String,
        /// How many places to show at most
        #[arg(long, value_name = "N", default_value_t = 20)]
        most: u16,
        /// Words that must all stand in the text, in any order
        #[arg(required = true)]
        words: Vec<String>,
    },
    /// Print the script with which a shell completes these commands
    Completions { shell: Shell },
    /// Write the pages of the manual, which `man` shows
    #[command(hide = true)]
    Man { folder: PathBuf },
}

/// Seconds of `30d`, `12h`, `10m`, `5s` or `0`.
fn age(typed: &str) -> Result<f64, String> {
    let (number, unit) = match typed.find(|c: char| !c.is_ascii_digit()) {
        Some(end) => typed.split_at(end),
        None => (typed, "d"),
    };
    let seconds = match unit {
        "d" => 86_400.0,
        "h" => 3_600.0,
        "m" => 60.0,
        "s" => 1.0,
        _ => return Err("an age is a number and d, h, m or s".to_owned()),
    };
    let number: u32 = number
        .parse()
        .map_err(|_| "an age is a number and d, h, m or s".to_owned())?;
    Ok(f64::from(number) * seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_a_number_of_days_unless_it_says_otherwise() {
        assert_eq!(age("30d"), Ok(2_592_000.0));
        assert_eq!(age("2"), Ok(172_800.0));
        assert_eq!(
            (age("3h"), age("4m"), age("5s"), age("0")),
            (Ok(10_800.0), Ok(240.0), Ok(5.0), Ok(0.0))
        );
        for wrong in ["", "d", "1w", "-1d", "1.5d"] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
