//! The commands of a profile, as root's configuration writes them and as sudo reads them.

use std::fmt;
use std::str::FromStr;

use crate::domain::Malformed;
use crate::domain::name::Name;

/// `web=/usr/bin/systemctl restart nginx`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileCommand {
    pub profile: Name,
    pub command: SudoCommand,
}

impl FromStr for ProfileCommand {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<ProfileCommand, Malformed> {
        let (profile, command) =
            text.split_once('=').ok_or_else(|| Malformed::new("a profile is written NAME=COMMAND"))?;
        Ok(ProfileCommand { profile: profile.parse()?, command: command.parse()? })
    }
}

/// A command with exactly these arguments, or with these and any others.
///
/// What sudo gives a meaning of its own (patterns, regular expressions, lists, quotes) is refused, so a command means what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SudoCommand {
    path: String,
    arguments: Vec<String>,
    /// Whether more arguments may follow.
    open: bool,
}

impl FromStr for SudoCommand {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<SudoCommand, Malformed> {
        let mut words: Vec<&str> = text.split_whitespace().collect();
        let open = words.len() > 1 && words.last() == Some(&"*");
        if open {
            words.pop();
        }
        if let Some(c) = words.iter().flat_map(|word| word.chars()).find(|c| !is_plain(*c)) {
            let why = format!("a command of sudo can't have the character {c:?}; put such a command into a script");
            return Err(Malformed::new(why));
        }
        let Some((path, arguments)) = words.split_first() else { return Err(Malformed::new("the command is missing")) };
        let mut parts = path.split('/').skip(1);
        if !path.starts_with('/') || path.ends_with('/') || parts.any(|part| ["", ".", ".."].contains(&part)) {
            return Err(Malformed::new(format!("{path} is not the absolute path of a program")));
        }
        let arguments = arguments.iter().map(|&word| word.to_owned()).collect();
        Ok(SudoCommand { path: (*path).to_owned(), arguments, open })
    }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "/._+@%-~:,=".contains(c)
}

/// As sudoers has it. A path alone would allow any arguments there, and `""` allows none.
impl fmt::Display for SudoCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let escaped = |word: &str| word.replace(':', "\\:").replace(',', "\\,").replace('=', "\\=");
        f.write_str(&escaped(&self.path))?;
        for word in &self.arguments {
            write!(f, " {}", escaped(word))?;
        }
        match (self.open, self.arguments.is_empty()) {
            (false, true) => f.write_str(" \"\""),
            (true, false) => f.write_str(" *"),
            (true, true) | (false, false) => Ok(()),
        }
    }
}

/// The user as whom a command runs: a plain name, which can't be a pattern, an alias or a group of sudoers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunAs(String);

impl FromStr for RunAs {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<RunAs, Malformed> {
        let begins = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
        if begins && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c)) {
            Ok(RunAs(text.to_owned()))
        } else {
            Err(Malformed::new("a user to run as has lower-case letters, digits, '_' and '-'"))
        }
    }
}

impl fmt::Display for RunAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_allows_exactly_its_arguments() {
        for (given, sudoers) in [
            ("/usr/bin/systemctl restart nginx", "/usr/bin/systemctl restart nginx"),
            ("  /bin/a   b ", "/bin/a b"),
            ("/usr/bin/id", "/usr/bin/id \"\""),
            ("/usr/bin/psql *", "/usr/bin/psql"),
            ("/usr/bin/psql -d orders *", "/usr/bin/psql -d orders *"),
            ("/bin/a b:c d=e f,g h@i", "/bin/a b\\:c d\\=e f\\,g h@i"),
        ] {
            assert_eq!(given.parse::<SudoCommand>().unwrap().to_string(), sudoers);
        }
    }

    #[test]
    fn what_sudo_would_read_differently_is_refused() {
        for command in [
            "",
            " ",
            "*",
            "ALL",
            "id",
            "./id",
            "~/id",
            "/",
            "/usr/bin/",
            "/usr/../bin/id",
            "//id",
            "!/bin/id",
            "/bin/*",
            "/bin/[a]",
            "/bin/a *x",
            "/bin/a * b",
            "/bin/a ? b",
            "/bin/a ^x$",
            "/bin/a \"b c\"",
            "/bin/a 'b'",
            "/bin/a \\*",
            "/bin/a $HOME",
            "/bin/a #b",
            "/bin/a (b)",
            "/bin/a !b",
            "/bin/a b;c",
            "/bin/a é",
            "/bin/a b\u{0}",
        ] {
            assert!(command.parse::<SudoCommand>().is_err(), "{command:?}");
        }
        // A line break is a blank like any other.
        assert_eq!("/bin/a b\n%x ALL=ALL".parse::<SudoCommand>().unwrap().to_string(), "/bin/a b %x ALL\\=ALL");
        for profile in ["", "web", "=", "web=", "Web=/bin/a", "a b=/bin/a", "../x=/bin/a", "web=id"] {
            assert!(profile.parse::<ProfileCommand>().is_err(), "{profile:?}");
        }
        for user in ["", "ALL", "%wheel", "#0", "+net", "root,bob", "a b", "!root", "-x", "ÄB", "root)"] {
            assert!(user.parse::<RunAs>().is_err(), "{user:?}");
        }
        assert!("www-data".parse::<RunAs>().is_ok());
    }
}
