use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::decode::{Decode as _, Diagnostics, KeyLocation, Node};
use super::fault::{PolicyFault, PolicyFaults, TextPosition};
use super::resolve;
use super::schema::PolicyTable;
use super::settings::Policy;
use super::unclosed_bracket;

/// Far more than any policy has; keeps a wrong file (a dump, a disk) out of memory.
const MOST_BYTES: u64 = 4 * 1024 * 1024;

/// Reads and validates a policy file.
pub fn load(path: &Path) -> Result<Policy, PolicyFaults> {
    let unreadable = |error: std::io::Error| {
        PolicyFaults::whole(path, format!("cannot be read: {error}"), "name the policy with `--policy FILE`")
    };
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        // Reading a FIFO or a device may never end.
        let message = format!("is {}, and a policy is a regular file", kind_of(metadata.file_type()));
        return Err(PolicyFaults::whole(path, message, "name the policy with `--policy FILE`"));
    }
    let size = metadata.len();
    if size > MOST_BYTES {
        let message = format!("is {size} bytes long, which no policy is");
        return Err(PolicyFaults::whole(path, message, "name the policy with `--policy FILE`"));
    }
    let bytes = std::fs::read(path).map_err(unreadable)?;
    let text = text(bytes).map_err(|(message, hint)| PolicyFaults::whole(path, message, hint))?;
    parse(path, &text)
}

fn kind_of(kind: std::fs::FileType) -> &'static str {
    match () {
        () if kind.is_dir() => "a directory",
        () if kind.is_fifo() => "a FIFO",
        () if kind.is_socket() => "a socket",
        () => "a device",
    }
}

/// Decodes the text of a file, or returns what is wrong with its bytes and a hint.
fn text(bytes: Vec<u8>) -> Result<String, (String, &'static str)> {
    let utf_8 = "save it as UTF-8; `iconv -t UTF-8` converts it";
    let utf_16 = |order: &str| Err((format!("is UTF-16 ({order}), and a policy is UTF-8"), utf_8));
    // Every other byte of a Western text is zero, with or without a byte order mark.
    match bytes.as_slice() {
        [0xff, 0xfe, ..] | [_, 0, _, 0, ..] => return utf_16("little-endian"),
        [0xfe, 0xff, ..] | [0, _, 0, _, ..] => return utf_16("big-endian"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x1f, 0x8b, ..] => {
            return Err((
                "is compressed, and a policy is text".to_owned(),
                "name the policy with `--policy FILE`",
            ));
        }
        _ => {}
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        (format!("is not UTF-8: line {line} has a byte of another encoding"), utf_8)
    })?;
    // Windows editors write a byte order mark, which has no meaning in UTF-8.
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// Validates the text of a policy. Relative paths in it are relative to the directory of `path`, which need
/// not exist.
pub fn parse(path: &Path, text: &str) -> Result<Policy, PolicyFaults> {
    let refused = |faults| PolicyFaults { path: path.to_owned(), faults };
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        // After a syntax error, further checks would only report faults that do not exist.
        let mut faults: Vec<PolicyFault> = errors.iter().map(|error| syntax_fault(text, error)).collect();
        faults.sort_by_key(|fault| fault.at);
        if let Some(open) = unclosed_bracket::never_closed(text) {
            // Everything after it is parsed as a part of what it opens.
            let at = TextPosition::from_offset(text, open.offset);
            faults.retain(|fault| fault.at < Some(at));
            faults.push(not_closed(at, &open));
        }
        return Err(refused(faults));
    }
    let mut log = Diagnostics::new(text);
    let value = DeValue::Table(document.into_inner());
    let root = Node { value: &value, spot: KeyLocation::default() };
    let policy = PolicyTable::read(&root, &mut log).and_then(|table| resolve::policy(table, path, &mut log));
    match policy {
        Some(policy) if log.is_clean() => Ok(policy),
        _ if log.is_clean() => Err(PolicyFaults::whole(
            path,
            "could not be parsed, for an unknown reason".to_owned(),
            "this is a defect of drctl: please report it, with the policy",
        )),
        _ => Err(refused(log.into_faults())),
    }
}

