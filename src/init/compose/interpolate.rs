//! Variables in a compose file: `${NAME}`, `${NAME:-default}`, `$NAME`, `$$`.

use std::collections::BTreeMap;

/// A value of a compose file, before its variables are replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(pub(super) String);

/// A piece of a value.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'t> {
    Text(&'t str),
    Variable { name: &'t str, default: Option<&'t str> },
}

impl Template {
    /// Returns the value with what the variables are in `.env`, or their defaults; `None` where one is not known.
    pub(super) fn resolve(&self, variables: &BTreeMap<String, String>) -> Option<String> {
        let mut text = String::new();
        for piece in pieces(&self.0) {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Variable { name, default } => match (variables.get(name), default) {
                    (Some(value), None) => text.push_str(value),
                    (Some(value), Some(_)) if !value.is_empty() => text.push_str(value),
                    (_, Some(default)) => text.push_str(default),
                    (None, None) => return None,
                },
            }
        }
        Some(text)
    }

    /// Returns the variable's name where the whole value is one.
    pub(super) fn variable(&self) -> Option<&str> {
        match pieces(&self.0)[..] {
            [Piece::Variable { name, .. }] => Some(name),
            _ => None,
        }
    }

    pub(super) fn has_variables(&self) -> bool {
        pieces(&self.0).iter().any(|piece| matches!(piece, Piece::Variable { .. }))
    }
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, after) = (&rest[..at], &rest[at + 1..]);
        if !before.is_empty() {
            pieces.push(Piece::Text(before));
        }
        if let Some(braced) = after.strip_prefix('{')
            && let Some(end) = braced.find('}')
        {
            pieces.push(variable(&braced[..end]));
            rest = &braced[end + 1..];
        } else if let Some(after) = after.strip_prefix('$') {
            pieces.push(Piece::Text("$"));
            rest = after;
        } else {
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let end = after.find(|c| !is_name(c)).unwrap_or(after.len());
            pieces.push(match end {
                0 => Piece::Text("$"),
                end => Piece::Variable { name: &after[..end], default: None },
            });
            rest = &after[end..];
        }
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    pieces
}

/// `NAME`, `NAME:-default`, `NAME-default`, `NAME:?message`, `NAME?message`.
fn variable(inside: &str) -> Piece<'_> {
    let Some(at) = inside.find(['-', '?', '+']) else {
        return Piece::Variable { name: inside, default: None };
    };
    let name = inside[..at].trim_end_matches(':');
    let default = inside[at..].strip_prefix('-');
    Piece::Variable { name, default }
}

/// Returns the variables of a `.env` file; comments and quotes as Docker Compose reads them.
pub(super) fn parse_env(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.strip_prefix("export ").unwrap_or(line).split_once('='));
    pairs
        .map(|(name, value)| {
            let value = value.trim();
            let quoted = ['"', '\'']
                .into_iter()
                .find_map(|quote| value.strip_prefix(quote)?.split_once(quote).map(|(inside, _)| inside));
            let value = quoted.unwrap_or_else(|| value.split(" #").next().unwrap_or(value).trim());
            (name.trim().to_owned(), value.to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_as_compose_replaces_them() {
        let variables = parse_env("# x\nexport USER=app\nPASSWORD=\"a b#c\" # d\nEMPTY=\nPORT=5433 # port\n");
        let resolved = |text: &str| Template(text.to_owned()).resolve(&variables);
        assert_eq!(resolved("${USER}-$USER-$$x").as_deref(), Some("app-app-$x"));
        assert_eq!(resolved("${EMPTY:-none}").as_deref(), Some("none"));
        assert_eq!(resolved("${GONE-5432}").as_deref(), Some("5432"));
        assert_eq!(resolved("127.0.0.1:${PORT}:5432").as_deref(), Some("127.0.0.1:5433:5432"));
        assert_eq!(resolved("${GONE:?say so}"), None);
        assert_eq!(variables["PASSWORD"], "a b#c");
        assert_eq!(Template("${A:-b}".to_owned()).variable(), Some("A"));
        assert_eq!(Template("x${A}".to_owned()).variable(), None);
    }
}
