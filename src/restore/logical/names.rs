//! Requested names that a backup does not have, and similar ones.

use crate::restore::Refusal;
use crate::text::quoted_list;

/// Refuses a name that the backup does not have, and lists similar ones.
pub(super) fn unknown(what: &str, name: &str, near: &[String]) -> Refusal {
    let near = if near.is_empty() { String::new() } else { format!("; near it: {}", quoted_list(near)) };
    Refusal::usage("unknown-name", format!("the backup has no {what} `{name}`{near}"))
}

/// Returns up to three names that are most similar, by edit distance.
pub(super) fn near(name: &str, all: &[String]) -> Vec<String> {
    let plain = |text: &str| text.rsplit('.').next().unwrap_or(text).to_lowercase();
    let limit = (plain(name).chars().count() / 2).max(2);
    let distance = |other: &String| strsim::osa_distance(&plain(name), &plain(other));
    let mut found: Vec<(usize, &String)> =
        all.iter().map(|other| (distance(other), other)).filter(|(distance, _)| *distance <= limit).collect();
    found.sort();
    found.into_iter().take(3).map(|(_, name)| name.clone()).collect()
}
