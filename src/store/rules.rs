//! Rules as they are stored. A team may have a thousand, of which a request meets a few: so a rule is read whole only
//! once its resources could be met, and the rest of it is passed over.

use std::cell::OnceCell;

use serde::Deserialize;

use super::{Error, Read, row};
use crate::domain::resource::Resource;
use crate::domain::rule::{Pattern, Rule};

/// A stored rule, and of it at first only which resources it is about.
pub struct Sheet {
    /// None: about whatever is asked for.
    patterns: Vec<Pattern>,
    body: String,
    rule: OnceCell<Rule>,
}

#[derive(Deserialize)]
struct Peek {
    #[serde(default, rename = "match")]
    matches: PeekMatch,
}

#[derive(Default, Deserialize)]
struct PeekMatch {
    #[serde(default)]
    resources: Vec<Pattern>,
}

impl Sheet {
    /// Whether the rule could be about any of these, as far as its resources go.
    pub fn may_be_about(&self, reached: &[Resource]) -> bool {
        let is_about = |resource: &Resource| self.patterns.iter().any(|pattern| pattern.matches(resource));
        self.patterns.is_empty() || reached.iter().any(is_about)
    }

    pub fn rule(&self) -> Result<&Rule, Error> {
        match self.rule.get() {
            Some(rule) => Ok(rule),
            None => {
                let rule = serde_json::from_str(&self.body).map_err(Error::damaged)?;
                Ok(self.rule.get_or_init(|| rule))
            }
        }
    }
}

impl Read<'_> {
    /// The rules, in the order of the team file.
    pub fn rule_sheets(&self) -> Result<Vec<Sheet>, Error> {
        let sql = "SELECT name, body FROM catalogue WHERE kind = 'rule' ORDER BY name";
        let sheets: Vec<(String, Sheet)> = self.rows(sql, [], |row| {
            let body = row.get_ref(1)?.as_str().map_err(Error::damaged)?;
            let Peek { matches } = serde_json::from_str(body).map_err(Error::damaged)?;
            Ok((row.get(0)?, Sheet { patterns: matches.resources, body: body.to_owned(), rule: OnceCell::new() }))
        })?;
        if sheets.len() < 2 {
            return Ok(sheets.into_iter().map(|(_, sheet)| sheet).collect());
        }
        let order = self.one("SELECT body FROM catalogue WHERE kind = 'rules'", [], |row| row::json(row, 0))?;
        let Order { names } = order.ok_or_else(|| Error::damaged("the rules have no order"))?;
        let mut sheets: Vec<(String, Option<Sheet>)> =
            sheets.into_iter().map(|(name, sheet)| (name, Some(sheet))).collect();
        let mut ordered = Vec::with_capacity(sheets.len());
        for name in &names {
            let at = sheets.binary_search_by(|(other, _)| other.cmp(name));
            ordered.extend(at.ok().and_then(|at| sheets[at].1.take()));
        }
        if ordered.len() != sheets.len() {
            return Err(Error::damaged("the order of the rules is not of these rules"));
        }
        Ok(ordered)
    }

    pub fn rules(&self) -> Result<Vec<Rule>, Error> {
        self.rule_sheets()?.iter().map(|sheet| sheet.rule().cloned()).collect()
    }
}

/// As `RuleOrder`, with the names as they are.
#[derive(Deserialize)]
struct Order {
    names: Vec<String>,
}
