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
            false => {
                let width = columns();
                (self.text.lines()).try_for_each(|line| writeln!(out, "{}", fitted(line, width)))
            }
        }
    }
}

/// A line that is longer than the terminal is wide, broken at its words; what it goes on with stands further in. One that has
/// colours was broken when they were put in.
fn fitted(line: &str, width: usize) -> String {
    const FURTHER: usize = 2;
    if line.contains('\x1b') || line.chars().count() <= width {
        return line.to_owned();
    }
    let text = line.trim_start();
    let margin = " ".repeat(line.len() - text.len());
    let next = format!("\n{margin}{}", " ".repeat(FURTHER));
    let lines = broken(text, width.saturating_sub(margin.len() + FURTHER));
    format!("{margin}{}", lines.join(&next))
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

/// How many characters a line has: of a terminal as many as that is wide, elsewhere as many as there are.
pub(crate) fn columns() -> usize {
    terminal_size::terminal_size_of(std::io::stdout())
        .map_or(usize::MAX, |(width, _)| usize::from(width.0))
}

/// A text in lines of at most so many characters, broken behind a space or a comma where there is one.
pub(crate) fn broken(text: &str, width: usize) -> Vec<String> {
    const LEAST: usize = 20;
    let width = width.max(LEAST);
    let mut lines = Vec::new();
    let mut rest: Vec<char> = text.chars().collect();
    while rest.len() > width {
        let end = rest[..=width]
            .iter()
            .rposition(|c| *c == ' ')
            .filter(|place| *place > 0)
            .or_else(|| Some(rest[..width].iter().rposition(|c| *c == ',')? + 1))
            .unwrap_or(width);
        let left = rest.split_off(end);
        lines.push(rest.into_iter().collect());
        rest = left;
        if rest.first() == Some(&' ') {
            rest.remove(0);
        }
    }
    lines.push(rest.into_iter().collect());
    lines
}

/// `1 key`, `1,234 keys`.
pub(crate) fn counted(number: u64, one: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {one}{plural}", grouped(number))
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
    fn a_long_text_is_broken_behind_spaces_or_commas_and_loses_nothing_else() {
        let text = "one two three four five six seven";
        assert_eq!(broken(text, 20), ["one two three four", "five six seven"]);
        assert_eq!(broken(text, usize::MAX), [text]);
        let json = r#"{"admin":false,"cache_keys":200000,"longest_of_all_the_names_here":1}"#;
        let lines = broken(json, 20);
        assert_eq!(lines.concat(), json);
        assert!(lines.iter().all(|line| line.chars().count() <= 20));
        assert_eq!(lines[0], r#"{"admin":false,"#);
    }

    #[test]
    fn what_goes_on_on_another_line_stands_further_in() {
        let line = "  one two three four five six seven";
        assert_eq!(fitted(line, 24), "  one two three four\n    five six seven");
        for as_it_is in [line, "", "\x1b[32mok\x1b[0m  one two three four five six"] {
            assert_eq!(fitted(as_it_is, 35), as_it_is);
        }
    }

    #[test]
    fn one_is_no_plural() {
        assert_eq!(
            [0, 1, 1000].map(|n| counted(n, "key")),
            ["0 keys", "1 key", "1,000 keys"]
        );
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
    }
}
