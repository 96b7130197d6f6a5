//! A Redis server that is written to, backed up, lost and restored.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::Outcome;
use crate::support::authority::Certified;
use crate::support::redis::Redis;
use crate::support::system::{Place, Run, System, contents, until};

/// Its own client may then compute a digest of everything.
const DEBUG: [&str; 2] = ["--enable-debug-command", "yes"];

fn system(url: &str, more: &str) -> Outcome<System> {
    let source = format!("[sources.sessions]\nkind = \"redis\"\nurl = \"{url}\"\n{more}\n");
    System::of(&source, &[Place::Directory, Place::Directory])
}

async fn restore(system: &System, code: i32, to: &str, more: &[&str]) -> Outcome<Run> {
    let key = system.operational.display().to_string();
    let arguments = [&["restore", "sessions", "--identity", &key, "--to", to], more].concat();
    system.expect(code, &arguments).await
}

/// Keys of every kind, in three databases, with functions, bytes of every value, and times to live.
fn fill(redis: &Redis) -> Outcome<()> {
    let script = "
        for n = 1, 3000 do redis.call('SET', 'confidential:' .. n, string.rep('x', n % 50)) end
        redis.call('SET', 'bin\\0\\r\\n\\255', 'a\\0b\\255')
        redis.call('SET', 'long', string.rep('compresses ', 9000))
        redis.call('SET', 'lives', 'for a day', 'EX', 86400)
        redis.call('SET', 'dies', 'soon', 'PX', 1500)
        for n = 1, 700 do
            redis.call('RPUSH', 'list', n .. string.rep('y', 40)) redis.call('SADD', 'words', 'w' .. n)
            redis.call('SADD', 'numbers', n) redis.call('ZADD', 'scores', n / 3, 'm' .. n)
            redis.call('HSET', 'hash', 'f' .. n, n) redis.call('XADD', 'stream', n .. '-1', 'k', n)
        end
        redis.call('ZADD', 'few', 'inf', 'a', '-inf', 'b') redis.call('HSET', 'small', 'a', 1) redis.call('PFADD', 'hll', 1, 2)
        redis.call('XGROUP', 'CREATE', 'stream', 'workers', '5-1')
        redis.call('XREADGROUP', 'GROUP', 'workers', 'one', 'COUNT', 3, 'STREAMS', 'stream', '>')
        redis.call('SELECT', 3) redis.call('SET', 'a', 1) redis.call('SET', 'b', 2, 'EX', 86400)
        redis.call('SELECT', 15) redis.call('SET', 'last', 1)";
    redis.cli(&["EVAL", script, "0"])?;
    let library = "#!lua name=shop\nredis.register_function('one', function() return 1 end)";
    redis.cli(&["FUNCTION", "LOAD", library])?;
    Ok(())
}

