use super::quoted_list;

/// Returns the candidate most similar to `word`, if any is similar enough.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let limit = (word.chars().count() / 3).max(1);
    let word = word.to_lowercase().replace('-', "_");
    candidates
        .into_iter()
        .map(|candidate| {
            (strsim::osa_distance(&word, &candidate.to_lowercase().replace('-', "_")), candidate)
        })
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Returns `` did you mean `x`? `` if a candidate is similar, otherwise the list of candidates.
pub fn suggest(what: &str, word: &str, candidates: &[&str]) -> String {
    match nearest(word, candidates.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if candidates.is_empty() => format!("there are no {what}"),
        None => format!("{what}: {}", quoted_list(candidates)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let keys = ["endpoint", "path_style", "region"];
        assert_eq!(nearest("regoin", keys), Some("region"));
        assert_eq!(nearest("path-style", keys), Some("path_style"));
        assert_eq!(nearest("Region", keys), Some("region"));
        assert_eq!(nearest("bucket", keys), None);
    }
}
