//! Replays which keys sign checkpoints.

use super::given::AddedKeys;
use super::{EntryContext, Fault, Model};
use crate::domain::note::{KeyUse, Note, NoteKey, TreeHead};
use crate::domain::role::Role;

impl Model {
    /// The keys that have ever signed checkpoints. A checkpoint that was kept may be older than the current key.
    pub fn checkpoint_keys(&self) -> &[NoteKey] {
        &self.keys.all
    }

    /// An admin or nobody (`expire`) adds the first key of a host. The owner replaces a key.
    pub(super) fn add_key(
        &mut self,
        context: EntryContext<'_>,
        key: NoteKey,
        replaces: Option<&NoteKey>,
    ) -> Result<(), Fault> {
        let checked = self.check_key(context, &key, replaces);
        self.keys.replaced.extend(replaces.cloned());
        self.keys.all.push(key);
        checked
    }

    /// It is of the entries before this one, and signed by a key of that moment. Whether it has their root is seen where they
    /// are read.
    pub(super) fn check_checkpoint(&self, context: EntryContext<'_>, note: &Note) -> Result<(), Fault> {
        let head = TreeHead::of(note).map_err(|why| format!("its checkpoint can't be read: {why}"))?;
        let AddedKeys { all, replaced } = &self.keys;
        let mut current = all.iter().filter(|key| !replaced.contains(key));
        if head.size != (context.seq - 1).unsigned_abs() {
            Err(format!("its checkpoint is of {} entries, and is not of those before it", head.size))
        } else if !current.any(|key| key.name == head.origin && key.has_signed(note) == Some(true)) {
            Err("its checkpoint is not signed by a key of this log".to_owned())
        } else if context.actor.is_some() {
            Err("a checkpoint is taken by a member, and not by `expire`".to_owned())
        } else {
            Ok(())
        }
    }

    fn check_key(&self, context: EntryContext<'_>, key: &NoteKey, replaces: Option<&NoteKey>) -> Result<(), Fault> {
        let AddedKeys { all, replaced } = &self.keys;
        let role = |name| self.team.as_ref()?.members.get(name).map(|member| member.role);
        let by_owner = context.actor.and_then(role) == Some(Role::Owner);
        let wrong = |why: &str| Err(format!("the key {} {why}", key.id()));
        if key.signs != KeyUse::Checkpoint {
            wrong("does not sign checkpoints")
        } else if all.first().is_some_and(|first| first.name != key.name) {
            wrong("names another log than the keys before it")
        } else if all.contains(key) {
            wrong("is added a second time")
        } else if replaces.is_some_and(|old| !all.contains(old) || replaced.contains(old)) {
            wrong("replaces one that did not sign")
        } else if replaces.is_some() && !by_owner {
            wrong("replaces another, and not by the owner")
        } else if !self.is_admin(context) {
            wrong("is added by somebody who is not an admin")
        } else {
            Ok(())
        }
    }
}
