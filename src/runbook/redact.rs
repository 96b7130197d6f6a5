//! What never stands in the record of an incident: secrets in the output of a command.

/// What a secret is replaced by.
const HIDDEN: &str = "[hidden]";
/// Shorter values are words.
const LEAST: usize = 6;
const WORDS: [&str; 6] = ["password", "passwd", "passphrase", "secret", "token", "private_key"];
/// What begins a secret wherever it stands.
const PREFIXES: [&str; 3] = ["AGE-SECRET-KEY-", "AGE-PLUGIN-", "-----BEGIN"];

/// Returns whether a variable or parameter of this name holds a secret.
pub(super) fn is_secret_name(name: &str) -> bool {
    let name = name.to_lowercase().replace('-', "_");
    // A file that holds one is none.
    let is_path = ["_file", "_path", "passfile"].iter().any(|end| name.ends_with(end));
    !is_path
        && (WORDS.iter().any(|word| name.contains(word)) || name.ends_with("_key") || name == "pgpassword")
}

/// Hides secrets in lines of output.
#[derive(Clone, Default)]
pub struct Redactor {
    /// The longest first.
    values: Vec<String>,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redactor({} values)", self.values.len())
    }
}

impl Redactor {
    /// Hides the values of variables whose names say that they are secret.
    pub fn new(environment: impl IntoIterator<Item = (String, String)>) -> Self {
        let secret = |(name, value): (String, String)| {
            (is_secret_name(&name) && value.trim().len() >= LEAST).then(|| value.trim().to_owned())
        };
        let mut values: Vec<String> = environment.into_iter().filter_map(secret).collect();
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        values.dedup();
        Self { values }
    }

    pub fn line(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for value in &self.values {
            line = line.replace(value.as_str(), HIDDEN);
        }
        for prefix in PREFIXES {
            if let Some(at) = line.find(prefix) {
                let end = line[at..].find([' ', '"', '\'']).map_or(line.len(), |length| at + length);
                line.replace_range(at..end, HIDDEN);
            }
        }
        without_assigned(&without_url_passwords(&line))
    }
}

/// Returns whether a value holds a password: `postgres://user:password@host`, `password=…`.
pub fn holds_password(value: &str) -> bool {
    without_assigned(&without_url_passwords(value)) != value
}

/// Hides the password of `scheme://user:password@host`.
fn without_url_passwords(line: &str) -> String {
    let (mut shown, mut rest) = (String::new(), line);
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        shown.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || "/?\"'<>".contains(c)).unwrap_or(after.len());
        let (authority, tail) = after.split_at(end);
        match authority.rsplit_once('@').and_then(|(login, host)| Some((login.split_once(':')?, host))) {
            Some(((user, password), host)) if !password.is_empty() && password != HIDDEN => {
                shown.push_str(&format!("{user}:{HIDDEN}@{host}"));
            }
            _ => shown.push_str(authority),
        }
        rest = tail;
    }
    shown.push_str(rest);
    shown
}

/// Hides what follows `password=`, `"token": "` and the like.
fn without_assigned(line: &str) -> String {
    let lower = line.to_ascii_lowercase();
    let mut values: Vec<std::ops::Range<usize>> = Vec::new();
    for word in WORDS {
        for (at, _) in lower.match_indices(word) {
            let rest = &line[at + word.len()..];
            let Some(value) = rest.trim_start_matches(['"', '\'', ' ']).strip_prefix(['=', ':']) else {
                continue;
            };
            let value = value.trim_start_matches([' ', '"', '\'']);
            let from = line.len() - value.len();
            let length =
                value.find(|c: char| c.is_whitespace() || "\"',;&".contains(c)).unwrap_or(value.len());
            if length > 0 && !value.starts_with(HIDDEN) {
                values.push(from..from + length);
            }
        }
    }
    values.sort_by_key(|range| range.start);
    let (mut shown, mut done) = (String::new(), 0);
    for range in values.into_iter() {
        if range.start >= done {
            shown.push_str(&line[done..range.start]);
            shown.push_str(HIDDEN);
            done = range.end;
        }
    }
    shown.push_str(&line[done..]);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_left_in_a_line() {
        let redactor = Redactor::new([
            ("PGPASSWORD".to_owned(), "hunter22".to_owned()),
            ("HOME".to_owned(), "/root/xx".to_owned()),
            ("DRCTL_IDENTITY_FILE".to_owned(), "/etc/drctl/key".to_owned()),
        ]);
        for (line, shown) in [
            ("login with hunter22 failed", "login with [hidden] failed"),
            (
                "to postgres://ann:s3cret@db.internal/shop now",
                "to postgres://ann:[hidden]@db.internal/shop now",
            ),
            (
                "postgres://ann@db.internal/shop?password=abc",
                "postgres://ann@db.internal/shop?password=[hidden]",
            ),
            ("{\"token\": \"abc\", \"a\": 1}", "{\"token\": \"[hidden]\", \"a\": 1}"),
            ("key AGE-SECRET-KEY-1QQQ used", "key [hidden] used"),
            ("/root/xx and /etc/drctl/key", "/root/xx and /etc/drctl/key"),
            ("secret=a password=b", "secret=[hidden] password=[hidden]"),
            ("the password is wrong", "the password is wrong"),
        ] {
            assert_eq!(redactor.line(line), shown);
        }
        assert!(holds_password("postgres://a:b@c/d") && !holds_password("postgres://a@c/d"));
        assert!(is_secret_name("db_password") && is_secret_name("API_KEY") && !is_secret_name("identity"));
    }
}
