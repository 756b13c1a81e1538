//! `journal-crypt`: one command for each job in the life of a journal's keys, on a database file and on a cluster of rqlite.
//!
//! It is a host of the extension like any other and uses its SQL interface alone. A command reads rows where they are
//! (`journal`, which is a `file` or a `cluster`), does the cryptography over a database in its own memory (`sealer`), and
//! writes tokens and rows back. Which columns hold tokens is the `layout`.

mod arguments;
mod cluster;
mod command;
mod extension;
mod failure;
mod file;
mod journal;
mod keys;
mod layout;
mod progress;
mod report;
mod rows;
mod sealer;
mod work;

use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, Parser};

use crate::arguments::{Arguments, Command, Options};
use crate::command::pause::Pause;
use crate::failure::{Failure, Result};
use crate::journal::Place;
use crate::report::Report;
use crate::work::Setting;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Command::Completions { shell } = arguments.command {
        clap_complete::generate(
            shell,
            &mut Arguments::command(),
            "journal-crypt",
            &mut std::io::stdout(),
        );
        return ExitCode::SUCCESS;
    }
    if let Command::Man { folder } = &arguments.command {
        return match clap_mangen::generate_to(Arguments::command(), folder) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("journal-crypt: {}: {error}", folder.display());
                ExitCode::from(1)
            }
        };
    }
    let json = arguments.options.json;
    match run(arguments) {
        Ok(report) => match report.print(json) {
            Ok(()) => ExitCode::from(u8::from(report.findings)),
            // Nobody reads on, as under `head`.
            Err(_) => ExitCode::from(1),
        },
        Err(failure) => {
            eprintln!("journal-crypt: {failure}");
            ExitCode::from(failure.status())
        }
    }
}

fn run(arguments: Arguments) -> Result<Report> {
    let Arguments { options, command } = arguments;
    progress::heed_interrupts()
        .map_err(|error| Failure::Refused(format!("Ctrl-C cannot be caught: {error}")))?;
    let place = match &command {
        Command::Drill { backup } => Place::Backup(backup.clone(), options.keys.clone()),
        _ => place(&options)?,
    };
    let setting = setting(options, place)?;
    match command {
        Command::Status { older_than } => command::status::run(&setting, older_than),
        Command::Doctor => command::doctor::run(&setting),
        Command::Rotate { older_than, users } => {
            command::rotate::run(&setting, older_than, &ids(&users))
        }
        Command::Rewrap { users } => {
            let users = ids(&users);
            command::rewrap::known(&setting, &users)?;
            command::rewrap::run(&setting, &users)
        }
        Command::Audit { users } => command::audit::run(&setting, &ids(&users)),
        Command::Erase {
            user,
            key: Some(uid),
            yes,
            ..
        } => command::erase::old_key(&setting, &journal::user(&user), &uid, yes),
        Command::Erase {
            user, yes, receipt, ..
        } => command::erase::run(&setting, &journal::user(&user), yes, &receipt),
        Command::Disable { user } => {
            command::pause::run(&setting, &journal::user(&user), Pause::Disable)
        }
        Command::Enable { user } => {
            command::pause::run(&setting, &journal::user(&user), Pause::Enable)
        }
        Command::Migrate { column } => command::migrate::run(&setting, &column),
        Command::Search { user, most, words } => {
            command::search::run(&setting, &journal::user(&user), &words, most)
        }
        Command::Drill { .. } => command::drill::run(&setting),
        Command::Completions { .. } | Command::Man { .. } => {
            Err(Failure::Usage("this needs no database".to_owned()))
        }
    }
}

fn place(options: &Options) -> Result<Place> {
    Ok(match (&options.db, options.rqlite.as_slice()) {
        (Some(path), _) => Place::File(path.clone(), options.keys.clone(), Arc::default()),
        (None, []) => {
            return Err(Failure::Usage(
                "name a database with --db FILE or --rqlite URL".to_owned(),
            ));
        }
        (None, nodes) => Place::Cluster(Arc::new(cluster::Cluster::new(nodes)?)),
    })
}

fn setting(options: Options, place: Place) -> Result<Setting> {
    let processors = std::thread::available_parallelism().map_or(2, usize::from);
    Ok(Setting {
        place,
        extension: extension::find(options.extension)?,
        layout: layout::Layout::read(options.columns.as_deref())?,
        threads: options.jobs.map_or(processors * 2, usize::from),
        dry_run: options.dry_run,
    })
}

/// Users' ids as they were typed.
fn ids(typed: &[String]) -> Vec<rusqlite::types::Value> {
    typed.iter().map(|user| journal::user(user)).collect()
}
