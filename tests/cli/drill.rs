use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use drctl::drill::DrillRecord;
use drctl::drill::evidence::DrillHistory;
use drctl::platform::{Clock as _, SystemClock};
use drctl::repository::{Repository, layout};

use crate::shop::{Shop, assert_shown};
use crate::support::{Outcome, drills};

const MONTHLY: &str = "[drill]\nschedule = \"0 5 1 * *\"\n\
                       checks = [{ name = \"orders\", sql = \"select count(*) from orders\", at_least = 1 }]\n";

async fn shop() -> Outcome<Shop> {
    let shop = Shop::new().await?;
    shop.system.append(MONTHLY)?;
    Ok(shop)
}

async fn write(
    shop: &Shop,
    repositories: &[&str],
    records: impl IntoIterator<Item = DrillRecord>,
) -> Outcome<DrillHistory> {
    let mut set = Vec::new();
    for name in repositories {
        set.push(Repository { name: name.parse()?, store: shop.store(name) });
    }
    drills::write(set, &"shop".parse()?, records).await
}

fn days_ago(days: i64) -> DateTime<Utc> {
    (SystemClock.now() - TimeDelta::days(days) - TimeDelta::minutes(5)).trunc_subsecs(0)
}

fn time(text: &str) -> Outcome<DateTime<Utc>> {
    Ok(text.parse()?)
}

/// Three that passed; the last a few minutes ago.
async fn three(shop: &Shop) -> Outcome<DrillHistory> {
    let records = [60, 30, 0].map(|days| drills::at(days_ago(days), None, 100));
    write(shop, &["primary", "west"], records.into_iter().collect::<Outcome<Vec<_>>>()?).await
}

/// The first half of a year: in time, late and once more, failed, missed, in time, in time.
async fn half_a_year(shop: &Shop) -> Outcome<DrillHistory> {
    let on = |begun: &str, occurrence: &str, percent: u64| {
        drills::at(time(begun)?, Some(time(occurrence)?), percent)
    };
    let records = vec![
        on("2026-01-01T05:00:10Z", "2026-01-01T05:00:00Z", 90)?,
        on("2026-02-03T07:00:00Z", "2026-02-01T05:00:00Z", 92)?,
        drills::at(time("2026-02-20T14:00:00Z")?, None, 93)?,
        drills::failed(on("2026-03-01T05:00:10Z", "2026-03-01T05:00:00Z", 94)?),
        on("2026-05-01T05:00:10Z", "2026-05-01T05:00:00Z", 98)?,
        on("2026-06-01T05:00:10Z", "2026-06-01T05:00:00Z", 100)?,
    ];
    write(shop, &["primary", "west"], records).await
}

fn change(shop: &Shop, repository: &str, history: &DrillHistory, n: usize) -> Outcome<()> {
    let key = layout::drill_record(&"shop".parse()?, &history.drills[n].record.identity.drill);
    let path = shop.system.repository(repository).join(key);
    let text = std::fs::read_to_string(&path)?;
    let changed = text.replace("\"found\": \"48211\"", "\"found\": \"48212\"");
    assert_ne!(text, changed);
    Ok(std::fs::write(path, changed)?)
}

#[tokio::test]
async fn no_drills_and_what_to_do() -> Outcome<()> {
    let shop = Shop::new().await?;
    assert_shown!(shop, ["drill", "list"]);
    let refused = shop.system.expect(1, &["drill", "show"]).await?;
    refused.says("there is no record of a drill")?.says("drctl drill run")?;
    let refused = shop.system.expect(2, &["drill", "report", "--from", "2026-01"]).await?;
    refused.says("has no `[drill]`")?;
    shop.system.append(MONTHLY)?;
    // One was due, whenever that was.
    assert_shown!(shop, ["drill", "list"]);
    Ok(())
}

#[tokio::test]
async fn drills_are_listed_with_what_a_recovery_would_take() -> Outcome<()> {
    let shop = shop().await?;
    let history = three(&shop).await?;
    assert_shown!(shop, ["drill", "list"]);
    let document = shop.json(0, &["drill", "list", "--limit", "2"]).await?;
    assert_eq!((&document["kind"], document["drills"].as_array().map(Vec::len)), (&"drills".into(), Some(2)));
    let newest = &document["drills"][0];
    assert_eq!(newest["drill"], history.drills[2].record.identity.drill.as_str());
    assert_eq!(newest["verdict"]["outcome"], "pass");
    assert_eq!(newest["repositories"], serde_json::json!(["primary", "west"]));
    assert_eq!(document["forecasts"][0]["forecast"]["state"], "forecast");
    assert_eq!(document["overdue"], serde_json::Value::Null);
    Ok(())
}

