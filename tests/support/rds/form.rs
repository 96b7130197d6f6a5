//! The parameters of a call: `Tags.Tag.1.Key=…`.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};

use super::error::{Answered, ApiError};
use super::state::Tags;

/// Remembers what was read: a parameter that nobody looked at is one this double does not know, and a call
/// that has one is answered as an error rather than as if it had been done.
#[derive(Debug)]
pub(super) struct Form {
    values: BTreeMap<String, String>,
    read: Mutex<BTreeSet<String>>,
}

impl Form {
    pub(super) fn parse(body: &[u8]) -> Self {
        let values = url::form_urlencoded::parse(body).into_owned().collect();
        let form = Self { values, read: Mutex::default() };
        for common in ["Action", "Version"] {
            form.get(common);
        }
        form
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        self.values.get(name).map(String::as_str)
    }

    pub(super) fn owned(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    pub(super) fn required(&self, name: &str) -> Answered<&str> {
        let missing = || ApiError::new("MissingParameter", format!("The parameter {name} is required"));
        self.get(name).filter(|value| !value.is_empty()).ok_or_else(missing)
    }

    /// An identifier, which RDS keeps in lower case.
    pub(super) fn identifier(&self, name: &str) -> Answered<String> {
        Ok(self.required(name)?.to_lowercase())
    }

    pub(super) fn flag(&self, name: &str) -> Answered<Option<bool>> {
        self.parsed(name)
    }

    pub(super) fn is_set(&self, name: &str) -> Answered<bool> {
        Ok(self.flag(name)?.unwrap_or(false))
    }

    pub(super) fn parsed<T: FromStr>(&self, name: &str) -> Answered<Option<T>> {
        let wrong = |text: &str| ApiError::new("InvalidParameterValue", format!("{name} cannot be {text}"));
        self.get(name).map(|text| text.parse().map_err(|_| wrong(text))).transpose()
    }

    pub(super) fn time(&self, name: &str) -> Answered<Option<DateTime<Utc>>> {
        let time: Option<DateTime<chrono::FixedOffset>> = self.parsed(name)?;
        Ok(time.map(|time| time.with_timezone(&Utc)))
    }

    /// `name.member.1`, `name.member.2`, …; none where the parameter was not sent.
    pub(super) fn list(&self, name: &str, member: &str) -> Option<Vec<String>> {
        let mut list = Vec::new();
        while let Some(value) = self.get(&format!("{name}.{member}.{}", list.len() + 1)) {
            list.push(value.to_owned());
        }
        let is_sent = !list.is_empty() || self.get(name).is_some();
        is_sent.then_some(list)
    }

    pub(super) fn tags(&self) -> Option<Tags> {
        let mut tags = Tags::new();
        let mut number = 1;
        while let Some(key) = self.get(&format!("Tags.Tag.{number}.Key")) {
            let value = self.get(&format!("Tags.Tag.{number}.Value")).unwrap_or_default();
            tags.insert(key.to_owned(), value.to_owned());
            number += 1;
        }
        let is_sent = !tags.is_empty() || self.get("Tags").is_some();
        is_sent.then_some(tags)
    }

    /// The values of each filter, by its name.
    pub(super) fn filters(&self) -> BTreeMap<String, Vec<String>> {
        let mut filters = BTreeMap::new();
        let mut number = 1;
        while let Some(name) = self.get(&format!("Filters.Filter.{number}.Name")) {
            let values = self.list(&format!("Filters.Filter.{number}.Values"), "Value");
            filters.insert(name.to_owned(), values.unwrap_or_default());
            number += 1;
        }
        filters
    }

    /// What nobody has looked at.
    pub(super) fn unread(&self) -> Vec<&str> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        self.values.keys().filter(|name| !read.contains(*name)).map(String::as_str).collect()
    }

    /// What was sent, for the record of calls; passwords are left out.
    pub(super) fn record(&self) -> BTreeMap<String, String> {
        let is_open =
            |name: &&String| !name.contains("Password") && !["Action", "Version"].contains(&name.as_str());
        self.values
            .iter()
            .filter(|(name, _)| is_open(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    /// Cuts a page out of what is listed, and gives the marker of the next one.
    pub(super) fn page<T>(
        &self,
        all: Vec<T>,
        id: impl Fn(&T) -> String,
    ) -> Answered<(Vec<T>, Option<String>)> {
        let limit: usize = self.parsed("MaxRecords")?.unwrap_or(100);
        if !(20..=100).contains(&limit) {
            return Err(ApiError::new("InvalidParameterValue", "MaxRecords must be between 20 and 100"));
        }
        let after = self.owned("Marker").unwrap_or_default();
        let mut page: Vec<T> = all.into_iter().filter(|one| after.is_empty() || id(one) > after).collect();
        let is_more = page.len() > limit;
        page.truncate(limit);
        let marker = page.last().filter(|_| is_more).map(id);
        Ok((page, marker))
    }
}

/// RDS's rule for an identifier: letters, digits and single hyphens, a letter first.
pub(super) fn check_identifier(name: &str, id: &str, longest: usize) -> Answered<()> {
    let is_good = id.len() <= longest
        && id.starts_with(|first: char| first.is_ascii_alphabetic())
        && id.chars().all(|one| one.is_ascii_alphanumeric() || one == '-')
        && !id.contains("--")
        && !id.ends_with('-');
    if is_good {
        return Ok(());
    }
    Err(ApiError::new(
        "InvalidParameterValue",
        format!(
            "The parameter {name} is not a valid identifier. Identifiers must begin with a letter; must contain only \
             ASCII letters, digits, and hyphens; and must not end with a hyphen or contain two consecutive hyphens."
        ),
    ))
}
