use super::sandbox::Sandbox;

const DATABASE: &str = "postgres://drctl@localhost:1/shop";
const FLAGS: [&str; 13] = [
    "init",
    "--system",
    "shop",
    "--database",
    DATABASE,
    "--primary",
    "/backups/shop",
    "--copy",
    "west",
    "--operational",
    "host/op.key",
    "--escrow",
    "safe/escrow.key",
];

#[test]
fn flags_make_a_policy_and_keys_and_nothing_is_overwritten() {
    let sandbox = Sandbox::new().unwrap();
    let arguments = [FLAGS.as_slice(), &["--no-probe"]].concat();
    insta::assert_snapshot!(sandbox.run(&arguments).unwrap());
    let policy = std::fs::read_to_string(sandbox.path().join("drctl.toml")).unwrap();
    assert!(policy.contains(&format!("{}/west", sandbox.path().display())), "a path of this shell: {policy}");
    assert_eq!(sandbox.output(&["policy", "check"]).unwrap().status.code(), Some(0));
    insta::assert_snapshot!("again", sandbox.run(&arguments).unwrap());
    assert_eq!(std::fs::read_to_string(sandbox.path().join("drctl.toml")).unwrap(), policy);
}

#[test]
fn a_database_that_does_not_answer_leaves_nothing_behind() {
    let sandbox = Sandbox::new().unwrap();
    insta::assert_snapshot!(sandbox.run(&FLAGS).unwrap());
    for name in ["drctl.toml", "host/op.key", "safe/escrow.key"] {
        assert!(!sandbox.path().join(name).exists(), "{name}");
    }
}

#[test]
fn answers_that_make_no_policy_are_all_named_and_make_no_keys() {
    let sandbox = Sandbox::new().unwrap();
    let mut arguments = FLAGS;
    arguments[2] = "The Shop";
    arguments[4] = "postgres://drctl:hunter2@localhost/shop";
    let shown = sandbox.run(&arguments).unwrap();
    assert!(!shown.contains("hunter2"), "{shown}");
    insta::assert_snapshot!(shown);
    assert!(!sandbox.path().join("host/op.key").exists());
}

#[test]
fn without_a_terminal_what_is_missing_is_named() {
    let sandbox = Sandbox::new().unwrap();
    insta::assert_snapshot!(sandbox.run(&["init", "--primary", "s3://bucket/x"]).unwrap());
}

#[test]
fn a_compose_file_makes_the_whole_policy_and_no_secret_leaves_it() {
    let sandbox = Sandbox::new().unwrap();
    let compose = "
name: assistant
services:
  db:
    image: postgres:15
    ports: ['127.0.0.1:5432:5432']
    environment: { POSTGRES_USER: assistant, POSTGRES_PASSWORD: hunter2 }
    volumes: ['pgdata:/var/lib/postgresql/data']
  cache:
    image: redis:7-alpine
    command: redis-server --requirepass ${REDIS_PASSWORD}
    ports: ['127.0.0.1:6379:6379']
  api:
    build: .
    volumes: ['./data:/app/data']
volumes: { pgdata: }
";
    let write = |name: &str, bytes: &[u8]| {
        let path = sandbox.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    write("docker-compose.yml", compose.as_bytes());
    write(".env", b"REDIS_PASSWORD=s3cret\n");
    write("data/app.db", b"SQLite format 3\0 and the rest");
    write("data/upload.png", b"png");
    let arguments = [
        "init",
        "--compose",
        "docker-compose.yml",
        "--primary",
        "/backups/assistant",
        "--operational",
        "host/op.key",
        "--escrow",
        "safe/escrow.key",
        "--no-probe",
    ];
    let shown = sandbox.run(&arguments).unwrap();
    let policy = std::fs::read_to_string(sandbox.path().join("drctl.toml")).unwrap();
    for secret in ["hunter2", "s3cret"] {
        assert!(!policy.contains(secret) && !shown.contains(secret), "{shown}\n{policy}");
    }
    insta::assert_snapshot!(shown);
    assert_eq!(sandbox.output(&["policy", "check"]).unwrap().status.code(), Some(0));
    insta::assert_snapshot!("its_sources", sandbox.run(&["policy", "show"]).unwrap());
    write("none.yml", b"a: hunter2");
    let none = sandbox.run(&["--policy", "x.toml", "init", "--compose", "none.yml"]).unwrap();
    assert!(none.contains("no services") && !none.contains("hunter2"), "{none}");
}
