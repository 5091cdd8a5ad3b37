//! A bare loop of the mail library: the same message COUNT times over one connection. `benches/deliver.py` compares
//! `access deliver` with it.
//!
//! usage: bare PORT COUNT FILE

use std::time::Duration;

use lettre::address::Envelope;
use lettre::transport::smtp::client::SmtpConnection;
use lettre::transport::smtp::extension::ClientId;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [port, count, file] = words.as_slice() else { return Err("usage: bare PORT COUNT FILE".into()) };
    let message = std::fs::read(file)?;
    let envelope = Envelope::new(Some("access@acme.example".parse()?), vec!["bob@acme.example".parse()?])?;
    let hello = ClientId::Domain("localhost".to_owned());
    let server = ("127.0.0.1", port.parse::<u16>()?);
    let mut connection = SmtpConnection::connect(server, Some(Duration::from_secs(10)), &hello, None, None)?;
    for _ in 0..count.parse::<u32>()? {
        connection.send(&envelope, &message)?;
    }
    connection.quit()?;
    Ok(())
}
