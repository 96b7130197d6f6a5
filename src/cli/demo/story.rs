use std::path::Path;

use super::database::{self, Table};
use super::stage::Stage;
use crate::cli::error::CommandError;
use crate::cli::exit::Exit;
use crate::cli::output::count;

/// The application's database.
const DATABASE: &str = "shop";
/// What `drctl init` calls the source.
const SOURCE: &str = "database";
/// The databases it comes back as.
const RESTORED: &str = "shop_restored";
const FROM_COPY: &str = "shop_from_the_copy";

pub(super) async fn tell(stage: &mut Stage) -> Result<(), CommandError> {
    let original = application(stage).await?;
    policy(stage).await?;

    stage.heading("3. Can this host do what the policy asks?");
    // It warns, and rightly: two directories on one disk are no disaster recovery.
    stage.drctl_ending(&["doctor"], &[Exit::Done, Exit::Partly]).await?;

    stage.heading("4. A backup, to both regions at once");
    stage.drctl(&["backup"]).await?;
    stage.drctl(&["list"]).await?;

    disaster(stage).await?;

    stage.heading("6. It comes back, into a database of its own");
    restore(stage, RESTORED, &stage.operational()).await?;
    compare(stage, RESTORED, &original).await?;

    stage.heading("7. The region is lost, and the operational key with it");
    stage.show(&format!("rm -r {} {}", stage.primary().display(), stage.operational().display()));
    stage.lose_region()?;
    stage.say("What is left: the copy in us-west-2, and the key in the safe.");
    restore(stage, FROM_COPY, &stage.escrow()).await?;
    compare(stage, FROM_COPY, &original).await
}

async fn application(stage: &Stage) -> Result<Vec<Table>, CommandError> {
    stage.heading("1. An application's database");
    let mut server = database::connect(&stage.server.url("postgres")).await?;
    database::run(&mut server, &format!("CREATE DATABASE {DATABASE}")).await?;
    let mut shop = database::connect(&stage.server.url(DATABASE)).await?;
    database::fill(&mut shop).await?;
    let tables = database::tables(&mut shop).await?;
    stage.say(format!(
        "A PostgreSQL {} of its own, with a database `{DATABASE}`: {}.",
        stage.server.major(),
        rows(&tables)
    ));
    stage.say(format!("Everything is in {}.", stage.folder().display()));
    Ok(tables)
}

async fn policy(stage: &Stage) -> Result<(), CommandError> {
    stage.heading("2. A policy, and two keys");
    stage.say("Two directories stand for two regions. The second key is for the safe.");
    stage.make_places()?;
    let url = stage.server.url(DATABASE);
    let [primary, copy, operational, escrow] =
        [stage.primary(), stage.copy(), stage.operational(), stage.escrow()]
            .map(|path| path.to_string_lossy().into_owned());
    let arguments = [
        "init",
        "--system",
        "shop",
        "--database",
        &url,
        "--primary",
        &primary,
        "--copy",
        &copy,
        "--copy-name",
        "us-west-2",
        "--operational",
        &operational,
        "--escrow",
        &escrow,
    ];
    stage.drctl(&arguments).await?;
    stage.keep_catalog_here()
}

async fn disaster(stage: &Stage) -> Result<(), CommandError> {
    stage.heading("5. Somebody is in the wrong window");
    let statement = "DROP TABLE orders, payments CASCADE";
    stage.show(&format!("psql {DATABASE} -c '{statement}'"));
    let mut shop = database::connect(&stage.server.url(DATABASE)).await?;
    database::run(&mut shop, statement).await?;
    match database::run(&mut shop, "SELECT * FROM orders LIMIT 1").await {
        Err(error) => stage.say(format!("The application now gets: {error}")),
        Ok(()) => return Err(CommandError::failed("the tables that were dropped are still there")),
    }
    Ok(())
}

async fn restore(stage: &Stage, name: &str, identity: &Path) -> Result<(), CommandError> {
    let identity = identity.to_string_lossy();
    stage.drctl(&["restore", SOURCE, "--to", name, "--identity", &identity]).await
}

/// Whether the databases hold the same is asked of them, not of drctl.
async fn compare(stage: &Stage, name: &str, original: &[Table]) -> Result<(), CommandError> {
    let mut restored = database::connect(&stage.server.url(name)).await?;
    let tables = database::tables(&mut restored).await?;
    if tables != original {
        return Err(CommandError::failed(format!(
            "`{name}` is not what `{DATABASE}` was: {} instead of {}",
            rows(&tables),
            rows(original)
        )));
    }
    stage.say(format!("Every row of `{name}` is what it was before: {}.", rows(&tables)));
    Ok(())
}

fn rows(tables: &[Table]) -> String {
    let list: Vec<String> = tables
        .iter()
        .map(|table| format!("{} ({})", table.name, count(table.rows.unsigned_abs(), "row")))
        .collect();
    list.join(", ")
}
