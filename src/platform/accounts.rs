use std::collections::HashMap;

/// The users and groups of this host, by `/etc/passwd` and `/etc/group`. Those of a directory service are not in it: they
/// are kept by their numbers.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    users: Names,
    groups: Names,
}

#[derive(Clone, Debug, Default)]
struct Names {
    by_number: HashMap<u32, String>,
    by_name: HashMap<String, u32>,
}

impl Names {
    /// Reads lines of `name:password:number:…`. The first of several with one number has it.
    fn parse(text: &str) -> Self {
        let mut names = Self::default();
        for line in text.lines() {
            let mut fields = line.split(':');
            let (Some(name), Some(number)) = (fields.next(), fields.nth(1)) else { continue };
            let Ok(number) = number.parse() else { continue };
            names.by_number.entry(number).or_insert_with(|| name.to_owned());
            names.by_name.entry(name.to_owned()).or_insert(number);
        }
        names
    }
}

impl Accounts {
    /// Reads those of this host; empty where the files cannot be read.
    pub fn of_this_host() -> Self {
        let read = |path| Names::parse(&std::fs::read_to_string(path).unwrap_or_default());
        Self { users: read("/etc/passwd"), groups: read("/etc/group") }
    }

    /// Returns a user's name; empty where it has none here.
    pub fn user(&self, number: u32) -> &str {
        self.users.by_number.get(&number).map_or("", String::as_str)
    }

    pub fn group(&self, number: u32) -> &str {
        self.groups.by_number.get(&number).map_or("", String::as_str)
    }

    /// Returns the number that the user of this name has here; the given one where there is none.
    pub fn user_number(&self, name: &str, number: u32) -> u32 {
        self.users.by_name.get(name).copied().unwrap_or(number)
    }

    pub fn group_number(&self, name: &str, number: u32) -> u32 {
        self.groups.by_name.get(name).copied().unwrap_or(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_its_number_here_and_an_unknown_one_keeps_its_own() {
        let names =
            Names::parse("root:x:0:0::/root:/bin/sh\nbroken\ntoor:x:0:0\napp:x:990:990::/:/bin/false\n");
        let accounts = Accounts { users: names.clone(), groups: names };
        assert_eq!((accounts.user(0), accounts.group(990), accounts.user(7)), ("root", "app", ""));
        assert_eq!((accounts.user_number("app", 33), accounts.group_number("gone", 33)), (990, 33));
    }
}
