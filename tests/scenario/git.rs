//! Backups of Git repositories: with branches that go, come back elsewhere and are forced.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;

use crate::support::Outcome;
use crate::support::system::{Place, System, contents, until, write_private};

const TOKEN: &str = "hush-token-4711";
/// A part of the names of refs, files and commits, which stand nowhere in clear.
const MARKER: &str = "confidential";

/// A system with a repository that is its remote, and a working tree that pushes to it.
struct Ground {
    system: System,
    origin: PathBuf,
    work: PathBuf,
}

impl Ground {
    fn new() -> Outcome<Self> {
        let system = System::of(
            "[sources.code]\nkind = \"git\"\nremote = \"REMOTE\"\n",
            &[Place::Directory, Place::Directory],
        )?;
        let (origin, work) = (system.path().join("origin.git"), system.path().join("work"));
        system.rewrite("REMOTE", &format!("file://{}", origin.display()))?;
        let ground = Self { system, origin, work };
        git(ground.system.path(), &["init", "--quiet", "--bare", "-b", "main", "origin.git"])?;
        git(ground.system.path(), &["init", "--quiet", "-b", "main", "work"])?;
        ground.git(&["remote", "add", "origin", &ground.origin.display().to_string()])?;
        Ok(ground)
    }

    fn git(&self, arguments: &[&str]) -> Outcome<String> {
        git(&self.work, arguments)
    }

    fn commit(&self, name: &str) -> Outcome<()> {
        std::fs::write(self.work.join(name), format!("{name}\n").repeat(500))?;
        self.git(&["add", "."])?;
        self.git(&["commit", "--quiet", "-m", name]).map(drop)
    }

    /// The refs and the HEAD of a repository.
    fn refs(&self, repository: &Path) -> Outcome<String> {
        let refs = git(repository, &["for-each-ref", "--format=%(objectname) %(refname)"])?;
        Ok(format!("{refs}{}", git(repository, &["symbolic-ref", "HEAD"])?))
    }

    /// Takes a backup, and returns its id and its parent.
    async fn back_up(&self) -> Outcome<(String, Option<String>)> {
        let run = self.system.expect(0, &["backup", "--output", "json"]).await?;
        let document = run.document()?;
        let source = &document["sources"][0];
        let text = |key: &str| source[key].as_str().map(str::to_owned);
        Ok((text("backup").ok_or_else(|| format!("no backup: {document:#}"))?, text("parent")))
    }

    async fn restore(&self, backup: &str, to: &str) -> Outcome<PathBuf> {
        let identity = self.system.operational.to_str().ok_or("path")?;
        self.system.expect(0, &["restore", "code", "-i", identity, "--backup", backup, "--to", to]).await?;
        Ok(self.system.path().join(to))
    }

    fn folder(&self, backup: &str) -> PathBuf {
        self.system.repository("primary").join("shop/code/backups").join(backup)
    }

    fn state(&self) -> PathBuf {
        self.system.path().join("state/git/shop/code")
    }
}

