//! Backups of what a command writes.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use crate::support::Outcome;
use crate::support::system::{Place, Run, System, contents, until, write_private};

const TOKEN: &str = "hush-3f9c-hush";

fn system(command: &str, more: &str) -> Outcome<System> {
    let sources = format!("[sources.exports]\nkind = \"command\"\ncommand = {command}\n{more}");
    System::of(&sources, &[Place::Directory, Place::Directory])
}

/// The objects of the source in the repository, without what is in them.
fn objects(system: &System) -> Outcome<BTreeSet<String>> {
    let folder = system.repository("primary").join("shop/exports");
    if !folder.exists() {
        return Ok(BTreeSet::new());
    }
    Ok(contents(&folder)?.into_keys().map(|path| path.to_string_lossy().into_owned()).collect())
}

fn script(system: &System, name: &str, text: &str) -> Outcome<()> {
    let path = system.path().join(name);
    std::fs::write(&path, format!("#!/bin/bash\n{text}"))?;
    Ok(std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?)
}

/// No secret in what is shown, nor in any file that drctl wrote.
fn hides_the_token(system: &System, runs: &[&Run]) -> Outcome<()> {
    for run in runs {
        assert!(!run.stdout.contains(TOKEN) && !run.stderr.contains(TOKEN), "{run:#?}");
    }
    for folder in ["primary", "west", "state"] {
        for path in contents(&system.path().join(folder))?.into_keys() {
            let bytes = std::fs::read(&path)?;
            let told = bytes.windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes());
            assert!(!told, "{}", path.display());
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_a_command_writes_comes_back_as_a_file_by_a_command_and_manually() -> Outcome<()> {
    let mut system = system(
        "[\"./export\"]",
        "restore_command = [\"./import\"]\nfile_name = \"search.ndjson\"\nenvironment = { TOKEN = \"env:SEARCH_TOKEN\" }\n",
    )?;
    system.set("SEARCH_TOKEN", TOKEN);
    script(
        &system,
        "export",
        "for n in $(seq 50000); do echo \"{\\\"id\\\": $n}\"; done; echo -n ${#TOKEN}",
    )?;
    script(&system, "import", "cat > imported; test -n \"$TOKEN\"")?;
    let backup = system.expect(0, &["backup"]).await?;
    let written = Command::new(system.path().join("export"))
        .env("TOKEN", TOKEN)
        .current_dir(system.path())
        .output()?
        .stdout;
    let identity = system.operational.to_str().ok_or("path")?.to_owned();

    let plan = ["restore", "exports", "-i", &identity, "--to", "file", "--plan"];
    system.expect(0, &plan).await?;
    assert!(!system.path().join("file").exists(), "a plan writes nothing");
    let to_file = ["restore", "exports", "-i", &identity, "--to", "file"];
    let restored = system.expect(0, &to_file).await?;
    assert_eq!(std::fs::read(system.path().join("file"))?, written);
    let mode = std::fs::metadata(system.path().join("file"))?.permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it may hold secrets");
    std::fs::write(system.path().join("file"), "mine")?;
    system.expect(2, &to_file).await?.says("is not overwritten")?;
    assert_eq!(std::fs::read(system.path().join("file"))?, b"mine");

    let to_command = ["restore", "exports", "-i", &identity, "--to", "restore_command", "--from", "west"];
    let imported = system.expect(0, &to_command).await?;
    assert_eq!(std::fs::read(system.path().join("imported"))?, written);
    script(&system, "import", "cat > /dev/null; echo \"denied: $TOKEN\" >&2; exit 7")?;
    let failed = system.expect(1, &to_command).await?;
    failed.says("denied: [hidden]")?.says("exit status 7")?;
    hides_the_token(&system, &[&backup, &restored, &imported, &failed])?;

    // The manifest's own commands, with standard tools.
    let list = system.expect(0, &["list", "--output", "json"]).await?.document()?;
    let id = list["backups"][0]["id"].as_str().ok_or("no backup")?.to_owned();
    let folder = system.repository("primary").join("shop/exports/backups").join(&id);
    std::fs::copy(&system.operational, folder.join("identity.txt"))?;
    let manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join("manifest.json"))?)?;
    let commands: Vec<&str> =
        manifest["by_hand"].as_array().into_iter().flatten().filter_map(|c| c.as_str()).collect();
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &commands.join("\n")])
        .current_dir(&folder)
        .output()?;
    assert!(output.status.success(), "{commands:#?}: {output:?}");
    assert_eq!(std::fs::read(folder.join("search.ndjson"))?, written);
    Ok(())
}

