//! A real terminal of 80 by 24, in which somebody types: tmux, without a window.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::World;

/// Longer than anything takes, even when the machine is busy.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Terminal {
    socket: PathBuf,
}

impl Terminal {
    /// Runs a program there, with the environment of the command that is given.
    pub fn of(world: &World, command: &Command) -> Terminal {
        Terminal::sized(world, command, 80, 24)
    }

    /// The same, with so many columns and rows.
    pub fn sized(world: &World, command: &Command, columns: u16, rows: u16) -> Terminal {
        let unique =
            (0..).map(|index| world.folder().join(format!("tmux-{index}"))).find(|path| !path.exists()).unwrap();
        let config = world.folder().join("tmux.conf");
        std::fs::write(&config, "set -g status off\nset -s escape-time 0\nset -g default-terminal screen-256color\n")
            .unwrap();
        let terminal = Terminal { socket: unique };
        let given = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
        let mut tmux = terminal.tmux();
        tmux.env_clear()
            .envs(given)
            .envs([("LC_ALL", "C.UTF-8"), ("SHELL", "/bin/sh")])
            .arg("-f")
            .arg(config)
            .args(["new-session", "-d", "-x", &columns.to_string(), "-y", &rows.to_string()])
            .args(["sh", "-c", r#"trap : INT; "$0" "$@"; printf '[exit %d]\n' $?; exec sleep 600"#])
            .arg(command.get_program())
            .args(command.get_args())
            .current_dir(world.folder());
        let started = tmux.stdin(Stdio::null()).output().expect("tmux is installed (tests/run.sh)");
        assert!(started.status.success(), "{started:?}");
        terminal
    }

    /// Runs `access` there.
    pub fn access(world: &World, login: &str, args: &[&str]) -> Terminal {
        Terminal::of(world, &world.command(login, args))
    }

    fn tmux(&self) -> Command {
        let mut tmux = Command::new("tmux");
        tmux.arg("-u").arg("-S").arg(&self.socket);
        tmux
    }

    fn tell<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> String {
        let ran = self.tmux().args(args).output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
        String::from_utf8(ran.stdout).unwrap()
    }

    /// Types text, to a program that reads key by key.
    pub fn text(&self, text: &str) -> &Terminal {
        self.wait_for_a_reader();
        self.tell(["send-keys", "-l", "--", text]);
        self
    }

    /// Presses a key, by tmux's name for it: `Enter`, `Down`, `Escape`, `C-c`, `Tab`.
    pub fn key(&self, key: &str) -> &Terminal {
        self.wait_for_a_reader();
        self.tell(["send-keys", key]);
        self
    }

    /// Types before anybody reads it.
    pub fn ahead(&self, text: &str) -> &Terminal {
        self.tell(["send-keys", "-l", "--", text]);
        self
    }

    /// Pastes text, as a terminal does that marks what is pasted where a program asks for that.
    pub fn paste(&self, text: &str) -> &Terminal {
        self.wait_for_a_reader();
        self.tell(["set-buffer", "--", text]);
        self.tell(["paste-buffer", "-p", "-r"]);
        self
    }

    /// Whether the terminal takes lines and shows what is typed, as a shell expects it.
    pub fn takes_lines(&self) -> bool {
        let tty = self.tell(["display-message", "-p", "#{pane_tty}"]);
        let ran = Command::new("stty").args(["-a", "-F", tty.trim()]).output().unwrap();
        let settings = String::from_utf8_lossy(&ran.stdout).into_owned();
        ["icanon", "echo", "isig"].iter().all(|set| settings.split_whitespace().any(|word| word == *set))
    }

    /// The column of the cursor, from 0.
    pub fn column(&self) -> usize {
        self.tell(["display-message", "-p", "#{cursor_x}"]).trim().parse().unwrap()
    }

    /// Ctrl-C, to a program that reads nothing.
    pub fn interrupt(&self) {
        self.tell(["send-keys", "C-c"]);
    }

    /// The question is on the screen a moment before the terminal hands over each key as it is pressed.
    fn wait_for_a_reader(&self) {
        let tty = self.tell(["display-message", "-p", "#{pane_tty}"]);
        let begun = Instant::now();
        loop {
            let ran = Command::new("stty").args(["-a", "-F", tty.trim()]).output().unwrap();
            if String::from_utf8_lossy(&ran.stdout).contains("-icanon") {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "nobody reads keys: {ran:?}\n{}", self.screen());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What can be read on it, also what has scrolled away; no spaces at the ends of lines.
    pub fn screen(&self) -> String {
        self.tell(["capture-pane", "-p", "-J", "-S", "-"])
            .lines()
            .map(str::trim_end)
            .collect::<Vec<_>>()
            .join("\n")
            .trim_end()
            .to_owned()
    }

    /// The lines as they are drawn: what is longer than the terminal is wide is broken.
    pub fn drawn(&self) -> Vec<String> {
        self.tell(["capture-pane", "-p", "-S", "-"]).lines().map(|line| line.trim_end().to_owned()).collect()
    }

    pub fn cursor_is_shown(&self) -> bool {
        self.tell(["display-message", "-p", "#{cursor_flag}"]).trim() == "1"
    }

    /// Waits until these words are there. Gives the screen.
    #[track_caller]
    pub fn shows(&self, words: &str) -> String {
        self.shows_when(words, |screen| screen.contains(words))
    }

    #[track_caller]
    pub fn shows_when(&self, what: &str, there: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        loop {
            let screen = self.screen();
            if there(&screen) {
                return screen;
            }
            assert!(begun.elapsed() < PATIENCE, "never shown: {what}\n{screen}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the program has ended with this code. Gives the screen.
    #[track_caller]
    pub fn exits(&self, code: i32) -> String {
        let screen = self.shows("[exit ");
        assert!(screen.contains(&format!("[exit {code}]")), "{screen}");
        screen
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.tmux().arg("kill-server").output();
    }
}
