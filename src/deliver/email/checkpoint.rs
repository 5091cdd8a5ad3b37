//! A checkpoint as an email: the signed note is an attachment, byte by byte, so that the mailbox is a witness.

use lettre::message::header::{ContentTransferEncoding, ContentType};
use lettre::message::{Attachment, Body, MultiPart, SinglePart};

use crate::domain::message::CheckpointMail;

pub(super) fn subject(mail: &CheckpointMail) -> String {
    format!("[{}] Checkpoint of {} entries", mail.team, mail.size)
}

pub(super) fn parts(mail: &CheckpointMail) -> Result<MultiPart, String> {
    let CheckpointMail { team, size, at, note } = mail;
    let file = format!("checkpoint-{team}-{size}.txt");
    let text = format!(
        "The audit log of the team {team} had {size} entries at {at}. The attachment {file} is its signed checkpoint:\n\n\
         {note}\nKeep this mail. If the log is ever changed or shortened before that entry, the checkpoint shows it:\n\n    \
         access audit verify --against {file}\n\n-- \nSent by access for the team {team}, as [checkpoints] of its \
         config.toml says.\n"
    );
    // Mail servers may change the line ends and the spaces of text, but not of this.
    let exact = Body::new_with_encoding(note.clone().into_bytes(), ContentTransferEncoding::Base64);
    let exact = exact.map_err(|_| "the note can't be encoded".to_owned())?;
    let attached = Attachment::new(file).body(exact, ContentType::TEXT_PLAIN);
    Ok(MultiPart::mixed().singlepart(SinglePart::plain(text)).singlepart(attached))
}
