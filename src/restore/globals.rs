//! Which roles and tablespaces of a backup's `globals.sql` are made, and with which statements.
//!
//! What exists is never altered: neither its attributes nor its password. Every statement is one that was
//! understood; the rest is said and left to a person.

use std::collections::BTreeSet;

use serde::Serialize;

use super::statements::{Statement, split};

/// What will be made.
#[derive(Clone, Debug, Default, Serialize)]
pub struct GlobalsPlan {
    /// Roles that are created.
    pub roles: Vec<String>,
    /// Roles that exist and stay as they are.
    pub existing_roles: Vec<String>,
    /// Tablespaces that are created.
    pub tablespaces: Vec<String>,
    /// Created roles that may log in but have no password: the backup does not hold it.
    pub need_password: Vec<String>,
    /// What was not understood or may not be done here, in words.
    pub left_out: Vec<String>,
    /// Run in one transaction.
    #[serde(skip)]
    pub(super) role_statements: Vec<Statement>,
    /// Run one after the other: a tablespace cannot be made in a transaction.
    #[serde(skip)]
    pub(super) tablespace_statements: Vec<Statement>,
}

/// What the target has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Existing<'a> {
    pub(super) roles: &'a BTreeSet<String>,
    pub(super) tablespaces: &'a BTreeSet<String>,
    /// Whether the restoring role may set every attribute.
    pub(super) superuser: bool,
}

/// Attributes only a superuser may name, even to deny them.
const SUPERUSER_ATTRIBUTES: [&str; 6] =
    ["SUPERUSER", "NOSUPERUSER", "REPLICATION", "NOREPLICATION", "BYPASSRLS", "NOBYPASSRLS"];

/// Reads the script and decides.
pub(super) fn plan(script: &str, existing: Existing<'_>) -> GlobalsPlan {
    let statements = split(script);
    let mut plan = GlobalsPlan::default();
    for statement in &statements {
        if statement.begins(&["CREATE", "ROLE", "?"]) {
            let role = statement.name(2).to_owned();
            if is_platforms(&role) {
                plan.left_out.push(format!("role {role}: it is the platform's own"));
            } else if existing.roles.contains(&role) {
                plan.existing_roles.push(role);
            } else {
                plan.roles.push(role);
            }
        } else if statement.begins(&["CREATE", "TABLESPACE", "?"]) {
            let name = statement.name(2).to_owned();
            if !existing.tablespaces.contains(&name) {
                plan.tablespaces.push(name);
            }
        }
    }
    let new_roles: BTreeSet<String> = plan.roles.iter().cloned().collect();
    let new_tablespaces: BTreeSet<String> = plan.tablespaces.iter().cloned().collect();
    let decide = Decide { existing, new_roles: &new_roles, new_tablespaces: &new_tablespaces };
    for statement in &statements {
        match decide.about(statement) {
            Verdict::Role(statement) => plan.role_statements.push(statement),
            Verdict::Tablespace(statement) => plan.tablespace_statements.push(statement),
            Verdict::Skip => {}
            Verdict::LeaveOut(why) => plan.left_out.push(why),
        }
    }
    plan.need_password = need_password(&statements, &new_roles);
    plan
}

fn need_password(statements: &[Statement], new_roles: &BTreeSet<String>) -> Vec<String> {
    let logs_in_without = |statement: &&Statement| {
        statement.begins(&["ALTER", "ROLE", "?", "WITH"])
            && statement.has("LOGIN")
            && !statement.has("PASSWORD")
            && new_roles.contains(statement.name(2))
    };
    statements.iter().filter(logs_in_without).map(|statement| statement.name(2).to_owned()).collect()
}

/// Roles that a platform (RDS) or PostgreSQL itself makes, and nobody else may.
fn is_platforms(role: &str) -> bool {
    role.starts_with("pg_")
        || role.starts_with("rds_")
        || matches!(role, "rdsadmin" | "rdstopmgr" | "rdsrepladmin")
}

