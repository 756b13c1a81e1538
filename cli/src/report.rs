//! What a command gives: a text for a person or one JSON object for a program.

use std::io::{IsTerminal, Write};

use serde_json::Value as Json;

/// What was found or done.
pub(crate) struct Report {
    pub(crate) json: Json,
    pub(crate) text: String,
    /// Whether there is something that somebody should look at: exit status 1.
    pub(crate) findings: bool,
}

impl Report {
    /// On standard output; nothing else ever goes there.
    pub(crate) fn print(&self, json: bool) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        match json {
            true => writeln!(out, "{}", self.json),
            false => out.write_all(self.text.as_bytes()),
        }
    }
}

/// A colour on a terminal, where the person did not ask for none.
#[derive(Clone, Copy)]
pub(crate) enum Colour {
    Green,
    Yellow,
    Red,
}

/// The text in a colour.
pub(crate) fn coloured(text: &str, colour: Colour) -> String {
    if !std::io::stdout().is_terminal()
        || std::env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty())
    {
        return text.to_owned();
    }
    let code = match colour {
        Colour::Green => 32,
        Colour::Yellow => 33,
        Colour::Red => 31,
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
    }
}
