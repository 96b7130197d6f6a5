//! RDS, as far as it has the tags of its snapshots, and reports and deletes databases: `ListTagsForResource`,
//! `AddTagsToResource`, `DescribeDBInstances`, `DescribeDBClusters`, `DeleteDBInstance` and `DeleteDBCluster`.

use std::collections::BTreeMap;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Response, StatusCode};
use serde_json::json;

use super::world::{ACCOUNT, Call, World};

/// What a form asks; `None`: it names no operation that is known here.
pub(super) fn operation(body: &[u8]) -> Option<(&'static str, BTreeMap<String, String>)> {
    let form: BTreeMap<String, String> = url::form_urlencoded::parse(body).into_owned().collect();
    let known = [
        "ListTagsForResource",
        "AddTagsToResource",
        "DescribeDBInstances",
        "DescribeDBClusters",
        "DeleteDBInstance",
        "DeleteDBCluster",
    ];
    let action = form.get("Action")?;
    Some((known.into_iter().find(|known| known == action)?, form))
}

pub(super) fn perform(
    world: &mut World,
    region: &str,
    operation: &'static str,
    form: &BTreeMap<String, String>,
) -> Response<Full<Bytes>> {
    let arn = form.get("ResourceName").cloned().unwrap_or_default();
    world.calls.push(Call {
        region: region.to_owned(),
        operation,
        about: vec![arn.clone()],
        body: json!(form),
    });
    match operation {
        "DescribeDBInstances" => return describe(world, region, form, "DBInstance", "db"),
        "DescribeDBClusters" => return describe(world, region, form, "DBCluster", "cluster"),
        "DeleteDBInstance" => return delete(world, region, form, "DBInstance", "db"),
        "DeleteDBCluster" => return delete(world, region, form, "DBCluster", "cluster"),
        _ => {}
    }
    let Some(point) = world.anywhere(region, &arn).filter(|_| arn.starts_with("arn:aws:rds:")) else {
        return refused(404, "DBSnapshotNotFound", &format!("{arn} not found"));
    };
    let mut tags = String::new();
    if operation == "AddTagsToResource" {
        for n in 1.. {
            let of = |what: &str| form.get(&format!("Tags.Tag.{n}.{what}")).cloned();
            let Some(key) = of("Key") else { break };
            point.tags.insert(key, of("Value").unwrap_or_default());
        }
    } else {
        let tag = |(key, value)| format!("<Tag><Key>{key}</Key><Value>{value}</Value></Tag>");
        tags = point.tags.iter().map(tag).collect();
        tags = format!("<{operation}Result><TagList>{tags}</TagList></{operation}Result>");
    }
    let namespace = "http://rds.amazonaws.com/doc/2014-10-31/";
    reply(200, format!("<{operation}Response xmlns=\"{namespace}\">{tags}</{operation}Response>"))
}

fn describe(
    world: &World,
    region: &str,
    form: &BTreeMap<String, String>,
    what: &str,
    kind: &str,
) -> Response<Full<Bytes>> {
    let name = form.get(&format!("{what}Identifier")).cloned().unwrap_or_default();
    let arn = format!("arn:aws:rds:{region}:{ACCOUNT}:{kind}:{name}");
    if !world.resources.contains_key(&arn) {
        return refused(404, &format!("{what}NotFound"), &format!("{what} {name} not found."));
    }
    let engine = match (kind, name.starts_with("docs")) {
        ("cluster", true) => "docdb",
        ("cluster", false) => "aurora-postgresql",
        _ => "postgres",
    };
    // Some elements of an instance have other names than a cluster's.
    let own = match kind {
        "db" => {
            format!("<DbiResourceId>db-{name}</DbiResourceId><DBInstanceStatus>available</DBInstanceStatus>")
        }
        _ => format!("<DbClusterResourceId>cluster-{name}</DbClusterResourceId><Status>available</Status>"),
    };
    let one = format!(
        "<{what}><{what}Identifier>{name}</{what}Identifier><{what}Arn>{arn}</{what}Arn>{own}<Engine>{engine}</Engine></{what}>"
    );
    let list = format!("<Describe{what}sResult><{what}s>{one}</{what}s></Describe{what}sResult>");
    reply(200, format!("<Describe{what}sResponse>{list}</Describe{what}sResponse>"))
}

fn delete(
    world: &mut World,
    region: &str,
    form: &BTreeMap<String, String>,
    what: &str,
    kind: &str,
) -> Response<Full<Bytes>> {
    let name = form.get(&format!("{what}Identifier")).cloned().unwrap_or_default();
    match world.resources.remove(&format!("arn:aws:rds:{region}:{ACCOUNT}:{kind}:{name}")) {
        Some(_) => reply(200, format!("<Delete{what}Response><Delete{what}Result/></Delete{what}Response>")),
        None => refused(404, &format!("{what}NotFound"), &format!("{what} {name} not found.")),
    }
}

pub(super) fn refused(status: u16, code: &str, message: &str) -> Response<Full<Bytes>> {
    let error = format!("<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>");
    reply(status, format!("<ErrorResponse>{error}<RequestId>r</RequestId></ErrorResponse>"))
}

fn reply(status: u16, xml: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(xml)));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    response
}