enum Verdict {
    Role(Statement),
    Tablespace(Statement),
    /// It is about something that stays as it is.
    Skip,
    LeaveOut(String),
}

struct Decide<'a> {
    existing: Existing<'a>,
    new_roles: &'a BTreeSet<String>,
    new_tablespaces: &'a BTreeSet<String>,
}

impl Decide<'_> {
    fn about(&self, statement: &Statement) -> Verdict {
        let begins = |pattern: &[&str]| statement.begins(pattern);
        if begins(&["SET"]) || begins(&["SELECT", "pg_catalog"]) {
            Verdict::Skip
        } else if begins(&["ALTER", "ROLE", "?", "IN", "DATABASE"]) {
            // Settings of a role in a database come with the database's own facts.
            Verdict::Skip
        } else if begins(&["CREATE", "ROLE", "?"]) || begins(&["ALTER", "ROLE", "?"]) {
            self.role(statement.name(2), statement)
        } else if begins(&["COMMENT", "ON", "ROLE", "?"]) {
            self.role(statement.name(3), statement)
        } else if begins(&["SECURITY", "LABEL", "FOR", "?", "ON", "ROLE", "?"]) {
            self.role(statement.name(6), statement)
        } else if begins(&["GRANT", "?", "TO", "?"]) {
            self.membership(statement)
        } else if statement.has("PARAMETER") && begins(&["GRANT"]) {
            self.role(statement.grantee().unwrap_or_default(), statement)
        } else if begins(&["CREATE", "TABLESPACE", "?"]) || begins(&["ALTER", "TABLESPACE", "?"]) {
            self.tablespace(statement.name(2), statement)
        } else if begins(&["COMMENT", "ON", "TABLESPACE", "?"]) {
            self.tablespace(statement.name(3), statement)
        } else if begins(&["GRANT", "?", "ON", "TABLESPACE", "?"])
            || begins(&["REVOKE", "?", "ON", "TABLESPACE", "?"])
        {
            self.tablespace(statement.name(4), statement)
        } else {
            Verdict::LeaveOut(format!("`{}`", statement.gist()))
        }
    }

    fn role(&self, role: &str, statement: &Statement) -> Verdict {
        if !self.new_roles.contains(role) {
            return Verdict::Skip;
        }
        if self.existing.superuser || !statement.begins(&["ALTER", "ROLE", "?", "WITH"]) {
            return Verdict::Role(statement.clone());
        }
        Verdict::Role(statement.without(&SUPERUSER_ATTRIBUTES))
    }

    /// A new role may become a member of what is there. A role that exists does not become one of more:
    /// that would change what it may do.
    fn membership(&self, statement: &Statement) -> Verdict {
        let (group, member) = (statement.name(1), statement.name(3));
        let is_there = self.new_roles.contains(group) || self.existing.roles.contains(group);
        // Whoever granted it may not be here, and the restoring role may not speak for others.
        let statement = statement.before("GRANTED");
        match (self.new_roles.contains(member), is_there) {
            (true, true) => Verdict::Role(statement),
            (true, false) => {
                Verdict::LeaveOut(format!("membership of {member} in {group}, which is not there"))
            }
            (false, _) if self.new_roles.contains(group) => {
                Verdict::LeaveOut(format!("membership of {member}, which exists, in the new role {group}"))
            }
            (false, _) => Verdict::Skip,
        }
    }

    fn tablespace(&self, name: &str, statement: &Statement) -> Verdict {
        if self.new_tablespaces.contains(name) {
            Verdict::Tablespace(statement.clone())
        } else {
            Verdict::Skip
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "\
\\restrict key
SET default_transaction_read_only = off;
CREATE ROLE app;
ALTER ROLE app WITH NOSUPERUSER INHERIT LOGIN NOREPLICATION NOBYPASSRLS PASSWORD 'SCRAM-SHA-256$4096:x';
COMMENT ON ROLE app IS 'it''s; x -- y';
CREATE ROLE postgres;
ALTER ROLE postgres WITH SUPERUSER LOGIN;
CREATE ROLE reader;
ALTER ROLE reader WITH NOSUPERUSER LOGIN;
CREATE ROLE rdsadmin;
ALTER ROLE rdsadmin WITH SUPERUSER LOGIN;
ALTER ROLE app SET search_path TO 'a', 'b';
ALTER ROLE app IN DATABASE shop SET work_mem TO '8MB';
GRANT app TO reader WITH ADMIN OPTION GRANTED BY nobody;
GRANT reader TO postgres GRANTED BY nobody;
GRANT rds_superuser TO reader;
GRANT SET ON PARAMETER work_mem TO app;
CREATE TABLESPACE fast OWNER app LOCATION '/mnt/fast';
ALTER TABLESPACE fast SET (random_page_cost=1.1);
GRANT ALL ON TABLESPACE fast TO reader;
CREATE TABLESPACE there OWNER app LOCATION '/mnt/there';
DROP DATABASE shop;
\\unrestrict key
";

    fn planned(superuser: bool, roles: &[&str]) -> GlobalsPlan {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let (roles, tablespaces) = (set(roles), set(&["there"]));
        plan(SCRIPT, Existing { roles: &roles, tablespaces: &tablespaces, superuser })
    }

    fn sql(statements: &[Statement]) -> Vec<&str> {
        statements.iter().map(Statement::sql).collect()
    }

    #[test]
    fn only_what_is_not_there_is_made() {
        let plan = planned(true, &["postgres"]);
        assert_eq!(plan.roles, ["app", "reader"]);
        assert_eq!(plan.existing_roles, ["postgres"]);
        assert_eq!(plan.tablespaces, ["fast"]);
        assert_eq!(plan.need_password, ["reader"]);
        assert_eq!(
            sql(&plan.role_statements),
            [
                "CREATE ROLE app",
                "ALTER ROLE app WITH NOSUPERUSER INHERIT LOGIN NOREPLICATION NOBYPASSRLS PASSWORD 'SCRAM-SHA-256$4096:x'",
                "COMMENT ON ROLE app IS 'it''s; x -- y'",
                "CREATE ROLE reader",
                "ALTER ROLE reader WITH NOSUPERUSER LOGIN",
                "ALTER ROLE app SET search_path TO 'a', 'b'",
                "GRANT app TO reader WITH ADMIN OPTION",
                "GRANT SET ON PARAMETER work_mem TO app",
            ]
        );
        assert_eq!(sql(&plan.tablespace_statements).len(), 3);
        assert_eq!(
            plan.left_out,
            [
                "role rdsadmin: it is the platform's own",
                "membership of postgres, which exists, in the new role reader",
                "membership of reader in rds_superuser, which is not there",
                "`DROP DATABASE shop …`",
            ]
        );
    }

    #[test]
    fn a_second_time_nothing_is_left_to_do() {
        let plan = planned(true, &["postgres", "app", "reader", "rds_superuser"]);
        assert!(plan.roles.is_empty() && plan.role_statements.is_empty(), "{plan:?}");
        assert!(plan.need_password.is_empty());
    }

    #[test]
    fn attributes_a_superuser_alone_may_name_are_left_out_for_others() {
        let plan = planned(false, &["postgres"]);
        let alter = plan.role_statements[1].sql();
        assert!(
            !alter.contains("SUPERUSER") && alter.contains("LOGIN") && alter.contains("PASSWORD"),
            "{alter}"
        );
    }

    #[test]
    fn hashes_of_passwords_are_not_shown() {
        let plan = planned(true, &[]);
        assert!(!format!("{plan:?}").contains("SCRAM"));
        assert!(!serde_json::to_string(&plan).unwrap().contains("SCRAM"));
    }
}
