use super::*;
use crate::configure::{HbaRule, Slot};
use crate::wal::{ServerHost, judge};

fn setting_of(value: &str, context: &str) -> ServerSetting {
    let (source, context) = ("default".to_owned(), context.to_owned());
    ServerSetting { value: value.to_owned(), source, context, pending_restart: false }
}

/// A cluster as initdb leaves it.
fn fresh() -> SettingFacts {
    let settings = [
        ("wal_level", "replica", "postmaster"),
        ("full_page_writes", "on", "sighup"),
        ("archive_mode", "off", "postmaster"),
        ("archive_command", "(disabled)", "sighup"),
        ("archive_library", "", "sighup"),
        ("archive_timeout", "0", "sighup"),
        ("max_wal_senders", "10", "postmaster"),
        ("max_replication_slots", "10", "postmaster"),
        ("max_slot_wal_keep_size", "-1", "sighup"),
    ];
    let settings = settings.map(|(name, value, context)| (name.to_owned(), setting_of(value, context)));
    SettingFacts {
        major: 15,
        settings: settings.into_iter().collect(),
        files: Some([].into()),
        role: Some(ServerRole { name: "backup".to_owned(), ..ServerRole::default() }),
        client: Some("10.0.0.7".to_owned()),
        ..SettingFacts::default()
    }
}

fn wanted(through: WalMethod) -> DesiredSettings {
    DesiredSettings {
        role: "backup".to_owned(),
        through: Some(through),
        replicates: true,
        starts_backups: false,
        incrementals: false,
        rpo: Duration::from_secs(3600),
        push: "/usr/bin/drctl --policy /etc/drctl/policy.toml wal push %p".to_owned(),
        source: "database".parse().unwrap(),
        target: PushTarget {
            policy: "/etc/drctl/policy.toml".into(),
            system: "shop".parse().unwrap(),
            sources: vec!["database".parse().unwrap()],
            repositories: [].into(),
        },
        has_password: true,
        is_socket: false,
    }
}

fn set(facts: &mut SettingFacts, name: &str, value: &str) {
    facts.settings.get_mut(name).unwrap().value = value.to_owned();
}

/// Plans with the effect of its `archive_command`.
fn plan(facts: &SettingFacts, wanted: &DesiredSettings) -> Vec<SettingFinding> {
    let judged = |line: &str| judge(line, &wanted.source, &wanted.target, &ServerHost::ELSEWHERE);
    let facts = SettingFacts { push: facts.archive_command().map(judged), ..facts.clone() };
    super::plan(&facts, wanted)
}

fn open(findings: &[SettingFinding]) -> Vec<(&str, SettingState)> {
    findings.iter().filter(|f| f.is_open()).map(|f| (f.name, f.state)).collect()
}

fn statements(findings: &[SettingFinding]) -> Vec<String> {
    let of = |finding: &SettingFinding| match &finding.remedy {
        Some(Fix::Sql { statements, .. }) => statements.clone(),
        _ => vec![],
    };
    findings.iter().flat_map(of).collect()
}

#[test]
fn a_fresh_cluster_lacks_just_what_archiving_needs() {
    let wanted = wanted(WalMethod::Archive);
    let mut facts = fresh();
    let findings = plan(&facts, &wanted);
    let missing = |name| (name, SettingState::Missing);
    assert_eq!(
        open(&findings),
        ["archive_mode", "archive_command", "archive_timeout", "pg_monitor", "replication"].map(missing)
    );
    assert_eq!(
        statements(&findings),
        [
            "ALTER SYSTEM SET archive_mode = 'on'",
            "ALTER SYSTEM SET archive_command = '/usr/bin/drctl --policy /etc/drctl/policy.toml wal push %p'",
            "ALTER SYSTEM SET archive_timeout = '300'",
            "GRANT pg_monitor TO \"backup\"",
            "ALTER ROLE \"backup\" REPLICATION",
        ]
    );
    let takes = |name| match &findings.iter().find(|f| f.name == name).unwrap().remedy {
        Some(Fix::Sql { takes, .. } | Fix::ByHand { takes, .. }) => *takes,
        None => Effect::AtOnce,
    };
    assert_eq!(
        ["archive_mode", "archive_command", "replication"].map(takes),
        [Effect::Restart, Effect::Reload, Effect::AtOnce]
    );

    // The settings take effect after the restart.
    let file = [("archive_mode", "on"), ("archive_command", &wanted.push), ("archive_timeout", "900")];
    facts.files = Some(file.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect());
    facts.settings.get_mut("archive_mode").unwrap().pending_restart = true;
    set(&mut facts, "archive_timeout", "900");
    facts.role = Some(ServerRole {
        name: "backup".to_owned(),
        may_replicate: true,
        monitors: true,
        ..ServerRole::default()
    });
    facts.access = Access::LetIn;
    let findings = plan(&facts, &wanted);
    assert_eq!(open(&findings), [("archive_mode", SettingState::WaitsForRestart)]);
    assert_eq!(statements(&findings), [""; 0]);
    facts.settings.insert("archive_mode".to_owned(), setting_of("on", "postmaster"));
    set(&mut facts, "archive_command", &wanted.push);
    assert_eq!(open(&plan(&facts, &wanted)), []);
}