#[tokio::test]
async fn status_warns_of_a_recovery_that_comes_near_its_objective() -> Outcome<()> {
    let shop = Shop::new().await?;
    shop.system.append(&MONTHLY.replace("schedule = \"0 5 1 * *\"\n", ""))?;
    shop.backup(2, &["primary", "west"]).await?;
    three(&shop).await?;
    let far = shop.system.expect(0, &["status"]).await?;
    assert!(!far.stderr.contains("A recovery today would take"), "{far:?}");
    // By the drills it takes 2h 10m.
    shop.system.rewrite("rto = \"4h\"", "rto = \"150m\"")?;
    shop.system.expect(0, &["status"]).await?.says("of the objective of 2h 30m")?;
    let document = shop.json(0, &["status"]).await?;
    assert_eq!(document["forecasts"][0]["forecast"]["standing"], "near", "{document:#}");
    shop.system.rewrite("rto = \"150m\"", "rto = \"2h\"")?;
    shop.system.expect(0, &["status"]).await?.says("The objective is missed now.")?;
    Ok(())
}

#[tokio::test]
async fn a_drill_that_was_not_run_is_overdue() -> Outcome<()> {
    let shop = shop().await?;
    write(&shop, &["primary", "west"], [drills::at(days_ago(70), None, 100)?]).await?;
    let run = shop.system.expect(21, &["drill", "list"]).await?;
    run.says("is overdue.")?
        .says("No forecast: it needs 3 drills that measured this recovery, and there is 1.")?;
    let quiet = shop.system.expect(21, &["drill", "list", "-q"]).await?;
    assert!(quiet.stderr.starts_with("error: the drill that was due at "), "{quiet:?}");
    // What was not read may hold it.
    shop.unplug("west")?;
    shop.system.expect(3, &["drill", "list"]).await?.says("failed to query repository `west`")?;
    let document = shop.json(3, &["drill", "list"]).await?;
    assert_eq!(document["unread"][0]["name"], "west");
    Ok(())
}

#[tokio::test]
async fn a_record_that_was_changed_is_never_overlooked() -> Outcome<()> {
    let shop = shop().await?;
    let history = three(&shop).await?;
    let id = history.drills[1].record.identity.drill.as_str();
    change(&shop, "west", &history, 1)?;
    // The copy that holds is shown, and the other one named.
    let run = shop.system.expect(20, &["drill", "list"]).await?;
    run.says(&format!("the record of drill {id} in `west` does not match its digest"))?;
    change(&shop, "primary", &history, 1)?;
    let run = shop.system.expect(20, &["drill", "list"]).await?;
    run.says("record does not hold")?.says("is not the one that the record of drill")?;
    shop.system.expect(20, &["drill", "show", id]).await?.says("Not evidence")?;
    let report = shop.system.expect(20, &["drill", "report", id]).await?;
    report.says("**Not evidence.** This page cannot be relied on")?;
    let refused = shop.system.expect(20, &["drill", "ack", id, "--by", "Ann", "--note", "seen"]).await?;
    refused.says("the drill cannot be acknowledged")?;
    // One that is no record at all, and a repository that is away besides.
    let key = layout::drill_record(&"shop".parse()?, &history.drills[0].record.identity.drill);
    std::fs::write(shop.system.repository("primary").join(key), "{}")?;
    shop.unplug("west")?;
    shop.system.expect(20, &["drill", "list"]).await?.says("a record in `primary`")?;
    Ok(())
}

#[tokio::test]
async fn a_record_that_was_removed_is_missed() -> Outcome<()> {
    let shop = shop().await?;
    let history = three(&shop).await?;
    let id = &history.drills[1].record.identity.drill;
    let key = layout::drill_record(&"shop".parse()?, id);
    std::fs::remove_file(shop.system.repository("primary").join(&key))?;
    shop.system.expect(0, &["drill", "list"]).await?;
    std::fs::remove_file(shop.system.repository("west").join(&key))?;
    let run = shop.system.expect(20, &["drill", "list"]).await?;
    run.says(&format!("there is no record of drill {id}, which the record of drill"))?;
    Ok(())
}

