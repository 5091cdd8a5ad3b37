//! A mail server that fails as the simulation says, and what it took.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// How the server treats mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Well,
    /// It ends each connection.
    Down,
    /// It takes nothing for this person for now.
    Defers(&'static str),
    /// It never takes anything for this person.
    Refuses(&'static str),
    /// It takes the mail, and ends the connection before it says so.
    Forgets,
}

#[derive(Default)]
pub struct Taken {
    /// How often each notification came by itself.
    pub alone: BTreeMap<i64, u32>,
    /// Who got a digest.
    pub digests: BTreeSet<String>,
    pub messages: u64,
}

pub struct MailServer {
    pub port: u16,
    mood: Mutex<Mood>,
    pub taken: Mutex<Taken>,
}

impl MailServer {
    pub fn start() -> Arc<MailServer> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Arc::new(MailServer { port, mood: Mutex::new(Mood::Well), taken: Mutex::default() });
        let serves = Arc::clone(&server);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, serves) = (client.unwrap(), Arc::clone(&serves));
                std::thread::spawn(move || serves.talk(&client));
            }
        });
        server
    }

    pub fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    pub fn forget_all(&self) {
        *self.taken.lock().unwrap() = Taken::default();
    }

    fn talk(&self, client: &TcpStream) -> Option<()> {
        let mood = *self.mood.lock().unwrap();
        if mood == Mood::Down {
            return None;
        }
        let say = |text: &str| (&*client).write_all(format!("{text}\r\n").as_bytes()).ok();
        let mut lines = BufReader::new(client).lines().map_while(Result::ok);
        let mut to = String::new();
        say("220 mail.example")?;
        while let Some(line) = lines.next() {
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            let is_for = |who: &str| line.to_ascii_lowercase().contains(&format!("<{who}@"));
            match (verb.as_str(), mood) {
                ("RCPT", Mood::Defers(who)) if is_for(who) => say("450 4.2.1 later")?,
                ("RCPT", Mood::Refuses(who)) if is_for(who) => say("550 5.1.1 nobody here")?,
                ("RCPT", _) => {
                    to = line.split(['<', '@']).nth(1).unwrap_or_default().to_owned();
                    say("250 2.1.5 ok")?;
                }
                ("DATA", _) => {
                    say("354 go on")?;
                    let text: Vec<String> = lines.by_ref().take_while(|line| line != ".").collect();
                    self.take(&to, &text);
                    if mood == Mood::Forgets {
                        return None;
                    }
                    say("250 2.0.0 taken")?;
                }
                ("QUIT", _) => {
                    say("221 2.0.0 bye")?;
                    return None;
                }
                _ => say("250 2.0.0 ok")?,
            }
        }
        None
    }

    /// `Message-ID: <HASH.NUMBER@…>`, or `<HASH.digest@…>`.
    fn take(&self, to: &str, text: &[String]) {
        let mut taken = self.taken.lock().unwrap();
        taken.messages += 1;
        let id = text.iter().find_map(|line| line.strip_prefix("Message-ID: <")).expect("a message has an ID");
        let number = id.split(['.', '@']).nth(1).unwrap();
        match number.parse() {
            Ok(number) => *taken.alone.entry(number).or_default() += 1,
            Err(_) => drop(taken.digests.insert(to.to_owned())),
        }
    }
}
