//! Rules, in the catalogue. A team can have a thousand, of which a request matches a few. So the catalogue also has keys by which
//! a rule is found: each of its resource patterns up to the first `*`, or an empty text if it names no resources.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::params;

use super::read::agree;
use super::{Error, Read, Write, row};
use crate::domain::name::RuleName;
use crate::domain::policy::rule::Rule;
use crate::domain::resource::Resource;
use crate::domain::team::change::{Change, Diff, RuleOrder};

/// For more resources than this it is faster to read all rules.
const MANY: usize = 20;

/// The keys by which a rule is found, such as `connection:prod- two for production`. No pattern has a space.
pub fn keys(rule: &Rule) -> BTreeSet<String> {
    let begins: Vec<String> = match rule.matches.resources.is_empty() {
        true => vec![String::new()],
        false => rule.matches.resources.iter().map(|pattern| pattern.beginning()).collect(),
    };
    begins.into_iter().map(|begins| format!("{begins} {}", rule.name)).collect()
}

impl Read<'_> {
    pub fn has_rules(&self) -> Result<bool, Error> {
        let found = self.one("SELECT 1 FROM catalogue WHERE kind = 'rule' LIMIT 1", [], |_| Ok(()))?;
        Ok(found.is_some())
    }

    /// All rules, in the order of the team file.
    pub fn rules(&self) -> Result<Vec<Rule>, Error> {
        let rules = self.rows("SELECT body FROM catalogue WHERE kind = 'rule'", [], |row| row::json(row, 0))?;
        self.in_order(rules)
    }

    /// The rules whose resource patterns may match any of these resources, in the order of the team file.
    pub fn rules_about(&self, resources: &[Resource]) -> Result<Vec<Rule>, Error> {
        if resources.len() > MANY {
            return self.rules();
        }
        let mut begins: BTreeSet<&str> = BTreeSet::from([""]);
        let texts: Vec<String> = resources.iter().map(ToString::to_string).collect();
        for text in &texts {
            // Every pattern begins with a kind and a colon.
            let least = text.find(':').map_or(text.len(), |colon| colon + 1);
            begins.extend((least..=text.len()).map(|end| &text[..end]));
        }
        // Rules by name, with the keys that found each.
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for begins in begins {
            let sql =
                "SELECT body, name FROM catalogue WHERE kind = 'about' AND name >= ?1 || ' ' AND name < ?1 || '!'";
            for (name, key) in self.rows(sql, [begins], |row| Ok((row.get(0)?, row.get(1)?)))? {
                found.entry(name).or_default().push(key);
            }
        }
        let mut rules = Vec::new();
        for (name, found_by) in &found {
            let sql = "SELECT body FROM catalogue WHERE kind = 'rule' AND name = ?1";
            let rule: Option<Rule> = self.one(sql, [name], |row| row::json(row, 0))?;
            let rule = rule.ok_or_else(|| Error::damaged(format!("the rule {name:?} is missing")))?;
            let keys = keys(&rule);
            agree(rule.name.as_str() == name && found_by.iter().all(|key| keys.contains(key)), "of rules")?;
            rules.push(rule);
        }
        self.in_order(rules)
    }

    fn in_order(&self, mut rules: Vec<Rule>) -> Result<Vec<Rule>, Error> {
        if rules.len() > 1 {
            let order = self.rule_order()?;
            let position: BTreeMap<&RuleName, usize> = order.names.iter().zip(0..).collect();
            rules.sort_by_cached_key(|rule| position.get(&rule.name).copied());
        }
        Ok(rules)
    }

    fn rule_order(&self) -> Result<RuleOrder, Error> {
        let order = self.one("SELECT body FROM catalogue WHERE kind = 'rules'", [], |row| row::json(row, 0))?;
        Ok(order.unwrap_or_default())
    }

    /// All keys, each with the rule that it finds.
    pub fn rule_keys(&self) -> Result<BTreeSet<(String, String)>, Error> {
        let sql = "SELECT name, body FROM catalogue WHERE kind = 'about'";
        Ok(self.rows(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?.into_iter().collect())
    }
}

impl Write<'_> {
    pub(super) fn put_rule(&self, name: &RuleName, diff: &Diff<Rule>) -> Result<(), Error> {
        if let Diff::Change { from, .. } | Diff::Remove { from } = diff {
            for key in keys(from) {
                let sql = "DELETE FROM catalogue WHERE kind = 'about' AND name = ?1";
                self.conn().prepare_cached(sql)?.execute([key])?;
            }
        }
        for key in diff.after().map(keys).unwrap_or_default() {
            let sql = "INSERT INTO catalogue VALUES ('about', ?1, ?2)";
            self.conn().prepare_cached(sql)?.execute(params![key, name.as_str()])?;
        }
        Ok(())
    }

    /// Updates the order of the rules after these changes, once for all of them. New rules come last.
    pub(super) fn reorder_rules(&self, changes: &[Change]) -> Result<(), Error> {
        let mut removed: BTreeSet<&RuleName> = BTreeSet::new();
        let mut added: Vec<RuleName> = Vec::new();
        let mut order: Option<RuleOrder> = None;
        for change in changes {
            match change {
                Change::Rule(name, diff) => match diff.as_ref() {
                    Diff::Add { .. } => added.push(name.clone()),
                    Diff::Remove { .. } => drop(removed.insert(name)),
                    Diff::Change { .. } => {}
                },
                Change::RuleOrder(diff) => order = diff.after().cloned(),
                Change::Team(_)
                | Change::Member(..)
                | Change::Group(..)
                | Change::Connection(..)
                | Change::Target(..)
                | Change::Feature(..)
                | Change::Scope(..)
                | Change::Host(..)
                | Change::Binding(_)
                | Change::Notifications(_) => {}
            }
        }
        if removed.is_empty() && added.is_empty() && order.is_none() {
            return Ok(());
        }
        let order = match order {
            Some(order) => order,
            None => {
                let mut order = self.rule_order()?;
                order.names.retain(|name| !removed.contains(name));
                order.names.extend(added);
                order
            }
        };
        let sql = "INSERT INTO catalogue VALUES ('rules', '', ?1) ON CONFLICT (kind, name) DO UPDATE SET body = ?1";
        self.conn().prepare_cached(sql)?.execute([super::project::to_json(&order)?])?;
        Ok(())
    }
}