#[tokio::test]
async fn a_drill_is_acknowledged_once_and_keeps_its_verdict() -> Outcome<()> {
    let shop = shop().await?;
    let failed = drills::failed(drills::at(days_ago(0), None, 100)?);
    let id = failed.identity.drill.to_string();
    write(&shop, &["primary", "west"], [failed]).await?;
    shop.unplug("west")?;
    let ann = ["drill", "ack", &id, "--by", "Ann", "--note", "OPS-12"];
    shop.system.expect(3, &ann).await?.says("Repeat it when the repository can be reached")?;
    shop.plug("west")?;
    let bob = ["drill", "ack", &id, "--by", "Bob", "--note", "fine"];
    let refused = shop.system.expect(1, &bob).await?;
    refused.says(&format!("drill `{id}` was acknowledged by Ann already"))?;
    // Repeated, it reaches the repository that missed it, and no further.
    shop.system.expect(0, &ann).await?.says("acknowledged drill")?;
    shop.system.expect(1, &ann).await?.says("was acknowledged by Ann already")?;
    shop.unplug("primary")?;
    let document = shop.json(3, &["drill", "list"]).await?;
    let drill = &document["drills"][0];
    assert_eq!(drill["acknowledgement"]["by"], "Ann", "{drill:#}");
    assert_eq!((&drill["verdict"]["outcome"], &drill["matches_digest"]), (&"fail".into(), &true.into()));
    let nobody = shop.system.expect(2, &["drill", "ack", &id, "--by", "", "--note", "x"]).await?;
    assert!(nobody.stderr.contains("--by"), "{nobody:?}");
    Ok(())
}

#[tokio::test]
async fn one_drill_is_shown_and_reported() -> Outcome<()> {
    let shop = shop().await?;
    half_a_year(&shop).await?;
    // What a recovery would take today is another time tomorrow.
    let mut settings = insta::Settings::clone_current();
    settings.add_filter("A recovery today would take .*", "[the forecast]");
    let scope = settings.bind_to_scope();
    assert_shown!(shop, ["drill", "show", "20260601"]);
    drop(scope);
    let markdown = shop.system.expect(0, &["drill", "report"]).await?;
    markdown.says("# Restore drill of shop: region-loss")?.says("**Passed.** The database was restored")?;
    let page = shop.system.path().join("page.html");
    let to = page.to_str().ok_or("path")?;
    shop.system.expect(0, &["drill", "report", "20260301", "--to", to]).await?.says("wrote the report to")?;
    let html = std::fs::read_to_string(&page)?;
    assert!(html.starts_with("<!DOCTYPE html>") && html.contains("does not load: table orders"), "{html}");
    let document = shop.json(0, &["drill", "report", "20260601"]).await?;
    assert_eq!(document["kind"], "drill");
    let key = document["key"].as_str().ok_or("key")?;
    let stored = std::fs::read(shop.system.repository("west").join(key))?;
    assert_eq!(document["record"], serde_json::from_slice::<serde_json::Value>(&stored)?);
    assert_eq!(document["sha256"], drctl::model::Sha256Hex::digest(&stored).to_string());
    let written = shop.json(0, &["drill", "report", "--to", to, "--format", "markdown"]).await?;
    let text = std::fs::read(&page)?;
    assert_eq!(written["sha256"], drctl::model::Sha256Hex::digest(&text).to_string());
    Ok(())
}

#[tokio::test]
async fn a_report_that_cannot_be_made_says_why() -> Outcome<()> {
    let shop = shop().await?;
    half_a_year(&shop).await?;
    let cases: [(&[&str], &str); 7] = [
        (&["drill", "report", "2025"], "there is no drill `2025`"),
        (&["drill", "report", "2026"], "may be any of"),
        (&["drill", "report", "--from", "2026-13"], "is not a month"),
        (&["drill", "report", "--from", "2026-03", "--through", "2026-02"], "ends with 2026-02"),
        (&["drill", "report", "--through", "2026-02"], "--from"),
        (&["drill", "report", "20260601", "--from", "2026-02"], "cannot be used with"),
        (&["drill", "report", "--output", "json", "--format", "html"], "cannot be JSON and html at once"),
    ];
    for (arguments, words) in cases {
        shop.system.expect(2, arguments).await?.says(words)?;
    }
    let refused = shop.system.expect(1, &["drill", "report", "--to", "/nowhere/page.html"]).await?;
    refused.says("failed to write the report to `/nowhere/page.html`")?;
    Ok(())
}

