//! Logins by a token of IAM: to an instance that is dumped, to one that is restored, and what a refused one says.

use chrono::Duration;

use super::support::Outcome;
use super::support::classboard::{AWAY, Classboard, HOME};
use super::support::postgres::Cluster;
use super::support::rds::{ALIAS, Timing};

fn identity(board: &Classboard) -> String {
    board.system.operational.display().to_string()
}

/// Every token shown so far, all of them good.
fn good_tokens(board: &Classboard) -> Outcome<Vec<String>> {
    let shown = board.server.tokens().into_iter();
    let judged = shown.map(|(token, outcome)| outcome.map(|()| token));
    Ok(judged.collect::<Result<_, _>>()?)
}

fn holds(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window == word.as_bytes())
}

/// Turns IAM authentication of an instance on or off.
async fn set_iam(board: &Classboard, instance: &str, is_on: bool) -> Outcome<()> {
    let change = board.server.client(HOME).modify_db_instance().db_instance_identifier(instance);
    let change = change.enable_iam_database_authentication(is_on).apply_immediately(true);
    change.send().await?;
    for _ in 0..1000 {
        let now = board.server.look_up(HOME, instance)?;
        if now.settings.iam_authentication == is_on && now.status == "available" {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    Err("IAM authentication stays as it was".into())
}

#[tokio::test]
async fn a_dump_by_token_is_restored_on_a_server_of_ones_own_and_on_the_instance() -> Outcome<()> {
    let board = Classboard::by_token(Timing::default()).await?;
    let run = board.system.expect(0, &["backup", "instance", "--kind", "logical", "-v"]).await?;
    let tokens = good_tokens(&board)?;
    // drctl's own connection, pg_dump's and pg_dumpall's.
    assert!(tokens.len() >= 3, "{tokens:?}");
    let bundle = board.server.put_doors().display().to_string();
    let policy = std::fs::read_to_string(board.system.policy())?;
    assert!(policy.contains(&format!("sslmode=verify-full&sslrootcert={bundle}")));

    let own = Cluster::start(15).await?;
    let (key, to) = (identity(&board), own.url("school"));
    board.system.expect(0, &["restore", "instance", "--to", &to, "--no-owner", "-i", &key]).await?;
    let names = "SELECT string_agg(name, ' ' ORDER BY id) FROM pupils";
    assert_eq!(own.text("school", names).await?, "ada");
    assert_eq!(board.server.tokens().len(), tokens.len(), "a token was shown to another server");

    let again = ["restore", "instance", "--to", "again", "--no-owner", "--jobs", "2", "-i", &key];
    let restored = board.system.expect(0, &again).await?;
    assert!(good_tokens(&board)?.len() >= tokens.len() + 3);

    // What was shown is nowhere else: not in what was said, nor in what is kept.
    let files = super::support::system::contents(board.system.path())?.into_keys();
    let kept = files.map(std::fs::read).collect::<Result<Vec<_>, _>>()?;
    assert!(kept.iter().any(|bytes| holds(bytes, "classboard")), "nothing is seen in what is kept");
    for token in good_tokens(&board)? {
        let signature = token.rsplit('=').next().unwrap_or_default();
        assert_eq!(signature.len(), 64);
        for said in [&run, &restored] {
            assert!(!format!("{said:?}").contains(signature));
        }
        assert!(!kept.iter().any(|bytes| holds(bytes, signature)));
    }
    assert_eq!(board.server.failures(), Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn an_instance_restored_in_another_region_is_usable_by_a_token_for_its_own_address() -> Outcome<()> {
    let board = Classboard::by_token(Timing::default()).await?;
    board.system.expect(0, &["backup", "instance", "--kind", "snapshot"]).await?;
    let key = identity(&board);
    let restore = ["restore", "instance", "--latest", "--to-instance", "new", "--from", AWAY, "-i", &key];
    board.system.expect(0, &restore).await?.says("usable")?;
    let port = board.server.look_up(AWAY, "new")?.port().ok_or("no server")?;
    let tokens = good_tokens(&board)?;
    assert!(tokens.iter().all(|token| token.starts_with(&format!("127.0.0.1:{port}/"))), "{tokens:?}");
    assert!(tokens.iter().all(|token| token.contains(&format!("%2F{AWAY}%2Frds-db"))), "{tokens:?}");
    assert!(!tokens.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_restored_instance_without_iam_authentication_is_said_and_mended_by_the_same_command() -> Outcome<()>
{
    let board = Classboard::by_token(Timing::default()).await?;
    set_iam(&board, "classboard", false).await?;
    board.system.expect(0, &["backup", "instance", "--kind", "snapshot"]).await?;
    let key = identity(&board);
    let restore = ["restore", "instance", "--latest", "--to-instance", "new", "-i", &key];
    let refused = board.system.expect(1, &restore).await?;
    refused.says("IAM authentication is off on `new`")?.says("--enable-iam-database-authentication")?;
    assert!(board.server.tokens().is_empty());
    set_iam(&board, "new", true).await?;
    board.system.expect(0, &restore).await?.says("usable")?;
    Ok(())
}

#[tokio::test]
async fn a_token_that_is_refused_says_what_to_look_at() -> Outcome<()> {
    let board = Classboard::by_token(Timing::default()).await?;
    let dump = ["backup", "instance", "--kind", "logical"];
    let refused = async || -> Outcome<String> {
        let run = board.system.expect(1, &dump).await?;
        run.says("PAM authentication failed for user \"drctl\"")?;
        for words in ["rds_iam", "rds-db:connect", "IAM authentication", "clock"] {
            run.says(words)?;
        }
        let (_, outcome) = board.server.tokens().pop().ok_or("no token was shown")?;
        Ok(outcome.err().ok_or("the token was taken")?)
    };
    board.server.set_clock_ahead(Duration::minutes(16));
    assert!(refused().await?.contains("it is of"));
    board.server.set_clock_ahead(Duration::minutes(-6));
    assert!(refused().await?.contains("it is of"));
    board.server.set_clock_ahead(Duration::zero());
    board.server.deny("rds-db:connect");
    assert!(refused().await?.contains("may not"));
    board.server.allow("rds-db:connect");

    // As through a CNAME that TLS has nothing against.
    board.system.rewrite("@127.0.0.1:", &format!("@{ALIAS}:"))?;
    assert!(refused().await?.contains("it is for localhost"));
    board.system.expect(1, &["doctor"]).await?.says("the URL names localhost")?;
    board.system.rewrite(&format!("@{ALIAS}:"), "@127.0.0.1:")?;

    set_iam(&board, "classboard", false).await?;
    assert!(refused().await?.contains("is off"));
    let doctor = board.system.expect(1, &["doctor"]).await?;
    doctor.says("IAM authentication is off for `classboard`")?;
    set_iam(&board, "classboard", true).await?;

    let mut connection = board.enter(HOME, "classboard").await?;
    sqlx::raw_sql("REVOKE rds_iam FROM drctl; ALTER ROLE drctl PASSWORD 'another'")
        .execute(&mut connection)
        .await?;
    let shown = board.server.tokens().len();
    let run = board.system.expect(1, &dump).await?;
    run.says("password authentication failed")?.says("grant the role `rds_iam`")?;
    assert_eq!(board.server.tokens().len(), shown, "it was asked for a token");
    sqlx::raw_sql("GRANT rds_iam TO drctl").execute(&mut connection).await?;
    board.system.expect(0, &dump).await?;
    board.system.drctl(&["doctor", "--all"]).await?.says("IAM authentication is on for `classboard`")?;
    Ok(())
}

#[tokio::test]
async fn no_token_is_shown_to_a_server_that_is_not_verified() -> Outcome<()> {
    let board = Classboard::by_token(Timing::default()).await?;
    let dump = ["backup", "instance", "--kind", "logical"];
    for mode in ["require", "verify-ca", "disable"] {
        board.system.rewrite("sslmode=verify-full", &format!("sslmode={mode}"))?;
        board.system.expect(2, &dump).await?.says("not verified")?;
        board.system.rewrite(&format!("sslmode={mode}"), "sslmode=verify-full")?;
    }
    // Another authority than the one that vouches for the server.
    let foreign = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()])?.cert.pem();
    let file = board.system.path().join("foreign.pem");
    std::fs::write(&file, foreign)?;
    let bundle = board.server.put_doors().display().to_string();
    board.system.rewrite(&bundle, &file.display().to_string())?;
    board.system.expect(1, &dump).await?;
    assert!(board.server.tokens().is_empty());
    Ok(())
}