fn git(directory: &Path, arguments: &[&str]) -> Outcome<String> {
    let output = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "safe.directory=*"])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .current_dir(directory)
        .output()?;
    if !output.status.success() {
        return Err(format!("git {arguments:?}: {output:?}").into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

#[tokio::test]
async fn every_ref_comes_back_as_it_was_at_each_backup() -> Outcome<()> {
    let ground = Ground::new()?;
    for name in ["one", "two", "three-confidential"] {
        ground.commit(name)?;
    }
    ground.git(&["tag", "-a", "v1", "-m", "the first"])?;
    ground.git(&["tag", "light", "HEAD~1"])?;
    ground.git(&["notes", "add", "-m", "a note"])?;
    ground.git(&["branch", "feature-confidential", "HEAD~1"])?;
    ground.git(&["branch", "back"])?;
    ground.git(&["branch", "topic"])?;
    ground.git(&["push", "--quiet", "--mirror", "origin"])?;
    git(&ground.origin, &["update-ref", "refs/pull/1/head", "refs/heads/main"])?;
    let mut taken = vec![];
    let mut take = async || -> Outcome<Option<String>> {
        let (backup, parent) = ground.back_up().await?;
        taken.push((backup, ground.refs(&ground.origin)?));
        Ok(parent)
    };
    assert_eq!(take().await?, None, "the first one is full");

    ground.commit("four")?;
    ground.git(&["tag", "-a", "v2", "-m", "the second"])?;
    ground.git(&["push", "--quiet", "origin", "main", "v2"])?;
    assert!(take().await?.is_some(), "there is something to build on");

    assert!(take().await?.is_some(), "nothing is new");

    // Nothing new either, but refs: one is gone, one goes back, and a directory takes the place of one.
    ground.git(&[
        "push",
        "--quiet",
        "--force",
        "origin",
        ":feature-confidential",
        "main~3:refs/heads/back",
        ":topic",
    ])?;
    ground.git(&["push", "--quiet", "origin", "main:refs/heads/topic/deep"])?;
    git(&ground.origin, &["symbolic-ref", "HEAD", "refs/heads/back"])?;
    assert!(take().await?.is_some());

    // History is rewritten, and the remote forgets the old one.
    ground.git(&["checkout", "--quiet", "-B", "main", "HEAD~2"])?;
    ground.commit("five")?;
    ground.git(&["push", "--quiet", "--force", "origin", "main"])?;
    git(&ground.origin, &["reflog", "expire", "--expire=now", "--all"])?;
    git(&ground.origin, &["gc", "--quiet", "--prune=now"])?;
    assert!(take().await?.is_some());

    let has_bundle = |backup: &str| ground.folder(backup).join("repository.bundle.zst.age").exists();
    let bundles: Vec<bool> = taken.iter().map(|(backup, _)| has_bundle(backup)).collect();
    assert_eq!(bundles, [true, true, false, false, true]);
    for (n, (backup, refs)) in taken.iter().enumerate() {
        let restored = ground.restore(backup, &format!("restored-{n}.git")).await?;
        assert_eq!(ground.refs(&restored)?, *refs, "{backup}");
        git(&restored, &["fsck", "--full", "--strict"])?;
        assert!(!restored.join("hooks").exists());
        git(
            ground.system.path(),
            &["clone", "--quiet", &restored.display().to_string(), &format!("clone-{n}")],
        )?;
    }
    let identity = ground.system.operational.to_str().ok_or("path")?;
    let there = ["restore", "code", "-i", identity, "--to", "restored-0.git"];
    ground.system.expect(2, &there).await?.says("is not overwritten")?;

    // The manifest's own commands, with standard tools: the directories of the chain stand side by side.
    let (backup, refs) = taken.last().ok_or("none")?;
    let folder = ground.folder(backup);
    std::fs::copy(&ground.system.operational, folder.join("identity.txt"))?;
    let manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join("manifest.json"))?)?;
    let commands: Vec<&str> =
        manifest["by_hand"].as_array().into_iter().flatten().filter_map(|command| command.as_str()).collect();
    let script = commands.join("\n");
    let output =
        Command::new("bash").args(["-euxo", "pipefail", "-c", &script]).current_dir(&folder).output()?;
    assert!(output.status.success(), "{script}\n{output:?}");
    assert_eq!(ground.refs(&folder.join("repository.git"))?, *refs);

    std::fs::remove_dir_all(folder.join("repository.git"))?;
    std::fs::remove_file(folder.join("refs.txt"))?;
    std::fs::remove_file(folder.join("repository.bundle"))?;
    for folder in ["primary", "west"] {
        for path in contents(&ground.system.path().join(folder))?.into_keys() {
            let bytes = std::fs::read(&path)?;
            let told = bytes.windows(MARKER.len()).any(|window| window == MARKER.as_bytes());
            assert!(!told, "{}", path.display());
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_a_host_lost_or_cannot_trust_makes_a_full_backup_that_says_why() -> Outcome<()> {
    let ground = Ground::new()?;
    ground.commit("one")?;
    ground.git(&["push", "--quiet", "--mirror", "origin"])?;
    ground.back_up().await?;
    let states = || -> Outcome<Vec<PathBuf>> {
        let all = std::fs::read_dir(ground.state())?.map(|entry| entry.map(|entry| entry.path()));
        let all: Vec<_> = all.collect::<Result<_, _>>()?;
        Ok(all.into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "index")).collect())
    };
    let full = async |words: &str| -> Outcome<()> {
        ground.system.expect(0, &["backup", "--plan"]).await?.says("full")?;
        let run = ground.system.expect(0, &["backup"]).await?;
        run.says(words).map(drop)
    };

    for state in states()? {
        let mut bytes = std::fs::read(&state)?;
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        std::fs::write(&state, bytes)?;
    }
    full("is not what was written").await?;
    assert!(ground.back_up().await?.1.is_some());
    std::fs::remove_dir_all(ground.system.path().join("state/git"))?;
    full("does not keep its state").await?;
    ground.system.rewrite("origin.git", "./origin.git")?;
    full("settings of the source have changed").await?;

    // A parent that a copy lacks, or that was found bad, is none.
    let (newest, _) = ground.back_up().await?;
    std::fs::remove_file(
        ground.system.repository("west").join("shop/code/backups").join(&newest).join("manifest.json"),
    )?;
    let run = ground.system.expect(0, &["backup", "--output", "json"]).await?;
    let parent = run.document()?["sources"][0]["parent"].as_str().map(str::to_owned);
    assert!(parent.is_none_or(|parent| parent != newest), "{run:#?}");

    // The mirror is a cache: damaged, locked by a run that was killed, or gone, it is cloned again.
    let mirror = ground.state().join("mirror.git");
    for n in 0..3 {
        match n {
            0 => std::fs::write(mirror.join("packed-refs.lock"), "")?,
            1 => {
                for path in contents(&mirror.join("objects"))?.into_keys() {
                    std::fs::remove_file(path)?;
                }
            }
            _ => std::fs::remove_dir_all(&mirror)?,
        }
        ground.commit(&format!("after-{n}"))?;
        ground.git(&["push", "--quiet", "--mirror", "origin"])?;
        let (backup, _) = ground.back_up().await?;
        let restored = ground.restore(&backup, &format!("after-{n}.git")).await?;
        assert_eq!(ground.refs(&restored)?, ground.refs(&ground.origin)?);
    }

    // `incrementals = 0` keeps nothing and builds on nothing.
    ground.system.append("incrementals = 0")?;
    assert_eq!(ground.back_up().await?.1, None);
    assert_eq!(ground.back_up().await?.1, None);

    // A broken chain is refused before anything is touched.
    ground.system.rewrite("incrementals = 0", "incrementals = 5")?;
    let (full, _) = ground.back_up().await?;
    let (child, parent) = ground.back_up().await?;
    assert_eq!(parent, Some(full.clone()));
    for repository in ["primary", "west"] {
        let folder = ground.system.repository(repository).join("shop/code/backups").join(&full);
        std::fs::remove_dir_all(folder)?;
    }
    let identity = ground.system.operational.to_str().ok_or("path")?;
    let broken = ["restore", "code", "-i", identity, "--backup", &child, "--to", "broken.git"];
    ground.system.expect(10, &broken).await?.says("its parent")?;
    assert!(!ground.system.path().join("broken.git").exists());
    Ok(())
}

#[tokio::test]
async fn a_remote_that_cannot_be_read_is_said_and_nothing_is_stored() -> Outcome<()> {
    let ground = Ground::new()?;
    let is_untouched = || !ground.system.repository("primary").join("shop/code").exists();
    ground.system.expect(1, &["backup"]).await?.says("is empty: it has no refs")?;
    let remote = format!("file://{}", ground.origin.display());
    let mut current = remote;
    for (other, words) in [
        (format!("file://{}", ground.system.path().display()), "there is no Git repository at"),
        ("http://127.0.0.1:1/code.git".to_owned(), "cannot be reached"),
        ("--upload-pack=touch".to_owned(), "would be an option of Git"),
        ("ext::sh -c touch% x".to_owned(), "transport 'ext' not allowed"),
    ] {
        ground.system.rewrite(&current, &other)?;
        current = other;
        ground.system.expect(1, &["backup"]).await?.says(words)?;
        assert!(is_untouched(), "{current}");
    }
    ground.system.rewrite(&current, "http://git.example.org/code.git")?;
    ground.system.append(&format!("token = \"file:{}/token\"", ground.system.path().display()))?;
    write_private(&ground.system.path().join("token"), TOKEN)?;
    ground.system.expect(1, &["backup"]).await?.says("a token is sent over https only")?;
    Ok(())
}

/// Serves the files of a repository, as a server without Git does, to those who have the token.
async fn serve(origin: PathBuf) -> Outcome<SocketAddr> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    // `x-access-token:hush-token-4711`
    let expected = "Basic eC1hY2Nlc3MtdG9rZW46aHVzaC10b2tlbi00NzEx";
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let origin = origin.clone();
            tokio::spawn(async move {
                let answer = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                    let given = request.headers().get("authorization").and_then(|value| value.to_str().ok());
                    let path = request.uri().path().trim_start_matches("/code.git/").to_owned();
                    let file = std::fs::read(origin.join(path));
                    let (status, body) = match (given == Some(expected), file) {
                        (false, _) => (StatusCode::UNAUTHORIZED, b"no".to_vec()),
                        (true, Err(_)) => (StatusCode::NOT_FOUND, vec![]),
                        (true, Ok(bytes)) => (StatusCode::OK, bytes),
                    };
                    let mut answer = Response::new(Full::new(Bytes::from(body)));
                    *answer.status_mut() = status;
                    async move { Ok::<_, std::convert::Infallible>(answer) }
                });
                let _served = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(socket), answer)
                    .await;
            });
        }
    });
    Ok(address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_and_a_key_open_a_remote_and_are_in_no_argument() -> Outcome<()> {
    let mut ground = Ground::new()?;
    ground.commit("one")?;
    ground.git(&["push", "--quiet", "--mirror", "origin"])?;
    git(&ground.origin, &["update-server-info"])?;
    let address = serve(ground.origin.clone()).await?;
    // Git and ssh, with their arguments written down.
    let bin = ground.system.path().join("bin");
    std::fs::create_dir(&bin)?;
    let real = String::from_utf8(Command::new("sh").args(["-c", "command -v git"]).output()?.stdout)?;
    let log = ground.system.path().join("arguments");
    let git_stub = format!("echo \"$@\" >> {}; exec {} \"$@\"", log.display(), real.trim());
    // As the server's side of ssh, once the key is one: the command is the last argument.
    let ssh_stub = format!(
        "echo \"$@\" >> {}; while [ $# -gt 1 ]; do [ \"$1\" != -i ] || key=$2; shift; done; ssh-keygen -y -f \"$key\" >/dev/null || exit 255; exec sh -c \"$1\"",
        log.display()
    );
    for (name, text) in [("git", git_stub), ("ssh", ssh_stub)] {
        std::fs::write(bin.join(name), format!("#!/bin/bash\n{text}\n"))?;
        std::fs::set_permissions(bin.join(name), std::fs::Permissions::from_mode(0o755))?;
    }
    ground.system.set("PATH", &format!("{}:{}", bin.display(), std::env::var("PATH")?));
    let local = format!("file://{}", ground.origin.display());
    let http = format!("http://{address}/code.git");
    ground.system.rewrite(&local, &http)?;
    let denied = ground.system.expect(1, &["backup"]).await?;
    denied.says("rejected the credentials, or there are none")?;
    ground.system.append("token = \"env:GIT_TOKEN\"")?;
    ground.system.set("GIT_TOKEN", TOKEN);
    let (backup, _) = ground.back_up().await?;
    let restored = ground.restore(&backup, "restored.git").await?;
    assert_eq!(ground.refs(&restored)?, ground.refs(&ground.origin)?);
    let arguments = std::fs::read_to_string(&log)?;
    assert!(
        arguments.contains("fetch") && !arguments.contains(TOKEN) && !arguments.contains("Basic"),
        "{arguments}"
    );

    let key = ground.system.path().join("key");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status()?;
    assert!(made.success());
    ground.system.rewrite(&http, &format!("ssh://git@host.invalid{}", ground.origin.display()))?;
    ground.system.rewrite("token = \"env:GIT_TOKEN\"", &format!("ssh_key = \"file:{}\"", key.display()))?;
    ground.back_up().await?;
    let arguments = std::fs::read_to_string(&log)?;
    assert!(arguments.contains("BatchMode=yes") && !arguments.contains("PRIVATE KEY"), "{arguments}");
    assert!(!arguments.contains("StrictHostKeyChecking"), "{arguments}");
    Ok(())
}

#[tokio::test]
async fn a_backup_that_is_killed_is_none_and_the_next_one_is_whole() -> Outcome<()> {
    let ground = Ground::new()?;
    // As random as a picture: large enough to be still on its way.
    let noise: Vec<u8> = {
        let mut random = fastrand::Rng::with_seed(7);
        (0..24 << 20).map(|_| random.u8(..)).collect()
    };
    std::fs::write(ground.work.join("noise"), noise)?;
    ground.commit("one")?;
    ground.git(&["push", "--quiet", "--mirror", "origin"])?;
    let mirror = ground.state().join("mirror.git");
    for moment in [mirror.join("config"), mirror.join("drctl-remote")] {
        let mut running = ground.system.start(&["backup"])?;
        until("the mirror is there", || moment.exists() || running.has_ended()).await?;
        running.kill()?;
        System::expire_leases(&ground.system.repository("primary"))?;
    }
    let (backup, _) = ground.back_up().await?;
    let restored = ground.restore(&backup, "restored.git").await?;
    assert_eq!(ground.refs(&restored)?, ground.refs(&ground.origin)?);
    Ok(())
}
