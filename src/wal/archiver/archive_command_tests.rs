use proptest::prelude::*;

use super::*;
use crate::postgres::shell;

const POLICY: &str = "/etc/shop/policy.toml";
/// Another policy for the same destination.
const MOVED: &str = "/srv/policy.toml";
const OTHER: &str = "/etc/other.toml";

/// A host with drctl, a script of that name, and three policies.
struct Host;

fn name(text: &str) -> SourceName {
    text.parse().unwrap()
}

fn target() -> PushTarget {
    PushTarget {
        policy: POLICY.into(),
        system: "shop".parse().unwrap(),
        sources: vec![name("database")],
        repositories: ["`/backups`".to_owned(), "`s3://west/shop`".to_owned()].into(),
    }
}

impl ServerFiles for Host {
    fn program(&self, name: &Path) -> ProgramState {
        match name.to_str().unwrap() {
            "drctl" | "/usr/bin/drctl" => ProgramState::Runs,
            "/opt/script/drctl" => ProgramState::Script,
            "/etc/drctl.conf" => ProgramState::NotExecutable,
            _ => ProgramState::Absent,
        }
    }

    fn policy(&self, path: &Path) -> PolicyState {
        match path.to_str().unwrap() {
            MOVED => PolicyState::Read(PushTarget { policy: MOVED.into(), ..target() }),
            OTHER => {
                let repositories = ["`/elsewhere`".to_owned()].into();
                PolicyState::Read(PushTarget { policy: OTHER.into(), repositories, ..target() })
            }
            "/etc/more.toml" => {
                let mut more = target();
                more.repositories.insert("`/more`".to_owned());
                PolicyState::Read(more)
            }
            "/etc/system.toml" => {
                PolicyState::Read(PushTarget { system: "till".parse().unwrap(), ..target() })
            }
            _ => PolicyState::Unusable("there is none".to_owned()),
        }
    }
}

/// A server on another host.
struct Elsewhere;

impl ServerFiles for Elsewhere {
    fn program(&self, _: &Path) -> ProgramState {
        ProgramState::Unknown
    }

    fn policy(&self, _: &Path) -> PolicyState {
        PolicyState::Unknown
    }
}

fn judged(line: &str) -> CommandVerdict {
    judge(line, &name("database"), &target(), &Host)
}

#[test]
fn what_archives_is_told_from_what_does_not() {
    use CommandVerdict as V;
    let push = format!("/usr/bin/drctl --policy {POLICY} wal push %p");
    let hides = |by: &str| V::HidesStatus(by.to_owned());
    let unjudged = |line: &str| matches!(judged(line), V::Unjudged(_));
    for (line, expected) in [
        (push.clone(), V::Archives),
        (
            format!("  drctl wal push database '%p' -p {POLICY} --drain=9 -qv 2>> /var/log/drctl "),
            V::Archives,
        ),
        (format!("drctl -p{MOVED} --output json wal push \"%p\""), V::Archives),
        (format!("DRCTL_POLICY={POLICY} exec drctl wal push %p"), V::Archives),
        (format!("env DRCTL_POLICY={POLICY} nice -n 10 timeout 60 drctl wal push %p"), V::Archives),
        (format!("bash -c '{push}'"), V::Archives),
        ("/opt/script/drctl wal push %p".to_owned(), V::Archives),
        (format!("test -f %p && {push} && touch /run/archived"), V::Archives),
        (format!("date; {push}"), V::Archives),
        (format!("{push} || exit 1"), V::Archives),
        (format!("{push}; exit $?"), V::Archives),
        (format!("{push}; # as `drctl wal configure` has it"), V::Archives),
        // The exit status is lost.
        (format!("{push} || true"), hides("|| true")),
        (format!("{push} || exit 0"), hides("|| exit 0")),
        (format!("{push};true"), hides("; true")),
        (format!("{push}\ntrue"), hides("; true")),
        (format!("{push} &"), hides("&")),
        (format!("{push} | logger"), hides("| logger")),
        (format!("{push} && date || true"), hides("|| true")),
        (format!("! {push}"), hides("!")),
        (format!("sh -c '{push}; true'"), hides("; true")),
        (format!("sh -c '{push}' || true"), hides("|| true")),
        (format!("true || {push}"), V::Bypassed("||")),
        (format!("exit 0; {push}"), V::Bypassed(";")),
        // Nothing is pushed.
        (String::new(), V::Empty),
        ("/bin/true".to_owned(), V::Nothing),
        (": # drctl wal push %p".to_owned(), V::Nothing),
        ("exit 0".to_owned(), V::Nothing),
        (format!("echo {push}"), V::NoPush),
        (format!("/bin/false # {push}"), V::Foreign),
        ("drctl wal fetch %f %p".to_owned(), V::NoPush),
        ("drctl status".to_owned(), V::NoPush),
        ("pgbackrest archive-push %p".to_owned(), V::Foreign),
        ("cp %p /mnt/%f".to_owned(), V::Foreign),
        ("/opt/archive.sh %p".to_owned(), V::Foreign),
        (format!("drctl -p {POLICY} wal push"), V::NoFile),
        (format!("drctl -p {POLICY} wal push %%p"), V::NoFile),
        (format!("drctl -p {POLICY} wal push database %p more"), V::NotTaken("more".to_owned())),
        (format!("drctl --polcy {POLICY} wal push %p"), V::NotTaken("--polcy".to_owned())),
        (format!("drctl -p {POLICY} wal push 'a b' %p"), V::NotTaken("a b".to_owned())),
        ("drctl wal push '%p".to_owned(), V::NotTaken("a quote that is not closed".to_owned())),
        // To another destination.
        (
            format!("drctl -p {OTHER} wal push %p"),
            V::OtherPolicy(OTHER.into(), "which does not archive to `/backups`".to_owned()),
        ),
        (
            "drctl -p /etc/more.toml wal push %p".to_owned(),
            V::OtherPolicy("/etc/more.toml".into(), "which archives to `/more` as well".to_owned()),
        ),
        (
            "drctl -p /etc/system.toml wal push %p".to_owned(),
            V::OtherPolicy("/etc/system.toml".into(), "which archives for system `till`".to_owned()),
        ),
        (
            "drctl -p /gone.toml wal push %p".to_owned(),
            V::UnusablePolicy("/gone.toml".into(), "there is none".to_owned()),
        ),
        (format!("drctl -p {POLICY} wal push ledger %p"), V::OtherSource(name("ledger"))),
        (
            format!("/nonexistent/drctl -p {POLICY} wal push %p"),
            V::NoProgram("/nonexistent/drctl".into(), ProgramState::Absent),
        ),
        (
            format!("/etc/drctl.conf -p {POLICY} wal push %p"),
            V::NoProgram("/etc/drctl.conf".into(), ProgramState::NotExecutable),
        ),
    ] {
        assert_eq!(judged(&line), expected, "{line}");
    }
    for line in [
        "drctl wal push %p",
        "chroot /srv drctl wal push %p",
        "if true; then drctl wal push %p; fi",
        "(drctl wal push %p; true)",
        "drctl -p \"$POLICY\" wal push %p",
        "drctl wal push $SOURCE %p",
        "$TOOLS/run drctl wal push %p",
    ] {
        assert!(unjudged(line), "{line}: {:?}", judged(line));
    }
}

