use crate::model::DamagedPage;

/// Returns the damaged pages that a server reports in its warnings during a copy. It reports at most five per
/// file, then their number.
pub(super) fn damage_in(said: &[String]) -> Vec<DamagedPage> {
    let mut pages: Vec<DamagedPage> = said.iter().filter_map(|line| page(line)).collect();
    for (file, total) in said.iter().filter_map(|line| total(line)) {
        let named = pages.iter().filter(|page| page.file == file).count();
        if named < total {
            pages.push(DamagedPage { file, block: None });
        }
    }
    pages
}

fn page(line: &str) -> Option<DamagedPage> {
    let rest = line.strip_prefix("WARNING:")?.trim_start();
    let rest = rest.strip_prefix("checksum verification failed in file \"")?;
    let (file, rest) = rest.split_once("\", block ")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some(DamagedPage { file: below(file), block: Some(digits.parse().ok()?) })
}

fn total(line: &str) -> Option<(String, usize)> {
    let rest = line.strip_prefix("WARNING:")?.trim_start().strip_prefix("file \"")?;
    let (file, rest) = rest.split_once("\" has a total of ")?;
    let (number, rest) = rest.split_once(' ')?;
    rest.starts_with("checksum verification failure").then_some((below(file), number.parse().ok()?))
}

/// Strips the prefix of the paths that the server reports, which begin with `./`.
fn below(file: &str) -> String {
    file.strip_prefix("./").unwrap_or(file).to_owned()
}

/// Returns whether damaged pages are the only errors of a failed `pg_basebackup`.
pub(super) fn is_all(said: &[String]) -> bool {
    let mut errors = said.iter().filter(|line| line.starts_with("pg_basebackup: error:")).peekable();
    errors.peek().is_some() && errors.all(|line| line.ends_with("error: checksum error occurred"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_pages_are_named_and_those_that_are_not_are_counted() {
        let mut said: Vec<String> = (3..8)
            .map(|n| format!("WARNING:  checksum verification failed in file \"./base/5/16384\", block {n}: calculated 3AE8 but expected C6C5"))
            .collect();
        said.push("WARNING:  further checksum verification failures in file \"./base/5/16384\" will not be reported".into());
        said.push("WARNING:  file \"./base/5/16384\" has a total of 9 checksum verification failures".into());
        said.push("WARNING:  checksum verification failed in file \"./base/5/2619\", block 0: calculated 1 but expected 2".into());
        said.push("pg_basebackup: error: checksum error occurred".into());
        let pages = damage_in(&said);
        assert_eq!(pages.len(), 7);
        assert_eq!(pages[0], DamagedPage { file: "base/5/16384".into(), block: Some(3) });
        assert_eq!(pages[5], DamagedPage { file: "base/5/2619".into(), block: Some(0) });
        assert_eq!(pages[6], DamagedPage { file: "base/5/16384".into(), block: None });
        assert!(is_all(&said));
        said.push("pg_basebackup: error: could not write".into());
        assert!(!is_all(&said) && !is_all(&[]));
    }
}
