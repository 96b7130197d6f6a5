//! A database and its uploads, as one recovery point, and back together.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::Outcome;
use crate::support::postgres::Cluster;
use crate::support::shop::{digest, shop};
use crate::support::system::{Place, System, until};

/// A system whose application is paused by a script that writes a line.
struct Application {
    cluster: Cluster,
    system: System,
    uploads: PathBuf,
    restored: PathBuf,
    hold: PathBuf,
    log: PathBuf,
}

const REFERENCES: &str =
    "references = [{ source = \"database\", sql = \"select path from uploads\", files = \"uploads\" }]\n";
const FILES: [&str; 3] = ["a.png", "albums/b.png", "albums/c.png"];

impl Application {
    async fn start() -> Outcome<Self> {
        let cluster = shop(64).await?;
        cluster
            .execute(
                "shop",
                &[
                    "CREATE TABLE uploads (path text NOT NULL)",
                    "INSERT INTO uploads VALUES ('a.png'), ('albums/b.png'), ('albums/c.png')",
                ],
            )
            .await?;
        let system = System::new(&cluster.url("shop"), &[Place::Directory, Place::Directory])?;
        let at = |name: &str| system.path().join(name);
        let (uploads, restored, hold, log) = (at("uploads"), at("restored"), at("hold"), at("hooks.log"));
        for file in FILES {
            let path = uploads.join(file);
            fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
            fs::write(path, file)?;
        }
        fs::create_dir(&restored)?;
        // It takes as long as the file `hold` is there.
        let export = format!(
            "while test -e {}; do sleep 0.05; done; exec tar -C {} -cf - .",
            hold.display(),
            uploads.display()
        );
        let hook = |word: &str| format!("[\"/bin/sh\", \"-c\", \"echo {word} >> {}\"]", log.display());
        system.append(&format!(
            "[sources.uploads]\nkind = \"command\"\ncommand = [\"/bin/sh\", \"-c\", \"{export}\"]\n\
             restore_command = [\"tar\", \"-C\", \"{}\", \"-xf\", \"-\"]\nfile_name = \"uploads.tar\"\n\n\
             [recovery_point]\nsources = [\"database\", \"uploads\"]\npause = {}\nresume = {}\ndeadline = \"10m\"\n{REFERENCES}",
            restored.display(),
            hook("pause"),
            hook("resume"),
        ))?;
        Ok(Self { cluster, system, uploads, restored, hold, log })
    }