#[test]
fn of_a_server_elsewhere_only_the_line_is_judged() {
    let elsewhere = |line: &str| judge(line, &name("database"), &target(), &Elsewhere);
    for line in ["/opt/drctl wal push %p", "drctl -p /etc/drctl/policy.toml wal push database %p"] {
        assert_eq!(elsewhere(line), CommandVerdict::Archives, "{line}");
    }
    assert_eq!(elsewhere("drctl wal push ledger %p"), CommandVerdict::OtherSource(name("ledger")));
    assert_eq!(elsewhere("drctl wal push %p; :").state(), CommandState::Wrong);
}

#[test]
fn one_of_several_sources_is_named() {
    let both = PushTarget { sources: vec![name("database"), name("ledger")], ..target() };
    let judged = |line: &str| judge(line, &name("ledger"), &both, &Host);
    let push = format!("drctl -p {POLICY} wal push");
    assert_eq!(judged(&format!("{push} ledger %p")), CommandVerdict::Archives);
    assert_eq!(judged(&format!("{push} database %p")), CommandVerdict::OtherSource(name("database")));
    assert_eq!(judged(&format!("{push} %p")), CommandVerdict::NoSource);
}

#[test]
fn what_may_be_someone_elses_is_not_wrong() {
    for (line, state) in [
        ("cp %p /mnt/%f", CommandState::Foreign),
        ("drctl -p /etc/other.toml wal push %p", CommandState::Foreign),
        ("/bin/true", CommandState::Wrong),
        ("drctl wal push %p || :", CommandState::Wrong),
        ("drctl wal push %p", CommandState::Unknown),
    ] {
        assert_eq!(judged(line).state(), state, "{line}");
    }
}

proptest! {
    #[test]
    fn a_line_that_configure_writes_is_judged_by_what_it_says(
        program in "/[ -~é]{0,20}/drctl",
        policy in "/[ -~é]{1,20}",
        hides in prop::sample::select(vec!["", " || true", "; :", " &", " | cat"]),
    ) {
        struct Any(String);
        impl ServerFiles for Any {
            fn program(&self, name: &Path) -> ProgramState {
                if name == Path::new(&self.0) { ProgramState::Runs } else { ProgramState::Absent }
            }
            fn policy(&self, _: &Path) -> PolicyState {
                PolicyState::Unusable("another".to_owned())
            }
        }
        let word = |text: &str| shell(text).replace('%', "%%");
        let line = format!("{} --policy {} wal push database %p{hides}", word(&program), word(&policy));
        let expected = PushTarget { policy: policy.clone().into(), ..target() };
        let verdict = judge(&line, &name("database"), &expected, &Any(program));
        prop_assert_eq!(verdict == CommandVerdict::Archives, hides.is_empty(), "{}: {:?}", line, verdict);
    }

    #[test]
    fn any_line_is_judged(line in "[ -~\n]{0,60}") {
        let _verdict = judged(&line);
    }
}