#[tokio::test]
async fn a_command_that_fails_stores_nothing_and_says_why() -> Outcome<()> {
    for (text, more, words) in [
        ("exit 0", "", "the command wrote nothing"),
        ("head -c 3000000 /dev/urandom; echo no disk left >&2; exit 3", "", "exit status 3: no disk left"),
        ("echo begun; kill -9 $$", "", "was killed"),
        ("echo begun; sleep 60", "deadline = \"1s\"", "did not end in 1s"),
        (
            "echo \"rejected: $TOKEN\" >&2; exit 1",
            "environment = { TOKEN = \"env:SEARCH_TOKEN\" }",
            "rejected: [hidden]",
        ),
        ("echo x", "environment = { TOKEN = \"env:ABSENT_TOKEN\" }", "`ABSENT_TOKEN` is not set"),
    ] {
        let mut system = system("[\"./export\"]", more)?;
        system.set("SEARCH_TOKEN", TOKEN);
        script(&system, "export", text)?;
        let run = system.expect(1, &["backup"]).await?;
        run.says(words)?;
        assert_eq!(objects(&system)?, BTreeSet::new(), "{text}");
        hides_the_token(&system, &[&run])?;
        let none = system.expect(10, &["restore", "exports", "--to", "file"]).await;
        assert!(none.is_ok() && !system.path().join("file").exists(), "{none:?}");
    }
    let system = system("[\"/nowhere/export\"]", "")?;
    system.expect(1, &["backup"]).await?.says("failed to start `/nowhere/export`")?;
    let identity = system.operational.to_str().ok_or("path")?.to_owned();
    let no_command = ["restore", "exports", "-i", &identity, "--to", "restore_command"];
    system.expect(10, &no_command).await?;
    Ok(())
}

#[tokio::test]
async fn a_killed_run_leaves_nothing_that_looks_like_a_backup_and_the_next_one_is_whole() -> Outcome<()> {
    let system = system("[\"./export\"]", "")?;
    script(&system, "export", "echo begun; touch begun; test -e go || sleep 100; echo ended")?;
    let mut running = system.start(&["backup"])?;
    until("the command runs", || system.path().join("begun").exists()).await?;
    running.kill()?;
    std::fs::write(system.path().join("go"), "")?;
    let identity = system.operational.to_str().ok_or("path")?.to_owned();
    let restore = ["restore", "exports", "-i", &identity, "--to", "file"];
    system.expect(10, &restore).await?;
    System::expire_leases(&system.repository("primary"))?;
    system.expect(0, &["backup"]).await?;
    system.expect(0, &restore).await?;
    assert_eq!(std::fs::read_to_string(system.path().join("file"))?, "begun\nended\n");

    // An operator's ^C ends the command, too.
    std::fs::remove_file(system.path().join("go"))?;
    std::fs::remove_file(system.path().join("begun"))?;
    script(&system, "export", "echo begun; echo $$ > begun.new; mv begun.new begun; sleep 100 & wait")?;
    let before = objects(&system)?;
    let running = system.start(&["backup"])?;
    until("the command runs", || system.path().join("begun").exists()).await?;
    let child: i32 = std::fs::read_to_string(system.path().join("begun"))?.trim().parse()?;
    running.signal(Signal::INT)?;
    assert_eq!(running.end().await?.code, Some(130));
    until("the command has ended", || !Path::new(&format!("/proc/{child}")).exists()).await?;
    assert_eq!(objects(&system)?, before);
    Ok(())
}