#[test]
fn what_archives_elsewhere_is_foreign() {
    let wanted = wanted(WalMethod::Archive);
    let mut facts = fresh();
    set(&mut facts, "archive_mode", "on");
    let command = |facts: &SettingFacts| {
        let findings = plan(facts, &wanted);
        findings.into_iter().find(|finding| finding.name == "archive_command").unwrap()
    };
    set(&mut facts, "archive_command", "pgbackrest archive-push %p");
    assert_eq!(command(&facts).state, SettingState::Foreign);
    set(&mut facts, "archive_command", "");
    set(&mut facts, "archive_library", "basic_archive");
    let foreign = command(&facts);
    assert_eq!(foreign.state, SettingState::Foreign);
    assert_eq!(statements(&[foreign])[0], "ALTER SYSTEM SET archive_library = ''");
    set(&mut facts, "archive_library", "");
    assert_eq!(command(&facts).state, SettingState::Missing);
    // drctl at another path does not belong to another system.
    set(&mut facts, "archive_command", "/opt/drctl wal push database %p");
    assert_eq!(command(&facts).state, SettingState::Fine);
    // A command that is disabled while nothing is archived is not lost either.
    set(&mut facts, "archive_command", "(disabled)");
    facts.files = Some([("archive_command".to_owned(), "cp %p /mnt/%f".to_owned())].into());
    assert_eq!(command(&facts).state, SettingState::Foreign);
    facts.files = None;
    assert_eq!(command(&facts).state, SettingState::Unknown);
}

#[test]
fn a_command_that_archives_nothing_is_replaced_and_told_why() {
    let wanted = wanted(WalMethod::Archive);
    let mut facts = fresh();
    set(&mut facts, "archive_mode", "on");
    for (line, state, why) in [
        (format!("{} || true", wanted.push), SettingState::Missing, "`|| true` hides the exit status"),
        ("echo drctl wal push %p".to_owned(), SettingState::Missing, "does not run `drctl wal push`"),
        ("/bin/true".to_owned(), SettingState::Missing, "archives nothing and reports success"),
        ("drctl wal push ledger %p".to_owned(), SettingState::Missing, "archives as source `ledger`"),
        ("cp %p /mnt/%f".to_owned(), SettingState::Foreign, "does not run `drctl wal push`"),
        ("chroot /srv drctl wal push %p".to_owned(), SettingState::Unknown, "`chroot` decides what it runs"),
    ] {
        set(&mut facts, "archive_command", &line);
        let findings = plan(&facts, &wanted);
        let finding = findings.iter().find(|finding| finding.name == "archive_command").unwrap();
        assert_eq!(finding.state, state, "{line}");
        assert!(finding.is_open() && finding.found.contains(why), "{}", finding.found);
        let statement = format!("ALTER SYSTEM SET archive_command = '{}'", wanted.push);
        assert!(statements(&findings).contains(&statement), "{line}");
    }
}

#[test]
fn a_setting_of_the_command_line_is_not_set_in_vain() {
    let mut facts = fresh();
    set(&mut facts, "wal_level", "minimal");
    facts.settings.get_mut("wal_level").unwrap().source = "command line".to_owned();
    let finding = plan(&facts, &wanted(WalMethod::Archive)).remove(0);
    assert!(matches!(finding.remedy, Some(Fix::ByHand { takes: Effect::Restart, .. })), "{finding:?}");
}

#[test]
fn a_stream_needs_a_slot_with_a_limit_and_a_way_in() {
    let wanted = wanted(WalMethod::Stream { slot: "drctl".to_owned() });
    let mut facts = fresh();
    facts.role.as_mut().unwrap().may_replicate = true;
    facts.access = Access::Refused("no pg_hba.conf entry for replication connection".to_owned());
    let findings = plan(&facts, &wanted);
    assert!(!findings.iter().any(|finding| finding.name == "archive_mode"));
    let sql = statements(&findings).join("\n");
    for words in
        ["max_slot_wal_keep_size = '10240MB'", "SELECT pg_create_physical_replication_slot('drctl', true)"]
    {
        assert!(sql.contains(words), "{words} is not in: {sql}");
    }
    let by_hand = |findings: &[SettingFinding]| match &findings.last().unwrap().remedy {
        Some(Fix::ByHand { lines, place, .. }) => (lines.clone(), place.clone()),
        other => panic!("{other:?}"),
    };
    let (lines, place) = by_hand(&findings);
    assert_eq!(lines, ["host replication backup 10.0.0.7/32 scram-sha-256"]);
    assert_eq!(place, "pg_hba.conf");
    let (databases, users) = (vec!["replication".to_owned()], vec!["backup".to_owned()]);
    facts.hba = Some(vec![HbaRule { line: 97, databases, users, error: None }]);
    assert!(by_hand(&plan(&facts, &wanted)).1.contains("line 97 may already be it"));

    let slot = |status: &str, kind: &str, is_active| Slot {
        name: "drctl".to_owned(),
        kind: kind.to_owned(),
        is_active,
        wal_status: Some(status.to_owned()),
    };
    let state = |facts: &SettingFacts| {
        let findings = plan(facts, &wanted);
        findings.iter().find(|finding| finding.name == "slot").unwrap().state
    };
    for (slot, expected) in [
        (slot("reserved", "physical", true), SettingState::Fine),
        (slot("reserved", "physical", false), SettingState::Idle),
        (slot("lost", "physical", false), SettingState::Missing),
        (slot("reserved", "logical", true), SettingState::Foreign),
    ] {
        facts.slots = vec![slot];
        assert_eq!(state(&facts), expected, "{:?}", facts.slots);
    }
}

#[test]
fn the_command_survives_a_shell_and_postgresql() {
    let line = push_command(Path::new("/opt/dr ctl/it's"), Path::new("/etc/100%/p.toml"), None);
    assert_eq!(line, r"'/opt/dr ctl/it'\''s' --policy '/etc/100%%/p.toml' wal push %p");
    let named = push_command(Path::new("/drctl"), Path::new("/p"), Some(&"db".parse().unwrap()));
    assert_eq!(named, "/drctl --policy /p wal push db %p");
}
