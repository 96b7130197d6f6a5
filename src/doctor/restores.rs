//! Whether the role that backs up a database could restore it on the same server: a role with full read
//! access may often create nothing.

use sqlx::PgConnection;

use super::{Area, DoctorFinding};
use crate::postgres::{ConnectionParameters, close};
use crate::text::error_chain;

/// The role's privileges there, and the needs of the database.
#[derive(Clone, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
struct RestorerFacts {
    role: String,
    superuser: bool,
    creates_databases: bool,
    creates_roles: bool,
    /// The owner of the database that is backed up.
    owner: String,
    is_of_owner: bool,
    is_standby: bool,
    /// Whether the server runs on Amazon RDS, whose administrators may create some objects that elsewhere
    /// only a superuser may.
    is_rds: bool,
    /// Extensions of the database that only a superuser may create.
    extensions: Vec<String>,
}

const FACTS: &str = "
    SELECT current_user::text AS role, r.rolsuper AS superuser, r.rolcreatedb AS creates_databases,
           r.rolcreaterole AS creates_roles, o.rolname::text AS owner,
           pg_has_role(current_user, o.oid, 'MEMBER') AS is_of_owner, pg_is_in_recovery() AS is_standby,
           EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_superuser') AS is_rds,
           ARRAY(SELECT e.extname::text
                   FROM pg_extension e
                   JOIN pg_available_extension_versions v ON v.name = e.extname AND v.version = e.extversion
                  WHERE v.superuser AND NOT v.trusted
                  ORDER BY 1) AS extensions
      FROM pg_roles r, pg_database d JOIN pg_roles o ON o.oid = d.datdba
     WHERE r.rolname = current_user AND d.datname = current_database()";

/// Checks which steps of a restore would be refused on the source's own server.
pub(super) async fn examine(subject: &str, parameters: &ConnectionParameters) -> Vec<DoctorFinding> {
    let unknown = |why: String| {
        let message =
            format!("the permissions for a restore by `{}` could not be checked: {why}", parameters.user);
        vec![DoctorFinding::note(Area::Source, subject, message)]
    };
    let mut connection = match parameters.connect().await {
        Ok(connection) => connection,
        Err(error) => return unknown(error_chain(&error)),
    };
    let facts = read(&mut connection).await;
    close(connection).await;
    match facts {
        Ok(facts) => judge(subject, &facts),
        Err(error) => unknown(error.to_string()),
    }
}

async fn read(connection: &mut PgConnection) -> sqlx::Result<RestorerFacts> {
    sqlx::query_as(FACTS).fetch_one(connection).await
}

fn judge(subject: &str, facts: &RestorerFacts) -> Vec<DoctorFinding> {
    let RestorerFacts { role, owner, .. } = facts;
    let mut findings = vec![];
    if facts.is_standby {
        let message = "the server is a standby: a restore to `--to NAME` would be rejected";
        let remedy = format!(
            "Restore with `drctl restore {subject} --to postgres://ROLE@PRIMARY/NEW_DATABASE`, to a server that can be written to."
        );
        return vec![DoctorFinding::warning(Area::Source, subject, message, remedy)];
    }
    if facts.superuser {
        return findings;
    }
    let elsewhere = format!(
        "or restore as a role that may: `drctl restore {subject} --to postgres://ROLE@SERVER/NEW_DATABASE`"
    );
    if !facts.creates_databases {
        let message = format!(
            "`{role}` may not create databases: `drctl restore {subject} --to NAME` would be rejected"
        );
        let remedy = format!("ALTER ROLE {} CREATEDB; {elsewhere}.", crate::postgres::identifier(role));
        findings.push(DoctorFinding::warning(Area::Source, subject, message, remedy));
    }
    if !facts.extensions.is_empty() && !facts.is_rds {
        let message = format!(
            "only a superuser, which `{role}` is not, can recreate these extensions of the database: {}",
            facts.extensions.join(", ")
        );
        let remedy = "Restore as a superuser: `--to postgres://SUPERUSER@SERVER/NEW_DATABASE`.";
        findings.push(DoctorFinding::warning(Area::Source, subject, message, remedy));
    }
    if !facts.is_of_owner {
        let message = format!(
            "`{role}` is not a member of the database's owner `{owner}`: it has to restore with `--no-owner`"
        );
        findings.push(DoctorFinding::note(Area::Source, subject, message));
    }
    if !facts.creates_roles {
        let message =
            format!("`{role}` may not create roles, which `--globals` needs on a server that lacks them");
        findings.push(DoctorFinding::note(Area::Source, subject, message));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::FindingSeverity;

    fn able() -> RestorerFacts {
        RestorerFacts {
            role: "drctl".to_owned(),
            owner: "shop".to_owned(),
            creates_databases: true,
            creates_roles: true,
            is_of_owner: true,
            ..RestorerFacts::default()
        }
    }

    fn found(facts: &RestorerFacts) -> Vec<(FindingSeverity, String)> {
        judge("database", facts).into_iter().map(|finding| (finding.severity, finding.message)).collect()
    }

    #[test]
    fn a_role_that_can_restore_is_not_spoken_of() {
        assert_eq!(found(&able()), []);
        assert_eq!(found(&RestorerFacts { superuser: true, ..RestorerFacts::default() }), []);
    }

    #[test]
    fn what_a_restore_would_be_refused_is_a_warning_that_names_it() {
        for (facts, words) in [
            (RestorerFacts { creates_databases: false, ..able() }, "may not create databases"),
            (
                RestorerFacts { extensions: vec!["postgis".to_owned()], ..able() },
                "only a superuser, which `drctl` is not, can recreate these extensions of the database: postgis",
            ),
            (RestorerFacts { is_standby: true, superuser: true, ..able() }, "a standby"),
        ] {
            let found = found(&facts);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].0 == FindingSeverity::Warning && found[0].1.contains(words), "{found:?}");
        }
        let managed = RestorerFacts { extensions: vec!["postgis".to_owned()], is_rds: true, ..able() };
        assert_eq!(found(&managed), []);
    }

    #[test]
    fn what_an_option_gets_round_is_a_note() {
        for facts in
            [RestorerFacts { is_of_owner: false, ..able() }, RestorerFacts { creates_roles: false, ..able() }]
        {
            assert_eq!(
                found(&facts).iter().map(|(severity, _)| *severity).collect::<Vec<_>>(),
                [FindingSeverity::Note]
            );
        }
    }
}