/// The README's recipes, as they stand there. What they call is a stub that answers as the program does, but for `jq`.
#[tokio::test]
async fn the_recipes_of_the_readme_store_what_their_programs_write() -> Outcome<()> {
    let readme = include_str!("../../README.md");
    let (_, rest) = readme.split_once("\n### Recipes of commands\n").ok_or("no section")?;
    let section = rest.split("\n## ").next().unwrap_or_default();
    let block = |language: &str| -> Vec<&str> {
        section
            .split(&format!("```{language}\n"))
            .skip(1)
            .filter_map(|rest| rest.split("```").next())
            .collect()
    };
    let mut system = System::of(&block("toml").concat(), &[Place::Directory])?;
    system.rewrite("/usr/local/bin/", &format!("{}/", system.path().display()))?;
    write_private(&system.path().join("export-cluster"), block("bash").first().ok_or("no script")?)?;
    let bin = system.path().join("bin");
    std::fs::create_dir(&bin)?;
    let kubectl = r#"case "$1 $2" in
api-resources*) printf 'configmaps\ndeployments.apps\nsecrets\nevents\npods\nnodes.metrics.k8s.io\n';;
'get pods') echo '{"items": [{"status": {"containerStatuses": [{"image": "web:3", "imageID": "web@sha256:11"}]}}]}';;
get*) echo '{"items": [{"kind": "'"$2"'", "metadata": {"name": "web", "uid": "u-1", "resourceVersion": "7", "managedFields": [1]}, "spec": {"replicas": 3}, "status": {"ready": 3}}]}';;
esac"#;
    for (name, text) in [
        ("kubectl", kubectl),
        (
            "helm",
            "case $1 in list) echo '[{\"namespace\": \"shop\", \"name\": \"web\"}]';; *) echo replicas: 3;; esac",
        ),
        ("terraform", "echo '{\"version\": 4}'"),
        ("docker", "echo 'services: {}'"),
        ("crontab", "echo '0 3 * * * /usr/local/bin/report'"),
        (
            "aws",
            "case $1 in ssm) echo '{\"Parameters\": []}';; *) echo '{\"SecretValues\": [], \"Errors\": []}';; esac",
        ),
    ] {
        script(&system, &format!("bin/{name}"), text)?;
    }
    std::fs::set_permissions(system.path().join("export-cluster"), std::fs::Permissions::from_mode(0o755))?;
    system.set("PATH", &format!("{}:{}", bin.display(), std::env::var("PATH")?));
    system.expect(0, &["backup"]).await?;
    let identity = system.operational.to_str().ok_or("path")?.to_owned();
    for (source, words) in [
        ("cluster", "\"replicas\":3"),
        ("images", "web:3 web@sha256:11"),
        ("releases", "replicas: 3"),
        ("infrastructure", "\"version\": 4"),
        ("compose", "services"),
        ("crontab", "0 3 * * *"),
        ("parameters", "Parameters"),
        ("vault", "SecretValues"),
    ] {
        system.expect(0, &["restore", source, "-i", &identity, "--to", source]).await?;
        let text = std::fs::read_to_string(system.path().join(source))?;
        assert!(text.contains(words), "{source}: {text}");
    }
    let cluster = std::fs::read_to_string(system.path().join("cluster"))?;
    for generated in ["uid", "resourceVersion", "managedFields", "ready", "events", "pods"] {
        assert!(!cluster.contains(generated), "{cluster}");
    }
    assert!(cluster.contains("\"secrets\"") && cluster.starts_with("{\"kind\":\"namespaces\""), "{cluster}");

    // What a program says in its output and not by its exit status.
    script(&system, "bin/aws", "echo '{\"SecretValues\": [], \"Errors\": [{\"SecretId\": \"shop/db\"}]}'")?;
    system.expect(1, &["backup", "vault"]).await?.says("secrets cannot be read")?;
    script(&system, "bin/kubectl", "exit 1")?;
    system.expect(1, &["backup", "cluster"]).await?;
    Ok(())
}