/// Two counters that are equal at any time, in a database of their own.
async fn count_up(port: u16, over: Arc<AtomicBool>, counted: Arc<AtomicU64>) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"SELECT 7\r\n").await?;
    let mut answer = [0; 256];
    if stream.read(&mut answer).await? == 0 {
        return Ok(());
    }
    while !over.load(Ordering::Relaxed) {
        stream.write_all(b"MULTI\r\nINCR one\r\nINCR two\r\nEXEC\r\n").await?;
        let mut text = String::new();
        while text.matches(':').count() < 2 {
            let read = stream.read(&mut answer).await?;
            text.push_str(&String::from_utf8_lossy(&answer[..read]));
        }
        counted.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

#[tokio::test]
async fn everything_comes_back_into_a_directory_and_into_a_server() -> Outcome<()> {
    let redis = Redis::start(&DEBUG)?;
    fill(&redis)?;
    let system = system(&redis.url(), "")?;

    // While it is written to, a dump is of one point in time.
    let (over, counted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writer = tokio::spawn(count_up(redis.port, Arc::clone(&over), Arc::clone(&counted)));
    until("something is counted", || counted.load(Ordering::Relaxed) > 5).await?;
    let before = counted.load(Ordering::Relaxed);
    system.expect(0, &["backup"]).await?.says("checksum verified")?.says("2 keys in database 7")?;
    let after = counted.load(Ordering::Relaxed) + 1;
    over.store(true, Ordering::Relaxed);
    writer.await??;
    // 1 key of this one dies, which is no loss.
    until("a key has died", || redis.cli(&["EXISTS", "dies"]).is_ok_and(|text| text == "0")).await?;
    let report = restore(&system, 0, "running", &[]).await?;
    report.says("the time to live of 1 key has ended")?.says("appendonly")?;
    let config = system.path().join("running/redis.conf").display().to_string();
    let restored = start_restored(&config, &system.path().join("running"))?;
    let number = |key: &str| -> Outcome<u64> { Ok(restored.cli(&["-n", "7", "GET", key])?.parse()?) };
    assert_eq!(number("one")?, number("two")?);
    assert!((before..=after).contains(&number("one")?), "{before}, {}, {after}", number("one")?);
    drop(restored);

    // When it is not, the digests agree: in a directory, and in a server with an append-only file.
    system.expect(0, &["backup"]).await?;
    let digest = redis.digest()?;
    let functions = redis.cli(&["FUNCTION", "LIST", "WITHCODE"])?;
    restore(&system, 0, "quiet", &[]).await?;
    let quiet = system.path().join("quiet");
    let restored = start_restored(&quiet.join("redis.conf").display().to_string(), &quiet)?;
    assert_eq!(restored.digest()?, digest);
    drop(restored);
    restore(&system, 2, "quiet", &[]).await?.says("exists, and is not overwritten")?;
    let target = Redis::start(&[&DEBUG[..], &["--appendonly", "yes"]].concat())?;
    let report = restore(&system, 0, &target.url(), &[]).await?;
    report.says("append-only file gets every key")?;
    assert_eq!(target.digest()?, digest);
    assert_eq!(target.cli(&["FUNCTION", "LIST", "WITHCODE"])?, functions);
    // Nothing is loaded beside what is there.
    restore(&system, 2, &target.url(), &[]).await?.says("nothing is loaded beside them")?;
    assert_eq!(target.digest()?, digest);

    // Neither names nor values of keys are in the clear.
    for file in contents(&system.repository("primary"))?.into_keys() {
        let bytes = std::fs::read(&file)?;
        assert!(!bytes.windows(12).any(|word| word == b"confidential"), "{}", file.display());
    }
    without_drctl(&system, &digest)
}

/// What the manifest says to do without drctl does it, up to the server that is started.
fn without_drctl(system: &System, digest: &str) -> Outcome<()> {
    let backups = std::fs::read_dir(system.repository("primary").join("shop/sessions/backups"))?;
    let mut folders: Vec<_> =
        backups.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    folders.sort();
    let folder = folders.pop().ok_or("there is no backup")?;
    std::fs::copy(&system.escrow, folder.join("identity.txt"))?;
    let manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join("manifest.json"))?)?;
    let lines = manifest["by_hand"].as_array().ok_or("by_hand")?;
    let mut script: Vec<_> = lines.iter().filter_map(|line| line.as_str()).collect();
    let server = script.iter().position(|line| line.starts_with("redis-server ")).ok_or("no server")?;
    script.truncate(server);
    let done = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &script.join("\n")])
        .current_dir(&folder)
        .output()?;
    assert!(done.status.success(), "{done:?}");
    let restored = Redis::start(
        &[
            &DEBUG[..],
            &[
                "--dir",
                &folder.join("restored").display().to_string(),
                "--dbfilename",
                "dump.rdb",
                "--appendonly",
                "no",
            ],
        ]
        .concat(),
    )?;
    assert_eq!(restored.digest()?, digest);
    Ok(())
}

/// Starts a server with the configuration that a restore wrote.
fn start_restored(config: &str, folder: &Path) -> Outcome<Redis> {
    let text = std::fs::read_to_string(config)?;
    assert!(text.contains("appendonly no") && text.contains(&folder.display().to_string()), "{text}");
    let folder = folder.display().to_string();
    Redis::start(
        &[&DEBUG[..], &["--dir", &folder, "--dbfilename", "dump.rdb", "--appendonly", "no"]].concat(),
    )
}