fn not_closed(at: TextPosition, open: &unclosed_bracket::OpenBracket) -> PolicyFault {
    let closing = if open.bracket == '[' { ']' } else { '}' };
    let before = open.noticed.map(|line| format!(", at the latest before line {line}")).unwrap_or_default();
    PolicyFault {
        at: Some(at),
        key: open.key.clone(),
        message: format!("is not TOML: this `{}` is never closed", open.bracket),
        hint: Some(format!("add `{closing}`{before}; other settings are checked afterwards")),
    }
}

fn syntax_fault(text: &str, error: &toml::de::Error) -> PolicyFault {
    let offset = error.span().map_or(0, |span| span.start);
    PolicyFault {
        at: Some(TextPosition::from_offset(text, offset)),
        key: String::new(),
        message: format!("is not TOML: {}", error.message()),
        hint: Some("fix the syntax error first; other settings are checked afterwards".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::model::BackupKind;
    use crate::platform::SecretRef;
    use crate::policy::samples::{POLICY, with};
    use crate::policy::{Credentials, Encryption, RepositoryLocation, RowCounts};

    const BROKEN: &str = include_str!("../../tests/fixtures/policies/broken.toml");

    fn faults(text: &str) -> Vec<PolicyFault> {
        parse(Path::new("shop.toml"), text).map(|_| ()).unwrap_err().faults
    }

    /// Returns `key: message` of each fault.
    fn said(text: &str) -> Vec<String> {
        faults(text).into_iter().map(|fault| format!("{}: {}", fault.key, fault.message)).collect()
    }

    #[test]
    fn every_fault_is_reported_at_once_with_place_key_and_hint() {
        let faults = parse(Path::new("policies/broken.toml"), BROKEN).unwrap_err();
        insta::assert_snapshot!(faults);
        for secret in ["hunter2", "AGE-SECRET-KEY", "xoxb"] {
            assert!(BROKEN.contains(secret) && !faults.to_string().contains(secret), "{secret} is repeated");
            assert!(!serde_json::to_string(&faults).unwrap().contains(secret), "{secret} is repeated");
        }
    }

    #[test]
    fn what_is_not_said_has_its_default() {
        let policy = parse(Path::new("/etc/drctl/shop.toml"), POLICY).unwrap();
        assert_eq!(policy.compression.level, 3);
        assert_eq!(policy.compression.threads, 0);
        assert_eq!(policy.transfer.part_size, 8 << 20);
        assert_eq!(policy.transfer.parallel, 3);
        assert_eq!(policy.transfer.stall, Duration::from_secs(120));
        assert_eq!(policy.transfer.object_size, 9_000 * (8 << 20));
        assert_eq!(policy.transfer.bandwidth, None);
        let source = policy.sources[0].postgres().unwrap();
        let dump = source.logical.as_ref().unwrap();
        assert_eq!(
            (dump.row_counts, dump.globals, dump.lock_wait),
            (RowCounts::Exact, true, Duration::from_secs(60))
        );
        assert_eq!(policy.sources[0].kinds, [BackupKind::Logical]);
        let drill = policy.drill.as_ref().unwrap();
        assert_eq!((drill.source.as_str(), drill.deadline), ("database", policy.objectives.rto));
        assert_eq!(policy.retention.as_ref().unwrap().rules.keep_last, 3);
    }

    #[test]
    fn optional_repositories_must_exist_and_not_be_all() {
        let wal = |optional: &str| {
            with("methods = [\"logical\"]", "methods = [\"logical\", \"base\", \"wal\"]").replace(
                "[retention]",
                &format!("[sources.database.wal]\noptional = {optional}\n\n[retention]"),
            )
        };
        let policy = parse(Path::new("shop.toml"), &wal("[\"west\"]")).unwrap();
        let source = policy.sources[0].postgres().unwrap();
        let archiving = source.wal.as_ref().unwrap();
        assert_eq!((archiving.parallel, archiving.prefetch), (4, 8));
        assert_eq!(archiving.optional_repositories[0].as_str(), "west");
        let unknown = said(&wal("[\"wset\"]"));
        assert!(unknown[0].contains("there is no repository `wset`"), "{unknown:?}");
        assert_eq!(
            said(&wal("[\"primary\", \"west\"]")),
            ["sources.database.wal.optional: are all repositories"]
        );
    }

    #[test]
    fn a_setting_under_its_old_name_is_rejected_with_its_new_one() {
        let text = with("methods = [\"logical\"]", "methods = [\"base\", \"wal\"]").replace(
            "[retention]",
            "[sources.database.base]\nthrough = \"replication\"\n\n[sources.database.wal]\nmay_lag = []\n\n[retention]",
        );
        let faults = parse(Path::new("shop.toml"), &text).unwrap_err().faults;
        let hint =
            |key: &str| faults.iter().find(|fault| fault.key == key).and_then(|fault| fault.hint.as_deref());
        assert_eq!(hint("sources.database.base.through"), Some("it is called `method` now"));
        assert_eq!(hint("sources.database.wal.may_lag"), Some("it is called `optional` now"));
    }

    #[test]
    fn repositories_are_in_the_order_of_the_file_and_their_paths_relative_to_it() {
        let text = with("[encryption]", "[repository.copies.attic]\ndirectory = \"../attic\"\n[encryption]");
        let policy = parse(Path::new("/etc/drctl/shop.toml"), &text).unwrap();
        let names: Vec<&str> =
            policy.repositories.iter().map(|repository| repository.name.as_str()).collect();
        assert_eq!(names, ["primary", "west", "attic"]);
        let RepositoryLocation::Directory(path) = &policy.repositories[2].place else { panic!() };
        assert_eq!(path, Path::new("/etc/drctl/../attic"));
        let RepositoryLocation::S3(west) = &policy.repositories[1].place else { panic!() };
        let Credentials::Keys { secret_access_key, .. } = &west.credentials else { panic!() };
        assert_eq!(*secret_access_key, SecretRef::File("/etc/drctl/west.key".into()));
    }

    #[test]
    fn settings_that_nothing_reads_are_refused() {
        assert_eq!(
            said(&with("rto = ", "rot = \"4h\"\nrto = ")),
            ["objectives.rot: is not a setting drctl knows"]
        );
        let base = with("methods = [\"logical\"]", "base = { incrementals = 6 }");
        assert_eq!(said(&base), ["sources.database.base: is not used"]);
        let directory = with("url = \"s3://shop-backups-west/drctl\"", "directory = \"/west\"");
        assert_eq!(
            said(&directory),
            ["region", "credentials"].map(|key| format!(
                "repository.copies.west.{key}: is for buckets, and this repository is a directory"
            ))
        );
    }

    #[test]
    fn one_key_and_none_must_be_asked_for_in_so_many_words() {
        let second = POLICY.lines().find(|line| line.trim_start().starts_with("\"age1")).unwrap();
        let one = with(second, "");
        assert_eq!(said(&one), ["encryption.recipients: hold one key only"]);
        let one = one.replace("[encryption]", "[encryption]\ndanger_single_recipient = true");
        let policy = parse(Path::new("shop.toml"), &one).unwrap();
        assert!(matches!(&policy.encryption, Encryption::Age { recipients } if recipients.len() == 1));

        let list = &POLICY[POLICY.find("recipients =").unwrap()..POLICY.find("[sources").unwrap()];
        assert_eq!(
            said(&with(list, "")),
            ["encryption.recipients: are missing: no key could open the backups"]
        );
        let none = parse(Path::new("shop.toml"), &with(list, "danger_unencrypted = true\n")).unwrap();
        assert!(matches!(none.encryption, Encryption::None));
        let both = with("[encryption]", "[encryption]\ndanger_unencrypted = true");
        assert_eq!(said(&both), ["encryption.recipients: are given, and `danger_unencrypted` too"]);
    }

    #[test]
    fn two_repositories_at_one_place_are_one_repository() {
        let twin = with("s3://shop-backups-west/drctl", "s3://shop-backups/drctl/");
        assert_eq!(said(&twin), ["repository.copies.west.url: is the same location as repository `primary`"]);
        let directories = |primary: &str, west: &str, base: &str| {
            let text = "[system]\nname = \"shop\"\n[objectives]\nrto = \"4h\"\nrpo = \"1h\"\n\
                [encryption]\ndanger_unencrypted = true\n[sources.database]\nkind = \"postgres\"\n\
                url = \"postgres://a@b/c\"\nmethods = [\"base\", \"wal\"]\n[sources.database.wal]\n";
            format!(
                "{text}[repository.primary]\ndirectory = \"{primary}\"\n[repository.copies.west]\ndirectory = \"{west}\"\n\
                 [sources.database.base]\nmethod = \"data-directory\"\ndata_directory = \"{base}\"\n"
            )
        };
        for (primary, west) in [("/srv/a", "/srv/a/copies"), ("/srv/a/b", "/srv/x/../a")] {
            assert_eq!(
                said(&directories(primary, west, "/data")),
                ["repository.copies.west.directory: and repository `primary` are inside each other"]
            );
        }
        assert_eq!(
            said(&directories("/srv/a", "/data/main/backups", "/data/main")),
            ["sources.database.base.data_directory: has repository `west` in it"]
        );
        assert!(parse(Path::new("shop.toml"), &directories("/srv/a", "/srv/ab", "/srv/abc")).is_ok());
        let primary = with("repository.copies.west", "repository.copies.primary");
        assert_eq!(said(&primary), ["repository.copies.primary: is the name of the first repository"]);
    }

    #[test]
    fn bad_toml_is_reported_where_it_is() {
        let faults = faults("[system]\nname = \n[objectives\n");
        assert_eq!(faults[0].at.unwrap().line, 2, "{faults:?}");
        assert!(faults.len() > 1, "TOML's own faults are all there too: {faults:?}");
    }

    #[test]
    fn a_file_that_is_not_there_is_a_fault_of_the_file() {
        let faults = load(Path::new("/nowhere/shop.toml")).unwrap_err();
        assert!(
            faults.to_string().starts_with("/nowhere/shop.toml: cannot be read: No such file"),
            "{faults}"
        );
    }

    #[test]
    fn what_is_no_regular_file_is_refused_without_reading_it() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("policy.toml");
        let mode = rustix::fs::Mode::RUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        for (path, kind) in
            [(&*fifo, "a FIFO"), (folder.path(), "a directory"), (Path::new("/dev/zero"), "a device")]
        {
            let faults = load(path).unwrap_err().to_string();
            assert!(faults.contains(&format!("is {kind}, and a policy is a regular file")), "{faults}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_no_refusal_is_silent(
            at in 0..POLICY.len(), cut in 0..40_usize, put in "[ -~\n]{0,12}"
        ) {
            let mut text = POLICY.to_owned();
            let end = (at + cut).min(text.len());
            text.replace_range(at..end, &put);
            if let Err(faults) = parse(Path::new("shop.toml"), &text) {
                prop_assert!(!faults.faults.is_empty());
                prop_assert!(!faults.to_string().contains("defect of drctl"), "{faults}");
                prop_assert!(faults.faults.iter().all(|fault| fault.at.is_some()), "{faults}");
            }
        }

        #[test]
        fn a_setting_with_any_other_value_is_refused_or_right_but_never_lost(
            line in 0..POLICY.lines().count(),
            value in prop_oneof![
                Just("1"), Just("\"\""), Just("true"), Just("[]"), Just("{}"), Just("1.5"),
                Just("[[1]]"), Just("\"env:X\""), Just("2026-11-20"), Just("{ kind = 1 }"), Just("-1"),
            ],
        ) {
            let text: Vec<String> = POLICY.lines().enumerate().map(|(index, text)| {
                match text.split_once(" = ") {
                    Some((name, _)) if index == line => format!("{name} = {value}"),
                    _ => text.to_owned(),
                }
            }).collect();
            if let Err(faults) = parse(Path::new("shop.toml"), &text.join("\n")) {
                prop_assert!(!faults.to_string().contains("defect of drctl"), "{faults}");
            }
        }
    }
}
