//! Splits a command line into words as a shell does, and expands nothing.

use crate::domain::Malformed;

/// What a shell would take for an operator. Nobody means it as part of a word.
const OPERATORS: &str = ";&|<>()`\n";

/// The words of a line, with the quotes and backslashes of a shell.
pub fn words(line: &str) -> Result<Vec<String>, Malformed> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.trim_matches('\n').chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or_else(|| open_quote('\''))? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or_else(|| open_quote('"'))? {
                        '"' => break,
                        '\\' => match chars.next().ok_or_else(|| open_quote('"'))? {
                            '\n' => {}
                            c @ ('"' | '\\' | '$' | '`') => word.push(c),
                            c => word.extend(['\\', c]),
                        },
                        c => word.push(c),
                    }
                }
            }
            '\\' => match chars.next() {
                None => return Err(Malformed::new("the command ends with a backslash")),
                Some('\n') => {}
                Some(c) => word.get_or_insert_default().push(c),
            },
            c if OPERATORS.contains(c) => {
                let shown = if c == '\n' { "a line break".to_owned() } else { format!("'{c}'") };
                return Err(Malformed::new(format!("no shell runs the command, and {shown} is not in quotes")));
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

fn open_quote(quote: char) -> Malformed {
    Malformed::new(format!("the command has a {quote} that nothing closes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_a_shell() {
        for line in [
            "",
            "   ",
            "request target:a --reason needs",
            "a  'b  c'\t\"d  e\" f\\ g",
            "''",
            "a''b \"\" 'c'\"d\"e",
            r#""a\"b\\c\$d\`e\f" 'a\b' \\ \' \" \a"#,
            "'a\nb' \"c\nd\" e\\\nf \"g\\\nh\"",
            "--reason='it''s' --reason=\"two words\"",
            "é 'ü ß' \u{202e}",
            "a=b {x} [y] !",
            "  leading and trailing  ",
            "a\\  ",
        ] {
            let of_a_shell = std::process::Command::new("/bin/sh")
                .args(["-c", &format!("set -f; printf '%s\\0' {line}"), "sh"])
                .output()
                .unwrap();
            let expected = String::from_utf8(of_a_shell.stdout).unwrap();
            let expected: Vec<&str> = expected.split_terminator('\0').collect();
            // printf prints its format once even if no word follows.
            let expected = if line.trim().is_empty() { Vec::new() } else { expected };
            assert_eq!(words(line).unwrap(), expected, "{line:?}");
        }
    }

    #[test]
    fn nothing_is_expanded_and_operators_are_refused() {
        let plain = "$HOME ${PATH} ~ ~root * ? [a-z] #x \"$(id)\" \"`id`\" '$(id)' a#b";
        let expected = "$HOME ${PATH} ~ ~root * ? [a-z] #x $(id) `id` $(id) a#b";
        assert_eq!(words(plain).unwrap().join(" "), expected);
        for line in
            ["a;b", "a & b", "a|b", "a > f", "a <f", "$(id)", "`id`", "a\nb", "(a)", "a\\", "'a", "\"a", "\"a\\"]
        {
            assert!(words(line).is_err(), "{line:?}");
        }
        assert_eq!(words(r"a\;b '>' \>").unwrap(), ["a;b", ">", ">"]);
    }
}
