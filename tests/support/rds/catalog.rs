//! What AWS offers: engine versions, regions that work together, maintenance that waits.

use super::error::Answered;
use super::router::Asked;
use super::xml::Xml;

pub(super) fn engine_versions(asked: &Asked) -> Answered<Xml> {
    let form = &asked.form;
    let (engine, version) = (form.owned("Engine"), form.owned("EngineVersion"));
    let family = form.owned("DBParameterGroupFamily");
    let _ignored = (form.flag("DefaultOnly")?, form.flag("IncludeAll")?);
    let offered = [
        ("postgres", "15.17", "postgres15"),
        ("postgres", "15.18", "postgres15"),
        ("aurora-postgresql", "15.12", "aurora-postgresql15"),
    ];
    let is = |wanted: &Option<String>, offered: &str| wanted.as_ref().is_none_or(|wanted| wanted == offered);
    // A major version stands for all of its minor ones.
    let is_version = |offered: &str| {
        version
            .as_ref()
            .is_none_or(|wanted| offered == wanted || offered.split('.').next() == Some(wanted.as_str()))
    };
    let all: Vec<_> = offered
        .into_iter()
        .filter(|(of, number, group)| is(&engine, of) && is_version(number) && is(&family, group))
        .collect();
    let (page, marker) = form.page(all, |(engine, version, _)| format!("{engine} {version}"))?;
    let shown: Vec<Xml> = page
        .iter()
        .map(|(engine, version, family)| {
            Xml::new()
                .text("Engine", engine)
                .text("EngineVersion", version)
                .text("MajorEngineVersion", version.split('.').next().unwrap_or_default())
                .text("DBParameterGroupFamily", family)
                .text("Status", "available")
        })
        .collect();
    Ok(Xml::new().maybe("Marker", marker).list("DBEngineVersions", "DBEngineVersion", shown))
}

/// Every region works with every other one here, but not with itself.
pub(super) fn source_regions(asked: &Asked) -> Answered<Xml> {
    let form = &asked.form;
    let wanted = form.owned("RegionName");
    form.filters();
    let others = ["eu-central-1", "eu-west-1", "us-east-1", "us-east-2", "us-west-2"].map(str::to_owned);
    let all: Vec<String> = others
        .into_iter()
        .filter(|region| *region != asked.region && wanted.as_ref().is_none_or(|wanted| wanted == region))
        .collect();
    let (page, marker) = form.page(all, String::clone)?;
    let shown: Vec<Xml> = page
        .iter()
        .map(|region| {
            Xml::new()
                .text("RegionName", region)
                .text("Endpoint", format!("https://rds.{region}.amazonaws.com"))
                .text("Status", "available")
                .text("SupportsDBInstanceAutomatedBackupsReplication", true)
        })
        .collect();
    Ok(Xml::new().maybe("Marker", marker).list("SourceRegions", "SourceRegion", shown))
}

/// None waits.
pub(super) fn pending_maintenance(asked: &Asked) -> Answered<Xml> {
    asked.form.get("ResourceIdentifier");
    asked.form.filters();
    let none: Vec<((), String)> = asked.form.page(vec![], |((), id): &((), String)| id.clone())?.0;
    Ok(Xml::new().list(
        "PendingMaintenanceActions",
        "ResourcePendingMaintenanceActions",
        none.iter().map(|_| Xml::new()),
    ))
}
