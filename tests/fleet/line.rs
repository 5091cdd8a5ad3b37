//! A line between a host and the log's server that forwards messages, and can be cut, hang or be slow at each of them.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Host,
    Server,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Both ends see the connection end.
    Cut,
    /// Nothing passes any more.
    Hangs,
    /// Nothing passes any more, and the command is killed.
    Killed,
    /// Each byte takes its time, from the beginning.
    Drips(Duration),
}

/// After so many messages of this side.
pub type Plan = (Side, usize, Trouble);

/// One that forwards. The first connection after `plan` has its trouble; those after it have none.
pub struct Line {
    pub port: u16,
    pub plan: Mutex<Option<Plan>>,
    pub reached: AtomicBool,
    /// How many messages each side sent on the last connection without trouble.
    pub sent: [AtomicUsize; 2],
    held: Mutex<Vec<TcpStream>>,
    /// How many bytes a second pass from the server, on every connection. 0: any number.
    pub pace: AtomicUsize,
}

impl Line {
    pub fn to(server: u16) -> Arc<Line> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let line = Arc::new(Line {
            port: listener.local_addr().unwrap().port(),
            plan: Mutex::default(),
            reached: AtomicBool::new(false),
            sent: [AtomicUsize::new(0), AtomicUsize::new(0)],
            held: Mutex::default(),
            pace: AtomicUsize::new(0),
        });
        let forwards = Arc::clone(&line);
        std::thread::spawn(move || {
            for host in listener.incoming() {
                let host = host.unwrap();
                let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
                let plan = forwards.plan.lock().unwrap().take();
                for (side, from, to) in [(Side::Host, &host, &server), (Side::Server, &server, &host)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let line = Arc::clone(&forwards);
                    std::thread::spawn(move || line.forward(side, &from, &to, plan));
                }
            }
        });
        line
    }

    fn forward(&self, side: Side, from: &TcpStream, to: &TcpStream, plan: Option<Plan>) -> Option<()> {
        let mut count = 0;
        loop {
            let message = message(from, side == Side::Host && count == 0);
            let Some(message) = message else {
                let _ = from.shutdown(Shutdown::Both);
                let _ = to.shutdown(Shutdown::Both);
                return None;
            };
            match plan {
                Some((its, after, trouble)) if its == side && after == count => {
                    if trouble == Trouble::Cut {
                        self.reached.store(true, Ordering::SeqCst);
                        let _ = from.shutdown(Shutdown::Both);
                        let _ = to.shutdown(Shutdown::Both);
                    }
                    self.held.lock().unwrap().extend([from.try_clone().ok()?, to.try_clone().ok()?]);
                    self.reached.store(true, Ordering::SeqCst);
                    return None;
                }
                Some((_, _, Trouble::Drips(each))) => {
                    for byte in message {
                        (&*to).write_all(&[byte]).ok()?;
                        std::thread::sleep(each);
                    }
                }
                _ => {
                    let pace = self.pace.load(Ordering::SeqCst);
                    if side == Side::Server && pace > 0 {
                        std::thread::sleep(Duration::from_micros((message.len() * 1_000_000 / pace) as u64));
                    }
                    (&*to).write_all(&message).ok()?;
                }
            }
            count += 1;
            if plan.is_none() {
                self.sent[side as usize].store(count, Ordering::SeqCst);
            }
        }
    }

    pub fn plan(&self, plan: Plan) {
        self.reached.store(false, Ordering::SeqCst);
        *self.plan.lock().unwrap() = Some(plan);
    }

    /// Ends what hangs.
    pub fn clear(&self) {
        self.plan.lock().unwrap().take();
        for stream in self.held.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// The next message. The first of a host has no kind before its length.
fn message(mut from: &TcpStream, first: bool) -> Option<Vec<u8>> {
    let mut message = vec![0; if first { 4 } else { 5 }];
    from.read_exact(&mut message).ok()?;
    let length = u32::from_be_bytes(message[message.len() - 4..].try_into().ok()?) as usize;
    let start = message.len();
    message.resize(start + length - 4, 0);
    from.read_exact(&mut message[start..]).ok()?;
    Some(message)
}