#[tokio::test]
async fn who_may_not_log_in_or_copy_is_told_and_no_password_is() -> Outcome<()> {
    const PASSWORD: &str = "correct-horse-9";
    let redis = Redis::start(&["--requirepass", PASSWORD])?;
    let mut system = system(&redis.url(), "password = \"env:REDIS_PASSWORD\"")?;
    system.set("REDIS_PASSWORD", "wrong-horse-7");
    let mut said = vec![system.expect(1, &["backup"]).await?];
    said[0].says("refused the user or the password")?;
    system.expect(1, &["doctor"]).await?.says("refused the user or the password")?;
    system.set("REDIS_PASSWORD", PASSWORD);
    system.drctl(&["doctor"]).await?.says("0 faults")?;
    system.expect(0, &["backup"]).await?;
    system.rewrite("password = \"env:REDIS_PASSWORD\"", "")?;
    system.expect(1, &["backup"]).await?.says("requires a password")?;

    let log_in = |url: &str| format!("url = \"{url}\"\npassword = \"env:REDIS_PASSWORD\"");
    let user = Redis::start(&["--user", "reader", "on", ">correct-horse-9", "+info", "+replconf", "~*"])?;
    let as_reader = user.url().replace("redis://", "redis://reader@");
    system.rewrite(&format!("url = \"{}\"", redis.url()), &log_in(&as_reader))?;
    said.push(system.expect(1, &["backup"]).await?);
    said[1].says("may not run SYNC")?.says("ACL SETUSER name +sync")?;

    let managed = Redis::start(&["--requirepass", PASSWORD, "--rename-command", "SYNC", ""])?;
    system.rewrite(&log_in(&as_reader), &log_in(&managed.url()))?;
    said.push(system.expect(1, &["backup"]).await?);
    said[2].says("managed services")?;

    let target = format!("redis://:{PASSWORD}@127.0.0.1:1");
    let refused = restore(&system, 2, &target, &[]).await?;
    refused.says("holds a password")?;
    said.push(refused);
    for run in said {
        assert!(!run.stdout.contains("horse") && !run.stderr.contains("horse"), "{run:?}");
    }
    for file in contents(system.path())?.into_keys() {
        let bytes = std::fs::read(&file)?;
        assert!(!bytes.windows(5).any(|word| word == b"horse"), "{}", file.display());
    }
    Ok(())
}

#[tokio::test]
async fn a_server_with_tls_is_trusted_by_its_authority_only() -> Outcome<()> {
    let folder = crate::support::scratch::folder()?;
    let certified = Certified::make(folder.path(), &["localhost"])?;
    let redis = Redis::start_with_tls(&certified)?;
    redis.cli(&["SET", "a", "1"])?;
    let url = format!("rediss://localhost:{}", redis.port);
    let system = system(&url, "")?;
    system.expect(1, &["backup"]).await?.says("failed to set up TLS")?;
    let authority = format!("url = \"{url}\"\nca_certificate = \"{}\"", certified.authority.display());
    system.rewrite(&format!("url = \"{url}\""), &authority)?;
    system.expect(0, &["backup"]).await?.says("1 key in database 0")?;
    redis.cli(&["DEL", "a"])?;
    restore(&system, 0, &url, &[]).await?;
    assert_eq!(redis.cli(&["GET", "a"])?, "1");
    Ok(())
}

#[tokio::test]
async fn sentinel_names_the_server_that_is_backed_up() -> Outcome<()> {
    let redis = Redis::start(&[])?;
    redis.cli(&["SET", "a", "1"])?;
    let config = redis.folder().join("sentinel.conf");
    std::fs::write(&config, format!("sentinel monitor sessions 127.0.0.1 {} 1\n", redis.port))?;
    let sentinel = Redis::start_sentinel(&config)?;
    let system = system(&sentinel.url(), "sentinel_master = \"sessions\"")?;
    system.expect(0, &["backup"]).await?.says("1 key in database 0")?;
    system.rewrite("\"sessions\"", "\"another\"")?;
    system.expect(1, &["backup"]).await?.says("does not know a master `another`")?;
    Ok(())
}
