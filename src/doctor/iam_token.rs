//! Whether a login with an IAM token is possible, as far as that is visible from outside.

use super::{Area, DoctorFinding};
use crate::aws::rds::Database;
use crate::policy::{PasswordSource, RdsDatabase, RdsSource};
use crate::postgres::ConnectionParameters;

pub(super) fn examine(subject: &str, rds: &RdsSource, database: &Database) -> Vec<DoctorFinding> {
    let Some(login) =
        rds.login.as_ref().filter(|login| matches!(login.password, Some(PasswordSource::IamToken(_))))
    else {
        return vec![];
    };
    let name = database.id.identifier();
    let mut findings = vec![match database.profile.iam_authentication {
        Some(true) => {
            DoctorFinding::good(Area::Source, subject, format!("IAM authentication is on for `{name}`"))
        }
        Some(false) => {
            let change = match database.id {
                RdsDatabase::Instance(_) => "modify-db-instance --db-instance-identifier",
                RdsDatabase::Cluster(_) => "modify-db-cluster --db-cluster-identifier",
            };
            DoctorFinding::fault(
                Area::Source,
                subject,
                format!("IAM authentication is off for `{name}`, and the policy logs in by it"),
                format!(
                    "Turn it on: `aws rds {change} {name} --enable-iam-database-authentication --apply-immediately`, and `GRANT rds_iam` to the role."
                ),
            )
        }
        None => DoctorFinding::note(
            Area::Source,
            subject,
            format!("RDS does not say whether IAM authentication is on for `{name}`"),
        ),
    }];
    let named = login.url.as_ref().and_then(|url| ConnectionParameters::from_url(url).ok());
    if let (Some(named), Some(endpoint)) = (named, &database.endpoint)
        && (!named.host.eq_ignore_ascii_case(&endpoint.host) || named.port != endpoint.port)
    {
        findings.push(DoctorFinding::warning(
            Area::Source,
            subject,
            format!(
                "the URL names {}:{}, and RDS has `{name}` at {}:{}",
                named.host, named.port, endpoint.host, endpoint.port
            ),
            "A token is good only for the name and port that RDS knows: name the endpoint, or leave it where it is one of RDS's own (a reader, a proxy).",
        ));
    }
    findings
}