    fn hooks(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn expire_leases(&self) -> Outcome<()> {
        for name in ["primary", "west"] {
            System::expire_leases(&self.system.repository(name))?;
        }
        Ok(())
    }

    /// Writes a plan file.
    fn plan(&self, database: &str, uploads: &str) -> Outcome<PathBuf> {
        let path = self.system.path().join("plan.toml");
        let text = format!(
            "[to]\ndatabase = \"{database}\"\nuploads = \"{uploads}\"\n\n[files]\nuploads = \"{}\"\n",
            self.restored.display()
        );
        fs::write(&path, text)?;
        Ok(path)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_point_whose_run_was_killed_in_the_pause_is_taken_anew_and_comes_back_from_the_copy() -> Outcome<()>
{
    let app = Application::start().await?;
    let system = &app.system;
    fs::write(&app.hold, "")?;
    let mut killed = system.start(&["backup"])?;
    until("the uploads are read", || killed.has_ended() || system.backups_in("west").len() == 1).await?;
    killed.kill()?;
    fs::remove_file(&app.hold)?;
    assert_eq!(app.hooks(), "pause");
    // Whoever looks is told.
    system.drctl(&["status"]).await?.says("THE APPLICATION IS STILL PAUSED")?;
    app.expire_leases()?;
    let taken = system.expect(0, &["backup"]).await?;
    taken.says("resumed the application")?.says(": paused; the application was paused for")?;
    assert_eq!(app.hooks(), "pause resume pause resume");

    let points = system.expect(0, &["list", "--points", "--output", "json"]).await?.document()?;
    let [whole, broken] = &points["points"].as_array().ok_or("no points")?[..] else {
        return Err(format!("{points:#}").into());
    };
    assert_eq!((&whole["label"], &whole["restorable"]), (&"paused".into(), &true.into()), "{points:#}");
    assert_eq!(broken["restorable"], false, "{points:#}");
    let id = whole["id"].as_str().ok_or("no id")?.to_owned();

    // The place burns down: the primary and the database are gone.
    let before = digest(&app.cluster, "shop").await?;
    app.cluster.execute("postgres", &["DROP DATABASE shop"]).await?;
    fs::remove_dir_all(system.repository("primary"))?;
    fs::remove_dir_all(&app.uploads)?;
    let identity = app.system.operational.display().to_string();
    let restore = |plan: &Path| -> Vec<String> {
        let words =
            ["restore", "--all", "--from", "west", "--identity", &identity, "--output", "json", "--to"];
        words.iter().map(|word| (*word).to_owned()).chain([plan.display().to_string()]).collect()
    };
    let run = async |plan: &Path| {
        let words = restore(plan);
        system.drctl(&words.iter().map(String::as_str).collect::<Vec<_>>()).await
    };

    // Everything that is in the way is said at once.
    let plan = app.plan("postgres://nobody@127.0.0.1:1/shop_back", &system.policy().display().to_string())?;
    let refused = run(&plan).await?;
    assert_ne!(refused.code, Some(0));
    refused.says("database: ")?.says("uploads: ")?.says("exists, and is not overwritten")?;
    assert!(!plan.with_extension("state.json").exists());

    let plan = app.plan(&app.cluster.url("shop_back"), "restore_command")?;
    let report = run(&plan).await?;
    assert_eq!(report.code, Some(0), "{report:#?}");
    let document = report.document()?;
    assert_eq!((&document["point"], &document["verdict"]["outcome"]), (&id.as_str().into(), &"pass".into()));
    assert_eq!(document["references"][0]["found"], "3 rows, each with its file", "{document:#}");
    assert_eq!(digest(&app.cluster, "shop_back").await?, before);
    for file in FILES {
        assert_eq!(fs::read_to_string(app.restored.join(file))?, file);
    }

    // The same command restores nothing twice, and compares again.
    fs::remove_file(app.restored.join(FILES[1]))?;
    fs::write(app.restored.join("of-nobody.png"), "")?;
    let again = run(&plan).await?;
    assert_eq!(again.code, Some(20), "{again:#?}");
    again.says("1 of 3 rows of `database` name a file that `uploads` does not have: `albums/b.png`")?;
    let document = again.document()?;
    let outcomes: Vec<_> =
        document["members"].as_array().ok_or("no members")?.iter().map(|m| &m["outcome"]).collect();
    assert_eq!(outcomes, ["restored-before", "restored-before"]);
    let notes = document["notes"].to_string();
    assert!(notes.contains("`of-nobody.png`"), "{notes}");
    // The journal has how many, and not which.
    for (path, _) in crate::support::system::contents(&system.repository("west").join("shop/journal"))? {
        assert!(!fs::read_to_string(&path)?.contains("b.png"), "{}", path.display());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_its_deadline_a_pause_ends_and_the_point_says_so() -> Outcome<()> {
    let app = Application::start().await?;
    app.system.rewrite("deadline = \"10m\"", "deadline = \"1s\"")?;
    fs::write(&app.hold, "")?;
    let backup = app.system.start(&["backup", "--point", "--output", "json"])?;
    until("the application is resumed", || app.hooks() == "pause resume").await?;
    fs::remove_file(&app.hold)?;
    let run = backup.end().await?;
    assert_eq!(run.code, Some(3), "{run:#?}");
    let point = &run.document()?["point"];
    assert_eq!(point["mode"], "ordered", "{point:#}");
    assert!(
        point["issues"][0]
            .as_str()
            .is_some_and(|why| why.contains("`uploads` was backed up without a pause"))
    );
    assert_eq!(app.hooks(), "pause resume");

    // A pause that fails: nothing is stored, and the application is resumed.
    app.system.rewrite("echo pause", "exit 7; echo pause")?;
    let before = app.system.backups_in("primary");
    let run = app.system.expect(1, &["backup"]).await?;
    run.says("failed to pause the application")?.says("exit status 7")?;
    assert_eq!(app.system.backups_in("primary"), before);
    assert_eq!(app.hooks(), "pause resume resume");

    // The loudest thing that drctl says.
    app.system.rewrite("exit 7; echo pause", "echo pause")?;
    app.system.rewrite("echo resume", "exit 8; echo resume")?;
    let run = app.system.expect(1, &["backup"]).await?;
    run.says("THE APPLICATION IS STILL PAUSED")?.says("exit status 8")?;
    app.system.rewrite("exit 8; echo resume", "echo resume")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drill_brings_the_application_back_in_a_sandbox() -> Outcome<()> {
    let app = Application::start().await?;
    // What a command wrote is one file: no rows name files in it.
    app.system.rewrite(REFERENCES, "")?;
    app.system.expect(0, &["backup"]).await?;
    let identity = app.system.operational.display().to_string();
    let words = [
        "drill",
        "run",
        "--scenario",
        "application",
        "--source",
        "database",
        "--identity",
        &identity,
        "--output",
        "json",
    ];
    let run = app.system.expect(0, &words).await?;
    let document = run.document()?;
    let record = &document["record"];
    assert_eq!(record["verdict"]["outcome"], "pass", "{record:#}");
    assert_eq!(record["cleanup"]["is_complete"], true, "{record:#}");
    let findings = record["findings"].to_string();
    assert!(findings.contains("-uploads-command-") && findings.contains("came back"), "{findings}");
    assert!(record["results"]["rpo_seconds"].as_f64().is_some_and(|rpo| rpo > 0.0), "{record:#}");
    assert!(record["phases"].to_string().contains("\"members\""), "{record:#}");
    Ok(())
}