#[tokio::test]
async fn every_drill_that_was_due_is_listed() -> Outcome<()> {
    let shop = shop().await?;
    half_a_year(&shop).await?;
    let period = ["--from", "2026-01", "--through", "2026-06"];
    let markdown = shop.system.expect(0, &[&["drill", "report"][..], &period].concat()).await?;
    let sentence = "Of 6 drills that were due in January to June 2026: 3 passed in time, 1 passed late, 1 failed, 1 missed.";
    markdown.says(sentence)?.says("2026-04-01 05:00:00 UTC")?.says("**Records read in west:** 6")?;
    let document = shop.json(0, &[&["drill", "report"][..], &period].concat()).await?;
    let system = &document["systems"][0];
    let states: Vec<_> =
        system["occurrences"].as_array().ok_or("list")?.iter().map(|one| one["state"].as_str()).collect();
    let expected = ["done", "late", "failed", "missed", "done", "done"].map(Some);
    assert_eq!(states, expected);
    assert_eq!(system["unscheduled"].as_array().map(Vec::len), Some(1));
    assert_eq!(system["query"]["schedule"][0], "0 5 1 * *");
    shop.unplug("west")?;
    let partly = shop.system.expect(3, &[&["drill", "report"][..], &period].concat()).await?;
    partly.says("Not every repository was read")?;
    Ok(())
}

#[tokio::test]
async fn several_systems_are_in_one_report() -> Outcome<()> {
    let (shop, other) = (shop().await?, Shop::new().await?);
    half_a_year(&shop).await?;
    other.system.append(&MONTHLY.replace("0 5 1 * *", "0 5 15 * *"))?;
    write(&other, &["primary", "west"], [drills::at(time("2026-01-15T05:00:00Z")?, None, 100)?]).await?;
    let also = other.system.policy();
    let also = also.to_str().ok_or("path")?;
    let arguments = ["drill", "report", "--from", "2026-01", "--through", "2026-02", "--also", also];
    let report = shop.system.expect(0, &arguments).await?;
    report.says(
        "Of 4 drills that were due in January to February 2026: 2 passed in time, 1 passed late, 1 missed.",
    )?;
    report.says("2 systems")?;
    Ok(())
}

#[tokio::test]
async fn a_drill_that_was_due_before_the_first_backup_is_not_missed() -> Outcome<()> {
    use drctl::model::{Outcome as Ended, RunId};
    use drctl::repository::journal::{Detail, JournalRecord};
    use drctl::store::PutOptions;

    let shop = shop().await?;
    let report = ["drill", "report", "--from", "2026-01", "--through", "2026-03"];
    shop.system.expect(0, &report).await?.says("3 missed")?;
    let begun = time("2026-02-10T01:00:00Z")?;
    let backups = vec!["20260210T010000Z-database-logical-2222".parse()?];
    let detail = Detail { backups, ..Detail::default() };
    let run =
        JournalRecord::new(&RunId::new(begun, 3), "backup", (begun, begun), "a", Ended::Succeeded, detail);
    let key = layout::journal_record(&"shop".parse()?, &run.run);
    shop.store("west").put(&key, serde_json::to_vec(&run)?.into(), &PutOptions::absent()).await?;
    let said = shop.system.expect(0, &report).await?;
    said.says("Of 1 drill that were due in January to March 2026: 1 missed.")?;
    said.says("2 times of the schedule came before the first backup")?;
    Ok(())
}

#[tokio::test]
async fn the_newest_record_that_was_removed_is_missed_by_the_journal() -> Outcome<()> {
    use drctl::model::Outcome as Ended;
    use drctl::repository::journal::{DRILL, Detail, JournalRecord};
    use drctl::store::PutOptions;

    let shop = shop().await?;
    let history = three(&shop).await?;
    let newest = &history.drills[2];
    let (id, begun) = (&newest.record.identity.drill, newest.record.begun);
    let detail = Detail { evidence: Some(newest.sha256), ..Detail::default() };
    let run = JournalRecord::new(id, DRILL, (begun, begun), "a", Ended::Succeeded, detail);
    let journal = layout::journal_record(&"shop".parse()?, id);
    shop.store("west").put(&journal, serde_json::to_vec(&run)?.into(), &PutOptions::absent()).await?;
    shop.system.expect(0, &["drill", "list"]).await?;
    let key = layout::drill_record(&"shop".parse()?, id);
    for repository in ["primary", "west"] {
        std::fs::remove_file(shop.system.repository(repository).join(&key))?;
    }
    let words = format!("there is no record of drill {id}, which the journal names");
    shop.system.expect(20, &["drill", "list"]).await?.says(&words)?;
    // The catalog knows it, too.
    std::fs::remove_file(shop.system.repository("west").join(&journal))?;
    shop.system.expect(20, &["drill", "list"]).await?.says(&words)?;
    let document = shop.json(20, &["drill", "list"]).await?;
    let removed = serde_json::json!({ "damage": "removed", "drill": id.as_str(), "named_by": null });
    assert_eq!(document["damage"], serde_json::json!([removed]));
    Ok(())
}
